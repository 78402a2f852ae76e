//! Runs of the band: begun, listened to, cancelled. What a run says is in the journal; here is kept which of them are going
//! on. What a run does is the orchestrator's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::journal::{Desk, Viewer};
use crate::orchestrator::{Band, Cancel, EventKind, Outcome, RunEvent, RunRequest, run};

/// Hears what happens in a run.
pub type Listener = Box<dyn FnMut(&RunEvent) + Send>;

/// The runs.
pub struct Runs {
    desk: Desk,
    going: Mutex<HashMap<String, Going>>,
}

/// A run that is going on.
#[derive(Clone)]
struct Going {
    cancel: Cancel,
    /// Number of its last event.
    seq: watch::Receiver<u64>,
}

/// A run that ends when this is dropped, unless it is done or let go.
pub struct Live {
    cancel: Option<Cancel>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Live {
    /// It has ended, or may go on without us.
    pub fn done(&mut self) {
        self.cancel = None;
    }

    /// Waits for its end.
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
    /// Recorded at `desk`.
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self { desk, going: Mutex::default() }
    }

    /// The record as `viewer` sees it.
    #[must_use]
    pub fn desk(&self, viewer: &Viewer) -> Desk {
        self.desk.seen_by(viewer)
    }

    /// Begins a run of `owner`; gives its id once it has begun, and the run.
    pub async fn begin(
        self: &Arc<Self>,
        owner: &Viewer,
        band: Band,
        request: RunRequest,
        mut listener: Listener,
    ) -> (String, Live) {
        let cancel = Cancel::new();
        let (told, begun) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        let (runs, switch) = (Arc::clone(self), cancel.clone());
        let desk = self.desk(owner);
        let id = Arc::new(OnceLock::new());
        let named = Arc::clone(&id);
        let work = tokio::spawn(async move {
            let (seq, heard) = watch::channel(0);
            let mut told = Some(told);
            let mut observer = |event: &RunEvent| {
                if let (EventKind::RunStarted { run, .. }, Some(told)) = (&event.kind, told.take()) {
                    let going = Going { cancel: switch.clone(), seq: heard.clone() };
                    runs.lock().insert(run.clone(), going);
                    named.get_or_init(|| run.clone());
                    // Who began it may have left.
                    let _ = told.send(run.clone());
                }
                listener(event);
                seq.send_replace(event.seq);
            };
            run(&band, &request, &desk, &mut observer, &switch).await
        });
        let runs = Arc::clone(self);
        tokio::spawn(async move {
            // Whatever became of it, it goes on no longer.
            let done = work.await;
            id.get().map(|id: &String| runs.lock().remove(id));
            if let Ok(outcome) = done {
                let _ = ended.send(outcome);
            }
        });
        // Before the wait: who leaves meanwhile ends it as well.
        let live = Live { cancel: Some(cancel), outcome };
        (begun.await.unwrap_or_default(), live)
    }

    /// Cancels a run that is going on; `false` when it is not.
    pub fn cancel(&self, id: &str) -> bool {
        let going = self.lock().get(id).cloned();
        going.is_some_and(|going| {
            going.cancel.cancel();
            true
        })
    }

    /// Cancels all, and waits until they have ended, for so long, and then until they are recorded, for `record_time_max`.
    pub async fn end(&self, time_max: Duration, record_time_max: Duration) {
        let all: Vec<Going> = self.lock().values().cloned().collect();
        all.iter().for_each(|going| going.cancel.cancel());
        let ended = async {
            for mut going in all {
                while going.seq.changed().await.is_ok() {}
            }
        };
        let _ = tokio::time::timeout(time_max, ended).await;
        let unwritten = self.desk.flush(record_time_max).await;
        if !unwritten.is_empty() {
            let runs = unwritten.join(", ");
            tracing::warn!(runs, "the end of these runs is lost: the record could not be written in time");
        }
    }

    /// Follows a run that is going on: changes with each event, closes at the end.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<watch::Receiver<u64>> {
        self.lock().get(id).map(|going| going.seq.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Going>> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
