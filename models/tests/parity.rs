//! Real models against llama.cpp's log-probabilities and against exact arithmetic. Needs the models and the reference
//! file; says "skipped" without them. Meant for release builds.

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bandmaster_kernels::Cpu;
use bandmaster_models::{CpuModel, KvType, LoadOptions, load};
use serde_json::Value;
use support::{Sequence, argmax, each_row, log_sum_exp, model_path, step};

const KV_BYTES: usize = 256 << 20;
/// A step where the reference's two best are nearer than this decides nothing.
const TIE: f64 = 0.15;

/// File name of the model, its name in the reference.
const MODELS: [(&str, &str); 3] = [
    ("smollm2-135m", "smollm2-135m-instruct-q4_1"),
    ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct-q4_k_m"),
    ("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b-instruct-q4_k_m"),
];

/// Tokens with their log-probabilities, best first.
type Top = Vec<(u32, f64)>;

struct Reference {
    tokens: Vec<u32>,
    /// Index of a token, and the ten most likely in its place.
    rows: Vec<(usize, Top)>,
    greedy: Vec<Greedy>,
}

struct Greedy {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    top: Vec<Top>,
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn top(value: &Value) -> Top {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap());
    value.as_array().unwrap().iter().map(pair).collect()
}

fn reference(name: &str) -> Option<Reference> {
    let text = std::fs::read_to_string(bandmaster_test_support::shared("reference/logprobs.json")?).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    Some(as_reference(&all[name]))
}

fn as_reference(model: &Value) -> Reference {
    let row = |row: &Value| (row["position"].as_u64().unwrap() as usize, top(&row["top"]));
    let greedy = |greedy: &Value| Greedy {
        prompt: ids(&greedy["prompt_tokens"]),
        tokens: ids(&greedy["tokens"]),
        top: greedy["top"].as_array().unwrap().iter().map(top).collect(),
    };
    Reference {
        tokens: ids(&model["tokens"]),
        rows: model["rows"].as_array().unwrap().iter().map(row).collect(),
        greedy: model["greedy"].as_array().unwrap().iter().map(greedy).collect(),
    }
}

fn loaded(name: &str, exact: bool) -> Option<CpuModel> {
    Some(loaded_from(&model_path(name)?, exact))
}

fn loaded_from(path: &Path, exact: bool) -> CpuModel {
    let cpu = Arc::new(Cpu::new(2));
    load(path, &LoadOptions { exact, ..LoadOptions::new(cpu, KV_BYTES) }).unwrap()
}

/// Runs `check` on each model that is there.
fn for_each_model(check: impl Fn(&str, &Reference)) {
    for (name, reference_name) in MODELS {
        if model_path(name).is_some()
            && let Some(reference) = reference(reference_name)
        {
            check(name, &reference);
        }
    }
}

/// A row's most likely token, and log-probabilities of the reference's ten.
type Score = (u32, Vec<f64>);

fn scores(model: &mut CpuModel, reference: &Reference) -> Vec<Score> {
    let last = reference.rows.last().unwrap().0;
    let rows = each_row(model, &reference.tokens[..last], 0, &|index, logits| {
        let (_, ten) = reference.rows.iter().find(|(at, _)| *at == index + 1)?;
        let sum = log_sum_exp(logits);
        let of = |&(token, _): &(u32, f64)| f64::from(logits[token as usize]) - sum;
        Some((argmax(logits), ten.iter().map(of).collect()))
    });
    rows.into_iter().flatten().collect()
}

/// Distances between two sets of log-probabilities of the same tokens.
#[derive(Debug)]
struct Distance {
    /// Share of rows with the same most likely token.
    top1: f64,
    /// Mean |Δ log p| of the first set's most likely token.
    delta: f64,
    /// Mean Kullback-Leibler divergence over the ten, made to sum to one.
    kl: f64,
    /// Root of the mean squared Δ log p over the ten.
    rms: f64,
}

