//! Reads what a comparison needs from a result's JSON: the machine, the work, the settings and the raw samples. How
//! samples become figures is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Deserialize;
use serde_json::Value;

use super::CompareError;

/// Common beginning of all schemas; kind and version follow.
const SCHEMA_PREFIX: &str = "bandmaster.bench.";
/// Settings that are shown if a result has them. They may differ: they are usually what is being compared.
const SETTINGS: &[&str] = &[
    "command",
    "version",
    "commit",
    "binary_sha256",
    "models_sha256",
    "repeat",
    "threads",
    "context_tokens",
    "concurrency",
    "seed",
    "kv_type",
    "url",
    "urls",
    "suite",
    "strategy",
    "model",
    "models",
    "budget_tokens",
];

/// A result that was read.
pub struct Side {
    /// File name as typed.
    pub file: String,
    pub schema: String,
    pub machine: MachineFacts,
    /// Whether the measurement was interrupted, so that this is only a part of it.
    pub interrupted: bool,
    /// What was done; must be equal on both sides.
    pub work: Vec<Fact>,
    pub settings: Vec<(&'static str, String)>,
    pub body: Body,
}

/// A property of the work, which must be equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fact {
    pub name: &'static str,
    /// As it is shown.
    pub value: String,
    /// Whether an interrupted measurement may have less of it.
    #[serde(skip)]
    pub may_be_partial: bool,
}

/// The properties of a machine that must be equal, and its load.
#[derive(Debug, Clone, Deserialize)]
pub struct MachineFacts {
    /// The processor's brand name.
    pub cpu: String,
    /// Number of logical processors.
    pub cores: u64,
    /// Instruction set of the kernels.
    pub isa: String,
    pub memory_bytes: u64,
    /// Load average when the measurement began.
    #[serde(default)]
    pub load_1m: f64,
}

/// The samples, by kind of measurement.
pub enum Body {
    Throughput(Throughput),
    Workflow(Workflow),
    Serve(Serve),
    Accuracy(Accuracy),
}

#[derive(Deserialize)]
struct Common {
    machine: MachineFacts,
    #[serde(default)]
    interrupted: bool,
}

/// The JSON of schema `bandmaster.bench.throughput/1`.
#[derive(Deserialize)]
pub struct Throughput {
    #[serde(default)]
    pub threads: u64,
    pub model: ThroughputModel,
    pub rows: Vec<ThroughputRow>,
}

#[derive(Deserialize)]
pub struct ThroughputModel {
    pub name: String,
    pub bytes: u64,
}

#[derive(Deserialize)]
pub struct ThroughputRow {
    pub batch: u64,
    pub prompt_tokens: u64,
    pub gen_tokens: u64,
    #[serde(default)]
    pub depth_tokens: u64,
    #[serde(default)]
    pub shared_prefix_tokens: u64,
    /// 0 if the result doesn't have it.
    #[serde(default)]
    pub threads: u64,
    pub computed_tokens: u64,
    pub prefill_s: Number,
    pub decode_s: Number,
    /// Empty in results that keep only the median.
    #[serde(default)]
    pub prefill_rounds_s: Vec<Number>,
    #[serde(default)]
    pub decode_rounds_s: Vec<Number>,
}

/// The JSON of schema `bandmaster.bench.workflow/1`.
#[derive(Deserialize)]
pub struct Workflow {
    pub trace: String,
    pub runs: u64,
    pub models: BTreeMap<String, String>,
    pub rounds_wall_s: Vec<Number>,
    pub prompt_tokens: u64,
    /// Prompt tokens from the prefix cache; missing in older results.
    #[serde(default)]
    pub cached_tokens: Option<u64>,
    pub output_tokens: u64,
}

/// The JSON of schema `bandmaster.bench.serve/1`.
#[derive(Deserialize)]
pub struct Serve {
    pub workload: String,
    #[serde(default)]
    pub workload_sha256: Option<String>,
    pub seed: u64,
    pub mode: Mode,
    pub requests: u64,
    pub errors: u64,
    pub samples: Vec<Request>,
}

/// When requests are sent.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A fixed number is running at any time.
    Closed { concurrency: u64 },
    /// A fixed number per second on average, whatever the server does.
    Open { rate: Number },
    /// At the times of a recording.
    Recorded,
}

