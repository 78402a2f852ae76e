//! The words of a goal.

/// Lower-case words; a word keeps its inner apostrophes and hyphens.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '-')))
        .map(|word| word.trim_matches(['\'', '’', '-']).replace('’', "'").to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The text without anything in quotation marks or back-ticks, which is only talked about.
pub(super) fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut closing: Option<char> = None;
    let mut previous = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match closing {
            Some(end) if c == end && !(c == '\'' && next.is_alphanumeric()) => closing = None,
            Some(_) => {}
            None => {
                closing = match c {
                    '"' => Some('"'),
                    '`' => Some('`'),
                    '“' => Some('”'),
                    '\'' if !previous.is_alphanumeric() && next.is_alphanumeric() => Some('\''),
                    _ => None,
                };
                out.push(if closing.is_some() { ' ' } else { c });
            }
        }
        previous = c;
    }
    // A mark that is never closed, such as an apostrophe, would remove the rest.
    if closing.is_some() { text.to_owned() } else { out }
}
