//! Sampling parameters and stop conditions of a request: OpenAI's fields, and those that llama-server and vLLM added.

use std::hash::{DefaultHasher, Hash, Hasher};

use bandmaster_text::Sampling;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::random_u64;
use crate::answer::SamplingParams;
use crate::error::ApiError;

/// Stop sequences of one request. A body with more is refused before it is parsed.
pub(crate) const STOPS_MAX: usize = 16;
/// Stop tokens of one request. A body with more is refused in the same way.
pub(crate) const STOP_TOKENS_MAX: usize = 128;

/// One stop sequence or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum Stop {
    /// A single stop sequence.
    One(String),
    /// Up to 16 stop sequences.
    Many(Vec<String>),
}

/// Sampling parameters and stop conditions.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(as = Given)]
pub struct SamplingFields {
    /// Sampling temperature, from 0 to 2; 1 by default. At 0 the most likely token is always taken.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Keep the fewest most likely tokens whose probabilities add up to this; 1 keeps all.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Keep this many of the most likely tokens; 0 or -1 keeps all.
    #[schema(minimum = -1, maximum = 1_000_000)]
    pub top_k: Option<i64>,
    /// Drop tokens less likely than this fraction of the most likely one; 0 drops none.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// Make tokens of the prompt and the answer less likely; 1 turns it off.
    #[schema(minimum = 0.01, maximum = 100)]
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's name for `repetition_penalty`, used if that is absent.
    #[schema(minimum = 0.01, maximum = 100)]
    pub repeat_penalty: Option<f32>,
    /// Subtracted once from the logits of tokens already generated.
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f32>,
    /// Subtracted from the logits of tokens already generated, once per occurrence.
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of tokens: an object from token ids to numbers, or llama.cpp's list of pairs. -100 or
    /// `false` forbids a token.
    #[schema(value_type = Option<std::collections::BTreeMap<String, f32>>)]
    pub logit_bias: Option<Value>,
    /// Seed for sampling. The same seed and request give the same answer. Absent or -1, a random one is used.
    pub seed: Option<i64>,
    /// Stop sequences. The answer ends before the first that occurs.
    pub stop: Option<Stop>,
    /// Ids of tokens that end the answer.
    #[schema(max_items = 128)]
    pub stop_token_ids: Option<Vec<u32>>,
    /// Return the stop sequence that ended the answer as part of it.
    pub include_stop_str_in_output: Option<bool>,
    /// Minimum number of tokens to generate.
    pub min_tokens: Option<u32>,
    /// Keep generating until the maximum number of tokens, ignoring the end-of-sequence token.
    pub ignore_eos: Option<bool>,
    /// Use only prefix cache entries of requests with the same salt.
    pub cache_salt: Option<String>,
}

impl SamplingFields {
    /// Checks ranges and fills in defaults. Without a seed, a random one is used.
    ///
    /// # Errors
    /// 400 with the field.
    pub fn params(
        self,
        tokens_max: Option<u32>,
        top_logprobs: Option<u32>,
    ) -> Result<SamplingParams, ApiError> {
        Ok(SamplingParams {
            tokens_max,
            top_logprobs,
            min_tokens: self.min_tokens.unwrap_or(0),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            stop: stops(self.stop.clone()),
            stop_in_text: self.include_stop_str_in_output.unwrap_or(false),
            stop_token_ids: self.stop_token_ids.clone().unwrap_or_default(),
            cache_salt: self.cache_salt.as_deref().map_or(0, salt_hash),
            token_ids: false,
            ignored_by_band: self.ignored_by_band(),
            sampling: self.sampling()?,
        })
    }

