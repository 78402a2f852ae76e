//! Decodes tokens to text while they are generated. Only whole characters come out, and never any part of a stop
//! sequence unless it is asked for.

use std::sync::Arc;

use super::Tokenizer;

#[derive(Debug)]
pub(crate) struct StreamDecoder {
    tokenizer: Arc<Tokenizer>,
    stops: Vec<String>,
    /// Whether the stop sequence is part of the text.
    stop_in_text: bool,
    /// Control tokens whose names become text; all other control tokens are dropped.
    visible: Vec<u32>,
    /// The first bytes of a character whose other bytes have not arrived.
    bytes: Vec<u8>,
    /// Text held back because it may be the beginning of a stop sequence.
    held: String,
    /// Whether to remove the space that SentencePiece puts in front of every text from the first piece.
    strip_space: bool,
    stopped: bool,
}

impl StreamDecoder {
    /// A decoder that stops at the first of `stops`. Empty strings in `stops` are ignored.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stops: &[String]) -> Self {
        Self {
            strip_space: tokenizer.space_prefix(),
            tokenizer,
            stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            stop_in_text: false,
            visible: Vec::new(),
            bytes: Vec::new(),
            held: String::new(),
            stopped: false,
        }
    }

    /// Makes the names of these control tokens part of the text, for a caller who parses them.
    #[must_use]
    pub(crate) fn with_visible(mut self, ids: Vec<u32>) -> Self {
        self.visible = ids;
        self
    }

    /// Whether the text includes the stop sequence that ended it.
    #[must_use]
    pub(crate) fn with_stop_in_text(mut self, stop_in_text: bool) -> Self {
        self.stop_in_text = stop_in_text;
        self
    }

    /// Takes the next token and returns the text that is final now: nothing once a stop sequence was found. Control
    /// tokens give no text, except those of [`StreamDecoder::with_visible`].
    pub(crate) fn push(&mut self, id: u32) -> String {
        if self.stopped || (self.tokenizer.is_control(id) && !self.visible.contains(&id)) {
            return String::new();
        }
        self.bytes.extend_from_slice(self.tokenizer.decode_bytes(id));
        self.take_characters();
        if self.strip_space && !self.held.is_empty() {
            self.strip_space = false;
            if self.held.starts_with(' ') {
                self.held.remove(0);
            }
        }
        self.release()
    }

    /// Returns what was held back, after the last token. An incomplete character becomes `U+FFFD`.
    pub(crate) fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        if !std::mem::take(&mut self.bytes).is_empty() {
            self.held.push(char::REPLACEMENT_CHARACTER);
        }
        std::mem::take(&mut self.held)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Moves whole characters from `bytes` to `held`. Invalid bytes become `U+FFFD`.
    fn take_characters(&mut self) {
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            taken += chunk.valid().len();
            let ends_here = taken + chunk.invalid().len() == self.bytes.len();
            if chunk.invalid().is_empty() || (ends_here && is_incomplete(chunk.invalid())) {
                break;
            }
            self.held.push(char::REPLACEMENT_CHARACTER);
            taken += chunk.invalid().len();
        }
        self.bytes.drain(..taken);
    }

    fn release(&mut self) -> String {
        if let Some((at, bytes)) = first_stop(&self.held, &self.stops) {
            self.stopped = true;
            self.held.truncate(if self.stop_in_text { at + bytes } else { at });
            return std::mem::take(&mut self.held);
        }
        let kept = held_back(&self.held, &self.stops);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Cuts text that arrives in pieces in front of the first stop sequence in it.
#[derive(Debug, Default)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopFilter {
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, ..Self::default() }
    }

    /// Takes more text and returns what is final now: nothing once a stop sequence was found.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some((at, _)) = first_stop(&self.held, &self.stops) {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let rest = self.held.split_off(self.held.len() - held_back(&self.held, &self.stops));
        std::mem::replace(&mut self.held, rest)
    }

    /// Returns what was held back, after the last piece.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    pub fn stopped(&self) -> bool {
        self.stopped
    }
}

/// The position in bytes of the first stop sequence in `text`, and its length.
fn first_stop(text: &str, stops: &[String]) -> Option<(usize, usize)> {
    // Searching for a string costs time in its length even if it cannot fit.
    let stops = stops.iter().filter(|stop| stop.len() <= text.len());
    stops.filter_map(|stop| Some((text.find(stop.as_str())?, stop.len()))).min()
}

/// The number of bytes at the end of `text` that may be the beginning of a stop sequence.
fn held_back(text: &str, stops: &[String]) -> usize {
    stops.iter().map(|stop| overlap(text, stop)).max().unwrap_or(0)
}