/// `a` is the truth: its tokens are in order, so that its best is the first.
fn distance(a: &[Score], b: &[Score]) -> Distance {
    assert_eq!(a.len(), b.len());
    let mean = |of: &dyn Fn(&Score, &Score) -> f64| {
        a.iter().zip(b).map(|(a, b)| of(a, b)).sum::<f64>() / a.len() as f64
    };
    Distance {
        top1: mean(&|a, b| f64::from(a.0 == b.0)),
        delta: mean(&|a, b| (a.1[0] - b.1[0]).abs()),
        kl: mean(&|a, b| kl(&a.1, &b.1)),
        rms: mean(&|a, b| a.1.iter().zip(&b.1).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 10.0).sqrt(),
    }
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x.exp()).sum::<f64>().ln();
    let (p_norm, q_norm) = (norm(p), norm(q));
    p.iter().zip(q).map(|(p, q)| (p - p_norm).exp() * ((p - p_norm) - (q - q_norm))).sum()
}

fn as_scores(reference: &Reference) -> Vec<Score> {
    reference.rows.iter().map(|(_, ten)| (ten[0].0, ten.iter().map(|(_, p)| *p).collect())).collect()
}

#[test]
fn log_probabilities_are_those_of_llama_cpp() {
    for_each_model(|name, reference| {
        let mut model = loaded(name, false).unwrap();
        let found = distance(&as_scores(reference), &scores(&mut model, reference));
        eprintln!("{name}: from llama.cpp {found:.4?}");
        assert!(found.top1 >= 0.95, "{name}: top-1 {found:?}");
        assert!(found.delta <= 0.06, "{name}: mean delta {found:?}");
        assert!(found.kl <= 0.005, "{name}: KL {found:?}");
    });
}

/// Weights as in the file, everything else in f32: what both llama.cpp and our kernels round.
#[test]
fn quantized_activations_are_no_further_from_exact_than_those_of_llama_cpp() {
    for_each_model(|name, reference| {
        let (ours, theirs) = distances_from_exact(&model_path(name).unwrap(), reference);
        assert!(ours.kl <= theirs.kl, "{name}: KL {} and {}", ours.kl, theirs.kl);
        assert!(ours.rms <= theirs.rms, "{name}: rms {} and {}", ours.rms, theirs.rms);
    });
}

/// The distances of our kernels and of llama.cpp from exact arithmetic on the model's weights.
fn distances_from_exact(path: &Path, reference: &Reference) -> (Distance, Distance) {
    let exact = scores(&mut loaded_from(path, true), reference);
    let ours = distance(&exact, &scores(&mut loaded_from(path, false), reference));
    let theirs = distance(&exact, &as_scores(reference));
    eprintln!("{}: from exact, ours {ours:.5?} llama.cpp {theirs:.5?}", path.display());
    (ours, theirs)
}

/// The same for quantizations that no file of the default band has, made by `tests/long/quantized.py` in the folder that
/// `BANDMASTER_TEST_QUANTIZED` names. All are looked at before any fails. Where llama.cpp rounds activations as we do (blocks of 32: Q4_0
/// to Q8_0) chance decides who is nearer on a text, so more than chance must show that we are further away.
#[test]
fn every_quantization_is_no_further_from_exact_than_llama_cpp() {
    let Some(folder) = std::env::var_os("BANDMASTER_TEST_QUANTIZED") else {
        return bandmaster_test_support::skip(
            "BANDMASTER_TEST_QUANTIZED names no folder of quantized models",
        );
    };
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    models.sort();
    assert!(!models.is_empty(), "the folder has no models");
    let worse: Vec<String> = models.iter().filter_map(|path| further_than_llama_cpp(path)).collect();
    assert!(worse.is_empty(), "{worse:?}");
}

