//! Puts loaded models and the embedder behind the traits of `band.rs`.

use std::sync::Arc;

use bandmaster_text::{
    Cancellation, Class, ClientGrammar, Completion, FinishReason, Generation, GenerationOptions, LoadedModel,
    Output, Piece, Priority, Prompt, Rejected, RunId, Sampling, SessionError, TextEmbedder,
};

use super::band::{
    BoxFuture, Call, CallError, CallErrorKind, CallUsage, Embed, Finish, KeptVectors, Llm, Message, Progress,
    Reply,
};
use super::blocking::run_blocking;

/// Top-p at a temperature above 0, so that unlikely tokens are never sampled.
const TOP_P: f32 = 0.95;

/// A loaded model as an [`Llm`].
pub struct SessionLlm {
    model: Arc<LoadedModel>,
    name: String,
}

impl SessionLlm {
    #[must_use]
    pub fn new(model: Arc<LoadedModel>) -> Self {
        let name = model.name().to_owned();
        Self { model, name }
    }

    /// The same under another name: a run that goes on knows its models by the names that they had when it began.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

fn output(call: &Call) -> Output {
    match (&call.schema, &call.grammar) {
        (Some(schema), _) => Output::Schema(schema.clone()),
        (None, Some(lark)) => Output::ClientGrammar(ClientGrammar::Lark(lark.clone())),
        (None, None) => Output::Text,
    }
}

fn generation_options(call: &Call) -> GenerationOptions {
    let mut sampling = Sampling { temperature: call.temperature, seed: call.seed, ..Sampling::greedy() };
    if call.temperature > 0.0 {
        sampling.top_p = TOP_P;
    }
    GenerationOptions {
        sampling,
        output: output(call),
        priority: Priority {
            class: Class::Run,
            run: Some(RunId(call.run)),
            critical_path_tokens: call.critical_path_tokens.saturating_add(call.tokens_max),
        },
        deadline: call.deadline,
        ..GenerationOptions::new(call.tokens_max)
    }
}

/// JSON that ends within this many tokens of its limit, or within a third of the limit if that is less, counts as cut
/// off. Near the limit the grammar prefers tokens that close the JSON, so it is valid but may be incomplete.
const NEAR_THE_LIMIT_TOKENS: u32 = 56;

/// Whether an answer must be treated as cut off at its limit.
fn is_cut(call: &Call, finish: Finish, completion_tokens: u64) -> bool {
    let near = NEAR_THE_LIMIT_TOKENS.min(call.tokens_max / 3);
    let closed = call.schema.is_some() && completion_tokens + u64::from(near) >= u64::from(call.tokens_max);
    finish == Finish::Length || (finish == Finish::Stop && closed)
}

/// Checks that the context has room for as many tokens as the call needs at least.
fn check_room(model: &LoadedModel, call: &Call, prompt_tokens: usize) -> Result<(), CallError> {
    let room = model.context_tokens().saturating_sub(prompt_tokens);
    if room >= call.tokens_min as usize {
        return Ok(());
    }
    let message = format!(
        "{} reads at most {} tokens: after {prompt_tokens} of the prompt there is no room for an answer of {}",
        model.name(),
        model.context_tokens(),
        call.tokens_min
    );
    Err(CallError { kind: CallErrorKind::Resource, message })
}

fn call_error(error: &SessionError) -> CallError {
    let kind = match error {
        SessionError::Rejected(Rejected::QueueFull { .. }) => CallErrorKind::Transient,
        _ => CallErrorKind::Resource,
    };
    CallError { kind, message: error.to_string() }
}

fn reply(completion: Completion) -> Result<Reply, CallError> {
    let finish = match completion.finish {
        FinishReason::Stop => Finish::Stop,
        FinishReason::Length => Finish::Length,
        FinishReason::Deadline => Finish::Deadline,
        FinishReason::Cancelled => {
            let message = "the engine cancelled the call".to_owned();
            return Err(CallError { kind: CallErrorKind::Transient, message });
        }
    };
    let usage = completion.usage;
    Ok(Reply {
        text: completion.text,
        finish,
        usage: CallUsage {
            prompt_tokens: u64::from(usage.prompt_tokens),
            cached_tokens: u64::from(usage.cached_tokens),
            completion_tokens: u64::from(usage.completion_tokens),
            steps: u64::from(usage.steps),
            batch_sum: usage.batch_sum,
        },
    })
}

/// Asks how likely each of the call's options is as the reply.
async fn weigh(
    model: &LoadedModel,
    prompt: Prompt,
    call: &Call,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Reply, CallError> {
    progress(Progress::Prompt(&prompt.text));
    let start = |option: &String| model.score(&prompt, option, generation_options(call));
    let started: Result<Vec<Generation>, SessionError> = call.options.iter().map(start).collect();
    let (mut likely, mut used) = (Vec::new(), CallUsage::default());
    for mut generation in started.map_err(|error| call_error(&error))? {
        let before = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let (computed_before, cached_before) = (before(used.prompt_tokens), before(used.cached_tokens));
        let mut hear = |report: Progress<'_>| {
            if let Progress::Prefill { computed, cached, total } = report {
                let (computed, cached) = (computed_before + computed, cached_before + cached);
                progress(Progress::Prefill { computed, cached, total: computed_before + total });
            }
        };
        let Reply { usage, finish, .. } = hear_out(&mut generation, &mut hear).await?;
        used = used.plus(usage);
        let scores = generation.take_prompt_scores();
        if finish == Finish::Deadline || scores.is_empty() {
            return Ok(Reply { text: String::new(), finish: Finish::Deadline, usage: used });
        }
        likely.push(rounded(scores.into_iter().filter_map(|score| score.logprob).map(f64::from).sum()));
    }
    let text = serde_json::to_string(&likely).expect("numbers can be written");
    Ok(Reply { text, finish: Finish::Stop, usage: used })
}

/// To a thousandth of a nat, which is more than any decision rests on.
fn rounded(nats: f64) -> f64 {
    (1000.0 * nats).round() / 1000.0
}

async fn listen(
    mut generation: Generation,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Reply, CallError> {
    progress(Progress::Prompt(generation.rendered_prompt()));
    hear_out(&mut generation, progress).await
}

/// Passes on what a generation reports until it ends.
async fn hear_out(
    generation: &mut Generation,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Reply, CallError> {
    while let Some(piece) = generation.next().await {
        match piece {
            Piece::Prefill { computed, cached, total } => {
                progress(Progress::Prefill { computed, cached, total });
            }
            Piece::Text(text) => progress(Progress::Text(&text)),
            Piece::Done(completion) => return reply(completion),
            Piece::Failed(failure) => {
                return Err(CallError { kind: CallErrorKind::Transient, message: failure.to_string() });
            }
        }
    }
    let message = "the answer ended unexpectedly".to_owned();
    Err(CallError { kind: CallErrorKind::Transient, message })
}

impl Llm for SessionLlm {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> usize {
        self.model.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        // A prompt that cannot be rendered fails with the reason when it is sent.
        self.model.prompt_tokens(messages).unwrap_or(0)
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            let (model, messages) = (Arc::clone(&self.model), call.messages.clone());
            let prompt =
                run_blocking(move || model.chat_prompt(&messages, &[])).await.map_err(|e| call_error(&e))?;
            check_room(&self.model, call, prompt.ids.len())?;
            if !call.options.is_empty() {
                return weigh(&self.model, prompt, call, progress).await;
            }
            let options = generation_options(call);
            // A grammar takes up to two seconds to compile.
            let (model, output) = (Arc::clone(&self.model), options.output.clone());
            let constraint = run_blocking(move || model.constraint_for(&output, &Cancellation::default()));
            let constraint = constraint.await.map_err(|e| call_error(&e))?;
            let generation =
                self.model.generate_constrained(prompt, options, &constraint).map_err(|e| call_error(&e))?;
            let mut reply = listen(generation, progress).await?;
            if is_cut(call, reply.finish, reply.usage.completion_tokens) {
                reply.finish = Finish::Length;
            }
            Ok(reply)
        })
    }
}

impl Embed for TextEmbedder {
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>> {
        Box::pin(async move { TextEmbedder::embed(self, texts).await.map_err(|e| e.to_string()) })
    }
}

/// An embedder whose vectors of long texts are kept on disk.
pub struct KeepingEmbed {
    embed: Arc<dyn Embed>,
    kept: KeptVectors,
}

impl KeepingEmbed {
    #[must_use]
    pub fn new(embed: Arc<dyn Embed>, kept: KeptVectors) -> Self {
        Self { embed, kept }
    }
}

impl Embed for KeepingEmbed {
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>> {
        self.embed.embed(texts)
    }

