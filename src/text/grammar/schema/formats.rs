//! Rewrites the `format` of a schema's part as a `pattern`, so that it can be enforced. Formats that llguidance
//! enforces itself stay, and all others are dropped. Called by `keywords` once the other keywords of the part are
//! known.

use serde_json::{Map, Value};

/// Formats that llguidance enforces. All others are annotations, as JSON Schema allows.
const ENFORCED: &[&str] = &["duration", "ipv4", "ipv6", "uuid", "uri"];

/// Formats that are enforced as patterns. Some need a calendar; the others have no longest text, and a small model that
/// may continue with digits or letters for ever does so. Fractions of seconds have up to six digits, host names up to
/// four labels, a label up to three parts between hyphens. The part before an `@` has at most 64 characters.
const PATTERNS: &[(&str, &str)] =
    &[("time", TIME), ("date", DATE), ("date-time", DATE_TIME), ("hostname", HOSTNAME), ("email", EMAIL)];

macro_rules! time {
    () => {
        r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    };
}
macro_rules! date {
    () => {
        concat!(
            "(",
            r"([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)-",
            r"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))",
            r"|([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29",
            ")"
        )
    };
}
macro_rules! host {
    ($more:literal) => {
        concat!(label!(), r"(\.", label!(), "){0,", $more, "}")
    };
}
// Two hyphens in a row would mark a name in another alphabet (punycode).
macro_rules! label {
    () => {
        "[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,2}"
    };
}
const TIME: &str = concat!("^", time!(), "$");
const DATE: &str = concat!("^", date!(), "$");
const DATE_TIME: &str = concat!("^", date!(), "T", time!(), "$");
const HOSTNAME: &str = concat!("^", host!("3"), "$");
const EMAIL: &str =
    concat!(r"^[A-Za-z0-9_+-]{1,24}(\.[A-Za-z0-9_+-]{1,12}){0,3}@", host!("2"), r"\.[a-z]{2,12}$");

/// Replaces the `format` of `node` by a pattern, keeps it if llguidance enforces it, or drops it.
pub(super) fn rewrite(node: &mut Map<String, Value>) {
    let Some(format) = node.get("format").and_then(Value::as_str) else { return };
    if let Some((_, pattern)) = PATTERNS.iter().find(|(name, _)| *name == format) {
        node.shift_remove("format");
        if node.contains_key("pattern") {
            let all = node.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.push(serde_json::json!({ "pattern": pattern }));
            }
        } else {
            node.insert("pattern".into(), (*pattern).into());
        }
    } else if !ENFORCED.contains(&format) {
        node.shift_remove("format");
    }
}
