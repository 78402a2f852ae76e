//! Runs of each strategy on scripted models, whose prompts are kept in `tests/data/prompts`, byte for byte.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bandmaster_test_support::check_made;
use serde_json::{Value, json};

use super::ALL;
use crate::advance::{Core, Planned, Waits};
use crate::band::{Finish, Message, Role, Skill};
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::{CallEnd, EventKind, Split};
use crate::goal::{BandInfo, Goal, PLANNER, RULE, WorkerInfo};
use crate::outcome::TokenUsage;
use crate::request::{Input, RunRequest, StrategyName};
use crate::state::RunState;
use crate::template::Template;
use StrategyName::{Direct, Parallel, Sequence, Vote};

/// A goal, and what the planner makes of it.
struct Sample {
    name: &'static str,
    strategy: StrategyName,
    goal: &'static str,
    /// The planner's plan, where it is asked for one.
    plan: Value,
    /// What it makes of it when it is asked again.
    plan_again: Value,
    inputs: bool,
    conversation: bool,
    /// Whether the worker of the first step asks something.
    asks: bool,
    /// Of the worker, in tokens.
    context_tokens: usize,
    facts: Facts,
}

impl Sample {
    fn new(name: &'static str, strategy: StrategyName, goal: &'static str) -> Self {
        Self {
            name,
            strategy,
            goal,
            plan: Value::Null,
            plan_again: Value::Null,
            inputs: false,
            conversation: false,
            asks: false,
            context_tokens: 8192,
            facts: Facts::default(),
        }
    }

    fn plan(self, plan: Value) -> Self {
        Self { plan, ..self }
    }

    /// A map whose planner fills in these slots.
    fn map(
        name: &'static str,
        goal: &'static str,
        (find, answer_is, combine): (&str, &str, &[&str]),
    ) -> Self {
        let slots = json!({"find": find, "answer_is": answer_is, "combine": combine});
        Self::new(name, StrategyName::Map, goal).plan(slots).with_inputs()
    }

    fn with_inputs(self) -> Self {
        Self { inputs: true, ..self }
    }

    fn in_conversation(self) -> Self {
        Self { conversation: true, ..self }
    }
}

/// Slots of `each` that the planner fills in.
fn each(name: &'static str, goal: &'static str, slots: Value) -> Sample {
    Sample::new(name, StrategyName::Each, goal).plan(slots).with_inputs()
}

/// A plan of which a task fails, so that the planner is asked again.
fn free() -> Sample {
    let of = |id: &str, task: Value, needs: &[&str]| json!({"id": id, "task": task, "needs": needs});
    let step = |words: &str| json!({"job": "step", "do": words, "result": "text", "worker": "small"});
    let read = json!({
        "job": "read", "input": "farms/Aldersey.md", "do": "How many sheep the farm keeps", "result": "number",
        "worker": "small",
    });
    let write = json!({"job": "write", "title": "Farms", "do": "Describe the farms", "worker": "small"});
    let tasks = json!({"tasks": [
        of("t1", read, &[]), of("t2", step("Say what sheep eat."), &["t1"]), of("t3", write, &["t1", "t2"]),
        of("t4", step("Compare the farms, in vain."), &["t1"]),
    ]});
    let plan_again = json!({"tasks": [of("t5", step("Compare the sheep."), &["t1"])]});
    let goal = "Find out how many sheep the farms keep, and describe {{them}}.";
    Sample {
        plan_again,
        ..Sample::new("free-again", StrategyName::Free, goal).plan(tasks).with_inputs().in_conversation()
    }
}

/// Sections that the goal names.
fn named_parts() -> Sample {
    Sample {
        facts: Facts {
            named_aspects: vec!["sheep".to_owned(), "wool".to_owned()],
            speaks_of_parts: true,
            ..Facts::default()
        },
        ..Sample::new("parallel-named", StrategyName::Parallel, "Write a section on each of: sheep, wool.")
    }
}

/// Lists that lead from one to another.
fn followed() -> Sample {
    Sample::new("follow", StrategyName::Follow, "Which key opens the barn of {{Brunn}} today?")
        .with_inputs()
        .in_conversation()
}

