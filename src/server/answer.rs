//! A question as every route asks it, and its answers while they come. Shapes of bodies are not known here; nor is how
//! a model computes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt};
use serde_json::json;

use super::error::ApiError;
use super::jobs;
use super::weight::Weight;
use crate::text::{
    Class, FinishReason, Generation, Held, LoadedModel, Message, Output, OutputParser, Part, Piece, Priority,
    Prompt, Rendering, Sampling, Score, SessionError, Terms, Tool, ToolChoice, Usage, Waited, Written,
};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The conversation.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may or must.
    pub choice: ToolChoice,
    /// Whether several calls may come at once.
    pub parallel: bool,
    /// What the answer must be where no tool is called.
    pub format: Format,
    /// The field that says so.
    pub format_field: &'static str,
    /// How the conversation becomes a prompt.
    pub rendering: Rendering,
    /// How tokens are drawn and when the answer ends.
    pub draws: Draws,
    /// Answers to the same question.
    pub choices: u32,
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema.
    Schema(serde_json::Value),
    /// What a client's own grammar says.
    Written(Written),
}

impl Format {
    /// What a model is held to.
    #[must_use]
    pub fn output(self) -> Output {
        match self {
            Self::Text => Output::Text,
            Self::JsonObject => Output::JsonObject,
            Self::Schema(schema) => Output::Schema(schema),
            Self::Written(written) => Output::Written(written),
        }
    }
}

/// How tokens are drawn and when an answer ends.
#[derive(Debug, Clone)]
pub struct Draws {
    /// How they are drawn.
    pub sampling: Sampling,
    /// Most tokens; as many as the context has room for unless said.
    pub max_tokens: Option<u32>,
    /// Least tokens.
    pub min_tokens: u32,
    /// Whether the model can't end the answer.
    pub ignore_eos: bool,
    /// Strings that end it.
    pub stop: Vec<String>,
    /// Whether the string that ended it is told as well.
    pub stop_in_text: bool,
    /// Tokens that end it.
    pub stop_token_ids: Vec<u32>,
    /// Alternatives told with each token.
    pub top_logprobs: Option<u32>,
    /// Whether the ids of prompt and answer are told: scores then come with each token.
    pub token_ids: bool,
    /// What the cache has computed for another salt is not used; 0 for what everybody shares.
    pub cache_salt: u64,
    /// Names of the given fields that have no effect on a band.
    pub named: Vec<&'static str>,
}

impl Draws {
    /// Refuses tokens that a model doesn't have.
    ///
    /// # Errors
    /// 400 with the field.
    pub fn check(&self, model: &LoadedModel) -> Result<(), ApiError> {
        match self.stop_token_ids.iter().find(|&&id| id as usize >= model.vocab()) {
            Some(id) => Err(ApiError::invalid(
                "stop_token_ids",
                format!("stop_token_ids: token {id} is not one of {}'s {}", model.name(), model.vocab()),
            )),
            None => Ok(()),
        }
    }
}

/// Why an answer ended, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done, or a stop string came.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// It calls tools.
    ToolCalls,
}

/// Tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of them from the cache.
    pub cached_tokens: u64,
    /// Generated.
    pub completion_tokens: u64,
    /// Of them, about, for reasoning.
    pub reasoning_tokens: u64,
    /// From the question to the first token.
    pub prompt_time: Duration,
    /// From there to the end.
    pub answer_time: Duration,
}

impl Spent {
    /// Another answer to the same question: its prompt is not counted again.
    pub fn add_choice(&mut self, other: Self) {
        // Others find in the cache what the first of them computed.
        let first = self.prompt_tokens == 0;
        self.cached_tokens =
            if first { other.cached_tokens } else { self.cached_tokens.min(other.cached_tokens) };
        self.prompt_tokens = self.prompt_tokens.max(other.prompt_tokens);
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.prompt_time = self.prompt_time.max(other.prompt_time);
        self.answer_time = self.answer_time.max(other.answer_time);
    }
}

