//! Times candle's quantized models on a GGUF file: one sequence, prefill and decode apart, medians over the rounds.
//!
//! The same work as `bandmaster bench throughput --batch 1`: random prompt tokens, fresh each round, an empty cache, then
//! forward passes of one token, end-of-sequence ignored. Threads: `RAYON_NUM_THREADS`.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};

const USAGE: &str =
    "usage: candle-peer MODEL.gguf [--prompt-tokens 128] [--gen-tokens 24] [--warmup 1] [--repeat 3]";

struct Flags {
    model: String,
    prompt_tokens: usize,
    gen_tokens: usize,
    warmup: usize,
    repeat: usize,
}

impl Flags {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Flags> {
        let mut flags =
            Flags { model: String::new(), prompt_tokens: 128, gen_tokens: 24, warmup: 1, repeat: 3 };
        while let Some(word) = words.next() {
            let number = match word.as_str() {
                "--prompt-tokens" => &mut flags.prompt_tokens,
                "--gen-tokens" => &mut flags.gen_tokens,
                "--warmup" => &mut flags.warmup,
                "--repeat" => &mut flags.repeat,
                _ if word.starts_with('-') || !flags.model.is_empty() => bail!("`{word}`? {USAGE}"),
                _ => {
                    flags.model = word;
                    continue;
                }
            };
            let value = words.next().with_context(|| format!("{word} needs a number"))?;
            *number = value.parse().with_context(|| format!("{word} {value}"))?;
        }
        if flags.model.is_empty() || flags.prompt_tokens == 0 || flags.gen_tokens == 0 || flags.repeat == 0 {
            bail!(USAGE);
        }
        Ok(flags)
    }
}

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

impl Model {
    /// The model and its vocabulary's size.
    fn load(path: &Path) -> Result<(Model, usize)> {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        let content = Content::read(&mut file)?;
        let get = |key: &str| content.metadata.get(key).with_context(|| format!("no key `{key}`"));
        let architecture = get("general.architecture")?.to_string()?.clone();
        let vocab = get("tokenizer.ggml.tokens")?.to_vec()?.len();
        let model = match architecture.as_str() {
            "llama" => {
                Model::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
            }
            "qwen2" => {
                Model::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
            }
            other => bail!("candle's `{other}` is not measured here; llama and qwen2 are"),
        };
        Ok((model, vocab))
    }

    /// Computes `tokens` behind `context` earlier ones and returns the likeliest next token.
    fn forward(&mut self, tokens: &[u32], context: usize) -> Result<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match self {
            Model::Llama(model) => model.forward(&input, context)?,
            Model::Qwen2(model) => model.forward(&input, context)?,
        };
        Ok(logits.squeeze(0)?.argmax(0)?.to_scalar()?)
    }

    fn clear_cache(&mut self) {
        match self {
            Model::Llama(model) => model.clear_kv_cache(),
            Model::Qwen2(model) => model.clear_kv_cache(),
        }
    }
}

/// Seconds of prefill and of all decode passes.
fn round(model: &mut Model, prompt: &[u32], gen_tokens: usize) -> Result<(f64, f64)> {
    model.clear_cache();
    let started = Instant::now();
    let mut next = model.forward(prompt, 0)?;
    let prefill_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    for generated in 0..gen_tokens {
        next = model.forward(&[next], prompt.len() + generated)?;
    }
    Ok((prefill_s, started.elapsed().as_secs_f64()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn main() -> Result<()> {
    let flags = Flags::parse(std::env::args().skip(1))?;
    let (mut model, vocab) = Model::load(Path::new(&flags.model))?;
    let mut state = 1u64;
    let mut times = Vec::new();
    for number in 0..flags.warmup + flags.repeat {
        let prompt: Vec<u32> = (0..flags.prompt_tokens)
            .map(|_| {
                // Knuth's linear congruential generator; the high bits are the good ones.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % vocab as u64) as u32
            })
            .collect();
        let measured = round(&mut model, &prompt, flags.gen_tokens)?;
        if number >= flags.warmup {
            times.push(measured);
        }
    }
    let prefill_s = median(times.iter().map(|time| time.0).collect());
    let decode_s = median(times.iter().map(|time| time.1).collect());
    println!(
        "{}",
        serde_json::json!({
            "peer": "candle 0.11.1",
            "model": flags.model,
            "batch": 1,
            "prompt_tokens": flags.prompt_tokens,
            "gen_tokens": flags.gen_tokens,
            "prefill_tokens_per_s": flags.prompt_tokens as f64 / prefill_s,
            "decode_tokens_per_s": flags.gen_tokens as f64 / decode_s,
            "prefill_s": prefill_s,
            "decode_s": decode_s,
        })
    );
    Ok(())
}
