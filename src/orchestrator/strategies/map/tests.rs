use bandmaster_tools::calculator::Aggregate;
use proptest::prelude::*;

use super::reduce::{calculate, merge};
use super::slots::Combine;
use super::*;
use crate::band::{CallUsage, Finish};
use crate::plan::AnswerIs;
use crate::request::Input;

fn reply(text: &str) -> Reply {
    Reply { text: text.to_owned(), finish: Finish::Stop, usage: CallUsage::default() }
}

fn slice(index: usize, part: usize, parts: usize) -> Slice {
    Slice { index, name: format!("in/f{index}.md"), part, parts, bytes: 0..0 }
}

fn slots(answer_is: AnswerIs, aggregates: &[Aggregate]) -> Slots {
    let combine = aggregates.iter().map(|aggregate| Combine::Figure(*aggregate)).collect();
    Slots { find: "sacks ground by the mill".to_owned(), answer_is, combine, table: None }
}

const TEXT: &str =
    "Mill of Brock\n\nIn 1990 it ground 1,250 sacks. It has two stones. It opened on 3 May 1887.";

fn verdict(answer_is: AnswerIs, json: &str) -> &'static str {
    match finding::check(&slots(answer_is, &[]), TEXT, &reply(json)) {
        Verdict::Accept(_) => "accept",
        Verdict::Doubt(_) => "doubt",
        Verdict::Reject { .. } => "reject",
        Verdict::Ask(_) => "ask",
    }
}

#[test]
fn a_reading_is_accepted_only_where_the_text_bears_it_out() {
    for (answer_is, json, expected) in [
        (AnswerIs::Number, r#"{"subject":"Mill of Brock","answer":1250}"#, "accept"),
        // The number occurs, but in a sentence about something else.
        (AnswerIs::Number, r#"{"subject":"","answer":2}"#, "doubt"),
        (AnswerIs::Number, r#"{"subject":"","answer":1300}"#, "reject"),
        (AnswerIs::Number, r#"{"subject":"","answer":null}"#, "doubt"),
        (AnswerIs::Number, r#"{"subject":"","answer":0}"#, "doubt"),
        (AnswerIs::Number, r#"{"subject":"Mill"#, "reject"),
        (AnswerIs::Date, r#"{"subject":"","answer":"1887-05-03"}"#, "accept"),
        (AnswerIs::Date, r#"{"subject":"","answer":"1787-05-03"}"#, "reject"),
        (AnswerIs::Date, r#"{"subject":"","answer":"1887-05-04"}"#, "reject"),
        (AnswerIs::Date, r#"{"subject":"","answer":"1887-13-03"}"#, "reject"),
        (AnswerIs::Name, r#"{"subject":"","answer":"Brock"}"#, "accept"),
        (AnswerIs::Name, r#"{"subject":"","answer":"Napoleon"}"#, "doubt"),
        (AnswerIs::YesNo, r#"{"subject":"","answer":"no"}"#, "accept"),
        (AnswerIs::Text, r#"{"subject":"","answer":"It grinds."}"#, "accept"),
        (AnswerIs::List, r#"{"subject":"","answer":[]}"#, "doubt"),
        // A copy of the form in the prompt.
        (AnswerIs::Name, r#"{"subject":"","answer":"the name"}"#, "reject"),
        (AnswerIs::Text, r#"{"subject":"","answer":"One or two sentences."}"#, "reject"),
        (AnswerIs::List, r#"{"subject":"","answer":["...","..."]}"#, "reject"),
    ] {
        assert_eq!(verdict(answer_is, json), expected, "{json}");
    }
}

#[test]
fn the_sentence_that_bears_a_number_out_is_kept_with_it() {
    let read = reply(r#"{"subject":"","answer":1250}"#);
    let Verdict::Accept(output) = finding::check(&slots(AnswerIs::Number, &[]), TEXT, &read) else {
        panic!("not accepted")
    };
    assert!(output.contains("In 1990 it ground 1,250 sacks."), "{output}");
}

#[test]
fn parts_of_one_input_become_one_finding_and_equal_subjects_are_told_apart() {
    let input = |name: &str, text: &str| Input { name: name.to_owned(), text: text.to_owned() };
    let sources = [
        input("in/f0.md", "The mill of Ahn grinds. It is old."),
        input("in/f1.md", "# Red Mill\n\nA mill."),
        input("in/f2.md", "Nothing here is a title."),
    ];
    let sources: Vec<Source> = sources.iter().map(Source::of).collect();
    let slices = [slice(0, 0, 3), slice(0, 1, 3), slice(0, 2, 3), slice(1, 0, 1), slice(2, 0, 1)];
    let outputs = [
        Some(r#"{"subject":"","answer":null}"#),
        Some(r#"{"subject":"mill of Ahn","answer":7}"#),
        Some(r#"{"subject":"mill","answer":7}"#),
        Some(r#"{"subject":"mill","answer":9.5}"#),
        None,
    ];
    let outputs = outputs.iter().map(|output| output.map(str::to_owned));
    let findings = merge(AnswerIs::Number, &sources, slices.iter().zip(outputs));
    let told: Vec<(&str, String, bool)> =
        findings.iter().map(|f| (f.subject.as_str(), f.answer.told(), f.failed)).collect();
    let line = |subject, answer: &str, failed| (subject, answer.to_owned(), failed);
    // "mill" occurs in other inputs too, the title does not.
    assert_eq!(
        told,
        [line("mill of Ahn", "7", false), line("Red Mill", "9.5", false), line("f2", "not stated", true)]
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

proptest! {
    #[test]
    fn a_reading_cut_off_anywhere_keeps_whole_items_and_sentences(
        items in prop::collection::hash_set("[a-zé]{2,9}( [a-zé]{2,9}){0,4}", 2..8),
        cut in 0.0..1.0_f64,
    ) {
        let items: Vec<String> = items.into_iter().collect();
        let cut_reply = |answer: String| Reply { finish: Finish::Length, ..reply(&answer) };
        let kept = |answer_is, json: String| {
            match finding::check(&slots(answer_is, &[]), TEXT, &cut_reply(json)) {
                Verdict::Reject { kept, .. } => kept,
                other => panic!("{other:?}"),
            }
        };
        // As a grammar closes it: the items are cut off after `end` characters in all.
        let all = items.join("\u{0}");
        let chars: Vec<char> = all.chars().collect();
        let end = 1 + (cut * (chars.len() - 1) as f64) as usize;
        let written: String = chars[..end].iter().collect();
        let begun: Vec<&str> = written.split('\u{0}').collect();
        let json = serde_json::json!({"subject": "", "answer": begun}).to_string();
        if let Some(kept) = kept(AnswerIs::List, json) {
            let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
            for item in kept["answer"].as_array().unwrap() {
                prop_assert!(items.iter().any(|whole| item == whole.as_str()), "{item}");
            }
        }
        let text = items.join(". ");
        let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= end).last().unwrap_or(0);
        let json = serde_json::json!({"subject": "", "answer": text[..end]}).to_string();
        if let Some(kept) = kept(AnswerIs::Text, json) {
            let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
            prop_assert!(kept["answer"].as_str().unwrap().ends_with('.'), "{kept}");
        }
        for answer_is in [AnswerIs::Number, AnswerIs::Date, AnswerIs::Name, AnswerIs::YesNo] {
            prop_assert_eq!(kept(answer_is, r#"{"subject":"","answer":null}"#.to_owned()), None);
        }
    }
}
