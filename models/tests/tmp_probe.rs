mod support;
use std::sync::Arc;
use bandmaster_kernels::Cpu;
use bandmaster_models::{LoadOptions, load};
use support::*;
#[test]
fn probe() {
    let text = std::fs::read_to_string(shared_path("reference/logprobs.json").unwrap()).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, r) in [("smollm2-135m", "smollm2-135m-instruct-q4_1"), ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct-q4_k_m"), ("qwen2.5-coder-1.5b","qwen2.5-coder-1.5b-instruct-q4_k_m")] {
        for exact in [false] {
            if exact && name.ends_with("1.5b") { continue; }
            let cpu = Arc::new(Cpu::new(2));
            let mut m = load(&model_path(name).unwrap(), &LoadOptions { exact, ..LoadOptions::new(cpu, 256 << 20) }).unwrap();
            for (n, g) in all[r]["greedy"].as_array().unwrap().iter().enumerate() {
                let ids = |v: &serde_json::Value| v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect::<Vec<_>>();
                let (p, t) = (ids(&g["prompt_tokens"]), ids(&g["tokens"]));
                let all: Vec<u32> = p.iter().chain(&t).copied().collect();
                let top = g["top"].as_array().unwrap();
                let tops: Vec<Vec<(u32, f64)>> = top.iter().map(|t| t.as_array().unwrap().iter().map(|x| (x[0].as_u64().unwrap() as u32, x[1].as_f64().unwrap())).collect()).collect();
                let rows = each_row(&mut m, &all[..all.len() - 1], p.len() - 1, &|i, l| {
                    let j = i + 1 - p.len();
                    let s = log_sum_exp(l);
                    (argmax(l), tops[j].iter().map(|(t, _)| l[*t as usize] as f64 - s).collect::<Vec<_>>())
                });
                for (j, (best, lp)) in rows.iter().enumerate() {
                    if *best != t[j] { eprintln!("{name} exact={exact} prompt {n} token {j}: best {best} ref {:?} ours {lp:.3?}", tops[j]); }
                }
            }
        }
    }
}
