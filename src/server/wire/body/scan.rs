//! Counts the values of a body while it arrives, before it is parsed: an item in a list of empty lists takes three
//! bytes on the wire and many times that in memory. Whether the JSON is valid is for its parser to say.

#[cfg(test)]
mod tests;

use axum::http::StatusCode;

use crate::error::{ApiError, INVALID_REQUEST};
use crate::wire::responses::conversation::ITEMS_MAX;
use crate::wire::sampling::{STOP_TOKENS_MAX, STOPS_MAX};
use crate::wire::tools::TOOLS_MAX;

/// Maximum number of values in a body, field names included. A prompt of a million token ids fits.
pub(crate) const VALUES_MAX: usize = 1_200_000;
/// Maximum depth of nested lists and objects.
pub(crate) const DEPTH_MAX: usize = 127;
/// Bytes that are kept of a field's name. No field with a limit has a longer one.
const NAME_BYTES_MAX: usize = 24;
/// Stands for a character that no name of a field with a limit contains.
const NO_NAMES_BYTE: u8 = 0xFF;
/// Lists with limits are nested no deeper than this.
const PLACE_DEPTH_MAX: usize = 4;

/// Maximum number of items in a list, or of fields in an object, by its path: field names, and `[]` for an item of a
/// list. They are counted only here.
const LIMITS: &[(&[&str], usize)] = &[
    (&["messages"], 16_384),
    (&["messages", "[]", "content"], 4096),
    (&["messages", "[]", "tool_calls"], 256),
    (&["input", "[]", "content"], 4096),
    (&["items"], ITEMS_MAX),
    (&["items", "[]", "content"], 4096),
    (&["tools"], TOOLS_MAX),
    (&["functions"], TOOLS_MAX),
    (&["stop"], STOPS_MAX),
    (&["stop_token_ids"], STOP_TOKENS_MAX),
    (&["response_fields"], 256),
    (&["logit_bias"], 16_384),
    (&["metadata"], 256),
    (&["files"], 4096),
    (&["input"], 16_384),
    (&["chat_template_kwargs"], 256),
];

/// Scans a body chunk by chunk.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Lists and objects that are open, outermost first.
    open: Vec<Container>,
    /// Name of the field whose value comes next.
    name: Name,
    inside: Inside,
    values: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    String,
    Escape,
    /// Inside the four hex digits of an escape: how many are left, and their value so far.
    Digits(u8, u32),
    /// A number, `true`, `false` or `null`.
    Word,
}

#[derive(Debug)]
struct Container {
    is_list: bool,
    /// Name of the field that holds it; none for an item of a list.
    name: Option<Name>,
    items: usize,
    items_max: usize,
    /// In an object: a field's name comes next.
    wants_name: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = (self.len + 1).min(NAME_BYTES_MAX + 1);
    }

    /// The name, cut if it is longer than any that has a limit.
    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[..self.len.min(NAME_BYTES_MAX)])
    }

    fn is(&self, text: &str) -> bool {
        self.len <= NAME_BYTES_MAX && &self.bytes[..self.len] == text.as_bytes()
    }
}

impl Scan {
    /// Number of values so far.
    pub(crate) fn values(&self) -> usize {
        self.values
    }

    /// Scans the next chunk of the body.
    ///
    /// # Errors
    /// 400 or 413 naming what there is too much of, and the limit.
    pub(crate) fn push(&mut self, part: &[u8]) -> Result<(), ApiError> {
        let mut at = 0;
        while let Some(&byte) = part.get(at) {
            at += 1;
            match self.inside {
                Inside::Escape => self.escaped(byte),
                Inside::Digits(left, code) => self.digit(byte, left, code),
                Inside::String => {
                    if self.naming() {
                        self.string_byte(byte);
                        continue;
                    }
                    // Most of a body is text, which is searched only for its end.
                    let rest = &part[at - 1..];
                    let next =
                        rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
                    at += next;
                    if let Some(&byte) = rest.get(next) {
                        self.string_byte(byte);
                    }
                }
                Inside::Nothing | Inside::Word => self.outside(byte)?,
            }
        }
        Ok(())
    }

    /// Whether the current string is a field's name.
    fn naming(&self) -> bool {
        self.open.last().is_some_and(|open| open.wants_name)
    }