/// What to say where our mean KL is larger by more than three standard errors of the difference.
fn further_than_llama_cpp(path: &Path) -> Option<String> {
    let scores_path = path.with_extension("json");
    let text = std::fs::read_to_string(&scores_path).unwrap_or_else(|error| {
        panic!("{}: {error}; run tests/long/quantized.py to its end", scores_path.display())
    });
    let reference = as_reference(&serde_json::from_str(&text).unwrap());
    let exact = scores(&mut loaded_from(path, true), &reference);
    let (ours, theirs) = (scores(&mut loaded_from(path, false), &reference), as_scores(&reference));
    let of = |found: &[Score]| exact.iter().zip(found).map(|(a, b)| kl(&a.1, &b.1)).collect::<Vec<_>>();
    let (ours, theirs) = (of(&ours), of(&theirs));
    let rows = ours.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows;
    let more: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
    let spread = more.iter().map(|x| (x - mean(&more)).powi(2)).sum::<f64>() / (rows - 1.0);
    let error = (spread / rows).sqrt();
    let found = format!(
        "{}: KL from exact {:.6}, llama.cpp's {:.6}, more by {:.6} +- {error:.6}",
        path.file_name().unwrap().display(),
        mean(&ours),
        mean(&theirs),
        mean(&more)
    );
    eprintln!("{found}");
    (mean(&more) > 3.0 * error).then_some(found)
}

/// What `--kv-type q8` costs: most on Qwen2, whose keys have dimensions a hundred times larger than their neighbours.
#[test]
fn bytes_in_the_cache_cost_little() {
    for_each_model(|name, reference| {
        let full = scores(&mut loaded(name, false).unwrap(), reference);
        let cpu = Arc::new(Cpu::new(2));
        let options = LoadOptions { kv_type: KvType::Q8, ..LoadOptions::new(cpu, KV_BYTES) };
        let mut bytes = load(&model_path(name).unwrap(), &options).unwrap();
        let cost = distance(&full, &scores(&mut bytes, reference));
        eprintln!("{name}: q8 from f16 {cost:.5?}");
        assert!(cost.top1 >= 0.9 && cost.kl <= 0.03, "{name}: {cost:?}");
    });
}

/// Where llama.cpp is sure of a token and we say another, exact arithmetic must be unsure: then it is llama.cpp's rounding
/// that decided. All prompts are decoded together, so that this also crosses batching.
#[test]
fn greedy_continuations_are_those_of_llama_cpp_until_it_hesitates() {
    for_each_model(|name, reference| {
        let mut model = loaded(name, false).unwrap();
        let mut free: Vec<u32> = (0..256).collect();
        let begin =
            |greedy: &Greedy| Sequence::new(greedy.prompt.clone(), greedy.prompt.len() + 32, &mut free);
        let mut sequences: Vec<Sequence> = reference.greedy.iter().map(begin).collect();
        for place in 0..32 {
            for (number, best) in best_next(&mut model, &mut sequences).into_iter().enumerate() {
                let greedy = &reference.greedy[number];
                let (Some(best), Some(&wanted)) = (best, greedy.tokens.get(place)) else { continue };
                let top = &greedy.top[place];
                if top[0].1 - top[1].1 < TIE {
                    continue; // What follows is as good as another text: this one is done.
                }
                if best == wanted {
                    sequences[number].tokens.push(wanted);
                    continue;
                }
                let lead = exact_lead(name, &sequences[number].tokens, wanted, best);
                eprintln!(
                    "{name}, prompt {number}, token {place}: {best}; llama.cpp {top:?}, exact {lead:.3}"
                );
                assert!(lead < TIE, "exact arithmetic is sure of {wanted}");
            }
        }
    });
}

/// The most likely token after each sequence that has new tokens.
fn best_next(model: &mut CpuModel, sequences: &mut [Sequence]) -> Vec<Option<u32>> {
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
    let best = Mutex::new(vec![None; sequences.len()]);
    step(model, sequences, 512, 0, &|sequence, index, logits| {
        if index + 1 == lengths[sequence] {
            best.lock().unwrap()[sequence] = Some(argmax(logits));
        }
    });
    best.into_inner().unwrap()
}

/// By how much exact arithmetic prefers `a` to `b` after `tokens`, as a difference of log-probabilities.
fn exact_lead(name: &str, tokens: &[u32], a: u32, b: u32) -> f64 {
    let mut exact = loaded(name, true).unwrap();
    let lead = |_: usize, logits: &[f32]| f64::from(logits[a as usize] - logits[b as usize]);
    each_row(&mut exact, tokens, tokens.len() - 1, &lead)[0]
}
