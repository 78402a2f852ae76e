//! Follows answers from the request to the end: counts their times and tokens, charges the API key, and ends them with
//! an error when the server shuts down.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};

use super::answer::{Answers, Finish, Spent, Update};
use super::error::ApiError;
use super::layers::Notes;
use super::metrics::{Metrics, ModelMetrics};

/// The error message in streams that are cut off by a shutdown.
pub const CUT: &str = "the server is shutting down: try again when it is back";

/// Counts what happens in one request to a model.
pub struct Track {
    metrics: Arc<Metrics>,
    of_model: ModelMetrics,
    /// Resolves when the server's shutdown cuts off answers.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    notes: Notes,
    model: String,
    started: Instant,
    /// When each answer last produced a token; `None` before the first.
    said: Vec<Option<Instant>>,
    spent: Spent,
    /// Updates with text so far, about a token each. They are charged if the exact usage is never known.
    pieces: u64,
    open: usize,
    /// Whether errors are sent within a stream and must be counted here. Otherwise they become the response's status,
    /// which the layers count.
    streams: bool,
}

impl Track {
    /// For a request that arrived at `started` and gets `choices` answers. `model` must be the name of an existing
    /// model, because metrics keep every name.
    #[must_use]
    pub fn new(app: &super::App, notes: Notes, model: &str, choices: u32, started: Instant) -> Self {
        notes.answered_by(model);
        Self {
            metrics: Arc::clone(&app.metrics),
            of_model: app.metrics.model(model),
            cut: Box::pin(app.ending.clone().cut()),
            notes,
            model: model.to_owned(),
            started,
            said: vec![None; choices as usize],
            spent: Spent::default(),
            pieces: 0,
            open: choices as usize,
            streams: false,
        }
    }

    /// Sets whether the answers are streamed.
    #[must_use]
    pub fn streaming(mut self, streams: bool) -> Self {
        self.streams = streams;
        self
    }

    /// Passes the answers through and counts them.
    #[must_use]
    pub fn follow(self, answers: Answers) -> Answers {
        let next = |(mut track, mut answers): (Self, Answers)| async move {
            if track.open == 0 {
                return None;
            }
            let (number, update) = tokio::select! {
                biased;
                () = &mut track.cut => {
                    (0, Update::Failed(ApiError::unavailable(CUT).code("cut")))
                }
                update = answers.next() => update.unwrap_or_else(|| {
                    (0, Update::Failed(ApiError::internal("the answer ended unexpectedly: try again")))
                }),
            };
            track.see(number, &update);
            Some(((number, update), (track, answers)))
        };
        stream::unfold((self, answers), next).boxed()
    }

    /// Counts an update of answer `number`.
    pub fn see(&mut self, number: u32, update: &Update) {
        let now = Instant::now();
        match update {
            Update::Begun => self.of_model.queued(now - self.started),
            Update::Prompt(_) | Update::PromptScores(_) => {}
            Update::Parts(parts, _) if parts.is_empty() => {}
            Update::Parts(..) => {
                self.pieces += 1;
                let Some(said) = self.said.get_mut(number as usize) else { return };
                match said.replace(now) {
                    None => {
                        self.of_model.first_token(now - self.started);
                        self.notes.first_token(now - self.started);
                    }
                    Some(before) => self.of_model.next_token(now - before),
                }
            }
            Update::End(_, spent) => {
                self.spent.add_choice(*spent);
                self.close();
            }
            Update::Failed(error) => {
                if self.streams {
                    let kind = error.code.unwrap_or(error.kind);
                    self.metrics.error(&self.model, kind);
                    self.notes.broke(kind);
                }
                // Nothing follows a failure.
                self.open = 0;
                self.notes.charge(self.pieces);
            }
        }
    }

    fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            let Spent { prompt_tokens, cached_tokens, completion_tokens, .. } = self.spent;
            self.of_model.ended(self.started.elapsed(), prompt_tokens, cached_tokens, completion_tokens);
            self.notes.charge(prompt_tokens.saturating_sub(cached_tokens) + completion_tokens);
            self.notes.spent(self.spent);
        }
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        if self.open > 0 {
            // The client left; it is charged for what was generated until then.
            self.notes.charge(self.pieces);
        }
    }
}

/// The complete answers to a request.
pub struct Whole<T> {
    /// What `take` gathered from each answer, and why the answer ended.
    pub answers: Vec<(T, Finish)>,
    /// Usage of all answers together.
    pub spent: Spent,
}

/// Waits for all answers; `take` is called for every update that is not an end.
///
/// # Errors
/// The error of the first answer that fails.
pub async fn whole<T: Default>(
    mut answers: Answers,
    choices: u32,
    mut take: impl FnMut(&mut T, Update),
) -> Result<Whole<T>, ApiError> {
    let mut gathered: Vec<(T, Finish)> = (0..choices).map(|_| (T::default(), Finish::Stop)).collect();
    let mut spent = Spent::default();
    while let Some((number, update)) = answers.next().await {
        let (value, finish) = &mut gathered[number as usize];
        match update {
            Update::End(why, cost) => {
                *finish = why;
                spent.add_choice(cost);
            }
            Update::Failed(error) => return Err(error),
            update => take(value, update),
        }
    }
    Ok(Whole { answers: gathered, spent })
}
