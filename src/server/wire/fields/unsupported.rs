//! Fields of other servers that would change what an answer promises: its format, its length, where it stops, what is
//! returned with it, and which weights and which prompt it comes from. A route that does not know one of them refuses
//! it by name. Fields that only change how likely tokens are sampled are accepted and reported.
//!
//! The names are from the parameter lists of OpenAI, vLLM, llama.cpp's server, SGLang, TGI, ollama, LM Studio,
//! OpenRouter, and text-generation-webui.

use serde_json::Value;

use crate::error::ApiError;

/// A field that would change what an answer promises.
#[derive(Debug)]
pub(super) struct UnsupportedField {
    pub name: &'static str,
    /// Whether a value asks only for what is so anyway.
    harmless: fn(&Value) -> bool,
    /// Why it is refused, and what to do instead.
    why: &'static str,
}

impl UnsupportedField {
    /// Whether it would change the prompt, and not only what is generated after it.
    pub(super) fn affects_prompt(&self) -> bool {
        SOURCE.iter().any(|field| field.name == self.name)
            || ["functions", "truncate_prompt_tokens"].contains(&self.name)
    }

    /// Whether it would change a vector, and not only generated text.
    pub(super) fn affects_vector(&self) -> bool {
        VECTORS.iter().any(|field| field.name == self.name) || self.affects_prompt()
    }

    /// The error 400 that names the field.
    pub(super) fn refusal(&self) -> ApiError {
        let Self { name, why, .. } = self;
        ApiError::unsupported(*name, format!("{name} is not supported here: {why}"))
    }
}

/// The unsupported field of this name, if its value isn't harmless.
pub(super) fn requested(name: &str, value: &Value) -> Option<&'static UnsupportedField> {
    let field = find(name)?;
    (!value.is_null() && !(field.harmless)(value)).then_some(field)
}

/// Whether the field is in one of the lists.
pub(super) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<&'static UnsupportedField> {
    ALL.iter().flat_map(|group| group.iter()).find(|field| field.name == name)
}

/// Whether a field that some route honours is empty, as clients send what they don't set: an empty text where a text is
/// meant, an empty object where an object is. Such a field counts as absent. An empty value of another kind is a
/// mistake, and an empty schema is a schema.
pub(super) fn is_unset(name: &str, value: &Value) -> bool {
    const TEXTS: [&str; 8] =
        ["grammar", "regex", "ebnf", "guided_regex", "guided_grammar", "suffix", "stop", "tool_choice"];
    const OBJECTS: [&str; 5] =
        ["grammar", "response_format", "structured_outputs", "tool_choice", "logit_bias"];
    const LISTS: [&str; 6] = ["guided_choice", "logit_bias", "stop", "stop_token_ids", "tools", "functions"];
    match value {
        Value::String(text) => text.is_empty() && TEXTS.contains(&name),
        Value::Object(fields) => fields.is_empty() && OBJECTS.contains(&name),
        Value::Array(items) => items.is_empty() && LISTS.contains(&name),
        _ => false,
    }
}

/// Whether a value is null, `false`, 0 or empty.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn at_most_one(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number <= 1.0)
}

/// 0 and −1 are "no limit" and "the server's choice".
fn no_limit(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number <= 0.0) || empty(value)
}

fn yes(value: &Value) -> bool {
    *value == Value::Bool(true)
}

fn text_alone(value: &Value) -> bool {
    let is_text = |value: &Value| value.as_str() == Some("text");
    empty(value) || value.as_array().is_some_and(|kinds| kinds.iter().all(is_text))
}

fn text_format(value: &Value) -> bool {
    empty(value) || value.get("type").is_some_and(|kind| kind == "text")
}

fn plain_text(value: &Value) -> bool {
    empty(value) || value == "text/plain"
}

fn no_call(value: &Value) -> bool {
    empty(value) || value == "none" || value == "auto"
}

fn unit_length(value: &Value) -> bool {
    *value == 2 || yes(value) || value == "l2"
}

fn floats(value: &Value) -> bool {
    let is_float = |value: &Value| value == "float";
    empty(value) || is_float(value) || value.as_array().is_some_and(|kinds| kinds.iter().all(is_float))
}

const fn field(name: &'static str, harmless: fn(&Value) -> bool, why: &'static str) -> UnsupportedField {
    UnsupportedField { name, harmless, why }
}

