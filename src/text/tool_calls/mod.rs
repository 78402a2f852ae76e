//! How model families write calls of tools, and the way from what a model writes to calls, while it streams.
//!
//! More is read than is asked for: small models stray from their family's form. What tools do is not known here.

mod header;
mod parser;
mod scan;
#[cfg(test)]
mod tests;

pub use parser::{OutputParser, Part};

use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;

/// Which tools a model may, must or must not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// None: tools are described but not called.
    None,
    /// As it likes.
    Auto,
    /// One at least.
    Required,
    /// This one.
    Named(String),
}

/// How a family writes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolFormat {
    syntax: &'static Syntax,
}

/// A family's form. Every text of it is one that the family's tokenizer may have as a token of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    name: &'static str,
    /// After one of these stands a call, or a list of calls. The first is the one that the family was taught.
    pub opens: &'static [&'static str],
    /// What may stand behind a call.
    closes: &'static [&'static str],
    /// What may stand between a name and its arguments.
    separators: &'static [&'static str],
    /// What is written when a grammar holds the pen.
    pub written: Written,
}

/// `begin`, then `before_name` NAME `before_arguments` ARGUMENTS `after_arguments` for each call with `between` between
/// them, then `end`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub begin: &'static str,
    pub before_name: &'static str,
    pub before_arguments: &'static str,
    pub after_arguments: &'static str,
    pub between: &'static str,
    pub end: &'static str,
}

/// What opens and closes a model's thoughts. Only at the beginning of an answer: later it is a word like any other.
pub(super) const THOUGHTS: &[(&str, &str)] =
    &[("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>")];

/// Qwen, Hermes, SmolLM, Granite 4 and all who were taught nothing else. `<tools>` and `<function_call>` are what small
/// ones make of it, `<function=…>` is Qwen3-Coder's.
const HERMES: Syntax = Syntax {
    name: "hermes",
    opens: &["<tool_call>", "<function_call>", "<tools>", "<function="],
    closes: &["</tool_call>", "</function_call>", "</tools>", "</function>"],
    separators: &[],
    written: Written {
        begin: "",
        before_name: "<tool_call>\n{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}\n</tool_call>",
        between: "\n",
        end: "",
    },
};

/// Llama 3.1 to 3.3: bare JSON; a built-in tool's call comes after `<|python_tag|>`.
const LLAMA3: Syntax = Syntax {
    name: "llama3",
    opens: &["<|python_tag|>", "<function="],
    closes: &["</function>"],
    separators: &[],
    written: Written {
        begin: "",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"parameters\": ",
        after_arguments: "}",
        between: "; ",
        end: "",
    },
};

/// Mistral until 2024: a list.
const MISTRAL_LIST: Syntax = Syntax {
    name: "mistral",
    opens: &["[TOOL_CALLS]"],
    closes: &["[/TOOL_CALLS]"],
    separators: &["[ARGS]", "[CALL_ID]"],
    written: Written {
        begin: "[TOOL_CALLS][",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]",
    },
};

/// Mistral since 2025: each call for itself, the name outside.
const MISTRAL_NAMED: Syntax = Syntax {
    name: "mistral-args",
    written: Written {
        begin: "",
        before_name: "[TOOL_CALLS]",
        before_arguments: "[ARGS]",
        after_arguments: "",
        between: "",
        end: "",
    },
    ..MISTRAL_LIST
};

/// Phi-4-mini.
const PHI4: Syntax = Syntax {
    name: "phi4",
    opens: &["<|tool_call|>"],
    closes: &["<|/tool_call|>"],
    separators: &[],
    written: Written {
        begin: "<|tool_call|>[",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]<|/tool_call|>",
    },
};

/// Granite 3: as Phi-4, but nothing closes the list.
const GRANITE3: Syntax = Syntax {
    name: "granite3",
    opens: &["<|tool_call|>"],
    closes: &["<|/tool_call|>"],
    separators: &[],
    written: Written {
        begin: "<|tool_call|>[",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]",
    },
};