/// Computes the position, in characters, at which each token of a text begins. A token that begins inside a character
/// gets the position of that character.
#[derive(Debug)]
pub struct TokenOffsets {
    tokenizer: Arc<Tokenizer>,
    /// The prompt if the text begins with it, else empty.
    prompt: String,
    /// Bytes of `prompt` that are passed.
    prompt_at: usize,
    /// Tokens of the prompt still to come.
    prompt_tokens: usize,
    /// Characters in front of the next token.
    chars: usize,
    /// The first bytes of a character whose other bytes have not arrived.
    bytes: Vec<u8>,
    strip_space: bool,
}

impl TokenOffsets {
    /// For a text that begins with a prompt of `prompt_tokens` tokens, or with no prompt (an empty one of 0 tokens).
    pub fn new(tokenizer: Arc<Tokenizer>, prompt: &str, prompt_tokens: usize) -> Self {
        Self {
            strip_space: tokenizer.space_prefix(),
            tokenizer,
            prompt: prompt.to_owned(),
            prompt_at: 0,
            prompt_tokens,
            chars: 0,
            bytes: Vec::new(),
        }
    }

    /// Takes the next token and returns its position.
    pub fn push(&mut self, id: u32) -> usize {
        if self.prompt_tokens > 0 {
            self.prompt_tokens -= 1;
            return self.push_prompt(id);
        }
        // The rest of the prompt belongs to no token.
        self.chars += chars_begun(&self.prompt.as_bytes()[self.prompt_at..]);
        self.prompt_at = self.prompt.len();
        let begins = self.chars;
        if self.tokenizer.is_control(id) {
            return begins;
        }
        let mut bytes = self.tokenizer.decode_bytes(id);
        if std::mem::take(&mut self.strip_space) {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.bytes.extend_from_slice(bytes);
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.chars += chunk.valid().chars().count();
            taken += chunk.valid().len();
            let ends_here = taken + chunk.invalid().len() == self.bytes.len();
            if chunk.invalid().is_empty() || (ends_here && is_incomplete(chunk.invalid())) {
                break;
            }
            self.chars += 1;
            taken += chunk.invalid().len();
        }
        self.bytes.drain(..taken);
        begins
    }

    /// Finds the token's text in the prompt. A space that SentencePiece put in front is not there, and neither are the
    /// control tokens that begin or end a sequence.
    fn push_prompt(&mut self, id: u32) -> usize {
        let rest = &self.prompt.as_bytes()[self.prompt_at..];
        // We are inside a character, which was counted with its first byte.
        let inside = rest.first().is_some_and(|byte| is_continuation(*byte));
        let begins = self.chars - usize::from(inside && self.chars > 0);
        let bytes = self.tokenizer.decode_bytes(id);
        let passed = if rest.starts_with(bytes) {
            bytes.len()
        } else if self.tokenizer.is_control(id) {
            0
        } else if let Some(stripped) = bytes.strip_prefix(b" ").filter(|stripped| rest.starts_with(stripped))
        {
            stripped.len()
        } else {
            bytes.len().min(rest.len())
        };
        self.chars += chars_begun(&rest[..passed]);
        self.prompt_at += passed;
        begins
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn chars_begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !is_continuation(**byte)).count()
}

/// Whether these bytes are a valid beginning of a character.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

