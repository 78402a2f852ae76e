//! Questions of workers. The planner answers one if the goal, an input or the conversation does: it has to quote the
//! words that say it, and rules check that they stand there. What it can't answer, the user is asked.

use serde::Deserialize;
use serde_json::{Value, json};

use super::band::{Finish, Message, Reply};
use super::checks::{mostly_in, numbers_in, stands_in, words};
use super::goal::{Goal, PLANNER};
use super::parked::Question;
use super::plan::{Job, Task};
use super::prompts::QUESTION_ANSWER;
use super::state::TaskState;
use super::strategy::{Prompt, Verdict};
use super::topic::{content_words, is_same_word, share_a_word};

/// Most questions of one task.
const QUESTIONS_MAX: usize = 2;
const ANSWER_TOKENS_MAX: u32 = 200;

/// What the planner replies. Both are empty if it found nothing.
#[derive(Deserialize)]
struct Found {
    quote: String,
    answer: String,
}

/// Why a task may not ask a question; `None` if it may.
#[must_use]
pub(crate) fn refusal(task: &TaskState, question: &str) -> Option<String> {
    let asked_before = task.questions.iter().any(|before| words(&before.question) == words(question));
    if question.trim().is_empty() {
        Some("its question is empty".to_owned())
    } else if asked_before {
        Some(format!("it asks again what was answered: {question}"))
    } else if task.questions.len() >= QUESTIONS_MAX {
        Some(format!("it asks more than {QUESTIONS_MAX} questions: {question}"))
    } else {
        None
    }
}

/// Id of the planner's call that looks for the answer to the last question of a task. No two questions share one.
#[must_use]
pub(crate) fn id(task: &TaskState) -> String {
    format!("{}.question{}", task.id, task.questions_withdrawn + task.questions.len())
}

/// The planner's call that looks for the answer to an open question.
#[must_use]
pub(crate) fn task(of: &TaskState, question: &Question) -> Task {
    Task {
        id: id(of),
        job: Job::Clarify { task: of.id.clone(), question: question.question.clone() },
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned()],
        instruction: format!("answer the question of {}: {}", of.id, question.question),
        tokens_max: ANSWER_TOKENS_MAX,
        ..Task::default()
    }
}

#[must_use]
pub(crate) fn prompt(goal: &Goal, question: &str) -> Prompt {
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object",
        "properties": {"quote": text, "answer": text},
        "required": ["quote", "answer"],
        "additionalProperties": false,
    });
    let inputs = goal.inputs_under("Text");
    let values = [("inputs", inputs.as_str()), ("goal", &goal.text), ("question", question)];
    QUESTION_ANSWER.prompt(&values).after(&goal.conversation).with_schema(schema)
}

/// Accepts a reply in any case. Its result is the answer as a JSON string, or `null` if the reply has none that what it
/// quotes supports.
#[must_use]
pub(crate) fn check(goal: &Goal, question: &str, reply: &Reply) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    match serde_json::from_str::<Found>(&reply.text) {
        Ok(found) if is_grounded(goal, question, &found) => {
            Verdict::Accept(Value::from(found.answer.trim()).to_string())
        }
        Ok(_) => Verdict::Accept(Value::Null.to_string()),
        Err(error) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
    }
}

/// The answer in an accepted result, if there is one.
#[must_use]
pub(crate) fn answer(result: &str) -> Option<String> {
    serde_json::from_str::<Option<String>>(result).ok().flatten()
}

/// Whether the quote stands in a text and is about the question, and the answer is in the quote and says more than the
/// question does.
fn is_grounded(goal: &Goal, question: &str, found: &Found) -> bool {
    let texts = goal.inputs.iter().map(|input| &input.text);
    let said = goal.conversation.iter().map(|message| &message.content);
    let is_quoted = texts.chain(said).chain([&goal.text]).any(|text| stands_in(text, &found.quote));
    let (asked, answered) = (content_words(question), content_words(&found.answer));
    is_quoted
        && share_a_word(&asked, &content_words(&found.quote))
        && mostly_in(&found.quote, &found.answer)
        && numbers_in(&found.answer).is_subset(&numbers_in(&found.quote))
        && answered.iter().any(|word| !asked.iter().any(|other| is_same_word(word, other)))
}

