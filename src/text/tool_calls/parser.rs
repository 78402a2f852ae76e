//! Splits what a model writes, while it comes, into content, thoughts and calls.
//!
//! Every decision is made on the text so far and never on how it was cut. Until a call is certain (a known tool's name, and
//! where its arguments begin) its text is held back; if it turns out to be none, all of it is content, as it was written.

use serde_json::Value;

use super::header::{Balance, Ending, Header, HeaderReader};
use super::scan::{Bare, Found, Prefix, bare_json, find_prefix, find_tag, is_name};
use super::{Syntax, THOUGHTS, ToolFormat};
use crate::text::template::Tool;

/// A name and what stands around it take fewer bytes than this.
const NAME_BYTES_MAX: usize = 512;
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const FUNCTION: &str = "<function=";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// For the reader.
    Content(String),
    /// The model's thoughts.
    Reasoning(String),
    /// A call begins.
    CallBegin {
        /// Counts the answer's calls from 0.
        index: u32,
        /// The tool.
        name: String,
    },
    /// JSON text of the call's arguments, to be appended to what came before. The text is the model's: without a grammar
    /// it may end early or not be sound inside of its braces.
    CallArguments {
        /// The call's.
        index: u32,
        /// Not empty.
        text: String,
    },
}

/// Reads one answer.
#[derive(Debug)]
pub struct OutputParser {
    syntax: &'static Syntax,
    tools: Vec<(String, Value)>,
    state: State,
    /// Text that is not given yet; belongs to `state`.
    held: String,
    /// What stood before `held` and is content if no call comes: a tag, a fence, white space.
    lead: String,
    place: Place,
    begun: usize,
    /// The tool of the last call.
    called: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum State {
    /// Nothing was said yet.
    Start { thoughts_allowed: bool },
    /// In thoughts; whether anything was said in them.
    Thoughts { said: bool },
    /// In content.
    Content,
    /// Where a call, or a list of calls, has to begin.
    Body,
    /// In a call's object, before its arguments.
    Object(HeaderReader),
    /// In a name that its arguments follow.
    Name,
    /// In the arguments. They are a member of an object, or stand alone.
    Arguments { balance: Balance, in_object: bool },
    /// Behind the arguments, before the object's end.
    ObjectEnd(Option<Balance>),
    /// Behind `<function=`.
    FunctionName,
    /// Between a function's tags; whether one parameter was written.
    Parameters { any: bool },
    /// Behind a call.
    After,
}

/// Around calls.
#[derive(Debug, Default)]
struct Place {
    /// The whole answer is JSON; nothing else says that it is a call.
    bare: bool,
    fenced: bool,
    /// In a list.
    list: bool,
    /// Bytes of `lead` that open calls.
    open_bytes: usize,
}

/// How much a state could do with what is held.
enum Step {
    Again,
    Wait,
}

impl OutputParser {
    /// A parser for an answer that may call `tools`; without any, nothing is a call. With `reasoning_open`, the answer begins
    /// in the model's thoughts ([`super::reasoning_open`]); not so where a grammar holds it to calls at once.
    pub fn new(format: &ToolFormat, tools: &[Tool], reasoning_open: bool) -> Self {
        Self {
            syntax: format.syntax,
            tools: tools.iter().map(|tool| (tool.name.clone(), tool.parameters.clone())).collect(),
            state: if reasoning_open {
                State::Thoughts { said: false }
            } else {
                State::Start { thoughts_allowed: true }
            },
            held: String::new(),
            lead: String::new(),
            place: Place::default(),
            begun: 0,
            called: String::new(),
            parts: Vec::new(),
        }
    }

    /// Takes the next text and gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        self.run(false);
        std::mem::take(&mut self.parts)
    }

    /// Gives what was held back, when no text follows.
    pub fn finish(&mut self) -> Vec<Part> {
        self.run(true);
        match self.state {
            State::Start { thoughts_allowed: false } => {
                let text = std::mem::take(&mut self.held);
                self.content(text.trim_start());
            }
            State::Start { .. } | State::Content => self.content_all(),
            State::Thoughts { .. } => {
                let text = std::mem::take(&mut self.held);
                self.reason(text.trim_end());
            }
            State::Body | State::Object(_) | State::Name | State::FunctionName => {
                let text = std::mem::take(&mut self.lead) + &std::mem::take(&mut self.held);
                self.content(&text);
            }
            State::Arguments { .. } | State::ObjectEnd(_) | State::Parameters { .. } | State::After => {}
        }
        self.held.clear();
        std::mem::take(&mut self.parts)
    }

    /// Calls that have begun.
    pub fn calls(&self) -> usize {
        self.begun
    }

    fn run(&mut self, ended: bool) {
        while let Step::Again = self.step(ended) {}
    }

