//! Asks the planner to fill in the slots of a map. The schema for that is built from what the calculator and the
//! readers can do.

use bandmaster_tools::calculator::Aggregate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::settle::{self, settle};
use super::slots::{Combine, Slots};
use super::table::{self, Table};
use crate::band::{Finish, Reply};
use crate::checks::words;
use crate::goal::{Goal, PLANNER};
use crate::outcome::Status;
use crate::partial::closed;
use crate::plan::{AnswerIs, Column, Job, Task};
use crate::state::TaskState;
use crate::strategy::Verdict;
use crate::topic::Foreign;

/// At this depth of the reply are the fields of the slots.
const FIELDS_DEPTH: u32 = 1;
const SLOTS_TOKENS_MAX: u32 = 400;
/// Most times the planner is asked for slots.
const DRAWS: usize = 4;
/// If `find` has more words, the planner did not stop in time.
const FIND_WORDS_MAX: usize = 40;

/// Words that are typical of the worked examples in the prompt. Slots of another goal that contain them were copied.
/// What any goal may ask for, such as an age or a height, is not listed.
const EXAMPLES_OWN: &[&str] = &[
    "sailors",
    "ship",
    "horse",
    "tower",
    "applicant",
    "180",
    "river",
    "freezes",
    "house",
    "lighthouse",
    "lund",
    "builder",
    "captain",
    "bells",
];

pub(super) fn schema() -> Value {
    json!({"anyOf": [table::plan_schema(), fact_schema()]})
}

/// Slots of a single fact, as a plan that waits for approval may have them.
fn fact_schema() -> Value {
    let kinds: Vec<&str> = AnswerIs::ALL.iter().map(|kind| kind.name()).collect();
    let mut combine = vec!["list", "summary"];
    combine.extend(Aggregate::ALL.iter().map(|aggregate| aggregate.name()));
    json!({
        "type": "object",
        "properties": {
            "find": {"type": "string", "minLength": 3},
            "answer_is": {"enum": kinds},
            "combine": {"type": "array", "items": {"enum": &combine}, "minItems": 1, "maxItems": combine.len()},
        },
        "required": ["find", "answer_is", "combine"],
        "additionalProperties": false,
    })
}

pub(super) fn task() -> Task {
    Task {
        id: "plan".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "fill the slots of a map".to_owned(),
        tokens_max: SLOTS_TOKENS_MAX,
        partial_depth: FIELDS_DEPTH,
        ..Task::default()
    }
}

/// What the fields of the slots mean, for a user who edits them.
pub(super) const FIELDS: &str = "find: the fact to look up in every single text
answer_is: number, date, name, yes_no, text or list
combine: one or more of list (tell every one), summary, most (largest or latest), least (smallest or earliest), total,
  average, difference (largest less smallest), count
or, for several facts, instead of find and answer_is:
columns: what to look up in every text, each with its name and its kind (number, date, name, yes_no or text)
only_if: what a text must meet, each a column, is (>=, <=, >, <, = or !=) and a value
of: the column for most, least, total, average, difference, ascending and descending
limit: how many are wanted";

/// The slots that the planner has filled in, or else ones that any goal allows. Those that the user has edited are taken
/// as they are. If the run was stopped while the planner wrote, what it had finished is used.
pub(super) fn slots(plan: &TaskState, goal: &Goal, edited: bool) -> Slots {
    let filled = plan.accepted().and_then(|json| serde_json::from_str::<Slots>(json).ok());
    let stopped = || {
        let attempt = plan.attempts.last().filter(|_| plan.status == Status::Cancelled)?;
        begun(goal, &attempt.partial)
    };
    match filled {
        Some(slots) if edited => slots,
        Some(slots) => settled(slots, &goal.text),
        None => stopped().unwrap_or_else(|| Slots::fallback(&goal.text)),
    }
}

/// The first fields of the slots, in the order in which they are written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Begun {
    Table { columns: Vec<Column> },
    Fact { find: String, answer_is: AnswerIs },
}

fn settled(slots: Slots, goal: &str) -> Slots {
    match slots.table {
        Some(table) => table::settle(table, goal),
        None => settle(slots, goal),
    }
}

/// Slots of which the planner has finished the first fields. How the findings are combined is left open.
pub(super) fn begun(goal: &Goal, partial: &str) -> Option<Slots> {
    let slots = match serde_json::from_str(&closed(partial)).ok()? {
        Begun::Table { columns } => Slots::of_table(Table::of(columns)),
        Begun::Fact { find, answer_is } => {
            Slots { find, answer_is, combine: vec![Combine::List], table: None }
        }
    };
    let json = serde_json::to_string(&slots).ok()?;
    let fits = match &slots.table {
        Some(table) => table::foreign(table, goal.topic(EXAMPLES_OWN)).is_none(),
        None => matches!(judge(&slots, goal, &json), Verdict::Accept(_)),
    };
    fits.then(|| settled(slots, &goal.text))
}

