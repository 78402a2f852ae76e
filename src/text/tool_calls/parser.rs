//! Splits the text of a streaming answer into content, reasoning and calls.
//!
//! Every decision depends on the text so far, never on how it was cut into pieces. Text is held back until a call is
//! certain: a known tool's name, and the beginning of its arguments. If it is no call, all of it is content, unchanged.

use serde_json::Value;

use super::header::{Balance, Header, HeaderReader, ValueEnd};
use super::scan::{Bare, Found, Prefix, bare_json, find_prefix, find_tag, is_name};
use super::{REASONING_MARKS, Syntax, ToolFormat};
use crate::template::Tool;

/// A name and the marks around it must take fewer bytes than this.
const NAME_BYTES_MAX: usize = 512;
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const FUNCTION: &str = "<function=";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text for the user.
    Content(String),
    Reasoning(String),
    CallBegin {
        /// The number of this call in the answer, from 0.
        index: u32,
        name: String,
    },
    /// JSON text of the call's arguments, to be appended to the parts before. The text is the model's own: without a
    /// grammar it may end early or be invalid inside its braces.
    CallArguments {
        /// The number of the call, as in [`Part::CallBegin`].
        index: u32,
        /// Never empty.
        text: String,
    },
}

#[derive(Debug)]
pub struct OutputParser {
    syntax: &'static Syntax,
    tools: Vec<(String, Value)>,
    state: State,
    /// Text that is held back. Its meaning depends on `state`.
    held: String,
    /// Text in front of `held` that is content if no call follows: a tag, a fence, white space.
    lead: String,
    context: CallContext,
    calls_begun: usize,
    /// The tool of the latest call.
    current_tool: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum State {
    /// Nothing but white space was written yet.
    Start { reasoning_allowed: bool },
    /// Inside reasoning; `has_text` tells whether there is any text in it yet.
    Reasoning { has_text: bool },
    /// Inside content.
    Content,
    /// A call or a list of calls must begin here.
    Body,
    /// Inside a call's object, before its arguments.
    Object(HeaderReader),
    /// Inside a name that is followed by arguments.
    Name,
    /// Inside the arguments. They are a member of an object or stand alone.
    Arguments { balance: Balance, in_object: bool },
    /// After the arguments, before the end of their object.
    ObjectEnd(Option<Balance>),
    /// After `<function=`.
    FunctionName,
    /// Between the tags of a function; `any` tells whether a parameter was written yet.
    Parameters { any: bool },
    /// After a call.
    After,
}

/// The context of a call.
#[derive(Debug, Default)]
struct CallContext {
    /// The whole answer is JSON. No mark says that it is a call.
    bare: bool,
    fenced: bool,
    /// Inside a list of calls.
    list: bool,
    /// The number of bytes at the beginning of `lead` that are an opening mark.
    open_bytes: usize,
}

/// What happens after a state has looked at the held text.
enum Step {
    Again,
    Wait,
}

impl OutputParser {
    /// A parser for an answer that may call `tools`; without tools, nothing is a call. With
    /// `reasoning_open`, the answer begins inside the model's reasoning. Don't set it if a grammar makes the
    /// answer begin with a call.
    pub fn new(format: &ToolFormat, tools: &[Tool], reasoning_open: bool) -> Self {
        Self {
            syntax: format.syntax,
            tools: tools.iter().map(|tool| (tool.name.clone(), tool.parameters.clone())).collect(),
            state: if reasoning_open {
                State::Reasoning { has_text: false }
            } else {
                State::Start { reasoning_allowed: true }
            },
            held: String::new(),
            lead: String::new(),
            context: CallContext::default(),
            calls_begun: 0,
            current_tool: String::new(),
            parts: Vec::new(),
        }
    }

    /// Takes the next text and returns the parts that are certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        self.run(false);
        std::mem::take(&mut self.parts)
    }

    /// Returns what was held back, after the last text.
    pub fn finish(&mut self) -> Vec<Part> {
        self.run(true);
        match self.state {
            State::Start { reasoning_allowed: false } => {
                let text = std::mem::take(&mut self.held);
                self.push_content(text.trim_start());
            }
            State::Start { .. } | State::Content => self.push_all_content(),
            State::Reasoning { .. } => {
                let text = std::mem::take(&mut self.held);
                self.push_reasoning(text.trim_end());
            }
            State::Body | State::Object(_) | State::Name | State::FunctionName => {
                let text = std::mem::take(&mut self.lead) + &std::mem::take(&mut self.held);
                self.push_content(&text);
            }
            State::Arguments { .. } | State::ObjectEnd(_) | State::Parameters { .. } | State::After => {}
        }
        self.held.clear();
        std::mem::take(&mut self.parts)
    }