    /// Names of the fields that were given and have no effect on a band, which samples as its strategies say.
    fn ignored_by_band(&self) -> Vec<&'static str> {
        let fields = [
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("top_k", self.top_k.is_some()),
            ("min_p", self.min_p.is_some()),
            ("repetition_penalty", self.repetition_penalty.is_some()),
            ("repeat_penalty", self.repeat_penalty.is_some()),
            ("presence_penalty", self.presence_penalty.is_some()),
            ("frequency_penalty", self.frequency_penalty.is_some()),
            ("cache_salt", self.cache_salt.as_ref().is_some_and(|salt| !salt.is_empty())),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    fn sampling(self) -> Result<Sampling, ApiError> {
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p.map(f64::from), 0.0, 1.0)?;
        within("presence_penalty", self.presence_penalty.map(f64::from), -2.0, 2.0)?;
        within("frequency_penalty", self.frequency_penalty.map(f64::from), -2.0, 2.0)?;
        let (penalty, field) = match self.repetition_penalty {
            Some(penalty) => (Some(penalty), "repetition_penalty"),
            None => (self.repeat_penalty, "repeat_penalty"),
        };
        if let Some(penalty) = penalty.filter(|penalty| !(*penalty > 0.0 && penalty.is_finite())) {
            return Err(ApiError::invalid(field, format!("{field} is {penalty}: it must be above 0")));
        }
        // llama-server and vLLM say −1 for "all".
        let top_k = match self.top_k.unwrap_or(0) {
            -1 => 0,
            k => u32::try_from(k).map_err(|_| {
                ApiError::invalid("top_k", format!("top_k is {k}: it must be 0 or more, or -1 for all"))
            })?,
        };
        Ok(Sampling {
            temperature: self.temperature.map_or(1.0, |temperature| temperature as f32),
            top_k,
            // OpenAI allows 0, which leaves the most likely token.
            top_p: self.top_p.map_or(1.0, |top_p| top_p as f32).max(f32::MIN_POSITIVE),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: penalty.unwrap_or(1.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            logit_bias: self.logit_bias.map_or(Ok(Vec::new()), biases)?,
            // llama-server, vLLM and others say −1 for "any".
            seed: self.seed.filter(|&seed| seed != -1).map_or_else(random_u64, |seed| seed as u64),
        })
    }
}

fn within(name: &str, value: Option<f64>, min: f64, max: f64) -> Result<(), ApiError> {
    match value.filter(|value| !(min..=max).contains(value)) {
        Some(value) => {
            Err(ApiError::invalid(name, format!("{name} is {value}: it must be between {min} and {max}")))
        }
        None => Ok(()),
    }
}

/// An object of ids and biases, or a list of pairs of them.
fn biases(given: Value) -> Result<Vec<(u32, f32)>, ApiError> {
    let wrong = |what: String| ApiError::invalid("logit_bias", format!("logit_bias: {what}"));
    let no_id = |token: &str| wrong(format!("{token} is not a token id (see `/tokenize`)"));
    let bias = |value: &Value| match value {
        Value::Bool(false) => Ok(f32::NEG_INFINITY),
        Value::Number(number) => {
            let bias = number.as_f64().unwrap_or(f64::NAN);
            within("logit_bias", Some(bias), -100.0, 100.0)?;
            // OpenAI's −100 and 100 mean never and always.
            Ok(if bias <= -100.0 { f32::NEG_INFINITY } else { bias as f32 })
        }
        other => Err(wrong(format!("{other} is not a bias: give a number"))),
    };
    match given {
        Value::Object(biases) => biases
            .iter()
            .map(|(token, value)| {
                Ok((token.parse().map_err(|_| no_id(&format!("{token:?}")))?, bias(value)?))
            })
            .collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([id, value]) => {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    Ok((id.ok_or_else(|| no_id(&pair[0].to_string()))?, bias(value)?))
                }
                _ => Err(wrong("a pair of a token id and a bias is expected".into())),
            })
            .collect(),
        other => Err(wrong(format!("expected an object of token ids and biases, not {other}"))),
    }
}

/// Hashes a salt. Without one it is 0, as for the cache that everybody shares.
fn salt_hash(text: &str) -> u64 {
    if text.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().max(1)
}

/// Stop sequences as a list, without empty ones.
fn stops(stop: Option<Stop>) -> Vec<String> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    stops.into_iter().filter(|stop| !stop.is_empty()).collect()
}

/// Maximum number of tokens to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// No field sets it.
    Unset,
    /// As many as fit the context: -1.
    Unlimited,
    Tokens(u32),
}

/// Value and name of the first of these fields that is given.
///
/// # Errors
/// 400 for a number below -1.
pub(crate) fn token_limit(
    fields: &[(&'static str, Option<i64>)],
) -> Result<(TokenLimit, &'static str), ApiError> {
    let given = fields.iter().find_map(|&(name, tokens)| Some((name, tokens?)));
    let Some((name, tokens)) = given else { return Ok((TokenLimit::Unset, "max_tokens")) };
    match tokens {
        -1 => Ok((TokenLimit::Unlimited, name)),
        0.. => Ok((TokenLimit::Tokens(u32::try_from(tokens).unwrap_or(u32::MAX)), name)),
        _ => {
            let message = format!("{name} is {tokens}: give a number of tokens, or -1 for as many as fit");
            Err(ApiError::invalid(name, message))
        }
    }
}
