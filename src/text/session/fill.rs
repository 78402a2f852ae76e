//! Text that is filled in between a prefix and a suffix, for models that were trained to: coders. The marks are tokens that
//! a file names or that the families' vocabularies have.

use bandmaster_models::gguf::{Gguf, GgufError};

use super::{LoadedModel, Prompt, SessionError};
use crate::text::{Tokenizer, Waited};

/// Between which texts something is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FillIn {
    /// What stands before.
    pub prefix: String,
    /// What stands after.
    pub suffix: String,
    /// The beginning of what is filled in.
    pub begun: String,
    /// Other files, each with its name.
    pub files: Vec<(String, String)>,
}

impl FillIn {
    /// Bytes of all its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|(name, text)| name.len() + text.len()).sum();
        self.prefix.len() + self.suffix.len() + self.begun.len() + files
    }
}

/// The tokens that a model was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    prefix: u32,
    suffix: u32,
    middle: u32,
    /// Before a repository's name and before a file's, where the model knows several files.
    files: Option<(u32, u32)>,
    /// Fills up what a training step did not need.
    pad: Option<u32>,
}

/// What each mark is called in a file's metadata, and as text in the vocabularies of Qwen, StarCoder and Granite, CodeLlama,
/// DeepSeek, and GLM.
const PREFIX: Names = Names {
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
const SUFFIX: Names = Names {
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
const MIDDLE: Names = Names {
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
const REPOSITORY: Names = Names {
    keys: &["tokenizer.ggml.fim_rep_token_id"],
    texts: &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<repo_name>", "<reponame>"],
};
const FILE: Names =
    Names { keys: &["tokenizer.ggml.fim_sep_token_id"], texts: &["<|file_sep|>", "<file_sep>"] };
const PAD: Names =
    Names { keys: &["tokenizer.ggml.fim_pad_token_id"], texts: &["<|fim_pad|>", "<fim_pad>", "<fim-pad>"] };

struct Names {
    keys: &'static [&'static str],
    texts: &'static [&'static str],
}

impl Names {
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
    /// Those of a model, where it has the three that are needed.
    ///
    /// # Errors
    /// [`GgufError`] when the metadata have another type.
    pub(super) fn find(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Self>, GgufError> {
        let find = |names: &Names| names.find(gguf, tokenizer);
        let (Some(prefix), Some(suffix), Some(middle)) = (find(&PREFIX)?, find(&SUFFIX)?, find(&MIDDLE)?)
        else {
            return Ok(None);
        };
        let files = find(&REPOSITORY)?.zip(find(&FILE)?);
        Ok(Some(Self { prefix, suffix, middle, files, pad: find(&PAD)? }))
    }
}

impl LoadedModel {
    /// Whether it can fill in.
    #[must_use]
    pub fn fills_in(&self) -> bool {
        self.fill.is_some()
    }

    /// The prompt for what is to be filled in; `None` for a model that can't. The texts are text: a mark in them is none.
    ///
    /// # Errors
    /// [`SessionError::Ended`] when nobody waits for it any more.
    pub fn fill_prompt(&self, fill: &FillIn, waited: &Waited) -> Result<Option<Prompt>, SessionError> {
        let Some(marks) = &self.fill else { return Ok(None) };
        let mut ids = Vec::new();
        let mut add = |mark: Option<u32>, text: &str| {
            ids.extend(mark);
            // Of a text that nobody waits for the rest is left out, and the prompt is not given.
            ids.extend(self.tokenizer.encode_while(text, false, &|| waited.goes_on()).unwrap_or_default());
        };
        match marks.files {
            Some((repository, file)) if !fill.files.is_empty() => {
                add(Some(repository), "repository\n");
                for (name, text) in &fill.files {
                    add(Some(file), &format!("{name}\n{text}\n"));
                }
                add(Some(file), "file\n");
            }
            // As they are, where the model knows no names of files.
            _ => fill.files.iter().for_each(|(_, text)| add(None, &format!("{text}\n"))),
        }
        add(Some(marks.prefix), &fill.prefix);
        add(Some(marks.suffix), &fill.suffix);
        add(Some(marks.middle), &fill.begun);
        let bos = self.tokenizer.bos().filter(|bos| self.tokenizer.add_bos() && ids.first() != Some(bos));
        ids.splice(0..0, bos);
        if !waited.goes_on() {
            return Err(SessionError::Ended);
        }
        Ok(Some(Prompt { text: fill.prefix.clone(), ids }))
    }

    /// Tokens that end what is filled in, besides the model's own end: another file or gap begins.
    #[must_use]
    pub fn fill_stops(&self) -> Vec<u32> {
        let Some(marks) = &self.fill else { return Vec::new() };
        let files = marks.files.into_iter().flat_map(|(repository, file)| [repository, file]);
        [marks.prefix, marks.suffix, marks.middle].into_iter().chain(files).chain(marks.pad).collect()
    }
}
