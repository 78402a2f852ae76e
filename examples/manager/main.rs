//! A manager hands out tasks to workers, looks at their results, and hands out more until it is satisfied.
//!
//!     cargo run --release --example manager -- "GOAL" FILE TOKENS MANAGER-MODEL WORKER-MODEL...

#[path = "../common/mod.rs"]
mod common;
mod manager;

use std::sync::Arc;

use bandmaster::orchestrator::{Budget, Input, RunRequest};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [goal, file, tokens, planner, workers @ ..] = &arguments[..] else {
        anyhow::bail!(
            "give a goal, a text file, a budget in tokens, and the models of the manager and the workers"
        );
    };
    let loaded = common::load(planner, workers)?;
    let text = std::fs::read_to_string(file)?;
    let request = RunRequest {
        inputs: vec![Input { name: file.clone(), text }],
        budget: Budget { tokens: Some(tokens.parse()?), ..Budget::default() },
        ..RunRequest::new(goal)
    };
    let outcome = common::run(Arc::new(manager::Manager), &loaded.band, request)?;
    println!("{}", outcome.answer);
    loaded.engine.shutdown();
    Ok(())
}
