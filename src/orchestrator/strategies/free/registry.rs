//! The JSON schema of a plan, built from what the run has: the workers and what they are good for, the names of the
//! inputs, the jobs, and the tasks that are finished. Any JSON that follows it is a graph that can be carried out.

use bandmaster_tools::calculator::Aggregate;
use serde_json::{Map, Value, json};

use crate::band::Skill;
use crate::goal::{Goal, PLANNER, WorkerInfo};

/// Most tasks of one plan. Twelve take about 1,000 tokens, a quarter of the smallest context of a planner, and a small
/// planner that writes more repeats itself.
pub(super) const TASKS_MAX: usize = 12;
/// Most characters of an instruction, so that no plan is longer than [`TASKS_MAX`] allows for.
const INSTRUCTION_CHARS_MAX: usize = 160;
const TITLE_CHARS_MAX: usize = 60;

/// What can be calculated from the numbers that tasks found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Aggregate(Aggregate),
    Product,
}

impl Figure {
    pub(super) const ALL: [Self; 6] = [
        Self::Aggregate(Aggregate::Total),
        Self::Aggregate(Aggregate::Average),
        Self::Aggregate(Aggregate::Difference),
        Self::Aggregate(Aggregate::Most),
        Self::Aggregate(Aggregate::Least),
        Self::Product,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aggregate(aggregate) => aggregate.name(),
            Self::Product => "product",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }
}

/// The skill that a job wants of a model. A number can be checked against the text that it was read from.
pub(super) fn skill(job: &str, is_number: bool) -> Skill {
    match (job, is_number) {
        ("read", true) => Skill::Find,
        ("write", _) => Skill::Write,
        _ => Skill::Read,
    }
}

/// The models that may get a task of this skill, with the planner at the end.
pub(super) fn suited(goal: &Goal, skill: Skill) -> Vec<&str> {
    let has_it = |worker: &&WorkerInfo| !worker.is_calculator() && worker.skills.contains(&skill);
    let workers = goal.band.workers.iter().filter(has_it).map(|worker| worker.worker.as_str());
    workers.chain([PLANNER]).collect()
}

/// One name for each input. Inputs that have the same name get a number.
pub(super) fn input_names(goal: &Goal) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for input in &goal.inputs {
        let again = (2..).map(|number| format!("{} ({number})", input.name));
        let mut tried = std::iter::once(input.name.clone()).chain(again);
        names.extend(tried.find(|name| !names.contains(name)));
    }
    names
}

/// The workers for the planner's prompt, one line each.
pub(super) fn workers_told(goal: &Goal) -> String {
    let models = goal.band.workers.iter().filter(|worker| !worker.is_calculator());
    let told = models.map(|worker| {
        let skills = worker.skills.iter().filter_map(|skill| match skill {
            Skill::Find => Some("finds numbers in texts"),
            Skill::Read => Some("reads texts and does steps"),
            Skill::Write => Some("writes"),
            Skill::Calculate => None,
        });
        format!("- {}: {}\n", worker.worker, skills.collect::<Vec<_>>().join(", "))
    });
    told.chain([format!("- {PLANNER}: everything, but slowly\n")]).collect()
}

/// The schema of a plan. `before` is the number of tasks planned in earlier rounds, and `kept` has those of them whose
/// results may be used.
pub(super) fn schema(goal: &Goal, before: usize, kept: &[String]) -> Value {
    let items: Vec<Value> = (0..TASKS_MAX).map(|at| item(before, at, kept)).collect();
    json!({
        "type": "object",
        "properties": {
            "tasks": {
                "type": "array", "prefixItems": items, "items": false, "minItems": 1, "maxItems": TASKS_MAX,
            },
        },
        "required": ["tasks"],
        "additionalProperties": false,
        "$defs": {"task": task_of_a_model(goal), "figure": figure()},
    })
}

/// The item at a place: it may need what is kept and the items before it.
fn item(before: usize, at: usize, kept: &[String]) -> Value {
    let earlier = (before + 1..=before + at).map(|number| format!("t{number}"));
    let earlier: Vec<String> = kept.iter().cloned().chain(earlier).collect();
    let id = format!("t{}", before + at + 1);
    let of = |task: &str, least: usize| {
        let needs = match earlier.len() {
            0 => json!({"type": "array", "maxItems": 0}),
            most => json!({
                "type": "array", "items": {"enum": earlier}, "minItems": least, "maxItems": most,
            }),
        };
        object(&[("id", json!({"const": id})), ("task", json!({"$ref": task})), ("needs", needs)])
    };
    if earlier.is_empty() {
        // There is nothing yet to calculate from.
        return of("#/$defs/task", 0);
    }
    json!({"anyOf": [of("#/$defs/task", 0), of("#/$defs/figure", 1)]})
}

fn task_of_a_model(goal: &Goal) -> Value {
    let text = |chars: usize| json!({"type": "string", "minLength": 4, "maxLength": chars});
    let instruction = || ("do", text(INSTRUCTION_CHARS_MAX));
    let names = input_names(goal);
    let mut jobs = Vec::new();
    for result in ["text", "number"] {
        let worker = |job: &str| ("worker", json!({"enum": suited(goal, skill(job, result == "number"))}));
        let result = ("result", json!({"const": result}));
        if !names.is_empty() {
            let (job, input) = (("job", json!({"const": "read"})), ("input", json!({"enum": names})));
            jobs.push(object(&[job, input, instruction(), result.clone(), worker("read")]));
        }
        let job = ("job", json!({"const": "step"}));
        jobs.push(object(&[job, instruction(), result, worker("step")]));
    }
    let (job, title) = (("job", json!({"const": "write"})), ("title", text(TITLE_CHARS_MAX)));
    let worker = ("worker", json!({"enum": suited(goal, Skill::Write)}));
    jobs.push(object(&[job, title, instruction(), worker]));
    json!({"anyOf": jobs})
}

fn figure() -> Value {
    let figures = Figure::ALL.map(Figure::name);
    object(&[("job", json!({"const": "calculate"})), ("figure", json!({"enum": figures}))])
}

/// An object with exactly these fields, in this order.
fn object(fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}
