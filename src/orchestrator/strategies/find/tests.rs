use std::sync::Arc;

use serde_json::json;

use crate::advance::{Core, Planned};
use crate::band::{CallUsage, Finish, Reply};
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::EventKind;
use crate::goal::{BandInfo, Goal, PLANNER, WorkerInfo};
use crate::outcome::{Outcome, Status};
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{play, says};
use crate::state::RunState;
use crate::strategy::Verdict;

/// A text of so many paragraphs, with some sentences in it.
fn book(paragraphs: usize, planted: &[(usize, &str)]) -> String {
    let paragraph = |at: usize| {
        let told =
            planted.iter().filter(|(place, _)| *place == at).map(|(_, sentence)| format!("{sentence} "));
        let (told, what) = (told.collect::<String>(), ["mill", "ferry", "market", "well"][at % 4]);
        format!(
            "In year {at} the {what} was closed for repairs. {told}Nobody complained about it in house {at}.\n\n"
        )
    };
    (0..paragraphs).map(paragraph).collect()
}

fn core(goal: &str, text: String) -> Core {
    let mut request = RunRequest::new(goal);
    request.inputs = vec![Input { name: "book.md".to_owned(), text }];
    let planner = WorkerInfo {
        worker: PLANNER.to_owned(),
        model: "large".to_owned(),
        context_tokens: 4096,
        skills: Vec::new(),
    };
    let goal = Arc::new(Goal::new(&request, Facts::default(), BandInfo { planner, workers: Vec::new() }));
    let mut state = RunState::new("run", 0);
    let chosen = EventKind::StrategyChosen { strategy: StrategyName::Find, why: StrategyWhy::default() };
    state.apply(1, 0, &chosen);
    Core::new(goal, state, None)
}

/// The outcome of a run whose planner takes sentences with one of `answering` for the answer. From each sentence it takes
/// the first of `answers` that stands in it, or else the first of all.
fn work(goal: &str, text: String, answering: &[&str], answers: &[&str]) -> (Outcome, RunState) {
    let (_, state) = play(core(goal, text), |planned: &Planned| {
        // Without the question, which has some of the same words.
        let asked = planned.call.messages[0].content.replace(goal, "");
        let is = answering.iter().any(|sentence| asked.contains(sentence));
        let has = |field: &str| {
            planned.call.schema.as_ref().is_some_and(|schema| schema["properties"].get(field).is_some())
        };
        let reply = if !planned.call.options.is_empty() {
            json!(if is { [-0.25, -1.5] } else { [-3.0, -0.1] })
        } else if has("quote") {
            json!({"quote": answering.iter().find(|sentence| asked.contains(**sentence))})
        } else if has("question") {
            json!({"question": goal})
        } else {
            json!({"answer": answers.iter().find(|answer| asked.contains(**answer)).unwrap_or(&answers[0])})
        };
        says(reply.to_string())
    });
    (*state.outcome.clone().expect("the run has ended"), state)
}

const TOWER: &str = "The second tower of Hafn is 73 metres high.";
const FIRST: &str = "The first tower of Hafn, which fell, was 91 metres high.";

#[test]
fn the_answer_quotes_its_sentence_and_says_where_it_stands() {
    let text = book(60, &[(12, FIRST), (41, TOWER)]);
    let (outcome, _) =
        work("How high is the second tower?", text.clone(), &["second tower of Hafn"], &["73 metres"]);
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert_eq!(outcome.answer, format!("73 metres\n\n\"{TOWER}\" (book.md:83)"));
    let [cited] = outcome.citations.as_slice() else { panic!("{:?}", outcome.citations) };
    assert_eq!((cited.file.as_str(), cited.lines, cited.quote.as_str()), ("book.md", [83, 83], TOWER));
    assert_eq!(&text[cited.bytes[0]..cited.bytes[1]], TOWER);
}

#[test]
fn an_answer_that_does_not_stand_in_its_sentence_is_none() {
    let text = book(60, &[(41, TOWER)]);
    let (outcome, _) = work("How high is the second tower?", text, &["second tower of Hafn"], &["88 metres"]);
    assert!(outcome.answer.starts_with("book.md does not say."), "{}", outcome.answer);
}

#[test]
fn different_answers_are_all_told_with_their_places() {
    let other = "The height of the second tower is given as 75 metres.";
    let text = book(60, &[(12, other), (41, TOWER)]);
    let (outcome, _) =
        work("How high is the second tower?", text, &["second tower"], &["73 metres", "75 metres"]);
    for line in
        [format!("- 73 metres: \"{TOWER}\" (book.md:83)"), format!("- 75 metres: \"{other}\" (book.md:25)")]
    {
        assert!(outcome.answer.contains(&line), "{}", outcome.answer);
    }
    assert_eq!(outcome.citations.len(), 2);
    assert_eq!(outcome.unchecked, ["which of the 2 quoted sentences is meant"]);
}

#[test]
fn an_answer_from_a_file_that_does_not_name_who_is_asked_about_is_unchecked() {
    let text = book(60, &[(41, TOWER)]);
    let (outcome, _) =
        work("How high is the second tower of Zorbana?", text, &["second tower of Hafn"], &["73 metres"]);
    assert_eq!(outcome.unchecked, ["whether this is about Zorbana, which book.md does not name"]);
}

