//! Starts, follows and cancels runs of the band, and keeps track of those that are running in this process. Their
//! events are in the journal. What a run does is the orchestrator's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bandmaster_journal::{Desk, JournalError, Viewer};
use bandmaster_orchestrator::{self as orchestrator, Band, Cancel, EventKind, Outcome, RunEvent, Work};
use tokio::sync::{oneshot, watch};

use super::error::ApiError;

/// Called with each event of a run.
pub type Listener = Box<dyn FnMut(&RunEvent) + Send>;

pub struct Runs {
    desk: Desk,
    going: Mutex<HashMap<String, Going>>,
}

/// A run in progress.
#[derive(Clone)]
struct Going {
    cancel: Cancel,
    seen: watch::Receiver<Seen>,
}

/// What those who follow a run need to know beside its record.
#[derive(Debug, Default)]
struct Seen {
    /// Number of the run's last event.
    seq: u64,
    /// Time of the last text, in milliseconds since the run began.
    ms: u64,
    /// The text of the answer so far, while it is written. It is not recorded until it is complete.
    text: String,
    /// How often the text began anew, because what was there was rejected.
    drafts: u32,
}

impl Seen {
    fn take(&mut self, event: &RunEvent) {
        self.seq = event.seq;
        match &event.kind {
            EventKind::AnswerDelta { text } => {
                self.text.push_str(text);
                self.ms = event.ms;
            }
            EventKind::TaskRetried { .. } | EventKind::RunResumed { .. } => {
                self.text.clear();
                self.drafts += 1;
            }
            _ => {}
        }
    }
}

/// Follows a run in progress.
pub struct Following {
    seen: watch::Receiver<Seen>,
    /// The draft of the answer that was last looked at.
    draft: u32,
}

impl Following {
    /// Notes that everything so far is known. Returns whether the run is still in progress.
    pub fn look(&mut self) -> bool {
        self.seen.mark_unchanged();
        self.seen.has_changed().is_ok()
    }

    /// Waits for something new, or for the run's end.
    pub async fn changed(&mut self) {
        // An error means that the run has ended, which `look` says.
        let _ = self.seen.changed().await;
    }

    /// Waits for the run's end.
    pub async fn ended(&mut self) {
        while self.seen.changed().await.is_ok() {}
    }

    /// The text of the answer after the first `sent` bytes, as an event that follows event `seq`; `None` if there is
    /// none.
    pub fn new_text(&mut self, seq: u64, sent: &mut usize) -> Option<serde_json::Value> {
        let seen = self.seen.borrow();
        if seen.drafts != self.draft {
            (self.draft, *sent) = (seen.drafts, 0);
        }
        let text = seen.text.get(*sent..).filter(|text| !text.is_empty())?;
        *sent += text.len();
        Some(serde_json::json!({"seq": seq, "ms": seen.ms, "type": "answer.delta", "text": text}))
    }
}

