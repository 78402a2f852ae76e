//! The stored form of an event's body. Much of a run's text occurs in it many times: an input stands in a prompt, a reply
//! in a result, a preamble in every prompt. Only the first occurrence is stored. Where it occurs again, the body has a
//! reference to it: a source, an offset and a length. A source is an input of the run, or what is stored literally of an
//! event of the run, so a reference never leads to another one. How an earlier occurrence is found is in `index.rs`, and
//! where sources are stored is not known here.
//!
//! A packed body is a blob, and one that would not get smaller is stored as text. So a text can't be taken for a
//! reference, whatever it says, and bodies of older versions are read as they are.
//!
//! ```text
//! version (1 byte) · checksum of the text (4) · bytes of references (varint) · references · literals
//! reference: literals before it · length · source · offset (varints)
//! ```

/// Text that events of many runs contain, such as the names of their fields. Packed bodies refer to it, so it must never
/// change: another dictionary needs another version.
pub(super) const DICTIONARY: &str = include_str!("dictionary.txt");

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
/// A damaged body must not fill the memory.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// Where a stretch of text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Dictionary,
    /// What is stored literally of the event with this number.
    Event(u64),
    /// The run's input at this position, as it is written in JSON.
    Input(u64),
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Self::Dictionary => 0,
            Self::Event(seq) => 2 * seq,
            Self::Input(position) => 2 * position + 1,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            0 => Self::Dictionary,
            even if even % 2 == 0 => Self::Event(even / 2),
            odd => Self::Input(odd / 2),
        }
    }
}

/// A stretch of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) source: Source,
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// A text as it stands between quotes in JSON.
pub(super) fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Collects the references of a body.
#[derive(Debug, Default)]
pub(super) struct Packer {
    references: Vec<u8>,
}

impl Packer {
    /// Adds a reference that stands behind so many literal bytes after the one before it.
    pub(super) fn refer(&mut self, literals: usize, to: Reference) {
        let Reference { source, offset, bytes } = to;
        for number in [literals as u64, bytes as u64, source.number(), offset as u64] {
            put(&mut self.references, number);
        }
    }

    /// The packed body; `None` if the text itself is not longer.
    pub(super) fn finish(self, text: &str, literals: &[u8]) -> Option<Vec<u8>> {
        let mut packed = vec![VERSION];
        packed.extend(checksum(text.as_bytes()).to_le_bytes());
        put(&mut packed, self.references.len() as u64);
        packed.extend(&self.references);
        packed.extend(literals);
        (packed.len() < text.len()).then_some(packed)
    }
}

/// A packed body, taken apart.
struct Parts<'a> {
    checksum: u32,
    references: &'a [u8],
    literals: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(packed: &'a [u8]) -> Result<Self, String> {
        let cut = || "it is cut off".to_owned();
        let (header, mut rest) = packed.split_at_checked(HEADER_BYTES).ok_or_else(cut)?;
        if header[0] != VERSION {
            return Err("it is not a packed text of this version".to_owned());
        }
        let checksum = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
        let bytes = take_size(&mut rest).ok_or_else(cut)?;
        let (references, literals) = rest.split_at_checked(bytes).ok_or_else(cut)?;
        Ok(Self { checksum, references, literals })
    }
}

/// What is stored literally of a packed body.
///
/// # Errors
/// What is wrong with it.
pub(super) fn literals(packed: &[u8]) -> Result<&[u8], String> {
    Ok(Parts::of(packed)?.literals)
}

/// The text of a packed body. `copy` adds a stretch of a source to the text, or says why it can't.
///
/// # Errors
/// What is wrong with it, or with one of its sources.
pub(super) fn unpack(
    packed: &[u8],
    mut copy: impl FnMut(Reference, &mut Vec<u8>) -> Result<(), String>,
) -> Result<String, String> {
    let Parts { checksum: expected, mut references, mut literals } = Parts::of(packed)?;
    let mut text = Vec::new();
    while !references.is_empty() {
        let [before, bytes, source, offset] =
            take_reference(&mut references).ok_or("a reference is cut off")?;
        let as_size = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
        let (literal, rest) =
            literals.split_at_checked(as_size(before)?).ok_or("some of its own text is missing")?;
        literals = rest;
        text.extend(literal);
        let reference =
            Reference { source: Source::of(source), offset: as_size(offset)?, bytes: as_size(bytes)? };
        if text.len().saturating_add(reference.bytes) > TEXT_BYTES_MAX {
            return Err("it is too long".to_owned());
        }
        copy(reference, &mut text)?;
    }
    text.extend(literals);
    if checksum(&text) != expected {
        return Err("it, or an event that it shares text with, has changed".to_owned());
    }
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// Adds a stretch of a source's text to another text.
///
/// # Errors
/// When the source is too short.
pub(super) fn copy_from(source: &[u8], reference: Reference, to: &mut Vec<u8>) -> Result<(), String> {
    let end = reference.offset.checked_add(reference.bytes);
    let stretch = end.and_then(|end| source.get(reference.offset..end));
    to.extend(stretch.ok_or("an event or an input that it shares text with is shorter than it was")?);
    Ok(())
}

fn take_reference(from: &mut &[u8]) -> Option<[u64; 4]> {
    Some([take(from)?, take(from)?, take(from)?, take(from)?])
}

/// Appends a number in groups of seven bits, lowest first. The high bit says that more follow.
fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_size(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(from)?).ok()
}

/// FNV-1a, 32 bits.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
