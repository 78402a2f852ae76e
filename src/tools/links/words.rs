//! Values as lower-case words, so that `@florin`, `Florin` and `florin,` are the same one.

/// Runs of letters, digits and underscores, in lower case.
pub(super) fn words(text: &str) -> Vec<String> {
    let runs = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    runs.filter(|run| !run.is_empty()).map(str::to_lowercase).collect()
}

/// Whether the words stand in a text one after another.
pub(super) fn holds(text: &[String], phrase: &[String]) -> bool {
    !phrase.is_empty() && text.windows(phrase.len()).any(|window| window == phrase)
}

/// Whether a value can name a record. Figures, dates and single letters stand in many texts by chance.
pub(super) fn can_name(phrase: &[String]) -> bool {
    let letters = |word: &String| word.chars().filter(|c| c.is_alphabetic()).count();
    let length: usize = phrase.iter().map(|word| word.chars().count()).sum();
    let has_letters = phrase.iter().any(|word| letters(word) > 0);
    length >= 3 && has_letters && !is_date(phrase)
}

/// Whether the words are a date such as `3 May 2026`.
fn is_date(phrase: &[String]) -> bool {
    const MONTH_CHARS: usize = 3;
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let is_month = |word: &String| MONTHS.iter().any(|month| word.get(..MONTH_CHARS) == Some(month));
    let is_number = |word: &String| word.chars().next().is_some_and(|c| c.is_ascii_digit());
    (2..=4).contains(&phrase.len())
        && phrase.iter().any(is_month)
        && phrase.iter().filter(|word| !is_month(word)).all(is_number)
}

/// The codes in a text, such as `req-91f` or `io_read.c`: what stands between spaces and mixes letters with digits, or
/// joins parts by underscores.
pub(super) fn codes(text: &str) -> Vec<Vec<String>> {
    let is_code = |token: &&str| {
        let has = |of: fn(char) -> bool| token.chars().any(of);
        has(char::is_alphabetic) && (has(char::is_numeric) || token.contains('_'))
    };
    let tokens = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '(' | ')' | '"'));
    tokens.filter(is_code).map(words).collect()
}
