//! Reads forward through untrusted bytes. Every error names the place and the offset.

use std::fmt;
use std::path::Path;

use super::error::GgufError;

/// Keys and names are cut to this many characters in messages, since a damaged file may hold a key as long as itself.
const SHOWN_CHARS_MAX: usize = 100;

/// What is being read, for error messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Location<'a> {
    Header,
    MetadataEntry(u64),
    Key(&'a str),
    TensorEntry(u64),
    Tensor(&'a str),
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Header => write!(f, "the header"),
            Location::MetadataEntry(index) => write!(f, "metadata entry {index}"),
            Location::Key(key) => write!(f, "metadata key `{}`", shortened(key)),
            Location::TensorEntry(index) => write!(f, "tensor entry {index}"),
            Location::Tensor(name) => write!(f, "tensor `{}`", shortened(name)),
        }
    }
}

/// `text`, cut to a length fit for a message.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    /// Never past the end of `bytes`.
    pub(super) at: usize,
    pub(super) file: &'a Path,
    pub(super) place: Location<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error about what is being read.
    pub(super) fn malformed(&self, offset: usize, problem: impl Into<String>) -> GgufError {
        GgufError::Malformed {
            file: self.file.to_owned(),
            place: self.place.to_string(),
            offset: offset as u64,
            problem: problem.into(),
        }
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], GgufError> {
        if count > self.left() as u64 {
            return Err(GgufError::Truncated {
                file: self.file.to_owned(),
                place: self.place.to_string(),
                offset: self.at as u64,
                needed: count,
                left: self.left() as u64,
            });
        }
        let (start, end) = (self.at, self.at + count as usize);
        self.at = end;
        Ok(&self.bytes[start..end])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        Ok(self.take(N as u64)?.try_into().expect("take gives N bytes"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: its length in eight bytes, then as many bytes of UTF-8.
    pub(super) fn string(&mut self) -> Result<&'a str, GgufError> {
        let start = self.at;
        let len = self.u64()?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed(start, "a string is not UTF-8"))
    }

    /// Reads a count of things that each take at least `bytes_min` bytes, and checks that the file can hold them.
    pub(super) fn count(&mut self, what: &str, bytes_min: usize) -> Result<usize, GgufError> {
        let start = self.at;
        let count = self.u64()?;
        let most = self.left() / bytes_min;
        if count > most as u64 {
            let problem =
                format!("it announces {count} {what}, but the rest of the file can hold at most {most}");
            return Err(self.malformed(start, problem));
        }
        Ok(count as usize)
    }
}
