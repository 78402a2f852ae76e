//! Splits the text of a streaming answer into content, reasoning and calls.
//!
//! Every decision depends on the text so far, never on how it was cut into pieces. Text is held back until a call is
//! certain: a known tool's name, and the beginning of its arguments. If it is no call, all of it is content, unchanged.

use serde_json::Value;

use super::header::{Balance, Ending, Header, HeaderReader};
use super::scan::{Bare, Found, Prefix, bare_json, find_prefix, find_tag, is_name};
use super::{Syntax, THOUGHTS, ToolFormat};
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
    place: Place,
    begun: usize,
    /// The tool of the latest call.
    called: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum State {
    /// Nothing but white space was written yet.
    Start { thoughts_allowed: bool },
    /// Inside reasoning; `said` tells whether there is any text in it yet.
    Thoughts { said: bool },
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
struct Place {
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
    /// A parser for an answer that may call `tools`; without tools, nothing is a call. With `reasoning_open`
    /// ([`super::reasoning_open`]), the answer begins inside the model's reasoning. Don't set it if a grammar makes the
    /// answer begin with a call.
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

    /// The number of calls that have begun.
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

    /// Drops `bytes` of the held text and continues in `state`.
    fn go(&mut self, state: State, bytes: usize) -> Step {
        self.held.drain(..bytes);
        self.state = state;
        Step::Again
    }

    /// Moves `bytes` of the held text to `lead`, in front of a possible call, and continues in `state`.
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
                // White space after reasoning belongs to no part.
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

    /// Continues after an opening mark.
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

    /// Skips the rest of the object after its arguments. The object's end may be missing.
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

    /// Reads one parameter between tags, the arguments' object, or the end.
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

    /// A parameter as a member of the arguments' object. Valid JSON stays JSON, unless the schema declares a string.
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

    /// The held text is not a call. It becomes content, but a later call in it is still found.
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
