//! Traces: the work of a plan as plain JSON, i.e. tasks with their dependencies, lengths and models. What runs them is
//! not known here.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Built-in traces by name.
const BUILTIN: &[(&str, &str)] = &[
    ("map", include_str!("traces/map.json")),
    ("aspects", include_str!("traces/aspects.json")),
    ("write-test-fix", include_str!("traces/write-test-fix.json")),
    ("vote", include_str!("traces/vote.json")),
    ("deep", include_str!("traces/deep.json")),
    ("fanout", include_str!("traces/fanout.json")),
    ("siblings", include_str!("traces/siblings.json")),
    ("long-prompt", include_str!("traces/long-prompt.json")),
    ("pressure", include_str!("traces/pressure.json")),
    ("copy", include_str!("traces/copy.json")),
    ("prose", include_str!("traces/prose.json")),
];

/// Most tokens of a prefix, of a task's own prompt, or generated.
const TOKENS_MAX: usize = 1 << 20;
/// A day, in milliseconds.
const THINK_MS_MAX: u64 = 86_400_000;

/// A recorded or made-up plan.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Must be equal to [`Trace::SCHEMA`].
    pub schema: String,
    pub name: String,
    /// What kind of work it represents.
    #[serde(default)]
    pub about: String,
    /// Roles, with the model of each unless the user names another.
    pub models: BTreeMap<String, RoleModel>,
    /// Ordered so that each task needs only earlier ones.
    pub tasks: Vec<Task>,
}

/// A role in the trace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleModel {
    /// Catalog name or path.
    pub model: String,
    /// The model is loaded this long after the start, while others compute; if absent, before the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_at_ms: Option<u64>,
}

/// One model call of the plan.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Unique in the trace.
    pub id: String,
    /// One of the trace's roles.
    pub model: String,
    /// Tasks that must have ended before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Time between the last of those (or the run's start) and this task, for a tool or a person.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub think_ms: u64,
    /// Prefix that all tasks with the same model and prefix name share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// Whether the outputs of `needs` are part of the prompt, after the prefix.
    #[serde(default)]
    pub reads_needs: bool,
    /// Tokens of its own, after those.
    #[serde(default)]
    pub prompt_tokens: usize,
    /// A question for the chat template instead of random words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// A whole prompt as a model read it, with special tokens spelled out, instead of random words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Sampling temperature, 0 by default. Each task of each run has its own seed.
    #[serde(default, skip_serializing_if = "is_zero_temperature")]
    pub temperature: f32,
    /// Number of tokens to generate; the end-of-sequence token is ignored.
    pub output_tokens: u32,
    /// `interactive`, `run` (the default) or `background`.
    #[serde(default)]
    pub class: TaskClass,
}

/// A shared beginning of prompts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// The same name means the same tokens.
    pub name: String,
    pub tokens: usize,
}

/// Who waits for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskClass {
    /// A person waits for it.
    Interactive,
    /// A run waits for it.
    #[default]
    Run,
    /// Nobody waits for it.
    Background,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_zero_temperature(temperature: &f32) -> bool {
    *temperature == 0.0
}

