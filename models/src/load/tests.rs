//! Files that contradict themselves, and the errors they must give. The file is the smallest decoder: one F32 layer.

use std::sync::Arc;

use bandmaster_kernels::Cpu;

use super::*;
use crate::batch::Batch;
use crate::error::ForwardError;
use crate::gguf::Writer;
use crate::model::Model;

const F32: u32 = 0;
const VOCAB: u64 = 40;

/// What a test changes in the file before it is written.
struct File {
    architecture: &'static str,
    counts: Vec<(&'static str, u32)>,
    texts: Vec<(&'static str, &'static str)>,
    numbers: Vec<(&'static str, f32)>,
    truths: Vec<(&'static str, bool)>,
    tensors: Vec<(String, Vec<u64>, u32)>,
    /// Whether the rope divisors are above zero, as they must be.
    positive: bool,
    /// Index of the tensor whose numbers differ.
    other: Option<usize>,
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
            truths: Vec::new(),
            tensors,
            positive: false,
            other: None,
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
        Gguf::from_bytes(self.bytes()).expect("a well-formed file")
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let full = |key: &str| format!("{}.{key}", self.architecture);
        writer.set("general.architecture", self.architecture);
        self.counts.iter().for_each(|(key, value)| _ = writer.set(&full(key), value));
        self.texts.iter().for_each(|(key, value)| _ = writer.set(&full(key), *value));
        self.numbers.iter().for_each(|(key, value)| _ = writer.set(&full(key), value));
        self.truths.iter().for_each(|(key, value)| _ = writer.set(&full(key), value));
        for (at, (name, shape, ggml_type)) in self.tensors.iter().enumerate() {
            let step = if self.other == Some(at) { 41 } else { 37 };
            let middle = if self.positive && name == "rope_freqs.weight" { -50.0 } else { 50.0 };
            let weight = |i: u64| ((i * step % 101) as f32 - middle) / 200.0;
            let data: Vec<u8> =
                (0..shape.iter().product()).flat_map(|i: u64| weight(i).to_le_bytes()).collect();
            writer.tensor(name, shape, *ggml_type, &data);
        }
        writer.finish()
    }
}

fn options() -> LoadOptions<'static> {
    LoadOptions::new(Arc::new(Cpu::new(1)), 1 << 20)
}

/// The good file after `change` must give an error that contains all of `words`.
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

/// The logits of the last of a few tokens.
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
    for part in ["attn_q.bias", "attn_k.bias", "attn_v.bias"] {
        // One of them alone matches none of the known shapes.
        let alone = |file: &mut File| {
            file.tensors.push((
                format!("blk.0.{part}"),
                vec![if part == "attn_q.bias" { 32 } else { 16 }],
                F32,
            ))
        };
        check(alone, &["attn_", ".bias"]);
    }
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
    // The writer's pattern has weights below zero, by which no frequency may be divided.
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

/// Tensors that other decoders have and this one does not use.
const FOREIGN: [&str; 24] = [
    "output.bias",
    "output_norm.bias",
    "token_embd_norm.weight",
    "position_embd.weight",
    "token_types.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "cls.weight",
    "token_embd.weight.lora_a",
    "blk.0.attn_norm.bias",
    "blk.0.attn_norm_2.weight",
    "blk.0.attn_q_norm.weight",
    "blk.0.attn_sinks.weight",
    "blk.0.attn_q.weight.lora_b",
    "blk.0.attn_q.scale",
    "blk.0.post_attention_norm.weight",
    "blk.0.ffn_gate.bias",
    "blk.0.ffn_up.bias",
    "blk.0.ffn_down.bias",
    "blk.0.ffn_norm.bias",
    "blk.0.ffn_gate_inp.weight",
    "blk.0.ffn_gate_exps.weight",
    "blk.1.attn_norm.weight",
    "v.patch_embd.weight",
];

#[test]
fn tensor_that_would_not_be_computed_with_is_refused_by_its_name() {
    for name in FOREIGN {
        check(
            |file| file.tensors.push((name.to_owned(), vec![32], F32)),
            &[&format!("`{name}`"), "would be ignored"],
        );
    }
    let block = |file: &mut File| file.tensors.push(("blk.7.ffn_up.weight".to_owned(), vec![32, 64], F32));
    check(block, &["`blk.7.ffn_up.weight`", "llama.block_count", "1 blocks"]);
    let hidden = |file: &mut File| {
        let scaled =
            file.tensors.iter().position(|(name, ..)| name == "output_norm.weight").expect("it is there");
        file.tensors.insert(scaled, ("a".repeat(5000), vec![1], F32));
    };
    check(hidden, &["aaaa…"]);
}

#[test]
fn tensors_that_mean_nothing_are_left_out() {
    let mut file = File::good();
    file.tensors.push(("blk.0.attn_rot_embd.weight".to_owned(), vec![8], F32));
    assert_eq!(logits(&file), logits(&File::good()));
}

/// Every tensor of the file is used: changing its numbers changes the logits.
#[test]
fn every_tensor_is_computed_with() {
    let mut whole = File::good();
    let biases = [("attn_q", 32), ("attn_k", 16), ("attn_v", 16), ("attn_output", 32)];
    whole.tensors.extend(biases.map(|(part, len)| (format!("blk.0.{part}.bias"), vec![len], F32)));
    whole.tensors.push(("output.weight".to_owned(), vec![32, VOCAB], F32));
    whole.tensors.push(("rope_freqs.weight".to_owned(), vec![8], F32));
    whole.positive = true;
    let expected = logits(&whole);
    for at in 0..whole.tensors.len() {
        whole.other = Some(at);
        assert_ne!(logits(&whole), expected, "{} changes nothing", whole.tensors[at].0);
    }
}

#[test]
fn keys_that_would_change_what_is_computed_are_refused() {
    let wholes = [
        ("expert_used_count", 2),
        ("nextn_predict_layers", 1),
        ("pooling_type", 1),
        ("interleave_moe_layer_step", 2),
        ("leading_dense_block_count", 1),
        ("attention.q_lora_rank", 8),
        ("something.new", 7),
    ];
    for (key, value) in wholes {
        check(|file| file.set(key, value), &[&format!("llama.{key}"), &value.to_string()]);
        let mut off = File::good();
        off.set(key, 0);
        assert_eq!(logits(&off), logits(&File::good()), "{key} is off");
    }
    let numbers = [
        "attention.scale",
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attention.temperature_scale",
        "attn_logit_softcapping",
        "embedding_scale",
        "residual_scale",
        "logit_scale",
        "rope.scaling.attn_factor",
        "rope.scaling.yarn_ext_factor",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_log_multiplier",
        "unheard_of",
    ];
    for key in numbers {
        check(|file| file.numbers.push((key, 0.75)), &[&format!("llama.{key}"), "0.75"]);
    }
    check(|file| file.texts.push(("hidden_activation", "gelu")), &["llama.hidden_activation", "gelu"]);
    check(|file| file.truths.push(("attention.causal", false)), &["llama.attention.causal", "false"]);
    check(|file| file.truths.push(("use_parallel_residual", true)), &["llama.use_parallel_residual", "true"]);
}

#[test]
fn keys_that_say_what_is_done_anyway_do_no_harm() {
    let mut file = File::good();
    file.set("vocab_size", 4711);
    file.set("attention.key_length", 16);
    file.set("attention.value_length", 16);
    file.set("attention.sliding_window_pattern", 6);
    file.texts.extend([("tensor_data_layout", "Meta AI original pth"), ("hidden_activation", "silu")]);
    file.truths.extend([("attention.causal", true), ("use_parallel_residual", false)]);
    let root = 0.25;
    let numbers = [
        ("attention.scale", root),
        ("logit_scale", 1.0),
        ("embedding_scale", 0.0),
        ("rope.scaling.attn_factor", 1.0),
    ];
    file.numbers.extend(numbers);
    assert_eq!(logits(&file), logits(&File::good()));
}

#[test]
fn rope_factor_without_a_type_is_linear_and_two_scalings_at_once_are_refused() {
    let scaled = |keys: &[(&'static str, f32)], kind: Option<&'static str>| {
        let mut file = File::good();
        file.numbers.extend(keys);
        file.texts.extend(kind.map(|kind| ("rope.scaling.type", kind)));
        file
    };
    let linear = logits(&scaled(&[("rope.scaling.factor", 4.0)], Some("linear")));
    for keys in [[("rope.scaling.factor", 4.0)], [("rope.scale_linear", 4.0)]] {
        assert_eq!(logits(&scaled(&keys, None)), linear, "{keys:?}");
    }
    assert_eq!(logits(&scaled(&[("rope.scaling.factor", 4.0)], Some("none"))), logits(&File::good()));
    let both = |file: &mut File| {
        file.positive = true;
        file.tensors.push(("rope_freqs.weight".to_owned(), vec![8], F32));
        file.numbers.push(("rope.scaling.factor", 4.0));
    };
    check(both, &["llama.rope.scaling.type", "linear"]);
}

#[test]
fn file_that_is_cut_after_it_was_opened_is_refused_and_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("m.gguf");
    let bytes = File::good().bytes();
    for left in [0, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes).expect("written");
        let gguf = Gguf::open(&path).expect("a good file");
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(left as u64))
            .expect("cut");
        let error =
            load_gguf(gguf, &options()).map(|_| ()).expect_err("nothing is computed with zeros").to_string();
        // Either the first missing part is named, or the file that was truncated.
        assert!(error.contains("m.gguf") || error.contains("tensor"), "{left}: {error}");
    }
}

