use std::sync::Arc;

use super::super::band::{CallUsage, Finish, Reply};
use super::super::dispatch::Verdict;
use super::super::plan::AnswerIs;
use super::reduce::{calculate, merge};
use super::slots::Combine;
use super::*;
use crate::tools::calculator::Aggregate;

fn reply(text: &str) -> Reply {
    Reply {
        text: text.to_owned(),
        finish: Finish::Stop,
        usage: CallUsage::default(),
        rendered_prompt: String::new(),
    }
}

fn slice(index: usize, part: usize, parts: usize) -> Slice {
    Slice { index, name: format!("in/f{index}.md"), part, parts, bytes: 0..0 }
}

fn slots(answer_is: AnswerIs, aggregates: &[Aggregate]) -> Slots {
    let combine = aggregates.iter().map(|aggregate| Combine::Figure(*aggregate)).collect();
    Slots { question: "q".to_owned(), answer_is, combine }
}

const TEXT: &str =
    "Mill of Brock\n\nIn 1990 it ground 1,250 sacks. It has two stones. It opened on 3 May 1887.";

fn verdict(answer_is: AnswerIs, json: &str) -> &'static str {
    match finding::check(answer_is, Arc::from(TEXT))(&reply(json)) {
        Verdict::Accept(_) => "accept",
        Verdict::Doubt(_) => "doubt",
        Verdict::Reject(_) => "reject",
    }
}

#[test]
fn a_reading_is_accepted_only_where_the_text_bears_it_out() {
    for (answer_is, json, expected) in [
        (
            AnswerIs::Number,
            r#"{"subject":"Mill of Brock","quote":"In 1990 it ground 1,250 sacks","answer":1250}"#,
            "accept",
        ),
        (AnswerIs::Number, r#"{"subject":"","quote":"It has two stones","answer":2}"#, "accept"),
        (AnswerIs::Number, r#"{"subject":"","quote":"It has two stones","answer":1250}"#, "reject"),
        (AnswerIs::Number, r#"{"subject":"","quote":"it ground 1,250 sacks","answer":1300}"#, "reject"),
        (
            AnswerIs::Number,
            r#"{"subject":"","quote":"a flock of 1250 geese passed","answer":1250}"#,
            "reject",
        ),
        (AnswerIs::Number, r#"{"subject":"","quote":"","answer":null}"#, "doubt"),
        (AnswerIs::Number, r#"{"subject":"","quote":"","answer":0}"#, "doubt"),
        (AnswerIs::Number, r#"{"subject":"Mill"#, "reject"),
        (
            AnswerIs::Date,
            r#"{"subject":"","quote":"It opened on 3 May 1887","answer":"1887-05-03"}"#,
            "accept",
        ),
        (AnswerIs::Date, r#"{"subject":"","quote":"","answer":"1887-05-04"}"#, "reject"),
        (AnswerIs::Date, r#"{"subject":"","quote":"","answer":"1887-13-03"}"#, "reject"),
        (AnswerIs::Name, r#"{"subject":"","quote":"","answer":"Brock"}"#, "accept"),
        (AnswerIs::Name, r#"{"subject":"","quote":"","answer":"Napoleon"}"#, "doubt"),
        (AnswerIs::YesNo, r#"{"subject":"","quote":"","answer":"no"}"#, "accept"),
        (AnswerIs::Text, r#"{"subject":"","answer":"It grinds."}"#, "accept"),
        (AnswerIs::List, r#"{"subject":"","answer":[]}"#, "doubt"),
    ] {
        assert_eq!(verdict(answer_is, json), expected, "{json}");
    }
}

#[test]
fn parts_of_one_input_become_one_finding_and_equal_subjects_are_told_apart() {
    let slices = [slice(0, 0, 3), slice(0, 1, 3), slice(0, 2, 3), slice(1, 0, 1), slice(2, 0, 1)];
    let outputs = [
        Some(r#"{"subject":"","quote":"","answer":null}"#),
        Some(r#"{"subject":"Mill","quote":"x","answer":7}"#),
        Some(r#"{"subject":"Mill","quote":"x","answer":7}"#),
        Some(r#"{"subject":"Mill","quote":"y","answer":9.5}"#),
        None,
    ];
    let findings = merge(AnswerIs::Number, slices.iter().zip(outputs.iter().map(|o| o.map(str::to_owned))));
    let told: Vec<(String, String, bool)> =
        findings.iter().map(|f| (f.subject.clone(), f.answer.told(), f.failed)).collect();
    let line = |subject: &str, answer: &str, failed| (subject.to_owned(), answer.to_owned(), failed);
    assert_eq!(
        told,
        [
            line("Mill (input 1)", "7", false),
            line("Mill (input 2)", "9.5", false),
            line("f2", "not stated", true)
        ]
    );
}

#[test]
fn figures_are_exact_and_name_whose_they_are() {
    let finding = |input: usize, answer: Answer| Finding {
        input,
        subject: format!("s{input}"),
        quote: String::new(),
        answer,
        failed: false,
    };
    let number = |text: &str| Answer::Number(text.parse().unwrap());
    let findings = [
        finding(0, number("0.1")),
        finding(1, number("0.2")),
        finding(2, number("0.2")),
        finding(3, Answer::NotStated),
    ];
    let wanted = slots(AnswerIs::Number, &Aggregate::ALL);
    let figures = calculate(&wanted, &findings).unwrap().figures;
    let values: Vec<(&str, &str)> = figures.iter().map(|f| (f.aggregate.name(), f.value.as_str())).collect();
    assert_eq!(
        values,
        [
            ("total", "0.5"),
            ("most", "0.2"),
            ("least", "0.1"),
            ("average", "0.166666666667"),
            ("count", "3"),
            ("difference", "0.1")
        ]
    );
    assert_eq!(figures[1].subjects, ["s1", "s2"]);

    let yes =
        [finding(0, Answer::YesNo(true)), finding(1, Answer::YesNo(false)), finding(2, Answer::YesNo(true))];
    let counted = calculate(&slots(AnswerIs::YesNo, &[Aggregate::Count]), &yes).unwrap();
    assert_eq!((counted.figures[0].value.as_str(), counted.figures[0].subjects.len()), ("2", 2));

    let day = |text: &str| Answer::Text(text.to_owned());
    let dates = [finding(0, day("2020-10-02")), finding(1, day("2020-09-30"))];
    let first = calculate(&slots(AnswerIs::Date, &[Aggregate::Least]), &dates).unwrap();
    assert_eq!(
        (first.figures[0].value.as_str(), &first.figures[0].subjects[..]),
        ("2020-09-30", &["s1".to_owned()][..])
    );

    assert!(
        calculate(&slots(AnswerIs::Number, &[Aggregate::Most]), &[finding(0, Answer::NotStated)]).is_err()
    );
}
