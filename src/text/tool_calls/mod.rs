//! The syntaxes in which model families write tool calls, and a streaming parser from a model's text to calls.
//!
//! Small models stray from their family's syntax, so the parser accepts more than that. What tools do is not known
//! here.

mod header;
mod parser;
mod scan;
#[cfg(test)]
mod tests;

pub use parser::{OutputParser, Part};

use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// Tools are described to the model but may not be called.
    None,
    /// The model may call tools.
    Auto,
    /// The model must call at least one tool.
    Required,
    /// The model must call this tool.
    Named(String),
}

/// The syntax in which a family writes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolFormat {
    syntax: &'static Syntax,
}

/// A family's syntax. Each of its texts may be a single token in the family's vocabulary.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    name: &'static str,
    /// A call, or a list of calls, follows one of these. The first is the one that the family was trained on.
    pub opens: &'static [&'static str],
    /// Texts that may follow a call.
    closes: &'static [&'static str],
    /// Texts that may stand between a name and its arguments.
    separators: &'static [&'static str],
    /// What a grammar makes the model write.
    pub layout: CallLayout,
}

/// `begin`, then for each call `before_name` NAME `before_arguments` ARGUMENTS `after_arguments` with `between` between
/// the calls, then `end`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CallLayout {
    pub begin: &'static str,
    pub before_name: &'static str,
    pub before_arguments: &'static str,
    pub after_arguments: &'static str,
    pub between: &'static str,
    pub end: &'static str,
}

/// The marks around a model's reasoning. They count only at the beginning of an answer; later they are plain text.
pub(super) const REASONING_MARKS: &[(&str, &str)] =
    &[("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>")];

/// Qwen, Hermes, SmolLM, Granite 4, and all models that were trained on no syntax. Small models write `<tools>` and
/// `<function_call>` instead; `<function=…>` is Qwen3-Coder's.
const HERMES: Syntax = Syntax {
    name: "hermes",
    opens: &["<tool_call>", "<function_call>", "<tools>", "<function="],
    closes: &["</tool_call>", "</function_call>", "</tools>", "</function>"],
    separators: &[],
    layout: CallLayout {
        begin: "",
        before_name: "<tool_call>\n{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}\n</tool_call>",
        between: "\n",
        end: "",
    },
};

/// Llama 3.1 to 3.3: plain JSON; calls of built-in tools follow `<|python_tag|>`.
const LLAMA3: Syntax = Syntax {
    name: "llama3",
    opens: &["<|python_tag|>", "<function="],
    closes: &["</function>"],
    separators: &[],
    layout: CallLayout {
        begin: "",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"parameters\": ",
        after_arguments: "}",
        between: "; ",
        end: "",
    },
};

/// Mistral until 2024: one list of calls.
const MISTRAL_LIST: Syntax = Syntax {
    name: "mistral",
    opens: &["[TOOL_CALLS]"],
    closes: &["[/TOOL_CALLS]"],
    separators: &["[ARGS]", "[CALL_ID]"],
    layout: CallLayout {
        begin: "[TOOL_CALLS][",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]",
    },
};

/// Mistral since 2025: each call by itself, with the name outside of the JSON.
const MISTRAL_NAMED: Syntax = Syntax {
    name: "mistral-args",
    layout: CallLayout {
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
    layout: CallLayout {
        begin: "<|tool_call|>[",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]<|/tool_call|>",
    },
};

/// Granite 3: like Phi-4, but without a mark behind the list.
const GRANITE3: Syntax = Syntax {
    name: "granite3",
    opens: &["<|tool_call|>"],
    closes: &["<|/tool_call|>"],
    separators: &[],
    layout: CallLayout {
        begin: "<|tool_call|>[",
        before_name: "{\"name\": \"",
        before_arguments: "\", \"arguments\": ",
        after_arguments: "}",
        between: ", ",
        end: "]",
    },
};

/// DeepSeek V3 and R1: the arguments stand in a code fence.
const DEEPSEEK3: Syntax = Syntax {
    name: "deepseek3",
    opens: &["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"],
    closes: &["```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
    separators: &["<｜tool▁sep｜>"],
    layout: CallLayout {
        begin: "<｜tool▁calls▁begin｜>",
        before_name: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        before_arguments: "\n```json\n",
        after_arguments: "\n```<｜tool▁call▁end｜>",
        between: "\n",
        end: "<｜tool▁calls▁end｜>",
    },
};

/// DeepSeek V3.1: without the code fence.
const DEEPSEEK31: Syntax = Syntax {
    name: "deepseek3.1",
    layout: CallLayout {
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
    layout: CallLayout {
        begin: "<|START_ACTION|>[",
        before_name: "{\"tool_name\": \"",
        before_arguments: "\", \"parameters\": ",
        after_arguments: "}",
        between: ", ",
        end: "]<|END_ACTION|>",
    },
};

/// Texts that must all occur in a chat template, and the syntax that it then uses. The first match counts.
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
    /// All texts of the syntax that may be control tokens.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &'static str> {
        [self.opens, self.closes, self.separators].into_iter().flatten().copied()
    }
}

impl ToolFormat {
    /// The syntax that goes with a chat template: the one it mentions if it shows tools, otherwise Hermes'.
    pub fn new(template: Option<&ChatTemplate>) -> Self {
        let source = template.filter(|template| template.shows_tools()).map_or("", ChatTemplate::source);
        let fits = |texts: &[&str]| texts.iter().all(|text| source.contains(text));
        let found = FAMILIES.iter().find(|(texts, _)| fits(texts));
        Self { syntax: found.map_or(&HERMES, |(_, syntax)| syntax) }
    }

    /// The name of the syntax within this project.
    pub fn name(&self) -> &'static str {
        self.syntax.name
    }

    /// Control tokens whose names an [`OutputParser`] must see: the marks of the syntax and those around reasoning.
    pub fn visible_tokens(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let marks = REASONING_MARKS.iter().flat_map(|&(open, close)| [open, close]);
        let texts = self.syntax.marks().chain(marks);
        let ids = texts.filter_map(|text| tokenizer.special_token(text));
        ids.filter(|&id| tokenizer.is_control(id)).collect()
    }

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

/// Whether an answer to this prompt begins inside the model's reasoning.
pub(crate) fn reasoning_open(prompt: &str) -> bool {
    REASONING_MARKS.iter().any(|(open, _)| prompt.trim_end().ends_with(open))
}