/// The same work done to each input.
fn eaches() -> Vec<Sample> {
    vec![
        each(
            "each-sections",
            "Sum up {{each}} farm in a sentence.",
            json!({
                "instruction": "Sum up {{the}} farm in a sentence.", "work": "sum_up", "language": null,
                "limit": {"most": 1, "of": "sentences"}, "labels": [], "together": "sections",
            }),
        ),
        each(
            "each-merged",
            "Turn the farms into points and merge them.",
            json!({
                "instruction": "Turn the farm into points.", "work": "points", "language": "English", "limit": null,
                "labels": [], "together": "one_text",
            }),
        ),
        each(
            "each-labels",
            "Is each farm quiet or busy? Count them.",
            json!({
                "instruction": "Say whether the farm is quiet or busy.", "work": "classify", "language": null,
                "limit": null, "labels": ["quiet", "busy"], "together": "count",
            }),
        ),
    ]
}

/// A question that a sentence answers, and one that none does.
fn finds() -> [Sample; 2] {
    let plan = json!({"question": "Who is the owner of {{Brunn}}?"});
    [
        Sample::new("find", StrategyName::Find, "Hello! Who is the owner of {{Brunn}}?")
            .plan(plan)
            .with_inputs(),
        Sample::new("find-nothing", StrategyName::Find, "How old is {{Brunn}}?").with_inputs(),
    ]
}

fn samples() -> Vec<Sample> {
    let steps = json!({"steps": ["Find out which farm keeps the most sheep.", "Say who owns the farm."]});
    let section = |title: &str, about: &str| json!({"title": title, "instruction": about});
    let outline =
        json!({"sections": [section("Animals", "what the farms keep"), section("Fields", "what grows")]});
    let boxes = "How many boxes are 6 * 55 + 90 / 3?";
    let then = "Find out which farm keeps the most sheep, then say who owns it.";
    vec![
        Sample::new("direct", Direct, "  Who was \"here\"?\n"),
        // What looks like a variable of a template is text.
        Sample::new("direct-inputs", Direct, "Explain {{goal}} and {{inputs}}, {name}: {}.").with_inputs(),
        Sample::new("direct-conversation", Direct, "And who else?").with_inputs().in_conversation(),
        Sample::new("compare", StrategyName::Compare, "Where do the {{farms}} disagree?").with_inputs(),
        Sample::new("vote", Vote, boxes),
        Sample::new("vote-inputs", Vote, boxes).with_inputs().in_conversation(),
        Sample::new("parallel", Parallel, "Describe the life on a farm in sections.").plan(outline.clone()),
        Sample::new("parallel-inputs", Parallel, "Describe {{the}} farms.")
            .plan(outline)
            .with_inputs()
            .in_conversation(),
        named_parts(),
        Sample::new("sequence", Sequence, then).plan(steps.clone()),
        Sample {
            asks: true,
            ..Sample::new(
                "sequence-question",
                Sequence,
                "Our farm is Brunn. Find out its sheep, then say who owns it.",
            )
            .plan(steps.clone())
            .with_inputs()
            .in_conversation()
        },
        Sample {
            plan_again: json!({"steps": ["Say who owns the farm."]}),
            ..Sample::new("sequence-again", Sequence, then).plan(json!({
                "steps": ["Find out which farm keeps the most sheep.", "Say who owns the farm, in vain."],
            }))
        },
        free(),
        Sample::new("sequence-inputs", Sequence, then).plan(steps).with_inputs().in_conversation(),
    ]
}

/// Facts of each input.
fn maps() -> Vec<Sample> {
    vec![
        Sample::map(
            "map-number",
            "List how many sheep each farm keeps, and the total.",
            ("number of sheep the farm keeps", "number", &["list", "total"]),
        ),
        Sample::map("map-name", "Who owns each farm?", ("owner of the farm", "name", &["list"])),
        Sample::map(
            "map-date",
            "On which day was each farm founded, and which is the oldest?",
            ("day on which the farm was founded", "date", &["list", "least"]),
        )
        .in_conversation(),
        Sample::map(
            "map-yes-no",
            "How many of the farms grow barley?",
            ("whether the farm grows barley", "yes_no", &["count"]),
        ),
        Sample::map(
            "map-text",
            "Sum up {{what}} each farm does.",
            ("what the farm does", "text", &["summary"]),
        ),
        // The worker has room for a part of an input only.
        Sample {
            context_tokens: 1100,
            ..Sample::map("map-parts", "How many sheep are there?", ("number of sheep", "number", &["total"]))
        },
        Sample::map("map-list", "List the animals of each farm.", ("animals of the farm", "list", &["list"])),
        Sample::new("map-table", StrategyName::Map, "Which farm with at least 15 sheep was founded first?")
            .plan(json!({
                "columns": [
                    {"name": "farm", "kind": "name"}, {"name": "sheep", "kind": "number"},
                    {"name": "founded", "kind": "date"},
                ],
                "only_if": [{"column": "sheep", "is": ">=", "value": 15}],
                "combine": ["least"], "of": "founded", "limit": null,
            }))
            .with_inputs(),
    ]
}

