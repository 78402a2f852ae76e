//! `workers`: list, show.

use std::process::ExitCode;

use serde::Serialize;

use super::config::Config;
use super::error::CliError;
use super::flags::WorkersCommand;
use super::{print, print_json, table};
use crate::hub::{Hub, similar_names};
use crate::orchestrator::Worker;

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    /// As the user named it; `None` for a worker that is not a model.
    model: Option<String>,
    installed: bool,
    path: Option<String>,
    memory_bytes: u64,
    when: String,
}

pub fn workers(config: &Config, command: WorkersCommand) -> Result<ExitCode, CliError> {
    let hub = config.hub();
    let rows = rows(&hub, &config.band(&hub).workers)?;
    match command {
        WorkersCommand::List { json: true } => print_json(&rows),
        WorkersCommand::List { json: false } => {
            let mut cells = vec![["NAME", "KIND", "INSTALLED", "WHEN"].map(str::to_owned).to_vec()];
            cells.extend(rows.iter().map(|row| {
                let installed = if row.installed { "yes" } else { "no" };
                vec![row.name.clone(), row.kind.to_owned(), installed.to_owned(), row.when.clone()]
            }));
            print(&table(&cells))
        }
        WorkersCommand::Show { name, json } => {
            let row = rows.iter().find(|row| row.name == name).ok_or_else(|| {
                let names = || rows.iter().map(|row| row.name.as_str());
                let near = similar_names(&name, names());
                let names = if near.is_empty() { names().collect() } else { near };
                CliError::usage(format!("no worker is named {name}; the workers are {}", names.join(", ")))
            })?;
            if json { print_json(row) } else { print(&text(row)) }
        }
    }
}

fn rows(hub: &Hub, models: &[String]) -> Result<Vec<Row>, CliError> {
    let mut rows = Vec::new();
    for model in models {
        let missing = !hub.missing(&[model])?.is_empty();
        let found = if missing { None } else { Some(hub.find_text_model(model)?) };
        let bytes = found.as_ref().map_or_else(|| hub.bytes_estimate(model), |found| found.bytes);
        rows.push(Row {
            name: found.as_ref().map_or_else(|| model.clone(), |found| found.name.clone()),
            kind: "model",
            model: Some(model.clone()),
            installed: found.is_some(),
            path: found.as_ref().map(|found| found.path.display().to_string()),
            memory_bytes: found.map_or(0, |found| found.memory_bytes),
            when: Worker::when_by_size(bytes).to_owned(),
        });
    }
    let calculator = Worker::calculator();
    rows.push(Row {
        name: calculator.name,
        kind: "rule",
        model: None,
        installed: true,
        path: None,
        memory_bytes: 0,
        when: calculator.when,
    });
    Ok(rows)
}

fn text(row: &Row) -> String {
    let mut text = format!("{} ({})\n{}\n", row.name, row.kind, row.when);
    if let Some(path) = &row.path {
        text.push_str(&format!(
            "file    {path}\nmemory  about {}\n",
            crate::hub::format_memory_size(row.memory_bytes)
        ));
    } else if let Some(model) = &row.model {
        text.push_str(&format!("not installed: `bandmaster models pull {model}` fetches it\n"));
    }
    text
}
