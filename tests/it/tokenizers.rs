//! Compares tokenizers and chat templates with what other programs made of the same files. The data lies beside the
//! checkout, and the models in a folder of their own; without them these tests print a message and pass.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use bandmaster::text::{ChatTemplate, GrammarFactory, Message, Role, Tokenizer};
use bandmaster_models::gguf::Gguf;
use bandmaster_test_support::{models, shared};
use serde_json::Value;

/// The texts of a `.inp` file, separated by lines of `__ggml_vocab_test__`.
fn inputs(file: &str) -> Vec<&str> {
    let texts: Vec<&str> = file.split("\n__ggml_vocab_test__\n").collect();
    let last = texts.len() - 1;
    if texts[last].is_empty() { texts[..last].to_vec() } else { texts }
}

#[test]
fn vocabularies_give_the_expected_ids_on_every_line() {
    let Some(dir) = shared("tokenizers") else { return };
    let mut checked = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let tokenizer = Tokenizer::open(&path).unwrap();
        let texts = fs::read_to_string(dir.join(format!("{name}.inp"))).unwrap();
        let expected = fs::read_to_string(dir.join(format!("{name}.out"))).unwrap();
        let texts = inputs(&texts);
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(texts.len(), expected.len(), "{name}");
        for (text, expected) in texts.iter().zip(expected) {
            let ids: Vec<String> = tokenizer.encode(text, false).iter().map(u32::to_string).collect();
            assert_eq!(ids.join(" "), expected.trim(), "{name} on {text:?}");
            checked += 1;
        }
    }
    assert!(checked > 0, "no vocabularies in {}", dir.display());
}

#[test]
fn chat_prompts_equal_the_reference() {
    let (Some(reference), Some(models)) = (shared("reference/logprobs.json"), models()) else { return };
    let reference = fs::read_to_string(reference).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    for (key, file) in [
        ("smollm2-135m-instruct-q4_1", "smollm2-135m.gguf"),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m", "qwen2.5-coder-0.5b.gguf"),
        ("qwen2.5-coder-1.5b-instruct-q4_k_m", "qwen2.5-coder-1.5b.gguf"),
    ] {
        let gguf = Gguf::open(&models.join(file)).unwrap();
        let start = Instant::now();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        eprintln!("{file}: tokenizer of {} tokens in {:?}", tokenizer.vocab_size(), start.elapsed());
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
        let model = &reference[key];
        assert_eq!(ids(&model["tokens"]), tokenizer.encode_prompt(model["text"].as_str().unwrap()), "{key}");
        for chat in model["greedy"].as_array().unwrap() {
            let message = Message::new(Role::User, chat["user"].as_str().unwrap());
            let prompt = template.render(&[message], &[], true).unwrap();
            assert_eq!(prompt, chat["prompt"].as_str().unwrap());
            assert_eq!(tokenizer.encode_prompt(&prompt), ids(&chat["prompt_tokens"]));
            let text = tokenizer.decode(&ids(&chat["tokens"]));
            assert_eq!(text.trim(), chat["text"].as_str().unwrap().trim());
        }
    }
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn a_megabyte_takes_about_half_a_second_at_worst() {
    let Some(models) = models() else { return };
    let tokenizer = Tokenizer::open(&models.join("qwen2.5-coder-0.5b.gguf")).unwrap();
    let source = include_str!("tokenizers.rs");
    let prose: String = source.repeat(1_000_000 / source.len());
    for text in
        [prose, " ".repeat(1_000_000), "a".repeat(1_000_000), "\n".repeat(1_000_000), "=".repeat(1_000_000)]
    {
        let start = Instant::now();
        let ids = tokenizer.encode(&text, true);
        let elapsed = start.elapsed();
        eprintln!("{:?}…: {} tokens in {elapsed:?}", &text[..8], ids.len());
        assert_eq!(tokenizer.decode(&ids), text);
        if !cfg!(debug_assertions) {
            assert!(elapsed.as_secs_f64() < 5.0, "a busy machine explains some of it, not {elapsed:?}");
        }
    }
}

#[test]
fn a_large_vocabulary_is_ready_for_grammars_in_a_moment() {
    let Some(models) = models() else { return };
    let tokenizer = Arc::new(Tokenizer::open(&models.join("qwen2.5-coder-0.5b.gguf")).unwrap());
    let start = Instant::now();
    let factory = GrammarFactory::new(Arc::clone(&tokenizer)).unwrap();
    let made = start.elapsed();
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": false
    });
    let start = Instant::now();
    let mut constraint = factory.json_schema(&schema).unwrap();
    let forced = constraint.forced();
    assert_eq!(tokenizer.decode(&forced), "{\"answer\":");
    forced.iter().for_each(|&token| constraint.accept(token).unwrap());
    let compiled = start.elapsed();
    let start = Instant::now();
    let mut mask = vec![0; tokenizer.vocab_size().div_ceil(32)];
    constraint.mask(&mut mask).unwrap();
    eprintln!("grammars ready in {made:?}, a schema in {compiled:?}, a mask in {:?}", start.elapsed());
    assert!(mask.iter().any(|word| *word != 0));
    if !cfg!(debug_assertions) {
        assert!(made.as_secs_f64() < 5.0, "a busy machine explains some of it, not {made:?}");
    }
}
