//! The band as a model. The last user message is the goal, the messages before it are its context, and the client's
//! tools go to the planner's last call. Progress is streamed as reasoning. How a run works is the orchestrator's.

use std::sync::Arc;

use bandmaster_orchestrator::{
    EventKind, Llm, Outcome, RunEvent, RunRequest, RunStart, Status, StrategyName, choose, limit_in_words,
};
use bandmaster_text::{Message, Part, Role, StopFilter};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::answer::{Answers, Finish, Format, Question, Update, ask as ask_model, failing};
use super::charges::charging;
use super::error::ApiError;
use super::layers::RequestContext;
use super::prompt_size::PromptSize;
use super::registry::ModelRegistry;
use super::runs::{RunHandle, Runs};
use super::spans;
use super::usage::Usage;

/// Asks the band. `strategy` is the part of the model's id after `bandmaster:`.
///
/// # Errors
/// 400 for a field that a band does not support, and for a conversation without a goal.
pub(crate) async fn ask(
    models: &Arc<ModelRegistry>,
    runs: &Arc<Runs>,
    context: &RequestContext,
    strategy: Option<&str>,
    question: Question,
) -> Result<Answers, ApiError> {
    check(&question)?;
    PromptSize::of(&question.messages, &question.tools, &question.rendering.variables)
        .check_without_model()?;
    let strategy = strategy.filter(|name| *name != "auto").map(str::parse::<StrategyName>).transpose();
    let strategy = strategy.map_err(|error| ApiError::invalid("model", error.to_string()))?;
    let band = models.band().await?;
    let mut request = request(&question, strategy)?;
    request.models = models.recorded_band();
    let is_constrained = question.format != Format::Text || question.may_call_tools();
    if is_constrained && strategy.is_none() {
        // If one call is enough for the goal, the tools go into that call.
        request.strategy = Some(choose(band, &request).await.0);
    }
    let is_direct = request.strategy == Some(StrategyName::Direct);
    let follows_tool = question.messages.last().is_some_and(|message| message.role == Role::Tool);
    if is_constrained && (is_direct || follows_tool) {
        let planner = models.planner().await?;
        return ask_model(planner, question).await;
    }
    let (sender, events) = mpsc::unbounded_channel();
    let listener = Box::new(move |event: &RunEvent| drop(sender.send(event.kind.clone())));
    let listener = spans::traced(context.parent(), charging(context.clone(), listener));
    let (_, run) = runs.begin(&context.viewer(), band.clone(), RunStart::new(request), listener).await?;
    let run_stream = RunStream { run, events, streamed: String::new(), deltas: 0, finished: None };
    if is_constrained {
        return Ok(answer_after_run(Arc::clone(models), run_stream, question));
    }
    let stop = question.params.stop.clone();
    let limit = question.params.tokens_max.map(|tokens| (Arc::clone(&band.planner), tokens));
    let next = move |mut run_stream: RunStream| {
        let limit = limit.clone();
        async move {
            let update = run_stream.next(limit.as_ref()).await?;
            Some(((0, update), run_stream))
        }
    };
    Ok(with_stop_sequences(stream::unfold(run_stream, next).boxed(), stop))
}

/// Ends an answer at the first stop sequence. The text after it is dropped, but the run continues to its end, so that
/// the record of it is complete.
fn with_stop_sequences(answers: Answers, stop: Vec<String>) -> Answers {
    if stop.is_empty() {
        return answers;
    }
    let mut filter = StopFilter::new(stop);
    let updates = answers.flat_map(move |(number, update)| {
        let updates = match update {
            Update::Parts(parts, scores) => {
                let before_stop = |part| match part {
                    Part::Content(text) => Part::Content(filter.push(&text)),
                    part => part,
                };
                let parts = parts.into_iter().map(before_stop);
                let has_text = |part: &Part| !matches!(part, Part::Content(text) if text.is_empty());
                vec![Update::Parts(parts.filter(has_text).collect(), scores)]
            }
            Update::End(finish, usage) => {
                let rest = filter.finish();
                let finish = if filter.stopped() { Finish::Stop } else { finish };
                let rest = (!rest.is_empty()).then(|| Update::Parts(vec![Part::Content(rest)], Vec::new()));
                rest.into_iter().chain([Update::End(finish, usage)]).collect()
            }
            update => vec![update],
        };
        stream::iter(updates.into_iter().map(move |update| (number, update)))
    });
    updates.boxed()
}

