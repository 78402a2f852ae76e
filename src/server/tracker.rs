//! Follows answers from the request to the end: counts their times and tokens, charges the API key, and ends them with
//! an error when the server shuts down.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};

use super::answer::{Answers, Finish, Update};
use super::error::ApiError;
use super::layers::RequestContext;
use super::metrics::{Metrics, ModelMetrics};
use super::usage::Usage;

/// The error message in streams that are cut off by a shutdown.
pub(crate) const SHUTDOWN_MESSAGE: &str = "the server is shutting down: try again when it is back";

/// Counts what happens in one request to a model.
pub(crate) struct AnswerTracker {
    metrics: Arc<Metrics>,
    model_metrics: ModelMetrics,
    /// Resolves when the server's shutdown cuts off answers.
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
    context: RequestContext,
    model: String,
    arrived: Instant,
    /// When each answer last produced a token; `None` before the first.
    last_token_at: Vec<Option<Instant>>,
    usage: Usage,
    /// Updates with text so far, about a token each. They are charged if the exact usage is never known.
    text_updates: u64,
    open_answers: usize,
    /// Whether errors are sent within a stream and must be counted here. Otherwise they become the response's status,
    /// which the layers count.
    is_stream: bool,
}

impl AnswerTracker {
    /// For a request that came at `arrived` and gets `choices` answers. `model` must be the name of an existing
    /// model, because metrics keep every name.
    #[must_use]
    pub(crate) fn new(
        app: &super::App,
        context: RequestContext,
        model: &str,
        choices: u32,
        arrived: Instant,
    ) -> Self {
        context.set_model(model);
        Self {
            metrics: Arc::clone(&app.metrics),
            model_metrics: app.metrics.model(model),
            deadline: Box::pin(app.shutdown.clone().deadline()),
            context,
            model: model.to_owned(),
            arrived,
            last_token_at: vec![None; choices as usize],
            usage: Usage::default(),
            text_updates: 0,
            open_answers: choices as usize,
            is_stream: false,
        }
    }

    /// Sets whether the answers are streamed.
    #[must_use]
    pub(crate) fn streaming(mut self, is_stream: bool) -> Self {
        self.is_stream = is_stream;
        self
    }

    /// Passes the answers through and counts them.
    #[must_use]
    pub(crate) fn follow(self, answers: Answers) -> Answers {
        let next = |(mut tracker, mut answers): (Self, Answers)| async move {
            if tracker.open_answers == 0 {
                return None;
            }
            let (number, update) = tokio::select! {
                biased;
                () = &mut tracker.deadline => {
                    (0, Update::Failed(ApiError::unavailable(SHUTDOWN_MESSAGE).code("cut")))
                }
                update = answers.next() => update.unwrap_or_else(|| {
                    (0, Update::Failed(ApiError::internal("the answer ended unexpectedly: try again")))
                }),
            };
            tracker.record(number, &update);
            Some(((number, update), (tracker, answers)))
        };
        stream::unfold((self, answers), next).boxed()
    }

    /// Counts an update of answer `number`.
    fn record(&mut self, number: u32, update: &Update) {
        let now = Instant::now();
        match update {
            Update::PrefillStarted => self.model_metrics.queued(now - self.arrived),
            Update::Prompt(_) | Update::PromptScores(_) => {}
            Update::Parts(parts, _) if parts.is_empty() => {}
            Update::Parts(..) => {
                self.text_updates += 1;
                let Some(last_token_at) = self.last_token_at.get_mut(number as usize) else { return };
                match last_token_at.replace(now) {
                    None => {
                        self.model_metrics.first_token(now - self.arrived);
                        self.context.first_token(now - self.arrived);
                    }
                    Some(before) => self.model_metrics.next_token(now - before),
                }
            }
            Update::End(_, usage) => {
                self.usage.add_choice(*usage);
                self.close();
            }
            Update::Failed(error) => {
                if self.is_stream {
                    let kind = error.code.unwrap_or(error.kind);
                    self.metrics.error(&self.model, kind);
                    self.context.set_stream_error(kind);
                }
                // Nothing follows a failure.
                self.open_answers = 0;
                self.context.charge_total(self.text_updates);
            }
        }
    }

    fn close(&mut self) {
        self.open_answers = self.open_answers.saturating_sub(1);
        if self.open_answers == 0 {
            self.model_metrics.ended(self.arrived.elapsed(), self.usage);
            self.context.charge_total(self.usage.computed_tokens());
            self.context.set_usage(self.usage);
        }
    }
}

impl Drop for AnswerTracker {
    fn drop(&mut self) {
        if self.open_answers > 0 {
            // The client left; it is charged for what was generated until then.
            self.context.charge_total(self.text_updates);
        }
    }
}

/// The complete answers to a request.
pub(crate) struct CompleteAnswers<T> {
    /// What `take` gathered from each answer, and why the answer ended.
    pub answers: Vec<(T, Finish)>,
    /// Usage of all answers together.
    pub usage: Usage,
}

/// Waits for all answers; `take` is called for every update that is not an end.
///
/// # Errors
/// The error of the first answer that fails.
pub(crate) async fn collect<T: Default>(
    mut answers: Answers,
    choices: u32,
    mut take: impl FnMut(&mut T, Update),
) -> Result<CompleteAnswers<T>, ApiError> {
    let mut gathered: Vec<(T, Finish)> = (0..choices).map(|_| (T::default(), Finish::Stop)).collect();
    let mut usage = Usage::default();
    while let Some((number, update)) = answers.next().await {
        let (value, finish) = &mut gathered[number as usize];
        match update {
            Update::End(why, choice_usage) => {
                *finish = why;
                usage.add_choice(choice_usage);
            }
            Update::Failed(error) => return Err(error),
            update => take(value, update),
        }
    }
    Ok(CompleteAnswers { answers: gathered, usage })
}
