use std::sync::Arc;

use super::*;
use crate::advance::Core;
use crate::goal::plain_goal;
use crate::simulation::play::{play, says};

#[test]
fn a_step_that_a_new_plan_does_without_is_missing() {
    let check = |again: &[&str], expected: &[&str]| {
        let goal = plain_goal("Find the ship that was lost, then name its captain and praise the harbour.");
        let core = Core::new(Arc::new(goal), RunState::new("r", 0), Some(Arc::new(Sequence)));
        let (_, state) = play(core, |planned| {
            let prompt = &planned.call.messages.last().expect("a call has a message").content;
            let steps = ["Find the ship that was lost.", "Name the captain, in vain."];
            match planned.task.as_str() {
                "plan" => says(json!({"steps": steps}).to_string()),
                "plan2" => says(json!({"steps": again}).to_string()),
                task if task.starts_with("plan") => says("{}"),
                task if task.starts_with("synthesis") => says(prompt.clone()),
                _ if prompt.contains("in vain.") => says(""),
                task => says(format!("This is what {task} found.")),
            }
        });
        let outcome = state.outcome.expect("the run has ended");
        assert_eq!(
            (outcome.is_whole(), &outcome.missing[..]),
            (expected.is_empty(), &expected.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..]),
            "{outcome:#?}"
        );
    };
    let missing = "the step \"Name the captain, in vain.\": the answer was empty";
    check(&["Say who was the captain of the lost ship."], &[]);
    check(&["Praise the harbour."], &[missing]);
    check(&["Name the captain, in vain.", "Praise the captain."], &[missing]);
}

#[test]
fn a_step_is_told_what_the_earlier_ones_found_and_not_what_failed() {
    let found = lines([("Find the ship.", Some("The Anna.\n")), ("Find the port.", None)].into_iter());
    assert_eq!(found, "- Find the ship. The Anna.");
    let asked = |inputs, found, step| step_prompt(inputs, found, step).messages.remove(0).content;
    let prompt = asked("Text (a.md):\nx\n\n", &found, "Name its captain.");
    assert!(prompt.starts_with("Text (a.md)") && prompt.ends_with("Name its captain."));
    assert!(prompt.contains("Known so far:\n- Find the ship. The Anna."));
    assert!(!asked("", "", "Go.").contains("Known"));
}
