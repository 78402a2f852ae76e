//! `bench accuracy`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use tokio::runtime::Runtime;

use super::config::Config;
use super::error::CliError;
use super::flags::AccuracyFlags;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::measured::origin;
use super::screen::{Screen, View};
use super::surroundings::runtime;
use super::{load, print, print_json, servers, table, terminal};
use crate::band::{BandFiles, memory};
use crate::bench::accuracy::{
    AccuracyReport, Allowance, Cell, GivenUp, Kind, MatrixReport, Sandbox, Setup, Stage, Suite, Way, run_cell,
};
use crate::bench::origin::Origin;
use crate::bench::remote::Remote;
use crate::client::{Client, ClientError, Endpoint};
use crate::engine::EngineHandle;
use crate::orchestrator::{Band, Llm, WorkerKind};

/// Default number of concurrent items when a single model is measured.
const CONCURRENCY_ALONE: usize = 4;

/// Who answers the suite's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Player<'a> {
    /// The whole band, loaded as `run` does.
    Band,
    /// A single model in this process.
    Model(&'a str),
    /// A model on a server.
    Server { url: &'a str, model: Option<&'a str> },
}

struct Plan<'a> {
    suite: Arc<Suite>,
    players: Vec<Player<'a>>,
    ways: Vec<Way>,
    budgets: Vec<Option<u64>>,
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
    let stopped = bench.players(&mut cells).err();
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
        let players: Vec<Player> = match &flags.url {
            Some(url) if flags.models.is_empty() => vec![Player::Server { url, model: None }],
            Some(url) => {
                flags.models.iter().map(|model| Player::Server { url, model: Some(model) }).collect()
            }
            None if is_band => vec![Player::Band],
            None => flags.models.iter().map(|model| Player::Model(model)).collect(),
        };
        let budgets = match flags.budget_tokens.as_slice() {
            [] => vec![None],
            budgets => budgets.iter().copied().map(Some).collect(),
        };
        let ways = ways(flags, suite.kind, is_band)?;
        let concurrency = flags.concurrency.unwrap_or(if is_band { 1 } else { CONCURRENCY_ALONE });
        Ok(Self { suite: Arc::new(suite), players, ways, budgets, concurrency })
    }
}

impl Plan<'_> {
    /// Whether the measurement has only one cell, so that there is nothing to compare.
    fn is_one_cell(&self, baseline: bool) -> bool {
        let has_baseline = baseline && self.ways != [Way::Alone];
        !has_baseline && self.players.len() * self.ways.len() * self.budgets.len() == 1
    }
}

/// The strategies named, or the default for this suite and player.
fn ways(flags: &AccuracyFlags, kind: Kind, is_band: bool) -> Result<Vec<Way>, CliError> {
    let default = if is_band || kind == Kind::Strategy { Way::Auto } else { Way::Alone };
    let named = flags.strategies.iter().map(|name| name.parse::<Way>());
    let mut ways: Vec<Way> =
        named.collect::<Result<_, _>>().map_err(|error| CliError::usage(format!("--strategy: {error}")))?;
    if ways.is_empty() {
        ways.push(default);
    }
    if kind == Kind::Strategy && (flags.baseline || ways != [Way::Auto]) {
        return Err(CliError::usage(
            "the suite judges only the choice of strategy: measure it with --strategy auto and without --baseline",
        ));
    }
    Ok(ways)
}

/// What stays the same for all players.
struct Bench<'a> {
    config: &'a Config,
    flags: &'a AccuracyFlags,
    plan: Plan<'a>,
    origin: Origin,
    sandbox: Option<Sandbox>,
    interrupt: Interrupt,
    runtime: Runtime,
}

/// A player whose files or server were found. Nothing is loaded yet.
enum Found {
    /// Files on this machine.
    Here(BandFiles),
    There(Remote),
}

/// A player that is loaded and ready to answer.
struct Seat {
    band: Band,
    /// Set if the models run in this process.
    engine: Option<EngineHandle>,
    name: String,
    given_up: GivenUp,
    origin: Origin,
}

