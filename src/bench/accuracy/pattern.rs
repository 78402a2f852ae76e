//! Regular expressions of suites, in Python's syntax. They may look ahead and behind, which is why they don't use the
//! tokenizer's engine.

use fancy_regex::{Regex, RegexBuilder};

/// Limit on backtracking steps per answer: enough for any answer, and an end for an expression that would never finish.
const STEPS_MAX: usize = 1_000_000;

/// An expression that an answer must match somewhere.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As the suite writes it.
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression. `(?i)` anywhere applies to the whole expression: suites write it before a part, and
    /// Python read it that way.
    ///
    /// # Errors
    /// A sentence with the expression and what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&text.replace("(?i)", ""))
            .case_insensitive(text.contains("(?i)"))
            .backtrack_limit(STEPS_MAX)
            .build()
            .map_err(|error| format!("{text} is not a regular expression: {error}"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// What is wrong with the answer if it doesn't match.
    #[must_use]
    pub fn fault(&self, answer: &str) -> Option<String> {
        match self.regex.is_match(answer) {
            Ok(true) => None,
            Ok(false) => Some(format!("lacks {}", self.text)),
            Err(error) => Some(format!("{} could not be tried: {error}", self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pythons_do() {
        for (pattern, answer, matches) in [
            ("Shakespeare", "It was William Shakespeare.", true),
            ("Shakespeare", "shakespeare", false),
            ("(?i)shakespeare", "SHAKESPEARE", true),
            (r"\?|(?i)attach|missing", "It is MISSING", true),
            (r"\b9\b|(?i:nine)", "Nine", true),
            (r"\b9\b", "99", false),
            (r"\b12(?!\d|,\d)", "12,000", false),
            (r"(?<!\d)12", "a 12", true),
            (r"(\w+) \1", "very very", true),
            (r"^Yes$", "Yes", true),
        ] {
            let fault = Pattern::new(pattern).unwrap().fault(answer);
            assert_eq!(fault.is_none(), matches, "{pattern} on {answer}: {fault:?}");
        }
        assert!(Pattern::new("(a").unwrap_err().starts_with("(a is not a regular expression"));
    }

    #[test]
    fn pattern_that_would_go_on_for_ever_ends() {
        let fault = Pattern::new(r"^(a|aa)+(?=b)\1$").unwrap().fault(&"a".repeat(60));
        assert!(fault.unwrap().contains("could not be tried"));
    }
}
