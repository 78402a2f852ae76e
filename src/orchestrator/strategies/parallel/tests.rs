use super::*;

#[test]
fn a_section_keeps_one_heading_and_ends_with_a_sentence() {
    assert_eq!(body("## Price\n\nIt is cheap.", "price"), "It is cheap.");
    assert_eq!(body("Price:\nIt is cheap.", "price"), "It is cheap.");
    assert_eq!(body("It is cheap.\nVery.", "price"), "It is cheap.\nVery.");
    assert_eq!(body("Price: It is cheap.", "price"), "It is cheap.");
    assert_eq!(body("**Price:** It is cheap.", "price"), "It is cheap.");
    assert_eq!(body("The price: cheap.", "price"), "The price: cheap.");
    assert_eq!(body("**Note** that it is cheap.", "price"), "**Note** that it is cheap.");
    assert_eq!(body("#1 rule: pay.\nThen go.", "price"), "#1 rule: pay.\nThen go.");
    assert_eq!(heading("état"), "État");
    let reply = |text: &str, finish| Reply {
        text: text.to_owned(),
        finish,
        usage: crate::band::CallUsage::default(),
    };
    assert_eq!(
        check_section(&reply("One thing is so. Another is n", Finish::Length), "x", &Demands::default()),
        Verdict::Reject {
            why: "the section was cut off at its limit".to_owned(),
            kept: Some("One thing is so.".to_owned())
        }
    );
    assert!(matches!(
        check_section(&reply("", Finish::Stop), "x", &Demands::default()),
        Verdict::Reject { .. }
    ));
}

#[test]
fn a_section_keeps_to_what_the_goal_demands() {
    let goal = "Headings Sun and Rain, each up to 10 words. Rain must mention \"umbrella\".";
    let demands = demands(goal, &["Sun", "Rain"]);
    let reply = |text: &str| Reply {
        text: text.to_owned(),
        finish: Finish::Stop,
        usage: crate::band::CallUsage::default(),
    };
    let check = |section: usize, text: &str| check_section(&reply(text), "x", &demands[section]);
    let short = "It shines on us all day long.";
    assert_eq!(check(0, short), Verdict::Accept(short.to_owned()));
    assert_eq!(check(0, &format!("{short} Nobody minds it at all.")), Verdict::Accept(short.to_owned()));
    let why = |verdict| match verdict {
        Verdict::Reject { why, kept } => (why, kept.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(why(check(1, short)), ("it lacks \"umbrella\"".to_owned(), true));
    let long = "It shines on us all day long and nobody minds it at all.";
    assert_eq!(why(check(0, long)), ("it has more than 10 words".to_owned(), true));
    let (how, terms) = demands[1].told(0);
    assert_eq!(how + &terms, "at most 8 words in plain sentences It must contain \"umbrella\".");
}

#[test]
fn a_number_of_points_is_a_grammar() {
    let goal = "Headings Sun and Rain. Under Rain: exactly three bullet points, none longer than 12 words.";
    let demands = demands(goal, &["Sun", "Rain"]);
    assert_eq!(demands[0].grammar(), None);
    let grammar = demands[1].grammar().unwrap();
    assert!(grammar.starts_with("start: point \"\\n\" point \"\\n\" point\npoint: /- "), "{grammar}");
    let long =
        "- One\n- Two\n- This point has many more words than the twelve that are allowed in each of them";
    assert_eq!(demands[1].fault(long), Some("it has more than 12 words in each point".to_owned()));
    assert_eq!(demands[1].fault("- One\n- Two\n- Three"), None);
}

#[test]
fn an_outline_has_two_sections_of_different_names() {
    let goal = |named: &[&str]| {
        let mut goal = crate::goal::plain_goal("Explain roses.");
        goal.facts.named_aspects = named.iter().map(|name| (*name).to_owned()).collect();
        goal
    };
    let ok = r#"{"sections":[{"title":"A b","instruction":"x"},{"title":"C","instruction":"y"}]}"#;
    assert!(matches!(outline::check(ok, &goal(&["c"])), Verdict::Accept(_)));
    assert!(
        matches!(outline::check(ok, &goal(&["price"])), Verdict::Reject { why, .. } if why.contains("price"))
    );
    let twice = r#"{"sections":[{"title":"A","instruction":"x"},{"title":"a","instruction":"y"}]}"#;
    assert!(matches!(outline::check(twice, &goal(&[])), Verdict::Reject { .. }));
    assert!(matches!(outline::check("{", &goal(&[])), Verdict::Reject { .. }));
}
