//! Words as they are compared: in lower case, without accents and ligatures, so that `Straße` equals `STRASSE`, and a
//! letter with its accent equals the two code points that some systems write.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// Letters of a word's pieces.
const PIECE_LETTERS: usize = 4;
/// A longer word is no word, but for example a hash. Its beginning is enough.
const WORD_BYTES_MAX: usize = 64;

/// Calls `take` for every word of a text. A name such as `maxBytes` or `max_bytes` also gives its words, a number such
/// as `1,000` also gives `1000`.
pub(super) fn words(text: &str, take: &mut dyn FnMut(&str)) {
    let mut folded = String::new();
    for word in text.unicode_words() {
        let word = &word[..word.floor_char_boundary(WORD_BYTES_MAX)];
        let mut count = 0;
        for word in
            word.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c)).filter(|w| !w.is_empty())
        {
            count += 1;
            fold(word, &mut folded);
            take(&folded);
            for_each_hump(word, &mut |hump| {
                fold(hump, &mut folded);
                take(&folded);
            });
        }
        if count > 1 && word.starts_with(|c: char| c.is_numeric()) {
            folded.clear();
            folded.extend(word.chars().filter(|c| c.is_numeric()));
            take(&folded);
        }
    }
}

/// Calls `take` for the pieces of a word: every run of four letters. A shorter word has none, since it is its only piece.
pub(super) fn pieces(word: &str, take: &mut dyn FnMut(&str)) {
    let starts = || word.char_indices().map(|(at, _)| at);
    let ends = starts().skip(PIECE_LETTERS).chain(std::iter::once(word.len()));
    if starts().nth(PIECE_LETTERS - 1).is_some() {
        starts().zip(ends).for_each(|(start, end)| take(&word[start..end]));
    }
}

/// Writes a word in the form in which it is compared.
fn fold(word: &str, out: &mut String) {
    out.clear();
    if word.is_ascii() {
        out.extend(word.chars().map(|c| c.to_ascii_lowercase()));
        return;
    }
    for c in word.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' => out.push('d'),
            'ı' => out.push('i'),
            'ς' => out.push('σ'),
            // What is left of `İ` in lower case.
            _ if is_combining_mark(c) => {}
            _ => out.push(c),
        }
    }
}

/// The words of a name such as `maxBytes`. A word without a capital in its middle gives none.
fn for_each_hump(word: &str, take: &mut dyn FnMut(&str)) {
    let mut begin = 0;
    let mut was_small = false;
    for (at, c) in word.char_indices() {
        if was_small && c.is_uppercase() {
            take(&word[begin..at]);
            begin = at;
        }
        was_small = c.is_lowercase() || c.is_numeric();
    }
    if begin > 0 {
        take(&word[begin..]);
    }
}
