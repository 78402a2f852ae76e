//! The state of a run whose record is damaged, or ends before the run did.

use bandmaster_journal::Event;

use super::RunState;
use crate::outcome::Status;

impl RunState {
    pub(super) fn note_damage(&mut self, seq: u64, kind: &str, why: &str) {
        self.damaged.push(format!("event {seq} ({kind}), whose record is damaged: {why}"));
    }

    /// Takes what can be read of a damaged event: a run or task that ended did end, even if nobody can say how.
    pub(super) fn take_damaged(&mut self, event: &Event) {
        let text = |field: &str| event.body[field].as_str().unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "run.finished" => {
                self.status = Status::Incomplete;
                self.answer = text("answer");
            }
            "task.finished" => {
                if let Some(task) = self.task_mut(&text("task")) {
                    task.status = Status::Incomplete;
                }
            }
            _ => {}
        }
    }

    /// A run of which nothing can be read.
    #[must_use]
    pub fn unreadable(id: &str, created_ms: u64, why: &str) -> Self {
        let missing = vec![format!("everything: {why}; `bandmaster runs rm {id}` removes it")];
        let damaged = missing.clone();
        Self { status: Status::Damaged, missing, damaged, ..Self::new(id, created_ms) }
    }

    /// Marks a run as interrupted: what has not ended is incomplete.
    pub(crate) fn leave(&mut self) {
        if self.status != Status::InProgress {
            return;
        }
        self.status = Status::Incomplete;
        self.missing.push(format!(
            "the rest: the run was interrupted: its process was killed, or its end could not be recorded; `bandmaster runs resume {}` goes on",
            self.id
        ));
        for task in self.tasks.iter_mut().filter(|task| !task.has_ended()) {
            task.status = Status::Incomplete;
        }
    }
}
