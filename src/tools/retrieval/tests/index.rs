use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::retrieval::index::key;
use crate::retrieval::{Document, Embedder, Index, RetrievalError, cut, fuse};

/// An embedder whose vectors count letters, and which counts the texts that it was given.
fn embedder(model: &str, texts_given: &Arc<AtomicUsize>) -> Embedder {
    let counter = Arc::clone(texts_given);
    let embed = move |texts: &[&str]| {
        counter.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(texts.iter().map(|text| letters(text)).collect())
    };
    Embedder { model: model.into(), embed: Box::new(embed) }
}

fn letters(text: &str) -> Vec<f32> {
    let mut counts = [0f32; 26];
    text.bytes()
        .filter(u8::is_ascii_alphabetic)
        .for_each(|b| counts[usize::from(b.to_ascii_lowercase() - b'a')] += 1.0);
    let length = counts.iter().map(|x| x * x).sum::<f32>().sqrt().max(1.0);
    counts.iter().map(|x| x / length).collect()
}

fn document(name: &str, text: &str) -> Document {
    Document::from_text(name, text).unwrap()
}

/// A text whose parts are about different things.
fn text(seed: usize) -> String {
    let words = ["harbour", "orchard", "quarry", "violin", "glacier", "bakery", "zeppelin", "jury"];
    let section = |n: usize| {
        let word = words[(n + seed) % words.len()];
        format!("# The {word}\n\n{}", format!("Number {n} of {seed}: the {word} is old. ").repeat(15))
    };
    (0..words.len()).map(section).collect::<Vec<_>>().join("\n\n")
}

/// What a search over the documents finds, and how many texts were embedded for it.
fn search(cache: Option<&Path>, model: &str, documents: &[(&str, &str)]) -> (Vec<(usize, usize)>, usize) {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut index = Index::open(cache, Some(embedder(model, &counter)));
    for (name, text) in documents {
        index.add(document(name, text));
    }
    let hits = index.search("where is the quarry", 5).unwrap();
    assert!(index.cache_problem().is_none());
    (hits.iter().map(|hit| (hit.document, hit.part)).collect(), counter.load(Ordering::Relaxed))
}

#[test]
fn a_changed_file_alone_is_embedded_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (text(1), text(2), text(3));
    let cache = Some(folder.path());
    let (without, all) = search(None, "m", &[("a.md", &a), ("b.md", &b), ("c.md", &c)]);
    assert_eq!(search(cache, "m", &[("a.md", &a), ("b.md", &b), ("c.md", &c)]), (without.clone(), all));
    // The query is embedded in every search.
    assert_eq!(search(cache, "m", &[("a.md", &a), ("b.md", &b), ("c.md", &c)]), (without.clone(), 1));
    assert_eq!(search(cache, "m", &[("renamed.md", &a), ("c.md", &c)]).1, 1);
    let changed = b.replace("old", "new");
    let (_, anew) = search(cache, "m", &[("a.md", &a), ("b.md", &changed), ("c.md", &c)]);
    assert!(anew > 1 && anew - 1 == (all - 1) / 3, "{anew} of {all}");
    assert_eq!(search(cache, "other model", &[("a.md", &a), ("b.md", &b), ("c.md", &c)]), (without, all));
}

#[test]
fn a_damaged_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let text = text(1);
    let first = search(Some(folder.path()), "m", &[("a.md", &text)]);
    let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(search(Some(folder.path()), "m", &[("a.md", &text)]), first);
    assert_eq!(search(Some(folder.path()), "m", &[("a.md", &text)]), (first.0, 1));
}

#[test]
fn another_version_of_the_cutter_has_another_key() {
    let document = document("a.md", "text");
    assert_eq!(key(&document, "m", cut::VERSION), key(&document, "m", cut::VERSION));
    assert_ne!(key(&document, "m", cut::VERSION), key(&document, "m", cut::VERSION + 1));
    let prose = Document::from_text("a.txt", "text").unwrap();
    assert_ne!(key(&document, "m", cut::VERSION), key(&prose, "m", cut::VERSION));
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_the_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let counter = Arc::new(AtomicUsize::new(0));
    let mut index = Index::open(Some(&file), Some(embedder("m", &counter)));
    index.add(document("a.md", &text(1)));
    assert_eq!(index.search("quarry", 2).unwrap().len(), 2);
    let problem = index.cache_problem().unwrap().to_string();
    assert!(
        problem.contains("file") && problem.contains("free space there or name another folder"),
        "{problem}"
    );
}

