//! Plans that were made again around what was finished.

use super::RunState;

/// One time that the planner was asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replan {
    pub why: String,
    /// Ids of the tasks whose results stay in use.
    pub kept: Vec<String>,
    /// Ids of the tasks that the plan goes on without.
    pub dropped: Vec<String>,
}

impl RunState {
    /// Whether the plan goes on without this task since the planner was asked again.
    #[must_use]
    pub fn is_dropped(&self, task: &str) -> bool {
        self.replans.iter().any(|replan| replan.dropped.iter().any(|id| id == task))
    }

    pub(super) fn replan(&mut self, why: &str, kept: &[String], dropped: &[String]) {
        let (why, kept, dropped) = (why.to_owned(), kept.to_vec(), dropped.to_vec());
        self.replans.push(Replan { why, kept, dropped });
    }
}
