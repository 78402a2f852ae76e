//! Stops a run from outside, or from inside when a budget is reached.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The user cancelled the run.
    Interrupted,
    TokensSpent,
    TimeSpent,
}

impl StopReason {
    /// The reason in words, for the list of what an answer lacks.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Interrupted => "the run was cancelled",
            Self::TokensSpent => "the token budget was used up",
            Self::TimeSpent => "the time budget was used up",
        }
    }
}

/// Stops a run, once and for all. Clones stop the same run.
#[derive(Debug, Clone)]
pub struct Cancel {
    state: Arc<watch::Sender<Option<StopReason>>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(None)) }
    }

    /// Ends the run with what is finished. Only the first call has an effect.
    pub fn cancel(&self) {
        self.stop(StopReason::Interrupted);
    }

    /// Stops the run. The first reason stays.
    pub(super) fn stop(&self, reason: StopReason) {
        self.state.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(reason);
            first
        });
    }

    /// Why the run was stopped, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        *self.state.borrow()
    }

    /// Waits until the run is stopped.
    pub async fn stopped(&self) -> StopReason {
        let mut receiver = self.state.subscribe();
        loop {
            if let Some(reason) = *receiver.borrow_and_update() {
                return reason;
            }
            // The sender lives as long as `self`, so this cannot fail while we wait.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