#[test]
fn spans_followed_hold_the_words_and_more_hits_begin_with_the_same() {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut index = Index::open(None, Some(embedder("m", &counter)));
    index.add(document("a.md", &text(1)));
    index.add(document("b.html", "<h1>Rooms</h1><p>The zeppelin hangar has <b>nine</b> gates.</p>"));
    let four = index.search("gates of the zeppelin hangar", 4).unwrap();
    let eight = index.search("gates of the zeppelin hangar", 8).unwrap();
    assert_eq!(four, eight[..4]);
    let best = &four[0];
    assert_eq!((best.document, &best.headings[..]), (1, &["Rooms".to_owned()][..]));
    let found = index.document(1).unwrap();
    assert_eq!(&found.text[best.span.clone()], "# Rooms\n\nThe zeppelin hangar has nine gates.");
    assert_eq!(best.lines, 1..=3);
    assert!(eight.windows(2).all(|pair| pair[0].score >= pair[1].score));
}

#[test]
fn only_the_parts_that_are_near_by_words_are_embedded() {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut index = Index::open(None, Some(embedder("m", &counter)));
    for seed in 0..60 {
        index.add(document("a.md", &text(seed)));
    }
    index.search("glacier", 4).unwrap();
    let embedded = counter.load(Ordering::Relaxed);
    assert!(embedded > 64 && embedded < 64 * 20, "{embedded} texts");
    // No word is found, so that the first parts are tried.
    assert_eq!(index.search("xyzzy", 100).unwrap().len(), 64);
}

#[test]
fn without_an_embedder_words_alone_decide() {
    let mut index = Index::open(None, None);
    assert_eq!(index.search("quarry", 3).unwrap(), []);
    index.add(document("a.md", &text(1)));
    let by_words = index.search_words("quarry", 3);
    let fused = index.search("quarry", 3).unwrap();
    let places = |hits: &[crate::retrieval::Hit]| hits.iter().map(|hit| hit.part).collect::<Vec<_>>();
    assert_eq!(places(&by_words), places(&fused));
    assert_eq!(index.search("", 3).unwrap(), []);
    index.add(document("empty.md", " \n"));
    assert_eq!(index.parts(1), []);
}

#[test]
fn an_embedder_that_fails_is_an_error_that_says_so() {
    for (vectors, expected) in [(None, "out of order"), (Some(0), "0 vectors for")] {
        let embed = move |_: &[&str]| vectors.map(|n| vec![vec![1.0]; n]).ok_or("out of order".to_owned());
        let mut index = Index::open(None, Some(Embedder { model: "m".into(), embed: Box::new(embed) }));
        index.add(document("a.md", &text(1)));
        let error = index.search("quarry", 1).unwrap_err();
        assert!(
            matches!(error, RetrievalError::Embedding { .. }) && error.to_string().contains(expected),
            "{error}"
        );
    }
}

#[test]
fn files_that_are_no_text_are_refused_with_the_reason() {
    let error = |bytes: &[u8]| Document::from_bytes("a.txt", bytes).unwrap_err().to_string();
    assert!(error(b"caf\xe9").contains("not UTF-8 text (at byte 3)"));
    assert!(error(b"%PDF-1.7 broken").contains("pdftotext"));
}

proptest! {
    #[test]
    fn ranks_are_fused_as_the_formula_says(
        rankings in prop::collection::vec(
            prop::collection::btree_set(0u32..20, 0..12).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle(),
            0..4,
        ),
    ) {
        let slices: Vec<&[u32]> = rankings.iter().map(Vec::as_slice).collect();
        let fused = fuse::by_rank(&slices);
        for (part, score) in &fused {
            let ranks = rankings.iter().filter_map(|ranking| ranking.iter().position(|other| other == part));
            let expected: f64 = ranks.map(|rank| 1.0 / (6.0 + rank as f64)).sum();
            prop_assert!((score - expected).abs() < 1e-12);
        }
        prop_assert!(fused.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        let parts: std::collections::BTreeSet<u32> = rankings.into_iter().flatten().collect();
        prop_assert_eq!(fused.len(), parts.len());
    }
}