/// One SELECT over the tables of the inputs.
fn queries() -> Vec<Sample> {
    vec![
        Sample::new("query", StrategyName::Query, "Which {{farm}} keeps the most sheep, and how many?")
            .plan(json!("SELECT farm, sheep FROM farms ORDER BY sheep DESC LIMIT 1"))
            .with_inputs(),
        Sample::new(
            "query-column",
            StrategyName::Query,
            "What is the total yield of all farms of Ada Brown?",
        )
        .plan(json!("SELECT SUM(wool_kg) FROM farms WHERE owner = 'Ada Brown'"))
        .with_inputs(),
    ]
}

fn inputs(strategy: StrategyName) -> Vec<Input> {
    if strategy == StrategyName::Follow {
        let input = |name: &str, text: &str| Input { name: name.to_owned(), text: text.to_owned() };
        return vec![
            input("note.txt", "Brunn is Ada Brown's farm now; before {{goal}}, Dan Ley had it.\n"),
            input("barns.csv", "keeper,barn\nDan Ley,B-11\nAda Brown,B-12\nTom Ripley,B-14\n"),
            input("keys.txt", "B-11: key 7\nB-12: key 9\nB-14: key 31\n"),
        ];
    }
    if strategy == StrategyName::Compare {
        let input = |name: &str, text: &str| Input { name: name.to_owned(), text: text.to_owned() };
        return vec![
            input("farm.md", "Brunn keeps 10 sheep: {{goal}}.\n"),
            input("letter.txt", "Last year 20 sheep went to Brunn.\n"),
        ];
    }
    let farm = |name: &str, sheep: u32| {
        let text = format!(
            "\n{name} lies by the river. It keeps {sheep} sheep. Its owner is Ada Brown.\n\nThe farm was founded on \
             1987-03-{sheep}. {name} grows barley: {{{{goal}}}}, {{name}} – \"so\".  \n"
        );
        Input { name: format!("farms/{name}.md"), text }
    };
    vec![farm("Aldersey", 10), farm("Brunn", 20)]
}

fn band(context_tokens: usize) -> BandInfo {
    let info = |worker: &str, model: &str, skills: &[Skill]| WorkerInfo {
        worker: worker.to_owned(),
        model: model.to_owned(),
        context_tokens,
        skills: skills.to_vec(),
    };
    BandInfo {
        planner: info(PLANNER, "large", &[]),
        workers: vec![
            info("small", "small", &[Skill::Find, Skill::Read, Skill::Write]),
            WorkerInfo { context_tokens: 0, ..info("calculator", RULE, &[Skill::Calculate]) },
        ],
    }
}

