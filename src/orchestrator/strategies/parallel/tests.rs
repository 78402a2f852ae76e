use super::*;

#[test]
fn a_section_keeps_one_heading_and_ends_with_a_sentence() {
    assert_eq!(body("## Price\n\nIt is cheap.", "price"), "It is cheap.");
    assert_eq!(body("Price:\nIt is cheap.", "price"), "It is cheap.");
    assert_eq!(body("It is cheap.\nVery.", "price"), "It is cheap.\nVery.");
    assert_eq!(heading("état"), "État");
    let reply = |text: &str, finish| Reply {
        text: text.to_owned(),
        finish,
        usage: crate::band::CallUsage::default(),
    };
    assert_eq!(
        check_section(&reply("One thing is so. Another is n", Finish::Length)),
        Verdict::Reject {
            why: "the section was cut off at its limit".to_owned(),
            kept: Some("One thing is so.".to_owned())
        }
    );
    assert!(matches!(check_section(&reply("", Finish::Stop)), Verdict::Reject { .. }));
}

#[test]
fn an_outline_has_two_sections_of_different_names() {
    let goal = crate::goal::plain_goal("Explain roses.");
    let topic = goal.topic(EXAMPLES_OWN);
    let ok = r#"{"sections":[{"title":"A b","instruction":"x"},{"title":"C","instruction":"y"}]}"#;
    assert!(matches!(check_outline(ok, &["c".to_owned()], topic), Verdict::Accept(_)));
    assert!(
        matches!(check_outline(ok, &["price".to_owned()], topic), Verdict::Reject { why, .. } if why.contains("price"))
    );
    let twice = r#"{"sections":[{"title":"A","instruction":"x"},{"title":"a","instruction":"y"}]}"#;
    assert!(matches!(check_outline(twice, &[], topic), Verdict::Reject { .. }));
    assert!(matches!(check_outline("{", &[], topic), Verdict::Reject { .. }));
}
