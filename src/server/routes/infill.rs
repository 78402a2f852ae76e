//! `POST /infill`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bandmaster_text::{Cancellation, LoadedModel, Output, Part};

use crate::answer::{self, Choice, Finish, Prepared, Update, generation_options, merge};
use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::prompt_size::check_prompt_bytes;
use crate::sse::EventWriter;
use crate::tracker::{AnswerTracker, collect};
use crate::usage::Usage;
use crate::wire::body::Json;
use crate::wire::common::Timings;
use crate::wire::completions::no_fill_in_tokens;
use crate::wire::infill::{
    InfillEnd, InfillQuestion, InfillRequest, InfillResponse, InfillSettings, stop_type,
};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::{App, jobs, sse};

/// Generates the text between a prefix and a suffix. The model must have been trained for it.
#[utoipa::path(post, path = "/infill", tag = "completions", request_body = InfillRequest, responses(
    (status = 200, description = "The generated text, or a stream of pieces with `stream`", content(
        (InfillResponse = "application/json"), (InfillResponse = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub(crate) async fn infill(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(request): Json<InfillRequest>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let arrived = Instant::now();
    let name = app.model_id(&context, request.own.model.as_deref(), false)?;
    let is_stream = request.own.stream == Some(true);
    let question = request.question()?;
    let fields = question.fields.clone();
    let started = {
        let (app, context) = (Arc::clone(&app), context.clone());
        async move {
            let model = app.models.model(&name).await?;
            let (choices, settings) = start(model, question).await?;
            let tracker = AnswerTracker::new(&app, context, &name, 1, arrived).streaming(is_stream);
            Ok((tracker.follow(merge(choices)), Writer { model: name, settings, fields }))
        }
    };
    if is_stream {
        return sse::stream_answers(&app, context, vec![sse::comment()], started, failed).await;
    }
    let (answers, writer) = started.await?;
    let all = collect(answers, 1, |text: &mut String, update| text.push_str(&text_of(update))).await?;
    let (content, finish) = all.answers.into_iter().next().unwrap_or((String::new(), Finish::Stop));
    Ok(Body(writer.end(content, finish, all.usage)).into_response())
}

async fn start(
    model: Arc<LoadedModel>,
    question: InfillQuestion,
) -> Result<(Vec<Choice>, InfillSettings), ApiError> {
    let bytes = question.fill.bytes();
    jobs::check_size("input_prefix", bytes)?;
    check_prompt_bytes(&model, "input_prefix", bytes)?;
    let settings = InfillSettings {
        n_ctx: model.context_tokens(),
        n_predict: question.params.tokens_max.map_or(-1, i64::from),
        temperature: question.params.sampling.temperature,
    };
    let prepare = move |cancellation: &Cancellation| {
        let InfillQuestion { fill, mut params, .. } = question;
        params.check(&model)?;
        let prompt = model.fill_prompt(&fill, cancellation);
        let prompt = prompt.map_err(|error| ApiError::of_session(&error, "input_prefix", "input_prefix"))?;
        let prompt = prompt.ok_or_else(|| no_fill_in_tokens("input_suffix", &model))?;
        params.stop_token_ids.extend(model.fill_stops());
        let generates_nothing = params.tokens_max == Some(0);
        let mut options = generation_options(&model, &prompt, params);
        if generates_nothing {
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
    Ok((answer::start(bytes, prepare).await?, settings))
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
    fn end(&self, content: String, finish: Finish, usage: Usage) -> serde_json::Value {
        let end = InfillEnd {
            model: self.model.clone(),
            tokens_predicted: usage.completion_tokens,
            tokens_evaluated: usage.prompt_tokens,
            tokens_cached: usage.cached_tokens,
            truncated: false,
            stop_type: stop_type(finish),
            generation_settings: self.settings,
            timings: Timings::from(usage),
        };
        let whole = InfillResponse { content, stop: true, end: Some(end), ..InfillResponse::default() };
        whole.json(self.fields.as_deref())
    }
}

impl EventWriter for Writer {
    async fn update(&mut self, _: u32, update: Update) -> Vec<Event> {
        match update {
            Update::Parts(..) => {
                let piece = InfillResponse { content: text_of(update), ..InfillResponse::default() };
                vec![sse::data(&piece.json(None))]
            }
            Update::End(finish, usage) => vec![sse::data(&self.end(String::new(), finish, usage))],
            Update::Prompt(_) | Update::PrefillStarted | Update::PromptScores(_) | Update::Failed(_) => {
                Vec::new()
            }
        }
    }

    fn finish(&mut self) -> Vec<Event> {
        Vec::new()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        failed(error)
    }
}

/// llama-server's streams end without `[DONE]`.
fn failed(error: &ApiError) -> Vec<Event> {
    vec![sse::data(&error.object())]
}
