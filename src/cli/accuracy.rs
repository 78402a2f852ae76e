//! `bench accuracy`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use tokio::runtime::Runtime;

use super::bench_origin::origin;
use super::config::Config;
use super::error::CliError;
use super::flags::AccuracyFlags;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::process_limits::runtime;
use super::screen::{Screen, View};
use super::{load, print, print_json, servers, table, terminal};
use crate::band::{BandFiles, limits_for_band};
use crate::bench::Origin;
use crate::bench::accuracy::{
    AccuracyReport, Evaluation, IsUnreachable, Kind, Matrix, MatrixProgress, MatrixReport, Method, Sandbox,
    ServerLlm, Setup, Suite,
};
use crate::client::{Client, ClientError, Endpoint};
use crate::orchestrator::{Band, Llm, WorkerKind};

/// Default number of concurrent items when a single model is measured.
const CONCURRENCY_ALONE: usize = 4;

/// Who answers the suite's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target<'a> {
    /// The whole band, loaded as `run` does.
    Band,
    /// A single model in this process.
    Model(&'a str),
    /// A model on a server.
    Server { url: &'a str, model: Option<&'a str> },
}

struct Plan<'a> {
    suite: Arc<Suite>,
    targets: Vec<Target<'a>>,
    matrix: Matrix,
    concurrency: usize,
}

pub fn bench_accuracy(config: &Config, flags: &AccuracyFlags) -> Result<ExitCode, CliError> {
    let plan = Plan::new(flags)?;
    let origin = origin();
    let runtime = runtime(2)?;
    let sandbox = plan.suite.needs_python().then(|| runtime.block_on(Sandbox::find())).transpose();
    let sandbox = sandbox.map_err(|error| CliError::Failed(error.into()))?;
    let bench =
        Bench { config, flags, plan, origin, sandbox, interrupt: Interrupt::listen(&runtime), runtime };
    let mut cells = Vec::new();
    let stopped = bench.measure_all(&mut cells).err();
    bench.finish(cells, stopped)
}

impl<'a> Plan<'a> {
    fn new(flags: &'a AccuracyFlags) -> Result<Self, CliError> {
        let mut suite = Suite::read(&flags.suite).map_err(|error| CliError::usage(error.to_string()))?;
        for (name, count) in [("--limit", flags.limit), ("--concurrency", flags.concurrency)] {
            if count == Some(0) {
                return Err(CliError::usage(format!("{name}: give at least 1")));
            }
        }
        if flags.budget_tokens.contains(&0) {
            return Err(CliError::usage("--budget-tokens: give at least 1"));
        }
        suite.items.truncate(flags.limit.unwrap_or(usize::MAX));
        let band = &flags.band;
        let is_band = flags.models.is_empty() && flags.url.is_none();
        if !is_band && (band.planner.is_some() || band.band.is_some() || !band.workers.is_empty()) {
            return Err(CliError::usage(
                "--model and --url replace the band: leave --planner, --worker and --band out",
            ));
        }
        let targets: Vec<Target> = match &flags.url {
            Some(url) if flags.models.is_empty() => vec![Target::Server { url, model: None }],
            Some(url) => {
                flags.models.iter().map(|model| Target::Server { url, model: Some(model) }).collect()
            }
            None if is_band => vec![Target::Band],
            None => flags.models.iter().map(|model| Target::Model(model)).collect(),
        };
        let budgets = match flags.budget_tokens.as_slice() {
            [] => vec![None],
            budgets => budgets.iter().copied().map(Some).collect(),
        };
        let methods = methods(flags, suite.kind, is_band)?;
        let (baseline, seed) = (flags.baseline, flags.seed);
        let matrix = Matrix { methods, budgets, baseline, seed, targets: targets.len() };
        let concurrency = flags.concurrency.unwrap_or(if is_band { 1 } else { CONCURRENCY_ALONE });
        Ok(Self { suite: Arc::new(suite), targets, matrix, concurrency })
    }
}

