//! Records the events of a run and shows them.

use std::time::Duration;

use bandmaster_journal::Recording;
use serde_json::Value;

use super::advance::Core;
use super::event::{EventKind, RunEvent};
use super::outcome::Outcome;

/// How long the first event is held back until it is in the record's file, so that whoever sees a run begin finds it
/// there, whatever happens to this process. Another process may have locked the file.
const BEGUN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long calls are held back until what they follow from is in the record's file.
const RECORDED_TIME_MAX: Duration = Duration::from_millis(100);
/// How long the last event is held back until it is written: whoever sees a run end may delete the run at once.
const WRITTEN_TIME_MAX: Duration = Duration::from_millis(500);

/// Shows each event of a run.
pub type Observer<'a> = &'a mut (dyn FnMut(&RunEvent) + Send);

/// Numbers events, records them and shows them to the observer.
pub(crate) struct Recorder<'a> {
    pub recording: Recording,
    observer: Observer<'a>,
    seq: u64,
    warnings: Vec<String>,
    /// The record could not be written in time, and nobody waits for it until it is.
    is_behind: bool,
}

impl<'a> Recorder<'a> {
    /// `seq` is the number of the last event so far.
    pub(crate) fn new(recording: Recording, observer: Observer<'a>, seq: u64, warnings: Vec<String>) -> Self {
        Self { recording, observer, seq, warnings, is_behind: false }
    }

    /// Whether the next event is in the record already.
    pub(crate) fn is_recorded(&self) -> bool {
        self.seq < self.recording.last_seq()
    }

    pub(crate) async fn take(&mut self, ms: u64, kind: EventKind) {
        if !kind.is_transient() {
            self.seq += 1;
        }
        let event = RunEvent { seq: self.seq, ms, kind };
        if !event.kind.is_transient() && self.seq > self.recording.last_seq() {
            let (name, body) = separate(&event.kind);
            self.recording.append(&name, ms, &body);
            if self.seq == 1 {
                self.recording.recorded(BEGUN_TIME_MAX).await;
            }
            self.warnings.extend(self.recording.troubles());
        }
        (self.observer)(&event);
    }

    /// Waits until everything so far is in the record's file, unless that takes too long.
    pub(crate) async fn recorded(&mut self) {
        let time_max = if self.is_behind { Duration::ZERO } else { RECORDED_TIME_MAX };
        self.is_behind = !self.recording.is_recorded_within(time_max).await;
    }

    pub(crate) async fn finish(mut self, core: Core) -> Outcome {
        self.warnings.extend(self.recording.troubles());
        let mut outcome = *core.state.outcome.expect("only a run that has ended is finished");
        outcome.warnings.append(&mut self.warnings);
        let ms = outcome.usage.wall_ms;
        let kind = EventKind::RunFinished { outcome: Box::new(outcome.clone()) };
        let event = RunEvent { seq: self.seq + 1, ms, kind };
        let (name, body) = separate(&event.kind);
        self.recording.finish(&name, ms, &body, WRITTEN_TIME_MAX).await;
        (self.observer)(&event);
        outcome.warnings.extend(self.recording.troubles());
        outcome
    }
}

/// Separates an event's type from its other fields.
pub(crate) fn separate(event: &EventKind) -> (String, Value) {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    let name = body.as_object_mut().and_then(|fields| fields.shift_remove("type"));
    (name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), body)
}
