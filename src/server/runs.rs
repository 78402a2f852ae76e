//! Starts, follows and cancels runs of the band, and keeps track of those that are running in this process. Their
//! events are in the journal. What a run does is the orchestrator's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bandmaster_journal::{AsyncJournal, JournalError, Sources, Viewer};
use bandmaster_orchestrator::{
    self as orchestrator, Band, Cancel, EventKind, RunEvent, RunStart, RunState, StartKind,
};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::error::ApiError;

/// How long to wait for runs that are left at shutdown, and for the end of what has recorded its end.
const END_TIME_MAX: Duration = Duration::from_secs(3);
/// How long to then wait for a record that another process has locked. Unwritten events are lost.
const RECORD_TIME_MAX: Duration = Duration::from_secs(10);

/// Called with each event of a run.
pub(crate) type RunListener = Box<dyn FnMut(&RunEvent) + Send>;

pub struct Runs {
    journal: AsyncJournal,
    active: Mutex<HashMap<String, ActiveRun>>,
    /// Becomes true when the server ends, and with it all work on runs.
    ends: watch::Sender<bool>,
}

/// A run in progress.
#[derive(Clone)]
struct ActiveRun {
    /// The last event of the run before it began or was taken up. It tells apart the stretches in which a run is worked
    /// on, because each adds events.
    after_seq: u64,
    cancel: Cancel,
    progress: watch::Receiver<Progress>,
    sources: SharedSources,
}

/// What those who follow a run have read of it, so that each event costs only what it adds.
pub(crate) type SharedSources = Arc<Mutex<Sources>>;

/// What those who follow a run need to know beside its record.
#[derive(Debug, Default)]
struct Progress {
    /// Time of the last piece of text, in milliseconds since the run began.
    ms: u64,
    /// The text of the answer so far, while it is written. It is not recorded before it is complete.
    text: String,
    /// How often the text began anew, because what was there was rejected.
    drafts: u32,
}

