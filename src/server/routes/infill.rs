//! `POST /infill`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bandmaster_text::{Cancellation, LoadedModel, Output, Part};
use futures_util::stream::{self, StreamExt};

use crate::answer::{self, Answers, Choice, Finish, Prepared, Spent, Update, generation_options, merge};
use crate::error::ApiError;
use crate::track::{Track, whole};
use crate::weight::check_prompt_bytes;
use crate::wire::body::Json;
use crate::wire::common::Timings;
use crate::wire::completions::no_marks;
use crate::wire::infill::{
    InfillEnd, InfillQuestion, InfillRequest, InfillResponse, InfillSettings, stop_type,
};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::{App, Asker, jobs, sse};

/// Generates the text between a prefix and a suffix. The model must have been trained for it.
#[utoipa::path(post, path = "/infill", tag = "completions", request_body = InfillRequest, responses(
    (status = 200, description = "The generated text, or a stream of pieces with `stream`", content(
        (InfillResponse = "application/json"), (InfillResponse = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub async fn infill(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(request): Json<InfillRequest>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let started = Instant::now();
    let id = app.id(&asker.notes, request.asked.model.as_deref(), false)?;
    let streams = request.asked.stream == Some(true);
    let question = request.question()?;
    let fields = question.fields.clone();
    let (app_asked, notes) = (Arc::clone(&app), asker.notes.clone());
    let asked = async move {
        let model = app_asked.shelf.model(&id).await?;
        let (choices, settings) = begin(model, question).await?;
        let track = Track::new(&app_asked, asker.notes, &id, 1, started).streaming(streams);
        Ok((track.follow(merge(choices)), Writer { model: id, settings, fields }))
    };
    if !streams {
        let (answers, writer) = asked.await?;
        let all = whole(answers, 1, |text: &mut String, update| text.push_str(&text_of(update))).await?;
        let (content, finish) = all.answers.into_iter().next().unwrap_or((String::new(), Finish::Stop));
        return Ok(Body(writer.end(content, finish, all.spent)).into_response());
    }
    let write = |asked: Result<(Answers, Writer), ApiError>| match asked {
        Ok((answers, writer)) => {
            let event = move |(_, update)| {
                stream::iter(match update {
                    Update::Parts(..) => {
                        let piece = InfillResponse { content: text_of(update), ..InfillResponse::default() };
                        vec![sse::data(&piece.told(None))]
                    }
                    Update::End(finish, spent) => vec![sse::data(&writer.end(String::new(), finish, spent))],
                    Update::Failed(error) => vec![sse::data(&error.object())],
                    Update::Prompt(_) | Update::Begun | Update::PromptScores(_) => Vec::new(),
                })
            };
            answers.flat_map(event).boxed()
        }
        Err(error) => stream::iter([sse::data(&error.object())]).boxed(),
    };
    sse::begin(&app, notes, vec![sse::comment()], asked, write).await
}

async fn begin(
    model: Arc<LoadedModel>,
    question: InfillQuestion,
) -> Result<(Vec<Choice>, InfillSettings), ApiError> {
    let bytes = question.fill.bytes();
    jobs::check_size("input_prefix", bytes)?;
    check_prompt_bytes(&model, "input_prefix", bytes)?;
    let settings = InfillSettings {
        n_ctx: model.context_tokens(),
        n_predict: question.draws.max_tokens.map_or(-1, i64::from),
        temperature: question.draws.sampling.temperature,
    };
    let prepare = move |cancellation: &Cancellation| {
        let InfillQuestion { fill, mut draws, .. } = question;
        draws.check(&model)?;
        let prompt = model.fill_prompt(&fill, cancellation);
        let prompt = prompt.map_err(|error| ApiError::of_session(&error, "input_prefix", "input_prefix"))?;
        let prompt = prompt.ok_or_else(|| no_marks("input_suffix", &model))?;
        draws.stop_token_ids.extend(model.fill_stops());
        let none = draws.max_tokens == Some(0);
        let mut options = generation_options(&model, &prompt, draws);
        if none {
            options.max_tokens = 0;
        }
        Ok(Prepared {
            prompts: vec![(prompt, options)],
            output: Output::Text,
            choices: 1,
            prompt_field: "input_prefix",
            output_field: "input_prefix",
            tools: None,
            must_call: false,
            model,
        })
    };
    Ok((answer::begin(bytes, prepare).await?, settings))
}

fn text_of(update: Update) -> String {
    let Update::Parts(parts, _) = update else { return String::new() };
    let text = |part| match part {
        Part::Content(text) | Part::Reasoning(text) => text,
        Part::CallBegin { .. } | Part::CallArguments { .. } => String::new(),
    };
    parts.into_iter().map(text).collect()
}

struct Writer {
    model: String,
    settings: InfillSettings,
    fields: Option<Vec<String>>,
}

impl Writer {
    fn end(&self, content: String, finish: Finish, spent: Spent) -> serde_json::Value {
        let end = InfillEnd {
            model: self.model.clone(),
            tokens_predicted: spent.completion_tokens,
            tokens_evaluated: spent.prompt_tokens,
            tokens_cached: spent.cached_tokens,
            truncated: false,
            stop_type: stop_type(finish),
            generation_settings: self.settings,
            timings: Timings::from(spent),
        };
        let whole = InfillResponse { content, stop: true, end: Some(end), ..InfillResponse::default() };
        whole.told(self.fields.as_deref())
    }
}