/// Adds a task's questions and their answers to its prompt.
pub(crate) fn add_answers(messages: &mut [Message], questions: &[Question]) {
    let Some(last) = messages.last_mut() else { return };
    for Question { question, answer, .. } in questions {
        if let Some(answer) = answer {
            last.content.push_str(&format!("\n\nYou asked: {question}\nThe answer is: {answer}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::band::CallUsage;
    use super::super::event::EventKind;
    use super::super::goal::{BandInfo, plain_goal};
    use super::super::request::Input;
    use super::super::state::RunState;
    use super::*;

    fn found(goal: &Goal, question: &str, quote: &str, answer: &str) -> Option<String> {
        let text = json!({"quote": quote, "answer": answer}).to_string();
        let reply = Reply { text, finish: Finish::Stop, usage: CallUsage::default() };
        match check(goal, question, &reply) {
            Verdict::Accept(result) => super::answer(&result),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_stands_in_the_goal_or_a_text_is_an_answer() {
        let mut goal = plain_goal("Order the chairs for the hall in green.");
        let text = "The hall seats 240 guests. Its owner is Ada Brown.".to_owned();
        goal.inputs.push(Input { name: "hall.md".to_owned(), text });
        for (question, quote, answer, expected) in [
            ("In which colour are the chairs?", "the chairs for the hall in green", "green", true),
            ("How many guests does the hall seat?", "The hall seats 240 guests", "240", true),
            ("Who is the owner?", "its owner is ada brown", "Ada Brown", true),
            // Words that stand nowhere, a number that does not stand in the quote, and words about something else.
            ("Who is the owner?", "The owner is Carl Smith", "Carl Smith", false),
            ("How many guests does the hall seat?", "The hall seats 240 guests", "250 guests", false),
            ("What is the budget?", "The hall seats 240 guests", "240", false),
            // The question comes back as its answer.
            ("Which hall?", "the chairs for the hall", "the hall", false),
            ("Who is the owner?", "", "", false),
        ] {
            let given = found(&goal, question, quote, answer);
            assert_eq!(given.as_deref(), expected.then_some(answer), "{question} {answer}");
        }
    }

    #[test]
    fn a_question_after_one_that_was_withdrawn_has_another_name() {
        let of = |id: &str, needs: &[&str]| Task {
            id: id.to_owned(),
            job: Job::Step,
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            ..Task::default()
        };
        let task = || "t2".to_owned();
        let asks = |attempt: u32| {
            let (worker, model, rung) = ("w".to_owned(), "m".to_owned(), 0);
            let question = format!("Which of {attempt}?");
            [
                EventKind::TaskStarted { task: task(), attempt, worker, model, rung },
                EventKind::TaskAsked { task: task(), attempt, question },
            ]
        };
        let forked = EventKind::RunForked {
            run: "r2".to_owned(),
            from: "r".to_owned(),
            at: 3,
            set: [("output.t1".to_owned(), "another result".to_owned())].into(),
            band: BandInfo::default(),
        };
        let mut state = RunState::new("r", 0);
        let mut ids = Vec::new();
        let mut take = |events: Vec<EventKind>| {
            events.iter().for_each(|event| state.apply(state.last_seq + 1, 0, event));
            ids.push(id(state.task("t2").expect("it was added")));
        };
        take(
            [vec![EventKind::TasksAdded { tasks: vec![of("t1", &[]), of("t2", &["t1"])] }], asks(1).to_vec()]
                .concat(),
        );
        take([vec![forked], asks(2).to_vec()].concat());
        assert_eq!(ids, ["t2.question1", "t2.question2"]);
    }

    #[test]
    fn a_task_asks_two_different_questions_at_most() {
        let mut task = TaskState::new(Task { id: "t1".to_owned(), ..Task::default() });
        let answered = |question: &str| Question {
            attempt: 1,
            question: question.to_owned(),
            answer: Some("blue".to_owned()),
        };
        assert_eq!(refusal(&task, "Which colour?"), None);
        task.questions.push(answered("Which colour?"));
        assert!(refusal(&task, "which colour").is_some_and(|why| why.contains("again")));
        assert_eq!(refusal(&task, "Which size?"), None);
        task.questions.push(answered("Which size?"));
        assert!(refusal(&task, "Which shape?").is_some_and(|why| why.contains("more than 2")));
        let mut messages = plain_goal("g").messages("Paint it.");
        add_answers(&mut messages, &task.questions);
        let prompt = &messages[0].content;
        assert!(
            prompt.starts_with("Paint it.") && prompt.ends_with("Which size?\nThe answer is: blue"),
            "{prompt}"
        );
    }
}
