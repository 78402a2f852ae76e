//! Translates error messages of llguidance and of the regex parser into words for whoever sent the grammar, with the
//! place and the offending text if they are known. llguidance gives its errors as words alone, so what is wrong is found
//! by fragments of them. The words change the message only, never the status or the field.

use regex_syntax::ast::{self, ErrorKind};
use regex_syntax::hir::{Hir, HirKind, Look};

/// The most characters of a grammar that a message quotes.
const PIECE_CHARS_MAX: usize = 40;

const TOO_MUCH: &str =
    "it takes more work than is allowed: simplify it, with fewer or smaller repetitions and patterns";
const NOTHING_FITS: &str = "no value fits it: its keywords contradict each other";

/// Fragments of llguidance's messages, and what to say instead.
const OF_SCHEMAS: &[(&str, &str)] = &[
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
const OF_LIMITS: &[&str] = &[
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
pub(super) fn of_schema(error: &str) -> String {
    let required = between(error, "required property '", "' is unsatisfiable");
    if let Some(name) = required {
        return format!(
            "no value fits the required property `{}`: its keywords contradict each other",
            piece(name)
        );
    }
    let known = OF_SCHEMAS.iter().find(|(words, _)| error.contains(words)).map(|(_, said)| *said);
    let limit = || OF_LIMITS.iter().any(|words| error.contains(words)).then_some(TOO_MUCH);
    known.or_else(limit).unwrap_or("it has a form that can't be enforced: simplify it").to_owned()
}

/// The message for a problem with a grammar in Lark. The library's message begins with line and column.
pub(super) fn of_lark(error: &str) -> String {
    let (place, problem) = place(error);
    let named = between(problem, "\"", "\"").map(piece).unwrap_or_default();
    let found = problem
        .rsplit_once(" (at ")
        .and_then(|(_, token)| token.split_once(" ("))
        .map(|(token, _)| piece(token));
    let said = match problem {
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
                Ok(()) => format!("the regular expression `{}` can't be used", piece(&regex)),
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
        _ if OF_LIMITS.iter().any(|words| problem.contains(words)) => TOO_MUCH.to_owned(),
        _ if problem.contains("nsatisfiable") || problem.contains("NoExtension") => {
            "no text fits it".to_owned()
        }
        _ => "it is not a valid grammar: rules are `name: …`, terminals `NAME: …`".to_owned(),
    };
    match place {
        Some((line, column)) => format!("line {line}, column {column}: {said}"),
        None if problem.contains("EOF") => format!("at its end: {said}"),
        None => said,
    }
}

/// The message for a problem with a regular expression, or with a grammar translated from the client's notation.
pub(super) fn of_text(error: &str) -> String {
    match OF_LIMITS.iter().any(|words| error.contains(words)) {
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

fn piece(text: &str) -> String {
    let short: String = text.chars().take(PIECE_CHARS_MAX).collect();
    if short.len() < text.len() { short + "…" } else { short }
}

/// The form in which a schema's regular expression is enforced. A dot matches no line end, of which JavaScript knows
/// four. Regex engines disagree about white space, so a character on which they differ matches neither `\s` nor `\S`.
///
/// # Errors
/// The message of [`check_regex`].
pub(super) fn exact_regex(pattern: &str) -> Result<String, String> {
    check_regex(pattern)?;
    let found = ast::parse::Parser::new()
        .parse(pattern)
        .ok()
        .and_then(|tree| ast::visit(&tree, Classes::default()).ok());
    let (mut exact, mut end) = (String::with_capacity(pattern.len()), 0);
    for (start, until, class) in found.into_iter().flatten() {
        exact.push_str(&pattern[end..start]);
        exact.push_str(class);
        end = until;
    }
    exact.push_str(&pattern[end..]);
    Ok(exact)
}

const NO_END_OF_LINE: &str = r"[^\n\r\u{2028}\u{2029}]";
const SPACE: &str = r"[\t\n\x0B\f\r ]";
const NO_SPACE: &str = r"[^\s\x1C-\x1F\u{FEFF}]";

/// Finds the character classes that engines read differently: start, end, and replacement. A regular expression with
/// flags is left as it is, since they may change the meaning of a dot.
#[derive(Default)]
struct Classes(Vec<(usize, usize, &'static str)>);

impl Classes {
    fn note(&mut self, span: &ast::Span, class: &'static str) {
        self.0.push((span.start.offset, span.end.offset, class));
    }

    fn note_perl(&mut self, class: &ast::ClassPerl) {
        if class.kind == ast::ClassPerlKind::Space {
            self.note(&class.span, if class.negated { NO_SPACE } else { SPACE });
        }
    }
}

impl ast::Visitor for Classes {
    type Output = Vec<(usize, usize, &'static str)>;
    type Err = ();

    fn visit_pre(&mut self, tree: &ast::Ast) -> Result<(), ()> {
        match tree {
            ast::Ast::Dot(span) => self.note(span, NO_END_OF_LINE),
            ast::Ast::ClassPerl(class) => self.note_perl(class),
            ast::Ast::Flags(_) => return Err(()),
            ast::Ast::Group(group) => {
                if let ast::GroupKind::NonCapturing(flags) = &group.kind
                    && !flags.items.is_empty()
                {
                    return Err(());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), ()> {
        if let ast::ClassSetItem::Perl(class) = item {
            self.note_perl(class);
        }
        Ok(())
    }

    fn finish(self) -> Result<Self::Output, ()> {
        Ok(self.0)
    }
}

/// Whether a regular expression can be parsed and enforced.
///
/// # Errors
/// What is wrong, with the offending text and its place.
pub(super) fn check_regex(pattern: &str) -> Result<(), String> {
    match regex_syntax::parse(pattern) {
        Ok(hir) => match foreign(&hir, true, true) {
            Some(problem) => Err(format!("`{}`: {problem}", piece(pattern))),
            None => Ok(()),
        },
        Err(regex_syntax::Error::Parse(error)) => Err(at(pattern, error.span(), of_syntax(error.kind()))),
        Err(regex_syntax::Error::Translate(error)) => {
            Err(at(pattern, error.span(), "the class or flag is unknown"))
        }
        Err(_) => Err(format!("`{}` can't be read", piece(pattern))),
    }
}

fn at(pattern: &str, span: &ast::Span, problem: &str) -> String {
    let (start, end) = (span.start.offset, span.end.offset);
    let place = pattern[..start].chars().count() + 1;
    match pattern.get(start..end).filter(|text| !text.is_empty()) {
        Some(text) => format!("`{}` at character {place} of `{}`: {problem}", piece(text), piece(pattern)),
        None => format!("character {place} of `{}`: {problem}", piece(pattern)),
    }
}

fn of_syntax(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::GroupUnclosed => "the parenthesis is not closed",
        ErrorKind::GroupUnopened => "no parenthesis was opened",
        ErrorKind::ClassUnclosed => "the bracket is not closed",
        ErrorKind::ClassRangeInvalid => "the range runs backwards",
        ErrorKind::ClassRangeLiteral | ErrorKind::ClassEscapeInvalid => {
            "a range goes from one character to another"
        }
        ErrorKind::RepetitionMissing => "there is nothing to repeat before it",
        ErrorKind::RepetitionCountInvalid => "the minimum is above the maximum",
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::DecimalEmpty
        | ErrorKind::DecimalInvalid => "a count is written {2}, {2,} or {2,5}, and a literal brace \\{",
        ErrorKind::UnsupportedLookAround => "look-around can't be enforced",
        ErrorKind::UnsupportedBackreference => "back-references can't be enforced",
        ErrorKind::EscapeUnrecognized | ErrorKind::EscapeUnexpectedEof => "the escape is unknown",
        ErrorKind::EscapeHexEmpty | ErrorKind::EscapeHexInvalid | ErrorKind::EscapeHexInvalidDigit => {
            "a character by its number is written \\x41, \\u0041 or \\u{41}"
        }
        ErrorKind::NestLimitExceeded(_) | ErrorKind::CaptureLimitExceeded => "it nests too deep",
        _ => "it can't be read",
    }
}

/// What can't be enforced in a regular expression: `^` and `$` in its middle, and word boundaries.
fn foreign(hir: &Hir, at_start: bool, at_end: bool) -> Option<&'static str> {
    match hir.kind() {
        HirKind::Look(Look::Start) if at_start => None,
        HirKind::Look(Look::End) if at_end => None,
        HirKind::Look(
            Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF,
        ) => Some("`^` and `$` can be enforced only at its beginning and its end"),
        HirKind::Look(_) => Some("word boundaries (`\\b`) can't be enforced"),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => None,
        HirKind::Repetition(repeated) => foreign(&repeated.sub, false, false),
        HirKind::Capture(capture) => foreign(&capture.sub, at_start, at_end),
        HirKind::Alternation(parts) => parts.iter().find_map(|part| foreign(part, at_start, at_end)),
        HirKind::Concat(parts) => {
            let is = |part: &Hir, look: Look| matches!(part.kind(), HirKind::Look(it) if *it == look);
            let first = parts.iter().position(|part| !is(part, Look::Start)).unwrap_or(parts.len());
            let last = parts.iter().rposition(|part| !is(part, Look::End)).unwrap_or(0);
            let mut all = parts.iter().enumerate();
            all.find_map(|(at, part)| foreign(part, at_start && at <= first, at_end && at >= last))
        }
    }
}
