//! JSON as Python writes it, for what this room puts into messages itself.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// One line of JSON with Python's separators.
pub(super) fn python_json(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, PythonFormatter));
    written.expect("what comes from JSON can be written as JSON");
    String::from_utf8_lossy(&out).into_owned()
}

/// Python's separators: `, ` and `: `.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
