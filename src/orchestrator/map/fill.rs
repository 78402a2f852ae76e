//! Asks the planner to fill in the slots of a map. The schema for that is built from what the calculator and the
//! readers can do.

use std::sync::Arc;

use bandmaster_tools::calculator::Aggregate;
use serde_json::{Value, json};

use super::super::aside::topic;
use super::super::attempt::Context;
use super::super::band::{Finish, Message, Reply, Role};
use super::super::checks::words;
use super::super::dispatch::{Check, Verdict};
use super::super::event::EventKind;
use super::super::outcome::TaskReport;
use super::super::own_words::{Foreign, Topic};
use super::super::plan::AnswerIs;
use super::super::planner::{Question, ask};
use super::super::registry::Registry;
use super::super::request::RunRequest;
use super::settle::{self, settle};
use super::slots::Slots;

const SLOTS_TOKENS_MAX: u32 = 240;
/// Most times the planner is asked for slots.
const DRAWS: usize = 4;
/// If `find` has more words, the planner did not stop in time.
const FIND_WORDS_MAX: usize = 40;

/// Words that are typical of the worked examples in the prompt. Slots of another goal that contain them were copied.
/// What any goal may ask for, such as an age or a height, is not listed.
const EXAMPLES_OWN: &[&str] =
    &["sailors", "ship", "horse", "tower", "applicant", "180", "river", "builder", "house"];

fn schema() -> Value {
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

/// Asks the planner. Always returns slots that can be carried out, and the report of the call.
pub async fn ask_planner(
    context: &Context,
    registry: &Registry,
    request: &Arc<RunRequest>,
) -> (Slots, TaskReport) {
    let question = Question {
        id: "plan",
        purpose: "fill the slots of a map",
        messages: prompt(request),
        schema: Some(schema()),
        tokens_max: SLOTS_TOKENS_MAX,
        critical_path_tokens: 2 * SLOTS_TOKENS_MAX,
        check: checked(request.goal.clone(), topic(request, EXAMPLES_OWN).await),
        tries: DRAWS,
    };
    let done = ask(context, registry, question).await;
    let filled = done.accepted.as_deref().and_then(|json| serde_json::from_str::<Slots>(json).ok());
    let goal = &request.goal;
    let slots = filled.map_or_else(|| Slots::fallback(goal), |slots| settle(slots, goal));
    context.send(EventKind::PlanProposed { slots: serde_json::to_value(&slots).unwrap_or_default() });
    (slots, done.report)
}

/// Accepts slots that can be carried out and are about the goal. If they are not about it, the planner is asked again
/// without an explanation: a planner that is shown its error repeats it.
fn checked(goal: String, topic: Topic) -> Check {
    Arc::new(move |reply: &Reply| {
        if reply.finish == Finish::Length {
            return Verdict::Redraw { why: "it was cut off at its limit".to_owned(), kept: None };
        }
        match serde_json::from_str::<Slots>(&reply.text) {
            Ok(slots) => judge(&slots, &topic, &goal, &reply.text),
            Err(e) => Verdict::Reject(format!("not the JSON that was asked for: {e}")),
        }
    })
}

fn judge(slots: &Slots, topic: &Topic, goal: &str, json: &str) -> Verdict {
    let find = slots.find.trim();
    if slots.combine.is_empty() {
        return Verdict::Reject("combine must name at least one".to_owned());
    }
    if find.len() < 3 {
        return Verdict::Reject("find is empty".to_owned());
    }
    if words(find).len() > FIND_WORDS_MAX {
        return Verdict::Redraw { why: format!("find has more than {FIND_WORDS_MAX} words"), kept: None };
    }
    let kept = || Some(json.to_owned());
    match topic.foreign(find) {
        Some(Foreign::Example) => {
            let why = format!("\"{find}\" comes from a worked example, not from the goal");
            return Verdict::Redraw { why, kept: None };
        }
        Some(Foreign::Nobody) => {
            return Verdict::Redraw {
                why: format!("\"{find}\" has nothing to do with the goal"),
                kept: None,
            };
        }
        // It may be a translation. Then other attempts give the same, and this one is used.
        Some(Foreign::Unjudged) => {
            return Verdict::Redraw { why: format!("\"{find}\" shares no word with the goal"), kept: kept() };
        }
        None => {}
    }
    match settle::misses(slots, goal) {
        Some(other) => {
            Verdict::Redraw { why: format!("the goal asks for {other}, not \"{find}\""), kept: kept() }
        }
        None => Verdict::Accept(json.to_owned()),
    }
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
}