/// What comes of an answer.
#[derive(Debug, Clone)]
pub enum Update {
    /// The prompt's tokens, before anything else.
    Prompt(Arc<[u32]>),
    /// The engine has computed the first of it.
    Begun,
    /// The scores of the prompt's tokens but the first.
    PromptScores(Vec<Score>),
    /// More of it; scores of the tokens that came since the last.
    Parts(Vec<Part>, Vec<Score>),
    /// Its end.
    End(Finish, Spent),
    /// Its end, when it broke.
    Failed(ApiError),
}

/// Answers on their way, each with its number. Dropping them ends the work.
pub type Answers = Pin<Box<dyn Stream<Item = (u32, Update)> + Send>>;

/// Asks one model. Its prompt is made and its grammar compiled on a thread that may be long busy.
///
/// # Errors
/// 400 for what the model's template, vocabulary or context refuse; 429 when the queue is full.
pub async fn ask(model: Arc<LoadedModel>, question: Question) -> Result<Answers, ApiError> {
    let weight = Weight::of(&question.messages, &question.tools, &question.rendering.variables);
    let bytes = weight.check(&model)?;
    Ok(merge(begin(bytes, move |waited| prepare(model, question, waited)).await?))
}

/// What can be asked once its grammar is there.
pub struct Prepared {
    /// The model that answers.
    pub model: Arc<LoadedModel>,
    /// The prompts, each with its terms but for the output.
    pub prompts: Vec<(Prompt, Terms)>,
    /// What every answer must be.
    pub output: Output,
    /// Answers to each prompt.
    pub choices: u32,
    /// The field that made the prompts, for errors.
    pub prompt_field: &'static str,
    /// The field that shaped the output, for errors.
    pub output_field: &'static str,
    /// What may be called; without, an answer is text and not parsed.
    pub tools: Option<Vec<Tool>>,
    /// Whether an answer holds calls and nothing else.
    pub must_call: bool,
}

/// Asks what `prepare` makes of about so many bytes: in a job, and where a grammar must be made, in another.
///
/// # Errors
/// What `prepare` says, what the grammar and the engine refuse; 429 and 503 when too much is asked.
pub async fn begin(
    bytes: usize,
    prepare: impl FnOnce(&Waited) -> Result<Prepared, ApiError> + Send + 'static,
) -> Result<Vec<Choice>, ApiError> {
    enum Begun {
        Now(Vec<Choice>),
        Later(Box<Prepared>),
    }
    let work = move |waited: &Waited| {
        let prepared = prepare(waited)?;
        Ok(match prepared.model.held_at_once(&prepared.output) {
            Some(held) => Begun::Now(prepared.ask(&held)?),
            None => Begun::Later(Box::new(prepared)),
        })
    };
    match jobs::run(bytes, work).await? {
        Begun::Now(choices) => Ok(choices),
        Begun::Later(prepared) => jobs::make(move |waited| prepared.make(waited)).await,
    }
}

impl Prepared {
    fn refused(&self, error: &SessionError) -> ApiError {
        ApiError::of_session(error, self.prompt_field, self.output_field)
    }

    fn make(self: Box<Self>, waited: &Waited) -> Result<Vec<Choice>, ApiError> {
        let held = self.model.hold(&self.output, waited).map_err(|error| self.refused(&error))?;
        self.ask(&held)
    }

    fn ask(&self, held: &Held) -> Result<Vec<Choice>, ApiError> {
        let mut begun = Vec::new();
        for (prompt, terms) in &self.prompts {
            for number in 0..self.choices {
                let terms = Terms { sampling: nth(&terms.sampling, number), ..terms.clone() };
                let parser = self.tools.as_ref().map(|tools| self.model.parser(prompt, tools));
                let generation = self.model.generate_held(prompt.clone(), terms, held);
                let generation = generation.map_err(|error| self.refused(&error))?;
                let choice = Choice::new(generation, parser, self.output_field);
                begun.push(Choice { must_call: self.must_call, ..choice });
            }
        }
        Ok(begun)
    }
}

