//! Judges answers by what the suite expects. The choice of strategy is judged too, but only if the orchestrator made
//! it: a strategy named by the user is not the orchestrator's fault.

use bandmaster_orchestrator::{Strategy, TaskReport};
use serde::Serialize;

use super::answer::{is_same_text, number_in_answer, python_code, python_module};
use super::sandbox::Sandbox;
use super::solve::{ItemOutcome, Method};
use super::suite::{CodeCheck, Expected, Item, StrategyChoice};

/// The faults of one item; without any it is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Faults of the answer.
    pub answer: Vec<String>,
    /// Faults in how the goal was worked on: the strategy, or the number of tasks.
    pub conduct: Vec<String>,
}

/// How well a strategy suits a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    Best,
    /// Not the best, but acceptable.
    Tolerated,
    Wrong,
}

impl Fit {
    #[must_use]
    pub fn of(choice: &StrategyChoice, strategy: Strategy) -> Self {
        match strategy {
            strategy if strategy == choice.best => Self::Best,
            strategy if choice.allows(strategy) => Self::Tolerated,
            _ => Self::Wrong,
        }
    }
}

pub(super) async fn judge(
    item: &Item,
    method: Method,
    outcome: &ItemOutcome,
    sandbox: Option<&Sandbox>,
) -> Faults {
    let mut answer: Vec<String> = outcome.error.clone().into_iter().collect();
    answer.extend(answer_faults(&item.expected, &outcome.answer, sandbox).await);
    Faults { answer, conduct: conduct_faults(item, method, outcome) }
}

async fn answer_faults(expected: &Expected, answer: &str, sandbox: Option<&Sandbox>) -> Vec<String> {
    let fault = |fault: String| vec![fault];
    match expected {
        Expected::Nothing => Vec::new(),
        Expected::Number(number) => match number_in_answer(answer) {
            Some(found) if found == *number => Vec::new(),
            Some(found) => fault(format!("says {found}, not {number}")),
            None => fault(format!("says no number, not {number}")),
        },
        Expected::Text(text) if is_same_text(text, answer) => Vec::new(),
        Expected::Text(text) => fault(format!("is not {text}")),
        Expected::Code(check) => passes(&program(check, answer), sandbox).await,
        Expected::Matches { patterns, python_check } => {
            let mut faults: Vec<String> =
                patterns.iter().filter_map(|pattern| pattern.fault(answer)).collect();
            if let Some(check) = python_check {
                faults.extend(passes(&format!("{}\n{check}", python_code(answer)), sandbox).await);
            }
            faults
        }
    }
}

/// The answer as a module, followed by the test.
fn program(check: &CodeCheck, answer: &str) -> String {
    let CodeCheck { prompt, test, entry_point } = check;
    format!("{}\n{test}\ncheck({entry_point})\n", python_module(prompt, entry_point, answer))
}

async fn passes(program: &str, sandbox: Option<&Sandbox>) -> Vec<String> {
    let Some(sandbox) = sandbox else { return vec!["its code was not run".to_owned()] };
    match sandbox.passes(program).await {
        Ok(true) => Vec::new(),
        Ok(false) => vec!["its code fails the check".to_owned()],
        Err(error) => vec![format!("its code could not be run: {error}")],
    }
}

fn conduct_faults(item: &Item, method: Method, outcome: &ItemOutcome) -> Vec<String> {
    let (Some(choice), Some(strategy)) = (&item.choice, outcome.strategy) else { return Vec::new() };
    let mut faults = Vec::new();
    let is_choice_only = matches!(item.expected, Expected::Nothing);
    if is_choice_only && strategy != choice.best || method == Method::Auto && !choice.allows(strategy) {
        faults.push(format!("chose {strategy}"));
    }
    // A strategy that the user named and that doesn't suit the goal has its own number of tasks.
    if is_choice_only || method != Method::Auto && !choice.allows(strategy) {
        return faults;
    }
    let count = outcome.tasks.len();
    if item.tasks_max.is_some_and(|most| count > most) {
        faults.push(format!("{count} tasks"));
    }
    let at_once = concurrent_tasks_max(&outcome.tasks);
    if item.parallel_min > 1 && strategy == choice.best && at_once < item.parallel_min {
        faults.push(format!("only {at_once} at once"));
    }
    faults
}

/// The largest number of model tasks that ran at the same moment. A task that ends when
/// another begins doesn't overlap it.
fn concurrent_tasks_max(tasks: &[TaskReport]) -> usize {
    let of_models = tasks.iter().filter(|task| !task.model.is_empty());
    let mut marks: Vec<(u64, i32)> =
        of_models.flat_map(|task| [(task.started_ms, 1), (task.finished_ms, -1)]).collect();
    marks.sort_unstable();
    let (mut most, mut now) = (0, 0);
    for (_, step) in marks {
        now += step;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

/// The strategy that three simple rules would choose without a model: map for many files, ask if the goal mentions an
/// attachment that is missing, direct otherwise.
#[must_use]
pub(super) fn strategy_by_rules(item: &Item) -> Strategy {
    let goal = item.goal.to_lowercase();
    let speaks = ["attach", "sent you", "enclosed"].iter().any(|word| goal.contains(word));
    match item.inputs.len() {
        3.. => Strategy::Map,
        0 if speaks => Strategy::Ask,
        _ => Strategy::Direct,
    }
}
