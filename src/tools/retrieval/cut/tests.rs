use proptest::prelude::*;

use super::{PART_BYTES_MAX, Part, cut};
use crate::retrieval::{Document, Layout};

fn document(layout: Layout, text: &str) -> Document {
    Document { name: "a".into(), text: text.into(), layout }
}

fn is_space(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == '\u{feff}')
}

/// What must be true of the parts of any text.
fn check(document: &Document) -> Vec<Part> {
    let parts = cut(document);
    let text = &document.text;
    let mut end = 0;
    for part in &parts {
        assert!(is_space(&text[end..part.span.start]), "lost: {:?}", &text[end..part.span.start]);
        let own = &text[part.span.clone()];
        assert!(!own.is_empty() && own.len() <= PART_BYTES_MAX, "{} bytes", own.len());
        assert!(!is_space(&own[..own.chars().next().unwrap().len_utf8()]));
        let first = text[..part.span.start].matches('\n').count() + 1;
        let last = first + own.matches('\n').count();
        assert_eq!(part.lines, first..=last);
        assert_eq!(part.sentences.first().unwrap().start, part.span.start);
        assert_eq!(part.sentences.last().unwrap().end, part.span.end);
        assert!(part.sentences.windows(2).all(|pair| is_space(&text[pair[0].end..pair[1].start])));
        end = part.span.end;
    }
    assert!(is_space(&text[end..]), "lost at the end: {:?}", &text[end..]);
    parts
}

const LAYOUTS: [Layout; 4] = [Layout::Markdown, Layout::Prose, Layout::Code, Layout::Records];

/// Texts that have something of everything.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,9} ".prop_map(|word| word.repeat(40)),
        "[A-Z][a-zé]{2,9}( [a-z]{1,8}){3,12}[.!?] ",
        "#{1,4} [A-Z][a-z]{2,8}\n",
        "(- [a-z ]{5,40}\n){1,5}",
        "(\\| [a-z]{1,5} \\| [a-z]{1,5} \\|\n){1,4}",
        Just("| a | b |\n|---|---|\n| 1 | 2 |\n".to_owned()),
        Just("```\nfn f() {\n    g();\n}\n```\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\u{c}\n".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("---\ntitle: x\n---\n".to_owned()),
        Just("[a]: http://example.com\n".to_owned()),
        Just("a,\"b\nc\",d\n".to_owned()),
        Just("Title\n=====\n".to_owned()),
        Just("x".repeat(1500)),
        Just("🧑‍🚀é\u{301}".repeat(200)),
        Just("保証期間は二年です。".repeat(60)),
        "\\PC{0,30}",
        "[\\x00-\\x7f]{0,20}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parts_hold_the_whole_text_and_nothing_twice(text in texts()) {
        for layout in LAYOUTS {
            check(&document(layout, &text));
        }
    }
}

/// `(headings, text)` of each part.
fn parts(layout: Layout, text: &str) -> Vec<(String, String)> {
    let document = document(layout, text);
    let parts = check(&document);
    parts.into_iter().map(|part| (part.headings.join(" > "), text[part.span].to_owned())).collect()
}

