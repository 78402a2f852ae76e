//! How tokens are drawn, as requests say it: OpenAI's fields, and those that llama-server and vLLM added.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::random_u64;
use crate::server::error::ApiError;
use crate::text::Sampling;

/// Stop strings of one request.
const STOPS_MAX: usize = 16;

/// One stop string or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum Stop {
    /// One.
    One(String),
    /// Up to 16.
    Many(Vec<String>),
}

/// The fields, as they came.
#[derive(Debug, Default)]
pub struct Given {
    /// 0 to 2; 1 unless said.
    pub temperature: Option<f32>,
    /// Above 0, at most 1.
    pub top_p: Option<f32>,
    /// 0 keeps all.
    pub top_k: Option<i64>,
    /// 0 to 1.
    pub min_p: Option<f32>,
    /// Above 0.
    pub repetition_penalty: Option<f32>,
    /// −2 to 2.
    pub presence_penalty: Option<f32>,
    /// −2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Token id to bias.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Any number.
    pub seed: Option<i64>,
}

impl Given {
    /// Checks ranges and fills in what was not said; without a seed, one is drawn.
    ///
    /// # Errors
    /// 400 with the field.
    pub fn sampling(self) -> Result<Sampling, ApiError> {
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        if let Some(penalty) =
            self.repetition_penalty.filter(|penalty| !(*penalty > 0.0 && penalty.is_finite()))
        {
            return Err(ApiError::invalid(
                "repetition_penalty",
                format!("repetition_penalty is {penalty}: it must be above 0"),
            ));
        }
        // llama-server and vLLM say −1 for "all".
        let top_k = match self.top_k.unwrap_or(0) {
            -1 => 0,
            k => u32::try_from(k).map_err(|_| {
                ApiError::invalid("top_k", format!("top_k is {k}: it must be 0 or more, or -1 for all"))
            })?,
        };
        Ok(Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_k,
            // OpenAI allows 0, which leaves the most likely token.
            top_p: self.top_p.unwrap_or(1.0).max(f32::MIN_POSITIVE),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            logit_bias: biases(self.logit_bias.unwrap_or_default())?,
            seed: self.seed.map_or_else(random_u64, |seed| seed as u64),
        })
    }
}

fn within(name: &str, value: Option<f32>, least: f32, most: f32) -> Result<(), ApiError> {
    match value.filter(|value| !(least..=most).contains(value)) {
        Some(value) => {
            Err(ApiError::invalid(name, format!("{name} is {value}: it must be between {least} and {most}")))
        }
        None => Ok(()),
    }
}

fn biases(given: BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>, ApiError> {
    let read = |(token, bias): (String, f32)| {
        let id = token.parse().map_err(|_| {
            ApiError::invalid(
                "logit_bias",
                format!("logit_bias: {token:?} is no token id (`/tokenize` tells ids)"),
            )
        })?;
        within("logit_bias", Some(bias), -100.0, 100.0)?;
        // OpenAI's −100 and 100 mean never and always.
        Ok((id, if bias <= -100.0 { f32::NEG_INFINITY } else { bias }))
    };
    given.into_iter().map(read).collect()
}

/// Stop strings as a list; empty ones stop nothing.
///
/// # Errors
/// 400 when they are too many.
pub fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > STOPS_MAX {
        return Err(ApiError::invalid("stop", format!("{} stop strings: {STOPS_MAX} at most", stops.len())));
    }
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}