fn prepare(model: Arc<LoadedModel>, question: Question, waited: &Waited) -> Result<Prepared, ApiError> {
    let calls = !question.tools.is_empty() && question.choice != ToolChoice::None;
    let output_field = if calls { "tools" } else { question.format_field };
    let refused = |error: &_| ApiError::of_session(error, "messages", output_field);
    let tools: &[Tool] = if calls { &question.tools } else { &[] };
    question.draws.check(&model)?;
    let allowance = model.allowance(waited.clone());
    let prompt = model.rendered_prompt(&question.messages, tools, &question.rendering, &allowance);
    let prompt = prompt.map_err(|error| refused(&error))?;
    let output = match question.format {
        format if calls => Output::Calls {
            tools: tools.to_vec(),
            choice: question.choice.clone(),
            // Who names a tool wants it once.
            parallel: question.parallel && !matches!(question.choice, ToolChoice::Named(_)),
            otherwise: match format {
                Format::Text => None,
                Format::JsonObject => Some(json!({"type": "object"})),
                Format::Schema(schema) => Some(schema),
                Format::Written(_) => {
                    let field = question.format_field;
                    let message =
                        format!("{field} can't be beside tools: give a schema, or set tool_choice to none");
                    return Err(ApiError::unsupported(field, message));
                }
            },
        },
        format => format.output(),
    };
    let terms = Terms { parsed: true, ..terms(&model, &prompt, question.draws) };
    Ok(Prepared {
        prompts: vec![(prompt, terms)],
        output,
        choices: question.choices,
        prompt_field: "messages",
        output_field,
        tools: Some(tools.to_vec()),
        must_call: calls && question.choice != ToolChoice::Auto,
        model,
    })
}

/// A person is looking.
const INTERACTIVE: Priority = Priority { class: Class::Interactive, run: None, critical_path_tokens: 0 };

/// The terms of an answer to `prompt` but for its output; without `max_tokens` it may fill the context.
#[must_use]
pub fn terms(model: &LoadedModel, prompt: &Prompt, draws: Draws) -> Terms {
    let room = model.context_tokens().saturating_sub(prompt.ids.len()).max(1);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    Terms {
        sampling: draws.sampling,
        min_tokens: draws.min_tokens,
        ignore_eos: draws.ignore_eos,
        stop: draws.stop,
        stop_in_text: draws.stop_in_text,
        stop_tokens: draws.stop_token_ids,
        cache_salt: draws.cache_salt,
        top_logprobs: draws.top_logprobs.or(draws.token_ids.then_some(0)),
        priority: INTERACTIVE,
        ..Terms::new(draws.max_tokens.unwrap_or(room).min(room))
    }
}

/// The draws of another answer to the same question: a seed of its own, made from the first's.
#[must_use]
pub fn nth(sampling: &Sampling, number: u32) -> Sampling {
    let seed = sampling.seed.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Sampling { seed, ..sampling.clone() }
}

/// Answers side by side.
#[must_use]
pub fn merge(choices: Vec<Choice>) -> Answers {
    let numbered = (0u32..).zip(choices).map(|(number, choice)| {
        Box::pin(stream::unfold(choice, move |mut choice| async move {
            let update = choice.next().await?;
            Some(((number, update), choice))
        }))
    });
    stream::select_all(numbered).boxed()
}

/// An answer that breaks at once.
#[must_use]
pub fn failing(error: ApiError) -> Answers {
    stream::once(async move { (0, Update::Failed(error)) }).boxed()
}