impl Bench<'_> {
    fn is_interrupted(&self) -> bool {
        self.interrupt.cancel.reason().is_some()
    }

    /// Measures all cells of all players. After an error, the cells finished before it are kept.
    fn players(&self, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        for player in self.look_up()? {
            self.player(player, cells)?;
            if self.is_interrupted() {
                break;
            }
        }
        Ok(())
    }

    /// Finds every player before measuring the first: a misspelt name must not cost hours of measuring the others.
    fn look_up(&self) -> Result<Vec<Found>, CliError> {
        let hub = self.config.hub();
        let find = |config: &Config| load::find(config, &hub, false).map(Found::Here);
        if let (None, [first, others @ ..]) = (&self.flags.url, self.flags.models.as_slice()) {
            // On a home without models this downloads all of them, or none if a name is wrong.
            find(&self.config.with_models(first, others))?;
        }
        let players = self.plan.players.iter().map(|player| match player {
            Player::Band => find(self.config),
            Player::Model(model) => find(&self.config.with_models(model, &[])),
            Player::Server { url, model } => self.connect(url, *model).map(Found::There),
        });
        players.collect()
    }

    fn player(&self, player: Found, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        let seat = self.seat(player)?;
        self.interrupt.arm();
        let stage = Stage {
            suite: Arc::clone(&self.plan.suite),
            band: seat.band.clone(),
            sandbox: self.sandbox.clone(),
            concurrency: self.plan.concurrency,
            interrupt: self.interrupt.cancel.clone(),
            given_up: Arc::clone(&seat.given_up),
            setup: self.setup(),
        };
        let result = self.cells(&stage, &seat, cells);
        if let Some(engine) = seat.engine {
            engine.shutdown();
        }
        result
    }

    fn setup(&self) -> Setup {
        let here = self.flags.url.is_none();
        Setup {
            url: self.flags.url.clone(),
            limit: self.flags.limit,
            threads: here.then_some(self.config.threads.value),
            context_tokens: here.then_some(self.config.context_tokens.value),
        }
    }

    fn cells(&self, stage: &Stage, seat: &Seat, cells: &mut Vec<AccuracyReport>) -> Result<(), CliError> {
        for way in &self.plan.ways {
            for budget in &self.plan.budgets {
                let cell = self.cell(&seat.name, *way, *budget);
                let done = self.measure(stage, &cell, &seat.origin)?;
                let used = done.tokens_by_item();
                cells.push(done);
                if self.flags.baseline && *way != Way::Alone && !self.is_interrupted() {
                    let alone = Cell {
                        name: format!("alone, with the tokens of {}", cell.name),
                        model: stage.band.planner.name().to_owned(),
                        way: Way::Alone,
                        allowance: Allowance::AsMany(used),
                        seed: cell.seed,
                    };
                    cells.push(self.measure(stage, &alone, &seat.origin)?);
                }
                if self.is_interrupted() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn cell(&self, model: &str, way: Way, budget: Option<u64>) -> Cell {
        let mut name = way.to_string();
        if self.plan.players.len() > 1 {
            name = format!("{model} {name}");
        }
        if let Some(tokens) = budget {
            name = format!("{name} in {tokens} tokens");
        }
        let allowance = budget.map_or(Allowance::Free, Allowance::Tokens);
        Cell { name, model: model.to_owned(), way, allowance, seed: self.flags.seed }
    }

    fn measure(&self, stage: &Stage, cell: &Cell, origin: &Origin) -> Result<AccuracyReport, CliError> {
        let watched = terminal::is_watched();
        let (count, mut ended) = (self.plan.suite.items.len(), 0);
        let ended = self.runtime.block_on(run_cell(stage, cell, &mut |item| {
            ended += 1;
            if watched {
                terminal::err(&format!("{}  {ended:3}/{count}  {}\n", cell.name, item.line()));
            }
        }));
        let ended = ended.map_err(|error| CliError::Failed(error.into()))?;
        let report = AccuracyReport::new(origin.clone(), stage, cell, ended);
        // A cell in which every item failed is reported as the command's error at its end.
        if let Some(failures) = report.failures().filter(|_| !report.is_all_failed()) {
            terminal::err(&format!("warning: {failures}\n"));
        }
        Ok(report)
    }

    fn seat(&self, player: Found) -> Result<Seat, CliError> {
        match player {
            Found::Here(files) => self.load(&files),
            Found::There(remote) => Ok(sit(Arc::new(remote), self.origin.clone())),
        }
    }

    /// Loads a band as `run` does.
    fn load(&self, files: &BandFiles) -> Result<Seat, CliError> {
        let memory = memory(load::available(self.config), &self.config.hub(), files)?;
        let screen = Screen::new(View::Progress);
        if let Some(note) = &memory.note {
            screen.note(note);
        }
        let loaded = load::load(self.config, files, &memory, &screen)?;
        screen.finish()?;
        Ok(Seat {
            name: players(&loaded.band),
            band: loaded.band,
            engine: Some(loaded.engine),
            given_up: Arc::new(|| false),
            origin: self.origin_with(files),
        })
    }

    /// Adds the hashes of the band's models.
    fn origin_with(&self, files: &BandFiles) -> Origin {
        let mut origin = self.origin.clone();
        for found in files.models() {
            origin.build.add_model(&found.name, &found.path);
        }
        origin
    }

    fn connect(&self, url: &str, model: Option<&str>) -> Result<Remote, CliError> {
        let client = servers::client(self.flags.timeout_seconds)?;
        let endpoint = self.runtime.block_on(servers::endpoint(self.config, &client, url, model))?;
        if self.plan.players.len() > 1 {
            self.runtime.block_on(check_listed(&client, &endpoint))?;
        }
        Ok(Remote::new(client, endpoint, self.config.context_tokens.value))
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
        if self.flags.json && self.plan.is_one_cell(self.flags.baseline) {
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

/// Makes a band of one server model.
fn sit(remote: Arc<Remote>, origin: Origin) -> Seat {
    let planner = Arc::clone(&remote) as Arc<dyn Llm>;
    Seat {
        name: planner.name().to_owned(),
        band: Band { planner, workers: Vec::new(), embed: None },
        engine: None,
        given_up: Arc::new(move || remote.is_unreachable()),
        origin,
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
fn players(band: &Band) -> String {
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

    /// The plan's players, ways, budgets and concurrency as text, or the error message.
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
        let ways: Vec<String> = plan.ways.iter().map(Way::to_string).collect();
        Ok(format!("{:?} {} {:?} {}", plan.players, ways.join(","), plan.budgets, plan.concurrency))
    }

    #[test]
    fn what_was_typed_becomes_cells() {
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
    fn what_cannot_be_measured_is_refused() {
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
