//! One tokenizer for all models with the same vocabulary, and one token trie for their grammars. For 150,000 tokens
//! they take some tenths of a second to build, and tens of megabytes. The models of a family usually share a vocabulary.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bandmaster_models::gguf::{Gguf, Value};
use sha2::{Digest, Sha256};

use super::{Tokenizer, TokenizerError, strips_after_special};
use crate::grammar::{GrammarError, GrammarFactory};

/// A digest of all that a tokenizer is built from.
type Fingerprint = [u8; 32];

/// The tokenizers of the models that are in use.
#[derive(Default)]
pub struct Tokenizers {
    known: Mutex<Vec<(Fingerprint, Weak<SharedTokenizer>)>>,
}

/// A tokenizer with the grammars of its vocabulary.
pub(crate) struct SharedTokenizer {
    pub tokenizer: Arc<Tokenizer>,
    /// Made when a grammar is first needed.
    grammars: OnceLock<Result<GrammarFactory, GrammarError>>,
}

impl Tokenizers {
    /// The tokenizer that a file's metadata describes. It is built only if no model in use has the same.
    ///
    /// # Errors
    /// As [`Tokenizer::from_gguf`].
    pub(crate) fn get(&self, gguf: &Gguf) -> Result<Arc<SharedTokenizer>, TokenizerError> {
        let fingerprint = fingerprint(gguf);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, tokenizer)| tokenizer.strong_count() > 0);
        let same = known.iter().filter(|(other, _)| *other == fingerprint);
        if let Some(same) = same.filter_map(|(_, tokenizer)| tokenizer.upgrade()).next() {
            return Ok(same);
        }
        let tokenizer = Arc::new(Tokenizer::from_gguf(gguf)?);
        let shared = Arc::new(SharedTokenizer { tokenizer, grammars: OnceLock::new() });
        known.push((fingerprint, Arc::downgrade(&shared)));
        Ok(shared)
    }
}

impl SharedTokenizer {
    /// What makes grammars for this vocabulary. Blocks for some tenths of a second when it is first called.
    pub(crate) fn grammars(&self) -> Result<&GrammarFactory, GrammarError> {
        let made = self.grammars.get_or_init(|| GrammarFactory::new(Arc::clone(&self.tokenizer)));
        made.as_ref().map_err(Clone::clone)
    }
}

fn fingerprint(gguf: &Gguf) -> Fingerprint {
    let mut digest = Text(Sha256::new());
    let read = |key: &str| key.starts_with("tokenizer.") && !key.starts_with("tokenizer.chat_template");
    for (key, value) in gguf.metadata().filter(|(key, _)| read(key)) {
        digest.add(key, &value);
    }
    digest.add("strips", &Value::Bool(strips_after_special(gguf)));
    digest.0.finalize().into()
}

/// A digest to which values are written as text.
struct Text(Sha256);

impl Text {
    fn add(&mut self, key: &str, value: &Value<'_>) {
        match value {
            // The length keeps texts apart that only together are the same.
            Value::Str(text) => self.write(format_args!("{key} {} {text}", text.len())),
            Value::Array(array) => {
                self.write(format_args!("{key} {}", array.len()));
                array.iter().for_each(|value| self.add("", &value));
            }
            other => self.write(format_args!("{key} {other:?};")),
        }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.write_fmt(text).expect("a digest takes any text");
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::fixtures::byte_level_gguf;

    #[test]
    fn models_with_the_same_vocabulary_share_a_tokenizer_and_its_grammars() {
        let tokenizers = Tokenizers::default();
        let get = |merges: &[&str]| tokenizers.get(&byte_level_gguf("gpt-2", merges)).unwrap();
        let first = get(&["h e", "l l"]);
        assert!(Arc::ptr_eq(&first, &get(&["h e", "l l"])));
        let other = get(&["h e", "l o"]);
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(std::ptr::eq(first.grammars().unwrap(), get(&["h e", "l l"]).grammars().unwrap()));
        assert!(!Arc::ptr_eq(
            &first,
            &tokenizers.get(&byte_level_gguf("llama-bpe", &["h e", "l l"])).unwrap()
        ));
    }

    #[test]
    fn a_tokenizer_that_no_model_uses_is_dropped() {
        let tokenizers = Tokenizers::default();
        let used = tokenizers.get(&byte_level_gguf("gpt-2", &[])).unwrap();
        let gone = Arc::downgrade(&used.tokenizer);
        drop(used);
        assert!(gone.upgrade().is_none());
        tokenizers.get(&byte_level_gguf("gpt-2", &["h e"])).unwrap();
        assert_eq!(tokenizers.known.lock().unwrap().len(), 1);
    }
}