/// One request; a failed one may lack its times.
#[derive(Deserialize)]
pub struct Request {
    /// From 0; missing in results from before there were rounds, which have one.
    #[serde(default)]
    pub round: u64,
    pub at_ms: Number,
    #[serde(default)]
    pub ttft_ms: Option<Number>,
    #[serde(default)]
    pub e2e_ms: Option<Number>,
    #[serde(default)]
    pub itl_ms: Vec<Number>,
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub cached_tokens: u64,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(default)]
    pub error: Option<Value>,
}

/// The JSON of schema `bandmaster.bench.accuracy/1`.
#[derive(Deserialize)]
pub struct Accuracy {
    pub suite_sha256: String,
    /// Sorted by id once read.
    pub items: Vec<Item>,
}

#[derive(Deserialize)]
pub struct Item {
    pub id: Value,
    pub correct: bool,
    /// For goals: whether the answer is right, whatever the strategy.
    #[serde(default)]
    pub answer_right: Option<bool>,
    pub tokens: u64,
    pub wall_s: Number,
    /// Why it has no answer; missing in older results.
    #[serde(default)]
    pub error: Option<String>,
}

/// A measured number. NaN is written as null in JSON; here null is refused with an explanation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<f64>::deserialize(deserializer)? {
            Some(number) if number >= 0.0 => Ok(Self(number)),
            Some(number) => Err(serde::de::Error::custom(format!("{number} is below zero"))),
            None => Err(serde::de::Error::custom(
                "null in place of a number (a measurement that had no value is written so)",
            )),
        }
    }
}

impl Request {
    #[must_use]
    pub fn finished(&self) -> bool {
        self.error.is_none()
    }
}

impl Side {
    /// Reads the result that was measured in alternating rounds with the one in `file`.
    ///
    /// # Errors
    /// [`CompareError`] says what is wrong, or that there is none.
    pub fn against(file: &str, text: &str) -> Result<Self, CompareError> {
        let value: Value = read(file, text)?;
        match value.get("against").filter(|other| other.get("schema").is_some()) {
            Some(other) => Self::parse(file, &other.to_string()),
            None => Err(CompareError::Alone { file: file.to_owned() }),
        }
    }