    /// A field's name may be spelled with escapes, which make it no other name.
    fn escaped(&mut self, byte: u8) {
        self.inside = if byte == b'u' { Inside::Digits(4, 0) } else { Inside::String };
        match byte {
            b'u' => {}
            b'"' | b'\\' | b'/' => self.name_byte(byte),
            _ => self.name_byte(NO_NAMES_BYTE),
        }
    }

    fn digit(&mut self, byte: u8, left: u8, code: u32) {
        // What isn't a digit is for the parser to refuse.
        let code = code << 4 | char::from(byte).to_digit(16).unwrap_or(0xF);
        self.inside = if left > 1 { Inside::Digits(left - 1, code) } else { Inside::String };
        if left == 1 {
            self.name_byte(u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(NO_NAMES_BYTE));
        }
    }

    fn name_byte(&mut self, byte: u8) {
        if self.naming() {
            self.name.push(byte);
        }
    }

    fn string_byte(&mut self, byte: u8) {
        match byte {
            b'"' => self.inside = Inside::Nothing,
            b'\\' => self.inside = Inside::Escape,
            byte => self.name_byte(byte),
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), ApiError> {
        match byte {
            b'"' => {
                self.value()?;
                self.inside = Inside::String;
                self.name = if self.naming() { Name::default() } else { self.name };
            }
            b'{' | b'[' => {
                self.value()?;
                self.enter(byte == b'[')?;
            }
            b'}' | b']' => {
                self.inside = Inside::Nothing;
                self.open.pop();
            }
            b',' => {
                self.inside = Inside::Nothing;
                if let Some(open) = self.open.last_mut() {
                    open.wants_name = !open.is_list;
                }
            }
            b':' => {
                self.inside = Inside::Nothing;
                if let Some(open) = self.open.last_mut() {
                    open.wants_name = false;
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' => self.inside = Inside::Nothing,
            _ if self.inside == Inside::Nothing => {
                self.value()?;
                self.inside = Inside::Word;
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a value, or a field's name, that begins.
    fn value(&mut self) -> Result<(), ApiError> {
        self.inside = Inside::Nothing;
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(too_much(format!(
                "the body contains more than {VALUES_MAX} values: send less at once, or text in place of token ids"
            )));
        }
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        // A field of an object is counted by its name.
        open.items += usize::from(open.is_list || open.wants_name);
        if open.items > open.items_max {
            let (field, items_max) = (self.field(), self.open.last().map_or(0, |open| open.items_max));
            return Err(ApiError::invalid(
                &field,
                format!("{field} has more than {items_max} entries: send fewer"),
            ));
        }
        Ok(())
    }

    fn enter(&mut self, is_list: bool) -> Result<(), ApiError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(ApiError::unreadable(format!(
                "the body's lists and objects nest more than {DEPTH_MAX} levels deep: nest them less"
            )));
        }
        let name = self.open.last().filter(|open| !open.is_list).map(|_| self.name);
        self.open.push(Container { is_list, name, items: 0, items_max: usize::MAX, wants_name: !is_list });
        if self.open.len() <= PLACE_DEPTH_MAX {
            let limit = LIMITS.iter().find(|(place, _)| self.is_at(place));
            let items_max = limit.map_or(usize::MAX, |(_, items_max)| *items_max);
            self.open.last_mut().expect("it was pushed").items_max = items_max;
        }
        Ok(())
    }

    /// Whether the innermost open list or object is at `place`. The outermost is the body itself.
    fn is_at(&self, place: &[&str]) -> bool {
        let inner = &self.open[1..];
        let fits = |(open, step): (&Container, &&str)| match &open.name {
            Some(name) => name.is(step),
            None => *step == "[]",
        };
        inner.len() == place.len() && inner.iter().zip(place).all(fits)
    }

    /// Path of the innermost open list or object.
    fn field(&self) -> String {
        let mut path = String::new();
        for pair in self.open.windows(2) {
            match &pair[1].name {
                Some(name) if path.is_empty() => path.push_str(&name.text()),
                Some(name) => path.extend([".", &*name.text()]),
                None => path.push_str(&format!("[{}]", pair[0].items.saturating_sub(1))),
            }
        }
        path
    }
}

fn too_much(message: String) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
}
