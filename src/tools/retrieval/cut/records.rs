//! CSV and the like: a record is kept whole, and the first one names the columns of all others.

use csv::{ByteRecord, ReaderBuilder};

use super::outline::Outline;
use super::split::Border;

const DELIMITERS: &[u8] = b"\t;|,";

pub(super) fn outline(text: &str) -> Outline<'_> {
    let mut outline = Outline::new(text);
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &&u8| header.bytes().filter(|byte| byte == *delimiter).count();
    let delimiter = DELIMITERS.iter().rev().max_by_key(count).copied().unwrap_or(b',');
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = ByteRecord::new();
    let (mut begin, mut parent) = (0, None);
    // Reading from memory into bytes doesn't fail.
    while let Ok(true) = reader.read_byte_record(&mut record) {
        let end = text.floor_char_boundary(usize::try_from(reader.position().byte()).unwrap_or(text.len()));
        let unit = outline.piece(begin..end, Border::Line, parent);
        parent = parent.or(unit);
        begin = end;
    }
    outline.piece(begin..text.len(), Border::Line, parent);
    outline
}
