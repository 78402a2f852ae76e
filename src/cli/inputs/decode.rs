//! Turns bytes into text or says why not. Reads UTF-8, UTF-16 and UTF-32 with a byte order mark, and PDF with the feature
//! `pdf`; other encodings are not guessed.

use super::{INPUT_BYTES_MAX, Unreadable, too_large};
use crate::tools::retrieval::{Document, RetrievalError};

pub fn into_text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Unreadable::Invalid(too_large(bytes.len() as u64)));
    }
    if let Some(problem) = known_format(&bytes) {
        return Err(Unreadable::NotText(problem));
    }
    // Without the feature `pdf` this is one of the formats that were refused.
    if bytes.starts_with(PDF) {
        return pdf(&bytes);
    }
    let text = match bytes.as_slice() {
        // UTF-32 first: its byte order mark begins with that of UTF-16.
        [0xff, 0xfe, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes)?,
        [0, 0, 0xfe, 0xff, rest @ ..] => utf32(rest, u32::from_be_bytes)?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => utf8(bytes)?,
    };
    if text.contains('\0') {
        return not_text("it contains NUL characters: only text can be read");
    }
    if text.chars().filter(|c| is_binary_control(*c)).count() * 10 > text.chars().count() {
        return not_text("a binary file: only text can be read");
    }
    Ok(text)
}

/// How a PDF begins.
const PDF: &[u8] = b"%PDF-";

fn pdf(bytes: &[u8]) -> Result<String, Unreadable> {
    match Document::from_bytes("the PDF", bytes) {
        Ok(document) => Ok(document.text),
        Err(RetrievalError::Unreadable { why, .. }) => Err(Unreadable::NotText(why)),
        Err(error) => Err(Unreadable::NotText(error.to_string())),
    }
}

/// Control characters that no kind of text uses; a file with many of them is binary. Text may contain the others:
/// bells, overstrikes, shifts, terminal colours, old end-of-file marks, and separators of fields and records.
fn is_binary_control(c: char) -> bool {
    matches!(c, '\u{1}'..='\u{6}' | '\u{10}'..='\u{19}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}')
}

fn not_text<T>(problem: &str) -> Result<T, Unreadable> {
    Err(Unreadable::NotText(problem.to_owned()))
}

