//! What was typed. Nothing is checked here beyond its shape; `config.rs` makes of it what is needed.

mod bench;
mod names;
mod serve;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use bench::{
    AccuracyFlags, BenchCommand, CompareFlags, FailIf, ServeBenchFlags, ThroughputFlags, WorkflowFlags,
};
pub use names::NameFlags;
pub use serve::{DoorFlags, LogFlag};

/// A goal goes in; a planner makes tasks of it, small workers do them together, one answer comes out.
#[derive(Debug, Parser)]
#[command(name = "bandmaster", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Settings: flag, then environment (BANDMASTER_...), then config.toml, then default; \
                        `bandmaster doctor` shows each and where it came from.\n\
                        Exit status: 0 completed, 1 failed, 2 wrong usage, 3 incomplete, 4 needs an answer, \
                        130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Forbid every connection (also BANDMASTER_OFFLINE=1, HF_HUB_OFFLINE=1)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Threads that compute [default: the physical cores this process may use]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<String>,
    /// Memory for weights and cache, e.g. 8GiB [default: four fifths of the machine's]
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Longest context of a sequence, prompt and answer together [default: 8192, or the model's]
    #[arg(long, global = true, value_name = "N")]
    pub context_tokens: Option<String>,
    /// How keys and values are kept: f16, or q8 in half the memory at a small cost in accuracy [default: f16]
    #[arg(long, global = true, value_name = "TYPE")]
    pub kv_type: Option<String>,
    /// The device that computes; there is only cpu so far
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Keep models, runs and settings under this folder (also BANDMASTER_HOME) [default: the platform's directories]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Say more on stderr; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do a goal and print the answer
    Run(RunFlags),
    /// Answer over HTTP in OpenAI's shapes, with single models or the whole band
    Serve(ServeFlags),
    /// Measure models, plans, servers and answers, and compare the results
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Find, fetch, check and remove models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Look at runs, end them, take them up again
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Who does the tasks
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// What this machine has, and what that means
    Doctor {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell that reads the completions
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct RunFlags {
    /// What is wanted, in your own words
    pub goal: String,
    /// A text file, a folder of them (links are followed), a named pipe, or - for stdin; may be repeated. What is piped in
    /// is read without it; a pipe on which nothing comes for 3 seconds is left alone, - and a named pipe are waited for
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// auto, direct, map, sequence, parallel, vote or ask
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub strategy: String,
    #[command(flatten)]
    pub band: BandFlags,
    /// End with the best answer there is after so many tokens (prompt tokens not in the cache, and generated ones)
    #[arg(long, value_name = "N")]
    pub budget_tokens: Option<u64>,
    /// End with the best answer there is after so many seconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub budget_seconds: Option<f64>,
    /// Same seed, same models, same answer
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub go: GoFlags,
}

/// Whose engine does a run, and how it is shown.
#[derive(Debug, Clone, Args)]
pub struct GoFlags {
    /// Print one JSON object instead of the answer
    #[arg(long, conflicts_with = "events")]
    pub json: bool,
    /// Print a JSON object for everything that happens, a line each
    #[arg(long)]
    pub events: bool,
    /// Nothing on stderr but errors
    #[arg(long)]
    pub quiet: bool,
    /// With an engine of its own, even where a server lives on this home. A band that is named runs so anyway
    #[arg(long)]
    pub standalone: bool,
}

#[derive(Debug, Args)]
pub struct ServeFlags {
    /// The address to listen on; 0.0.0.0 for every network. Other than this machine's own needs --api-key-file
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: String,
    /// The port; 0 takes any that is free and prints it
    #[arg(long, default_value_t = 8080, value_name = "N")]
    pub port: u16,
    #[command(flatten)]
    pub names: NameFlags,
    #[command(flatten)]
    pub band: BandFlags,
    /// Who may ask, a line a key: KEY [name=NAME] [admin] [requests_per_minute=N] [tokens_per_minute=N] [concurrent=N]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Requests that may wait; more are told to come again later
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub max_queue: usize,
    /// How many times as long as alone a token of a reply may take beside others of its model; whoever would slow them more
    /// waits, and prompts are computed in smaller pieces: smoother, and less in all
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub max_slowdown: u32,
    /// Beside another server of this home, with an engine of its own; `run` and `runs` don't join it
    #[arg(long)]
    pub standalone: bool,
    #[command(flatten)]
    pub doors: DoorFlags,
    /// At the end, running answers get so many seconds before they are cut
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub drain_seconds: u64,
    /// Stored responses are forgotten when they are older, e.g. 30d, 12h; `forever` keeps them. Conversations stay
    #[arg(long, default_value = "30d", value_name = "AGE")]
    pub keep_responses: String,
    /// Send traces to the OpenTelemetry collector at this address (OTLP over HTTP, e.g. http://127.0.0.1:4318; also
    /// BANDMASTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT). Needs a build with `--features otel`
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How the log on stderr is written
    #[arg(long, value_enum, default_value_t = LogFlag::Text, value_name = "FORMAT")]
    pub log: LogFlag,
}

/// Which models make the band. M is a catalog name, a path to a GGUF file, or hf:OWNER/REPO[:QUANT|FILE][@REV].
#[derive(Debug, Clone, Default, Args)]
pub struct BandFlags {
    /// The model that plans and answers
    #[arg(long, value_name = "M")]
    pub planner: Option<String>,
    /// A model that works; may be repeated
    #[arg(long = "worker", value_name = "M")]
    pub workers: Vec<String>,
    /// A TOML file with `planner`, `workers` and `embeddings`
    #[arg(long, value_name = "FILE")]
    pub band: Option<PathBuf>,
}

impl BandFlags {
    /// Whether any of it was typed.
    pub fn are_typed(&self) -> bool {
        self.planner.is_some() || !self.workers.is_empty() || self.band.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// The catalog and what is installed
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Fetch models: a catalog name, hf:OWNER/REPO[:QUANT|FILE][@REV], its address at huggingface.co, or `default` for the default
    /// band
    Pull {
        /// Names of the models to fetch
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Install files that are on this machine: GGUF files, or an embedding model's folder
    Import(ImportFlags),
    /// Compare installed files with their checksums, all of every file (a load compares size, times and a sample)
    Verify {
        /// Check this model only [default: all that are installed]
        name: Option<String>,
    },
    /// Delete an installed model
    Rm {
        /// The model's name, as `models list` shows it
        name: String,
    },
    /// Print the token ids of a text, a line for each input
    Tokenize(TokenizeFlags),
}

#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Files; of a split model any part
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name it so [default: the catalog's name when the checksum is known, else the file's]
    #[arg(long)]
    pub name: Option<String>,
    /// What it is for [default: the catalog's, else by size]
    #[arg(long, value_enum)]
    pub role: Option<RoleFlag>,
    /// Copy the file even where a link would do
    #[arg(long)]
    pub copy: bool,
}

/// What an imported model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleFlag {
    /// It plans and answers
    Planner,
    /// It does the tasks of plans
    Worker,
    /// Generates, but is in no band
    Base,
}

#[derive(Debug, Args)]
pub struct TokenizeFlags {
    /// The model, or a GGUF file that holds only a vocabulary
    #[arg(value_name = "M")]
    pub model: String,
    /// The text [default: stdin]
    #[arg(conflicts_with = "file")]
    pub text: Option<String>,
    /// Read the text from a file, - for stdin
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Read the spelling of special tokens, such as <|im_start|>, as those tokens
    #[arg(long)]
    pub special: bool,
    /// A JSON object with the ids and the pieces
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Runs, the latest first
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// A run, a task of it, or all that happened
    Show {
        /// Its id, the beginning of it, or `last`
        id: String,
        /// Only this task, with prompt, sampling and output of every attempt
        #[arg(long, value_name = "T")]
        task: Option<String>,
        /// Its calls as a JSON trace, prompts and all, that `bench workflow --trace FILE` runs again
        #[arg(long, conflicts_with_all = ["task", "events"])]
        trace: bool,
        /// Everything that happened, in order
        #[arg(long, conflicts_with = "task")]
        events: bool,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Do a run again that ended before it was done, as a new run: with its goal, inputs, strategy, seed and budget
    Resume(AgainFlags),
    /// Answer the question that a run ended with; a new run goes on with it
    Answer {
        #[command(flatten)]
        again: AgainFlags,
        /// Your answer to the question
        text: String,
    },
    /// End a run of this home's server with what is finished
    Cancel {
        /// Its id, the beginning of it, or `last`
        id: String,
        /// Ask no server: then a run can only be ended where it was begun
        #[arg(long)]
        standalone: bool,
    },
    /// Forget a run that doesn't go on; nothing of its text is left in the file
    Rm {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Forget old runs, but for those that go on, and old responses that a server stored; conversations stay
    Prune {
        /// Age, e.g. 30d, 12h
        #[arg(long, value_name = "AGE")]
        older_than: String,
    },
}

impl RunsCommand {
    /// The band that was asked for, where a run is taken up.
    pub fn band(&self) -> BandFlags {
        match self {
            Self::Resume(again) | Self::Answer { again, .. } => again.band.clone(),
            _ => BandFlags::default(),
        }
    }
}

/// `runs resume`, `runs answer`.
#[derive(Debug, Args)]
pub struct AgainFlags {
    /// Its id, the beginning of it, or `last`
    pub id: String,
    #[command(flatten)]
    pub band: BandFlags,
    #[command(flatten)]
    pub go: GoFlags,
}

#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// List the workers of the band
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of one worker
    Show {
        /// The worker's name, as `workers list` shows it
        name: String,
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}
