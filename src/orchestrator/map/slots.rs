//! What the planner fills in for a map: the question to each input, what kind of thing answers it, and what is made of
//! the answers. The schema that holds it to that is made from what the calculator and the readers can do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::attempt::Context;
use super::super::band::{Message, Reply, Role};
use super::super::checks::words;
use super::super::dispatch::Verdict;
use super::super::event::EventKind;
use super::super::outcome::TaskReport;
use super::super::plan::AnswerIs;
use super::super::planner::{Question, ask};
use super::super::registry::Registry;
use super::super::request::RunRequest;
use crate::tools::calculator::Aggregate;

/// Tokens the planner may take to fill the slots.
const SLOTS_TOKENS_MAX: u32 = 160;

/// What is made of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each one is told.
    List,
    /// They are told together in a few sentences.
    Summary,
    /// A figure by rule.
    #[serde(untagged)]
    Figure(Aggregate),
}

/// The planner's part of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// What is to be found in each input, as a noun: "number of sailors on the ship". A small planner asked for a whole
    /// question asks for the largest of all ships, which a reader of one text cannot know.
    pub find: String,
    /// What kind of thing answers it.
    pub answer_is: AnswerIs,
    /// What is made of the answers; not empty.
    pub combine: Vec<Combine>,
}

impl Slots {
    /// What is done when the planner gives nothing usable: the goal itself is the question.
    fn fallback(goal: &str) -> Self {
        Self { find: format!("answer to: {goal}"), answer_is: AnswerIs::Text, combine: vec![Combine::List] }
    }

    /// Whether an answer may be longer than a fact.
    #[must_use]
    pub fn is_long(&self) -> bool {
        matches!(self.answer_is, AnswerIs::Text | AnswerIs::List)
    }

    /// The figures that are asked for.
    pub fn aggregates(&self) -> impl Iterator<Item = Aggregate> + '_ {
        self.combine.iter().filter_map(|combine| match combine {
            Combine::Figure(aggregate) => Some(*aggregate),
            _ => None,
        })
    }

    /// Their names.
    #[must_use]
    pub fn aggregates_named(&self) -> Vec<&'static str> {
        self.aggregates().map(Aggregate::name).collect()
    }

    /// Whether the calculator has anything to do.
    #[must_use]
    pub fn wants_figures(&self) -> bool {
        self.aggregates().next().is_some()
    }

    /// Whether every answer is to be told.
    #[must_use]
    pub fn wants_list(&self) -> bool {
        self.combine.contains(&Combine::List)
    }
}

/// The schema of the slots.
fn schema() -> Value {
    let kinds: Vec<&str> = AnswerIs::ALL.iter().map(|kind| kind.name()).collect();
    let mut combine = vec!["list", "summary"];
    combine.extend(Aggregate::ALL.iter().map(|aggregate| aggregate.name()));
    json!({
        "type": "object",
        "properties": {
            "find": {"type": "string", "minLength": 3, "maxLength": 120},
            "answer_is": {"enum": kinds},
            "combine": {"type": "array", "items": {"enum": combine}, "minItems": 1, "maxItems": 3},
        },
        "required": ["find", "answer_is", "combine"],
        "additionalProperties": false,
    })
}

fn prompt(request: &RunRequest) -> Vec<Message> {
    let prompt = format!(
        "A goal needs one fact from each of several texts. Say in JSON which fact, and what is to be done with all of them.\n\
find: the fact to look up in every single text, in the goal's own words\n\
answer_is: number, date, name, yes_no, text or list\n\
combine: list (tell every one), most (largest or latest), least (smallest or earliest), total, average, count (how many \
say yes), difference (largest less smallest), summary\n\n\
Goal: How many sailors had each of these ships, and how many all together?\n\
{{\"find\": \"number of sailors on the ship\", \"answer_is\": \"number\", \"combine\": [\"list\", \"total\"]}}\n\
Goal: Which of the horses is the oldest, and how old?\n\
{{\"find\": \"age of the horse\", \"answer_is\": \"number\", \"combine\": [\"most\"]}}\n\
Goal: What is the average height of the towers?\n\
{{\"find\": \"height of the tower\", \"answer_is\": \"number\", \"combine\": [\"average\"]}}\n\
Goal: How many of the applicants are taller than 180 cm?\n\
{{\"find\": \"whether the applicant is taller than 180 cm\", \"answer_is\": \"yes_no\", \"combine\": [\"count\"]}}\n\
Goal: On which day was the river lowest?\n\
{{\"find\": \"height of the river\", \"answer_is\": \"number\", \"combine\": [\"least\"]}}\n\
Goal: Who built the houses?\n\
{{\"find\": \"builder of the house\", \"answer_is\": \"name\", \"combine\": [\"list\"]}}\n\
Goal: {}",
        request.goal
    );
    vec![Message::new(Role::User, prompt)]
}

/// Asks the planner; always gives slots that can be carried out, and the report of the call.
pub async fn ask_planner(
    context: &Context,
    registry: &Registry,
    request: &RunRequest,
) -> (Slots, TaskReport) {
    let question = Question {
        id: "plan",
        purpose: "fill the slots of a map",
        messages: prompt(request),
        schema: Some(schema()),
        tokens_max: SLOTS_TOKENS_MAX,
        critical_path_tokens: 2 * SLOTS_TOKENS_MAX,
        check: Arc::new(check),
    };
    let done = ask(context, registry, question).await;
    let filled = done.accepted.as_deref().and_then(|json| serde_json::from_str::<Slots>(json).ok());
    let slots = settle(filled.unwrap_or_else(|| Slots::fallback(&request.goal)), &request.goal);
    context.send(EventKind::PlanProposed { slots: serde_json::to_value(&slots).unwrap_or_default() });
    (slots, done.report)
}

