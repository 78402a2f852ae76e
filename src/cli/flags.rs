//! The command line as clap parses it. What is a setting has its help and its check from `settings.rs`.

mod bench;
mod serve;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use bandmaster_models::KvType;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::settings::{self, Device};

pub use bench::{
    AccuracyFlags, BenchCommand, CompareFlags, FailIf, ServeBenchFlags, ThroughputFlags, WorkflowFlags,
};
pub use serve::ServeFlags;

/// Answer a goal with a team of local models: a planner splits it into tasks, workers do them in parallel,
/// and one answer comes out
#[derive(Debug, Parser)]
#[command(name = "bandmaster", version, about, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Each setting is read from its flag, else from the environment (BANDMASTER_...), else from \
                        config.toml; `bandmaster doctor` shows every value and where it came from.\n\
                        Exit status: 0 completed, 1 failed, 2 wrong usage, 3 incomplete, 4 needs an answer, \
                        130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command accepts.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[arg(long, global = true, help = settings::OFFLINE.help())]
    pub offline: bool,
    #[arg(long, global = true, value_name = "N", help = settings::THREADS.help())]
    #[arg(value_parser = settings::THREADS.parser())]
    pub threads: Option<usize>,
    #[arg(long, global = true, value_name = "SIZE", help = settings::MEMORY.help())]
    #[arg(value_parser = settings::MEMORY.parser())]
    pub memory: Option<u64>,
    #[arg(long, global = true, value_name = "N", help = settings::CONTEXT_TOKENS.help())]
    #[arg(value_parser = settings::CONTEXT_TOKENS.parser())]
    pub context_tokens: Option<usize>,
    #[arg(long, global = true, value_name = "TYPE", help = settings::KV_TYPE.help())]
    #[arg(value_parser = settings::KV_TYPE.parser())]
    pub kv_type: Option<KvType>,
    #[arg(long, global = true, value_name = "DEVICE", help = settings::DEVICE.help())]
    #[arg(value_parser = settings::DEVICE.parser())]
    pub device: Option<Device>,
    #[arg(long, global = true, value_name = "DIR", help = settings::HOME.help())]
    pub home: Option<PathBuf>,
    /// Log more on stderr: -v adds information, -vv adds debug messages
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work on a goal and print the answer
    Run(RunFlags),
    /// Start an OpenAI-compatible HTTP server for single models and for the whole band
    Serve(ServeFlags),
    /// Measure models, plans, servers and answers, and compare the results
    #[command(subcommand)]
    Bench(BenchCommand),
    /// List, download, import, verify and remove models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// List, inspect, cancel, resume and delete recorded runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Show which workers do the tasks of a plan
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// Show what this machine offers, the settings in effect, and what to improve
    Doctor {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct RunFlags {
    /// The goal, in your own words
    pub goal: String,
    /// Input for the goal: a text file, a folder (searched recursively, links are followed), a named pipe, or - for
    /// stdin; may be repeated. Text piped to stdin is read without this flag if it starts within 3 seconds; use - to
    /// wait for it longer
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to work on the goal: auto (chosen by goal and inputs), direct (one call), find (the answer to a question in
    /// long inputs, with the place where it stands), map (each input on its own, then combined), each (the same work
    /// done to each input), compare (what the inputs say differently), query (one SELECT over tables), follow (what one
    /// file names is looked up in the next), sequence (step by step), parallel (aspects side by side), vote (several
    /// answers, the most frequent wins), free (any graph of tasks) or ask (a question back to you)
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub strategy: String,
    #[command(flatten)]
    pub band: BandFlags,
    /// Show the plan before it is carried out, and wait for your approval. On a terminal you are asked; elsewhere the run
    /// ends with exit status 4, and `runs answer` goes on with it. Only the first plan is shown: if tasks of it fail and
    /// the planner plans again, the run doesn't wait
    #[arg(long)]
    pub approve: bool,
    /// Stop after this many tokens and give the best answer so far. Generated tokens count, and prompt tokens that are
    /// not in the prefix cache [default: no limit]
    #[arg(long, value_name = "N")]
    pub budget_tokens: Option<u64>,
    /// Stop after this many seconds and give the best answer so far [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub budget_seconds: Option<f64>,
    /// Begin at most this many tasks of the plan, skip the others and answer from what there is. The planner's own calls
    /// and calculations don't count [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_tasks: Option<u64>,
    /// Begin at most this many tasks in a row, each of which needs the one before it, and skip what would come after
    /// them [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_depth: Option<u64>,
    /// Seed for sampling. The same seed and the same models give the same answer
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub execution: ExecutionFlags,
}

/// Flags of commands that do a run: where it is done and what is printed.
#[derive(Debug, Clone, Args)]
pub struct ExecutionFlags {
    /// Print one JSON object with the whole outcome instead of the answer
    #[arg(long, conflicts_with = "events")]
    pub json: bool,
    /// Print every event of the run as it happens, one JSON object per line
    #[arg(long)]
    pub events: bool,
    /// Print errors and warnings only, no progress
    #[arg(long)]
    pub quiet: bool,
    /// Load the models in this process even if `bandmaster serve` is running on the same home. Implied by --planner,
    /// --worker and --band
    #[arg(long)]
    pub standalone: bool,
}

/// Which models make up the band. M is a catalog name, a path to a GGUF file, or hf:OWNER/REPO[:QUANT|FILE][@REV].
#[derive(Debug, Clone, Default, Args)]
pub struct BandFlags {
    #[arg(long, value_name = "M", help = settings::PLANNER.help())]
    pub planner: Option<String>,
    #[arg(long = "worker", value_name = "M", help = settings::WORKERS.help())]
    pub workers: Vec<String>,
    /// TOML file that names the models as `planner`, `workers` and `embeddings`. --planner and --worker override it
    #[arg(long, value_name = "FILE")]
    pub band: Option<PathBuf>,
}

impl BandFlags {
    pub fn are_given(&self) -> bool {
        self.planner.is_some() || !self.workers.is_empty() || self.band.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of the catalog and those that are installed
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Download models: a catalog name, hf:OWNER/REPO[:QUANT|FILE][@REV], a huggingface.co address, or
    /// `default` for the default band
    Pull {
        /// Names of the models to download
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Install model files from this machine: GGUF files, or the folder of an embedding model
    Import(ImportFlags),
    /// Compare installed files with their checksums. Reads every file in full, while loading a model checks only size,
    /// times and a sample
    Verify {
        /// Check only this model [default: all installed models]
        name: Option<String>,
    },
    /// Delete an installed model
    Rm {
        /// Model's name, as `models list` shows it
        name: String,
    },
    /// Print the token ids of a text
    Tokenize(TokenizeFlags),
}

#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Files to install; of a model split into parts, any one part
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name to install it under [default: the catalog's name if the checksum is known, else the file's name]
    #[arg(long)]
    pub name: Option<String>,
    /// What the model is for [default: as in the catalog, else by size]
    #[arg(long, value_enum)]
    pub role: Option<RoleFlag>,
    /// Copy the file even where a link would do
    #[arg(long)]
    pub copy: bool,
}

/// What an imported model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleFlag {
    /// Plans and writes answers
    Planner,
    /// Does tasks of plans
    Worker,
    /// Generates text, but is not used in a band
    Base,
}

#[derive(Debug, Args)]
pub struct TokenizeFlags {
    /// Model whose tokenizer is used, or a GGUF file that holds only a vocabulary
    #[arg(value_name = "M")]
    pub model: String,
    /// Text to tokenize [default: read from stdin]
    #[arg(conflicts_with = "file")]
    pub text: Option<String>,
    /// Read the text from this file, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Read spellings of special tokens in the text, such as <|im_start|>, as those tokens
    #[arg(long)]
    pub special: bool,
    /// Print a JSON object with the ids and the text of each token
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the recorded runs, latest first
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show a run, one of its tasks, or all of its events
    Show {
        /// Run's id, the beginning of it, or `last`
        id: String,
        /// Show only the task with this id: prompt, sampling settings and output of each attempt
        #[arg(long, value_name = "T")]
        task: Option<String>,
        /// Print the run's model calls as a JSON trace, prompts included, to be replayed
        /// with `bench workflow --trace FILE`
        #[arg(long, conflicts_with_all = ["task", "events"])]
        trace: bool,
        /// Show all events in order
        #[arg(long, conflicts_with = "task")]
        events: bool,
        /// Print the plan that waits for approval as TOML, to be edited and given to `runs answer --plan`
        #[arg(long, conflicts_with_all = ["task", "events", "trace"])]
        plan: bool,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Go on with a run that ended early or whose process was killed. Tasks with an accepted result are not done again
    Resume(RerunFlags),
    /// Answer what a run waits for, and go on with it: a question, or whether its plan is to be carried out
    Answer {
        #[command(flatten)]
        rerun: RerunFlags,
        /// Your answer to the question; yes or no to a plan
        #[arg(required_unless_present = "plan", conflicts_with = "plan")]
        text: Option<String>,
        /// Task whose question you answer, if several tasks ask
        #[arg(long, value_name = "T", conflicts_with = "plan")]
        task: Option<String>,
        /// Carry out this plan instead: a TOML file as `runs show ID --plan` writes it, or - for stdin
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
    },
    /// Begin a new run with the events of another one up to one of them, with other settings
    Fork {
        #[command(flatten)]
        rerun: RerunFlags,
        /// Number of the last event that the two runs share, as `runs show ID --events` lists them
        #[arg(long, value_name = "EVENT")]
        at: u64,
        /// Setting that differs: seed, goal (before the first task), budget-tokens, budget-seconds, budget-tasks,
        /// budget-depth (a number, or none for no limit), strategy (before one was chosen), or
        /// output.TASK for the result of a finished task. Can be given several times
        #[arg(long, value_name = "K=V")]
        set: Vec<String>,
    },
    /// Compute a run's events anew from its record, without a model, and compare them with those that are recorded
    Replay {
        /// Run's id, the beginning of it, or `last`
        id: String,
        /// Also make each call with an accepted result again and compare the outputs byte by byte, which needs the models
        #[arg(long)]
        verify: bool,
        #[command(flatten)]
        band: BandFlags,
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show in what two runs differ
    Diff {
        /// A run's id, the beginning of it, or `last`
        a: String,
        /// The other run's id
        b: String,
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Cancel a run of this home's server; it ends with the tasks that are finished
    Cancel {
        /// Run's id, the beginning of it, or `last`
        id: String,
        /// Don't ask the server on this home. A run that is still going can then only be ended in its own process
        #[arg(long)]
        standalone: bool,
    },
    /// Delete a run that has ended, and erase its text from the record
    Rm {
        /// Run's id, or the beginning of it
        id: String,
    },
    /// Delete runs and stored responses older than an age. Runs still in progress and conversations are kept
    Prune {
        /// Age, e.g. 30d or 12h
        #[arg(long, value_name = "AGE")]
        older_than: String,
    },
}

impl RunsCommand {
    /// The band to use, for the commands that do a run.
    pub fn band(&self) -> BandFlags {
        match self {
            Self::Resume(rerun) | Self::Answer { rerun, .. } | Self::Fork { rerun, .. } => rerun.band.clone(),
            Self::Replay { band, .. } => band.clone(),
            _ => BandFlags::default(),
        }
    }
}

#[derive(Debug, Args)]
pub struct RerunFlags {
    /// Run's id, the beginning of it, or `last`
    pub id: String,
    #[command(flatten)]
    pub band: BandFlags,
    #[command(flatten)]
    pub execution: ExecutionFlags,
}

#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// List the workers of the band
    List {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show one worker's details
    Show {
        /// Worker's name, as `workers list` shows it
        name: String,
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}
