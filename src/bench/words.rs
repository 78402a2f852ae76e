//! Made-up text of a known length: common words, each of which with the space before it is one token in every vocabulary
//! at hand (GPT-2, Llama 2 and 3, Qwen2, SmolLM2), so that a server whose tokenizer is not here reads as many tokens.

use super::workload::TokenSource;

const WORDS: &str = include_str!("words.txt");

/// Words in front of a recorded prompt: enough that no two loads begin alike.
const OPENING_WORDS: usize = 4;

/// A recorded prompt behind a few words drawn from `seed`: a server that was asked before finds nothing of it in its cache.
#[must_use]
pub fn opened(recorded: &str, seed: u64) -> String {
    WordSource::new(seed).take(OPENING_WORDS) + recorded
}

/// Draws words, the same for the same seed.
#[derive(Debug)]
pub struct WordSource {
    words: Vec<&'static str>,
    places: TokenSource,
}

impl WordSource {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let places = TokenSource::new(seed, words.len());
        Self { words, places }
    }

    /// The next `count` words, a space before each.
    pub fn take(&mut self, count: usize) -> String {
        let places = self.places.take(count);
        places.iter().flat_map(|&place| [" ", self.words[place as usize]]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::Tokenizer;

    #[test]
    fn same_seed_same_words() {
        let text = WordSource::new(7).take(40);
        assert_eq!(text, WordSource::new(7).take(40));
        assert_ne!(text, WordSource::new(8).take(40));
        assert_eq!(text.split(' ').count(), 41, "a space before every word");
    }

    #[test]
    fn a_word_is_a_token_in_every_vocabulary_at_hand() {
        let Some(folder) = bandmaster_test_support::shared("tokenizers") else { return };
        let files = std::fs::read_dir(folder).expect("a folder of vocabularies");
        let text = WORDS.split_whitespace().flat_map(|word| [" ", word]).collect::<String>();
        let words = WORDS.split_whitespace().count();
        let gguf = |path: &Path| path.extension().is_some_and(|extension| extension == "gguf");
        for path in files.flatten().map(|file| file.path()).filter(|path| gguf(path)) {
            let tokens = Tokenizer::open(&path).expect("a vocabulary").encode(&text, false).len();
            // SentencePiece writes one space before a text on its own.
            assert!(tokens == words || tokens == words + 1, "{}: {tokens} of {words}", path.display());
        }
    }
}
