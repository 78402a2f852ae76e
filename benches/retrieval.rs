//! Indexing and searching long documents: `cargo bench --bench retrieval`. With BANDMASTER_TEST_MODELS, which names a
//! folder that has `minilm-l6-v2`, also the first search of a book, which computes the vectors it needs.

// The benchmark needs one of its languages.
#[allow(dead_code)]
#[path = "../src/tools/retrieval/tests/books.rs"]
mod books;

use std::hint::black_box;
use std::sync::Arc;

use bandmaster::tools::retrieval::{Document, Embedder, Index};
use bandmaster_kernels::Cpu;
use bandmaster_models::Embedder as Model;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tokenizers::Tokenizer;

fn documents(count: u64) -> Vec<Document> {
    let book = |seed| books::book(&books::ENGLISH, 100_000, seed).text;
    let document = |seed| Document::from_text(&format!("book-{seed}.md"), &book(seed)).expect("small enough");
    (0..count).map(document).collect()
}

fn index(documents: &[Document], embedder: Option<Embedder>) -> Index {
    let mut index = Index::open(None, embedder);
    for document in documents {
        index.add(document.clone());
    }
    index
}

/// The model without the engine, on two threads.
fn minilm() -> Option<Embedder> {
    let folder = bandmaster_test_support::model("minilm-l6-v2")?;
    let model = Model::load(&folder, Arc::new(Cpu::new(2))).expect("a model");
    let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).expect("a tokenizer");
    tokenizer.with_padding(None).with_truncation(None).expect("no truncation");
    let embed = move |texts: &[&str]| {
        let encoded = texts.iter().map(|text| tokenizer.encode_fast(*text, true));
        let encoded = encoded.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let ids: Vec<&[u32]> = encoded.iter().map(|encoding| encoding.get_ids()).collect();
        model.embed_all(&ids).map_err(|error| error.to_string())
    };
    Some(Embedder { model: "minilm-l6-v2".into(), embed: Box::new(embed) })
}

fn bench(criterion: &mut Criterion) {
    let question = "How many beehives does the miller own?";
    let mut group = criterion.benchmark_group("retrieval");
    group.sample_size(10);
    let all = documents(100);
    group.bench_function("index 10 MB", |bencher| bencher.iter(|| black_box(index(&all, None))));
    let indexed = index(&all, None);
    let search = || black_box(indexed.search_words(question, 4));
    group.bench_function("search 10 MB by words", |bencher| bencher.iter(search));
    if minilm().is_some() {
        let setup = || index(&all[..1], minilm());
        let search = |mut index: Index| black_box(index.search(question, 4));
        group.bench_function("first search of 100 kB", |bencher| {
            bencher.iter_batched(setup, search, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
