//! Parses and formats sizes and ages.

use std::time::Duration;

/// Parses `8GiB`, `512 MiB`, `8GB` (decimal), `8G` (binary), or plain bytes.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is not a size: write it like 8GiB or 512MiB");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let scale: u64 = match unit.to_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(expected()),
    };
    let bytes = number * scale as f64;
    if !(1.0..=u64::MAX as f64 / 2.0).contains(&bytes) {
        return Err(expected());
    }
    Ok(bytes as u64)
}

/// Parses `30d`, `12h`, `2w`, `15m` or `90s`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not an age: write it like 30d, 12h or 15m");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| expected())
}

/// Splits into number and unit; the number is finite and not negative.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}