    /// Parses `text`, the content of `file`.
    ///
    /// # Errors
    /// [`CompareError`] says what is wrong, and in which line.
    pub fn parse(file: &str, text: &str) -> Result<Self, CompareError> {
        if text.trim().is_empty() {
            return Err(CompareError::Empty { file: file.to_owned() });
        }
        let value: Value = read(file, text)?;
        let schema = schema(file, &value)?;
        let kind = schema.strip_prefix(SCHEMA_PREFIX).unwrap_or_default();
        let body = match kind {
            "throughput/1" => Body::Throughput(read(file, text)?),
            "workflow/1" => Body::Workflow(read(file, text)?),
            "serve/1" => Body::Serve(read(file, text)?),
            "accuracy/1" => Body::Accuracy(accuracy(file, text)?),
            "accuracy-matrix/1" => return Err(CompareError::Matrix { file: file.to_owned() }),
            _ => return Err(CompareError::Schema { file: file.to_owned(), schema }),
        };
        let common: Common = read(file, text)?;
        let work = body.work(&value);
        body.check(file)?;
        let settings = SETTINGS.iter().filter_map(|name| Some((*name, shown(value.get(name)?)?)));
        // A property of the work is not listed as a setting too.
        let settings = settings.filter(|(name, _)| work.iter().all(|fact| fact.name != *name)).collect();
        Ok(Self {
            file: file.to_owned(),
            schema,
            machine: common.machine,
            interrupted: common.interrupted,
            work,
            settings,
            body,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(file: &str, text: &'a str) -> Result<T, CompareError> {
    serde_json::from_str(text)
        .map_err(|error| CompareError::Broken { file: file.to_owned(), reason: error.to_string() })
}

fn schema(file: &str, value: &Value) -> Result<String, CompareError> {
    let broken = |reason: &str| CompareError::Broken { file: file.to_owned(), reason: reason.to_owned() };
    let fields = value.as_object().ok_or_else(|| broken("it is not a JSON object"))?;
    let schema = fields.get("schema").ok_or_else(|| broken("it has no `schema`"))?;
    Ok(schema.as_str().ok_or_else(|| broken("its `schema` is not a text"))?.to_owned())
}

/// Sorts the items by id and checks that ids are unique.
fn accuracy(file: &str, text: &str) -> Result<Accuracy, CompareError> {
    let mut accuracy: Accuracy = read(file, text)?;
    accuracy.items.sort_by_key(Item::name);
    match accuracy.items.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
        None => Ok(accuracy),
        Some(pair) => Err(CompareError::Broken {
            file: file.to_owned(),
            reason: format!("two items are called `{}`", pair[0].name()),
        }),
    }
}

impl Item {
    /// What sides are compared by: the answer if there is one. The right strategy is no advantage in itself.
    #[must_use]
    pub fn counts_as_right(&self) -> bool {
        self.answer_right.unwrap_or(self.correct)
    }

    /// Its id as text.
    #[must_use]
    pub fn name(&self) -> String {
        shown(&self.id).unwrap_or_default()
    }
}

/// A value as one line; `None` for null and empty values.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Object(fields) => {
            let part = |(name, value): (&String, &Value)| Some(format!("{name}={}", shown(value)?));
            let parts: Vec<String> = fields.iter().filter_map(part).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => {
            let parts: Vec<String> = values.iter().filter_map(shown).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        other => Some(other.to_string()),
    }
}

fn fact(name: &'static str, value: impl Display) -> Fact {
    Fact { name, value: value.to_string(), may_be_partial: false }
}

fn fact_in_part(name: &'static str, value: impl Display) -> Fact {
    Fact { may_be_partial: true, ..fact(name, value) }
}

impl Body {
    fn work(&self, value: &Value) -> Vec<Fact> {
        match self {
            Self::Throughput(body) => body.work(),
            Self::Workflow(body) => body.work(value.get("urls").and_then(shown).is_some()),
            Self::Serve(body) => vec![
                fact("workload", &body.workload),
                fact("workload_sha256", body.workload_sha256.as_deref().unwrap_or("none")),
                fact("mode", body.mode.shown()),
                fact_in_part("requests", body.requests),
            ],
            Self::Accuracy(body) => vec![fact("suite_sha256", &body.suite_sha256)],
        }
    }

    /// Checks what the types alone don't.
    fn check(&self, file: &str) -> Result<(), CompareError> {
        let broken = |reason: String| Err(CompareError::Broken { file: file.to_owned(), reason });
        let serve = match self {
            Self::Throughput(body) if body.rows.is_empty() => return broken("it has no rows".to_owned()),
            Self::Serve(serve) => serve,
            _ => return Ok(()),
        };
        let timeless = |request: &Request| request.finished() && request.e2e_ms.is_none();
        match serve.samples.iter().position(timeless) {
            None => Ok(()),
            Some(index) => broken(format!("samples[{index}] has no error and no e2e_ms")),
        }
    }
}

impl Throughput {
    fn work(&self) -> Vec<Fact> {
        let all = |of: fn(&ThroughputRow) -> u64| {
            let values: BTreeSet<u64> = self.rows.iter().map(of).collect();
            values.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
        };
        vec![
            fact("model", &self.model.name),
            fact("model bytes", self.model.bytes),
            fact_in_part("prompt tokens", all(|row| row.prompt_tokens)),
            fact_in_part("generated tokens", all(|row| row.gen_tokens)),
            fact_in_part("batch", all(|row| row.batch)),
            fact_in_part("depth", all(|row| row.depth_tokens)),
            fact_in_part("shared prefix", all(|row| row.shared_prefix_tokens)),
        ]
    }
}

impl Workflow {
    /// Models on a server have the server's own names, which say little, so they are not compared.
    fn work(&self, served: bool) -> Vec<Fact> {
        let models: Vec<String> = self.models.iter().map(|(role, model)| format!("{role}={model}")).collect();
        let roles: Vec<&str> = self.models.keys().map(String::as_str).collect();
        let mut work =
            vec![fact("trace", &self.trace), fact("runs", self.runs), fact("roles", roles.join(", "))];
        work.extend((!served).then(|| fact("models", models.join(", "))));
        work
    }
}

impl Mode {
    fn shown(&self) -> String {
        match self {
            Self::Closed { concurrency } => format!("closed, concurrency {concurrency}"),
            Self::Open { rate } => format!("open, {} requests/s", rate.0),
            Self::Recorded => "as recorded".to_owned(),
        }
    }
}