/// DeepSeek V3 and R1: the arguments in a fence.
const DEEPSEEK3: Syntax = Syntax {
    name: "deepseek3",
    opens: &["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"],
    closes: &["```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
    separators: &["<｜tool▁sep｜>"],
    written: Written {
        begin: "<｜tool▁calls▁begin｜>",
        before_name: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        before_arguments: "\n```json\n",
        after_arguments: "\n```<｜tool▁call▁end｜>",
        between: "\n",
        end: "<｜tool▁calls▁end｜>",
    },
};

/// DeepSeek V3.1: without the fence.
const DEEPSEEK31: Syntax = Syntax {
    name: "deepseek3.1",
    written: Written {
        begin: "<｜tool▁calls▁begin｜>",
        before_name: "<｜tool▁call▁begin｜>",
        before_arguments: "<｜tool▁sep｜>",
        after_arguments: "<｜tool▁call▁end｜>",
        between: "",
        end: "<｜tool▁calls▁end｜>",
    },
    ..DEEPSEEK3
};

/// Command R7B.
const COMMAND_R: Syntax = Syntax {
    name: "command-r",
    opens: &["<|START_ACTION|>"],
    closes: &["<|END_ACTION|>"],
    separators: &[],
    written: Written {
        begin: "<|START_ACTION|>[",
        before_name: "{\"tool_name\": \"",
        before_arguments: "\", \"parameters\": ",
        after_arguments: "}",
        between: ", ",
        end: "]<|END_ACTION|>",
    },
};

/// Texts that must all stand in a template, and the form it then is; the first that fits counts.
const FAMILIES: &[(&[&str], &Syntax)] = &[
    (&["[TOOL_CALLS]", "[ARGS]"], &MISTRAL_NAMED),
    (&["[TOOL_CALLS]"], &MISTRAL_LIST),
    (&["<｜tool▁call▁begin｜>", "```json"], &DEEPSEEK3),
    (&["<｜tool▁call▁begin｜>"], &DEEPSEEK31),
    (&["<|START_ACTION|>"], &COMMAND_R),
    (&["<|tool_call|>", "<|/tool_call|>"], &PHI4),
    (&["<|tool_call|>"], &GRANITE3),
    (&["<tool_call>"], &HERMES),
    (&["<|python_tag|>"], &LLAMA3),
    (&["<|start_header_id|>", "\"parameters\": "], &LLAMA3),
];

impl Syntax {
    /// Texts of it that a tokenizer may have as control tokens.
    pub fn marks(&self) -> impl Iterator<Item = &'static str> {
        [self.opens, self.closes, self.separators].into_iter().flatten().copied()
    }
}

impl ToolFormat {
    /// The form that goes with a chat template: what it speaks of where it shows tools, and Hermes' where it doesn't.
    pub fn new(template: Option<&ChatTemplate>) -> Self {
        let source = template.filter(|template| template.shows_tools()).map_or("", ChatTemplate::source);
        let fits = |texts: &[&str]| texts.iter().all(|text| source.contains(text));
        let found = FAMILIES.iter().find(|(texts, _)| fits(texts));
        Self { syntax: found.map_or(&HERMES, |(_, syntax)| syntax) }
    }

    /// Hermes' form, for models that were taught none.
    pub fn hermes() -> Self {
        Self { syntax: &HERMES }
    }

    /// What the form is called here.
    pub fn name(&self) -> &'static str {
        self.syntax.name
    }

    /// Control tokens whose names an [`OutputParser`] has to see: those of the form, and those that frame thoughts.
    pub fn visible_tokens(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let thoughts = THOUGHTS.iter().flat_map(|&(open, close)| [open, close]);
        let texts = self.syntax.marks().chain(thoughts);
        let ids = texts.filter_map(|text| tokenizer.special_token(text));
        ids.filter(|&id| tokenizer.is_control(id)).collect()
    }

    /// Every form that is known.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = FAMILIES.iter().map(|(_, syntax)| Self { syntax }).collect();
        all.dedup();
        all
    }

    pub(super) fn syntax(&self) -> &'static Syntax {
        self.syntax
    }
}

/// Whether an answer to this prompt begins inside of the model's thoughts.
pub fn reasoning_open(prompt: &str) -> bool {
    THOUGHTS.iter().any(|(open, _)| prompt.trim_end().ends_with(open))
}
