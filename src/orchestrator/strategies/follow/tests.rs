use super::*;
use crate::band::{CallUsage, Finish};
use crate::goal::plain_goal;
use crate::request::Input;

fn goal() -> Goal {
    let input = |name: &str, text: &str| Input { name: name.to_owned(), text: text.to_owned() };
    let mut goal = plain_goal("Which barn belongs to the keeper of Borwick?");
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

fn reply(answer: &str) -> Reply {
    let text = json!({"because": "the lines", "answer": answer}).to_string();
    Reply { text, finish: Finish::Stop, usage: CallUsage::default() }
}

#[test]
fn a_prompt_has_the_prose_and_the_lines_that_are_named() {
    let goal = goal();
    let prompt = |number| {
        let prompt = Follow.prompt(&draw(&goal, number), &goal, &state());
        prompt.messages.last().unwrap().content.clone()
    };
    let first = prompt(0);
    for line in [
        "Since May it is Ann Shaw",
        "barns.csv, line 2: keeper: Dan Ley, barn: B-11",
        "keys.txt, line 2: B-12",
    ] {
        assert!(first.contains(line), "{line}: {first}");
    }
    assert!(!first.contains("Ripley"), "{first}");
    // The second draw has the lines of a step the other way round.
    let place = |text: &str, line: &str| text.find(line).unwrap();
    assert!(place(&first, "B-11") < place(&first, "B-12"));
    assert!(place(&prompt(1), "B-11") > place(&prompt(1), "B-12"));
}

#[test]
fn an_answer_comes_from_the_lines() {
    let goal = goal();
    let verdict = |answer: &str| Follow.check(&draw(&goal, 0), &goal, &state(), &reply(answer));
    let good = "The barn is B-12, with key 9.";
    assert_eq!(verdict(good), Verdict::Accept(good.to_owned()));
    for (answer, why) in [
        ("The barn of Borwick is unknown.", "nothing of what the lines say"),
        ("Ann Shaw has B-12 and 77 sheep.", "77 does not stand"),
    ] {
        assert!(
            matches!(verdict(answer), Verdict::Reject { why: found, .. } if found.contains(why)),
            "{answer}"
        );
    }
}

#[test]
fn answers_agree_if_they_come_from_the_same_lines() {
    let goal = goal();
    let evidence = Evidence::of(&goal).unwrap();
    let agree = |a: &str, b: &str| evidence.picked(&goal, a).agrees(&evidence.picked(&goal, b));
    assert!(agree("It is B-12.", "Ann Shaw has barn B-12 (key 9)."));
    assert!(agree("Ann Shaw, B-12.", "Ann Shaw."));
    assert!(!agree("It is B-12.", "It is B-11."));
    assert!(!agree("Ann Shaw has B-12.", "Dan Ley has B-12."));
    assert!(!agree("It is B-12.", "Nobody knows."));
}

#[test]
fn without_lines_that_lead_on_it_says_what_is_needed() {
    let mut goal = goal();
    goal.inputs = vec![Input { name: "a.txt".to_owned(), text: "A text.".to_owned() }];
    match Follow.next(&goal, &state()) {
        Move::Answer(Ended { error: Some(error), .. }) => assert!(error.contains("lead from one to another")),
        other => panic!("{other:?}"),
    }
}
