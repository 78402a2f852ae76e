//! Checks the regular expressions of schemas and clients, and rewrites those of schemas so that all engines agree on
//! what they match. The messages about them quote the offending text and say where it is.

use regex_syntax::ast::{self, ErrorKind};
use regex_syntax::hir::{Hir, HirKind, Look};

/// The most characters of a grammar that a message quotes.
const QUOTED_CHARS_MAX: usize = 40;

/// A text for a message, shortened if it is long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
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
        Ok(hir) => match unsupported(&hir, true, true) {
            Some(problem) => Err(format!("`{}`: {problem}", quoted(pattern))),
            None => Ok(()),
        },
        Err(regex_syntax::Error::Parse(error)) => {
            Err(at(pattern, error.span(), syntax_problem(error.kind())))
        }
        Err(regex_syntax::Error::Translate(error)) => {
            Err(at(pattern, error.span(), "the class or flag is unknown"))
        }
        Err(_) => Err(format!("`{}` can't be read", quoted(pattern))),
    }
}

fn at(pattern: &str, span: &ast::Span, problem: &str) -> String {
    let (start, end) = (span.start.offset, span.end.offset);
    let place = pattern[..start].chars().count() + 1;
    match pattern.get(start..end).filter(|text| !text.is_empty()) {
        Some(text) => format!("`{}` at character {place} of `{}`: {problem}", quoted(text), quoted(pattern)),
        None => format!("character {place} of `{}`: {problem}", quoted(pattern)),
    }
}

fn syntax_problem(kind: &ErrorKind) -> &'static str {
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
fn unsupported(hir: &Hir, at_start: bool, at_end: bool) -> Option<&'static str> {
    match hir.kind() {
        HirKind::Look(Look::Start) if at_start => None,
        HirKind::Look(Look::End) if at_end => None,
        HirKind::Look(
            Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF,
        ) => Some("`^` and `$` can be enforced only at its beginning and its end"),
        HirKind::Look(_) => Some("word boundaries (`\\b`) can't be enforced"),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => None,
        HirKind::Repetition(repeated) => unsupported(&repeated.sub, false, false),
        HirKind::Capture(capture) => unsupported(&capture.sub, at_start, at_end),
        HirKind::Alternation(parts) => parts.iter().find_map(|part| unsupported(part, at_start, at_end)),
        HirKind::Concat(parts) => {
            let is = |part: &Hir, look: Look| matches!(part.kind(), HirKind::Look(it) if *it == look);
            let first = parts.iter().position(|part| !is(part, Look::Start)).unwrap_or(parts.len());
            let last = parts.iter().rposition(|part| !is(part, Look::End)).unwrap_or(0);
            let mut all = parts.iter().enumerate();
            all.find_map(|(at, part)| unsupported(part, at_start && at <= first, at_end && at >= last))
        }
    }
}
