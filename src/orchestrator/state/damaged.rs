//! The state of a run whose record is damaged in places: what can't be read is named, and what must have happened is
//! taken into the state.

use bandmaster_journal::{DAMAGED, Event};
use serde_json::Value;

use super::RunState;
use crate::event::EventKind;
use crate::outcome::Status;

impl RunState {
    /// The state after a run's events, in order. Events of unknown types are ignored; damaged ones are named.
    #[must_use]
    pub fn fold(id: &str, created_ms: u64, events: &[Event]) -> Self {
        let mut run = Self::new(id, created_ms);
        for event in events {
            run.take_recorded(event);
        }
        run.missing.extend(run.damaged.iter().cloned());
        run
    }

    fn take_recorded(&mut self, event: &Event) {
        (self.wall_ms, self.last_seq) = (event.ms, event.seq);
        if event.kind == DAMAGED {
            let text = |field: &str| event.body[field].as_str().unwrap_or_default();
            self.take_damaged(text("event"), &Value::Null);
            return self.note_damage(event.seq, text("event"), text("why"));
        }
        match EventKind::read(&event.kind, &event.body) {
            Ok(Some(kind)) => self.apply(event.seq, event.ms, &kind),
            Ok(None) => {}
            Err(why) => {
                self.take_damaged(&event.kind, &event.body);
                self.note_damage(event.seq, &event.kind, &why.to_string());
            }
        }
    }

    fn note_damage(&mut self, seq: u64, kind: &str, why: &str) {
        self.damaged.push(format!("event {seq} ({kind}), whose record is damaged: {why}"));
    }

    /// Takes what can be read of a damaged event: a run or task that ended did end, even if nobody can say how, and a
    /// run that was taken up has not ended any more.
    fn take_damaged(&mut self, kind: &str, body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        match kind {
            "run.finished" => {
                self.status = Status::Incomplete;
                self.answer = text("answer");
                (self.outcome, self.lost_outcome) = (None, true);
            }
            "run.resumed" | "run.forked" => {
                let band = self.band.clone();
                self.resume(None, &band.clone().unwrap_or_default(), &[]);
                self.band = band;
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

#[cfg(test)]
mod tests {
    use bandmaster_journal::Event;
    use serde_json::json;

    use crate::outcome::Status;
    use crate::state::RunState;

    #[test]
    fn a_damaged_end_or_resumption_counts_as_what_it_was() {
        let event = |seq: u64, kind: &str, body: serde_json::Value| Event {
            seq,
            ms: seq,
            kind: kind.to_owned(),
            body,
        };
        let lost = |seq: u64, kind: &str| {
            event(seq, bandmaster_journal::DAMAGED, json!({"event": kind, "why": "w"}))
        };
        let task = json!({"id": "t1", "worker": "w", "instruction": "", "needs": [], "output": "text", "tokens_max": 1,
                          "job": {"kind": "step"}});
        let mut events = vec![
            event(1, "run.started", json!({"goal": "g"})),
            event(2, "tasks.added", json!({"tasks": [task]})),
            event(3, "task.finished", json!({"task": "t1", "status": "failed"})),
        ];
        // A run that was killed: its failed task stays as it is. One that had ended: the task is tried again.
        let resumed = || event(5, "run.resumed", json!({"band": crate::goal::BandInfo::default()}));
        for (end, tried_again) in [
            (event(4, "budget.reached", json!({})), false),
            (lost(4, "run.finished"), true),
            (event(4, "run.finished", json!({"answer": "a"})), true),
        ] {
            events.truncate(3);
            events.push(end);
            let state = RunState::fold("r", 0, &events);
            assert_eq!(state.has_ended(), tried_again);
            events.push(resumed());
            let state = RunState::fold("r", 0, &events);
            assert_eq!(state.task("t1").unwrap().has_ended(), !tried_again, "{:?}", state.damaged);
            // A resumption that can't be read: the run goes on all the same.
            events.pop();
            events.push(lost(5, "run.resumed"));
            let state = RunState::fold("r", 0, &events);
            assert_eq!((state.status, state.has_ended()), (Status::InProgress, false));
            assert_eq!(state.task("t1").unwrap().has_ended(), !tried_again);
        }
    }
}
