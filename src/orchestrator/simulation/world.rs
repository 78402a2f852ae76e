//! Draws a world from a seed: what is asked, of whom, and how the models behave.

use std::fmt::Write as _;
use std::sync::Arc;

use super::graph::{Graph, tasks_of};
use super::random::{Random, hash};
use crate::band::Skill;
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::{Asked, EventKind, InputInfo};
use crate::goal::{BandInfo, PLANNER, RULE, WorkerInfo};
use crate::request::{Budget, Input, RunRequest, StrategyName};
use crate::strategy::Strategy;

/// Goals of a map, with the slots that a good planner fills in.
pub(super) const MAPS: [(&str, &str); 8] = [
    (
        "Each file is about one farm. List how many sheep each keeps, and the total.",
        r#"{"find":"number of sheep the farm keeps","answer_is":"number","combine":["list","total"]}"#,
    ),
    ("Who owns each farm?", r#"{"find":"owner of the farm","answer_is":"name","combine":["list"]}"#),
    (
        "On which day was each farm founded, and which is the oldest?",
        r#"{"find":"day on which the farm was founded","answer_is":"date","combine":["list","least"]}"#,
    ),
    (
        "How many of the farms grow barley?",
        r#"{"find":"whether the farm grows barley","answer_is":"yes_no","combine":["count"]}"#,
    ),
    ("Sum up what each farm does.", r#"{"find":"what the farm does","answer_is":"text","combine":["list"]}"#),
    (
        "List the animals of each farm.",
        r#"{"find":"animals of the farm","answer_is":"list","combine":["list"]}"#,
    ),
    (
        "Make a table of the farms with farm, sheep and owner.",
        r#"{"columns":[{"name":"farm","kind":"name"},{"name":"sheep","kind":"number"},{"name":"owner","kind":"name"}],
            "only_if":[],"combine":["list"],"of":null,"limit":null}"#,
    ),
    (
        "Which farm with at least 20 sheep was founded first?",
        r#"{"columns":[{"name":"farm","kind":"name"},{"name":"sheep","kind":"number"},{"name":"founded","kind":"date"}],
            "only_if":[{"column":"sheep","is":">=","value":20}],"combine":["least"],"of":"founded","limit":null}"#,
    ),
];

/// A goal of `follow`, and the lists that lead to its answer.
const FOLLOW: &str = "In which barn does the keeper of Borwick work?";
const KEEPERS: &str = "Aldersey: Dan Ley\nBorwick: Ann Shaw\nCalder: Tom Ripley\n";
const NOTE: &str = "Ann Shaw is ill. Dan Ley stands in for her.";
const BARNS: &str = "keeper,barn\nDan Ley,B-11\nAnn Shaw,B-12\nTom Ripley,B-14\n";

/// Goals of `each`, with the slots that a good planner fills in.
const EACHES: [(&str, &str); 5] = [
    (
        "Sum up each farm in two sentences and merge the summaries.",
        r#"{"instruction":"Sum up the farm in two sentences.",
            "work":"sum_up","language":null,"limit":{"most":2,"of":"sentences"},"labels":[],"together":"one_text"}"#,
    ),
    (
        "Rewrite the text on every farm for children.",
        r#"{"instruction":"Rewrite the text on the farm for children.",
            "work":"rewrite","language":null,"limit":null,"labels":[],"together":"sections"}"#,
    ),
    (
        "Translate the texts on the farms into German.",
        r#"{"instruction":"Translate the text on the farm into German.",
            "work":"translate","language":"German","limit":null,"labels":[],"together":"sections"}"#,
    ),
    (
        "Mark every farm as large or small, and count them.",
        r#"{"instruction":"Mark the farm as large or small.",
            "work":"classify","language":null,"limit":null,"labels":["large","small"],"together":"count"}"#,
    ),
    (
        "Turn each text on a farm into points.",
        r#"{"instruction":"Turn the text on the farm into points.",
            "work":"points","language":null,"limit":null,"labels":[],"together":"sections"}"#,
    ),
];

/// Goals of `find`.
const FINDS: [&str; 4] = [
    "How many sheep does the farm number 2 keep in winter?",
    "Who is the owner of the farm?",
    "Please, when was the farm founded?",
    "What colour has the moon over the farm?",
];

/// Goals over a table of farms, with the statement of a good planner.
pub(super) const QUERIES: [(&str, &str); 4] = [
    (
        "How many sheep do the farms with owner Ada Brown keep?",
        "SELECT SUM(sheep) FROM farms WHERE owner = 'Ada Brown'",
    ),
    (
        "Which farm keeps the most sheep, and how many?",
        "SELECT farm, sheep FROM farms ORDER BY sheep DESC LIMIT 1",
    ),
    ("What is the total weight of all farms?", "SELECT SUM(wool_kg) FROM farms"),
    (
        "Which crop is grown by the most farms?",
        "SELECT crop, COUNT(*) FROM farms GROUP BY crop ORDER BY 2 DESC LIMIT 1",
    ),
];