    /// The number of calls that have begun.
    pub fn calls(&self) -> usize {
        self.calls_begun
    }

    fn run(&mut self, ended: bool) {
        while let Step::Again = self.step(ended) {}
    }

    fn step(&mut self, ended: bool) -> Step {
        match &mut self.state {
            State::Start { reasoning_allowed } => {
                let allowed = *reasoning_allowed;
                self.start(allowed, ended)
            }
            State::Reasoning { has_text } => {
                let has_text = *has_text;
                self.read_reasoning(has_text)
            }
            State::Content => self.read_content(ended),
            State::Body => self.begin_call(ended),
            State::Object(_) => self.read_object(),
            State::Name => self.read_name(),
            State::Arguments { .. } => self.read_arguments(),
            State::ObjectEnd(_) => self.read_object_end(),
            State::FunctionName => self.read_function_name(),
            State::Parameters { any } => {
                let any = *any;
                self.read_parameter(any, ended)
            }
            State::After => self.after_call(ended),
        }
    }

    /// Drops `bytes` of the held text and continues in `state`.
    fn enter(&mut self, state: State, bytes: usize) -> Step {
        self.held.drain(..bytes);
        self.state = state;
        Step::Again
    }

    /// Moves `bytes` of the held text to `lead`, in front of a possible call, and continues in `state`.
    fn lead_to(&mut self, state: State, bytes: usize) -> Step {
        self.lead.push_str(&self.held[..bytes]);
        self.enter(state, bytes)
    }

