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
/// Characters of the first input the planner sees, to know what kind of text it is.
const SAMPLE_CHARS: usize = 240;

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
    /// What is to be found in each input, as a question about one.
    pub question: String,
    /// What kind of thing answers it.
    pub answer_is: AnswerIs,
    /// What is made of the answers; not empty.
    pub combine: Vec<Combine>,
}

impl Slots {
    /// What is done when the planner gives nothing usable: the goal itself is the question.
    fn fallback(goal: &str) -> Self {
        Self { question: goal.to_owned(), answer_is: AnswerIs::Text, combine: vec![Combine::List] }
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
            "question": {"type": "string", "minLength": 8, "maxLength": 240},
            "answer_is": {"enum": kinds},
            "combine": {"type": "array", "items": {"enum": combine}, "minItems": 1, "maxItems": 3},
        },
        "required": ["question", "answer_is", "combine"],
        "additionalProperties": false,
    })
}

fn prompt(request: &RunRequest) -> Vec<Message> {
    let sample: String = request
        .inputs
        .first()
        .map(|input| input.text.chars().take(SAMPLE_CHARS).collect())
        .unwrap_or_default();
    let count = request.inputs.len();
    vec![Message::new(
        Role::User,
        format!(
            "A goal is to be reached with several texts. A helper reads each text alone and answers one question about it; \
then the answers are combined. Fill in:\n\
question: what the helper must find in ONE text, as a complete question that keeps the goal's own words\n\
answer_is: number, date, name, yes_no, text or list (several short things in one text)\n\
combine: what the goal wants from the answers: list (tell every answer), total, most (the largest or latest), least \
(the smallest or earliest), average, count (how many), difference (largest minus smallest), summary\n\n\
Goal: Every file is about one ship. How many crew had each, and how many all together?\n\
{{\"question\": \"How many crew did the ship have?\", \"answer_is\": \"number\", \"combine\": [\"list\", \"total\"]}}\n\
Goal: Which of these orders was placed first?\n\
{{\"question\": \"On which date was the order placed?\", \"answer_is\": \"date\", \"combine\": [\"least\"]}}\n\
Goal: How many of the applicants speak French?\n\
{{\"question\": \"Does the applicant speak French?\", \"answer_is\": \"yes_no\", \"combine\": [\"count\"]}}\n\
Goal: Who wrote each of these letters?\n\
{{\"question\": \"Who wrote the letter?\", \"answer_is\": \"name\", \"combine\": [\"list\"]}}\n\n\
The first of {count} texts begins:\n{sample}\n\n\
Goal: {}",
            request.goal
        ),
    )]
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
        Ok(slots) if slots.question.trim().len() < 4 => Verdict::Reject("question is empty".to_owned()),
        Ok(_) => Verdict::Accept(reply.text.clone()),
        Err(e) => Verdict::Reject(format!("not the JSON that was asked for: {e}")),
    }
}

/// Makes the slots agree with themselves and with words of the goal that leave no doubt.
fn settle(mut slots: Slots, goal: &str) -> Slots {
    let goal = words(goal);
    let says = |any: &[&str]| goal.iter().any(|word| any.contains(&word.as_str()));
    let mut add = |wanted: bool, combine: Combine| {
        if wanted && !slots.combine.contains(&combine) {
            slots.combine.push(combine);
        }
    };
    let number = slots.answer_is == AnswerIs::Number;
    add(number && says(&["total", "sum", "altogether", "combined"]), Combine::Figure(Aggregate::Total));
    add(number && says(&["average", "mean"]), Combine::Figure(Aggregate::Average));
    let ordered = number || slots.answer_is == AnswerIs::Date;
    slots.combine.retain(|combine| match combine {
        Combine::Figure(Aggregate::Total | Aggregate::Average | Aggregate::Difference) => number,
        Combine::Figure(Aggregate::Most | Aggregate::Least) => ordered,
        _ => true,
    });
    let mut seen = Vec::new();
    slots.combine.retain(|combine| {
        !seen.contains(combine) && {
            seen.push(*combine);
            true
        }
    });
    if slots.combine.is_empty() {
        slots.combine.push(Combine::List);
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_read_what_their_schema_allows() {
        let allowed = schema()["properties"]["combine"]["items"]["enum"].clone();
        for name in allowed.as_array().unwrap() {
            let slots = json!({"question": "How many?", "answer_is": "number", "combine": [name]});
            let slots: Slots = serde_json::from_value(slots).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(serde_json::to_value(&slots).unwrap()["combine"][0], *name);
        }
    }

    #[test]
    fn slots_are_made_to_agree_with_themselves_and_the_goal() {
        let slots = |answer_is, combine: &[Combine]| Slots {
            question: "q".to_owned(),
            answer_is,
            combine: combine.to_vec(),
        };
        let total = Combine::Figure(Aggregate::Total);
        let settled =
            settle(slots(AnswerIs::Number, &[Combine::List, Combine::List]), "List them and give the total.");
        assert_eq!(settled.combine, [Combine::List, total]);
        // Names cannot be added up.
        assert_eq!(settle(slots(AnswerIs::Name, &[total]), "Who?").combine, [Combine::List]);
        let latest = [Combine::Figure(Aggregate::Most)];
        assert_eq!(settle(slots(AnswerIs::Date, &latest), "Which is latest?").combine, latest);
    }
}
