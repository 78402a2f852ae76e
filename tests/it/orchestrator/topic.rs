//! What a run says must be true of the goal and of what was read: orders, slots, lists, what is
//! missing, and the conversation.

use std::sync::Arc;
use std::time::Duration;

use bandmaster::orchestrator::{
    Budget, Call, Input, Message, Outcome, Role, RunRequest, Status, StrategyName,
};
use serde_json::{Value, json};

use super::scripted::*;

const SLOTS: &str = "look up in every single text";

/// Offers with a price and a warranty each. The most expensive one has the shortest warranty.
fn offers() -> Vec<Input> {
    let offer = |name: &str, price: u32, months: u32| Input {
        name: format!("{name}.md"),
        text: format!("Offer of {name}\n\nThe price is {price} euros. The warranty lasts {months} months."),
    };
    vec![offer("Arlen", 990, 12), offer("Brock", 450, 36), offer("Corin", 700, 24)]
}

/// A reader that takes the number from the right sentence.
fn reads(call: &Call) -> Act {
    let prompt = &call.messages[0].content;
    let text = prompt.split("\"\"\"").nth(1).unwrap();
    let number = |before: &str| {
        let rest = text.split(before).nth(1).unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap()
    };
    let subject = text.trim().lines().next().unwrap();
    let (price, warranty) = (number("price is "), number("warranty lasts "));
    let question = prompt.rsplit("\"\"\"").next().unwrap();
    let answer = match (call.schema.as_ref().unwrap()["properties"]["answer"].to_string(), question) {
        (schema, _) if !schema.contains("number") => {
            json!(format!("The price is {price} euros, the warranty {warranty} months."))
        }
        (_, question) if question.contains("warranty") => json!(warranty),
        _ => json!(price),
    };
    say(json!({"subject": subject, "answer": answer}).to_string())
}

/// A planner that gives the slots in `draws` one after the other, then the last again and again. It answers with the
/// facts in its prompt.
fn planner(draws: Vec<Value>) -> Arc<Scripted> {
    scripted("big", move |call, number| {
        if call.schema.is_none() {
            let told = last(call).lines().filter(|line| {
                ["- ", "Largest", "Smallest", "Total", "Latest"].iter().any(|start| line.starts_with(start))
            });
            return say(told.collect::<Vec<_>>().join("\n"));
        }
        if last(call).contains(SLOTS) {
            return say(draws[number.min(draws.len() - 1)].to_string());
        }
        reads(call)
    })
}

fn slots_of(find: &str, answer_is: &str, combine: &[&str]) -> Value {
    json!({"find": find, "answer_is": answer_is, "combine": combine})
}

fn run_map(goal: &str, draws: Vec<Value>) -> (Ran, Arc<Scripted>) {
    let planner = planner(draws);
    let worker = scripted("small", |call, _| reads(call));
    let request = RunRequest { inputs: offers(), strategy: Some(StrategyName::Map), ..RunRequest::new(goal) };
    (play(&planner, &[worker], &request), planner)
}

fn proposed(ran: &Ran) -> Value {
    ran.events.iter().find(|event| event["type"] == "plan.proposed").unwrap()["slots"].clone()
}

#[test]
fn an_order_is_made_only_of_the_field_that_the_goal_names() {
    // The planner looks up the price, whatever the goal asks for.
    let price = slots_of("price of the offer", "number", &["list"]);
    let dearest = slots_of("price of the offer", "number", &["most"]);
    for goal in [
        "Which offer has the longest warranty?",
        "Which of these offers comes with the longest warranty period?",
        "Tell me whose warranty is the longest.",
        "Name the offer with the greatest warranty.",
        "Give the price of each offer and say which has the longest warranty.",
        "What does the offer with the highest warranty cost?",
        "Welches Angebot hat die längste Garantie?",
        "Quelle offre a la garantie la plus longue ?",
    ] {
        for slots in [&price, &dearest] {
            let (ran, _) = run_map(goal, vec![slots.clone()]);
            let combine = proposed(&ran)["combine"].to_string();
            let find = proposed(&ran)["find"].as_str().unwrap().to_owned();
            let ordered = combine.contains("most") || combine.contains("least");
            assert!(!ordered || !find.contains("price"), "{goal}: {find} {combine}");
            let said = ran.outcome.answer.replace('\n', " ");
            assert!(!said.contains("Largest: 990"), "{goal}: {said}");
        }
    }
}