impl Task {
    /// Whether its prompt is random words of a given length, after its prefix and the outputs of its needs.
    #[must_use]
    pub fn has_random_prompt(&self) -> bool {
        self.prompt.is_none() && self.text.is_none()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Neither a built-in trace nor a file.
    #[error("no trace `{name}`: give a file, or one of {}", names())]
    Unknown { name: String },
    /// Not JSON, or not this schema.
    #[error("trace {name}: {reason}")]
    Broken {
        name: String,
        /// Line and column, or what is wrong.
        reason: String,
    },
}

fn names() -> String {
    BUILTIN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Trace {
    pub const SCHEMA: &'static str = "bandmaster.trace/1";

    /// Finds a built-in trace, or reads a file of that name.
    ///
    /// # Errors
    /// `TraceError` says what is wrong with it.
    pub fn find(name: &str) -> Result<Self, TraceError> {
        if let Some((_, json)) = BUILTIN.iter().find(|(builtin, _)| *builtin == name) {
            return Self::parse(name, json);
        }
        match std::fs::read_to_string(name) {
            Ok(json) => Self::parse(name, &json),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(TraceError::Unknown { name: name.into() })
            }
            Err(error) => Err(TraceError::Broken { name: name.into(), reason: error.to_string() }),
        }
    }

    /// Parses and checks a trace.
    ///
    /// # Errors
    /// `TraceError::Broken` with the position or the task.
    pub fn parse(name: &str, json: &str) -> Result<Self, TraceError> {
        let broken = |reason: String| TraceError::Broken { name: name.into(), reason };
        let trace: Self = serde_json::from_str(json).map_err(|error| broken(error.to_string()))?;
        trace.check().map_err(broken)?;
        Ok(trace)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != Self::SCHEMA {
            return Err(format!("schema is `{}`: this program reads `{}`", self.schema, Self::SCHEMA));
        }
        if let Some((role, _)) = self.models.iter().find(|(_, role)| role.load_at_ms > Some(THINK_MS_MAX)) {
            return Err(format!("model {role}: load_at_ms must be at most {THINK_MS_MAX}, a day"));
        }
        if self.tasks.is_empty() {
            return Err("it has no tasks".into());
        }
        let mut earlier: HashSet<&str> = HashSet::new();
        for task in &self.tasks {
            let Task { id, model, .. } = task;
            if !self.models.contains_key(model) {
                return Err(format!("task {id}: no model `{model}` among `models`"));
            }
            if let Some(need) = task.needs.iter().find(|need| !earlier.contains(need.as_str())) {
                return Err(format!("task {id} needs `{need}`, which is not an earlier task"));
            }
            if task.prompt_tokens > TOKENS_MAX
                || task.output_tokens as usize > TOKENS_MAX
                || task.prefix.as_ref().is_some_and(|prefix| prefix.tokens > TOKENS_MAX)
            {
                return Err(format!("task {id}: at most {TOKENS_MAX} tokens of each kind"));
            }
            if task.think_ms > THINK_MS_MAX {
                return Err(format!("task {id}: think_ms must be at most {THINK_MS_MAX}, a day"));
            }
            let prompt = task.prompt_tokens + task.prefix.as_ref().map_or(0, |prefix| prefix.tokens);
            if prompt == 0 && task.has_random_prompt() && !task.reads_needs {
                return Err(format!("task {id} has no prompt: give prompt_tokens, prefix, prompt or text"));
            }
            if !task.has_random_prompt() && (prompt > 0 || task.reads_needs) {
                return Err(format!("task {id}: only `prompt` or `text` is read: leave the rest out"));
            }
            if task.prompt.is_some() && task.text.is_some() {
                return Err(format!("task {id} has `prompt` and `text`: give one of them"));
            }
            if task.output_tokens == 0 {
                return Err(format!("task {id}: output_tokens must be at least 1"));
            }
            if !(0.0..=2.0).contains(&task.temperature) {
                return Err(format!("task {id}: temperature must be between 0 and 2"));
            }
            if !earlier.insert(id) {
                return Err(format!("two tasks are called `{id}`"));
            }
        }
        Ok(())
    }

    /// For each task, the tokens generated on the longest path from it to the end, including its own.
    #[must_use]
    pub fn path_tokens(&self) -> Vec<u32> {
        let indexes: HashMap<&str, usize> =
            self.tasks.iter().enumerate().map(|(index, task)| (task.id.as_str(), index)).collect();
        let mut path_tokens = vec![0; self.tasks.len()];
        for (at, task) in self.tasks.iter().enumerate().rev() {
            let own = task.output_tokens.saturating_add(path_tokens[at]);
            path_tokens[at] = own;
            for need in &task.needs {
                let need = indexes[need.as_str()];
                path_tokens[need] = own.max(path_tokens[need]);
            }
        }
        path_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_traces_are_whole() {
        for (name, json) in BUILTIN {
            let trace = Trace::parse(name, json).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(trace.name, *name);
        }
    }

    #[test]
    fn errors_name_the_task() {
        let refuse = |tasks: &str, expected: &str| {
            let json = format!(
                r#"{{"schema":"bandmaster.trace/1","name":"t","models":{{"w":{{"model":"m"}}}},"tasks":[{tasks}]}}"#
            );
            let error = Trace::parse("t.json", &json).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("t.json"), "{error}");
        };
        refuse("", "no tasks");
        refuse(r#"{"id":"a","model":"x","prompt_tokens":1,"output_tokens":1}"#, "no model `x`");
        refuse(
            r#"{"id":"a","model":"w","prompt_tokens":1,"output_tokens":1,"needs":["a"]}"#,
            "not an earlier task",
        );
        refuse(r#"{"id":"a","model":"w","output_tokens":1}"#, "no prompt");
        refuse(r#"{"id":"a","model":"w","prompt_tokens":1,"output_tokens":1,"tokens":3}"#, "unknown field");
        refuse("{", "line 1");
        assert!(Trace::find("nowhere.json").expect_err("no such file").to_string().contains("fanout"));
    }

    #[test]
    fn paths_are_the_longest_to_the_end() {
        let trace = Trace::find("fanout").expect("it ships");
        let paths = trace.path_tokens();
        let of = |id: &str| paths[trace.tasks.iter().position(|task| task.id == id).expect("it is there")];
        let longest =
            trace.tasks.iter().filter(|task| task.id.starts_with('w')).map(|task| task.output_tokens);
        assert_eq!(of("plan"), 150 + longest.max().unwrap_or(0) + of("synthesis"));
    }
}