impl Progress {
    fn take(&mut self, event: &RunEvent) {
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

/// Keeps a run among those in progress until this is dropped, however the run ends.
struct Entry {
    runs: Arc<Runs>,
    id: String,
    after_seq: u64,
}

impl Entry {
    fn new(runs: &Arc<Runs>, id: &str, active: ActiveRun) -> Self {
        let after_seq = active.after_seq;
        runs.lock().insert(id.to_owned(), active);
        Self { runs: Arc::clone(runs), id: id.to_owned(), after_seq }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut active = self.runs.lock();
        // The run may have been taken up again in the meantime.
        if active.get(&self.id).is_some_and(|active| active.after_seq == self.after_seq) {
            active.remove(&self.id);
        }
    }
}

/// Follows a run in progress.
pub(crate) struct RunFollower {
    progress: watch::Receiver<Progress>,
    /// The draft of the answer that was last sent, and how many of its bytes.
    sent: (u32, usize),
    sources: SharedSources,
}

impl RunFollower {
    pub(crate) fn sources(&self) -> SharedSources {
        Arc::clone(&self.sources)
    }

    /// Notes that everything so far is known. Returns whether the run is still in progress.
    pub(crate) fn mark_seen(&mut self) -> bool {
        self.progress.mark_unchanged();
        self.progress.has_changed().is_ok()
    }

    /// Waits for something new, or for the run's end.
    pub(crate) async fn changed(&mut self) {
        // An error means that the run has ended, which `mark_seen` says.
        let _ = self.progress.changed().await;
    }

    /// Waits for the run's end.
    pub(crate) async fn ended(&mut self) {
        while self.progress.changed().await.is_ok() {}
    }

    /// Called when the run's end was sent, which has the whole answer: text that was not sent yet is not sent any more.
    pub(crate) fn skip_text(&mut self) {
        let progress = self.progress.borrow();
        self.sent = (progress.drafts, progress.text.len());
    }

    /// The text of the answer that was not sent yet, as an event that follows event `seq`; `None` if there is none.
    pub(crate) fn new_text(&mut self, seq: u64) -> Option<Value> {
        let progress = self.progress.borrow();
        if progress.drafts != self.sent.0 {
            self.sent = (progress.drafts, 0);
        }
        let text = progress.text.get(self.sent.1..).filter(|text| !text.is_empty())?;
        self.sent.1 += text.len();
        Some(json!({"seq": seq, "ms": progress.ms, "type": "answer.delta", "text": text}))
    }
}

/// A run that is cancelled when this is dropped, unless [`RunHandle::detach`] was called.
pub struct RunHandle {
    cancel: Option<Cancel>,
}

impl RunHandle {
    /// The run has ended, or may continue without its client.
    pub fn detach(&mut self) {
        self.cancel = None;
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

impl Runs {
    #[must_use]
    pub fn new(journal: AsyncJournal) -> Self {
        Self { journal, active: Mutex::default(), ends: watch::Sender::new(false) }
    }

    #[must_use]
    pub fn journal(&self, viewer: &Viewer) -> AsyncJournal {
        self.journal.seen_by(viewer)
    }

    /// Starts a run that belongs to `owner`. Returns its id, once it has started, and the run.
    ///
    /// # Errors
    /// 500 if the run panics before it has started; what the record says if a recorded run can't be taken up.
    pub async fn begin(
        self: &Arc<Self>,
        owner: &Viewer,
        band: Band,
        start: RunStart,
        mut listener: RunListener,
    ) -> Result<(String, RunHandle), ApiError> {
        let cancel = Cancel::new();
        let (send_id, started) = oneshot::channel();
        let (runs, switch) = (Arc::clone(self), cancel.clone());
        let journal = self.journal(owner);
        tokio::spawn(async move {
            runs.wait_for_earlier(&start).await;
            let (progress, followed) = watch::channel(Progress::default());
            let mut send_id = Some(send_id);
            let mut entry: Option<Entry> = None;
            let after_seq = start.state().last_seq;
            let resumed = start.recorded_id().map(str::to_owned);
            let mut observer = |event: &RunEvent| {
                let begun = match &event.kind {
                    EventKind::RunStarted { run, .. } | EventKind::RunForked { run, .. } => Some(run),
                    EventKind::RunResumed { .. } => resumed.as_ref(),
                    _ => None,
                };
                if let Some((run, send_id)) = begun.zip(send_id.take_if(|_| begun.is_some())) {
                    let (cancel, progress) = (switch.clone(), followed.clone());
                    let active = ActiveRun { after_seq, cancel, progress, sources: SharedSources::default() };
                    entry.get_or_insert_with(|| Entry::new(&runs, run, active));
                    // Fails only if the client has left.
                    let _ = send_id.send(Ok(run.clone()));
                }
                listener(event);
                progress.send_modify(|progress| progress.take(event));
            };
            let mut ends = runs.ends.subscribe();
            let done = tokio::select! {
                biased;
                done = orchestrator::run(&band, start, &journal, &mut observer, &switch) => done,
                // The record stays as it is, as if the process had been killed, so that the run can go on from there.
                _ = ends.wait_for(|ends| *ends) => return,
            };
            if let (Err(error), Some(send_id)) = (done, send_id) {
                let _ = send_id.send(Err(error));
            }
        });
        // Created before the wait, so that a client that leaves during it cancels the run as well.
        let handle = RunHandle { cancel: Some(cancel) };
        let id: Result<String, JournalError> = started.await.map_err(|_| {
            ApiError::internal(
                "the run ended before it began: this is a bug in bandmaster; the log has the details",
            )
        })?;
        Ok((id?, handle))
    }

    /// A recorded run that is taken up may have ended a moment ago. Waits until its end is no longer being dealt with, so
    /// that whoever cancels or follows the run from now on does not reach what has ended.
    async fn wait_for_earlier(&self, start: &RunStart) {
        if matches!(start.kind, StartKind::New | StartKind::Forked { .. }) {
            return;
        }
        let RunState { id, last_seq, .. } = start.state();
        let earlier = self.lock().get(id).filter(|active| active.after_seq < *last_seq).cloned();
        if let Some(mut earlier) = earlier {
            // An error means that it has ended. It has already recorded its last event, so this is a matter of moments.
            let ended = async { while earlier.progress.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(END_TIME_MAX, ended).await;
        }
    }

    /// Cancels a run; `false` if it is not in progress here.
    pub fn cancel(&self, id: &str) -> bool {
        let active = self.lock().get(id).cloned();
        active.is_some_and(|active| {
            active.cancel.cancel();
            true
        })
    }

    /// Leaves all runs where they are, so that they can be resumed, and waits for the record.
    pub async fn end(&self) {
        let all: Vec<ActiveRun> = self.lock().values().cloned().collect();
        self.ends.send_replace(true);
        let ended = async {
            for mut active in all {
                while active.progress.changed().await.is_ok() {}
            }
        };
        let _ = tokio::time::timeout(END_TIME_MAX, ended).await;
        let unwritten = self.journal.flush(RECORD_TIME_MAX).await;
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
    pub(crate) fn follow(&self, id: &str) -> Option<RunFollower> {
        let active = self.lock().get(id).cloned()?;
        Some(RunFollower { progress: active.progress, sent: (0, 0), sources: active.sources })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, ActiveRun>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use bandmaster_orchestrator::{
        self, BoxFuture, Call, CallError, Llm, Message, Reply, RunRequest, StrategyName,
    };

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A model that never replies. Unless it counts, its tokenizer panics, which a run calls before its first event.
    struct Silent {
        counts: bool,
    }

    impl Llm for Silent {
        fn name(&self) -> &str {
            "silent"
        }
        fn context_tokens(&self) -> usize {
            4096
        }
        fn count_tokens(&self, text: &str) -> usize {
            assert!(self.counts, "on purpose");
            text.len()
        }
        fn prompt_tokens(&self, _: &[Message]) -> usize {
            1
        }
        fn generate<'a>(
            &'a self,
            _: &'a Call,
            _: &'a mut (dyn FnMut(bandmaster_orchestrator::Progress<'_>) + Send),
        ) -> BoxFuture<'a, Result<Reply, CallError>> {
            Box::pin(std::future::pending())
        }
    }

    fn band(counts: bool) -> Band {
        Band { planner: Arc::new(Silent { counts }), workers: Vec::new(), embed: None }
    }

    fn new_run() -> RunStart {
        RunStart::new(RunRequest { strategy: Some(StrategyName::Direct), ..RunRequest::new("count sheep") })
    }

    #[tokio::test]
    async fn a_run_that_panics_before_it_began_is_a_fault_of_the_server() {
        let runs = Arc::new(Runs::new(AsyncJournal::in_memory().unwrap()));
        let begun = runs.begin(&Viewer::everybody(), band(false), new_run(), Box::new(|_| {})).await;
        let error = begun.err().expect("it never began");
        assert_eq!(error.status, 500);
        assert!(error.message.contains("ended before it began"), "{}", error.message);
        assert!(runs.lock().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_resumed_while_its_end_is_still_dealt_with_stays_in_the_list() {
        let runs = Arc::new(Runs::new(AsyncJournal::in_memory().unwrap()));
        let (release, released) = mpsc::channel::<()>();
        let (at_end, ends) = mpsc::channel::<()>();
        let slow = Box::new(move |event: &RunEvent| {
            if matches!(event.kind, EventKind::RunFinished { .. }) {
                at_end.send(()).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            }
        });
        let everybody = Viewer::everybody();
        let (id, _first) = runs.begin(&everybody, band(true), new_run(), slow).await.unwrap();
        assert!(runs.cancel(&id));
        tokio::task::spawn_blocking(move || ends.recv_timeout(PATIENCE).unwrap()).await.unwrap();

        let run = id.clone();
        let journal = runs.journal(&everybody);
        let resumed = journal.read(move |journal| orchestrator::resume(journal, &run)).await.unwrap();
        let again = {
            let runs = Arc::clone(&runs);
            tokio::spawn(async move { runs.begin(&everybody, band(true), resumed, Box::new(|_| {})).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!again.is_finished(), "it waits for the end of the first stretch");
        release.send(()).unwrap();
        let (same, _second) = again.await.unwrap().unwrap();
        assert_eq!(same, id);
        let mut follower = runs.follow(&id).expect("it is in progress");
        assert!(runs.cancel(&id), "whoever cancels it now reaches the second stretch");
        tokio::time::timeout(PATIENCE, follower.ended()).await.expect("it ends");
        assert!(runs.lock().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_the_end_of_the_server_interrupts_is_incomplete_and_can_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let runs = Arc::new(Runs::new(AsyncJournal::open(&path).unwrap()));
        let everybody = Viewer::everybody();
        let (id, _handle) = runs.begin(&everybody, band(true), new_run(), Box::new(|_| {})).await.unwrap();
        runs.end().await;
        assert!(runs.lock().is_empty());
        let journal = bandmaster_journal::Journal::open(&path).unwrap();
        assert_eq!(orchestrator::state(&journal, &id).unwrap().status.name(), "incomplete");
        let kinds: Vec<String> =
            journal.events(&id, 0).unwrap().into_iter().map(|event| event.kind).collect();
        assert!(!kinds.contains(&"run.cancelled".to_owned()), "{kinds:?}");
        assert!(orchestrator::resume(&journal, &id).is_ok());
    }

    #[test]
    fn no_text_is_sent_after_the_end() {
        let text = |text: &str| Progress { text: text.to_owned(), ..Progress::default() };
        let (progress, followed) = watch::channel(text("Seven"));
        let mut follower =
            RunFollower { progress: followed, sent: (0, 0), sources: SharedSources::default() };
        assert_eq!(follower.new_text(3).unwrap()["text"], "Seven");
        progress.send_modify(|progress| *progress = text("Seven sheep"));
        follower.skip_text();
        assert_eq!(follower.new_text(4), None);
    }

    #[test]
    fn the_end_of_a_stretch_removes_no_later_one_from_the_list() {
        let runs = Arc::new(Runs::new(AsyncJournal::in_memory().unwrap()));
        let active = |after_seq| ActiveRun {
            after_seq,
            cancel: Cancel::new(),
            progress: watch::channel(Progress::default()).1,
            sources: SharedSources::default(),
        };
        let first = Entry::new(&runs, "r", active(0));
        let second = Entry::new(&runs, "r", active(7));
        drop(first);
        assert!(runs.follow("r").is_some());
        drop(second);
        assert!(runs.follow("r").is_none());
    }
}
