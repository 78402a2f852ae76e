//! A request to a model in the form that all routes share, and the answers as they are generated. The JSON of requests
//! and responses is not known here; nor is how a model computes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bandmaster_text::{
    Cancellation, Class, ClientGrammar, FinishReason, Generation, GenerationOptions, LoadedModel, Message,
    Output, OutputConstraint, OutputParser, Part, Piece, Priority, Prompt, RenderOptions, Sampling, Score,
    SessionError, Tool, ToolChoice, Usage as EngineUsage,
};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::json;

use super::error::ApiError;
use super::jobs;
use super::prompt_size::PromptSize;
use super::usage::Usage;

/// A request for one or more answers to a conversation.
#[derive(Debug, Clone)]
pub struct Question {
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether the model may call a tool, must call one, or must not.
    pub choice: ToolChoice,
    /// Whether one answer may contain several calls.
    pub parallel: bool,
    /// The format of an answer that calls no tool.
    pub format: Format,
    /// The request field that set the format, for errors.
    pub format_field: &'static str,
    pub rendering: RenderOptions,
    pub params: SamplingParams,
    /// How many answers to generate.
    pub choices: u32,
}

impl Question {
    /// Whether the answer may contain tool calls.
    #[must_use]
    pub fn may_call_tools(&self) -> bool {
        !self.tools.is_empty() && self.choice != ToolChoice::None
    }
}

/// The format that an answer is constrained to.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Unconstrained text.
    Text,
    JsonObject,
    Schema(serde_json::Value),
    /// A grammar that the client wrote.
    ClientGrammar(ClientGrammar),
}

impl Format {
    #[must_use]
    pub fn output(self) -> Output {
        match self {
            Self::Text => Output::Text,
            Self::JsonObject => Output::JsonObject,
            Self::Schema(schema) => Output::Schema(schema),
            Self::ClientGrammar(grammar) => Output::ClientGrammar(grammar),
        }
    }
}

/// How tokens are sampled, when an answer ends, and what is reported with it.
#[derive(Debug, Clone)]
pub struct SamplingParams {
    pub sampling: Sampling,
    /// Most tokens to generate; `None` allows as many as the context has room for.
    pub tokens_max: Option<u32>,
    pub min_tokens: u32,
    /// Whether generation continues past the end-of-sequence token.
    pub ignore_eos: bool,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// Whether the stop sequence that ended the answer is included in it.
    pub stop_in_text: bool,
    pub stop_token_ids: Vec<u32>,
    /// If set, return log-probabilities with this many alternatives for each token.
    pub top_logprobs: Option<u32>,
    /// Whether to return the token ids of prompt and answer. They come with the scores, which are then always computed.
    pub token_ids: bool,
    /// Prefix cache entries are only shared between requests with the same salt; 0 is the common one.
    pub cache_salt: u64,
    /// Names of the fields in the request that have no effect when the band answers.
    pub ignored_by_band: Vec<&'static str>,
}