/// The strategies named, or the default for this suite and target.
fn methods(flags: &AccuracyFlags, kind: Kind, is_band: bool) -> Result<Vec<Method>, CliError> {
    let default = if is_band || kind == Kind::Strategy { Method::Auto } else { Method::Alone };
    let named = flags.strategies.iter().map(|name| name.parse::<Method>());
    let mut methods: Vec<Method> =
        named.collect::<Result<_, _>>().map_err(|error| CliError::usage(format!("--strategy: {error}")))?;
    if methods.is_empty() {
        methods.push(default);
    }
    if kind == Kind::Strategy && (flags.baseline || methods != [Method::Auto]) {
        return Err(CliError::usage(
            "the suite judges only the choice of strategy: measure it with --strategy auto and without --baseline",
        ));
    }
    Ok(methods)
}

/// What stays the same for all targets.
struct Bench<'a> {
    config: &'a Config,
    flags: &'a AccuracyFlags,
    plan: Plan<'a>,
    origin: Origin,
    sandbox: Option<Sandbox>,
    interrupt: Interrupt,
    runtime: Runtime,
}

/// A target whose files or server were found. Nothing is loaded yet.
enum FoundTarget {
    Files(BandFiles),
    Server(ServerLlm),
}

impl Bench<'_> {
    fn is_interrupted(&self) -> bool {
        self.interrupt.cancel.reason().is_some()
    }

    /// Measures all cells of all targets. After an error, the cells finished before it are kept.
    fn measure_all(&self, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        for target in self.look_up()? {
            match target {
                FoundTarget::Files(files) => self.measure_files(&files, cells)?,
                FoundTarget::Server(model) => self.measure_server(Arc::new(model), cells)?,
            }
            if self.is_interrupted() {
                break;
            }
        }
        Ok(())
    }

    /// Finds every target before measuring the first: a misspelt name must not cost hours of measuring the others.
    fn look_up(&self) -> Result<Vec<FoundTarget>, CliError> {
        let hub = self.config.hub();
        let find = |config: &Config| load::find(config, &hub, false).map(FoundTarget::Files);
        if let (None, [first, others @ ..]) = (&self.flags.url, self.flags.models.as_slice()) {
            // On a home without models this downloads all of them, or none if a name is wrong.
            find(&self.config.with_models(first, others))?;
        }
        let targets = self.plan.targets.iter().map(|target| match target {
            Target::Band => find(self.config),
            Target::Model(model) => find(&self.config.with_models(model, &[])),
            Target::Server { url, model } => self.connect(url, *model).map(FoundTarget::Server),
        });
        targets.collect()
    }

    /// Loads a band as `run` does, and measures it.
    fn measure_files(&self, files: &BandFiles, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        let memory = limits_for_band(load::available(self.config), &self.config.hub(), files)?;
        let screen = Screen::new(View::Progress);
        if let Some(note) = &memory.note {
            screen.note(note);
        }
        let loaded = load::load(self.config, files, &memory, &screen)?;
        screen.finish()?;
        let name = band_name(&loaded.band);
        let mut evaluation = self.evaluation(name, loaded.band, Arc::new(|| false));
        for found in files.models() {
            evaluation.origin.build.add_model(&found.name, &found.path);
        }
        let result = self.measure(&evaluation, cells);
        loaded.engine.shutdown();
        result
    }

    /// Measures a server's model as a band of one.
    fn measure_server(&self, model: Arc<ServerLlm>, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        let planner = Arc::clone(&model) as Arc<dyn Llm>;
        let band = Band { planner, workers: Vec::new(), embed: None };
        let name = model.name().to_owned();
        self.measure(&self.evaluation(name, band, Arc::new(move || model.is_unreachable())), cells)
    }

    fn evaluation(&self, target: String, band: Band, is_unreachable: IsUnreachable) -> Evaluation {
        let is_local = self.flags.url.is_none();
        Evaluation {
            suite: Arc::clone(&self.plan.suite),
            band,
            target,
            origin: self.origin.clone(),
            sandbox: self.sandbox.clone(),
            concurrency: self.plan.concurrency,
            interrupt: self.interrupt.cancel.clone(),
            is_unreachable,
            setup: Setup {
                url: self.flags.url.clone(),
                limit: self.flags.limit,
                threads: is_local.then_some(self.config.threads.value),
                context_tokens: is_local.then_some(self.config.context_tokens.value),
            },
        }
    }

    fn measure(&self, evaluation: &Evaluation, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        self.interrupt.arm();
        let is_terminal = terminal::stderr_is_terminal();
        let count = evaluation.suite.items.len();
        let mut show = |progress: MatrixProgress<'_>| match progress {
            MatrixProgress::Item { cell, ended, item } if is_terminal => {
                terminal::err(&format!("{cell}  {ended:3}/{count}  {}\n", item.line()));
            }
            MatrixProgress::Item { .. } => {}
            MatrixProgress::Cell(report) => {
                // A cell in which every item failed is reported as the command's error at its end.
                if let Some(failures) = report.failures().filter(|_| !report.is_all_failed()) {
                    terminal::err(&format!("warning: {failures}\n"));
                }
                cells.push(*report);
            }
        };
        let measured = self.runtime.block_on(self.plan.matrix.measure(evaluation, &mut show));
        measured.map_err(|error| CliError::Failed(error.into()))
    }

    fn connect(&self, url: &str, model: Option<&str>) -> Result<ServerLlm, CliError> {
        let client = servers::client(self.flags.timeout_seconds)?;
        let endpoint = self.runtime.block_on(servers::endpoint(self.config, &client, url, model))?;
        if self.plan.targets.len() > 1 {
            self.runtime.block_on(check_listed(&client, &endpoint))?;
        }
        Ok(ServerLlm::new(client, endpoint, self.config.context_tokens.value))
    }

    /// Prints what was measured, even before an error.
    fn finish(&self, cells: Vec<AccuracyReport>, stopped: Option<CliError>) -> Result<ExitCode, CliError> {
        let interrupted = self.is_interrupted();
        let failed = cells.iter().find(|cell| cell.is_all_failed()).and_then(AccuracyReport::failures);
        if !cells.is_empty() {
            self.print(cells, interrupted || stopped.is_some())?;
        }
        match (stopped, failed) {
            (Some(error), _) => Err(error),
            (None, _) if interrupted => Ok(ExitCode::from(INTERRUPTED)),
            (None, Some(failed)) => Err(CliError::Failed(anyhow!(failed))),
            (None, None) => Ok(ExitCode::SUCCESS),
        }
    }

    fn print(&self, mut cells: Vec<AccuracyReport>, interrupted: bool) -> Result<(), CliError> {
        if self.flags.json && self.plan.matrix.is_one_cell() {
            print_json(&cells.remove(0))?;
        } else {
            let matrix = MatrixReport::new(self.origin.clone(), interrupted, cells);
            if self.flags.json {
                print_json(&matrix)?;
            } else if self.flags.markdown {
                print(&matrix.markdown())?;
            } else {
                let notes: String = matrix.notes().iter().map(|note| format!("{note}\n")).collect();
                print(&format!("{}\n{}{notes}", matrix.title(), table(&matrix.rows())))?;
            }
        }
        Ok(())
    }
}

