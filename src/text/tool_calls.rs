//! Stand-in.
use super::{ChatTemplate, Tokenizer, Tool};
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    None,
    Auto,
    Required,
    Named(String),
}
#[derive(Debug, Clone)]
pub struct ToolFormat;
impl ToolFormat {
    pub fn new(_: Option<&ChatTemplate>) -> Self {
        Self
    }
    pub fn visible_tokens(&self, _: &Tokenizer) -> Vec<u32> {
        vec![]
    }
}
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Content(String),
    Reasoning(String),
    CallBegin { index: u32, name: String },
    CallArguments { index: u32, text: String },
}
pub struct OutputParser;
impl OutputParser {
    pub fn new(_: &ToolFormat, _: &[Tool], _: bool) -> Self {
        Self
    }
    pub fn push(&mut self, t: &str) -> Vec<Part> {
        vec![Part::Content(t.into())]
    }
    pub fn finish(&mut self) -> Vec<Part> {
        vec![]
    }
    pub fn calls(&self) -> usize {
        0
    }
}
