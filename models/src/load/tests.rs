//! Files that contradict themselves, and the errors they earn. The file is the smallest decoder that can be: one layer,
//! everything in F32.

use std::sync::Arc;

use bandmaster_kernels::Cpu;

use super::*;
use crate::batch::Batch;
use crate::gguf::Writer;
use crate::model::{ForwardError, Model};

const F32: u32 = 0;
const VOCAB: u64 = 40;

/// What a test changes in the file before it is written.
struct File {
    architecture: &'static str,
    counts: Vec<(&'static str, u32)>,
    texts: Vec<(&'static str, &'static str)>,
    numbers: Vec<(&'static str, f32)>,
    tensors: Vec<(String, Vec<u64>, u32)>,
}

impl File {
    fn good() -> File {
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![32, VOCAB], F32),
            ("output_norm.weight".to_owned(), vec![32], F32),
        ];
        let of_layer: [(&str, &[u64]); 9] = [
            ("attn_norm", &[32]),
            ("attn_q", &[32, 32]),
            ("attn_k", &[32, 16]),
            ("attn_v", &[32, 16]),
            ("attn_output", &[32, 32]),
            ("ffn_norm", &[32]),
            ("ffn_gate", &[32, 64]),
            ("ffn_up", &[32, 64]),
            ("ffn_down", &[64, 32]),
        ];
        tensors.extend(of_layer.map(|(part, shape)| (format!("blk.0.{part}.weight"), shape.to_vec(), F32)));
        File {
            architecture: "llama",
            counts: vec![
                ("block_count", 1),
                ("context_length", 64),
                ("embedding_length", 32),
                ("feed_forward_length", 64),
                ("attention.head_count", 2),
                ("attention.head_count_kv", 1),
            ],
            texts: Vec::new(),
            numbers: vec![("attention.layer_norm_rms_epsilon", 1e-5)],
            tensors,
        }
    }

    fn tensor(&mut self, name: &str) -> &mut (String, Vec<u64>, u32) {
        self.tensors.iter_mut().find(|(tensor, ..)| tensor == name).expect("a tensor of the good file")
    }

    fn set(&mut self, key: &'static str, value: u32) {
        self.counts.retain(|(known, _)| *known != key);
        self.counts.push((key, value));
    }

    fn gguf(&self) -> Gguf {
        let mut writer = Writer::new();
        let full = |key: &str| format!("{}.{key}", self.architecture);
        writer.set("general.architecture", self.architecture);
        self.counts.iter().for_each(|(key, value)| _ = writer.set(&full(key), value));
        self.texts.iter().for_each(|(key, value)| _ = writer.set(&full(key), *value));
        self.numbers.iter().for_each(|(key, value)| _ = writer.set(&full(key), value));
        for (name, shape, ggml_type) in &self.tensors {
            let weight = |i: u64| ((i * 37 % 101) as f32 - 50.0) / 200.0;
            let data: Vec<u8> =
                (0..shape.iter().product()).flat_map(|i: u64| weight(i).to_le_bytes()).collect();
            writer.tensor(name, shape, *ggml_type, &data);
        }
        Gguf::from_bytes(writer.finish()).expect("a well-formed file")
    }
}

fn options() -> LoadOptions<'static> {
    LoadOptions::new(Arc::new(Cpu::new(1)), 1 << 20)
}

/// The error of the good file after `change` must say all of `words`.
fn check(change: impl FnOnce(&mut File), words: &[&str]) {
    let mut file = File::good();
    change(&mut file);
    let error = match load_gguf(file.gguf(), &options()) {
        Ok(_) => panic!("loaded, without a word of {words:?}"),
        Err(error) => error.to_string(),
    };
    for word in words {
        assert!(error.contains(word), "`{error}` does not say `{word}`");
    }
}

/// Logits of the last of some tokens.
fn logits(file: &File) -> Vec<f32> {
    let mut model = load_gguf(file.gguf(), &options()).expect("the file is good");
    let mut batch = Batch::default();
    batch.push_span(&[3, 1, 4, 1, 5, 9, 2, 6], 0, &[0]);
    batch.rows.push(7);
    let row = std::sync::Mutex::new(Vec::new());
    model.forward(&batch, &|_, logits| *row.lock().unwrap() = logits.to_vec()).expect("a good batch");
    row.into_inner().unwrap()
}

#[test]
fn the_smallest_decoder_runs() {
    let logits = logits(&File::good());
    assert_eq!(logits.len(), VOCAB as usize);
    assert!(logits.iter().all(|logit| logit.is_finite()));
}

#[test]
fn unknown_architecture_lists_the_known() {
    check(|file| file.architecture = "mamba", &["`mamba`", "llama, qwen2"]);
}

#[test]
fn missing_and_impossible_sizes_name_the_key() {
    check(|file| file.counts.retain(|(key, _)| *key != "block_count"), &["llama.block_count"]);
    check(|file| file.set("embedding_length", 0), &["llama.embedding_length", "above zero"]);
    check(|file| file.set("attention.head_count_kv", 3), &["llama.attention.head_count_kv", "divide the 2"]);
    check(|file| file.set("attention.head_count", 4), &["llama.attention.key_length", "multiple of 16"]);
    check(|file| file.set("feed_forward_length", 44), &["llama.feed_forward_length", "44", "multiple of 32"]);
    check(|file| file.set("embedding_length", 40), &["llama.embedding_length", "multiple of 32"]);
    check(|file| file.set("attention.key_length", 512), &["llama.attention.key_length", "256 at most"]);
    check(|file| file.numbers.clear(), &["llama.attention.layer_norm_rms_epsilon"]);
}