impl SamplingParams {
    /// Checks the stop tokens against the model's vocabulary.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn check(&self, model: &LoadedModel) -> Result<(), ApiError> {
        match self.stop_token_ids.iter().find(|&&id| id as usize >= model.vocab()) {
            Some(id) => Err(ApiError::invalid(
                "stop_token_ids",
                format!(
                    "stop_token_ids: token {id} is not in the vocabulary of {} ({} tokens)",
                    model.name(),
                    model.vocab()
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finish {
    /// The model ended its answer, or a stop sequence was generated.
    Stop,
    /// The answer reached `max_tokens` or the end of the context.
    Length,
    /// The answer calls tools.
    ToolCalls,
}

/// One item of the stream that is an answer.
#[derive(Debug, Clone)]
pub(crate) enum Update {
    /// The ids of the prompt's tokens; comes before all other updates.
    Prompt(Arc<[u32]>),
    /// The engine has begun to compute the prompt.
    PrefillStarted,
    /// The scores of the prompt's tokens, except for the first, which has none.
    PromptScores(Vec<Score>),
    /// More of the answer, and the scores of the tokens since the last update.
    Parts(Vec<Part>, Vec<Score>),
    /// The answer is complete.
    End(Finish, Usage),
    /// The answer failed; nothing follows.
    Failed(ApiError),
}

/// Updates of all answers to a request, each with the answer's number. Dropping the stream cancels the generation.
pub(crate) type Answers = Pin<Box<dyn Stream<Item = (u32, Update)> + Send>>;

/// Asks one model. The prompt is rendered and the grammar compiled on blocking threads.
///
/// # Errors
/// 400 for what the model's template, vocabulary or context refuse; 429 when the queue is full.
pub(crate) async fn ask(model: Arc<LoadedModel>, question: Question) -> Result<Answers, ApiError> {
    let size = PromptSize::of(&question.messages, &question.tools, &question.rendering.variables);
    let bytes = size.check(&model)?;
    Ok(merge(start(bytes, move |cancellation| prepare(model, question, cancellation)).await?))
}

/// A request that is ready to run once its grammar is compiled.
pub(crate) struct Prepared {
    pub model: Arc<LoadedModel>,
    /// The prompts, each with its options. The output's constraint is not among the options; it is in `output`.
    pub prompts: Vec<(Prompt, GenerationOptions)>,
    /// The constraint on every answer.
    pub output: Output,
    /// How many answers to generate for each prompt.
    pub choices: u32,
    /// The request field that the prompts came from, for errors.
    pub prompt_field: &'static str,
    /// The request field that set the output's format, for errors.
    pub output_field: &'static str,
    /// The tools that may be called. With `None`, an answer is plain text and is not parsed.
    pub tools: Option<Vec<Tool>>,
    /// Whether an answer consists of tool calls only.
    pub must_call: bool,
}

/// Runs `prepare` on about `bytes` bytes of input as a job, compiles the grammar in a second job if it is not cached,
/// and starts the generations.
///
/// # Errors
/// Those of `prepare`, the grammar and the engine; 429 and 503 under overload.
pub(crate) async fn start(
    bytes: usize,
    prepare: impl FnOnce(&Cancellation) -> Result<Prepared, ApiError> + Send + 'static,
) -> Result<Vec<Choice>, ApiError> {
    enum Step {
        Started(Vec<Choice>),
        CompileGrammar(Box<Prepared>),
    }
    let work = move |cancellation: &Cancellation| {
        let prepared = prepare(cancellation)?;
        Ok(match prepared.model.cached_constraint(&prepared.output) {
            Some(constraint) => Step::Started(prepared.start(&constraint)?),
            None => Step::CompileGrammar(Box::new(prepared)),
        })
    };
    match jobs::run(bytes, work).await? {
        Step::Started(choices) => Ok(choices),
        Step::CompileGrammar(prepared) => {
            jobs::compile_grammar(move |cancellation| prepared.compile_grammar(cancellation)).await
        }
    }
}

impl Prepared {
    fn refused(&self, error: &SessionError) -> ApiError {
        ApiError::of_session(error, self.prompt_field, self.output_field)
    }

    fn compile_grammar(self: Box<Self>, cancellation: &Cancellation) -> Result<Vec<Choice>, ApiError> {
        let constraint =
            self.model.constraint_for(&self.output, cancellation).map_err(|error| self.refused(&error))?;
        self.start(&constraint)
    }

    /// Starts all choices of all prompts.
    fn start(&self, constraint: &OutputConstraint) -> Result<Vec<Choice>, ApiError> {
        let mut choices = Vec::new();
        for (prompt, options) in &self.prompts {
            for number in 0..self.choices {
                let sampling = sampling_of_choice(&options.sampling, number);
                let options = GenerationOptions { sampling, ..options.clone() };
                let parser = self.tools.as_ref().map(|tools| self.model.parser(prompt, tools));
                let generation = self.model.generate_constrained(prompt.clone(), options, constraint);
                let generation = generation.map_err(|error| self.refused(&error))?;
                let choice = Choice::new(generation, parser, self.output_field);
                choices.push(Choice { must_call: self.must_call, ..choice });
            }
        }
        Ok(choices)
    }
}

fn prepare(
    model: Arc<LoadedModel>,
    question: Question,
    cancellation: &Cancellation,
) -> Result<Prepared, ApiError> {
    let may_call = question.may_call_tools();
    let output_field = if may_call { "tools" } else { question.format_field };
    let refused = |error: &_| ApiError::of_session(error, "messages", output_field);
    let tools: &[Tool] = if may_call { &question.tools } else { &[] };
    question.params.check(&model)?;
    let limits = model.render_limits(cancellation.clone());
    let prompt = model.rendered_prompt(&question.messages, tools, &question.rendering, &limits);
    let prompt = prompt.map_err(|error| refused(&error))?;
    let output = match question.format {
        format if may_call => Output::Calls {
            tools: tools.to_vec(),
            choice: question.choice.clone(),
            // A client that names a tool wants one call of it.
            parallel: question.parallel && !matches!(question.choice, ToolChoice::Named(_)),
            otherwise: match format {
                Format::Text => None,
                Format::JsonObject => Some(json!({"type": "object"})),
                Format::Schema(schema) => Some(schema),
                Format::ClientGrammar(_) => {
                    let field = question.format_field;
                    let message = format!(
                        "{field} can't be used together with tools: give a schema, or set tool_choice to none"
                    );
                    return Err(ApiError::unsupported(field, message));
                }
            },
        },
        format => format.output(),
    };
    let options = GenerationOptions { parsed: true, ..generation_options(&model, &prompt, question.params) };
    Ok(Prepared {
        prompts: vec![(prompt, options)],
        output,
        choices: question.choices,
        prompt_field: "messages",
        output_field,
        tools: Some(tools.to_vec()),
        must_call: may_call && question.choice != ToolChoice::Auto,
        model,
    })
}

/// A client is waiting for the answer.
const INTERACTIVE: Priority = Priority { class: Class::Interactive, run: None, critical_path_tokens: 0 };

/// The options of an answer to `prompt`, except for its format. Without `max_tokens` it may fill the context.
#[must_use]
pub(crate) fn generation_options(
    model: &LoadedModel,
    prompt: &Prompt,
    params: SamplingParams,
) -> GenerationOptions {
    let room = model.context_tokens().saturating_sub(prompt.ids.len()).max(1);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    GenerationOptions {
        sampling: params.sampling,
        min_tokens: params.min_tokens,
        ignore_eos: params.ignore_eos,
        stop: params.stop,
        stop_in_text: params.stop_in_text,
        stop_tokens: params.stop_token_ids,
        cache_salt: params.cache_salt,
        top_logprobs: params.top_logprobs.or(params.token_ids.then_some(0)),
        priority: INTERACTIVE,
        ..GenerationOptions::new(params.tokens_max.unwrap_or(room).min(room))
    }
}

/// The sampling settings of answer `number` to a request: they differ in the seed, which is derived from the first.
#[must_use]
pub(crate) fn sampling_of_choice(sampling: &Sampling, number: u32) -> Sampling {
    let seed = sampling.seed.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Sampling { seed, ..sampling.clone() }
}

/// Merges several answers into one stream, in the order in which updates arrive.
#[must_use]
pub(crate) fn merge(choices: Vec<Choice>) -> Answers {
    let numbered = (0u32..).zip(choices).map(|(number, choice)| {
        Box::pin(stream::unfold(choice, move |mut choice| async move {
            let update = choice.next().await?;
            Some(((number, update), choice))
        }))
    });
    stream::select_all(numbered).boxed()
}

#[must_use]
pub(crate) fn failing(error: ApiError) -> Answers {
    stream::once(async move { (0, Update::Failed(error)) }).boxed()
}

/// One answer while it is generated.
pub(crate) struct Choice {
    generation: Generation,
    /// `None` if the answer is plain text.
    parser: Option<OutputParser>,
    output_field: &'static str,
    reasoning_tokens: u64,
    must_call: bool,
    /// Updates that are ready to be returned.
    pending: VecDeque<Update>,
    prefill_started: bool,
    ended: bool,
    started_at: Instant,
    first_token_at: Option<Instant>,
}

impl Choice {
    /// Wraps a generation. `parser` separates reasoning and tool calls from the text.
    #[must_use]
    pub(crate) fn new(
        generation: Generation,
        parser: Option<OutputParser>,
        output_field: &'static str,
    ) -> Self {
        let prompt = Update::Prompt(generation.prompt_ids().into());
        Self {
            generation,
            parser,
            output_field,
            reasoning_tokens: 0,
            must_call: false,
            pending: VecDeque::from([prompt]),
            prefill_started: false,
            ended: false,
            started_at: Instant::now(),
            first_token_at: None,
        }
    }

    #[must_use]
    pub(crate) fn prompt(&self) -> Prompt {
        let Self { generation, .. } = self;
        Prompt { text: generation.rendered_prompt().to_owned(), ids: generation.prompt_ids().to_vec() }
    }

    /// The next update; `None` after the end.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        while self.pending.is_empty() && !self.ended {
            let piece = self.generation.next().await?;
            let prompt_scores = self.generation.take_prompt_scores();
            if !prompt_scores.is_empty() {
                self.pending.push_back(Update::PromptScores(prompt_scores));
            }
            match piece {
                Piece::Prefill { .. } if !self.prefill_started => {
                    self.prefill_started = true;
                    self.pending.push_back(Update::PrefillStarted);
                }
                Piece::Prefill { .. } => {}
                Piece::Text(text) => self.take_text(text),
                Piece::Done(done) => self.end(done.finish, done.usage),
                Piece::Failed(failure) => {
                    self.ended = true;
                    let error = ApiError::of_failure(&failure, self.output_field);
                    self.pending.push_back(Update::Failed(error));
                }
            }
        }
        self.pending.pop_front()
    }

    fn take_text(&mut self, text: String) {
        self.first_token_at.get_or_insert_with(Instant::now);
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

    fn end(&mut self, finish: FinishReason, usage: EngineUsage) {
        self.ended = true;
        let mut rest = self.parser.as_mut().map(OutputParser::finish).unwrap_or_default();
        if self.must_call {
            // Generation ended inside the beginning of a call; the fragment is not content.
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
                let why = ApiError::unavailable("the server stopped the answer: try again");
                return self.pending.push_back(Update::Failed(why));
            }
        };
        let usage = Usage {
            prompt_tokens: u64::from(usage.prompt_tokens),
            cached_tokens: u64::from(usage.cached_tokens),
            completion_tokens: u64::from(usage.completion_tokens),
            reasoning_tokens: self.reasoning_tokens,
            prompt_time: self.first_token_at.unwrap_or_else(Instant::now) - self.started_at,
            answer_time: self.first_token_at.map(|first| first.elapsed()).unwrap_or_default(),
        };
        self.pending.push_back(Update::End(finish, usage));
    }
}