const OTHER_FORMAT: &str = "this route can't constrain its answer to a format; /v1/chat/completions can";
const OUR_FORMATS: &str = "use response_format, grammar or structured_outputs";
const NO_BAN: &str = "words can't be banned; a logit_bias of -100 bans single tokens";
const USE_STOP: &str = "use stop";
const USE_MAX: &str = "use max_tokens (of responses: max_output_tokens)";
const USE_N: &str = "use n, at /v1/chat/completions or /v1/completions";
const NO_BEAMS: &str = "answers are sampled; beam search is not supported";
const SCORES: &str = "log-probabilities are returned by logprobs and top_logprobs";
const TEXT_ONLY: &str = "the models here read and write text";
const TOP_LEVEL: &str = "put its fields at the top level of the body";
const CHAT_ONLY: &str = "use /v1/chat/completions";

/// In groups, for readability.
const ALL: &[&[UnsupportedField]] = &[FORMAT, LENGTH, STOPS, OUTPUT, COUNT, SOURCE, VECTORS];

const FORMAT: &[UnsupportedField] = &[
    field("response_format", text_format, OTHER_FORMAT),
    field("json_schema", empty, OTHER_FORMAT),
    field("grammar", empty, OTHER_FORMAT),
    field("regex", empty, OTHER_FORMAT),
    field("ebnf", empty, OTHER_FORMAT),
    field("guided_json", empty, OTHER_FORMAT),
    field("guided_json_object", empty, OTHER_FORMAT),
    field("guided_regex", empty, OTHER_FORMAT),
    field("guided_choice", empty, OTHER_FORMAT),
    field("guided_grammar", empty, OTHER_FORMAT),
    field("structured_outputs", empty, OTHER_FORMAT),
    field("guided_whitespace_pattern", empty, "JSON is written on one line, with a space after , and :"),
    field("structural_tag", empty, OUR_FORMATS),
    field("guided_structural_tag", empty, OUR_FORMATS),
    field("format", empty, OUR_FORMATS),
    field("grammar_string", empty, OUR_FORMATS),
    field("grammar_lazy", empty, OUR_FORMATS),
    field("grammar_triggers", empty, OUR_FORMATS),
    field("response_schema", empty, OUR_FORMATS),
    field("response_mime_type", plain_text, OUR_FORMATS),
    field("functions", empty, "use tools"),
    field("function_call", no_call, "use tool_choice"),
    field("tools", empty, CHAT_ONLY),
    field("tool_choice", no_call, CHAT_ONLY),
    field("bad_words", empty, NO_BAN),
    field("bad_words_ids", empty, NO_BAN),
    field("banned_tokens", empty, NO_BAN),
    field("banned_strings", empty, NO_BAN),
    field("custom_token_bans", empty, NO_BAN),
    field("suppress_tokens", empty, NO_BAN),
    field("allowed_token_ids", empty, "use grammar or guided_choice to say what may be written"),
    field("logit_bias", empty, "use a model at /v1/chat/completions or /v1/completions"),
    field("logits_processors", empty, "code in a request is never run"),
    field("logits_processor", empty, "code in a request is never run"),
    field("custom_logit_processor", empty, "code in a request is never run"),
    field("audio", empty, TEXT_ONLY),
    field("modalities", text_alone, TEXT_ONLY),
    field("stream", empty, "this route does not stream"),
    field(
        "background",
        empty,
        "the client waits for the answer or streams it; POST /v1/runs runs in the background",
    ),
];

const LENGTH: &[UnsupportedField] = &[
    field("max_tokens", no_limit, USE_MAX),
    field("max_completion_tokens", no_limit, USE_MAX),
    field("max_output_tokens", no_limit, USE_MAX),
    field("n_predict", no_limit, USE_MAX),
    field("num_predict", no_limit, USE_MAX),
    field("max_new_tokens", no_limit, USE_MAX),
    field("max_gen_len", no_limit, USE_MAX),
    field("max_length", no_limit, USE_MAX),
    field("min_tokens", no_limit, "this route has no minimum length"),
    field("min_new_tokens", no_limit, "use min_tokens"),
    field("min_length", no_limit, "use min_tokens"),
    field("ignore_eos", empty, "use a model at /v1/chat/completions or /v1/completions"),
    field("truncate_prompt_tokens", no_limit, "a prompt is never cut: one that is too long is refused"),
];