#[test]
fn an_order_of_another_field_is_drawn_again_and_the_right_one_taken() {
    let (ran, planner) = run_map(
        "Which offer has the longest warranty?",
        vec![
            slots_of("price of the offer", "number", &["most"]),
            slots_of("warranty of the offer", "number", &["most"]),
        ],
    );
    assert!(ran.outcome.answer.contains("Largest: 36 (Offer of Brock)"), "{}", ran.outcome.answer);
    let seen = planner.seen.lock().unwrap();
    assert_eq!(seen[1].messages, seen[0].messages, "a fresh draw, and no argument");
    assert!(seen[1].seed != seen[0].seed && seen[1].temperature > 0.0);
}

#[test]
fn what_the_goal_names_is_looked_up_where_the_planner_never_does() {
    let (ran, _) = run_map(
        "Which offer has the longest warranty?",
        vec![slots_of("price of the offer", "number", &["list"])],
    );
    assert!(ran.outcome.answer.contains("Largest: 36 (Offer of Brock)"), "{}", ran.outcome.answer);
    let (ran, _) = run_map(
        "Give the price of each offer and say which has the longest warranty.",
        vec![slots_of("price of the offer", "number", &["list"])],
    );
    let answer = &ran.outcome.answer;
    assert!(answer.contains("450 euros") && answer.contains("36 months"), "{answer}");
}

#[test]
fn orders_that_the_goal_does_ask_for_are_still_made() {
    for (goal, find, expected) in [
        ("Which offer has the highest price?", "price of the offer", "Largest: 990"),
        ("Which offer is the cheapest?", "price of the offer", "Smallest: 450"),
        ("Give me the cheapest offer.", "cost of the offer", "Smallest: 450"),
        ("Which offer is the most expensive?", "price of the offer", "Largest: 990"),
        ("Find the price in each offer; which is the smallest?", "price of the offer", "Smallest: 450"),
        ("Which offer's warranty lasts longest?", "warranty of the offer", "Largest: 36"),
        ("Which has the shortest warranty?", "warranty in months", "Smallest: 12"),
    ] {
        let (ran, planner) = run_map(goal, vec![slots_of(find, "number", &["list"])]);
        assert!(ran.outcome.answer.contains(expected), "{goal}: {}", ran.outcome.answer);
        let plans = planner.seen.lock().unwrap().iter().filter(|call| last(call).contains(SLOTS)).count();
        assert_eq!(plans, 1, "{goal}");
    }
}

#[test]
fn a_slot_in_the_words_of_a_worked_example_is_drawn_again() {
    let good = slots_of("price of the offer", "number", &["list"]);
    for leaked in [
        "number of sailors on the ship",
        "number of sailors on the offer",
        "age of the horse",
        "builder of the house",
        "whether the applicant is taller than 180 cm",
        "height of the tower",
    ] {
        let leaked = slots_of(leaked, "number", &["list", "total"]);
        let (ran, planner) = run_map("What is the price of each offer?", vec![leaked.clone(), good.clone()]);
        assert_eq!(proposed(&ran)["find"], "price of the offer", "{leaked}");
        let seen = planner.seen.lock().unwrap();
        assert_eq!(seen[1].messages, seen[0].messages, "a fresh draw, and no argument");
        assert!(seen[1].seed != seen[0].seed && seen[1].temperature > 0.0);
        // If the planner gives nothing else, the goal itself is the question.
        let (ran, _) = run_map("What is the price of each offer?", vec![leaked.clone()]);
        let find = proposed(&ran)["find"].as_str().unwrap().to_owned();
        assert!(find.contains("What is the price of each offer?"), "{leaked}: {find}");
        assert!(ran.outcome.answer.contains("450"), "{}", ran.outcome.answer);
    }
}

#[test]
fn a_slot_in_words_of_nobody_is_drawn_again() {
    let (ran, _) = run_map(
        "What is the price of each offer?",
        vec![
            slots_of("salary of the employee", "number", &["list"]),
            slots_of("price of the offer", "number", &["list"]),
        ],
    );
    assert_eq!(proposed(&ran)["find"], "price of the offer");
}

