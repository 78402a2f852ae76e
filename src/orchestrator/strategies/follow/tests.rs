use super::*;
use crate::band::{CallUsage, Finish};
use crate::goal::plain_goal;
use crate::request::Input;

fn goal() -> Goal {
    let input = |name: &str, text: &str| Input { name: name.to_owned(), text: text.to_owned() };
    let mut goal = plain_goal("Which key opens the barn of the keeper?");
    goal.inputs = vec![
        input("note.txt", "Last year Dan Ley kept the sheep. Since May it is Ann Shaw who keeps them."),
        input("barns.csv", "keeper,barn\nDan Ley,B-11\nAnn Shaw,B-12\nTom Ripley,B-14\n"),
        input("keys.txt", "B-11: key 7\nB-12: key 9\nB-14: key 31\n"),
    ];
    goal
}

fn state() -> RunState {
    RunState::new("r", 0)
}

fn verdict(task: &Task, reply: &Value) -> Verdict {
    let reply = Reply { text: reply.to_string(), finish: Finish::Stop, usage: CallUsage::default() };
    Follow.check(task, &goal(), &state(), &reply)
}

#[test]
fn a_choice_shows_the_prose_and_the_ways() {
    let goal = goal();
    let prompt = |number| {
        let prompt = Follow.prompt(&choice(&goal, number), &goal, &state());
        prompt.messages.last().unwrap().content.clone()
    };
    let (first, second) = (prompt(0), prompt(1));
    for line in [
        "Text (note.txt):",
        "- note.txt: Since May it is Ann Shaw who keeps them.\n- barns.csv: keeper: Ann Shaw, barn: B-12\n- keys.txt: \
         B-12: key 9",
        "Way B",
    ] {
        assert!(first.contains(line), "{line}: {first}");
    }
    assert!(!first.contains("Ripley") && !first.contains("Way C"), "{first}");
    let place = |text: &str, line: &str| text.find(line).unwrap();
    let is_before = |text: &str| place(text, "key 7") < place(text, "key 9");
    assert_ne!(is_before(&first), is_before(&second), "the second has them the other way round");
}

#[test]
fn the_same_way_has_another_letter_where_the_order_is_reversed() {
    let goal = goal();
    let way = |number, letter: &str| {
        verdict(&choice(&goal, number), &json!({"because": "it says so", "way": letter}))
    };
    assert_eq!(way(0, "A"), Verdict::Accept("0".to_owned()));
    assert_eq!(way(1, "B"), Verdict::Accept("0".to_owned()));
    assert_eq!(way(1, "A"), Verdict::Accept("1".to_owned()));
    assert!(matches!(way(0, "C"), Verdict::Reject { .. }));
}

#[test]
fn an_answer_comes_from_the_way() {
    let goal = goal();
    let chain = &trail(&goal).unwrap().chains[0];
    let (key, other) = if evidence::way(&goal, chain).contains("Dan") { ("7", "9") } else { ("9", "7") };
    let verdict = |text: &str| verdict(&answer(&goal, &[]), &json!({"answer": text}));
    let good = format!("The barn opens with key {key}.");
    assert_eq!(verdict(&good), Verdict::Accept(good));
    let check = |text: &str, expected: &str| match verdict(text) {
        Verdict::Reject { why, .. } => assert!(why.contains(expected), "{text}: {why}"),
        other => panic!("{text}: {other:?}"),
    };
    check("The barn has a key.", "nothing of what the lines say");
    check(&format!("It is key {key}, or key {other}."), "does not stand in the files");
}

#[test]
fn without_files_that_lead_on_it_says_what_is_needed() {
    let mut goal = goal();
    goal.inputs = vec![Input { name: "a.txt".to_owned(), text: "A text.".to_owned() }];
    match Follow.next(&goal, &state()) {
        Move::Answer(Ended { error: Some(error), .. }) => assert!(error.contains("lead from one to another")),
        other => panic!("{other:?}"),
    }
}