#[test]
fn sentences_with_the_same_answer_agree() {
    let other = "The height of the second tower is given as 73 metres.";
    let text = book(60, &[(12, other), (41, TOWER)]);
    let (outcome, _) = work("How high is the second tower?", text, &["second tower"], &["73 metres"]);
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert!(outcome.answer.starts_with("73 metres\n\n- "), "{}", outcome.answer);
    assert_eq!(outcome.citations.len(), 2);
}

#[test]
fn what_nobody_finds_is_said_not_to_be_there() {
    let text = book(60, &[(12, FIRST)]);
    let (outcome, state) =
        work("How heavy is the bell of the second tower?", text, &["nothing like this"], &["?"]);
    assert_eq!(outcome.status, Status::Completed);
    assert!(outcome.answer.starts_with("book.md does not say."), "{}", outcome.answer);
    assert!(outcome.citations.is_empty());
    let searched: Vec<&str> = state.searches.iter().map(|search| search.query.as_str()).collect();
    assert_eq!(searched, ["How heavy is the bell of the second tower?"]);
}

#[test]
fn what_may_be_the_answer_is_told_but_not_called_completed() {
    let text = book(600, &[(41, TOWER)]);
    let (_, state) = play(core("How high is the second tower?", text), |planned: &Planned| {
        let is = planned.call.messages[0].content.contains(TOWER);
        says(match planned.call.options.is_empty() {
            true => json!({"answer": "73 metres"}).to_string(),
            false => json!(if is { [-1.5, -1.0] } else { [-3.0, -0.1] }).to_string(),
        })
    });
    let outcome = state.outcome.expect("the run has ended");
    assert_eq!(outcome.status, Status::Incomplete);
    let nearest = format!("This sentence comes nearest: \"{TOWER}\" (book.md:83)");
    let expected = format!("Perhaps: 73 metres\n\nIt is not certain that the inputs say this. {nearest}");
    assert_eq!(outcome.answer, expected);
    assert_eq!(outcome.unchecked, ["whether the quoted sentence answers exactly this question"]);
}

#[test]
fn a_question_is_taken_in_the_words_of_the_goal() {
    let goal = "Hi there, quick one. In book.md: how hihg is the secnd tower? Thanks!!";
    let goal = core(goal, book(8, &[])).goal;
    let check = |question: &str| {
        let text = json!({"question": question}).to_string();
        let reply = Reply { text, finish: Finish::Stop, usage: CallUsage::default() };
        matches!(crate::strategies::question::check(&goal, &reply), Verdict::Accept(_))
    };
    assert!(crate::strategies::question::needs_planner(&goal));
    assert!(check("How high is the second tower?"));
    assert!(!check("How heavy is the oldest bell?"));
    assert!(!check("How high is the second tower of 1887?"));
    let quick =
        core("Quick one: which of the towers has most stairs in wing B107? Just the name.", book(8, &[]))
            .goal;
    let text = json!({"question": "Which of the towers has the most stairs in wing B107?"}).to_string();
    let reply = Reply { text, finish: Finish::Stop, usage: CallUsage::default() };
    assert!(matches!(crate::strategies::question::check(&quick, &reply), Verdict::Accept(_)));
    let denied = core("Hi all. Which of the two towers did not fall in 1887? Thanks.", book(8, &[])).goal;
    let lossy = |question: &str| {
        let text = json!({"question": question}).to_string();
        let reply = Reply { text, finish: Finish::Stop, usage: CallUsage::default() };
        !matches!(crate::strategies::question::check(&denied, &reply), Verdict::Accept(_))
    };
    assert!(lossy("Which of the two towers did fall in 1887?"));
    assert!(lossy("Which of the towers did not fall in 1887?"));
    assert!(lossy("Which of the two towers did not fall?"));
    assert!(!lossy("Which of the two towers did not fall in 1887?"));
}

#[test]
fn a_sentence_is_shown_with_the_one_before_it_that_says_whose_it_is() {
    let text = book(60, &[(41, "Rosa Quill kept a diary all her life. Its binding has 5 brass corners.")]);
    let (outcome, _) =
        work("How many corners has the diary of Rosa Quill?", text, &["brass corners"], &["5"]);
    assert!(
        outcome.answer.contains("Rosa Quill kept a diary all her life. Its binding has 5"),
        "{}",
        outcome.answer
    );
}

#[test]
fn the_question_is_told_from_what_stands_around_it() {
    let check = |goal: &str, expected: &str| {
        let text = book(8, &[(3, "The last cargo from the old quay was tar."), (4, TOWER)]);
        assert_eq!(super::question::asked(&core(goal, text).goal), expected, "{goal}");
    };
    check("Hello, I need help! How high is the second tower? Thanks a lot.", "How high is the second tower?");
    check("Please tell me: how high is the second tower?", "how high is the second tower?");
    check("need this for a call - height of the second tower of Hafn", "height of the second tower of Hafn");
    check("last cargo from the old quay: how much tar?", "last cargo from the old quay: how much tar?");
    check("Wer war das?", "Wer war das?");
}