#[test]
fn a_slot_in_other_forms_or_another_language_is_no_leak() {
    for (goal, find) in [
        ("How many people does every museum employ?", "number of employees of the museum"),
        ("Who built these houses?", "builder of the house"),
        ("Which of the horses is oldest?", "age of the horse"),
        ("Who is the oldest?", "age of the person"),
        ("Where do they live?", "address"),
        ("Which cities are largest?", "population of the city"),
        ("Wie viele Mitarbeiter hat jedes Museum?", "number of employees"),
        ("Wie viele Matrosen hatte jedes Schiff?", "Zahl der Matrosen auf dem Schiff"),
        ("Combien coûte chaque appareil ?", "prix de l'appareil"),
        ("每个博物馆有多少员工？", "number of employees"),
        ("每个博物馆有多少员工？", "博物馆的员工人数"),
        ("Add them all up.", "amount due on the invoice"),
        ("Just the totals, please", "amount"),
    ] {
        let (ran, _) = run_map(goal, vec![slots_of(find, "number", &["list"])]);
        assert_eq!(proposed(&ran)["find"], find, "{goal}");
    }
}

#[test]
fn steps_and_sections_in_the_words_of_a_worked_example_are_drawn_again() {
    let planner = scripted("big", |call, number| {
        if call.schema.is_none() {
            return say("Anna ordered the paint, at 5 Mill Lane.");
        }
        say(match number {
            0 => json!({"steps": ["Find out which ship was lost.", "Say who was the captain of the ship."]}),
            _ => json!({"steps": ["Find who ordered the paint.", "Say where that person lives."]}),
        }
        .to_string())
    });
    let mut request = RunRequest::new("Find who ordered the paint and then say where that person lives.");
    request.strategy = Some(StrategyName::Sequence);
    let ran = play(&planner, &[], &request);
    assert!(ran.outcome.is_whole());
    assert!(
        !ran.events
            .iter()
            .any(|event| event["type"] == "plan.proposed" && event.to_string().contains("ship"))
    );

    let planner = scripted("big", |call, number| {
        if call.schema.is_none() {
            return say("It is described here.");
        }
        let section = |title: &str, instruction: &str| json!({"title": title, "instruction": instruction});
        let sections = match number {
            0 => vec![
                section("Causes", "why the sea rises and falls"),
                section("Uses", "what people use tides for"),
            ],
            _ => vec![section("Water", "how much"), section("Soil", "which kind")],
        };
        say(json!({"sections": sections}).to_string())
    });
    let mut request = RunRequest::new("Explain roses from several viewpoints.");
    request.strategy = Some(StrategyName::Parallel);
    let ran = play(&planner, &[], &request);
    assert!(
        ran.outcome.answer.contains("## Water") && !ran.outcome.answer.contains("Causes"),
        "{}",
        ran.outcome.answer
    );
}

#[test]
fn no_schema_of_a_run_cuts_words() {
    let planner = obedient_planner();
    play(&planner, &[], &map_request(2));
    for strategy in [StrategyName::Sequence, StrategyName::Parallel] {
        let mut request = RunRequest::new("Look at this from several viewpoints, and then at that.");
        request.strategy = Some(strategy);
        play(&planner, &[], &request);
    }
    for answer_is in ["name", "text", "list"] {
        let drawn = slots_of("price of the offer", answer_is, &["list"]);
        let planner =
            scripted(
                "big",
                move |call, _| if last(call).contains(SLOTS) { say(drawn.to_string()) } else { say("{}") },
            );
        let request = RunRequest {
            inputs: offers(),
            strategy: Some(StrategyName::Map),
            ..RunRequest::new("What is the price of each offer?")
        };
        play(&planner, &[], &request);
        check_schemas(&planner);
    }
    check_schemas(&planner);
}

fn check_schemas(planner: &Scripted) {
    let seen = planner.seen.lock().unwrap();
    let mut schemas = seen.iter().filter_map(|call| call.schema.as_ref()).peekable();
    assert!(schemas.peek().is_some());
    for schema in schemas {
        assert!(!schema.to_string().contains("maxLength"), "{schema}");
    }
}

/// A run over two orchards in which `worker` lists the varieties of each.
fn lists(worker: impl Fn(&Call, usize) -> Act + Send + Sync + 'static) -> Ran {
    let planner = scripted("big", |call, _| {
        if last(call).contains(SLOTS) {
            return say(slots_of("varieties grown in the orchard", "list", &["list"]).to_string());
        }
        say("unusable")
    });
    let input = |name: &str| Input {
        name: format!("{name}.md"),
        text: format!("Orchard {name}\n\nIt grows Boskoop, Cox's Orange Pippin and many more."),
    };
    let mut request = RunRequest::new("List the varieties that each orchard grows.");
    request.inputs = vec![input("east"), input("west")];
    request.strategy = Some(StrategyName::Map);
    play(&planner, &[scripted("small", worker)], &request)
}