fn utf8(bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.contains(&0) {
        return Err(Unreadable::NotText(match unmarked_encoding(&bytes) {
            Some(name) => {
                format!(
                    "it looks like {name} without a byte order mark: convert it (iconv -f {name} -t UTF-8)"
                )
            }
            None => "a binary file: only text can be read".to_owned(),
        }));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let convert = "convert it, e.g. with iconv -f WINDOWS-1252 -t UTF-8";
        Unreadable::NotText(format!("not UTF-8 (at byte {at}): {convert}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn utf16(rest: &[u8], join: fn([u8; 2]) -> u16) -> Result<String, Unreadable> {
    let (pairs, left) = rest.as_chunks::<2>();
    if !left.is_empty() {
        return not_text("UTF-16 that ends in the middle of a character: the file is cut off or damaged");
    }
    let units: Vec<u16> = pairs.iter().map(|pair| join(*pair)).collect();
    String::from_utf16(&units).or_else(|_| not_text("broken UTF-16: convert it to UTF-8"))
}

fn utf32(rest: &[u8], join: fn([u8; 4]) -> u32) -> Result<String, Unreadable> {
    let (fours, left) = rest.as_chunks::<4>();
    if !left.is_empty() {
        return not_text("UTF-32 that ends in the middle of a character: the file is cut off or damaged");
    }
    let chars = fours.iter().map(|four| char::from_u32(join(*four)));
    chars.collect::<Option<String>>().map_or_else(|| not_text("broken UTF-32: convert it to UTF-8"), Ok)
}

/// The encoding whose zero bytes would be placed like these, assuming mostly Latin letters.
fn unmarked_encoding(bytes: &[u8]) -> Option<&'static str> {
    let share = |width: usize, zero: &[usize]| {
        let units = bytes.chunks_exact(width);
        let all = units.len();
        let fitting = units.filter(|unit| (0..width).all(|at| (unit[at] == 0) == zero.contains(&at)));
        bytes.len().is_multiple_of(width) && fitting.count() * 10 >= all * 7
    };
    let forms: [(&str, usize, &[usize]); 4] = [
        ("UTF-32LE", 4, &[1, 2, 3]),
        ("UTF-32BE", 4, &[0, 1, 2]),
        ("UTF-16LE", 2, &[1]),
        ("UTF-16BE", 2, &[0]),
    ];
    forms.into_iter().find(|(_, width, zero)| share(*width, zero)).map(|(name, ..)| name)
}

/// Recognises formats that people often attach, and says how to convert them.
pub fn known_format(start: &[u8]) -> Option<String> {
    let convert =
        |what: &str, how: &str| Some(format!("{what} can't be read yet: convert it to text first ({how})"));
    match start {
        _ if start.starts_with(PDF) && cfg!(feature = "pdf") => None,
        _ if start.starts_with(PDF) => convert("a PDF", "pdftotext FILE.pdf, or a build with --features pdf"),
        [b'P', b'K', 3, 4, ..] => convert("an archive or office document", "pandoc -t plain FILE"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => convert("an old office document", "save it as text"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Some("an image: only text can be read".to_owned())
        }
        [0x1f, 0x8b, ..] => Some("a compressed file: unpack it first".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text in each encoding, with its byte order mark.
    fn encoded(text: &str) -> Vec<Vec<u8>> {
        let marked = format!("\u{feff}{text}");
        let utf16 = |order: fn(u16) -> [u8; 2]| marked.encode_utf16().flat_map(order).collect();
        let utf32 = |order: fn(u32) -> [u8; 4]| marked.chars().flat_map(|c| order(c as u32)).collect();
        vec![
            text.as_bytes().to_vec(),
            marked.clone().into_bytes(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            utf32(u32::to_le_bytes),
            utf32(u32::to_be_bytes),
        ]
    }

    proptest! {
        #[test]
        fn text_is_the_same_in_every_encoding_with_a_mark(text in "[ -~à-ÿ一-十🐑\n]{0,40}") {
            prop_assume!(known_format(text.as_bytes()).is_none());
            for bytes in encoded(&text) {
                prop_assert_eq!(into_text(bytes).unwrap(), text.clone());
            }
        }

        #[test]
        fn what_is_cut_off_or_has_no_mark_is_never_read_as_something_else(text in "[a-zà-ÿ🐑 ]{4,40}", cut in 1_usize..3) {
            for (at, bytes) in encoded(&text).into_iter().enumerate().skip(2) {
                let unit = if at < 4 { 2 } else { 4 };
                if cut % unit != 0 {
                    prop_assert!(into_text(bytes[..bytes.len() - cut].to_vec()).is_err());
                }
                prop_assert!(into_text(bytes[unit..].to_vec()).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_text_says_what_it_is() {
        for (bytes, expected) in [
            (&b"\xff\xfe\0\0h\0\0\0i\0\0"[..], "UTF-32 that ends"),
            (b"\xff\xfe\0\0\0\xd8\0\0", "broken UTF-32"),
            (b"\0\0\xfe\xff\0\x11\0\0", "broken UTF-32"),
            (b"\xff\xfeh\0i", "UTF-16 that ends"),
            (b"\xff\xfe\0\xd8h\0", "broken UTF-16"),
            (b"\xfe\xff\0h\0\0", "NUL"),
            (b"h\0e\0l\0l\0o\0", "UTF-16LE without a byte order mark"),
            (b"\0h\0e\0l\0l\0o", "UTF-16BE without a byte order mark"),
            (b"h\0\0\0i\0\0\0", "UTF-32LE without a byte order mark"),
            (b"\0\0\0h\0\0\0i", "UTF-32BE without a byte order mark"),
            (b"abc\0def", "binary"),
            (b"\x01\x02\x03\x04abc", "binary"),
            (b"caf\xe9", "WINDOWS-1252"),
            (b"\xed\xa0\x80", "not UTF-8 (at byte 0)"),
        ] {
            match into_text(bytes.to_vec()) {
                Err(Unreadable::NotText(why)) => assert!(why.contains(expected), "{bytes:?}: {why}"),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
        assert_eq!(into_text(Vec::new()).unwrap(), "");
    }

    #[test]
    fn control_characters_of_texts_make_no_text_binary() {
        for text in [
            "\u{1b}[31mred\u{1b}[0m\n",
            "\u{7}",
            "\u{7}\u{7}\u{7} ready\u{7}",
            "\u{1b}]0;title\u{7}\u{1b}[1m$\u{1b}[0m ls",
            "\u{1b}\u{1b}\u{1b}",
            "N\u{8}NA\u{8}AM\u{8}ME\u{8}E",
            "a\u{c}b\u{b}c",
            "hi\u{1a}",
            "a\u{1f}b\u{1e}c\u{1d}d\u{1c}",
            "\u{e}lqk\u{f}",
            "one\u{85}two",
        ] {
            for bytes in encoded(text) {
                assert_eq!(into_text(bytes).unwrap(), text, "{text:?}");
            }
        }
    }
}