/// `count` sentences, of some 40 bytes each.
fn sentences(count: usize) -> String {
    (1..=count).map(|n| format!("This is sentence number {n} of this text.")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_part_has_the_headings_above_it() {
    let text = format!("# Contract\n\n## Rent\n\n{}\n\n## Notice\n\n{}\n", sentences(20), sentences(20));
    let found = parts(Layout::Markdown, &text);
    let headings: Vec<&str> = found.iter().map(|(headings, _)| headings.as_str()).collect();
    assert_eq!(headings, ["Contract > Rent", "Contract > Notice"]);
    assert!(found[0].1.starts_with("# Contract") && found[1].1.starts_with("## Notice"));
}

#[test]
fn short_sections_share_a_part_and_then_only_the_common_heading_counts() {
    let text = "# Contract\n\n## Rent\n\n900 euros.\n\n## Notice\n\nThree months.\n";
    assert_eq!(parts(Layout::Markdown, text), [("Contract".to_owned(), text.trim().to_owned())]);
}

#[test]
fn a_long_section_is_cut_evenly_between_sentences() {
    let text = format!("# Long\n\n{}", sentences(60));
    let found = parts(Layout::Markdown, &text);
    assert_eq!(found.len(), 3);
    for (headings, part) in &found {
        assert_eq!(headings, "Long");
        assert!(part.ends_with("of this text.") && part.len() > 600, "{} bytes: {part}", part.len());
    }
}

#[test]
fn paragraphs_are_a_better_place_for_a_cut_than_sentences() {
    let paragraph = sentences(12);
    let text = [paragraph.as_str(); 6].join("\n\n");
    for (_, part) in parts(Layout::Prose, &text) {
        assert!(
            part.len().is_multiple_of(paragraph.len() + 2) || part.starts_with("This is sentence number 1 ")
        );
        assert!(part.ends_with("number 12 of this text."));
    }
}

#[test]
fn plain_text_has_headings_too() {
    let body = sentences(12);
    let text = format!(
        "CHAPTER II\n\n{body}\n\n2.1 Terms of sale\n\n{body}\n\nDelivery\n========\n\n{body}\n\nKapitel 3\n\n{body}"
    );
    let headings: Vec<String> =
        parts(Layout::Prose, &text).into_iter().map(|(headings, _)| headings).collect();
    assert_eq!(headings, ["CHAPTER II", "CHAPTER II > 2.1 Terms of sale", "Delivery", "Kapitel 3"]);
    let text = format!("I\n\nYes!\n\nHe said no\n\n1. buy milk\n\n{body}");
    assert!(parts(Layout::Prose, &text).iter().all(|(headings, _)| headings.is_empty()));
}

#[test]
fn rows_that_begin_a_part_have_the_header_as_heading() {
    let rows: String = (0..80).map(|n| format!("| item {n} | {n} euros |\n")).collect();
    let found = parts(Layout::Markdown, &format!("# Prices\n\n| name | price |\n|---|---|\n{rows}"));
    assert_eq!(found[0].0, "Prices");
    assert!(
        found.len() > 1 && found[1..].iter().all(|(headings, _)| headings == "Prices > | name | price |")
    );
    assert!(found.iter().all(|(_, part)| part.ends_with("euros |")));
    let rows: String = (0..80).map(|n| format!("\"item\n{n}\";{n} euros\n")).collect();
    let found = parts(Layout::Records, &format!("name;price\n{rows}"));
    assert!(found.len() > 1 && found[1..].iter().all(|(headings, _)| headings == "name;price"));
    assert!(found.iter().all(|(_, part)| part.ends_with("euros")), "a quoted value was cut");
}

#[test]
fn code_has_the_lines_that_enclose_it_as_headings() {
    let body: String = (0..60).map(|n| format!("        self.total += {n};\n")).collect();
    let text = format!("class Account:\n    def close(self):\n{body}\n    def open(self):\n        pass\n");
    let found = parts(Layout::Code, &text);
    assert!(found.len() > 1);
    assert_eq!(found[1].0, "class Account: > def close(self):");
    let text = format!("void run()\n{{\n{}}}\n\nint other;\n", "    step(1);\n".repeat(150));
    let found = parts(Layout::Code, &text);
    assert_eq!(found[1].0, "void run()");
    let text = format!("{}#[test]\nfn f() {{\n{}}}\n", "use a::b;\n".repeat(50), "    g();\n".repeat(90));
    let found = parts(Layout::Code, &text);
    assert!(found[1].1.starts_with("#[test]\nfn f()"), "{}", found[1].1);
}

#[test]
fn a_text_with_form_feeds_has_pages() {
    let body = sentences(20);
    let document = document(Layout::Prose, &format!("{body}\n\u{c}{body}\n\u{c}\n{body}"));
    let pages: Vec<Option<usize>> = check(&document).iter().map(|part| part.page).collect();
    assert_eq!(pages, [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_huge_text_without_any_border_is_cut_in_reasonable_time() {
    for piece in ["a", "a ", "a\n", "1. ", "é", "\n# b\n", "| a |\n", "  a\n"] {
        for layout in LAYOUTS {
            check(&document(layout, &piece.repeat(50_000)));
        }
    }
}

#[test]
fn sentences_go_on_over_line_ends_and_abbreviations() {
    let check = |layout: Layout, text: &str, expected: &[&str]| {
        let document = document(layout, text);
        let parts = check(&document);
        let found: Vec<&str> = parts[0].sentences.iter().map(|sentence| &text[sentence.clone()]).collect();
        assert_eq!(found, expected);
    };
    check(
        Layout::Prose,
        "The road was muddy that\nspring. Nobody went\nthere at all. Then Dr. Hale came to see it.",
        &["The road was muddy that\nspring.", "Nobody went\nthere at all.", "Then Dr. Hale came to see it."],
    );
    check(
        Layout::Markdown,
        "# Prices\n\n* an item of a list\n* another one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
        &[
            "# Prices",
            "* an item of a list",
            "* another one",
            "| a | b |\n|---|---|",
            "| 1 | 2 |",
            "| 3 | 4 |",
        ],
    );
    check(
        Layout::Prose,
        "NOTES\n1. Rent is due.\n2. Second thing",
        &["NOTES", "1. Rent is due.", "2. Second thing"],
    );
    check(Layout::Records, "a,b\n1,2\n3,4\n", &["a,b", "1,2", "3,4"]);
}