#[test]
fn features_that_are_not_run_name_the_key() {
    check(|file| file.set("expert_count", 8), &["llama.expert_count", "8", "mixture of experts"]);
    check(|file| file.set("attention.sliding_window", 32), &["llama.attention.sliding_window", "32"]);
    check(|file| file.set("rope.dimension_count", 8), &["llama.rope.dimension_count", "part of each head"]);
    check(|file| file.set("attention.value_length", 32), &["llama.attention.value_length"]);
    let softcap = ("final_logit_softcapping", 30.0);
    check(|file| file.numbers.push(softcap), &["llama.final_logit_softcapping", "soft-capping"]);
    let scaling = ("rope.scaling.type", "longrope");
    check(|file| file.texts.push(scaling), &["llama.rope.scaling.type", "longrope"]);
}

#[test]
fn features_that_are_off_do_no_harm() {
    let mut file = File::good();
    file.set("expert_count", 0);
    file.set("attention.sliding_window", 64);
    file.texts.push(("rope.scaling.type", "none"));
    assert_eq!(logits(&file), logits(&File::good()));
}

#[test]
fn missing_tensors_are_named() {
    for name in ["token_embd.weight", "output_norm.weight", "blk.0.ffn_up.weight", "blk.0.attn_norm.weight"] {
        check(|file| file.tensors.retain(|(tensor, ..)| tensor != name), &[name]);
    }
    check(|file| file.set("block_count", 2), &["blk.1."]);
    check(|file| file.architecture = "qwen2", &["blk.0.attn_q.bias"]);
}

#[test]
fn wrong_shapes_say_wanted_and_found() {
    check(
        |file| file.tensor("blk.0.attn_k.weight").1 = vec![32, 32],
        &["blk.0.attn_k.weight", "[32, 32]", "[32, 16]"],
    );
    check(|file| file.tensor("blk.0.ffn_down.weight").1 = vec![32, 64], &["[32, 64]", "[64, 32]"]);
    check(|file| file.tensor("output_norm.weight").1 = vec![33], &["output_norm.weight", "[33]", "[32]"]);
    check(|file| file.tensor("blk.0.ffn_norm.weight").1 = vec![32, 2], &["[32, 2]", "[32]"]);
}

#[test]
fn types_without_kernels_are_named_with_the_tensor() {
    const I32: u32 = 26;
    check(|file| file.tensor("blk.0.ffn_up.weight").2 = I32, &["blk.0.ffn_up.weight", "I32", "Q4_K_M"]);
    check(|file| file.tensor("output_norm.weight").2 = I32, &["output_norm.weight", "I32"]);
}

#[test]
fn options_that_leave_no_room_are_refused() {
    let load =
        |options: LoadOptions<'_>| load_gguf(File::good().gguf(), &options).err().map(|e| e.to_string());
    let error = load(LoadOptions { kv_bytes_max: 1000, ..options() }).expect("no block fits");
    assert!(error.contains("1000 bytes") && error.contains("4096"), "{error}");
    assert!(load(LoadOptions { step_tokens_max: 0, ..options() }).is_some());
    assert!(load(LoadOptions { context_tokens_max: Some(0), ..options() }).is_some());
}

#[test]
fn the_files_context_length_caps_the_wanted_one() {
    for (wanted, found) in [(None, 64), (Some(16), 16), (Some(1000), 64)] {
        let options = LoadOptions { context_tokens_max: wanted, ..options() };
        let model = load_gguf(File::good().gguf(), &options).expect("the file is good");
        assert_eq!(model.info().context_tokens_max, found);
    }
}

#[test]
fn bad_batches_are_refused_and_the_model_stays_usable() {
    let mut model = load_gguf(File::good().gguf(), &options()).expect("the file is good");
    let mut refused = |tokens: &[u32], context: usize, table: &[u32], rows: &[u32]| {
        let mut batch = Batch::default();
        batch.push_span(tokens, context, table);
        batch.rows.extend(rows);
        model.forward(&batch, &|_, _| {}).err()
    };
    assert!(matches!(refused(&[40], 0, &[0], &[]), Some(ForwardError::Token { token: 40, vocab: 40 })));
    assert!(refused(&[1; 17], 0, &[0], &[]).is_some(), "too few blocks");
    assert!(refused(&[1; 8], 60, &[0, 1, 2, 3, 4], &[]).is_some(), "longer than the context");
    assert!(refused(&[1], 0, &[1 << 30], &[]).is_some(), "no such block");
    assert!(refused(&[], 0, &[0], &[]).is_some(), "an empty span");
    assert!(refused(&[1, 2], 0, &[0], &[1, 0]).is_some(), "rows not ascending");
    assert!(refused(&[1, 2], 0, &[0], &[2]).is_some(), "no such row");
    assert!(refused(&[1, 2], 0, &[0], &[1]).is_none());
}

#[test]
fn rope_factors_and_scaling_change_what_is_far() {
    let plain = logits(&File::good());
    let mut same = File::good();
    same.tensors.push(("rope_freqs.weight".to_owned(), vec![8], F32));
    // The writer's pattern has weights below zero, which no frequency may be divided by.
    assert!(load_gguf(same.gguf(), &options()).is_err());
    let mut linear = File::good();
    linear.texts.push(("rope.scaling.type", "linear"));
    linear.numbers.push(("rope.scaling.factor", 1.0));
    assert_eq!(logits(&linear), plain);
    linear.numbers.pop();
    linear.numbers.push(("rope.scaling.factor", 4.0));
    assert_ne!(logits(&linear), plain);
    let mut yarn = linear;
    yarn.texts = vec![("rope.scaling.type", "yarn")];
    yarn.set("rope.scaling.original_context_length", 16);
    assert!(logits(&yarn).iter().all(|logit| logit.is_finite()));
}