/// The good file with its own output matrix, so that embedding rows are read from the file while the model lives.
#[test]
fn model_whose_file_changes_meanwhile_says_so_and_lives() {
    let harms: [fn(&std::path::Path); 2] = [
        |path| std::fs::File::options().write(true).open(path).and_then(|file| file.set_len(0)).expect("cut"),
        |path| {
            let bytes = std::fs::read(path).expect("read");
            std::fs::write(path, bytes).expect("written in place");
        },
    ];
    for harm in harms {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("m.gguf");
        let mut file = File::good();
        file.tensors.push(("output.weight".to_owned(), vec![32, VOCAB], F32));
        std::fs::write(&path, file.bytes()).expect("written");
        // Set long ago, because many file systems' clocks advance only every few milliseconds.
        let written = std::fs::File::options().write(true).open(&path).expect("opened");
        written.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("dated back");
        let mut model = load(&path, &options()).expect("a good file");
        let mut batch = Batch::default();
        batch.push_span(&[1, 2, 3], 0, &[0]);
        batch.rows.push(2);
        model.forward(&batch, &|_, _| {}).expect("a good batch");
        harm(&path);
        let lost = model.forward(&batch, &|_, _| {}).expect_err("it is no longer the model's");
        assert!(matches!(lost, ForwardError::FileChanged(_)), "{lost}");
        assert!(lost.to_string().contains("m.gguf") && lost.to_string().contains("pull"), "{lost}");
    }
}
