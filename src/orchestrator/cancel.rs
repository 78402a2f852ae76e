//! Stops a run from outside, or from inside when a budget is reached.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A person asked for it.
    Interrupted,
    /// The token budget is used up.
    TokensSpent,
    /// The time is over.
    TimeSpent,
}

impl StopReason {
    /// What happened, for whoever reads what a run lacks.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Interrupted => "the run was cancelled",
            Self::TokensSpent => "the token budget was used up",
            Self::TimeSpent => "the time budget was used up",
        }
    }
}

/// A switch that is thrown once; clones share it.
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
    /// Not thrown yet.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(None)) }
    }

    /// Ends the run with what is finished. Only the first call counts.
    pub fn cancel(&self) {
        self.stop(StopReason::Interrupted);
    }

    /// Throws the switch for a reason; the first one stays.
    pub(super) fn stop(&self, reason: StopReason) {
        self.state.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(reason);
            first
        });
    }

    /// Why it was thrown, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        *self.state.borrow()
    }

    /// Waits until it is thrown.
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
