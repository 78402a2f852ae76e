//! Prompts with variables. A template is text with variables such as `{{goal}}` and has no conditions and no loops: the
//! strategy chooses between templates and passes a list as one text. So all that a template says can be read in its file.

use super::band::{Message, Role};
use super::strategy::Prompt;

/// A prompt with variables, by name and version. A run records which template made each of its prompts, so that a replay
/// can tell a prompt that has changed from a model that answers differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    name: &'static str,
    version: u32,
    text: &'static str,
}

/// Why a template can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error(
        "the template {template} has the variable {variable}, which has no value; those with one are {given}"
    )]
    Undefined { template: String, variable: String, given: String },
    #[error("the template {template} does not use the variable {variable}: remove it, or correct its name")]
    Unused { template: String, variable: String },
    #[error("the template {template} opens a variable and does not close it: {{{{{rest}")]
    Open { template: String, rest: String },
}

impl Template {
    /// A template whose text is usually `include_str!` of a file. Raise the version with every change of the text. The
    /// line end at the end of the text is not part of the prompt.
    #[must_use]
    pub const fn new(name: &'static str, version: u32, text: &'static str) -> Self {
        Self { name, version, text }
    }

    /// Name and version, such as `map.plan@1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The text with its variables.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text.strip_suffix('\n').unwrap_or(self.text)
    }

    /// The text with the value of each variable in its place. What looks like a variable in a value stays as it is.
    ///
    /// # Errors
    /// When a variable of the template has no value, or a value belongs to no variable.
    pub fn render(&self, values: &[(&str, &str)]) -> Result<String, TemplateError> {
        let template = || self.id();
        let mut used = vec![false; values.len()];
        let mut rendered = String::new();
        let mut rest = self.text();
        while let Some((before, after)) = rest.split_once("{{") {
            rendered.push_str(before);
            let Some((variable, after)) = after.split_once("}}") else {
                return Err(TemplateError::Open { template: template(), rest: after.to_owned() });
            };
            let variable = variable.trim();
            let Some(at) = values.iter().position(|(name, _)| *name == variable) else {
                let given: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
                let (variable, given) = (variable.to_owned(), given.join(", "));
                return Err(TemplateError::Undefined { template: template(), variable, given });
            };
            rendered.push_str(values[at].1);
            used[at] = true;
            rest = after;
        }
        rendered.push_str(rest);
        match used.iter().position(|used| !used) {
            Some(at) => {
                Err(TemplateError::Unused { template: template(), variable: values[at].0.to_owned() })
            }
            None => Ok(rendered),
        }
    }

    /// A prompt of one message, which is the rendered text.
    ///
    /// # Panics
    /// As [`Template::render`] fails: the strategy and its template don't fit together, which its first run shows.
    #[must_use]
    pub fn prompt(&self, values: &[(&str, &str)]) -> Prompt {
        let text = self.render(values).unwrap_or_else(|error| panic!("{error}"));
        Prompt { template: Some(self.id()), ..Prompt::new(vec![Message::new(Role::User, text)]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &'static str, values: &[(&str, &str)], expected: Result<&str, &str>) {
        let rendered = Template::new("a.b", 3, text).render(values).map_err(|error| error.to_string());
        match expected {
            Ok(text) => assert_eq!(rendered.as_deref(), Ok(text)),
            Err(why) => assert!(rendered.as_ref().is_err_and(|error| error.contains(why)), "{rendered:?}"),
        }
    }

    #[test]
    fn every_variable_has_a_value_and_every_value_a_variable() {
        check("Goal: {{goal}}\n", &[("goal", "{{goal}} {{x}}")], Ok("Goal: {{goal}} {{x}}"));
        check("{{ a }}{{b}}{{a}} {\"c\": {}}\n\n", &[("a", "1"), ("b", "2")], Ok("121 {\"c\": {}}\n"));
        check("", &[], Ok(""));
        check("{{goal}} {{gaol}}", &[("goal", "x")], Err("a.b@3 has the variable gaol, which has no value"));
        check("{{goal}}", &[("goal", "x"), ("text", "y")], Err("does not use the variable text"));
        check("{{goal", &[("goal", "x")], Err("does not close it: {{goal"));
        check("{{}}", &[("goal", "x")], Err("has the variable , which"));
    }

    #[test]
    fn a_prompt_says_which_template_made_it() {
        let prompt = Template::new("a.b", 3, "Goal: {{goal}}\n").prompt(&[("goal", "x")]);
        assert_eq!(prompt.template.as_deref(), Some("a.b@3"));
        assert_eq!(prompt.messages, [Message::new(Role::User, "Goal: x")]);
    }
}
