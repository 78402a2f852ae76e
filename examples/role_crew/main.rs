//! A crew of three roles works on a goal: a researcher, a writer and a critic.
//!
//!     cargo run --release --example role_crew -- "GOAL" FILE CRITIC-MODEL RESEARCHER-MODEL WRITER-MODEL

#[path = "../common/mod.rs"]
mod common;
mod crew;

use std::sync::Arc;

use bandmaster::orchestrator::{Input, RunRequest};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [goal, file, critic, researcher, writer] = &arguments[..] else {
        anyhow::bail!(
            "give a goal, a text file, and the models of the critic, the researcher and the writer"
        );
    };
    let mut loaded = common::load(critic, &[researcher.clone(), writer.clone()])?;
    for (worker, role) in loaded.band.workers.iter_mut().zip(["researcher", "writer"]) {
        role.clone_into(&mut worker.name);
    }
    let text = std::fs::read_to_string(file)?;
    let inputs = vec![Input { name: file.clone(), text }];
    let request = RunRequest { inputs, ..RunRequest::new(goal) };
    let outcome = common::run(Arc::new(crew::Crew), &loaded.band, request)?;
    println!("{}", outcome.answer);
    loaded.engine.shutdown();
    Ok(())
}
