//! The table of tokens: their bytes and kinds, and the map from bytes to an id. How a text is cut is not known here.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::TokenizerError;

/// Bounds the time to look up a token. The longest token in real vocabularies has some 500 bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// The kind of a token (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    /// A control token, which plain text never becomes.
    Control,
    /// Recognized in any text before the algorithm runs.
    UserDefined,
    /// Pads the table.
    Unused,
    /// One byte, written as `<0x0A>`.
    Byte,
}

/// How a file spells the bytes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's spelling: each byte is one printable character (`Ġ` is a space).
    ByteLevel,
    /// SentencePiece's spelling: `▁` is a space.
    Metaspace,
}

/// Names of tokens that end a generation in known model families. Files seldom list all of them.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
];

/// Special tokens of code models. They mean that the model has begun another file.
const ENDS_OF_FILE: &[&str] =
    &["<|fim_pad|>", "<|repo_name|>", "<|fim_repo|>", "<|file_sep|>", "<fim_pad>", "<reponame>"];

/// Ids of the tokens that end a generation, in the order of the table.
pub(super) fn end_of_generation(texts: &[&str]) -> Vec<u32> {
    // In the harmony format `<|end|>` ends a message, and `<|return|>` or `<|call|>` ends the turn.
    let harmony = texts.contains(&"<|return|>") && texts.contains(&"<|call|>");
    (0u32..)
        .zip(texts)
        .filter(|(_, text)| is_end(text) && !(harmony && **text == "<|end|>"))
        .map(|(id, _)| id)
        .collect()
}

fn is_end(text: &str) -> bool {
    ENDS.contains(&text) || ENDS_OF_FILE.contains(&text)
}

#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// Token `i` is `bytes[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    kinds: Vec<Kind>,
    /// Ids by bytes, for tokens that plain text can become. Among equal ones a normal token wins, then the first.
    by_bytes: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Vocabulary {
    pub(super) fn new(
        spelling: Spelling,
        texts: &[&str],
        kinds: Option<&[i32]>,
    ) -> Result<Self, TokenizerError> {
        if texts.is_empty() {
            return Err(TokenizerError::Damaged("it has no tokens".into()));
        }
        if let Some(kinds) = kinds.filter(|kinds| kinds.len() < texts.len()) {
            let problem = format!("{} tokens have {} types", texts.len(), kinds.len());
            return Err(TokenizerError::Damaged(problem));
        }
        let mut vocabulary = Self {
            bytes: Vec::with_capacity(texts.iter().map(|text| text.len()).sum()),
            starts: Vec::with_capacity(texts.len() + 1),
            kinds: Vec::with_capacity(texts.len()),
            by_bytes: HashTable::with_capacity(texts.len()),
            hasher: DefaultHashBuilder::default(),
        };
        vocabulary.starts.push(0);
        let (mut normal, mut others) = (Vec::with_capacity(texts.len()), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            if text.len() > TOKEN_BYTES_MAX {
                let problem = format!("token {index} has {} bytes, more than {TOKEN_BYTES_MAX}", text.len());
                return Err(TokenizerError::Damaged(problem));
            }
            let kind = kind_of(text, kinds.map_or(1, |kinds| kinds[index]));
            let spelled = append_bytes(spelling, text, kind, &mut vocabulary.bytes);
            let end = u32::try_from(vocabulary.bytes.len())
                .map_err(|_| TokenizerError::Damaged("its tokens take more than 4 GiB".into()))?;
            vocabulary.starts.push(end);
            vocabulary.kinds.push(kind);
            match kind {
                Kind::Normal if spelled => normal.push(index as u32),
                Kind::UserDefined | Kind::Unused if spelled => others.push(index as u32),
                _ => {}
            }
        }
        vocabulary.index(&normal);
        vocabulary.index(&others);
        Ok(vocabulary)
    }

    fn index(&mut self, ids: &[u32]) {
        for &id in ids {
            if self.find(self.bytes(id)).is_none() {
                let hash = self.hasher.hash_one(self.bytes(id));
                let Self { bytes, starts, by_bytes, hasher, .. } = self;
                by_bytes.insert_unique(hash, id, |&other| hasher.hash_one(slice(bytes, starts, other)));
            }
        }
    }

    /// The token that plain text with these bytes becomes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(bytes);
        self.by_bytes.find(hash, |&id| self.bytes(id) == bytes).copied()
    }

    /// Empty for an id outside the table.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        if (id as usize) < self.kinds.len() { slice(&self.bytes, &self.starts, id) } else { &[] }
    }

    /// [`Kind::Unused`] for an id outside the table.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Bytes of the longest token that plain text can become.
    pub(super) fn longest(&self) -> usize {
        self.by_bytes.iter().map(|&id| self.bytes(id).len()).max().unwrap_or(0)
    }
}

fn slice<'a>(bytes: &'a [u8], starts: &[u32], id: u32) -> &'a [u8] {
    &bytes[starts[id as usize] as usize..starts[id as usize + 1] as usize]
}

fn kind_of(text: &str, number: i32) -> Kind {
    // Some converters marked end tokens as normal text. If a user's text could become one, it would end the generation.
    if is_end(text) {
        return Kind::Control;
    }
    match number {
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => Kind::Normal,
    }
}

/// Appends a token's bytes. Returns whether the algorithm can produce the token: a byte-level vocabulary may hold the
/// character `é` in addition to its two spelled bytes, and no text ever becomes that token.
fn append_bytes(spelling: Spelling, text: &str, kind: Kind, out: &mut Vec<u8>) -> bool {
    if let Some(byte) = byte_token(text).filter(|_| kind == Kind::Byte) {
        out.push(byte);
        return true;
    }
    match (spelling, kind) {
        (Spelling::Metaspace, Kind::Normal | Kind::UserDefined | Kind::Unused) => {
            out.extend_from_slice(text.replace('▁', " ").as_bytes());
            true
        }
        (Spelling::ByteLevel, Kind::Normal | Kind::Unused | Kind::Byte) => append_byte_level(text, out),
        _ => {
            out.extend_from_slice(text.as_bytes());
            spelling == Spelling::ByteLevel && text.bytes().all(|byte| byte.is_ascii_graphic())
        }
    }
}

/// Parses names such as `<0x0A>`, which is byte 10.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// Undoes GPT-2's spelling of bytes: printable Latin-1 stands for itself, and the other 68 bytes, in order, are the
/// characters from U+0100 on. Any other character stays as it is. Returns whether there was none of these.
pub(super) fn append_byte_level(text: &str, out: &mut Vec<u8>) -> bool {
    let mut spelled = true;
    for c in text.chars() {
        match u32::from(c) {
            code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => out.push(code as u8),
            code @ 0x100..=0x120 => out.push((code - 0x100) as u8),
            code @ 0x121..=0x142 => out.push((code - 0x121 + 0x7f) as u8),
            0x143 => out.push(0xad),
            _ => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                spelled = false;
            }
        }
    }
    spelled
}