#[test]
fn a_list_cut_off_at_its_limit_is_read_again_with_more_room() {
    let whole = json!({"subject": "Orchard", "answer": ["Boskoop", "Cox's Orange Pippin", "Gravensteiner"]});
    let ran = lists(move |call, _| {
        if call.tokens_max > 600 {
            say(whole.to_string())
        } else {
            Act::Cut(r#"{"subject":"Orchard","answer":["Boskoop","Cox's Ora"]}"#.to_owned())
        }
    });
    assert!(ran.outcome.answer.contains("Gravensteiner"), "{}", ran.outcome.answer);
    assert!(
        !ran.outcome.answer.contains("Cox's Ora;") && ran.outcome.missing.is_empty(),
        "{:?}",
        ran.outcome
    );
}

#[test]
fn a_list_that_never_ends_is_said_to_be_cut_off_and_holds_whole_words() {
    let ran =
        lists(|_, _| Act::Cut(r#"{"subject":"Orchard","answer":["Boskoop","Gala","Cox's Ora"]}"#.to_owned()));
    assert!(!ran.outcome.answer.contains("Cox's Ora"), "{}", ran.outcome.answer);
    assert!(ran.outcome.answer.contains("Boskoop; Gala"), "{}", ran.outcome.answer);
    assert_eq!(ran.outcome.status, Status::Incomplete);
    for name in ["east.md", "west.md"] {
        let said = ran.outcome.missing.iter().find(|one| one.contains(name));
        assert!(said.is_some_and(|one| one.contains("cut off")), "{:?}", ran.outcome.missing);
    }
}

#[test]
fn a_fact_cut_off_at_its_limit_is_no_fact() {
    // Near the limit the grammar closes the JSON with null, or with the digits so far.
    for cut in [r#"{"subject":"Farm","answer":null}"#, r#"{"subject":"Farm","answer":1}"#] {
        let worker = scripted("small", move |_, _| Act::Cut(cut.to_owned()));
        let planner = scripted("big", move |call, _| match &call.schema {
            Some(_) if last(call).contains(SLOTS) => say(slots()),
            Some(_) => Act::Cut(cut.to_owned()),
            None => say("unusable"),
        });
        let ran = play(&planner, &[worker], &map_request(2));
        assert!(!ran.outcome.answer.contains("does not say"), "{}", ran.outcome.answer);
        assert!(!ran.outcome.answer.contains("None of the inputs"), "{}", ran.outcome.answer);
        assert!(ran.outcome.missing.iter().all(|one| one.contains("cut off")), "{:?}", ran.outcome.missing);
    }
}

#[test]
fn a_long_item_is_told_whole() {
    let item = "a very old variety of apple from the hills behind the village ".repeat(4) + "called Renette";
    let reply = json!({"subject": "Orchard", "answer": [item.clone()]}).to_string();
    let ran = lists(move |_, _| say(reply.clone()));
    assert!(ran.outcome.answer.contains(&item), "{}", ran.outcome.answer);
}

fn turns(said: &[(Role, &str)]) -> Vec<Message> {
    said.iter().map(|(role, text)| Message::new(*role, *text)).collect()
}

fn after(said: &[(Role, &str)], goal: &str) -> Outcome {
    let planner = scripted("big", |_, _| say("It is done."));
    let request = RunRequest { conversation: turns(said), ..RunRequest::new(goal) };
    play(&planner, &[], &request).outcome
}

#[test]
fn a_goal_that_speaks_of_what_was_said_before_is_not_asked_back() {
    let poem = [
        (Role::User, "Write a short text about autumn."),
        (
            Role::Assistant,
            "The leaves turn red and gold, the evenings grow cold, and the swallows leave the barn.",
        ),
    ];
    for goal in [
        "Make the text shorter.",
        "Translate it into German.",
        "Turn this text into a list.",
        "Sort that list.",
        "Explain the code above.",
        "Shorten your message.",
        "Proofread the paragraph and fix the mistakes.",
        "Refactor the following function.",
    ] {
        let outcome = after(&poem, goal);
        assert_eq!((outcome.is_whole(), outcome.strategy), (true, StrategyName::Direct), "{goal}");
    }
    let brought = [
        (
            Role::User,
            "Here is my letter:\n\nDear Mr Brock, I am writing to you about the broken heater in flat 4, which has not worked since Monday.",
        ),
        (Role::Assistant, "Thank you, what shall I do with it?"),
    ];
    for goal in ["Translate the letter I sent you.", "Shorten what I pasted.", "Fix the attached text."] {
        assert!(after(&brought, goal).is_whole(), "{goal}");
    }
}

#[test]
fn what_came_with_neither_the_goal_nor_the_conversation_is_asked_for() {
    let chat = [
        (Role::System, "You are a helpful assistant."),
        (Role::User, "Hi!"),
        (Role::Assistant, "Hello! How can I help you today?"),
    ];
    for goal in ["Summarise the attached minutes.", "Fix the bug in the file I uploaded."] {
        assert_eq!(after(&chat, goal).status, Status::RequiresAction, "{goal}");
        assert_eq!(after(&chat[..1], goal).status, Status::RequiresAction, "{goal}");
        assert_eq!(after(&[], goal).status, Status::RequiresAction, "{goal}");
    }
}

#[test]
fn files_a_budget_left_unread_are_not_said_to_lack_anything() {
    // The first file does not contain the answer; the others are never read.
    let worker = scripted("small", |call, _| {
        if sheep(call) == 10 { say(json!({"subject": "", "answer": null}).to_string()) } else { Act::Stall }
    });
    let planner = scripted("big", |call, _| match &call.schema {
        Some(_) if last(call).contains(SLOTS) => say(slots()),
        Some(_) => say(json!({"subject": "", "answer": null}).to_string()),
        None => say("unusable"),
    });
    let mut request = map_request(3);
    request.budget = Budget { time: Some(Duration::from_millis(300)), ..Budget::default() };
    let ran = play(&planner, &[worker], &request);
    let outcome = &ran.outcome;
    assert_eq!(outcome.status, Status::Incomplete);
    assert!(!outcome.answer.contains("None of the inputs"), "{}", outcome.answer);
    let about =
        |name: &str| outcome.missing.iter().find(|one| one.contains(name)).cloned().unwrap_or_default();
    assert!(about("farm0.md").contains("does not say"), "{:?}", outcome.missing);
    for name in ["farm1.md", "farm2.md"] {
        assert!(about(name).contains("not read") && about(name).contains("budget"), "{:?}", outcome.missing);
        assert!(outcome.answer.contains(name), "{}", outcome.answer);
    }
}

#[test]
fn a_run_stopped_before_anything_was_read_says_so() {
    let planner = scripted("big", |_, _| Act::Stall);
    let mut request = map_request(3);
    request.budget = Budget { time: Some(Duration::from_millis(100)), ..Budget::default() };
    let ran = play(&planner, &[scripted("small", |_, _| Act::Stall)], &request);
    assert!(!ran.outcome.answer.contains("gives the"), "{}", ran.outcome.answer);
    for name in ["farm0.md", "farm1.md", "farm2.md"] {
        assert!(ran.outcome.answer.contains(name), "{}", ran.outcome.answer);
    }
}

#[test]
fn what_no_reader_could_read_is_not_said_to_lack_anything() {
    let planner = scripted("big", |call, _| match &call.schema {
        Some(_) if last(call).contains(SLOTS) => say(slots()),
        _ => say("no JSON"),
    });
    let ran = play(&planner, &[scripted("small", |_, _| say("no JSON"))], &map_request(2));
    assert!(!ran.outcome.answer.contains("None of the inputs"), "{}", ran.outcome.answer);
    assert!(
        ran.outcome.missing.iter().all(|one| one.contains("could not be read")),
        "{:?}",
        ran.outcome.missing
    );
}

#[test]
fn texts_that_were_all_read_and_do_not_say_are_said_to_be_so() {
    let silent = || say(json!({"subject": "", "answer": null}).to_string());
    let planner = scripted("big", move |call, _| match &call.schema {
        Some(_) if last(call).contains(SLOTS) => say(slots()),
        _ => silent(),
    });
    let ran = play(&planner, &[scripted("small", move |_, _| silent())], &map_request(2));
    assert!(
        ran.outcome.answer.starts_with("None of the inputs gives the number of sheep"),
        "{}",
        ran.outcome.answer
    );
    assert_eq!(ran.outcome.status, Status::Completed);
}

#[test]
fn ballots_that_were_never_cast_did_not_fail() {
    let planner = scripted("big", |_, number| if number == 0 { say("Answer: 7") } else { Act::Stall });
    let mut request = RunRequest::new("Out of 5 rows of 3, 2 fall: how many stand?");
    request.strategy = Some(StrategyName::Vote);
    request.budget = Budget { time: Some(Duration::from_millis(200)), ..Budget::default() };
    let ran = play(&planner, &[], &request);
    assert!(ran.outcome.missing.iter().any(|one| one.contains("not started")), "{:?}", ran.outcome.missing);
    assert!(!ran.outcome.missing.iter().any(|one| one.contains("failed")), "{:?}", ran.outcome.missing);
}
