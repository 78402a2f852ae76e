//! Adds to an answer what it lacks.

#[must_use]
pub(crate) fn with_missing(answer: String, missing: &[String]) -> String {
    if missing.is_empty() {
        return answer;
    }
    format!("{}\n\nMissing: {}", answer.trim_end(), sentences(missing))
}

/// Joins the items as sentences, each with one full stop.
#[must_use]
pub(crate) fn sentences(missing: &[String]) -> String {
    missing.iter().map(|one| format!("{}.", one.trim_end_matches('.'))).collect::<Vec<_>>().join(" ")
}