fn check(question: &Question) -> Result<(), ApiError> {
    let refuse = |field: &str| {
        Err(ApiError::unsupported(
            field,
            format!("{field} is not supported for a band: name one of its models instead"),
        ))
    };
    match question {
        question if question.choices > 1 => refuse("n"),
        question if question.params.top_logprobs.is_some() => refuse("logprobs"),
        question if question.params.token_ids => refuse("return_token_ids"),
        question if question.rendering.continue_final_message => refuse("continue_final_message"),
        question if !question.params.stop_token_ids.is_empty() => refuse("stop_token_ids"),
        question if question.params.stop_in_text => refuse("include_stop_str_in_output"),
        question if question.params.ignore_eos => refuse("ignore_eos"),
        question if question.params.min_tokens > 0 => refuse("min_tokens"),
        question if !question.params.sampling.logit_bias.is_empty() => refuse("logit_bias"),
        _ => Ok(()),
    }
}

fn request(question: &Question, strategy: Option<StrategyName>) -> Result<RunRequest, ApiError> {
    let last = question.messages.iter().rposition(|message| message.role == Role::User);
    let Some(last) = last.filter(|&at| !question.messages[at].content.trim().is_empty()) else {
        return Err(ApiError::invalid("messages", "no user message contains text: give the goal as one"));
    };
    Ok(RunRequest {
        strategy,
        seed: question.params.sampling.seed,
        conversation: question.messages[..last].to_vec(),
        ..RunRequest::new(question.messages[last].content.trim())
    })
}

/// A run and the events it sends.
struct RunStream {
    /// Dropping it cancels the run.
    run: RunHandle,
    events: mpsc::UnboundedReceiver<EventKind>,
    /// The part of the answer that was already streamed.
    streamed: String,
    /// The number of deltas in `streamed`, about a token each.
    deltas: u32,
    finished: Option<Update>,
}

impl RunStream {
    /// The next update of the answer. `limit` is the planner, whose tokens count, and the most the answer may have.
    async fn next(&mut self, limit: Option<&(Arc<dyn Llm>, u32)>) -> Option<Update> {
        if let Some(end) = self.finished.take() {
            self.run.detach();
            self.events.close();
            return Some(end);
        }
        loop {
            match self.events.recv().await? {
                // A delta is about a token; those beyond the limit are dropped.
                EventKind::AnswerDelta { .. } if limit.is_some_and(|(_, tokens)| self.deltas >= *tokens) => {}
                EventKind::AnswerDelta { text } => {
                    self.deltas += 1;
                    self.streamed.push_str(&text);
                    return Some(Update::Parts(vec![Part::Content(text)], Vec::new()));
                }
                EventKind::RunFinished { outcome } => return Some(self.end(*outcome, limit)),
                event => {
                    if let Some(line) = progress(&event) {
                        return Some(Update::Parts(vec![Part::Reasoning(line + "\n")], Vec::new()));
                    }
                }
            }
        }
    }

    fn end(&mut self, outcome: Outcome, limit: Option<&(Arc<dyn Llm>, u32)>) -> Update {
        let usage = Usage::from(outcome.usage.tokens);
        if let Some(error) = failure(&outcome) {
            self.run.detach();
            self.events.close();
            return Update::Failed(error);
        }
        let whole = outcome.status != Status::Incomplete || outcome.is_whole();
        let (answer, cut) = match limit {
            Some((planner, tokens)) => shorten(&outcome.answer, &**planner, *tokens as usize),
            None => (outcome.answer, false),
        };
        let cut = cut || limit.is_some_and(|(_, tokens)| self.deltas >= *tokens);
        let finish = if cut || !whole { Finish::Length } else { Finish::Stop };
        // A streamed draft that was rejected later can't be taken back; the final answer follows it in full.
        let rest = match answer.trim().strip_prefix(self.streamed.trim()) {
            Some(rest) if self.streamed.is_empty() => rest.to_owned(),
            Some(rest) => rest.trim_end().to_owned(),
            // The streamed text and the answer were both cut, at different characters.
            None if cut => String::new(),
            None => format!("\n\n{answer}"),
        };
        self.finished = Some(Update::End(finish, usage));
        match rest.is_empty() {
            true => self.finished.take().expect("it was just put there"),
            false => Update::Parts(vec![Part::Content(rest)], Vec::new()),
        }
    }
}

/// A line of text about a run's progress, for events worth showing to a person.
fn progress(event: &EventKind) -> Option<String> {
    match event {
        EventKind::StrategyChosen { strategy, why } => Some(format!("Strategy: {strategy}. {}", why.because)),
        EventKind::PlanAccepted { plan } if plan.tasks().len() > 1 => {
            Some(format!("Plan: {} tasks.", plan.tasks().len()))
        }
        EventKind::TaskRetried { task, worker, .. } => Some(format!("{task}: tried again by {worker}.")),
        EventKind::TaskFinished { task, status, .. } => Some(format!("{task}: {}.", status.name())),
        EventKind::TaskAsked { task, question, .. } => Some(format!("{task} asks: {question}")),
        EventKind::TaskAnswered { task, answer } => Some(format!("The planner answers {task}: {answer}")),
        EventKind::ReplanStarted { why, .. } => Some(format!("Planning again: {why}")),
        EventKind::BudgetReached { which, limit } => {
            Some(format!("The budget of {} is reached.", limit_in_words(which, *limit)))
        }
        _ => None,
    }
}

