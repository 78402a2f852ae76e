use std::collections::BTreeSet;

use proptest::prelude::*;

use super::bm25::Bm25;
use super::{Lexical, terms};

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    terms::words(text, &mut |word| words.push(word.to_owned()));
    words
}

#[test]
fn words_are_compared_without_case_accents_and_apostrophes() {
    let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text}");
    check("Die STRASSE, die Straße!", &["die", "strasse", "die", "strasse"]);
    check("l'été à l’école", &["l", "ete", "a", "l", "ecole"]);
    check("Cafe\u{301} = Café = ﬁn", &["cafe", "cafe", "fin"]);
    check("Œuvre, Ærø, İstanbul", &["oeuvre", "aero", "istanbul"]);
    check("ΟΔΟΣ οδός", &["οδοσ", "οδοσ"]);
    check("maxBytes and max_bytes", &["maxbytes", "max", "bytes", "and", "max", "bytes"]);
    check("1,000 on 12.05.2024", &["1", "000", "1000", "on", "12", "05", "2024", "12052024"]);
    check("保証期間", &["保", "証", "期", "間"]);
    check(" \u{301} … --- ", &[]);
}

#[test]
fn pieces_are_all_runs_of_four_letters() {
    let pieces = |word: &str| {
        let mut pieces = Vec::new();
        terms::pieces(word, &mut |piece| pieces.push(piece.to_owned()));
        pieces
    };
    assert_eq!(pieces("fristen"), ["fris", "rist", "iste", "sten"]);
    assert_eq!(pieces("ключи"), ["ключ", "лючи"]);
    assert_eq!(pieces("tag"), [""; 0]);
    assert_eq!(pieces("tage"), ["tage"]);
}

/// BM25 as its formula is written, from the texts themselves.
fn naive(parts: &[Vec<String>], query: &[String], part: usize) -> f64 {
    let all = parts.len() as f64;
    let mean = parts.iter().map(Vec::len).sum::<usize>() as f64 / all;
    let terms: BTreeSet<&String> = query.iter().collect();
    let of_term = |term: &String| {
        let having = parts.iter().filter(|part| part.contains(term)).count() as f64;
        let count = parts[part].iter().filter(|word| *word == term).count() as f64;
        let idf = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
        let length = parts[part].len() as f64;
        if count == 0.0 { 0.0 } else { idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean)) }
    };
    terms.into_iter().map(of_term).sum()
}

proptest! {
    #[test]
    fn the_index_scores_as_the_formula_does(
        parts in prop::collection::vec(prop::collection::vec("[a-e]{1,2}", 0..12), 1..12),
        query in prop::collection::vec("[a-f]{1,2}", 0..6),
    ) {
        let mut index = Bm25::default();
        for part in &parts {
            index.begin_text();
            part.iter().for_each(|word| index.add(word));
        }
        let scores = index.scores(&query);
        prop_assert_eq!(scores.len(), parts.len());
        for (part, score) in scores.into_iter().enumerate() {
            let expected = naive(&parts, &query, part);
            prop_assert!((score - expected).abs() < 1e-9, "part {}: {} for {}", part, score, expected);
        }
    }

    #[test]
    fn any_text_has_words_that_find_it(text in "\\PC{0,60}") {
        let mut lexical = Lexical::default();
        lexical.add(&[], &["some other text"]);
        lexical.add(&[], &[&text]);
        let found = lexical.search(&text);
        prop_assert_eq!(found.iter().any(|(part, _)| *part == 1), !words(&text).is_empty());
    }
}

/// The parts that are found, best first.
fn found(parts: &[&str], query: &str) -> Vec<u32> {
    let mut lexical = Lexical::default();
    parts.iter().for_each(|part| lexical.add(&[], &[part]));
    lexical.search(query).into_iter().map(|(part, _)| part).collect()
}

#[test]
fn inflected_and_compound_words_are_found() {
    let first = |parts: &[&str], query: &str| assert_eq!(found(parts, query).first(), Some(&1), "{query}");
    first(
        &[
            "Die Miete beträgt 900 Euro.",
            "Die Kündigungsfrist beträgt drei Monate.",
            "Haustiere sind erlaubt.",
        ],
        "Mit welcher Frist darf man kündigen?",
    );
    first(
        &[
            "Le loyer est de 900 euros.",
            "Le locataire résiliera le bail par lettre.",
            "Les chats sont admis.",
        ],
        "Comment résilier ?",
    );
    first(
        &["Rent is 900 euros.", "Cancellations reach us two weeks before.", "Cats are welcome."],
        "How do I cancel?",
    );
    first(&["料金は九百円です。", "保証期間は二年です。", "猫も可。"], "保証の期間は？");
}