    fn kept(&self) -> Option<&KeptVectors> {
        Some(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(schema: bool, tokens_max: u32) -> Call {
        Call {
            messages: Vec::new(),
            schema: schema.then(|| serde_json::json!({"type": "object"})),
            grammar: None,
            options: Vec::new(),
            tokens_max,
            tokens_min: 0,
            temperature: 0.0,
            seed: 0,
            run: 0,
            critical_path_tokens: 0,
            deadline: None,
        }
    }

    #[test]
    fn a_reply_follows_the_schema_or_else_the_grammar_of_its_call() {
        let schema = serde_json::json!({"type": "object"});
        let lark = || "start: \"yes\" | \"no\"".to_owned();
        for (asked, grammar, expected) in [
            (None, None, Output::Text),
            (Some(schema.clone()), Some(lark()), Output::Schema(schema.clone())),
            (None, Some(lark()), Output::ClientGrammar(ClientGrammar::Lark(lark()))),
        ] {
            let call = Call { schema: asked, grammar, ..call(false, 9) };
            assert_eq!(generation_options(&call).output, expected);
            // What follows from the inputs is not recorded with every call.
            let sampling = call.sampling(9);
            assert_eq!(sampling.get("grammar_sha256").is_some(), call.grammar.is_some(), "{sampling}");
            assert!(!sampling.to_string().contains("yes"), "{sampling}");
        }
    }

    #[test]
    fn json_that_ends_near_its_limit_is_taken_as_cut_off() {
        for (schema, tokens_max, finish, tokens, expected) in [
            (true, 240, Finish::Stop, 40, false),
            (true, 240, Finish::Stop, 184, true),
            (true, 240, Finish::Length, 240, true),
            (true, 30, Finish::Stop, 10, false),
            (true, 30, Finish::Stop, 21, true),
            // A budget may leave only one token.
            (true, 1, Finish::Stop, 1, true),
            (true, 240, Finish::Deadline, 230, false),
            (false, 240, Finish::Stop, 239, false),
            (false, 240, Finish::Length, 240, true),
        ] {
            assert_eq!(
                is_cut(&call(schema, tokens_max), finish, tokens),
                expected,
                "{schema} {tokens_max} {finish:?} {tokens}"
            );
        }
    }
}
