//! Numbers as a text writes them.

use bandmaster_tools::calculator::Decimal;
use serde_json::Value;

/// The number a thousand times larger, if that is how the text writes it: with a comma before its last three digits. In
/// a text that has commas before other digits, they are points.
pub(super) fn grouped(text: &str, number: Decimal) -> Option<Value> {
    let larger = number.times(Decimal::from(1_000)).ok()?;
    let digits = larger.to_string();
    if !digits.bytes().all(|b| b.is_ascii_digit())
        || !(4..=6).contains(&digits.len())
        || digits.ends_with("000")
    {
        return None;
    }
    let (thousands, rest) = digits.split_at(digits.len() - 3);
    let written = format!("{thousands},{rest}");
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_digit() || matches!(c, ',' | '.'));
    let stands = text.match_indices(&written).any(|(at, _)| {
        let after = text[at + written.len()..].chars().next();
        is_edge(text[..at].chars().next_back()) && !after.is_some_and(|c| c.is_ascii_digit())
    });
    let has_decimal_comma = text.split(|c: char| !(c.is_ascii_digit() || c == ',')).any(|run| {
        let last = run.trim_end_matches(',').rsplit_once(',').map(|(_, last)| last);
        last.is_some_and(|last| last.len() != 3)
    });
    (stands && !has_decimal_comma).then(|| serde_json::from_str(&digits).ok()).flatten()
}
