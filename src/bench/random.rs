//! Random prompts with a seed: token ids for a model in this process, and words for servers.

use bandmaster_engine::hash::mix;

/// Common words, each of which is one token together with the space before it in GPT-2, Llama 2 and 3, Qwen2 and
/// SmolLM2. Texts of them have a known number of tokens, even for servers whose tokenizer is unknown.
const WORDS: &str = include_str!("words.txt");

/// Random token ids that don't repeat between rounds: Splitmix64 over a counter.
#[derive(Debug)]
pub(crate) struct TokenSource {
    state: u64,
    vocab: u64,
}

impl TokenSource {
    /// Ids below `vocab`, the same for the same seed.
    #[must_use]
    pub(crate) fn new(seed: u64, vocab: usize) -> Self {
        Self { state: seed, vocab: vocab.max(1) as u64 }
    }

    /// The next `count` ids.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| (self.next() % self.vocab) as u32).collect()
    }

    fn next(&mut self) -> u64 {
        let random = mix(self.state);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        random
    }
}

/// Words put before a recorded prompt: enough that no two loads begin alike.
const OPENING_WORDS: usize = 4;

/// A recorded prompt after a few random words, so that a server's prefix cache from an earlier load doesn't apply.
#[must_use]
pub(crate) fn with_random_opening(recorded: &str, seed: u64) -> String {
    WordSource::new(seed).take(OPENING_WORDS) + recorded
}

/// Generates random words, the same for the same seed.
#[derive(Debug)]
pub(crate) struct WordSource {
    words: Vec<&'static str>,
    indexes: TokenSource,
}

impl WordSource {
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let indexes = TokenSource::new(seed, words.len());
        Self { words, indexes }
    }

    /// The next `count` words, each with a space before it.
    pub(crate) fn take(&mut self, count: usize) -> String {
        let indexes = self.indexes.take(count);
        indexes.iter().flat_map(|&index| [" ", self.words[index as usize]]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use bandmaster_text::Tokenizer;

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
            // SentencePiece adds a space before a text that stands alone.
            assert!(tokens == words || tokens == words + 1, "{}: {tokens} of {words}", path.display());
        }
    }
}