/// A run that is cancelled when this is dropped, unless [`Live::done`] was called.
pub struct Live {
    cancel: Option<Cancel>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Live {
    /// The run has ended, or may continue without its client.
    pub fn done(&mut self) {
        self.cancel = None;
    }

    /// Waits for the run's end; `None` if it panicked.
    pub async fn outcome(mut self) -> Option<Outcome> {
        let outcome = (&mut self.outcome).await.ok();
        self.done();
        outcome
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

impl Runs {
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self { desk, going: Mutex::default() }
    }

    #[must_use]
    pub fn desk(&self, viewer: &Viewer) -> Desk {
        self.desk.seen_by(viewer)
    }

    /// Starts a run that belongs to `owner`. Returns its id, once it has started, and the run.
    ///
    /// # Errors
    /// 500 if the run panics before it has started; what the record says if a recorded run can't be taken up.
    pub async fn begin(
        self: &Arc<Self>,
        owner: &Viewer,
        band: Band,
        work: Work,
        mut listener: Listener,
    ) -> Result<(String, Live), ApiError> {
        let cancel = Cancel::new();
        let (told, begun) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        let (runs, switch) = (Arc::clone(self), cancel.clone());
        let desk = self.desk(owner);
        let id = Arc::new(OnceLock::new());
        let named = Arc::clone(&id);
        let work = tokio::spawn(async move {
            let (seen, followed) = watch::channel(Seen::default());
            let mut told = Some(told);
            let resumed = work.again().map(|again| again.id().to_owned());
            let mut observer = |event: &RunEvent| {
                let run = match &event.kind {
                    EventKind::RunStarted { run, .. } | EventKind::RunForked { run, .. } => Some(run),
                    EventKind::RunResumed { .. } => resumed.as_ref(),
                    _ => None,
                };
                if let (Some(run), true) = (run, told.is_some()) {
                    let going = Going { cancel: switch.clone(), seen: followed.clone() };
                    runs.lock().insert(run.clone(), going);
                    named.get_or_init(|| run.clone());
                    // Fails only if the client has left.
                    let _ = told.take().map(|told| told.send(Ok(run.clone())));
                }
                listener(event);
                seen.send_modify(|seen| seen.take(event));
            };
            match orchestrator::work(&band, work, &desk, &mut observer, &switch).await {
                Ok(outcome) => Some(outcome),
                Err(error) => {
                    let _ = told.take().map(|told| told.send(Err(error)));
                    None
                }
            }
        });
        let runs = Arc::clone(self);
        tokio::spawn(async move {
            // However the run ended, it is no longer in progress.
            let done = work.await;
            id.get().map(|id: &String| runs.lock().remove(id));
            if let Ok(Some(outcome)) = done {
                let _ = ended.send(outcome);
            }
        });
        // Created before the wait, so that a client that leaves during it cancels the run as well.
        let live = Live { cancel: Some(cancel), outcome };
        let begun: Result<String, JournalError> = begun.await.map_err(|_| {
            ApiError::internal(
                "the run ended before it began: this is a bug in bandmaster; the log has the details",
            )
        })?;
        Ok((begun?, live))
    }

    /// Cancels a run; `false` if it is not in progress here.
    pub fn cancel(&self, id: &str) -> bool {
        let going = self.lock().get(id).cloned();
        going.is_some_and(|going| {
            going.cancel.cancel();
            true
        })
    }

    /// Cancels all runs. Waits up to `time_max` for them to end, then up to `record_time_max` for the record.
    pub async fn end(&self, time_max: Duration, record_time_max: Duration) {
        let all: Vec<Going> = self.lock().values().cloned().collect();
        all.iter().for_each(|going| going.cancel.cancel());
        let ended = async {
            for mut going in all {
                while going.seen.changed().await.is_ok() {}
            }
        };
        let _ = tokio::time::timeout(time_max, ended).await;
        let unwritten = self.desk.flush(record_time_max).await;
        if !unwritten.is_empty() {
            let runs = unwritten.join(", ");
            tracing::warn!(
                runs,
                "the last events of these runs are not recorded: the record could not be written in time"
            );
        }
    }

    /// Follows a run, if it is in progress here.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<Following> {
        self.lock().get(id).map(|going| Following { seen: going.seen.clone(), draft: 0 })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Going>> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bandmaster_orchestrator::{BoxFuture, Call, CallError, Llm, Message, Progress, Reply, RunRequest};

    /// A model whose tokenizer panics, which a run calls before its first event.
    struct Panics;

    impl Llm for Panics {
        fn name(&self) -> &str {
            "panics"
        }
        fn context_tokens(&self) -> usize {
            4096
        }
        fn count_tokens(&self, _: &str) -> usize {
            panic!("on purpose")
        }
        fn prompt_tokens(&self, _: &[Message]) -> usize {
            panic!("on purpose")
        }
        fn generate<'a>(
            &'a self,
            _: &'a Call,
            _: &'a mut (dyn FnMut(Progress<'_>) + Send),
        ) -> BoxFuture<'a, Result<Reply, CallError>> {
            panic!("on purpose")
        }
    }

    #[tokio::test]
    async fn a_run_that_panics_before_it_began_is_a_fault_of_the_server() {
        let runs = Arc::new(Runs::new(Desk::in_memory().unwrap()));
        let band = Band { planner: Arc::new(Panics), workers: Vec::new(), embed: None };
        let request = RunRequest::new("count sheep");
        let begun = runs.begin(&Viewer::everybody(), band, Work::New(request), Box::new(|_| {})).await;
        let error = begun.err().expect("it never began");
        assert_eq!(error.status, 500);
        assert!(error.message.contains("ended before it began"), "{}", error.message);
        assert!(runs.lock().is_empty());
    }
}