/// A reply that its check accepts.
fn reply(sample: &Sample, call: &Planned) -> String {
    let fields = call.call.schema.as_ref().map(|schema| &schema["properties"]);
    let asked = &call.call.messages.last().expect("a call has a message").content;
    if !call.call.options.is_empty() {
        let is = sample.name == "find" && asked.contains("\"Its owner is Ada Brown.\"");
        return json!(if is { [-0.1, -2.5] } else { [-5.0, -0.1] }).to_string();
    }
    match fields {
        Some(fields) if !fields["subject"].is_null() => {
            let kind = &fields["answer"]["anyOf"][0];
            let answer = match sample.plan["answer_is"].as_str() {
                Some("number") if !asked.contains("sheep. Its") => Value::Null,
                Some("number") => json!(if asked.contains("Aldersey") { 10 } else { 20 }),
                Some("date") => json!(if asked.contains("Aldersey") { "1987-03-10" } else { "1987-03-20" }),
                Some("name") => json!("Ada Brown"),
                Some("yes_no") => json!("yes"),
                Some("list") => json!(["sheep"]),
                _ => json!("It keeps sheep and grows barley."),
            };
            assert!(sample.plan["answer_is"] != "date" || kind["pattern"].is_string());
            json!({"subject": "", "answer": answer}).to_string()
        }
        Some(fields) if !fields["facts"].is_null() => {
            json!({"facts": [{"words": "10 sheep", "value": "10", "topic": "number of sheep"}]}).to_string()
        }
        Some(fields) if !fields["way"].is_null() => {
            let ada_is_first = asked.find("Ada Brown, barn") < asked.find("Dan Ley, barn");
            json!({"because": "now", "way": if ada_is_first { "A" } else { "B" }}).to_string()
        }
        Some(_) if sample.strategy == StrategyName::Follow => {
            json!({"answer": "Ada Brown's barn B-12 opens with key 9."}).to_string()
        }
        Some(fields) if !fields["label"].is_null() => json!({"label": "quiet"}).to_string(),
        Some(_) if asked.contains("with words of the sentence") => json!({"answer": "Ada Brown"}).to_string(),
        Some(_) if asked.starts_with("Parts of a longer text") => json!({"quote": null}).to_string(),
        Some(fields) if !fields["quote"].is_null() => {
            json!({"quote": "Our farm is Brunn", "answer": "Brunn"}).to_string()
        }
        Some(_) if asked.contains("fill in these fields") => {
            let (name, sheep) = if asked.contains("Aldersey") { ("Aldersey", 10) } else { ("Brunn", 20) };
            json!({"farm": name, "sheep": sheep, "founded": format!("1987-03-{sheep}")}).to_string()
        }
        Some(_) if call.task == "plan2" => sample.plan_again.to_string(),
        Some(_) => sample.plan.to_string(),
        None if sample.asks && call.task == "t1" && !asked.contains("The answer is:") => {
            "Could you please tell me the name of the farm?".to_owned()
        }
        None if call.task == "column" => "farms.wool_kg".to_owned(),
        None if call.task == "plan" => sample.plan.as_str().expect("a statement").to_owned(),
        None if asked.ends_with("in vain.") => String::new(),
        None if asked.contains("with one number and nothing else") => "10".to_owned(),
        None if call.task.starts_with("synthesis") => {
            let results = asked.split_once(":\n").or_else(|| asked.split_once('\n')).expect("results").1;
            results.split("\n\n").next().unwrap_or_default().to_owned()
        }
        None if sample.strategy == StrategyName::Vote => "It is 330 + 30.\nAnswer: 360".to_owned(),
        None => format!("The {} is {}.", call.task, "a quiet matter of sheep, wool and barley"),
    }
}

/// Every prompt of the run that works on a sample, in the order in which they are needed.
fn prompts(sample: &Sample) -> Vec<Planned> {
    let mut request = RunRequest::new(sample.goal);
    request.inputs = if sample.inputs { inputs(sample.strategy) } else { Vec::new() };
    if sample.strategy == StrategyName::Query {
        let text = "farm,owner,sheep,wool_kg\nAldersey,Ada Brown,10,31.5\nBrunn,Ben Oak,20,58\n\
                    Corrie,Ada Brown,15,40.5\n";
        request.inputs = vec![Input { name: "farms.csv".to_owned(), text: text.to_owned() }];
    }
    if sample.conversation {
        request.conversation = vec![
            Message::new(Role::System, "Be brief."),
            Message::new(Role::User, "What are {{farms}}?"),
            Message::new(Role::Assistant, "Places where sheep are kept."),
        ];
    }
    let goal = Arc::new(Goal::new(&request, sample.facts.clone(), band(sample.context_tokens)));
    let mut core = Core::new(goal, RunState::new("run", 0), None);
    let why = StrategyWhy { facts: sample.facts.clone(), ..StrategyWhy::default() };
    core.take(0, &EventKind::StrategyChosen { strategy: sample.strategy, why });
    let mut core = Core::new(core.goal, core.state, None);
    let mut prompts = Vec::new();
    loop {
        match core.advance(0).1 {
            Waits::Over => {
                let outcome = core.state.outcome.as_ref().expect("the run has ended");
                assert!(outcome.is_whole(), "{}: {outcome:#?}", sample.name);
                return prompts;
            }
            Waits::ForSplits(asked) => {
                let halves = |text: &str| {
                    let half = text.floor_char_boundary(text.len() / 2);
                    vec![0..half, half..text.len()]
                };
                let split = |asked: crate::strategy::SplitAsked| Split {
                    input: asked.input,
                    parts: halves(&core.goal.inputs[asked.input].text),
                    worker: asked.worker,
                    tokens_max: asked.tokens_max,
                };
                let splits = asked.into_iter().map(split).collect();
                core.take(0, &EventKind::InputsSplit { splits });
            }
            Waits::ForSearch(asked) => {
                let mut index = bandmaster_tools::retrieval::Index::open(None, None);
                let search = crate::search::found(&mut index, &core.goal.inputs, asked);
                core.take(0, &EventKind::InputsSearched { search });
            }
            Waits::ForCalls => {
                for planned in core.calls(&|_, _| false) {
                    let output = reply(sample, &planned);
                    core.take(0, &output_of(&planned, output));
                    prompts.push(planned);
                }
            }
        }
    }
}

