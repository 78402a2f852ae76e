//! Prompts to fill in text between a prefix and a suffix, for models trained to do so (coders). The marks around the
//! parts are control tokens, named in the file's metadata or known from the vocabularies of model families.

use bandmaster_models::gguf::{Gguf, GgufError};

use super::{LoadedModel, Prompt, SessionError};
use crate::{Cancellation, Tokenizer};

/// A gap to fill in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FillIn {
    /// The text in front of the gap.
    pub prefix: String,
    /// The text behind the gap.
    pub suffix: String,
    /// The beginning of the text in the gap, if part of it is known.
    pub begun: String,
    /// Other files for context: `(name, text)`.
    pub files: Vec<(String, String)>,
}

impl FillIn {
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|(name, text)| name.len() + text.len()).sum();
        self.prefix.len() + self.suffix.len() + self.begun.len() + files
    }
}

/// The control tokens that separate the parts of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    prefix: u32,
    suffix: u32,
    middle: u32,
    /// The marks before a repository's and a file's name, if the model was trained on several files at once.
    files: Option<(u32, u32)>,
    /// The padding token of training.
    pad: Option<u32>,
}

/// The names of each mark: keys in a file's metadata, and texts in the vocabularies of Qwen, StarCoder and Granite,
/// CodeLlama, DeepSeek, and GLM.
const PREFIX: MarkNames = MarkNames {
    keys: &["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"],
    texts: &[
        "<|fim_prefix|>",
        "<fim_prefix>",
        "<fim-prefix>",
        "<PRE>",
        "▁<PRE>",
        "<｜fim▁begin｜>",
        "<|code_prefix|>",
    ],
};
const SUFFIX: MarkNames = MarkNames {
    keys: &["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"],
    texts: &[
        "<|fim_suffix|>",
        "<fim_suffix>",
        "<fim-suffix>",
        "<SUF>",
        "▁<SUF>",
        "<｜fim▁hole｜>",
        "<|code_suffix|>",
    ],
};
const MIDDLE: MarkNames = MarkNames {
    keys: &["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"],
    texts: &[
        "<|fim_middle|>",
        "<fim_middle>",
        "<fim-middle>",
        "<MID>",
        "▁<MID>",
        "<｜fim▁end｜>",
        "<|code_middle|>",
    ],
};
const REPOSITORY: MarkNames = MarkNames {
    keys: &["tokenizer.ggml.fim_rep_token_id"],
    texts: &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<repo_name>", "<reponame>"],
};
const FILE: MarkNames =
    MarkNames { keys: &["tokenizer.ggml.fim_sep_token_id"], texts: &["<|file_sep|>", "<file_sep>"] };
const PAD: MarkNames = MarkNames {
    keys: &["tokenizer.ggml.fim_pad_token_id"],
    texts: &["<|fim_pad|>", "<fim_pad>", "<fim-pad>"],
};

struct MarkNames {
    keys: &'static [&'static str],
    texts: &'static [&'static str],
}

impl MarkNames {
    fn find(&self, gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<u32>, GgufError> {
        for key in self.keys {
            let id: Option<u32> = gguf.value(key)?;
            if let Some(id) = id.filter(|&id| (id as usize) < tokenizer.vocab_size()) {
                return Ok(Some(id));
            }
        }
        Ok(self.texts.iter().find_map(|text| tokenizer.special_token(text)))
    }
}

impl Marks {
    /// The marks of a model; `None` if one of prefix, suffix and middle is missing.
    ///
    /// # Errors
    /// [`GgufError`] when a metadata value has the wrong type.
    pub(super) fn find(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Self>, GgufError> {
        let find = |names: &MarkNames| names.find(gguf, tokenizer);
        let (Some(prefix), Some(suffix), Some(middle)) = (find(&PREFIX)?, find(&SUFFIX)?, find(&MIDDLE)?)
        else {
            return Ok(None);
        };
        let files = find(&REPOSITORY)?.zip(find(&FILE)?);
        Ok(Some(Self { prefix, suffix, middle, files, pad: find(&PAD)? }))
    }
}

impl LoadedModel {
    /// The prompt to fill in `fill`; `None` for a model that can't. MarkNames of marks in the texts stay plain text.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`].
    pub fn fill_prompt(
        &self,
        fill: &FillIn,
        cancellation: &Cancellation,
    ) -> Result<Option<Prompt>, SessionError> {
        let Some(marks) = &self.fill_marks else { return Ok(None) };
        let mut ids = Vec::new();
        let mut add = |mark: Option<u32>, text: &str| {
            ids.extend(mark);
            // A cancelled text is cut short. No prompt is returned then.
            ids.extend(
                self.shared.tokenizer.encode_cancellable(text, false, cancellation).unwrap_or_default(),
            );
        };
        match marks.files {
            Some((repository, file)) if !fill.files.is_empty() => {
                add(Some(repository), "repository\n");
                for (name, text) in &fill.files {
                    add(Some(file), &format!("{name}\n{text}\n"));
                }
                add(Some(file), "file\n");
            }
            // This model has no marks for files, so their names are left out.
            _ => fill.files.iter().for_each(|(_, text)| add(None, &format!("{text}\n"))),
        }
        add(Some(marks.prefix), &fill.prefix);
        add(Some(marks.suffix), &fill.suffix);
        add(Some(marks.middle), &fill.begun);
        let bos = self
            .shared
            .tokenizer
            .bos()
            .filter(|bos| self.shared.tokenizer.add_bos() && ids.first() != Some(bos));
        ids.splice(0..0, bos);
        if cancellation.is_cancelled() {
            return Err(SessionError::Cancelled);
        }
        Ok(Some(Prompt { text: fill.prefix.clone(), ids }))
    }

    /// Tokens that end the filled-in text besides the end of sequence: the model begins another file or gap.
    #[must_use]
    pub fn fill_stops(&self) -> Vec<u32> {
        let Some(marks) = &self.fill_marks else { return Vec::new() };
        let files = marks.files.into_iter().flat_map(|(repository, file)| [repository, file]);
        [marks.prefix, marks.suffix, marks.middle].into_iter().chain(files).chain(marks.pad).collect()
    }
}
