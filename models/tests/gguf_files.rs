//! Real files, where they can be had: models from the folder that `BANDMASTER_TEST_MODELS` names, vocabularies from
//! `shared/tokenizers` beside the checkout (or the folder that `BANDMASTER_SHARED` names).

use std::path::PathBuf;
use std::time::Instant;

use bandmaster_models::gguf::Gguf;

fn folders() -> Vec<PathBuf> {
    let vocabularies = bandmaster_test_support::shared("tokenizers");
    vocabularies.into_iter().chain(bandmaster_test_support::models()).collect()
}

fn files() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folders()
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    found.sort();
    found
}

#[test]
fn real_files_open_and_their_tables_add_up() {
    for path in files() {
        let started = Instant::now();
        let gguf = Gguf::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let ms = started.elapsed().as_secs_f32() * 1e3;
        let tokens: Vec<&str> = gguf.required("tokenizer.ggml.tokens").unwrap();
        let kinds: Vec<i32> = gguf.required("tokenizer.ggml.token_type").unwrap();
        assert_eq!(tokens.len(), kinds.len());
        let data: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes).sum();
        assert!(data <= gguf.file_bytes());
        for tensor in gguf.tensors() {
            assert_eq!(gguf.data(tensor).unwrap().len() as u64, tensor.bytes, "{}", tensor.name);
        }
        println!(
            "{}: {} in {ms:.1} ms, {} tensors, {} tokens, {data} of {} bytes are data",
            path.display(),
            gguf.architecture().unwrap(),
            gguf.tensors().len(),
            tokens.len(),
            gguf.file_bytes()
        );
    }
}