/// Goals of the other strategies.
const COMPARE: &str = "Where do the texts on the farms disagree?";
const SEQUENCE: &str =
    "Find out which farm keeps the most sheep, then say who owns it, and then what it grows.";
const FREE: &str =
    "Find out how many sheep each farm keeps and what it grows, add the sheep up, and write a note on it.";
const PARALLEL: &str = "Describe the life on a farm in sections.";
const ASPECTS: [&str; 3] = ["animals", "machines", "harvest"];

pub(super) struct World {
    pub seed: u64,
    pub request: RunRequest,
    pub strategy: StrategyName,
    pub facts: Facts,
    pub band: BandInfo,
    /// How many of 100 replies of each model are bad in some way.
    pub moods: Vec<(String, u64)>,
    /// Models of which every call stalls, and those that never say anything of use.
    pub dead: Vec<String>,
    pub nonsense: Vec<String>,
    /// Whether a reply is a function of the task, the attempt's number, the prompt and the seed.
    pub is_pure: bool,
}

fn worker(name: &str, context_tokens: usize, skills: &[Skill]) -> WorkerInfo {
    let (worker, model) = (name.to_owned(), format!("model of {name}"));
    WorkerInfo { worker, model, context_tokens, skills: skills.to_vec() }
}

/// A band with 0 to 3 workers, some of which share a model.
fn band(random: &mut Random) -> BandInfo {
    const SKILLS: [Skill; 3] = [Skill::Find, Skill::Read, Skill::Write];
    let contexts = [1060, 1100, 1800, 8192];
    let planner = WorkerInfo { skills: Vec::new(), ..worker(PLANNER, random.pick(&[1800, 8192, 8192]), &[]) };
    let mut workers: Vec<WorkerInfo> = Vec::new();
    for name in &["ada", "ben", "cleo"][..random.below(4)] {
        let skills: Vec<Skill> = SKILLS.into_iter().filter(|_| !random.one_in(3)).collect();
        let mut new = worker(name, random.pick(&contexts), &skills);
        if random.one_in(5) {
            new.model.clone_from(workers.last().map_or(&planner.model, |other| &other.model));
        }
        workers.push(new);
    }
    let model = RULE.to_owned();
    workers.push(WorkerInfo { model, ..worker("calculator", 0, &[Skill::Calculate]) });
    BandInfo { planner, workers }
}

/// A text about a farm with a few paragraphs about something else.
fn farm(number: usize, paragraphs: usize, random: &mut Random) -> Input {
    let mut text = format!("Farm number {number} lies by the river.\n\n");
    let told = random.below(paragraphs + 1);
    for paragraph in 0..=paragraphs {
        if paragraph == told {
            let (sheep, day) = (10 * (number + 1), 1 + number % 28);
            let _ = write!(text, "The farm keeps {sheep} sheep in winter. Its owner is Ada Brown. ");
            let _ = write!(text, "The farm was founded on 1987-03-{day:02}. ");
            let _ = write!(text, "The farm grows barley and oats.\n\n");
        } else {
            let _ =
                write!(text, "Paragraph {paragraph} speaks of the weather, the road and the neighbours.\n\n");
        }
    }
    Input { name: format!("farm{number}.md"), text }
}

/// A table of farms.
fn farms(count: usize, random: &mut Random) -> Input {
    let mut text = "farm,owner,crop,sheep,wool_kg\n".to_owned();
    for number in 0..3 + count {
        let (owner, crop) =
            (random.pick(&["Ada Brown", "Ben Oak", "Cleo Lind"]), random.pick(&["barley", "oats"]));
        let _ = writeln!(text, "Farm {number},{owner},{crop},{},{}.5", 10 * (number + 1), random.below(90));
    }
    Input { name: "farms.csv".to_owned(), text }
}

/// Lists of which one names what stands in the next, and a note.
fn lists(random: &mut Random) -> Vec<Input> {
    let note = if random.one_in(2) { NOTE } else { "Nothing is new." };
    let lists = [("keepers.txt", KEEPERS), ("barns.csv", BARNS), ("note.txt", note)];
    lists.map(|(name, text)| Input { name: name.to_owned(), text: text.to_owned() }).into()
}

