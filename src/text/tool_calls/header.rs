//! Reads the beginning of a call's JSON object, byte by byte, up to its arguments or to its end.

use std::ops::Range;

use serde_json::Value;

#[derive(Debug, PartialEq)]
pub(super) enum Header {
    /// It may still become a call.
    Incomplete,
    /// It is not a call.
    NotACall,
    /// A call of this tool. Its arguments' object begins at this byte.
    ArgumentsBegin(String, usize),
    /// A complete call: name, arguments, and the byte after its end.
    Complete(String, String, usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expect {
    Key,
    Colon,
    Value,
    Inside,
    Comma,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Name,
    Arguments,
    Other,
}

/// Reads an object in pieces. It is strict about the object's own members and lenient inside their values.
#[derive(Debug)]
pub(super) struct HeaderReader {
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Where the current string or value began.
    began: usize,
    expect: Expect,
    key: Key,
    name: Option<String>,
    arguments: Option<Range<usize>>,
    /// No mark says that this is a call, so only a call's keys are accepted and the arguments must be there.
    bare: bool,
}

impl HeaderReader {
    pub(super) fn new(bare: bool) -> Self {
        Self {
            at: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            began: 0,
            expect: Expect::Key,
            key: Key::Other,
            name: None,
            arguments: None,
            bare,
        }
    }

    /// Reads what is new in `text`, which begins with `{`. `known` says whether a tool of that name exists.
    pub(super) fn read(&mut self, text: &str, known: &dyn Fn(&str) -> bool) -> Header {
        while let Some(&byte) = text.as_bytes().get(self.at) {
            let header = self.take(byte, text, known);
            self.at += 1;
            if header != Header::Incomplete {
                return header;
            }
        }
        Header::Incomplete
    }

    fn take(&mut self, byte: u8, text: &str, known: &dyn Fn(&str) -> bool) -> Header {
        if self.in_string {
            return self.take_in_string(byte, text, known);
        }
        match (byte, self.depth) {
            (b' ' | b'\n' | b'\r' | b'\t', _) => {}
            (b'{', 0) => self.depth = 1,
            (b'"', 1) => return self.begin_string(),
            (b'"', _) => self.in_string = true,
            (b'{' | b'[', 1) => return self.begin_container(byte),
            (b'{' | b'[', _) => self.depth += 1,
            (b'}', 1) => return self.end(text),
            (b'}' | b']', 2) => {
                self.depth = 1;
                return self.end_value(text, known);
            }
            (b'}' | b']', 3..) => self.depth -= 1,
            (b':', 1) if self.expect == Expect::Colon => self.expect = Expect::Value,
            (b',', 1) if matches!(self.expect, Expect::Comma | Expect::Inside) => self.expect = Expect::Key,
            // A number or a word. It can't be a name, and as arguments only `null` is accepted.
            (b'n', 1) if self.expect == Expect::Value && self.key != Key::Name => {
                self.expect = Expect::Inside
            }
            (b'a'..=b'z' | b'0'..=b'9' | b'-', 1)
                if self.expect == Expect::Value && self.key == Key::Other =>
            {
                self.expect = Expect::Inside;
            }
            (b'a'..=b'z' | b'0'..=b'9' | b'.' | b'+' | b'-' | b'E', 1) if self.expect == Expect::Inside => {}
            (_, 0 | 1) => return Header::NotACall,
            _ => {}
        }
        Header::Incomplete
    }

    fn begin_string(&mut self) -> Header {
        match self.expect {
            Expect::Key => {}
            Expect::Value => self.expect = Expect::Inside,
            _ => return Header::NotACall,
        }
        self.in_string = true;
        self.began = self.at;
        Header::Incomplete
    }

    fn take_in_string(&mut self, byte: u8, text: &str, known: &dyn Fn(&str) -> bool) -> Header {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                match (self.depth, self.expect) {
                    (1, Expect::Key) => return self.end_key(text),
                    (1, _) => return self.end_value(text, known),
                    _ => {}
                }
            }
            _ => {}
        }
        Header::Incomplete
    }

    fn end_key(&mut self, text: &str) -> Header {
        self.expect = Expect::Colon;
        self.key = match &text[self.began + 1..self.at] {
            "name" | "tool_name" | "function" => Key::Name,
            "arguments" | "parameters" => Key::Arguments,
            "id" | "type" | "call_id" | "tool_call_id" => Key::Other,
            _ if self.bare => return Header::NotACall,
            _ => Key::Other,
        };
        Header::Incomplete
    }

    fn begin_container(&mut self, byte: u8) -> Header {
        if self.expect != Expect::Value
            || self.key == Key::Name
            || (self.key == Key::Arguments && byte == b'[')
        {
            return Header::NotACall;
        }
        self.expect = Expect::Inside;
        self.depth = 2;
        self.began = self.at;
        match self.name.clone().filter(|_| self.key == Key::Arguments) {
            Some(name) => Header::ArgumentsBegin(name, self.at),
            None => Header::Incomplete,
        }
    }

    /// Handles the end of a string or a container at depth 1.
    fn end_value(&mut self, text: &str, known: &dyn Fn(&str) -> bool) -> Header {
        self.expect = Expect::Comma;
        let value = self.began..self.at + 1;
        match self.key {
            Key::Name => match serde_json::from_str::<String>(&text[value]) {
                Ok(name) if known(&name) => self.name = Some(name),
                _ => return Header::NotACall,
            },
            Key::Arguments => self.arguments = Some(value),
            Key::Other => {}
        }
        Header::Incomplete
    }

    fn end(&mut self, text: &str) -> Header {
        let complete = matches!(self.expect, Expect::Comma | Expect::Inside);
        let Some(name) = self.name.take().filter(|_| complete) else { return Header::NotACall };
        let arguments = match self.arguments.take() {
            Some(at) => object_text(&text[at]),
            None if self.bare => None,
            None => Some("{}".to_owned()),
        };
        arguments.map_or(Header::NotACall, |arguments| Header::Complete(name, arguments, self.at + 1))
    }
}

/// The arguments' object: as it was written, or decoded if it was given as a string.
fn object_text(value: &str) -> Option<String> {
    if value.starts_with('{') {
        return Some(value.to_owned());
    }
    let text: String = serde_json::from_str(value).ok()?;
    let is_object = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object());
    is_object.then(|| text.trim().to_owned())
}

/// Follows brackets and strings to the end of a value that begins with a bracket.
#[derive(Debug, Default)]
pub(super) struct Balance {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum ValueEnd {
    /// It is not in this text.
    NotYet,
    /// The value ends with the byte before this one.
    At(usize),
    /// The value breaks off before this byte, which is the `<` of a tag.
    BrokenOff(usize),
}

impl Balance {
    /// Starts inside this many brackets.
    pub(super) fn inside(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    pub(super) fn read(&mut self, text: &str) -> ValueEnd {
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return ValueEnd::At(at + 1);
                    }
                }
                b'<' => return ValueEnd::BrokenOff(at),
                _ => {}
            }
        }
        ValueEnd::NotYet
    }
}
