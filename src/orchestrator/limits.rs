//! The limits of a budget by name, and in words.

/// The budgets that don't end the run, by their names in events.
pub(crate) const TASKS: &str = "tasks";
pub(crate) const DEPTH: &str = "depth";

/// A limit as it is shown to people: "60 tokens", "0.5 seconds". `which` is its name in the event `budget.reached`.
#[must_use]
pub fn limit_in_words(which: &str, limit: f64) -> String {
    let (unit, more) = match which {
        DEPTH => ("task", " in a row"),
        other => (other.strip_suffix('s').unwrap_or(other), ""),
    };
    let plural = if limit == 1.0 { "" } else { "s" };
    format!("{limit} {unit}{plural}{more}")
}
