//! Tokenizers built from GGUF metadata: byte-level BPE and SentencePiece, exact to the id.
//!
//! A text is first cut at special tokens, and the algorithm encodes what lies between them. Ids are those of the file.
//! What a model does with them is not known here.

mod bpe;
#[cfg(any(test, feature = "fixtures"))]
pub(crate) mod fixtures;
mod matcher;
mod pretokenizers;
mod sentencepiece;
mod shared;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::ops::Range;
use std::path::Path;

use bandmaster_models::gguf::{Gguf, GgufError};

use crate::Cancellation;
use bpe::Bpe;
use matcher::Matcher;
use sentencepiece::SentencePiece;
use vocabulary::{Kind, Spelling, Vocabulary};

pub(crate) use shared::SharedTokenizer;
pub use shared::Tokenizers;

#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file can't be read, or one of its keys has the wrong type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(
        "tokenizer model `{model}` is not supported: only `gpt2` (byte-level BPE) and `llama` (SentencePiece) are"
    )]
    UnknownModel { model: String },
    /// The pre-tokenizer is not known. Guessing would silently give wrong ids.
    #[error(
        "pre-tokenizer `{pre}` is not known, and guessing would give the model wrong tokens: convert the model again with a newer converter, or use another model"
    )]
    UnknownPreTokenizer { pre: String },
    /// A byte-level vocabulary doesn't name its pre-tokenizer, as in files from before April 2024. Guessing would give
    /// wrong ids here as well.
    #[error(
        "the file has no metadata key `tokenizer.ggml.pre`, so it doesn't say how text is cut into words, and guessing would give the model wrong tokens: get a newer conversion of the model"
    )]
    MissingPreTokenizer,
    #[error("the vocabulary is damaged: {0}; download the file again")]
    Damaged(String),
}

/// Turns text into token ids and ids into bytes. Immutable, and meant to be shared.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    algorithm: Algorithm,
    /// Finds every special token.
    special: Matcher,
    /// Finds the special tokens that are recognized in plain text as well.
    user_defined: Matcher,
    /// Whether white space after a special token is dropped (Phi-3).
    strip_after_special: bool,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    /// In ascending order.
    end_of_generation: Vec<u32>,
}

/// Whether white space after a special token is dropped. Only the model's name tells.
fn strips_after_special(gguf: &Gguf) -> bool {
    let name = gguf.value::<&str>("general.name").ok().flatten().unwrap_or("").to_lowercase();
    name.contains("phi-3") || name.contains("phi3")
}

#[derive(Debug)]
enum Algorithm {
    Bpe(Bpe),
    SentencePiece(SentencePiece),
}