fn check(reply: &Reply) -> Verdict {
    match serde_json::from_str::<Slots>(&reply.text) {
        Ok(slots) if slots.combine.is_empty() => Verdict::Reject("combine must name at least one".to_owned()),
        Ok(slots) if slots.find.trim().len() < 3 => Verdict::Reject("find is empty".to_owned()),
        Ok(_) => Verdict::Accept(reply.text.clone()),
        Err(e) => Verdict::Reject(format!("not the JSON that was asked for: {e}")),
    }
}

/// Words of a goal that leave no doubt about a figure.
const CUES: [(Aggregate, &[&str]); 5] = [
    (
        Aggregate::Total,
        &["total", "totals", "sum", "altogether", "together", "combined", "overall", "add", "all"],
    ),
    (Aggregate::Average, &["average", "mean"]),
    (Aggregate::Difference, &["difference", "exceed", "exceeds", "gap", "range", "spread", "differ", "much"]),
    (
        Aggregate::Most,
        &[
            "most", "highest", "largest", "biggest", "greatest", "maximum", "longest", "heaviest", "latest",
            "hottest",
        ],
    ),
    (
        Aggregate::Least,
        &[
            "least", "fewest", "lowest", "smallest", "minimum", "shortest", "cheapest", "lightest",
            "earliest", "coldest",
        ],
    ),
];

/// Makes the slots agree with themselves and with the words of the goal. A small planner adds figures nobody asked for,
/// so a total, an average or a difference needs a word of the goal; and it forgets some, so a superlative is one.
fn settle(mut slots: Slots, goal: &str) -> Slots {
    slots.find = about_one(&slots.find);
    let goal = words(goal);
    let number = slots.answer_is == AnswerIs::Number;
    let ordered = number || slots.answer_is == AnswerIs::Date;
    for (aggregate, cues) in CUES {
        let said = goal.iter().any(|word| cues.contains(&word.as_str()));
        let figure = Combine::Figure(aggregate);
        let superlative = matches!(aggregate, Aggregate::Most | Aggregate::Least);
        // "All" and "much" allow a figure but do not ask for one.
        let asked = goal.iter().any(|word| cues.contains(&word.as_str()) && word != "all" && word != "much");
        let possible = if superlative { ordered } else { number };
        if !possible || (!said && !superlative) {
            slots.combine.retain(|combine| *combine != figure);
        } else if asked && aggregate != Aggregate::Difference && !slots.combine.contains(&figure) {
            slots.combine.push(figure);
        }
    }
    // Counting numbers or dates would count the inputs.
    slots.combine.retain(|combine| *combine != Combine::Figure(Aggregate::Count) || !ordered);
    let mut seen = Vec::new();
    slots.combine.retain(|combine| {
        let first = !seen.contains(combine);
        seen.push(*combine);
        first
    });
    if slots.combine.is_empty() {
        slots.combine.push(Combine::List);
    }
    slots
}

/// "people in each museum" is "people in the museum" to who reads about one.
fn about_one(find: &str) -> String {
    let words: Vec<&str> = find.split_whitespace().collect();
    let one = words.iter().map(|word| if matches!(*word, "each" | "every") { "the" } else { word });
    one.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_read_what_their_schema_allows() {
        let allowed = schema()["properties"]["combine"]["items"]["enum"].clone();
        for name in allowed.as_array().unwrap() {
            let slots = json!({"find": "number", "answer_is": "number", "combine": [name]});
            let slots: Slots = serde_json::from_value(slots).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(serde_json::to_value(&slots).unwrap()["combine"][0], *name);
        }
    }

    #[test]
    fn slots_are_made_to_agree_with_themselves_and_the_goal() {
        let slots = |answer_is, combine: &[Combine]| Slots {
            find: "age of each horse".to_owned(),
            answer_is,
            combine: combine.to_vec(),
        };
        let total = Combine::Figure(Aggregate::Total);
        let settled =
            settle(slots(AnswerIs::Number, &[Combine::List, Combine::List]), "List them and give the total.");
        assert_eq!(
            (settled.find.as_str(), &settled.combine[..]),
            ("age of the horse", &[Combine::List, total][..])
        );
        // A figure nobody asked for, and one the planner forgot.
        let settled = settle(slots(AnswerIs::Number, &[total]), "Which museum employs the most people?");
        assert_eq!(settled.combine, [Combine::Figure(Aggregate::Most)]);
        let count = Combine::Figure(Aggregate::Count);
        assert_eq!(settle(slots(AnswerIs::YesNo, &[count]), "How many are late?").combine, [count]);
        assert_eq!(
            settle(slots(AnswerIs::Number, &[count]), "How many are over forty?").combine,
            [Combine::List]
        );
        // Names cannot be added up.
        assert_eq!(settle(slots(AnswerIs::Name, &[total]), "Who?").combine, [Combine::List]);
        let latest = [Combine::Figure(Aggregate::Most)];
        assert_eq!(settle(slots(AnswerIs::Date, &latest), "Which is latest?").combine, latest);
    }
}