/// A goal that a strategy can work on, and how many inputs it needs at least.
fn goal_of(strategy: StrategyName, random: &mut Random) -> (&'static str, usize) {
    match strategy {
        StrategyName::Map => (random.pick(&MAPS).0, 1),
        StrategyName::Each => (random.pick(&EACHES).0, 1),
        StrategyName::Find => (random.pick(&FINDS), 1),
        StrategyName::Compare => (COMPARE, 2),
        StrategyName::Query => (random.pick(&QUERIES).0, 1),
        StrategyName::Follow => (FOLLOW, 0),
        StrategyName::Parallel => (PARALLEL, 0),
        StrategyName::Sequence => (SEQUENCE, 0),
        StrategyName::Free => (FREE, 0),
        StrategyName::Vote => ("How many boxes are 6 * 55 + 90 / 3?", 0),
        StrategyName::Direct => ("Who was here?", 0),
        _ => ("Do all pieces.", 0),
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(hash(seed, &["world"], &[]));
        let strategy = random.pick(&[
            StrategyName::Direct,
            StrategyName::Map,
            StrategyName::Map,
            StrategyName::Each,
            StrategyName::Find,
            StrategyName::Compare,
            StrategyName::Query,
            StrategyName::Follow,
            StrategyName::Parallel,
            StrategyName::Sequence,
            StrategyName::Vote,
            StrategyName::Free,
            StrategyName::Free,
            StrategyName::Other,
        ]);
        let mut world = Self::of(strategy, &mut random, seed);
        world.request.approve = Random::new(hash(seed, &["approve"], &[])).one_in(4);
        if strategy == StrategyName::Free {
            world.facts.inputs_fit_together = !Random::new(hash(seed, &["fit"], &[])).one_in(3);
        }
        world
    }

    fn of(strategy: StrategyName, random: &mut Random, seed: u64) -> Self {
        let (goal, least_inputs) = goal_of(strategy, random);
        let mut request = RunRequest::new(goal);
        let count = match strategy {
            StrategyName::Free => random.below(5),
            StrategyName::Follow => 0,
            _ if least_inputs > 0 => least_inputs + random.below(6),
            _ => random.below(2),
        };
        // A text of so many paragraphs takes more calls than may run at a time, and seconds to check.
        let huge = strategy == StrategyName::Map && random.one_in(400);
        for number in 0..count {
            let long = matches!(
                strategy,
                StrategyName::Map | StrategyName::Each | StrategyName::Find | StrategyName::Compare
            );
            let long = long && random.one_in(4);
            let paragraphs = if huge && number == 0 { 140 } else { 2 + random.below(14) };
            let paragraphs = if long || (huge && number == 0) { paragraphs } else { random.below(2) };
            request.inputs.push(farm(number, paragraphs, random));
        }
        match strategy {
            StrategyName::Query => request.inputs = vec![farms(count, random)],
            StrategyName::Follow => request.inputs = lists(random),
            _ => {}
        }
        request.seed = random.pick(&[0, 7, u64::MAX, random.clone().number()]);
        request.strategy = (strategy != StrategyName::Other).then_some(strategy);
        request.budget.tokens = random.one_in(4).then(|| 1 + random.below(6000) as u64);
        request.budget.tasks = random.one_in(6).then(|| 1 + random.below(8) as u64);
        request.budget.depth = random.one_in(8).then(|| 1 + random.below(3) as u64);
        let names_parts = strategy == StrategyName::Parallel && random.one_in(2);
        let aspects = if random.one_in(2) { &ASPECTS[..] } else { &[] };
        let facts = Facts {
            inputs: count,
            inputs_fit_together: strategy != StrategyName::Map,
            named_aspects: aspects.iter().map(|aspect| (*aspect).to_owned()).collect(),
            speaks_of_parts: names_parts,
            arithmetic: (strategy == StrategyName::Direct && random.one_in(4))
                .then(|| random.pick(&["6 * 7", "6 / 0"]).to_owned()),
            ..Facts::default()
        };
        let band = band(random);
        // Some worlds are free of trouble, in some nothing goes well.
        let trouble = random.pick(&[0, 10, 10, 40, 40, 80, 100]);
        let models = std::iter::once(&band.planner).chain(&band.workers).map(|info| info.model.clone());
        let mood = |model| (model, if random.one_in(3) { random.pick(&[0, 50, 100]) } else { trouble });
        let moods = models.map(mood).collect();
        let mut world = Self {
            seed,
            request,
            strategy,
            facts,
            band,
            moods,
            dead: Vec::new(),
            nonsense: Vec::new(),
            is_pure: true,
        };
        world.break_models(random);
        world
    }

    /// The planner or a worker may be dead or talk nonsense all the time.
    fn break_models(&mut self, random: &mut Random) {
        let planner = self.band.planner.model.clone();
        let place = random.below(self.band.workers.len());
        let worker = self.band.workers[place].model.clone();
        let broken = if random.one_in(2) { planner } else { worker };
        match random.below(12) {
            0 => self.dead.push(broken),
            1 => self.nonsense.push(broken),
            _ => {}
        }
    }

    /// The same with models that always work and reply.
    pub(super) fn without_trouble(mut self) -> Self {
        self.moods.iter_mut().for_each(|(_, trouble)| *trouble = 0);
        (self.dead, self.nonsense) = (Vec::new(), Vec::new());
        self
    }

    pub(super) fn is_dead(&self, model: &str) -> bool {
        self.dead.iter().any(|dead| dead == model)
    }

    pub(super) fn talks_nonsense(&self, model: &str) -> bool {
        self.nonsense.iter().any(|other| other == model)
    }

    /// A map of twelve tasks: eleven inputs and the calculator.
    pub(super) fn of_twelve_tasks(seed: u64) -> Self {
        let mut random = Random::new(hash(seed, &["twelve"], &[]));
        let mut world = Self::of(StrategyName::Map, &mut random, seed);
        world.request.goal = MAPS[0].0.to_owned();
        world.request.budget = Budget::default();
        world.request.inputs = (0..11).map(|number| farm(number, 0, &mut random)).collect();
        world.facts.inputs = 11;
        world.band.planner.context_tokens = 8192;
        world = world.without_trouble();
        world.moods.iter_mut().for_each(|(_, trouble)| *trouble = 10);
        world
    }

    /// More tasks than may have a call at a time.
    pub(super) fn of_many_tasks() -> Self {
        let seed = (0..).find(|seed| tasks_of(*seed) > 64).unwrap_or_default();
        let mut world = Self::of(StrategyName::Other, &mut Random::new(seed), seed).without_budget();
        world.request.inputs.clear();
        world = world.without_trouble();
        world.moods.iter_mut().for_each(|(_, trouble)| *trouble = 10);
        world
    }

    /// The same without anything that stops the run.
    pub(super) fn without_budget(mut self) -> Self {
        self.request.budget = Budget::default();
        self
    }

    /// The strategy, if it is not one of this crate.
    pub(super) fn custom(&self) -> Option<Arc<dyn Strategy>> {
        (self.strategy == StrategyName::Other)
            .then(|| Arc::new(Graph { seed: self.seed }) as Arc<dyn Strategy>)
    }

    /// The slots that a good planner fills in.
    pub(super) fn slots(&self) -> &'static str {
        let found = MAPS.iter().chain(&EACHES).find(|(goal, _)| *goal == self.request.goal);
        found.map_or("{}", |(_, slots)| slots)
    }

    /// How many of 100 replies of a model are bad.
    pub(super) fn trouble(&self, model: &str) -> u64 {
        self.moods.iter().find(|(name, _)| name == model).map_or(0, |(_, trouble)| *trouble)
    }

    /// Another band for a process that takes the run up: without one of the workers, or with a new one.
    pub(super) fn other_band(&self, random: &mut Random) -> BandInfo {
        let mut band = self.band.clone();
        let place = random.below(band.workers.len());
        if random.one_in(2) && !band.workers[place].is_calculator() {
            band.workers.remove(place);
        } else {
            band.workers.insert(0, worker("dora", 4000, &[Skill::Find, Skill::Read, Skill::Write]));
        }
        band
    }

    pub(super) fn started(&self, id: &str) -> EventKind {
        let request = &self.request;
        let info = |input: &Input| InputInfo {
            name: input.name.clone(),
            tokens: tokens(&input.text),
            ..InputInfo::default()
        };
        EventKind::RunStarted {
            run: id.to_owned(),
            goal: request.goal.clone(),
            inputs: request.inputs.iter().map(info).collect(),
            planner: self.band.planner.model.clone(),
            workers: self.band.workers.iter().map(|worker| worker.worker.clone()).collect(),
            asked: Asked {
                strategy: request.strategy,
                seed: request.seed,
                budget_tokens: request.budget.tokens,
                budget_seconds: Some(0.1 + self.seed as f64),
                budget_tasks: request.budget.tasks,
                budget_depth: request.budget.depth,
                approve: request.approve,
                ..Asked::default()
            },
            band: Some(self.band.clone()),
        }
    }

    pub(super) fn chosen(&self) -> EventKind {
        let why = StrategyWhy {
            facts: self.facts.clone(),
            nearest: Vec::new(),
            because: "the world's seed says so".to_owned(),
        };
        EventKind::StrategyChosen { strategy: self.strategy, why }
    }
}

/// Tokens of a text, by the tokenizer of every model of these worlds.
pub(super) fn tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}