impl Tokenizer {
    /// Opens a GGUF file, either a whole model or only a vocabulary, and builds its tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError`] when the file can't be read or its tokenizer isn't supported.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_gguf(&Gguf::open(path)?)
    }

    /// Builds the tokenizer that a file's metadata describes.
    ///
    /// # Errors
    /// [`TokenizerError`] when keys are missing or contradict each other, or the tokenizer isn't supported.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let model: &str = gguf.required("tokenizer.ggml.model")?;
        let spelling = match model {
            "gpt2" => Spelling::ByteLevel,
            "llama" => Spelling::Metaspace,
            other => return Err(TokenizerError::UnknownModel { model: other.to_owned() }),
        };
        let texts: Vec<&str> = gguf.required("tokenizer.ggml.tokens")?;
        let kinds: Option<Vec<i32>> = gguf.value("tokenizer.ggml.token_type")?;
        let vocabulary = Vocabulary::new(spelling, &texts, kinds.as_deref())?;
        let (algorithm, add_bos_default) = match spelling {
            Spelling::ByteLevel => {
                let pre: Option<&str> = gguf.value("tokenizer.ggml.pre")?;
                let pre = pre.ok_or(TokenizerError::MissingPreTokenizer)?;
                let rules = pretokenizers::rules(pre)
                    .ok_or_else(|| TokenizerError::UnknownPreTokenizer { pre: pre.to_owned() })?;
                let merges: Vec<&str> = gguf.required("tokenizer.ggml.merges")?;
                (Algorithm::Bpe(Bpe::new(&vocabulary, &merges, rules)?), rules.add_bos)
            }
            Spelling::Metaspace => {
                let scores: Vec<f32> = gguf.required("tokenizer.ggml.scores")?;
                let space_prefix = gguf.value("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                let unknown = gguf.value("tokenizer.ggml.unknown_token_id")?;
                (
                    Algorithm::SentencePiece(SentencePiece::new(&vocabulary, scores, space_prefix, unknown)?),
                    true,
                )
            }
        };
        Self::assemble(gguf, vocabulary, algorithm, add_bos_default, &texts)
    }

    fn assemble(
        gguf: &Gguf,
        vocabulary: Vocabulary,
        algorithm: Algorithm,
        add_bos_default: bool,
        texts: &[&str],
    ) -> Result<Self, TokenizerError> {
        let id_of = |key: &str| -> Result<Option<u32>, TokenizerError> {
            let id: Option<u32> = gguf.value(key)?;
            Ok(id.filter(|&id| (id as usize) < texts.len()))
        };
        let bos = id_of("tokenizer.ggml.bos_token_id")?;
        let eos = id_of("tokenizer.ggml.eos_token_id")?;
        let mut end_of_generation = vocabulary::end_of_generation(texts);
        end_of_generation.extend(eos);
        end_of_generation.extend(id_of("tokenizer.ggml.eot_token_id")?);
        end_of_generation.extend(id_of("tokenizer.ggml.eom_token_id")?);
        end_of_generation.sort_unstable();
        end_of_generation.dedup();

        let of_kinds = |wanted: &[Kind]| -> Vec<(u32, &str)> {
            let tokens = (0u32..).zip(texts.iter().copied());
            tokens.filter(|&(id, text)| wanted.contains(&vocabulary.kind(id)) && !text.is_empty()).collect()
        };
        let special = Matcher::new(&of_kinds(&[Kind::Control, Kind::UserDefined, Kind::Unknown]))?;
        let user_defined = Matcher::new(&of_kinds(&[Kind::UserDefined]))?;
        Ok(Self {
            special,
            user_defined,
            strip_after_special: strips_after_special(gguf),
            add_bos: gguf.value("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos_default) && bos.is_some(),
            add_eos: gguf.value("tokenizer.ggml.add_eos_token")?.unwrap_or(false) && eos.is_some(),
            bos,
            eos,
            end_of_generation,
            vocabulary,
            algorithm,
        })
    }

    /// Token ids of `text`, without tokens that begin or end a sequence. With `parse_special`, the names of control
    /// tokens (`<|im_start|>`) become these tokens; otherwise they are plain characters.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let matcher = if parse_special { &self.special } else { &self.user_defined };
        self.encode_around(text, matcher.find_all(text), &Cancellation::default())
    }

    /// Like [`Tokenizer::encode`], but stops early when it is cancelled, and then returns `None`.
    pub fn encode_cancellable(
        &self,
        text: &str,
        parse_special: bool,
        cancellation: &Cancellation,
    ) -> Option<Vec<u32>> {
        let matcher = if parse_special { &self.special } else { &self.user_defined };
        let ids = self.encode_around(text, matcher.find_all(text), cancellation);
        (!cancellation.is_cancelled()).then_some(ids)
    }

    /// Bytes of the longest token that plain text can become, which bounds the number of a text's tokens from below.
    pub(crate) fn token_bytes_max(&self) -> usize {
        self.vocabulary.longest().max(1)
    }

    /// The same for every token, including the names of control tokens.
    pub(super) fn any_token_bytes_max(&self) -> usize {
        let ids = 0..self.vocab_size() as u32;
        ids.map(|id| self.decode_bytes(id).len()).max().unwrap_or(0).max(1)
    }

    /// Encodes the text between the special tokens `found`, given by position (ascending) and id.
    fn encode_around(
        &self,
        text: &str,
        found: impl Iterator<Item = (Range<usize>, u32)>,
        cancellation: &Cancellation,
    ) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        let mut scratch = bpe::Scratch::default();
        let mut at = 0;
        for (place, id) in found {
            if place.start < at {
                continue;
            }
            self.encode_plain(&text[at..place.start], &mut scratch, &mut ids, cancellation);
            ids.push(id);
            if ids.len().is_multiple_of(1 << 12) && cancellation.is_cancelled() {
                return ids;
            }
            at = place.end;
            if self.strip_after_special {
                at = text.len() - text[at..].trim_ascii_start().len();
            }
        }
        self.encode_plain(&text[at..], &mut scratch, &mut ids, cancellation);
        ids
    }

    /// `text` is a whole text, or the text between special tokens.
    fn encode_plain<'t>(
        &self,
        text: &'t str,
        scratch: &mut bpe::Scratch<'t>,
        ids: &mut Vec<u32>,
        cancellation: &Cancellation,
    ) {
        if text.is_empty() {
            return;
        }
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(&self.vocabulary, text, scratch, ids, cancellation),
            Algorithm::SentencePiece(sentencepiece) => {
                sentencepiece.encode(&self.vocabulary, text, ids, cancellation);
            }
        }
    }

    /// Token ids of text that continues after other tokens: no space is put in front.
    pub(super) fn encode_continuation(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut at = 0;
        for (place, id) in self.user_defined.find_all(text) {
            self.encode_continued(&text[at..place.start], &mut ids);
            ids.push(id);
            at = place.end;
        }
        self.encode_continued(&text[at..], &mut ids);
        ids
    }

    fn encode_continued(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(
                &self.vocabulary,
                text,
                &mut bpe::Scratch::default(),
                ids,
                &Cancellation::default(),
            ),
            Algorithm::SentencePiece(sentencepiece) => {
                sentencepiece.encode_continuation(&self.vocabulary, text, ids, &Cancellation::default());
            }
        }
    }

    /// Token ids of a whole prompt. Names of control tokens become these tokens, and tokens that begin and end a
    /// sequence are added if the file asks for them and the text doesn't have them.
    pub fn encode_prompt(&self, text: &str) -> Vec<u32> {
        self.with_bos_eos(self.encode(text, true))
    }

    /// Adds the tokens that begin and end a sequence to `ids`, if the file asks for them and they are missing.
    #[must_use]
    pub fn with_bos_eos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self.bos.filter(|bos| self.add_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        if let Some(eos) = self.eos.filter(|eos| self.add_eos && ids.last() != Some(eos)) {
            ids.push(eos);
        }
        ids
    }

    /// Puts `mark` inside every control token's name in `text`. A prompt made with the result has only the control
    /// tokens that the template put there: a user's file that contains `<|im_end|>` ends no turn.
    pub(super) fn guard(&self, text: &str, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (place, _) in self.special.find_all(text).filter(|&(_, id)| self.is_control(id)) {
            out.push_str(&text[at..place.start]);
            text[place.clone()].chars().for_each(|c| out.extend([c, mark]));
            at = place.end;
        }
        out + &text[at..]
    }

    /// Like [`Tokenizer::encode_prompt`] for the text without `mark`. What [`Tokenizer::guard`] marked stays plain
    /// text. `None` when it is cancelled.
    pub(super) fn encode_guarded(
        &self,
        text: &str,
        mark: char,
        cancellation: &Cancellation,
    ) -> Option<Vec<u32>> {
        let mut seen = 0;
        let mut removed = 0;
        let mut unmarked = |at: usize| {
            removed += text[seen..at].matches(mark).count() * mark.len_utf8();
            seen = at;
            at - removed
        };
        // A name of one character can't be split, so the mark stands behind it.
        let found = self.special.find_all(text).filter(|(place, _)| !text[place.end..].starts_with(mark));
        let found: Vec<_> =
            found.map(|(place, id)| (unmarked(place.start)..unmarked(place.end), id)).collect();
        let ids = self.encode_around(&text.replace(mark, ""), found.into_iter(), cancellation);
        (!cancellation.is_cancelled()).then(|| self.with_bos_eos(ids))
    }

    /// The bytes of a token, perhaps part of a character; a control token's are its name. Empty for an unknown id.
    pub fn decode_bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// The text of `ids` without control tokens. Invalid UTF-8 becomes `U+FFFD`.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for &id in ids.iter().filter(|&&id| !self.is_control(id)) {
            bytes.extend_from_slice(self.decode_bytes(id));
        }
        if self.space_prefix() && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the first token of a text carries a space that isn't in the text.
    pub(super) fn space_prefix(&self) -> bool {
        matches!(&self.algorithm, Algorithm::SentencePiece(sentencepiece) if sentencepiece.space_prefix())
    }

    /// Whether the token is a control token and not text, such as `<|im_start|>` or `</s>`.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.vocabulary.kind(id), Kind::Control | Kind::Unknown)
    }

    /// Whether the token only pads the table and must never be sampled.
    pub(crate) fn is_unused(&self, id: u32) -> bool {
        self.vocabulary.kind(id) == Kind::Unused
    }

    /// Whether a prompt begins with the token of [`Tokenizer::bos`].
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Tokens that end a generation (`<|im_end|>`, `<|endoftext|>`, `</s>`, …), in ascending order.
    pub(crate) fn end_of_generation(&self) -> &[u32] {
        &self.end_of_generation
    }

    /// The id of the control or user-defined token with exactly this name.
    pub(crate) fn special_token(&self, text: &str) -> Option<u32> {
        self.special.whole(text)
    }

    /// Number of tokens in the file's table. A model may have more rows of logits.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }
}
