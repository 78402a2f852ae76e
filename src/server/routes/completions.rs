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
use futures_util::stream::{self, Stream, StreamExt};

use crate::answer::{self, Answers, Choice, Finish, Prepared, Spent, Update, generation_options, merge};
use crate::error::ApiError;
use crate::shelf::BAND;
use crate::track::{Track, whole};
use crate::weight::check_prompt_bytes;
use crate::wire::body::Json;
use crate::wire::chat_response::FINGERPRINT;
use crate::wire::common::{Telling, Timings};
use crate::wire::completions::{
    CompletionChoice, CompletionLogprobs, CompletionQuestion, CompletionRequest, CompletionResponse,
};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::wire::{Usage, new_id, unix_seconds};
use crate::{App, Asker, jobs, sse};

/// Continues one or more prompts.
#[utoipa::path(post, path = "/v1/completions", tag = "completions", request_body = CompletionRequest, responses(
    (status = 200, description = "The completions, or a stream of chunks with `stream`", content(
        (CompletionResponse = "application/json"), (CompletionResponse = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub async fn completions(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(request): Json<CompletionRequest>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let (streams, started) = (request.common.streams(), Instant::now());
    let id = app.id(&asker.notes, request.common.model.as_deref(), false)?;
    if id.split(':').next() == Some(BAND) {
        return Err(ApiError::invalid("model", "the band answers goals: use it at /v1/chat/completions"));
    }
    let question = request.question()?;
    let (echo, telling) = (question.echo, question.telling);
    let completions = question.choices as usize;
    let (app_asked, notes) = (Arc::clone(&app), asker.notes.clone());
    let asked = async move {
        let model = app_asked.shelf.model(&id).await?;
        let begun = begin(Arc::clone(&model), question).await?;
        let prompts = begun.iter().map(Choice::prompt).collect();
        let choices = u32::try_from(begun.len()).unwrap_or(u32::MAX);
        let track = Track::new(&app_asked, asker.notes, &id, choices, started).streaming(streams.is_some());
        let (id, name, created) = (new_id("cmpl-"), id, unix_seconds());
        let writer = Writer { id, created, name, model, prompts, completions, echo, telling };
        Ok((track.follow(merge(begun)), writer))
    };
    if streams.is_none() {
        let (answers, writer) = asked.await?;
        return Ok(Body(writer.whole(answers).await?).into_response());
    }
    let write = |asked: Result<(Answers, Writer), ApiError>| match asked {
        Ok((answers, writer)) => writer.stream(answers).boxed(),
        Err(error) => stream::iter(sse::failed(&error)).boxed(),
    };
    // This format has no chunk without text that could open the stream.
    sse::begin(&app, notes, vec![sse::comment()], asked, write).await
}

/// Starts `choices` completions for each prompt.
async fn begin(model: Arc<LoadedModel>, question: CompletionQuestion) -> Result<Vec<Choice>, ApiError> {
    let bytes = question.bytes();
    jobs::check_size("prompt", bytes)?;
    check_prompt_bytes(&model, "prompt", question.longest_text())?;
    let prepare = move |cancellation: &Cancellation| {
        let prompts = question.prompts(&model, cancellation)?;
        let CompletionQuestion { mut draws, format, format_field, choices, echo, suffix, .. } = question;
        draws.check(&model)?;
        if suffix.is_some() {
            draws.stop_token_ids.extend(model.fill_stops());
        }
        // With `max_tokens` 0 the client only wants the prompt's scores, or the prompt in the cache.
        let none = draws.max_tokens == Some(0);
        let score_prompt = echo && draws.top_logprobs.is_some();
        let with_options = |prompt: Prompt| {
            let mut options =
                GenerationOptions { score_prompt, ..generation_options(&model, &prompt, draws.clone()) };
            if none {
                options.max_tokens = 0;
            }
            (prompt, options)
        };
        Ok(Prepared {
            prompts: prompts.into_iter().map(with_options).collect(),
            output: if none { Output::Text } else { format.output() },
            choices,
            prompt_field: "prompt",
            output_field: format_field,
            tools: None,
            must_call: false,
            model: Arc::clone(&model),
        })
    };
    answer::begin(bytes, prepare).await
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
    telling: Telling,
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
            Update::Prompt(_) | Update::Begun | Update::End(..) | Update::Failed(_) => {}
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

    fn offsets(&self, number: usize) -> TokenOffsets {
        let prompt = Some(&self.prompts[number]).filter(|_| self.echo);
        let (text, tokens) = prompt.map_or(("", 0), |prompt| (prompt.text.as_str(), prompt.ids.len()));
        TokenOffsets::new(Arc::clone(self.model.tokenizer()), text, tokens)
    }

    fn response(&self, choices: Vec<CompletionChoice>, usage: Option<Option<Usage>>) -> CompletionResponse {
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
        let as_ids = self.telling.tokens_as_ids;
        self.telling.scores.then(|| CompletionLogprobs::of(&self.model, scores, offsets, as_ids))
    }

    /// The token ids of a prompt and of its completion, if the client wants them.
    fn ids(&self, number: usize, answer: &[Score]) -> (Option<Vec<u32>>, Option<Vec<u32>>) {
        if !self.telling.token_ids {
            return (None, None);
        }
        let ids = answer.iter().map(|score| score.id).collect();
        (Some(self.prompts[number].ids.clone()), Some(ids))
    }

    async fn whole(self, answers: Answers) -> Result<CompletionResponse, ApiError> {
        let choices = self.prompts.len() as u32;
        let all = whole::<Gathered>(answers, choices, |gathered, update| gathered.take(update)).await?;
        let choice = |(number, (gathered, finish)): (usize, (Gathered, Finish))| {
            let (prompt_token_ids, token_ids) = self.ids(number, &gathered.scores);
            let mut scores = self.with_prompt(number, gathered.prompt_scores);
            scores.extend(gathered.scores);
            let prompt = if self.echo { self.prompts[number].text.as_str() } else { "" };
            CompletionChoice {
                index: number as u32,
                text: format!("{prompt}{}", gathered.text),
                logprobs: self.logprobs(&scores, &mut self.offsets(number)),
                finish_reason: Some(finish),
                prompt_token_ids,
                token_ids,
            }
        };
        let spent = self.spent(all.spent);
        let choices = all.answers.into_iter().enumerate().map(choice).collect();
        let timings = self.telling.timings.then(|| Timings::from(spent));
        Ok(CompletionResponse { timings, ..self.response(choices, Some(Some(Usage::from(spent)))) })
    }

    /// Counts each prompt once, however many completions it has.
    fn spent(&self, spent: Spent) -> Spent {
        let prompts = self.prompts.iter().step_by(self.completions);
        Spent { prompt_tokens: prompts.map(|prompt| prompt.ids.len() as u64).sum(), ..spent }
    }

    fn stream(self, answers: Answers) -> impl Stream<Item = Event> + Send + 'static {
        let offsets: Vec<Option<TokenOffsets>> = self.prompts.iter().map(|_| None).collect();
        let state = (self, answers, Spent::default(), offsets, false);
        let events =
            stream::unfold(state, move |(writer, mut answers, mut spent, mut offsets, ended)| async move {
                if ended {
                    return None;
                }
                let Some((index, update)) = answers.next().await else {
                    let mut last = Vec::new();
                    if writer.telling.usage {
                        let spent = writer.spent(spent);
                        let timings = writer.telling.timings.then(|| Timings::from(spent));
                        let chunk = writer.response(Vec::new(), Some(Some(Usage::from(spent))));
                        last.push(sse::data(&CompletionResponse { timings, ..chunk }));
                    }
                    last.push(sse::done());
                    return Some((last, (writer, answers, spent, offsets, true)));
                };
                if let Update::Begun | Update::Prompt(_) = update {
                    return Some((Vec::new(), (writer, answers, spent, offsets, false)));
                }
                if let Update::Failed(error) = update {
                    return Some((sse::failed(&error).into(), (writer, answers, spent, offsets, true)));
                }
                if let Update::End(_, cost) = &update {
                    spent.add_choice(*cost);
                }
                let events = writer.chunk(index, update, &mut offsets[index as usize]).into_iter().collect();
                Some((events, (writer, answers, spent, offsets, false)))
            });
        events.flat_map(|events: Vec<Event>| stream::iter(events))
    }

    /// The chunk for an update. With `echo`, the first chunk of a completion begins with the prompt.
    fn chunk(&self, index: u32, update: Update, offsets: &mut Option<TokenOffsets>) -> Option<Event> {
        let (finish, spent) = match update {
            Update::End(finish, spent) => (Some(finish), Some(spent)),
            _ => (None, None),
        };
        let mut gathered = Gathered::default();
        gathered.take(update);
        let mut scores = Vec::new();
        let begins = offsets.is_none();
        let (prompt_token_ids, token_ids) = self.ids(index as usize, &gathered.scores);
        let prompt_token_ids = prompt_token_ids.filter(|_| begins);
        let at = offsets.get_or_insert_with(|| self.offsets(index as usize));
        if begins && self.echo {
            gathered.text.insert_str(0, &self.prompts[index as usize].text);
            scores = self.with_prompt(index as usize, std::mem::take(&mut gathered.prompt_scores));
        }
        scores.extend(gathered.prompt_scores);
        scores.extend(gathered.scores);
        let logprobs = if scores.is_empty() { None } else { self.logprobs(&scores, at) };
        let choice = CompletionChoice {
            index,
            text: gathered.text,
            logprobs,
            finish_reason: finish,
            prompt_token_ids,
            token_ids,
        };
        let response = self.response(vec![choice], self.telling.usage.then_some(None));
        let timings = spent.filter(|_| self.telling.timings).map(Timings::from);
        Some(sse::data(&CompletionResponse { timings, ..response }))
    }
}
