//! Translates llguidance's error messages into words for whoever sent the grammar, with the place and the offending
//! text if they are known. llguidance gives its errors as text alone, so what is wrong is found by fragments of that
//! text. The translation changes the message only, never the status or the field.

use super::regexes::{check_regex, quoted};

const TOO_MUCH: &str =
    "it takes more work than is allowed: simplify it, with fewer or smaller repetitions and patterns";
const NOTHING_FITS: &str = "no value fits it: its keywords contradict each other";

/// Fragments of llguidance's messages, and what to say instead.
const SCHEMA_MESSAGES: &[(&str, &str)] = &[
    (
        "oneOf constraints",
        "branches of a `oneOf` may fit the same value, and it can't be enforced that only one fits: use `anyOf`, or give each \
         branch a required property with a `const` of its own",
    ),
    (
        "determine if regex is empty",
        "it takes too much work to find out whether any text fits a `pattern` together with its lengths or formats: simplify \
         the pattern or leave out the lengths",
    ),
    ("Regex is empty", "no text fits a `pattern` together with its lengths, its format or other patterns"),
    ("minLength (", "no text fits: `minLength` is above `maxLength`"),
    ("length constraints", "a constant does not have the length that `minLength` and `maxLength` ask for"),
    (
        "min/maxProperties",
        "`minProperties` and `maxProperties` can't be enforced together with optional properties: require all that are listed, or leave the counts out",
    ),
    ("minProperties (", "no object fits: `minProperties` asks for more properties than are allowed"),
    (
        "circular references",
        "a part that refers to itself has other keywords next to its `$ref`, which can't be enforced: remove the other keywords",
    ),
    (
        "intersection stack",
        "`allOf` and `$ref` combine parts in a circle or too deeply: write them as one part",
    ),
    (
        "disjoint",
        "two patterns of `patternProperties` may fit the same name, which can't be enforced: make them exclude each other",
    ),
    ("minItems", "no list fits: `minItems` asks for more items than are allowed"),
    ("Unsatisfiable", NOTHING_FITS),
    ("NoExtension", NOTHING_FITS),
    ("no extension", NOTHING_FITS),
];

/// Fragments of messages about exceeded limits.
const LIMIT_FRAGMENTS: &[&str] = &[
    "fuel",
    "too many",
    "Too many",
    "too big",
    "too large",
    "Too large",
    "too complex",
    "TooComplex",
    "limit",
    "exceeds",
    "precomputation",
];

/// The message for a problem with a schema, while its grammar is made or used.
pub(super) fn for_schema(error: &str) -> String {
    let required = between(error, "required property '", "' is unsatisfiable");
    if let Some(name) = required {
        return format!(
            "no value fits the required property `{}`: its keywords contradict each other",
            quoted(name)
        );
    }
    let known =
        SCHEMA_MESSAGES.iter().find(|(fragment, _)| error.contains(fragment)).map(|(_, message)| *message);
    let limit = || LIMIT_FRAGMENTS.iter().any(|fragment| error.contains(fragment)).then_some(TOO_MUCH);
    known.or_else(limit).unwrap_or("it has a form that can't be enforced: simplify it").to_owned()
}

/// The message for a problem with a grammar in Lark. The library's message begins with line and column.
pub(super) fn for_lark(error: &str) -> String {
    let (place, problem) = place(error);
    let named = between(problem, "\"", "\"").map(quoted).unwrap_or_default();
    let found = problem
        .rsplit_once(" (at ")
        .and_then(|(_, token)| token.split_once(" ("))
        .map(|(token, _)| quoted(token));
    let message = match problem {
        _ if problem.contains("start rule") => "there is no rule `start`, which a grammar needs".to_owned(),
        _ if problem.contains("unknown name") || problem.contains("not found") => {
            format!("`{named}` is used but not defined")
        }
        _ if problem.contains("circular") => format!("the terminal `{named}` refers to itself"),
        _ if problem.contains("duplicate") => format!("`{named}` is defined twice"),
        _ if problem.contains("invalid regex") => {
            let regex =
                between(problem, "invalid regex \"", "\" (in").unwrap_or_default().replace("\\\\", "\\");
            match check_regex(&regex) {
                Err(problem) => format!("in a regular expression, {problem}"),
                Ok(()) => format!("the regular expression `{}` can't be used", quoted(&regex)),
            }
        }
        _ if problem.contains("not support") || problem.contains("cannot be used") => {
            "it has something that is not supported there: write it as plain rules and terminals".to_owned()
        }
        _ if problem.contains("Expected") || problem.contains("expect") => {
            match found.filter(|found| !found.trim().is_empty()) {
                Some(found) => format!("`{found}` is not allowed there"),
                None => "something is missing there".to_owned(),
            }
        }
        _ if LIMIT_FRAGMENTS.iter().any(|fragment| problem.contains(fragment)) => TOO_MUCH.to_owned(),
        _ if problem.contains("nsatisfiable") || problem.contains("NoExtension") => {
            "no text fits it".to_owned()
        }
        _ => "it is not a valid grammar: rules are `name: …`, terminals `NAME: …`".to_owned(),
    };
    match place {
        Some((line, column)) => format!("line {line}, column {column}: {message}"),
        None if problem.contains("EOF") => format!("at its end: {message}"),
        None => message,
    }
}

/// The message for a problem with a regular expression, or with a grammar translated from the client's notation.
pub(super) fn for_text(error: &str) -> String {
    match LIMIT_FRAGMENTS.iter().any(|fragment| error.contains(fragment)) {
        true => TOO_MUCH.to_owned(),
        false if error.contains("NoExtension") || error.contains("nsatisfiable") => {
            "no text fits it".to_owned()
        }
        false => "it has a form that can't be enforced: simplify it".to_owned(),
    }
}

/// The line and column at the beginning of a message, and the rest of its first line.
fn place(error: &str) -> (Option<(u32, u32)>, &str) {
    let first = error.lines().next().unwrap_or_default();
    let numbers = first.strip_prefix("at ").unwrap_or(first);
    let parsed = numbers.split_once('(').and_then(|(line, rest)| {
        let (column, rest) = rest.split_once("): ")?;
        Some(((line.parse().ok()?, column.parse().ok()?), rest))
    });
    match parsed {
        Some((place, rest)) => (Some(place), rest),
        None => (None, first),
    }
}

fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(behind)?])
}