fn failure(outcome: &Outcome) -> Option<ApiError> {
    match outcome.status {
        Status::Failed => {
            let why = outcome.error.clone().unwrap_or_else(|| "the run produced no answer".to_owned());
            Some(match outcome.tasks.is_empty() {
                // The run was refused before any task was tried, so the goal is at fault.
                true => ApiError::invalid("messages", why),
                false => ApiError::internal(why),
            })
        }
        Status::Cancelled => Some(ApiError::unavailable("the run was cancelled")),
        _ => None,
    }
}

/// Cuts a text to at most `tokens_max` tokens, at a character boundary. Also returns whether it was cut.
fn shorten(text: &str, planner: &dyn Llm, tokens_max: usize) -> (String, bool) {
    if planner.count_tokens(text) <= tokens_max {
        return (text.to_owned(), false);
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let fitting = ends.partition_point(|&end| planner.count_tokens(&text[..end]) <= tokens_max);
    (text[..ends[fitting.saturating_sub(1)]].to_owned(), true)
}

/// Waits for the run, then asks the planner once more, with the result and the client's tools or output format.
fn answer_after_run(models: Arc<ModelRegistry>, run_stream: RunStream, question: Question) -> Answers {
    let answers = async move {
        let mut run_stream = run_stream;
        let outcome = loop {
            match run_stream.events.recv().await {
                Some(EventKind::RunFinished { outcome }) => break *outcome,
                Some(_) => {}
                None => return failing(ApiError::internal("the run ended without a result")),
            }
        };
        run_stream.run.detach();
        if let Some(error) = failure(&outcome) {
            return failing(error);
        }
        if outcome.status == Status::RequiresAction {
            // The question is the answer: nothing was found out that the planner could word.
            let asked = Update::Parts(vec![Part::Content(outcome.answer)], Vec::new());
            let end = Update::End(Finish::Stop, Usage::from(outcome.usage.tokens));
            return stream::iter([(0, asked), (0, end)]).boxed();
        }
        let mut question = question;
        let last = question.messages.iter().rposition(|message| message.role == Role::User);
        if let Some(last) = last {
            let goal = &question.messages[last].content;
            let content =
                format!("{goal}\n\nThis was found out for it and is correct:\n{}", outcome.answer.trim());
            question.messages[last] = Message { content, ..question.messages[last].clone() };
        }
        match last_call(&models, question).await {
            Ok(answers) => {
                let of_run = Usage::from(outcome.usage.tokens);
                answers.map(move |(number, update)| (number, add_usage(of_run, update))).boxed()
            }
            Err(error) => failing(error),
        }
    };
    stream::once(answers).flatten().boxed()
}

async fn last_call(models: &Arc<ModelRegistry>, question: Question) -> Result<Answers, ApiError> {
    let planner = models.planner().await?;
    ask_model(planner, question).await
}

/// Adds the run's tokens to those of the last call.
fn add_usage(of_run: Usage, update: Update) -> Update {
    match update {
        Update::End(finish, usage) => Update::End(finish, usage.with_tokens_of(of_run)),
        update => update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_ends_before_a_stop_sequence_wherever_it_was_split() {
        let check = async |pieces: &[&str], stop: &[&str], expected: &str, ends: Finish| {
            let part = |text: &&str| (0, Update::Parts(vec![Part::Content((*text).to_owned())], Vec::new()));
            let end = (0, Update::End(Finish::Length, Usage::default()));
            let updates: Vec<(u32, Update)> = pieces.iter().map(part).chain([end]).collect();
            let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
            let (mut said, mut finish) = (String::new(), None);
            let mut updates = with_stop_sequences(stream::iter(updates).boxed(), stop);
            while let Some((_, update)) = updates.next().await {
                match update {
                    Update::Parts(parts, _) => parts.into_iter().for_each(|part| match part {
                        Part::Content(text) => said.push_str(&text),
                        part => panic!("{part:?}"),
                    }),
                    Update::End(why, _) => finish = Some(why),
                    update => panic!("{update:?}"),
                }
            }
            assert_eq!((said.as_str(), finish), (expected, Some(ends)), "{pieces:?}");
        };
        check(&["one E", "ND two"], &["END"], "one ", Finish::Stop).await;
        check(&["one E", "N two E"], &["END"], "one EN two E", Finish::Length).await;
        check(&["one"], &[], "one", Finish::Length).await;
    }
}