    fn start(&mut self, reasoning_allowed: bool, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        if text.is_empty() {
            return Step::Wait;
        }
        let opens = REASONING_MARKS.iter().map(|&(open, _)| open).filter(|_| reasoning_allowed);
        match find_prefix(text, opens) {
            Prefix::Whole(open) => {
                return self.enter(State::Reasoning { has_text: false }, space + open.len());
            }
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        if self.tools.is_empty() {
            return self.enter(State::Content, if reasoning_allowed { 0 } else { space });
        }
        match find_prefix(text, self.syntax.opens.iter().copied()) {
            Prefix::Whole(_) => return self.enter(State::Content, space),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        match bare_json(text) {
            Bare::No => self.enter(State::Content, if reasoning_allowed { 0 } else { space }),
            Bare::Undecided => Step::Wait,
            Bare::At { at, list, fenced } => {
                self.context = CallContext { bare: true, fenced, list, open_bytes: 0 };
                let lead = space + at;
                // White space after reasoning belongs to no part.
                let dropped = if reasoning_allowed { 0 } else { space };
                self.held.drain(..dropped);
                self.lead_to(State::Object(HeaderReader::new(true)), lead - dropped)
            }
        }
    }

    fn read_reasoning(&mut self, has_text: bool) -> Step {
        if !has_text {
            let space = self.held.len() - self.held.trim_start().len();
            self.held.drain(..space);
        }
        let closes = REASONING_MARKS.iter().map(|&(_, close)| close);
        match find_tag(&self.held, closes) {
            Found::Whole(at, close) => {
                let text = self.held[..at].trim_end().to_owned();
                self.push_reasoning(&text);
                self.enter(State::Start { reasoning_allowed: false }, at + close.len())
            }
            Found::Part(at) => {
                let text = self.held[..at].trim_end().to_owned();
                self.held.drain(..text.len());
                self.push_reasoning(&text);
                self.state = State::Reasoning { has_text: has_text || !text.is_empty() };
                Step::Wait
            }
        }
    }

    fn read_content(&mut self, ended: bool) -> Step {
        if self.tools.is_empty() {
            self.push_all_content();
            return Step::Wait;
        }
        match find_tag(&self.held, self.syntax.opens.iter().copied()) {
            Found::Whole(at, open) => {
                let text = self.held[..at].to_owned();
                self.push_content(&text);
                self.held.drain(..at);
                self.open(open)
            }
            Found::Part(at) => {
                let at = if ended { self.held.len() } else { at };
                let text: String = self.held.drain(..at).collect();
                self.push_content(&text);
                Step::Wait
            }
        }
    }

    /// Continues after an opening mark.
    fn open(&mut self, open: &str) -> Step {
        self.context = CallContext { open_bytes: open.len(), ..CallContext::default() };
        self.lead_to(if open == FUNCTION { State::FunctionName } else { State::Body }, open.len())
    }

    fn begin_call(&mut self, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        match find_prefix(text, self.syntax.opens.iter().copied()) {
            Prefix::Whole(FUNCTION) => return self.lead_to(State::FunctionName, space + FUNCTION.len()),
            Prefix::Whole(open) => return self.lead_to(State::Body, space + open.len()),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        match text.chars().next() {
            None => Step::Wait,
            Some('{') => {
                let bare = self.context.bare;
                self.lead_to(State::Object(HeaderReader::new(bare)), space)
            }
            Some('[') if !self.context.list => {
                self.context.list = true;
                self.lead_to(State::Body, space + 1)
            }
            Some(c) if is_name(c) && !self.context.list => self.lead_to(State::Name, space),
            Some(_) => self.not_a_call(),
        }
    }

    fn read_object(&mut self) -> Step {
        let State::Object(reader) = &mut self.state else { return Step::Wait };
        let tools = &self.tools;
        match reader.read(&self.held, &|name| tools.iter().any(|(known, _)| known == name)) {
            Header::Incomplete => Step::Wait,
            Header::NotACall => self.not_a_call(),
            Header::ArgumentsBegin(name, at) => {
                self.push_call(name);
                self.enter(State::Arguments { balance: Balance::default(), in_object: true }, at)
            }
            Header::Complete(name, arguments, at) => {
                self.push_call(name);
                self.push_arguments(arguments);
                self.enter(State::After, at)
            }
        }
    }

    fn read_name(&mut self) -> Step {
        let mut end = NAME_BYTES_MAX.min(self.held.len());
        while !self.held.is_char_boundary(end) {
            end -= 1;
        }
        let head = &self.held[..end];
        if let Some(at) = head.find('{') {
            let name = self.name_before(&head[..at]);
            return match name {
                Some(name) => {
                    self.push_call(name);
                    self.enter(State::Arguments { balance: Balance::default(), in_object: false }, at)
                }
                None => self.not_a_call(),
            };
        }
        let word = head.split(|c| !is_name(c)).next().unwrap_or_default();
        let begins =
            |name: &str| if word.len() == head.len() { name.starts_with(word) } else { name == word };
        let possible = self.tools.iter().any(|(name, _)| begins(name))
            || "functions.".starts_with(word)
            || word.starts_with("functions.");
        if possible && self.held.len() < NAME_BYTES_MAX { Step::Wait } else { self.not_a_call() }
    }

    /// The known tool named by `head`, the text before some arguments. Forms: `NAME`, `NAME[ARGS]`,
    /// `functions.NAME:0<…>`, and `function<…>NAME` with a code fence.
    fn name_before(&self, head: &str) -> Option<String> {
        let mut words = head.split(|c| !is_name(c)).filter(|word| !word.is_empty());
        let mut word = words.next()?;
        if word == "function" && self.syntax.separators.iter().any(|separator| head.contains(separator)) {
            let at = self
                .syntax
                .separators
                .iter()
                .find_map(|separator| head.find(separator).map(|at| at + separator.len()))?;
            word = head[at..].split(|c| !is_name(c)).next()?;
        }
        let word = word.strip_prefix("functions.").unwrap_or(word);
        self.tools.iter().find(|(name, _)| name == word).map(|(name, _)| name.clone())
    }

    fn read_arguments(&mut self) -> Step {
        let State::Arguments { balance, in_object } = &mut self.state else { return Step::Wait };
        let in_object = *in_object;
        let (at, state) = match balance.read(&self.held) {
            ValueEnd::NotYet => {
                let text = std::mem::take(&mut self.held);
                self.push_arguments(text);
                return Step::Wait;
            }
            ValueEnd::At(at) if in_object => (at, State::ObjectEnd(None)),
            ValueEnd::At(at) | ValueEnd::BrokenOff(at) => (at, State::After),
        };
        let text = self.held[..at].to_owned();
        self.push_arguments(text);
        self.enter(state, at)
    }

    /// Skips the rest of the object after its arguments. The object's end may be missing.
    fn read_object_end(&mut self) -> Step {
        let State::ObjectEnd(balance) = &mut self.state else { return Step::Wait };
        match (self.held.trim_start().chars().next(), &balance) {
            (None, None) => return Step::Wait,
            (Some(',' | '}'), None) | (_, Some(_)) => {}
            (Some(_), None) => return self.enter(State::After, 0),
        }
        match balance.get_or_insert_with(|| Balance::inside(1)).read(&self.held) {
            ValueEnd::NotYet => {
                self.held.clear();
                Step::Wait
            }
            ValueEnd::At(at) | ValueEnd::BrokenOff(at) => self.enter(State::After, at),
        }
    }

    fn read_function_name(&mut self) -> Step {
        let Some(at) = self.held.find('>').filter(|&at| at < NAME_BYTES_MAX) else {
            return if self.held.len() < NAME_BYTES_MAX { Step::Wait } else { self.not_a_call() };
        };
        let name = self.held[..at].trim_matches(['"', '\'', ' ']).to_owned();
        if !self.tools.iter().any(|(known, _)| *known == name) {
            return self.not_a_call();
        }
        self.push_call(name);
        self.enter(State::Parameters { any: false }, at + 1)
    }

    /// Reads one parameter between tags, the arguments' object, or the end.
    fn read_parameter(&mut self, any: bool, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        if text.starts_with('{') && !any {
            return self.enter(State::Arguments { balance: Balance::default(), in_object: false }, space);
        }
        match find_prefix(text, [PARAMETER].into_iter()) {
            Prefix::Whole(_) => {
                let Some(end) = text.find(PARAMETER_END) else { return Step::Wait };
                let (name, value) = text[PARAMETER.len()..end].split_once('>').unwrap_or_default();
                let member = self.member(name, value);
                self.push_arguments(format!("{}{member}", if any { ", " } else { "{" }));
                self.enter(State::Parameters { any: true }, space + end + PARAMETER_END.len())
            }
            Prefix::Part if !ended => Step::Wait,
            _ if text.is_empty() => Step::Wait,
            _ => {
                self.push_arguments(if any { "}".into() } else { "{}".into() });
                self.enter(State::After, space)
            }
        }
    }

    /// A parameter as a member of the arguments' object. Valid JSON stays JSON, unless the schema declares a string.
    fn member(&self, name: &str, value: &str) -> String {
        let name = name.trim_matches(['"', '\'', ' ']);
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let schema =
            self.tools.iter().find(|(known, _)| *known == self.current_tool).map(|(_, schema)| schema);
        let is_string = schema.is_some_and(|schema| schema["properties"][name]["type"] == "string");
        let value = match serde_json::from_str::<Value>(value) {
            Ok(json) if !is_string => json,
            _ => Value::String(value.to_owned()),
        };
        format!("{}: {value}", Value::String(name.to_owned()))
    }

    fn after_call(&mut self, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        let fence = ["```"].into_iter().filter(|_| self.context.fenced);
        match find_prefix(text, self.syntax.closes.iter().copied().chain(fence)) {
            Prefix::Whole(close) => return self.enter(State::After, space + close.len()),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        match find_prefix(text, self.syntax.opens.iter().copied()) {
            Prefix::Whole(_) => return self.enter(State::Content, space),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        let list = self.context.list;
        match text.chars().next() {
            None => Step::Wait,
            Some(',') if list => self.next_call(space + 1),
            Some(']') if list => {
                self.context.list = false;
                self.enter(State::After, space + 1)
            }
            Some(';') if self.context.bare => self.next_call(space + 1),
            Some('{') if !list => self.next_call(space),
            Some(_) => {
                self.state = State::Content;
                Step::Again
            }
        }
    }

    fn next_call(&mut self, bytes: usize) -> Step {
        self.context.open_bytes = 0;
        self.lead_to(State::Body, bytes)
    }

    /// The held text is not a call. It becomes content, but a later call in it is still found.
    fn not_a_call(&mut self) -> Step {
        let open: String = self.lead.drain(..self.context.open_bytes.min(self.lead.len())).collect();
        self.push_content(&open);
        self.held.insert_str(0, &std::mem::take(&mut self.lead));
        self.state = State::Content;
        Step::Again
    }

    fn push_call(&mut self, name: String) {
        self.lead.clear();
        self.context.open_bytes = 0;
        self.current_tool.clone_from(&name);
        self.parts.push(Part::CallBegin { index: self.calls_begun as u32, name });
        self.calls_begun += 1;
    }

    fn push_arguments(&mut self, text: String) {
        let index = self.calls_begun.saturating_sub(1) as u32;
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::CallArguments { text: before, .. }) => before.push_str(&text),
            _ => self.parts.push(Part::CallArguments { index, text }),
        }
    }

    fn push_all_content(&mut self) {
        let text = std::mem::take(&mut self.held);
        self.push_content(&text);
    }

    fn push_content(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Content(before)) => before.push_str(text),
            _ => self.parts.push(Part::Content(text.to_owned())),
        }
    }

    fn push_reasoning(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Reasoning(before)) => before.push_str(text),
            _ => self.parts.push(Part::Reasoning(text.to_owned())),
        }
    }
}