/// Why no figure can be calculated as the slots say; `None` if all can.
pub(super) fn misfit(slots: &Slots) -> Option<String> {
    let fits = |figure: &Aggregate| match figure {
        Aggregate::Count => !matches!(slots.answer_is, AnswerIs::Number | AnswerIs::Date),
        Aggregate::Most | Aggregate::Least => matches!(slots.answer_is, AnswerIs::Number | AnswerIs::Date),
        Aggregate::Total | Aggregate::Average | Aggregate::Difference => slots.answer_is == AnswerIs::Number,
    };
    let figure = slots.aggregates().find(|figure| !fits(figure))?;
    let is = slots.answer_is.name();
    Some(format!("combine: {} can't be calculated of answers of the kind {is}", figure.name()))
}

/// Accepts slots that can be carried out and are about the goal. If they are not about it, the planner is asked again
/// without an explanation: a planner that is shown its error repeats it.
pub(super) fn check(goal: &Goal, reply: &Reply) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    match serde_json::from_str::<Slots>(&reply.text) {
        Ok(slots) => judge(&slots, goal, &reply.text),
        Err(e) => Verdict::reject(format!("not the JSON that was asked for: {e}")),
    }
}

fn judge(slots: &Slots, goal: &Goal, json: &str) -> Verdict {
    let topic = goal.topic(EXAMPLES_OWN);
    if let Some(table) = &slots.table {
        return judge_table(table, goal, json);
    }
    let find = slots.find.trim();
    if slots.combine.is_empty() {
        return Verdict::reject("combine must name at least one");
    }
    if find.len() < 3 {
        return Verdict::reject("find is empty");
    }
    if words(find).len() > FIND_WORDS_MAX {
        return Verdict::reject(format!("find has more than {FIND_WORDS_MAX} words"));
    }
    let kept = || Some(json.to_owned());
    match topic.foreign(find) {
        Some(Foreign::Example) => {
            return Verdict::reject(format!("\"{find}\" comes from a worked example, not from the goal"));
        }
        Some(Foreign::Nobody) => {
            return Verdict::reject(format!("\"{find}\" has nothing to do with the goal"));
        }
        // It may be a translation. Then other attempts give the same, and this one is used.
        Some(Foreign::Unjudged) => {
            return Verdict::Reject { why: format!("\"{find}\" shares no word with the goal"), kept: kept() };
        }
        None => {}
    }
    match settle::misses(slots, &goal.text) {
        Some(other) => {
            Verdict::Reject { why: format!("the goal asks for {other}, not \"{find}\""), kept: kept() }
        }
        None => match table::unused(&goal.text, goal.inputs.len(), find) {
            Some(number) => {
                Verdict::Reject { why: format!("the plan does without the number {number}"), kept: kept() }
            }
            None => Verdict::Accept(json.to_owned()),
        },
    }
}

fn judge_table(table: &Table, goal: &Goal, json: &str) -> Verdict {
    if table.columns.is_empty() || table.columns.len() > table::COLUMNS_MAX {
        return Verdict::reject(format!("columns must name 1 to {}", table::COLUMNS_MAX));
    }
    if let Some(why) = table::foreign(table, goal.topic(EXAMPLES_OWN)) {
        return Verdict::reject(why);
    }
    let table = match table::settle(table.clone(), &goal.text).table {
        Some(table) => table,
        // What is left is a single fact, whose words were checked above.
        None => return Verdict::Accept(json.to_owned()),
    };
    match table::misses(&table, &goal.text, goal.inputs.len()) {
        Some(other) => {
            Verdict::Reject { why: format!("the plan does without {other}"), kept: Some(json.to_owned()) }
        }
        None => Verdict::Accept(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_read_what_their_schema_allows() {
        let fields = &schema()["anyOf"][0]["properties"];
        let names = |list: &Value| list["enum"].as_array().unwrap().clone();
        let condition = &fields["only_if"]["items"]["properties"];
        for combine in names(&fields["combine"]["items"]) {
            for kind in names(&fields["columns"]["items"]["properties"]["kind"]) {
                for is in names(&condition["is"]) {
                    let slots = json!({
                        "columns": [{"name": "price", "kind": kind}],
                        "only_if": [{"column": "price", "is": is, "value": 3}],
                        "combine": [combine], "of": "price", "limit": null,
                    });
                    let read: Slots =
                        serde_json::from_value(slots).unwrap_or_else(|e| panic!("{combine}: {e}"));
                    assert_eq!(serde_json::to_value(&read).unwrap()["combine"][0], combine);
                }
            }
        }
    }

    #[test]
    fn slots_of_a_single_fact_are_read_as_earlier_versions_wrote_them() {
        let slots =
            json!({"find": "price of the offer", "answer_is": "number", "combine": ["list", "total"]});
        let read: Slots = serde_json::from_value(slots.clone()).unwrap();
        assert_eq!((read.table.is_none(), serde_json::to_value(&read).unwrap()), (true, slots));
    }
}
