//! Runs that wait for the user: plans that are approved, edited or declined, and questions of workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bandmaster::journal::{AsyncJournal, Event, Journal};
use bandmaster::orchestrator::{
    ActionKind, Answer, Band, Cancel, Ended, Goal, Input, Job, Move, PLANNER, PlanRefused, Prompt, Reply,
    RunRequest, RunStart, RunState, StartError, StartKind, Status, Strategy, StrategyName, Task, Verdict,
    answer, decline, recorded, replay, resume, run_with, state,
};
use serde_json::{Value, json};

use super::scripted::*;

fn approve(request: RunRequest) -> RunRequest {
    RunRequest { approve: true, ..request }
}

fn yes() -> Answer {
    Answer::Text("yes".to_owned())
}

fn readers() -> [Arc<Scripted>; 1] {
    [scripted("small", |call, _| reading(call))]
}

fn accept(ran: &Ran, given: Answer) -> RunStart {
    answer(&ran.journal, &ran.outcome.id, given).unwrap()
}

fn refused(ran: &Ran, given: Answer) -> StartError {
    answer(&ran.journal, &ran.outcome.id, given).expect_err("it is refused")
}

/// Checks that a run is replayed without differences.
fn check_replay(ran: &Ran) {
    let (run, start) = recorded(&ran.journal, &ran.outcome.id).unwrap();
    let replayed = replay(&run, &start, None);
    assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
    assert_eq!(replayed.answer, ran.outcome.answer);
}

#[test]
fn a_plan_waits_for_approval_and_is_carried_out_in_the_same_run() {
    let ran = play(&obedient_planner(), &readers(), &approve(map_request(2)));
    let outcome = &ran.outcome;
    assert_eq!((outcome.status, outcome.exit_code(), outcome.tasks.len()), (Status::RequiresAction, 4, 0));
    let action = outcome.required_action().unwrap();
    assert_eq!((action.kind, &action.question), (ActionKind::ApprovePlan, &outcome.answer));
    for part in [
        "t1 (small): number of sheep the farm keeps in farm0.md",
        "t3 (calculator)",
        "after t1, t2",
        "yes or no",
    ] {
        assert!(outcome.answer.contains(part), "{part}: {}", outcome.answer);
    }
    assert_eq!(action.plan.unwrap()["find"], "number of sheep the farm keeps");
    assert_eq!(
        (ran.count("plan.proposed"), ran.count("plan.accepted"), ran.count("task.started")),
        (1, 0, 1)
    );
    assert!(matches!(resume(&ran.journal, &outcome.id), Err(StartError::NeedsAnswer { .. })));
    let shown = serde_json::to_value(state(&ran.journal, &outcome.id).unwrap()).unwrap();
    assert_eq!(shown["required_action"]["kind"], "approve_plan");
    let said = Answer::Text("perhaps".to_owned());
    assert!(matches!(refused(&ran, said), StartError::NeedsApproval { .. }));

    let (start, planner) = (accept(&ran, yes()), obedient_planner());
    let id = outcome.id.clone();
    let ran = ran.go_on(&planner, &readers(), start);
    assert_eq!((&ran.outcome.id, ran.outcome.status), (&id, Status::Completed));
    assert!(ran.outcome.answer.contains("Total: 30"), "{}", ran.outcome.answer);
    assert_eq!(planner.calls.load(Ordering::SeqCst), 1, "the plan is not made again");
    assert_eq!((ran.count("plan.proposed"), ran.count("plan.accepted")), (0, 1));
    let shown = serde_json::to_value(state(&ran.journal, &id).unwrap()).unwrap();
    assert!(shown.get("required_action").is_none(), "{shown}");
    check_replay(&ran);
}

#[test]
fn an_edited_plan_takes_the_place_of_the_planners() {
    let plan = json!({"find": "number of sheep the farm keeps", "answer_is": "number", "combine": ["average", "most"]});
    let ran = play(&obedient_planner(), &readers(), &approve(map_request(3)));
    let start = accept(&ran, Answer::Plan { plan: plan.clone() });
    assert_eq!(start.kind, StartKind::Answered(Answer::Plan { plan: plan.clone() }));
    let ran = ran.go_on(&obedient_planner(), &readers(), start);
    assert_eq!(ran.outcome.status, Status::Completed);
    let figures: Value = serde_json::from_str(&ran.outcome.tasks[3].output).unwrap();
    let named: Vec<&Value> =
        figures["figures"].as_array().unwrap().iter().map(|one| &one["aggregate"]).collect();
    assert_eq!(named, ["average", "most"], "nothing of it is corrected");
    let proposed = ran.events.iter().find(|event| event["type"] == "plan.proposed").unwrap();
    assert_eq!(proposed["slots"], plan);
    check_replay(&ran);
}

