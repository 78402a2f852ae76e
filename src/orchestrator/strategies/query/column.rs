//! Asks the planner which column of numbers holds what the goal measures, if the goal's words fit no column's name.

use super::literals::column_named;
use crate::attached::{Attached, ColumnAt};
use crate::band::Reply;
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Prompt, Verdict};
use bandmaster_tools::tables::Kind;

const COLUMN_TOKENS_MAX: u32 = 40;
/// What the planner says if no column holds it.
const NONE: &str = "none";
/// Values that are shown of a column.
const EXAMPLES: usize = 3;

/// What came of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Column(ColumnAt),
    /// No column holds it.
    None,
    /// The planner gave no answer.
    Unanswered,
}

/// Columns that the planner may name.
pub(super) fn candidates(attached: &Attached) -> Vec<ColumnAt> {
    let all = attached
        .tables
        .iter()
        .enumerate()
        .flat_map(|(table, of)| (0..of.columns.len()).map(move |column| (table, column)));
    let is_key = |at: ColumnAt| attached.joins.iter().any(|pair| pair.contains(&at));
    all.filter(|at| matches!(attached.column(*at).kind, Kind::Integer | Kind::Decimal) && !is_key(*at))
        .collect()
}

pub(super) fn task() -> Task {
    Task {
        id: "column".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: "name the column that is measured".to_owned(),
        tokens_max: COLUMN_TOKENS_MAX,
        ..Task::default()
    }
}

pub(super) fn prompt(goal: &Goal, question: &str, phrase: &str) -> Prompt {
    let attached = goal.attached();
    let columns: Vec<ColumnAt> = candidates(attached);
    let line = |at: &ColumnAt| {
        let column = attached.column(*at);
        let unit = if column.unit.is_empty() { String::new() } else { format!(" in {}", column.unit) };
        let values = column.values.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
        format!("{}{unit}, such as {values}", attached.qualified(*at))
    };
    let lines: Vec<String> = columns.iter().map(line).collect();
    let names = columns.iter().map(|at| format!("{:?}", attached.qualified(*at)));
    let names: Vec<String> = names.chain([format!("{NONE:?}")]).collect();
    prompts::QUERY_COLUMN
        .prompt(&[("columns", &lines.join("\n")), ("goal", question), ("phrase", phrase)])
        .with_grammar(format!("start: {}\n", names.join(" | ")))
}

pub(super) fn check(goal: &Goal, reply: &Reply) -> Verdict {
    let name = reply.text.trim();
    match name == NONE || column_named(name, goal.attached()).is_some() {
        true => Verdict::Accept(name.to_owned()),
        false => Verdict::reject("it is none of the columns"),
    }
}

pub(super) fn named(goal: &Goal, state: &RunState) -> Named {
    match state.task("column").and_then(|task| task.accepted()) {
        Some(NONE) => Named::None,
        Some(name) => column_named(name, goal.attached()).map_or(Named::Unanswered, Named::Column),
        None => Named::Unanswered,
    }
}
