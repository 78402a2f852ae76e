//! What was typed behind `bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::BandFlags;
use crate::bench::compare::CHANGE_MIN;

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Tokens a second of one model, over batch sizes
    Throughput(ThroughputFlags),
    /// How long a plan's tasks take together, under one setting or two by turns
    Workflow(WorkflowFlags),
    /// How an OpenAI-compatible server answers under load: rates, times to first token and between tokens
    Serve(ServeBenchFlags),
    /// How many of a suite's questions are answered right
    Accuracy(AccuracyFlags),
    /// Two results of the same work on the same machine side by side, with intervals
    Compare(CompareFlags),
}

impl BenchCommand {
    /// The band that was asked for, where a band is measured.
    pub fn band(&self) -> BandFlags {
        match self {
            Self::Accuracy(flags) => flags.band.clone(),
            _ => BandFlags::default(),
        }
    }
}

#[derive(Debug, Args)]
pub struct ServeBenchFlags {
    /// The server, e.g. http://127.0.0.1:8080. OPENAI_API_KEY is sent where it is set
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Another server, measured by turns with the first: `bench compare` takes the one result for both
    #[arg(long, value_name = "URL", conflicts_with = "rate_sweep")]
    pub against: Option<String>,
    /// The server's name for the model [default: the only one it has]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// chat, fanout (a long common prefix), mixed (long among short), or a file: JSONL of calls (`messages` or `prompt`,
    /// `max_tokens`, perhaps `at_ms`), ShareGPT's JSON, BurstGPT's CSV, Mooncake's JSONL
    #[arg(long, default_value = "chat", value_name = "NAME|FILE")]
    pub workload: String,
    /// Closed loop: so many calls at a time
    #[arg(long, default_value_t = 8, value_name = "N", conflicts_with = "rate")]
    pub concurrency: usize,
    /// Open loop: so many calls a second, at random times that no answer delays
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Open loop: when the file's `at_ms` says
    #[arg(long, conflicts_with_all = ["rate", "concurrency", "rate_sweep"])]
    pub as_recorded: bool,
    /// Calls that are measured, in each round
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub requests: usize,
    /// Rounds, each with other words. `bench compare` needs at least three a side and decides surely with five
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub repeat: usize,
    /// Calls before them that are not
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub warmup: usize,
    /// Afterwards the same at rising rates, to find the highest that the server keeps up with
    #[arg(long, conflicts_with = "rate")]
    pub rate_sweep: bool,
    /// An answer is in time when its first token comes within so many milliseconds
    #[arg(long, default_value_t = 2000.0, value_name = "MS")]
    pub limit_ttft_ms: f64,
    /// and the others within so many of each other, on average
    #[arg(long, default_value_t = 200.0, value_name = "MS")]
    pub limit_itl_ms: f64,
    /// A server that is silent for so long has failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// Draws lengths, words and times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// One JSON object, every call in it, instead of the table
    #[arg(long)]
    pub json: bool,
    /// A Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// `bench accuracy`. Every model, strategy and budget is measured with every other.
#[derive(Debug, Args)]
pub struct AccuracyFlags {
    /// A JSON object a line: goal and answer_must (goals), goal and best (choice of strategy), question and answer with
    /// #### (GSM8K), prompt, test and entry_point (HumanEval), or question and answer
    #[arg(long, value_name = "FILE")]
    pub suite: PathBuf,
    /// auto, direct, map, sequence, parallel, vote or ask; or alone, one plain call without the orchestrator
    /// [default: auto for a band, alone for a model]
    #[arg(long = "strategy", value_delimiter = ',', value_name = "NAME,...")]
    pub strategies: Vec<String>,
    /// This model instead of the band; with --url, the server's name for it [default there: the only one it has]
    #[arg(long = "model", value_delimiter = ',', value_name = "M,...")]
    pub models: Vec<String>,
    /// Ask an OpenAI-compatible server, e.g. http://127.0.0.1:8080. OPENAI_API_KEY is sent where it is set; what the server's
    /// models can read is not asked: --context-tokens says it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A server that is silent for so long has failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// Only the first items
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Tokens that an item may use
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    pub budget_tokens: Vec<u64>,
    /// Compare each with the planner alone, which may use as many tokens on every item
    #[arg(long)]
    pub baseline: bool,
    /// So many items at a time [default: 1 for a band, 4 for a model]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Seed for sampling. The same seed gives the same answers
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// One JSON object instead of the table
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// The table in Markdown
    #[arg(long)]
    pub markdown: bool,
    #[command(flatten)]
    pub band: BandFlags,
}

#[derive(Debug, Args)]
pub struct CompareFlags {
    /// What `--json` of another bench command printed
    #[arg(value_name = "A.json")]
    pub a: PathBuf,
    /// What is held against it. Leave it out where A.json was measured by turns with another server (--against)
    #[arg(value_name = "B.json")]
    pub b: Option<PathBuf>,
    /// Write a page to look at in a browser as well
    #[arg(short, long, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// Compare what there is of measurements that were interrupted
    #[arg(long)]
    pub partial: bool,
    /// Call differences below so many percent no change. Machines drift by about 5 % between two measurements
    #[arg(long, default_value_t = 100.0 * CHANGE_MIN, value_name = "PERCENT")]
    pub min_change: f64,
    /// Exit with status 1 when a figure of B is one of these
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    pub fail_if: Vec<FailIf>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// What `bench compare --fail-if` takes for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailIf {
    /// A figure got worse
    Worse,
    /// Nothing could be said of a figure
    Undecided,
    /// A figure could not be compared: the work was not the same
    Refused,
}

#[derive(Debug, Args)]
pub struct WorkflowFlags {
    /// A trace that ships (map, aspects, write-test-fix, vote, deep; fanout, siblings, long-prompt, pressure, copy, prose)
    /// or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub trace: String,
    /// Who plays a role of the trace instead of the model it names; may be repeated
    #[arg(long = "role", value_name = "ROLE=M")]
    pub roles: Vec<String>,
    /// An OpenAI-compatible server instead of this program's own engine; several (or ROLE=URL) share the roles by the models
    /// they have. OPENAI_API_KEY is sent where it is set
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// A server that is silent for so long has failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// So many runs of the trace at once
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub runs: usize,
    /// How it is run: order=plan|arrival, warm=on|off (prefixes ahead, and the cache knows what comes),
    /// speculate=on|off, cache=SIZE (weights apart; the largest that --memory leaves)
    #[arg(long, value_delimiter = ',', value_name = "K=V,...")]
    pub set: Vec<String>,
    /// Measure by turns with a setting that differs in this
    #[arg(long, value_delimiter = ',', value_name = "K=V,...")]
    pub against: Vec<String>,
    /// Rounds of each setting; the round whose time is the median is shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeat: usize,
    /// Draws the made-up words
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct ThroughputFlags {
    /// The model to measure: a catalog name, a path to a GGUF file, or hf:OWNER/REPO[:QUANT|FILE][@REV]
    #[arg(long, value_name = "M")]
    pub model: String,
    /// Prompt tokens of each sequence
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub prompt_tokens: usize,
    /// Tokens each sequence generates
    #[arg(long, default_value_t = 24, value_name = "N")]
    pub gen_tokens: usize,
    /// Sequences together, a row each
    #[arg(long, default_value = "1,4,8,16", value_delimiter = ',', value_name = "N,...")]
    pub batch: Vec<usize>,
    /// Tokens already in the cache before the prompt
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub depth: usize,
    /// Leading prompt tokens that all sequences share
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub shared_prefix: usize,
    /// Uncounted rounds before each row
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub warmup: usize,
    /// Counted rounds of each row; the median is reported
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeat: usize,
    /// A standard sweep: batches 1 to 16, depths 1024 and 4096, a shared prefix, and 1, 2, 4, ... threads
    #[arg(long, conflicts_with_all = ["prompt_tokens", "gen_tokens", "batch", "depth", "shared_prefix"])]
    pub all: bool,
    /// Measure the machine's limits in the same run and show what share of them each row reached: prefill of the int8
    /// multiply-adds, decoding of these or of memory reads, whichever takes longer; attention is left out
    #[arg(long)]
    pub roofline: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}