#[test]
fn an_edited_plan_is_checked_as_a_planners_reply_and_a_refusal_changes_nothing() {
    let ran = play(&obedient_planner(), &readers(), &approve(map_request(2)));
    let events = ran.journal.events(&ran.outcome.id, 0).unwrap().len();
    let slots =
        |find: &str, is: &str, combine: Value| json!({"find": find, "answer_is": is, "combine": combine});
    let sheep = "number of sheep the farm keeps";
    for (plan, why) in [
        (slots(sheep, "colour", json!(["list"])), "/answer_is"),
        (slots(sheep, "number", json!([])), "/combine"),
        (json!({"find": sheep, "answer_is": "number"}), "combine"),
        (json!({"find": sheep, "answer_is": "number", "combine": ["list"], "wait": true}), "wait"),
        (slots("number of sailors on the ship", "number", json!(["list"])), "worked example"),
        (slots("price of petrol", "number", json!(["list"])), "nothing to do with the goal"),
        (slots("owner of the farm", "name", json!(["total"])), "total"),
        (json!("list the sheep"), "the plan"),
    ] {
        let refused = refused(&ran, Answer::Plan { plan });
        assert!(matches!(refused, StartError::PlanRefused(_)), "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains(why) && message.contains("nothing has changed"), "{why}: {message}");
    }
    assert_eq!(ran.journal.events(&ran.outcome.id, 0).unwrap().len(), events);
    let start = accept(&ran, yes());
    assert_eq!(ran.go_on(&obedient_planner(), &readers(), start).outcome.status, Status::Completed);
}

#[test]
fn a_run_whose_plan_is_declined_is_cancelled_without_a_model_and_can_be_resumed() {
    let ran = play(&obedient_planner(), &readers(), &approve(map_request(2)));
    let start = accept(&ran, Answer::Text("no".to_owned()));
    let Ran { outcome, journal, folder, .. } = ran;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asynchronous = AsyncJournal::open(&record(&folder)).unwrap();
    let declined = runtime.block_on(decline(start, &asynchronous)).unwrap();
    drop(asynchronous);
    assert_eq!((declined.status, declined.answer.as_str()), (Status::Cancelled, ""));
    assert!(declined.missing[0].contains("declined: t1 (small): number of sheep"), "{:?}", declined.missing);
    let shown = state(&journal, &outcome.id).unwrap();
    assert_eq!((shown.status, shown.required_action), (Status::Cancelled, None));
    let (run, start) = recorded(&journal, &outcome.id).unwrap();
    let replayed = replay(&run, &start, None);
    assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
    // On second thought: the run asks again.
    let start = resume(&journal, &outcome.id).unwrap();
    drop(journal);
    let ran = go_on(folder, &obedient_planner(), &readers(), start);
    assert_eq!(ran.outcome.status, Status::RequiresAction);
    check_replay(&ran);
}

#[test]
fn a_plan_without_a_planner_is_asked_about_too() {
    // One call.
    let direct = RunRequest { strategy: Some(StrategyName::Direct), ..RunRequest::new("Who was here?") };
    let planner = scripted("big", |_, _| say("The cat."));
    let ran = play(&planner, &[], &approve(direct));
    assert!(ran.outcome.answer.contains("- t1 (planner): Who was here?"), "{}", ran.outcome.answer);
    assert_eq!(planner.calls.load(Ordering::SeqCst), 0);
    assert_eq!(ran.count("plan.proposed"), 1);
    let plan = Answer::Plan { plan: json!({"steps": ["a", "b"]}) };
    assert!(matches!(refused(&ran, plan), StartError::PlanRefused(PlanRefused::NotEditable)));
    let start = accept(&ran, Answer::Approval { approve: true });
    let ran = ran.go_on(&planner, &[], start);
    assert_eq!((ran.outcome.is_whole(), ran.outcome.answer.as_str()), (true, "The cat."));
    check_replay(&ran);

    // Sections that the goal names.
    let goal = "Write about bees in three sections: honey, wax and queens.";
    let parallel = RunRequest { strategy: Some(StrategyName::Parallel), ..RunRequest::new(goal) };
    let writer = scripted("big", |call, _| {
        let title =
            last(call).split("only the section \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        say(format!("All there is to say about {title} is told here, and nothing of it is left out by us."))
    });
    let ran = play(&writer, &[], &approve(parallel));
    let mut plan = ran.outcome.required_action().unwrap().plan.unwrap();
    assert_eq!(plan["sections"].as_array().unwrap().len(), 3, "{plan}");
    let dance = json!({"title": "Dance", "instruction": "how bees tell where flowers are"});
    plan["sections"].as_array_mut().unwrap().push(dance);
    let start = accept(&ran, Answer::Plan { plan });
    let ran = ran.go_on(&writer, &[], start);
    assert_eq!((ran.outcome.status, ran.outcome.tasks.len()), (Status::Completed, 4));
    assert!(ran.outcome.answer.contains("## Dance"), "{}", ran.outcome.answer);
    check_replay(&ran);
}

#[test]
fn a_plan_that_is_given_back_as_it_was_shown_is_approved() {
    // The planner gives no usable plan, so that the goal is the only step.
    let planner = scripted("big", |call, _| {
        say(if call.schema.is_some() { "no plan" } else { "The shop is called Miller & Sons." })
    });
    let check = |request: RunRequest, planner: &Arc<Scripted>, field: &str, tasks: usize| {
        let ran = play(planner, &[], &approve(request));
        let plan = ran.outcome.required_action().unwrap().plan.unwrap();
        assert_eq!(plan[field].as_array().unwrap().len(), tasks, "{plan}");
        let start = accept(&ran, Answer::Plan { plan });
        assert_eq!(start.kind, StartKind::Answered(Answer::Approval { approve: true }));
        let ran = ran.go_on(planner, &[], start);
        assert_eq!((ran.outcome.is_whole(), ran.outcome.tasks.len()), (true, tasks), "{:?}", ran.outcome);
        check_replay(&ran);
    };
    check(steps(), &planner, "steps", 1);
    let sections =
        RunRequest { strategy: Some(StrategyName::Parallel), ..RunRequest::new("Tell about the shop.") };
    check(sections, &planner, "sections", 1);

    // One of the tasks is not about the goal.
    let planner = scripted("big", |call, _| {
        let task = |id: &str, instruction: &str, needs: &[&str]| {
            let task = json!({"job": "step", "do": instruction, "result": "text", "worker": "planner"});
            json!({"id": id, "task": task, "needs": needs})
        };
        let tasks = [
            task("t1", "Paint the moon", &[]),
            task("t2", "Find the shop", &[]),
            task("t3", "Name the shop", &["t1", "t2"]),
        ];
        match call.schema {
            Some(_) => say(json!({"tasks": tasks}).to_string()),
            None => say("The shop is called Miller & Sons."),
        }
    });
    let free = RunRequest {
        strategy: Some(StrategyName::Free),
        ..RunRequest::new("Find out how our shop is called.")
    };
    check(free, &planner, "tasks", 2);
}

const STEPS: &str = "Find out the name of our shop, and then write a slogan for it.";

/// A sequence in which the first step asks until it is told the name.
fn asking() -> Arc<Scripted> {
    scripted("big", |call, _| {
        let prompt = last(call);
        if prompt.contains("Split the goal") {
            return say(json!({"steps": ["Find out the name of our shop.", "Write a slogan for the shop."]})
                .to_string());
        }
        if prompt.contains("asks a question") {
            let quoted = prompt.contains("Our shop is called Miller & Sons");
            let (quote, answer) = if quoted {
                ("Our shop is called Miller & Sons", "Miller & Sons")
            } else {
                ("our shop", "Bob's")
            };
            return say(json!({"quote": quote, "answer": answer}).to_string());
        }
        if prompt.contains("Answer the goal from these results") {
            let results = prompt.lines().filter(|line| line.starts_with("- "));
            return say(results.collect::<Vec<_>>().join("\n"));
        }
        if prompt.contains("Write a slogan") {
            return say("Miller & Sons, always fresh.");
        }
        match prompt.split_once("The answer is: ") {
            Some((_, name)) => say(format!("The shop is called {}.", name.trim())),
            None => say("I don't know your shop. Could you please tell me its name?"),
        }
    })
}

fn steps() -> RunRequest {
    RunRequest { strategy: Some(StrategyName::Sequence), ..RunRequest::new(STEPS) }
}

#[test]
fn a_workers_question_that_nobody_can_answer_from_the_texts_goes_to_the_user() {
    let planner = asking();
    let ran = play(&planner, &[], &steps());
    assert_eq!(ran.outcome.status, Status::RequiresAction, "{:#?}", ran.outcome);
    let action = ran.outcome.required_action().unwrap();
    assert_eq!((action.kind, action.task.as_deref()), (ActionKind::AnswerQuestion, Some("t1")));
    assert!(action.question.contains("tell me its name"), "{}", action.question);
    assert_eq!(ran.outcome.tasks[0].status, Status::RequiresAction);
    let wrong = Answer::Task { task: "t2".to_owned(), text: "x".to_owned() };
    assert!(matches!(refused(&ran, wrong), StartError::NoQuestionOfTask { .. }));
    assert!(matches!(refused(&ran, yes_to_plan()), StartError::NeedsText { .. }));
    assert!(matches!(refused(&ran, Answer::Text(" ".to_owned())), StartError::NoAnswer));

    let start = accept(&ran, Answer::Text("Miller & Sons".to_owned()));
    let made = planner.calls.load(Ordering::SeqCst);
    let ran = ran.go_on(&planner, &[], start);
    assert!(ran.outcome.is_whole(), "{:#?}", ran.outcome);
    assert_eq!(ran.outcome.tasks[0].output, "The shop is called Miller & Sons.");
    assert_eq!(
        planner.calls.load(Ordering::SeqCst) - made,
        3,
        "the step again, the next one, and the answer"
    );
    check_replay(&ran);
}

fn yes_to_plan() -> Answer {
    Answer::Approval { approve: true }
}

#[test]
fn the_planner_answers_what_an_input_says() {
    let text = "Welcome. Our shop is called Miller & Sons. We sell bread.".to_owned();
    let inputs = vec![Input { name: "shop.md".to_owned(), text }];
    let ran = play(&asking(), &[], &RunRequest { inputs, ..steps() });
    assert!(ran.outcome.is_whole(), "{:#?}", ran.outcome);
    assert_eq!((ran.count("task.asked"), ran.count("task.answered"), ran.count("run.finished")), (1, 1, 1));
    assert_eq!(ran.outcome.tasks[0].output, "The shop is called Miller & Sons.");
    check_replay(&ran);
}

#[test]
fn a_run_that_asks_comes_to_the_same_end_wherever_it_is_killed() {
    let parked = play(&asking(), &[], &approve(steps()));
    let start = accept(&parked, yes());
    let asked = parked.go_on(&asking(), &[], start);
    let start = accept(&asked, Answer::Text("Miller & Sons".to_owned()));
    let ran = asked.go_on(&asking(), &[], start);
    let expected = &ran.outcome;
    assert!(expected.is_whole());
    let events: Vec<Event> = ran.journal.events(&expected.id, 0).unwrap();
    let stops = events.iter().filter(|event| event.kind == "run.finished").count();
    assert_eq!(stops, 3);
    for left in 1..events.len() {
        let (mut folder, mut journal, id) = killed_after(&events[..left], &[]);
        let planner = asking();
        let accepted: Vec<String> = state(&journal, &id)
            .unwrap()
            .tasks
            .iter()
            .filter(|task| task.accepted().is_some())
            .map(|task| task.id.clone())
            .collect();
        loop {
            let now = state(&journal, &id).unwrap();
            let start = match (now.status, &now.required_action) {
                _ if now.outcome.as_ref().is_some_and(|outcome| outcome.is_whole()) => {
                    assert_eq!(now.answer, expected.answer, "killed after event {left}");
                    break;
                }
                (Status::RequiresAction, Some(action)) if action.kind == ActionKind::ApprovePlan => {
                    answer(&journal, &id, yes()).unwrap()
                }
                (Status::RequiresAction, _) => {
                    answer(&journal, &id, Answer::Text("Miller & Sons".to_owned())).unwrap()
                }
                _ => resume(&journal, &id).unwrap(),
            };
            drop(journal);
            let ran = go_on(folder, &planner, &[], start);
            let again = ran
                .events
                .iter()
                .filter(|event| event["type"] == "task.started" || event["type"] == "task.retried");
            for event in again {
                let task = event["task"].as_str().unwrap();
                assert!(!accepted.iter().any(|done| done == task), "{task} is done again after event {left}");
            }
            check_replay(&ran);
            (folder, journal) = (ran.folder, ran.journal);
        }
    }
}

/// A strategy from outside the project, with two workers that ask.
struct Painting;

impl Strategy for Painting {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let task = |id: &str| Task {
            id: id.to_owned(),
            job: Job::Step,
            worker: PLANNER.to_owned(),
            ladder: vec![PLANNER.to_owned()],
            instruction: format!("{} the {id}", goal.text),
            tokens_max: 50,
            ..Task::default()
        };
        if state.tasks.is_empty() {
            return Move::Add { tasks: vec![task("door"), task("gate")], proposed: None };
        }
        if state.tasks.iter().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let painted: Vec<&str> = state.plan_tasks().filter_map(|task| task.accepted()).collect();
        Move::Answer(Ended { answer: painted.join(", "), ..Ended::default() })
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt::new(goal.messages(task.instruction.clone()))
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        match reply.text.strip_prefix('?') {
            Some(question) => Verdict::Ask(question.to_owned()),
            None => Verdict::Accept(reply.text.clone()),
        }
    }
}

#[test]
fn several_questions_are_answered_one_after_the_other_and_a_third_one_is_refused() {
    let planner = scripted("big", |call, _| {
        let prompt = last(call);
        let what = if prompt.contains("the door") { "door" } else { "gate" };
        if call.schema.is_some() {
            return say(json!({"quote": "", "answer": ""}).to_string());
        }
        match prompt.matches("The answer is: ").count() {
            0 => say(format!("?Which colour has the {what}?")),
            1 if what == "door" => say("?How many coats?"),
            _ if prompt.contains("forever") => say("?And who pays?"),
            _ => say(format!("the {what} is painted")),
        }
    });
    let band = Band { planner, workers: Vec::new(), embed: None };
    let folder = tempfile::tempdir().unwrap();
    let outcome = |start: RunStart| {
        let journal = AsyncJournal::open(&record(&folder)).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (strategy, cancel) = (Some(Arc::new(Painting) as Arc<dyn Strategy>), Cancel::new());
        let mut observer = |_: &_| {};
        let outcome =
            runtime.block_on(run_with(strategy, &band, start, &journal, &mut observer, &cancel)).unwrap();
        runtime.shutdown_background();
        (outcome.id.clone(), outcome)
    };
    let said = |id: &str, task: &str, text: &str| {
        let journal = Journal::open(&record(&folder)).unwrap();
        answer(&journal, id, Answer::Task { task: task.to_owned(), text: text.to_owned() }).unwrap()
    };
    let (id, asked) = outcome(RunStart::new(RunRequest::new("Paint")));
    let action = asked.required_action().unwrap();
    assert_eq!((action.questions.len(), action.task), (2, None));
    let journal = Journal::open(&record(&folder)).unwrap();
    let unclear = answer(&journal, &id, Answer::Text("red".to_owned()));
    assert!(matches!(unclear, Err(StartError::WhichTask { .. })));
    drop(journal);

    let (_, asked) = outcome(said(&id, "gate", "red"));
    assert_eq!(
        asked.required_action().unwrap().task.as_deref(),
        Some("door"),
        "the other question is still open"
    );
    let (_, asked) = outcome(said(&id, "door", "blue"));
    assert_eq!(asked.answer, "How many coats?");
    let (_, done) = outcome(said(&id, "door", "two"));
    assert_eq!(
        (done.status, done.answer.as_str()),
        (Status::Completed, "the door is painted, the gate is painted")
    );

    let (id, _) = outcome(RunStart::new(RunRequest::new("Paint forever")));
    outcome(said(&id, "gate", "red"));
    outcome(said(&id, "door", "blue"));
    let (_, asked) = outcome(said(&id, "door", "two"));
    let questions = asked.required_action().map(|action| action.question);
    assert_eq!(questions.as_deref(), Some("And who pays?"), "the second question of the gate");
    let (_, done) = outcome(said(&id, "gate", "I do"));
    assert_eq!(done.status, Status::Failed);
    assert!(
        done.tasks.iter().all(|task| task.error.as_deref().is_some_and(|why| why.contains("asks"))),
        "{done:?}"
    );
}