const STOPS: &[UnsupportedField] = &[
    field("stop", empty, "this route has no stop strings"),
    field("stop_token_ids", empty, USE_STOP),
    field("stop_sequences", empty, USE_STOP),
    field("stop_sequence", empty, USE_STOP),
    field("stop_strings", empty, USE_STOP),
    field("stop_words", empty, USE_STOP),
    field("stopping_strings", empty, USE_STOP),
    field("stop_regex", empty, USE_STOP),
    field("include_stop_str_in_output", empty, "the answer ends before the stop string"),
    field("no_stop_trim", empty, "use include_stop_str_in_output"),
];

const OUTPUT: &[UnsupportedField] = &[
    field("echo", empty, "/v1/completions returns the prompt"),
    field("return_full_text", empty, "/v1/completions returns the prompt with echo"),
    field("logprobs", empty, SCORES),
    field("top_logprobs", empty, SCORES),
    field("n_probs", empty, SCORES),
    field("post_sampling_probs", empty, SCORES),
    field("logprob_token_ids", empty, SCORES),
    field("token_ids_logprob", empty, SCORES),
    field("return_logprob", empty, SCORES),
    field("top_n_tokens", empty, SCORES),
    field("details", empty, SCORES),
    field("decoder_input_details", empty, SCORES),
    // Here 0 asks for something: log-probabilities without alternatives.
    field(
        "prompt_logprobs",
        |value| *value == false,
        "/v1/completions scores a prompt with echo and logprobs",
    ),
    field("return_token_ids", empty, "/v1/chat/completions and /v1/completions return token ids"),
    field("return_tokens_as_token_ids", empty, SCORES),
    field("return_tokens", empty, "use return_token_ids"),
    field("return_prompt_text", empty, "/apply-template returns the prompt"),
    field("return_hidden_states", empty, "hidden states are not returned"),
    field("return_routed_experts", empty, "experts are not returned"),
    field(
        "skip_special_tokens",
        yes,
        "control tokens are never written as text; return_token_ids returns them",
    ),
    field("detokenize", yes, "answers are text; return_token_ids returns their tokens as well"),
    field("moderation", empty, "there is no moderation model here"),
    field("web_search_options", empty, "the server does not search the web"),
];

const COUNT: &[UnsupportedField] = &[
    field("n", at_most_one, USE_N),
    field("best_of", at_most_one, "every answer that is generated is returned; ask for n answers"),
    field("n_cmpl", at_most_one, USE_N),
    field("num_return_sequences", at_most_one, USE_N),
    field("num_generations", at_most_one, USE_N),
    field("use_beam_search", empty, NO_BEAMS),
    field("num_beams", at_most_one, NO_BEAMS),
    field("beam_width", at_most_one, NO_BEAMS),
];

const SOURCE: &[UnsupportedField] = &[
    field("suffix", empty, "use /v1/completions or /infill for fill-in"),
    field("input_prefix", empty, "use /infill for fill-in"),
    field("input_suffix", empty, "use /infill for fill-in"),
    field("input_extra", empty, "use /infill for fill-in"),
    field("messages", empty, CHAT_ONLY),
    field(
        "chat_template",
        empty,
        "the model's own template is used; chat_template_kwargs sets its variables",
    ),
    field("continue_final_message", empty, CHAT_ONLY),
    field("prompt_embeds", empty, TEXT_ONLY),
    field("input_embeds", empty, TEXT_ONLY),
    field("images", empty, TEXT_ONLY),
    field("image_data", empty, TEXT_ONLY),
    field("multimodal_data", empty, TEXT_ONLY),
    field("lora", empty, "adapters are not supported"),
    field("lora_request", empty, "adapters are not supported"),
    field("lora_path", empty, "adapters are not supported"),
    field("adapter_id", empty, "adapters are not supported"),
    field("raw", empty, "/v1/completions takes a prompt as it is"),
    field("options", empty, TOP_LEVEL),
    field("extra_body", empty, TOP_LEVEL),
    field("parameters", empty, TOP_LEVEL),
];

const VECTORS: &[UnsupportedField] = &[
    field("normalize", yes, "vectors have the length 1"),
    field("embd_normalize", unit_length, "vectors have the length 1"),
    field("output_dimension", no_limit, "use dimensions"),
    field("output_dtype", floats, "use encoding_format"),
    field("embedding_types", floats, "use encoding_format"),
];

/// All names, for tests.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|group| group.iter()).map(|field| field.name)
}

/// Whether an empty value of a field asks for something too: it is a number, or what it turns off is on by default.
#[cfg(test)]
pub(super) fn asks_when_empty(name: &str) -> bool {
    find(name).is_some_and(|field| !(field.harmless)(&Value::from("")))
}