/// The number of bytes at the end of `text` that are a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|&bytes| text.as_bytes().ends_with(&stop.as_bytes()[..bytes])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::fixtures;

    fn streamed(bytes: &[u8], stops: &[&str]) -> (Vec<String>, bool) {
        let tokenizer = Arc::new(fixtures::byte_level(&[]));
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut decoder = StreamDecoder::new(tokenizer.clone(), &stops);
        let ids: Vec<u32> = bytes.iter().map(|&byte| fixtures::byte_id(&tokenizer, byte)).collect();
        let mut pieces: Vec<String> = ids.into_iter().map(|id| decoder.push(id)).collect();
        pieces.push(decoder.finish());
        (pieces, decoder.stopped())
    }

    #[test]
    fn characters_come_whole() {
        let (pieces, _) = streamed("a😁ü".as_bytes(), &[]);
        assert_eq!(pieces, ["a", "", "", "", "😁", "", "ü", ""]);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_and_do_not_block() {
        assert_eq!(streamed(b"\xf0\x9fab", &[]).0.concat(), "\u{fffd}ab");
        assert_eq!(streamed(b"\xffa\x80", &[]).0.concat(), "\u{fffd}a\u{fffd}");
        assert_eq!(streamed(b"a\xe2\x96", &[]).0.concat(), "a\u{fffd}");
    }

    #[test]
    fn stop_strings_are_never_seen_and_what_only_looked_like_one_is() {
        let (pieces, stopped) = streamed(b"one END two", &["END"]);
        assert_eq!((pieces.concat().as_str(), stopped), ("one ", true));
        let (pieces, stopped) = streamed(b"one EN two EN", &["END"]);
        assert_eq!((pieces.concat().as_str(), stopped), ("one EN two EN", false));
        assert_eq!(pieces[4], "", "held back while it may become a stop string");
        assert_eq!(streamed(b"aab", &["ab"]).0.concat(), "a");
        assert_eq!(streamed("x€y".as_bytes(), &["€"]).0.concat(), "x");
        assert_eq!(streamed(b"a\n\nb", &["", "\n\n", "\nz"]).0.concat(), "a");
    }

    #[test]
    fn a_stop_string_is_given_where_asked_for() {
        let tokenizer = Arc::new(fixtures::byte_level(&[]));
        let mut decoder = StreamDecoder::new(tokenizer.clone(), &["END".into()]).with_stop_in_text(true);
        let said: String =
            b"one END two".iter().map(|&byte| decoder.push(fixtures::byte_id(&tokenizer, byte))).collect();
        assert_eq!((said.as_str(), decoder.stopped()), ("one END", true));
    }

    #[test]
    fn text_in_pieces_ends_before_a_stop_string() {
        let check = |pieces: &[&str], stops: &[&str], expected: &[&str], stopped: bool| {
            let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
            let mut said: Vec<String> = pieces.iter().map(|piece| filter.push(piece)).collect();
            said.push(filter.finish());
            assert_eq!(
                (said, filter.stopped()),
                (expected.iter().map(|s| (*s).to_owned()).collect(), stopped)
            );
        };
        check(&["one E", "ND two"], &["END"], &["one ", "", ""], true);
        check(&["one E", "N two", " EN"], &["END"], &["one ", "EN two", " ", "EN"], false);
        check(&["a\n", "\nb"], &["\n\n", "b"], &["a", "", ""], true);
        check(&["ü"], &[], &["ü", ""], false);
    }

    #[test]
    fn control_tokens_are_text_only_where_asked_for() {
        let tokenizer = Arc::new(fixtures::byte_level(&[]));
        let ids = tokenizer.encode("a<|im_start|>b<|im_end|>", true);
        let text_of = |visible: &[&str]| {
            let visible = visible.iter().map(|text| tokenizer.special_token(text).unwrap()).collect();
            let mut decoder = StreamDecoder::new(tokenizer.clone(), &[]).with_visible(visible);
            ids.iter().map(|&id| decoder.push(id)).collect::<String>()
        };
        assert_eq!(text_of(&[]), "ab");
        assert_eq!(text_of(&["<|im_start|>"]), "a<|im_start|>b");
    }

    #[test]
    fn the_earliest_of_several_stops_counts() {
        assert_eq!(streamed(b"ab--STOP", &["STOP", "--"]).0.concat(), "ab");
    }

    #[test]
    fn tokens_begin_where_their_characters_do() {
        let tokenizer = Arc::new(fixtures::byte_level(&[]));
        let text = "größer 😁!";
        let ids = tokenizer.encode(text, false);
        let naive: Vec<usize> =
            text.char_indices().enumerate().flat_map(|(at, (_, c))| vec![at; c.len_utf8()]).collect();
        let offsets = |prompt: &str, prompt_tokens: usize, ids: &[u32]| {
            let mut offsets = TokenOffsets::new(tokenizer.clone(), prompt, prompt_tokens);
            ids.iter().map(|&id| offsets.push(id)).collect::<Vec<_>>()
        };
        assert_eq!(offsets("", 0, &ids), naive);
        for prompt_tokens in 0..ids.len() {
            let bytes: Vec<u8> =
                ids[..prompt_tokens].iter().flat_map(|&id| tokenizer.decode_bytes(id)).copied().collect();
            if let Ok(prompt) = std::str::from_utf8(&bytes) {
                assert_eq!(offsets(prompt, prompt_tokens, &ids), naive);
            }
        }
        // Invalid bytes count as one character. A control token has no text unless the prompt contains its name.
        let byte = |byte| fixtures::byte_id(&tokenizer, byte);
        assert_eq!(offsets("", 0, &[byte(0xff), byte(b'a'), byte(0xf0), byte(b'b')]), [0, 1, 2, 2]);
        let end = tokenizer.special_token("<|im_end|>").unwrap();
        assert_eq!(offsets("", 0, &[byte(b'a'), end, byte(b'b')]), [0, 1, 1]);
        assert_eq!(offsets("a<|im_end|>b", 3, &[byte(b'a'), end, byte(b'b'), byte(b'c')]), [0, 1, 11, 12]);
        assert_eq!(offsets("ab", 3, &[end, byte(b'a'), byte(b'b'), byte(b'c')]), [0, 0, 1, 2]);
    }
}
