//! `POST /v1/completions`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bandmaster_text::{
    Cancellation, GenerationOptions, LoadedModel, Output, Part, Prompt, Score, TokenOffsets,
};

use crate::answer::{self, Answers, Choice, Finish, Prepared, Update, generation_options, merge};
use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::prompt_size::check_prompt_bytes;
use crate::registry::BAND;
use crate::sse::EventWriter;
use crate::tracker::{AnswerTracker, collect};
use crate::usage::Usage;
use crate::wire::body::Json;
use crate::wire::chat_response::FINGERPRINT;
use crate::wire::common::{OutputOptions, Timings};
use crate::wire::completions::{
    CompletionChoice, CompletionLogprobs, CompletionQuestion, CompletionRequest, CompletionResponse,
};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::wire::{CompletionUsage, new_id, unix_seconds};
use crate::{App, jobs, sse};

/// Continues one or more prompts.
#[utoipa::path(post, path = "/v1/completions", tag = "completions", request_body = CompletionRequest, responses(
    (status = 200, description = "The completions, or a stream of chunks with `stream`", content(
        (CompletionResponse = "application/json"), (CompletionResponse = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(request): Json<CompletionRequest>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let (is_stream, arrived) = (request.common.is_streamed(), Instant::now());
    let name = app.model_id(&context, request.common.model.as_deref(), false)?;
    if name.split(':').next() == Some(BAND) {
        return Err(ApiError::invalid("model", "the band answers goals: use it at /v1/chat/completions"));
    }
    let question = request.question()?;
    let (echo, options) = (question.echo, question.options);
    let completions = question.choices as usize;
    let started = {
        let (app, context) = (Arc::clone(&app), context.clone());
        async move {
            let model = app.models.model(&name).await?;
            let choices = start(Arc::clone(&model), question).await?;
            let prompts: Vec<Prompt> = choices.iter().map(Choice::prompt).collect();
            let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
            let tracker = AnswerTracker::new(&app, context, &name, count, arrived).streaming(is_stream);
            let writer = Writer {
                id: new_id("cmpl-"),
                created: unix_seconds(),
                name,
                model,
                offsets: prompts.iter().map(|_| None).collect(),
                prompts,
                completions,
                echo,
                options,
                usage: Usage::default(),
            };
            Ok((tracker.follow(merge(choices)), writer))
        }
    };
    if is_stream {
        // This format has no chunk without text that could open the stream.
        return sse::stream_answers(&app, context, vec![sse::comment()], started, sse::failed).await;
    }
    let (answers, writer) = started.await?;
    Ok(Body(writer.whole(answers).await?).into_response())
}

/// Starts `choices` completions for each prompt.
async fn start(model: Arc<LoadedModel>, question: CompletionQuestion) -> Result<Vec<Choice>, ApiError> {
    let bytes = question.bytes();
    jobs::check_size("prompt", bytes)?;
    check_prompt_bytes(&model, "prompt", question.longest_text())?;
    let prepare = move |cancellation: &Cancellation| {
        let prompts = question.prompts(&model, cancellation)?;
        let CompletionQuestion { mut params, format, format_field, choices, echo, suffix, .. } = question;
        params.check(&model)?;
        if suffix.is_some() {
            params.stop_token_ids.extend(model.fill_stops());
        }
        // With `max_tokens` 0 the client only wants the prompt's scores, or the prompt in the cache.
        let generates_nothing = params.tokens_max == Some(0);
        let score_prompt_from = (echo && params.top_logprobs.is_some()).then_some(1);
        let with_options = |prompt: Prompt| {
            let mut options = GenerationOptions {
                score_prompt_from,
                ..generation_options(&model, &prompt, params.clone())
            };
            if generates_nothing {
                options.max_tokens = 0;
            }
            (prompt, options)
        };
        Ok(Prepared {
            prompts: prompts.into_iter().map(with_options).collect(),
            output: if generates_nothing { Output::Text } else { format.output() },
            choices,
            prompt_field: "prompt",
            output_field: format_field,
            tools: None,
            must_call: false,
            model: Arc::clone(&model),
        })
    };
    answer::start(bytes, prepare).await
}

struct Writer {
    id: String,
    created: u64,
    name: String,
    model: Arc<LoadedModel>,
    /// The prompt of each completion, so a prompt with several completions is repeated.
    prompts: Vec<Prompt>,
    /// How many completions each prompt has.
    completions: usize,
    echo: bool,
    options: OutputOptions,
    /// In a stream: the offsets of each completion's tokens; `None` before its first chunk.
    offsets: Vec<Option<TokenOffsets>>,
    /// In a stream: usage of the completions that have ended.
    usage: Usage,
}

#[derive(Default)]
struct Gathered {
    text: String,
    scores: Vec<Score>,
    prompt_scores: Vec<Score>,
}

impl Gathered {
    fn take(&mut self, update: Update) {
        match update {
            Update::Parts(parts, scores) => {
                self.text.extend(parts.iter().map(text_of));
                self.scores.extend(scores);
            }
            Update::PromptScores(scores) => self.prompt_scores.extend(scores),
            Update::Prompt(_) | Update::PrefillStarted | Update::End(..) | Update::Failed(_) => {}
        }
    }
}

fn text_of(part: &Part) -> &str {
    match part {
        Part::Content(text) | Part::Reasoning(text) => text,
        Part::CallBegin { .. } | Part::CallArguments { .. } => "",
    }
}

impl Writer {
    /// The scores of an echoed prompt, including its first token, which has no log-probability.
    fn with_prompt(&self, number: usize, prompt_scores: Vec<Score>) -> Vec<Score> {
        let first = self.prompts[number].ids.first().filter(|_| self.echo);
        let first = first.map(|&id| Score { id, logprob: None, top: Vec::new() });
        first.into_iter().chain(prompt_scores).collect()
    }

    fn new_offsets(&self, number: usize) -> TokenOffsets {
        let prompt = Some(&self.prompts[number]).filter(|_| self.echo);
        let (text, tokens) = prompt.map_or(("", 0), |prompt| (prompt.text.as_str(), prompt.ids.len()));
        TokenOffsets::new(Arc::clone(self.model.tokenizer()), text, tokens)
    }

    fn response(
        &self,
        choices: Vec<CompletionChoice>,
        usage: Option<Option<CompletionUsage>>,
    ) -> CompletionResponse {
        CompletionResponse {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.name.clone(),
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
            timings: None,
        }
    }

    fn logprobs(&self, scores: &[Score], offsets: &mut TokenOffsets) -> Option<CompletionLogprobs> {
        let as_ids = self.options.tokens_as_ids;
        self.options.scores.then(|| CompletionLogprobs::of(&self.model, scores, offsets, as_ids))
    }

    /// The token ids of a prompt and of its completion, if the client wants them.
    fn ids(&self, number: usize, answer: &[Score]) -> (Option<Vec<u32>>, Option<Vec<u32>>) {
        if !self.options.token_ids {
            return (None, None);
        }
        let ids = answer.iter().map(|score| score.id).collect();
        (Some(self.prompts[number].ids.clone()), Some(ids))
    }

    async fn whole(self, answers: Answers) -> Result<CompletionResponse, ApiError> {
        let choices = self.prompts.len() as u32;
        let all = collect::<Gathered>(answers, choices, |gathered, update| gathered.take(update)).await?;
        let choice = |(number, (gathered, finish)): (usize, (Gathered, Finish))| {
            let (prompt_token_ids, token_ids) = self.ids(number, &gathered.scores);
            let mut scores = self.with_prompt(number, gathered.prompt_scores);
            scores.extend(gathered.scores);
            let prompt = if self.echo { self.prompts[number].text.as_str() } else { "" };
            CompletionChoice {
                index: number as u32,
                text: format!("{prompt}{}", gathered.text),
                logprobs: self.logprobs(&scores, &mut self.new_offsets(number)),
                finish_reason: Some(finish),
                prompt_token_ids,
                token_ids,
            }
        };
        let usage = self.counted_once(all.usage);
        let choices = all.answers.into_iter().enumerate().map(choice).collect();
        let timings = self.options.timings.then(|| Timings::from(usage));
        Ok(CompletionResponse { timings, ..self.response(choices, Some(Some(CompletionUsage::from(usage)))) })
    }

    /// Counts each prompt once, however many completions it has.
    fn counted_once(&self, usage: Usage) -> Usage {
        let prompts = self.prompts.iter().step_by(self.completions);
        Usage { prompt_tokens: prompts.map(|prompt| prompt.ids.len() as u64).sum(), ..usage }
    }

    /// The chunk for an update. With `echo`, the first chunk of a completion begins with the prompt.
    fn chunk(&mut self, index: u32, update: Update) -> CompletionResponse {
        let (finish, usage) = match update {
            Update::End(finish, usage) => (Some(finish), Some(usage)),
            _ => (None, None),
        };
        let mut gathered = Gathered::default();
        gathered.take(update);
        let mut scores = Vec::new();
        let known = self.offsets[index as usize].take();
        let begins = known.is_none();
        let (prompt_token_ids, token_ids) = self.ids(index as usize, &gathered.scores);
        let prompt_token_ids = prompt_token_ids.filter(|_| begins);
        let mut offsets = known.unwrap_or_else(|| self.new_offsets(index as usize));
        if begins && self.echo {
            gathered.text.insert_str(0, &self.prompts[index as usize].text);
            scores = self.with_prompt(index as usize, std::mem::take(&mut gathered.prompt_scores));
        }
        scores.extend(gathered.prompt_scores);
        scores.extend(gathered.scores);
        let logprobs = if scores.is_empty() { None } else { self.logprobs(&scores, &mut offsets) };
        self.offsets[index as usize] = Some(offsets);
        let choice = CompletionChoice {
            index,
            text: gathered.text,
            logprobs,
            finish_reason: finish,
            prompt_token_ids,
            token_ids,
        };
        let response = self.response(vec![choice], self.options.usage.then_some(None));
        let timings = usage.filter(|_| self.options.timings).map(Timings::from);
        CompletionResponse { timings, ..response }
    }
}

impl EventWriter for Writer {
    async fn update(&mut self, index: u32, update: Update) -> Vec<Event> {
        match update {
            Update::PrefillStarted | Update::Prompt(_) => return Vec::new(),
            Update::End(_, usage) => self.usage.add_choice(usage),
            Update::Parts(..) | Update::PromptScores(_) | Update::Failed(_) => {}
        }
        vec![sse::data(&self.chunk(index, update))]
    }

    fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.options.usage {
            let usage = self.counted_once(self.usage);
            let timings = self.options.timings.then(|| Timings::from(usage));
            let chunk = self.response(Vec::new(), Some(Some(CompletionUsage::from(usage))));
            events.push(sse::data(&CompletionResponse { timings, ..chunk }));
        }
        events.push(sse::done());
        events
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        sse::failed(error)
    }
}