fn output_of(planned: &Planned, output: String) -> EventKind {
    EventKind::TaskOutput {
        task: planned.task.clone(),
        attempt: planned.attempt,
        worker: planned.worker.clone(),
        model: String::new(),
        prompt: String::new(),
        prompt_template: planned.prompt_template.clone(),
        sampling: Value::Null,
        output,
        usage: TokenUsage::default(),
        end: CallEnd::Reply(Finish::Stop),
        steps: [0, 0],
    }
}

fn rendered(prompts: &[Planned]) -> String {
    let mut text = String::new();
    for planned in prompts {
        let _ = writeln!(text, "===== {} {}", planned.task, planned.attempt);
        for message in &planned.call.messages {
            let role = serde_json::to_value(message).expect("messages are data")["role"].clone();
            let _ = writeln!(text, "--- {}\n{}", role.as_str().unwrap_or_default(), message.content);
        }
    }
    text
}

/// Where the prompts of a sample are kept.
fn kept(sample: &Sample) -> String {
    format!("tests/data/prompts/{}.txt", sample.name)
}

const VERSIONS: &str = "tests/data/prompts/versions.txt";

/// A file of the repository; empty if it does not exist.
fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(file).unwrap_or_default()
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Each template's version in the list of [`VERSIONS`], and the hash of its text.
fn listed(name: &str) -> Option<(u32, u64)> {
    read(VERSIONS).lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (listed, version, hash) = (fields.next()?, fields.next()?, fields.next()?);
        (listed == name).then_some((version.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
    })
}

/// Ids of templates whose prompts are not what is kept, although their version is.
fn changed_without_a_version(template: &Template, samples: &[(Sample, Vec<Planned>)]) -> bool {
    let Some((version, of_text)) = listed(template.name()) else { return false };
    let made_here = |planned: &&Planned| planned.prompt_template.as_ref() == Some(&template.id());
    let prompts_changed = samples.iter().any(|(sample, prompts)| {
        let kept = read(&kept(sample));
        let changed = |planned: &Planned| !kept.contains(&rendered(std::slice::from_ref(planned)));
        !kept.is_empty() && prompts.iter().filter(made_here).any(changed)
    });
    version == template.version() && (prompts_changed || of_text != hash(template.text()))
}

#[test]
fn a_prompt_that_changes_gets_a_new_version() {
    let samples: Vec<(Sample, Vec<Planned>)> = samples()
        .into_iter()
        .chain(maps())
        .chain(queries())
        .chain(eaches())
        .chain(finds())
        .chain([followed()])
        .map(|sample| {
            let prompts = prompts(&sample);
            (sample, prompts)
        })
        .collect();
    for template in ALL {
        assert!(
            !changed_without_a_version(template, &samples),
            "the prompts of {} have changed: raise its version in src/orchestrator/prompts.rs, and then write the list of \
             versions with BANDMASTER_BLESS=1",
            template.name()
        );
        let made_here = |planned: &Planned| planned.prompt_template.as_ref() == Some(&template.id());
        let is_used = samples.iter().any(|(_, prompts)| prompts.iter().any(made_here));
        assert!(is_used, "no sample uses {}: add one that does", template.name());
    }
    for (sample, prompts) in &samples {
        assert!(prompts.iter().all(|planned| planned.prompt_template.is_some()), "{}", sample.name);
        check_made(&kept(sample), &rendered(prompts));
    }
    let line = |template: &Template| {
        format!("{} {} {:016x}\n", template.name(), template.version(), hash(template.text()))
    };
    check_made(VERSIONS, &ALL.iter().map(line).collect::<String>());
}

#[test]
fn every_file_of_a_template_is_one_of_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let files = std::fs::read_dir(folder).expect("the folder of prompts").flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".txt")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    let mut listed: Vec<&str> = ALL.iter().map(Template::name).collect();
    listed.sort_unstable();
    assert_eq!(names, listed);
}