    fn step(&mut self, ended: bool) -> Step {
        match &mut self.state {
            State::Start { thoughts_allowed } => {
                let allowed = *thoughts_allowed;
                self.start(allowed, ended)
            }
            State::Thoughts { said } => {
                let said = *said;
                self.think(said)
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

    /// Drops `bytes` of what is held and goes on in `state`.
    fn go(&mut self, state: State, bytes: usize) -> Step {
        self.held.drain(..bytes);
        self.state = state;
        Step::Again
    }

    /// Moves `bytes` of what is held in front of the call that may come, and goes on in `state`.
    fn lead_to(&mut self, state: State, bytes: usize) -> Step {
        self.lead.push_str(&self.held[..bytes]);
        self.go(state, bytes)
    }

    fn start(&mut self, thoughts_allowed: bool, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        if text.is_empty() {
            return Step::Wait;
        }
        let thoughts = THOUGHTS.iter().map(|&(open, _)| open).filter(|_| thoughts_allowed);
        match find_prefix(text, thoughts) {
            Prefix::Whole(open) => {
                return self.go(State::Thoughts { said: false }, space + open.len());
            }
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        if self.tools.is_empty() {
            return self.go(State::Content, if thoughts_allowed { 0 } else { space });
        }
        match find_prefix(text, self.syntax.opens.iter().copied()) {
            Prefix::Whole(_) => return self.go(State::Content, space),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        match bare_json(text) {
            Bare::No => self.go(State::Content, if thoughts_allowed { 0 } else { space }),
            Bare::Undecided => Step::Wait,
            Bare::At { at, list, fenced } => {
                self.place = Place { bare: true, fenced, list, open_bytes: 0 };
                let lead = space + at;
                // White space behind thoughts belongs to nobody.
                let dropped = if thoughts_allowed { 0 } else { space };
                self.held.drain(..dropped);
                self.lead_to(State::Object(HeaderReader::new(true)), lead - dropped)
            }
        }
    }

    fn think(&mut self, said: bool) -> Step {
        if !said {
            let space = self.held.len() - self.held.trim_start().len();
            self.held.drain(..space);
        }
        let closes = THOUGHTS.iter().map(|&(_, close)| close);
        match find_tag(&self.held, closes) {
            Found::Whole(at, close) => {
                let text = self.held[..at].trim_end().to_owned();
                self.reason(&text);
                self.go(State::Start { thoughts_allowed: false }, at + close.len())
            }
            Found::Part(at) => {
                let text = self.held[..at].trim_end().to_owned();
                self.held.drain(..text.len());
                self.reason(&text);
                self.state = State::Thoughts { said: said || !text.is_empty() };
                Step::Wait
            }
        }
    }

    fn read_content(&mut self, ended: bool) -> Step {
        if self.tools.is_empty() {
            self.content_all();
            return Step::Wait;
        }
        match find_tag(&self.held, self.syntax.opens.iter().copied()) {
            Found::Whole(at, open) => {
                let text = self.held[..at].to_owned();
                self.content(&text);
                self.held.drain(..at);
                self.open(open)
            }
            Found::Part(at) => {
                let at = if ended { self.held.len() } else { at };
                let text: String = self.held.drain(..at).collect();
                self.content(&text);
                Step::Wait
            }
        }
    }

    /// At a text that opens calls.
    fn open(&mut self, open: &str) -> Step {
        self.place = Place { open_bytes: open.len(), ..Place::default() };
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
                let bare = self.place.bare;
                self.lead_to(State::Object(HeaderReader::new(bare)), space)
            }
            Some('[') if !self.place.list => {
                self.place.list = true;
                self.lead_to(State::Body, space + 1)
            }
            Some(c) if is_name(c) && !self.place.list => self.lead_to(State::Name, space),
            Some(_) => self.no_call(),
        }
    }

    fn read_object(&mut self) -> Step {
        let State::Object(reader) = &mut self.state else { return Step::Wait };
        let tools = &self.tools;
        match reader.read(&self.held, &|name| tools.iter().any(|(known, _)| known == name)) {
            Header::More => Step::Wait,
            Header::Broken => self.no_call(),
            Header::Begins(name, at) => {
                self.begin(name);
                self.go(State::Arguments { balance: Balance::default(), in_object: true }, at)
            }
            Header::Whole(name, arguments, at) => {
                self.begin(name);
                self.argue(arguments);
                self.go(State::After, at)
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
                    self.begin(name);
                    self.go(State::Arguments { balance: Balance::default(), in_object: false }, at)
                }
                None => self.no_call(),
            };
        }
        let word = head.split(|c| !is_name(c)).next().unwrap_or_default();
        let begins =
            |name: &str| if word.len() == head.len() { name.starts_with(word) } else { name == word };
        let possible = self.tools.iter().any(|(name, _)| begins(name))
            || "functions.".starts_with(word)
            || word.starts_with("functions.");
        if possible && self.held.len() < NAME_BYTES_MAX { Step::Wait } else { self.no_call() }
    }

    /// The known tool that `head`, the text before some arguments, names: `NAME`, `NAME[ARGS]`, `functions.NAME:0<…>`,
    /// `function<…>NAME` and a fence.
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
            Ending::Later => {
                let text = std::mem::take(&mut self.held);
                self.argue(text);
                return Step::Wait;
            }
            Ending::At(at) if in_object => (at, State::ObjectEnd(None)),
            Ending::At(at) | Ending::Torn(at) => (at, State::After),
        };
        let text = self.held[..at].to_owned();
        self.argue(text);
        self.go(state, at)
    }

