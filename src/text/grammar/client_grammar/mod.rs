//! Grammars that a client sends: regular expressions, lists of choices, Lark, and llama.cpp's GBNF. They are checked
//! here, and choices and GBNF are translated into llguidance's dialect of Lark. llguidance compiles and enforces them.

mod gbnf;
#[cfg(test)]
mod tests;

use bandmaster_engine::Constraint;
use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use super::{GrammarError, GrammarFactory, messages, regexes};

const TEXT_BYTES_MAX: usize = 256 << 10;
const CHOICES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub enum ClientGrammar {
    /// The whole answer matches a regular expression.
    Regex(String),
    /// The answer is one of these.
    Choice(Vec<String>),
    /// A grammar in llguidance's dialect of Lark; the answer matches its rule `start`.
    Lark(String),
    /// A grammar in GBNF; the answer matches its rule `root`.
    Gbnf(String),
}

impl ClientGrammar {
    /// Recognizes the notation by how rules are written: `name ::= …` in GBNF, `name: …` in Lark.
    #[must_use]
    pub fn detect(text: String) -> Self {
        if text.contains("::=") { Self::Gbnf(text) } else { Self::Lark(text) }
    }
}

impl GrammarFactory {
    /// A constraint that accepts exactly what `grammar` describes. Blocks while the grammar is compiled.
    ///
    /// # Errors
    /// [`GrammarError::ClientGrammar`] says what is wrong or can't be enforced.
    pub(crate) fn client_grammar(
        &self,
        grammar: &ClientGrammar,
    ) -> Result<Box<dyn Constraint>, GrammarError> {
        let lark = match grammar {
            ClientGrammar::Regex(text) => {
                check_size(text.len())?;
                regexes::check_regex(text).map_err(GrammarError::ClientGrammar)?;
                // Fuel, states and time bound the cost while the grammar is compiled.
                return self.compile_client_grammar(
                    TopLevelGrammar::from_regex(without_anchors(text)),
                    messages::for_text,
                );
            }
            ClientGrammar::Choice(choices) => {
                if choices.len() > CHOICES_MAX {
                    let count = choices.len();
                    return Err(GrammarError::ClientGrammar(format!(
                        "it has {count} choices, but at most {CHOICES_MAX} are allowed"
                    )));
                }
                check_size(choices.iter().map(String::len).sum())?;
                choices_to_lark(choices)?
            }
            ClientGrammar::Lark(text) => {
                check_size(text.len())?;
                check_directives(text)?;
                return self
                    .compile_client_grammar(TopLevelGrammar::from_lark(text.clone()), messages::for_lark);
            }
            ClientGrammar::Gbnf(text) => {
                check_size(text.len())?;
                let token = |text: &str| self.tokenizer.special_token(text);
                gbnf::to_lark(text, &token).map_err(GrammarError::ClientGrammar)?
            }
        };
        self.compile_client_grammar(TopLevelGrammar::from_lark(lark), messages::for_text)
    }

    fn compile_client_grammar(
        &self,
        grammar: TopLevelGrammar,
        explain: fn(&str) -> String,
    ) -> Result<Box<dyn Constraint>, GrammarError> {
        let grammar = self.compile(grammar, true, None, explain).map_err(not_a_schema)?;
        Ok(Box::new(grammar))
    }
}

/// Says that a problem is one of a client's grammar, not of a schema.
fn not_a_schema(error: GrammarError) -> GrammarError {
    match error {
        GrammarError::Schema(problem) => GrammarError::ClientGrammar(problem),
        other => other,
    }
}

/// A schema inside a grammar would bypass the checks that schemas go through.
fn check_directives(lark: &str) -> Result<(), GrammarError> {
    match ["%json", "%llguidance"].into_iter().find(|directive| lark.contains(directive)) {
        Some(directive) => Err(GrammarError::ClientGrammar(format!(
            "it has {directive}, which is not supported: give a schema as `json_schema`, and anything else as rules"
        ))),
        None => Ok(()),
    }
}

fn check_size(bytes: usize) -> Result<(), GrammarError> {
    match bytes {
        0 => Err(GrammarError::ClientGrammar("it is empty".into())),
        1..=TEXT_BYTES_MAX => Ok(()),
        _ => Err(GrammarError::ClientGrammar(format!(
            "it has {bytes} bytes, but at most {TEXT_BYTES_MAX} are allowed: simplify it"
        ))),
    }
}

/// A regular expression without the anchors of a whole match, since every match here is whole.
fn without_anchors(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let Some(before) = regex.strip_suffix('$') else { return regex };
    let backslashes = before.len() - before.trim_end_matches('\\').len();
    if backslashes % 2 == 0 { before } else { regex }
}

fn choices_to_lark(choices: &[String]) -> Result<String, GrammarError> {
    if choices.iter().any(String::is_empty) {
        return Err(GrammarError::ClientGrammar("one of the choices is empty".into()));
    }
    let choices: Vec<String> =
        choices.iter().map(|choice| Value::from(choice.as_str()).to_string()).collect();
    // As one terminal, choices share their common beginnings; as rules, each would be followed separately.
    Ok(format!("start: CHOICE\nCHOICE: {}\n", choices.join(" | ")))
}
