use super::*;

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