/// Refuses a model that the server doesn't list, because every item would fail. A server that lists nothing, or can't
/// be asked, may still have the model.
async fn check_listed(client: &Client, endpoint: &Endpoint) -> Result<(), CliError> {
    let listed = match client.models(endpoint).await {
        Ok(listed) => listed,
        Err(error @ ClientError::Unreachable { .. }) => return Err(CliError::Failed(error.into())),
        Err(_) => return Ok(()),
    };
    let asked = endpoint.model.as_str();
    // Some servers list names with a `:latest` suffix but also accept them without it.
    let is_asked = |name: &String| name.strip_suffix(":latest").unwrap_or(name) == asked || name == asked;
    if listed.is_empty() || listed.iter().any(is_asked) {
        return Ok(());
    }
    let (url, listed) = (endpoint.base(), listed.join(", "));
    Err(CliError::usage(format!("--model {asked}: {url} has {listed}; give one of these")))
}

/// The models' names joined as `planner + worker`, each once.
fn band_name(band: &Band) -> String {
    let mut names = vec![band.planner.name()];
    for worker in &band.workers {
        if let (WorkerKind::Model(_), false) = (&worker.kind, names.contains(&worker.name.as_str())) {
            names.push(&worker.name);
        }
    }
    names.join(" + ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::flags::{BenchCommand, Cli, Command};

    const GOALS: &str = r#"{"goal": "g", "best": "map", "answer_must": ["a"]}"#;
    const CHOICES: &str = r#"{"goal": "g", "best": "map"}"#;

    /// The plan's targets, methods, budgets and concurrency as text, or the error message.
    fn plan(suite: &str, flags: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.jsonl");
        std::fs::write(&path, suite).unwrap();
        let command = ["bandmaster", "bench", "accuracy", "--suite", path.to_str().unwrap()];
        let cli =
            Cli::try_parse_from(command.iter().chain(flags).copied()).map_err(|error| error.to_string())?;
        let Command::Bench(BenchCommand::Accuracy(flags)) = cli.command else { panic!("it was typed") };
        let plan = Plan::new(&flags).map_err(|error| match error {
            CliError::Usage(message) => message,
            other => panic!("{other:?}"),
        })?;
        let methods: Vec<String> = plan.matrix.methods.iter().map(Method::to_string).collect();
        let budgets = plan.matrix.budgets;
        Ok(format!("{:?} {} {budgets:?} {}", plan.targets, methods.join(","), plan.concurrency))
    }

    #[test]
    fn flags_become_targets_methods_and_budgets() {
        let server = |model| format!("[Server {{ url: \"http://h\", model: {model} }}] alone [None] 4");
        for (suite, flags, expected) in [
            (GOALS, &[][..], "[Band] auto [None] 1".to_owned()),
            (
                GOALS,
                &["--strategy", "auto,alone", "--strategy", "map"],
                "[Band] auto,alone,map [None] 1".to_owned(),
            ),
            (GOALS, &["--model", "a,b"], "[Model(\"a\"), Model(\"b\")] alone [None] 4".to_owned()),
            (CHOICES, &["--model", "a"], "[Model(\"a\")] auto [None] 4".to_owned()),
            (GOALS, &["--url", "http://h"], server("None")),
            (GOALS, &["--url", "http://h", "--model", "a"], server("Some(\"a\")")),
            (
                GOALS,
                &["--budget-tokens", "5,9", "--concurrency", "2"],
                "[Band] auto [Some(5), Some(9)] 2".to_owned(),
            ),
            (GOALS, &["--planner", "p", "--baseline"], "[Band] auto [None] 1".to_owned()),
        ] {
            assert_eq!(plan(suite, flags), Ok(expected), "{flags:?}");
        }
    }

    #[test]
    fn flags_that_cannot_be_measured_are_refused() {
        for (suite, flags, words) in [
            ("", &[][..], "is empty"),
            (GOALS, &["--strategy", "fast"], "--strategy: no strategy \"fast\""),
            (GOALS, &["--limit", "0"], "--limit: give at least 1"),
            (GOALS, &["--concurrency", "0"], "--concurrency"),
            (GOALS, &["--budget-tokens", "0"], "--budget-tokens"),
            (GOALS, &["--model", "a", "--worker", "b"], "replace the band"),
            (GOALS, &["--json", "--markdown"], "cannot be used with"),
            (CHOICES, &["--strategy", "alone"], "only the choice"),
            (CHOICES, &["--baseline"], "only the choice"),
        ] {
            let refused = plan(suite, flags).unwrap_err();
            assert!(refused.contains(words), "{flags:?}: {refused}");
        }
    }
}
