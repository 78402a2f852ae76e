//! Flags of the `bench` commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::BandFlags;
use crate::bench::compare::CHANGE_MIN;

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure one model's speed, in tokens per second, over several batch sizes
    Throughput(ThroughputFlags),
    /// Measure how long the tasks of a plan take together, under one setting or two in alternating rounds
    Workflow(WorkflowFlags),
    /// Load-test an OpenAI-compatible server: rates, time to first token, and time between tokens
    Serve(ServeBenchFlags),
    /// Measure how many questions of a suite are answered correctly
    Accuracy(AccuracyFlags),
    /// Compare two results of the same work on the same machine, with confidence intervals
    Compare(CompareFlags),
}

impl BenchCommand {
    /// The band to use, for `accuracy`, which is the only bench that can measure one.
    pub fn band(&self) -> BandFlags {
        match self {
            Self::Accuracy(flags) => flags.band.clone(),
            _ => BandFlags::default(),
        }
    }
}

#[derive(Debug, Args)]
pub struct ServeBenchFlags {
    /// Server to test, e.g. http://127.0.0.1:8080. If OPENAI_API_KEY is set, it is sent as the key
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Second server, measured in alternating rounds with the first. `bench compare` can then be
    /// given this one result file
    #[arg(long, value_name = "URL", conflicts_with = "rate_sweep")]
    pub against: Option<String>,
    /// Model name to ask the server for [default: the server's only model]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// What to send: chat, fanout (a long common prefix), mixed (long prompts among short ones), or a file:
    /// JSONL of requests (`messages` or `prompt`, `max_tokens`, optionally `at_ms`), ShareGPT's JSON,
    /// BurstGPT's CSV or Mooncake's JSONL
    #[arg(long, default_value = "chat", value_name = "NAME|FILE")]
    pub workload: String,
    /// Closed loop: keep this many requests running at a time
    #[arg(long, default_value_t = 8, value_name = "N", conflicts_with = "rate")]
    pub concurrency: usize,
    /// Open loop: send this many requests per second on average, at random times, without waiting for answers
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Open loop: send each request at the time the file gives (`at_ms`)
    #[arg(long, conflicts_with_all = ["rate", "concurrency", "rate_sweep"])]
    pub as_recorded: bool,
    /// Requests that are measured in each round
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub requests: usize,
    /// Number of rounds, each with different prompts. `bench compare` needs at least 3 per
    /// side; 5 give clearer verdicts
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub repeat: usize,
    /// Requests sent before measuring, which are not counted
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub warmup: usize,
    /// Afterwards repeat the load at rising rates, to find the highest rate that the server keeps up with
    #[arg(long, conflicts_with = "rate")]
    pub rate_sweep: bool,
    /// An answer counts as in time only if its first token comes within this many milliseconds
    #[arg(long, default_value_t = 2000.0, value_name = "MS")]
    pub limit_ttft_ms: f64,
    /// An answer counts as in time only if its later tokens come within this many milliseconds
    /// of each other, on average
    #[arg(long, default_value_t = 200.0, value_name = "MS")]
    pub limit_itl_ms: f64,
    /// Seconds of silence after which a request to the server counts as failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// Seed for random lengths, prompts and arrival times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print one JSON object, with every request in it, instead of the table
    #[arg(long)]
    pub json: bool,
    /// Print a Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// Flags of `bench accuracy`. Every model, strategy and budget is measured with every other.
#[derive(Debug, Args)]
pub struct AccuracyFlags {
    /// Suite to measure, one JSON object per line: goal and answer_must (goals), goal and best (choice of strategy),
    /// question and answer with #### (GSM8K), prompt, test and entry_point (HumanEval), or question and answer
    #[arg(long, value_name = "FILE")]
    pub suite: PathBuf,
    /// Strategies to measure, comma-separated: auto, direct, find, map, each, compare, query, follow, sequence, parallel,
    /// vote, ask, or alone, which is one plain call without the orchestrator [default: auto for a band, alone for a
    /// model]
    #[arg(long = "strategy", value_delimiter = ',', value_name = "NAME,...")]
    pub strategies: Vec<String>,
    /// Models to measure one after another instead of the band; with --url, the server's names for them [default with
    /// --url: the server's only model]
    #[arg(long = "model", value_delimiter = ',', value_name = "M,...")]
    pub models: Vec<String>,
    /// Measure an OpenAI-compatible server, e.g. http://127.0.0.1:8080. If OPENAI_API_KEY is set, it is sent as the
    /// key. The server is not asked for its context length: set it with --context-tokens
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Seconds of silence after which a request to the server counts as failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// Use only the first N items of the suite [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Token budgets per item to measure, comma-separated [default: no limit]
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    pub budget_tokens: Vec<u64>,
    /// Also measure the planner alone with the same number of tokens for every item, to compare with
    #[arg(long)]
    pub baseline: bool,
    /// Number of items worked on at a time [default: 1 for a band, 4 for a model]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Seed for sampling. The same seed gives the same answers
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print one JSON object instead of the table
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the table as Markdown
    #[arg(long)]
    pub markdown: bool,
    #[command(flatten)]
    pub band: BandFlags,
}

#[derive(Debug, Args)]
pub struct CompareFlags {
    /// First result: the output of another bench command with --json
    #[arg(value_name = "A.json")]
    pub a: PathBuf,
    /// Second result, compared with the first. Leave it out if A.json was measured with --against
    #[arg(value_name = "B.json")]
    pub b: Option<PathBuf>,
    /// Also write the comparison as an HTML page
    #[arg(short, long, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// Also compare results of measurements that were interrupted
    #[arg(long)]
    pub partial: bool,
    /// Smallest difference that counts as a change, in percent. Results of one machine drift by
    /// about 5 % between measurements
    #[arg(long, default_value_t = 100.0 * CHANGE_MIN, value_name = "PERCENT")]
    pub min_change: f64,
    /// Exit with status 1 if any figure of B gets one of these verdicts
    #[arg(long, value_delimiter = ',', value_name = "VERDICT,...")]
    pub fail_if: Vec<FailIf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Verdicts that make `bench compare --fail-if` exit with status 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailIf {
    /// The figure got worse
    Worse,
    /// The difference is too uncertain to decide
    Undecided,
    /// The figures can't be compared because the work was not the same
    Refused,
}

#[derive(Debug, Args)]
pub struct WorkflowFlags {
    /// Trace to run: a built-in one (map, aspects, write-test-fix, vote, deep, fanout, siblings, long-prompt, pressure,
    /// copy, prose) or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub trace: String,
    /// Model to use for a role of the trace instead of the one it names; may be repeated
    #[arg(long = "role", value_name = "ROLE=M")]
    pub roles: Vec<String>,
    /// Run the trace on an OpenAI-compatible server instead of this program's own engine; may be repeated. With
    /// several, each serves the roles whose model it has, or the role given as ROLE=URL. If OPENAI_API_KEY is set, it
    /// is sent as the key
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// Seconds of silence after which a request to the server counts as failed
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub timeout_seconds: u64,
    /// Number of copies of the trace that run at the same time
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub runs: usize,
    /// Engine settings: order=plan|arrival (which request goes first), warm=on|off (compute shared prefixes ahead of
    /// time and keep those still needed), speculate=on|off (speculative decoding), cache=SIZE (KV cache, e.g. 1GiB)
    /// [default: order=plan,warm=on,speculate=on, and the cache that --memory allows]
    #[arg(long, value_delimiter = ',', value_name = "K=V,...")]
    pub set: Vec<String>,
    /// Also measure with these settings changed, in alternating rounds
    #[arg(long, value_delimiter = ',', value_name = "K=V,...")]
    pub against: Vec<String>,
    /// Rounds of each setting; the one with the median time is shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeat: usize,
    /// Seed for the random prompts
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Print a Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct ThroughputFlags {
    /// Model to measure: a catalog name, a path to a GGUF file, or hf:OWNER/REPO[:QUANT|FILE][@REV]
    #[arg(long, value_name = "M")]
    pub model: String,
    /// Prompt length of each sequence, in tokens
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub prompt_tokens: usize,
    /// Number of tokens that each sequence generates
    #[arg(long, default_value_t = 24, value_name = "N")]
    pub gen_tokens: usize,
    /// Batch sizes to measure, comma-separated: how many sequences run together. Each gives one row
    #[arg(long, default_value = "1,4,8,16", value_delimiter = ',', value_name = "N,...")]
    pub batch: Vec<usize>,
    /// Number of tokens in the KV cache before the prompt begins
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub depth: usize,
    /// Number of prompt tokens at the start that all sequences share
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub shared_prefix: usize,
    /// Rounds before each row that are not counted
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub warmup: usize,
    /// Counted rounds of each row; the median is reported
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeat: usize,
    /// Standard sweep: batch sizes 1 to 16, depths 1024 and 4096, a shared prefix, and 1, 2, 4, ... threads
    #[arg(long, conflicts_with_all = ["prompt_tokens", "gen_tokens", "batch", "depth", "shared_prefix"])]
    pub all: bool,
    /// Also measure the machine's int8 and memory-read limits, and show how close each row came to them. Prefill is
    /// compared with int8 multiply-adds, decoding with the slower of both; attention is not counted
    #[arg(long)]
    pub roofline: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Print a Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}
