use std::sync::Arc;
use std::time::Instant;

use bandmaster_kernels::Cpu;
use bandmaster_models::Embedder as Model;
use tokenizers::Tokenizer;

use super::books::{ENGLISH, FRENCH, GERMAN, Language, book};
use crate::retrieval::{Document, Embedder, Hit, Index};

const BOOK_BYTES: usize = 100_000;

/// The real model, without the engine. Without its files the test is skipped.
fn minilm() -> Option<Embedder> {
    let folder = bandmaster_test_support::model("minilm-l6-v2")?;
    let model = Model::load(&folder, Arc::new(Cpu::new(2))).unwrap();
    let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    tokenizer.with_padding(None).with_truncation(None).unwrap();
    let embed = move |texts: &[&str]| {
        let ids: Vec<Vec<u32>> =
            texts.iter().map(|text| tokenizer.encode_fast(*text, true).unwrap().get_ids().to_vec()).collect();
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        model.embed_all(&ids).map_err(|error| error.to_string())
    };
    Some(Embedder { model: "minilm-l6-v2".into(), embed: Box::new(embed) })
}

/// The share of questions all of whose facts stand in the first four parts.
fn recall_at_4(
    language: &Language,
    seed: u64,
    index: &mut Index,
    search: &mut dyn FnMut(&mut Index, &str) -> Vec<Hit>,
) -> f64 {
    let book = book(language, BOOK_BYTES, seed);
    let document = index.add(Document::from_text("book.md", &book.text).unwrap());
    let mut found = 0;
    for question in &book.questions {
        let hits = search(index, &question.text);
        let text = &index.document(document).unwrap().text;
        let has = |fact: &String| hits.iter().any(|hit| text[hit.span.clone()].contains(fact.as_str()));
        if question.facts.iter().all(has) {
            found += 1;
        } else {
            println!("not found: {} {:?}", question.text, question.facts);
        }
    }
    f64::from(found) / book.questions.len() as f64
}

/// The mean over books of several seeds.
fn check_words(name: &str, language: &Language, expected: f64) {
    let seeds = [1, 2, 3];
    let recalls = seeds.map(|seed| {
        let mut search = |index: &mut Index, question: &str| index.search_words(question, 4);
        recall_at_4(language, seed, &mut Index::open(None, None), &mut search)
    });
    let mean = recalls.iter().sum::<f64>() / seeds.len() as f64;
    println!("{name}: recall@4 {mean:.2} by words alone");
    assert!(mean >= expected, "{name}: {recalls:?}");
}

#[test]
fn words_alone_find_most_facts_in_three_languages() {
    // Some questions share no word with their fact but a name that stands in a hundred sentences.
    check_words("English", &ENGLISH, 0.75);
    check_words("German", &GERMAN, 0.9);
    check_words("French", &FRENCH, 0.9);
}

#[test]
fn words_and_meaning_find_nine_of_ten_facts() {
    let Some(embedder) = minilm() else { return };
    let mut index = Index::open(None, Some(embedder));
    let mut search = |index: &mut Index, question: &str| index.search(question, 4).unwrap();
    let started = Instant::now();
    let recall = recall_at_4(&ENGLISH, 1, &mut index, &mut search);
    println!("recall@4 {recall:.2} in {:.1?}", started.elapsed());
    assert!(recall >= 0.9, "{recall}");
}