/// One answer on its way.
pub struct Choice {
    generation: Generation,
    /// What is text alone is not parsed.
    parser: Option<OutputParser>,
    /// The field that shaped the output, for errors.
    output_field: &'static str,
    reasoning_tokens: u64,
    /// Whether it holds calls and nothing else.
    must_call: bool,
    /// What is known already and comes next.
    pending: VecDeque<Update>,
    begun: bool,
    ended: bool,
    asked: Instant,
    first: Option<Instant>,
}

impl Choice {
    /// Of a generation, read by a parser where it has more than text in it.
    #[must_use]
    pub fn new(generation: Generation, parser: Option<OutputParser>, output_field: &'static str) -> Self {
        let prompt = Update::Prompt(generation.prompt_ids().into());
        Self {
            generation,
            parser,
            output_field,
            reasoning_tokens: 0,
            must_call: false,
            pending: VecDeque::from([prompt]),
            begun: false,
            ended: false,
            asked: Instant::now(),
            first: None,
        }
    }

    /// The prompt that is answered.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        let Self { generation, .. } = self;
        Prompt { text: generation.rendered_prompt().to_owned(), ids: generation.prompt_ids().to_vec() }
    }

    /// What comes next; `None` after the end.
    pub async fn next(&mut self) -> Option<Update> {
        while self.pending.is_empty() && !self.ended {
            let piece = self.generation.next().await?;
            let prompt_scores = self.generation.take_prompt_scores();
            if !prompt_scores.is_empty() {
                self.pending.push_back(Update::PromptScores(prompt_scores));
            }
            match piece {
                Piece::Prefill { .. } if !self.begun => {
                    self.begun = true;
                    self.pending.push_back(Update::Begun);
                }
                Piece::Prefill { .. } => {}
                Piece::Text(text) => self.take_text(text),
                Piece::Done(done) => self.end(done.finish, done.usage),
                Piece::Failed(reason) => {
                    self.ended = true;
                    self.pending.push_back(Update::Failed(ApiError::of_failure(&reason, self.output_field)));
                }
            }
        }
        self.pending.pop_front()
    }

    fn take_text(&mut self, text: String) {
        self.first.get_or_insert_with(Instant::now);
        let parts = match &mut self.parser {
            Some(parser) => parser.push(&text),
            None => vec![Part::Content(text)],
        };
        if parts.iter().any(|part| matches!(part, Part::Reasoning(_))) {
            self.reasoning_tokens += 1;
        }
        let scores = self.generation.take_scores();
        self.push(parts, scores);
    }

    fn push(&mut self, parts: Vec<Part>, scores: Vec<Score>) {
        if !parts.is_empty() || !scores.is_empty() {
            self.pending.push_back(Update::Parts(parts, scores));
        }
    }

    fn end(&mut self, finish: FinishReason, usage: Usage) {
        self.ended = true;
        let mut rest = self.parser.as_mut().map(OutputParser::finish).unwrap_or_default();
        if self.must_call {
            // Cut off where a call began: that is no content.
            rest.retain(|part| !matches!(part, Part::Content(_)));
        }
        let calls = self.parser.as_ref().map_or(0, OutputParser::calls);
        let scores = self.generation.take_scores();
        self.push(rest, scores);
        let finish = match finish {
            FinishReason::Stop if calls > 0 => Finish::ToolCalls,
            FinishReason::Stop => Finish::Stop,
            FinishReason::Length => Finish::Length,
            FinishReason::Cancelled | FinishReason::Deadline => {
                let why = ApiError::unavailable("the server ended the answer: ask again");
                return self.pending.push_back(Update::Failed(why));
            }
        };
        let spent = Spent {
            prompt_tokens: u64::from(usage.prompt_tokens),
            cached_tokens: u64::from(usage.cached_tokens),
            completion_tokens: u64::from(usage.completion_tokens),
            reasoning_tokens: self.reasoning_tokens,
            prompt_time: self.first.unwrap_or_else(Instant::now) - self.asked,
            answer_time: self.first.map(|first| first.elapsed()).unwrap_or_default(),
        };
        self.pending.push_back(Update::End(finish, spent));
    }
}