    /// What follows the arguments in their object says nothing more, but there may be no end.
    fn read_object_end(&mut self) -> Step {
        let State::ObjectEnd(balance) = &mut self.state else { return Step::Wait };
        match (self.held.trim_start().chars().next(), &balance) {
            (None, None) => return Step::Wait,
            (Some(',' | '}'), None) | (_, Some(_)) => {}
            (Some(_), None) => return self.go(State::After, 0),
        }
        match balance.get_or_insert_with(|| Balance::inside(1)).read(&self.held) {
            Ending::Later => {
                self.held.clear();
                Step::Wait
            }
            Ending::At(at) | Ending::Torn(at) => self.go(State::After, at),
        }
    }

    fn read_function_name(&mut self) -> Step {
        let Some(at) = self.held.find('>').filter(|&at| at < NAME_BYTES_MAX) else {
            return if self.held.len() < NAME_BYTES_MAX { Step::Wait } else { self.no_call() };
        };
        let name = self.held[..at].trim_matches(['"', '\'', ' ']).to_owned();
        if !self.tools.iter().any(|(known, _)| *known == name) {
            return self.no_call();
        }
        self.begin(name);
        self.go(State::Parameters { any: false }, at + 1)
    }

    /// One parameter between tags, or the arguments' object, or the end.
    fn read_parameter(&mut self, any: bool, ended: bool) -> Step {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        if text.starts_with('{') && !any {
            return self.go(State::Arguments { balance: Balance::default(), in_object: false }, space);
        }
        match find_prefix(text, [PARAMETER].into_iter()) {
            Prefix::Whole(_) => {
                let Some(end) = text.find(PARAMETER_END) else { return Step::Wait };
                let (name, value) = text[PARAMETER.len()..end].split_once('>').unwrap_or_default();
                let member = self.member(name, value);
                self.argue(format!("{}{member}", if any { ", " } else { "{" }));
                self.go(State::Parameters { any: true }, space + end + PARAMETER_END.len())
            }
            Prefix::Part if !ended => Step::Wait,
            _ if text.is_empty() => Step::Wait,
            _ => {
                self.argue(if any { "}".into() } else { "{}".into() });
                self.go(State::After, space)
            }
        }
    }

    /// A parameter as a member of the arguments' object. What the schema doesn't call a string is JSON where it is sound.
    fn member(&self, name: &str, value: &str) -> String {
        let name = name.trim_matches(['"', '\'', ' ']);
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let schema = self.tools.iter().find(|(known, _)| *known == self.called).map(|(_, schema)| schema);
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
        let fence = ["```"].into_iter().filter(|_| self.place.fenced);
        match find_prefix(text, self.syntax.closes.iter().copied().chain(fence)) {
            Prefix::Whole(close) => return self.go(State::After, space + close.len()),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        match find_prefix(text, self.syntax.opens.iter().copied()) {
            Prefix::Whole(_) => return self.go(State::Content, space),
            Prefix::Part if !ended => return Step::Wait,
            _ => {}
        }
        let list = self.place.list;
        match text.chars().next() {
            None => Step::Wait,
            Some(',') if list => self.next_call(space + 1),
            Some(']') if list => {
                self.place.list = false;
                self.go(State::After, space + 1)
            }
            Some(';') if self.place.bare => self.next_call(space + 1),
            Some('{') if !list => self.next_call(space),
            Some(_) => {
                self.state = State::Content;
                Step::Again
            }
        }
    }

    fn next_call(&mut self, bytes: usize) -> Step {
        self.place.open_bytes = 0;
        self.lead_to(State::Body, bytes)
    }

    /// What is held is no call: all of it is content, but for calls that may stand further on.
    fn no_call(&mut self) -> Step {
        let open: String = self.lead.drain(..self.place.open_bytes.min(self.lead.len())).collect();
        self.content(&open);
        self.held.insert_str(0, &std::mem::take(&mut self.lead));
        self.state = State::Content;
        Step::Again
    }

    fn begin(&mut self, name: String) {
        self.lead.clear();
        self.place.open_bytes = 0;
        self.called.clone_from(&name);
        self.parts.push(Part::CallBegin { index: self.begun as u32, name });
        self.begun += 1;
    }

    fn argue(&mut self, text: String) {
        let index = self.begun.saturating_sub(1) as u32;
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::CallArguments { text: before, .. }) => before.push_str(&text),
            _ => self.parts.push(Part::CallArguments { index, text }),
        }
    }

    fn content_all(&mut self) {
        let text = std::mem::take(&mut self.held);
        self.content(&text);
    }

    fn content(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Content(before)) => before.push_str(text),
            _ => self.parts.push(Part::Content(text.to_owned())),
        }
    }

    fn reason(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Reasoning(before)) => before.push_str(text),
            _ => self.parts.push(Part::Reasoning(text.to_owned())),
        }
    }
}
