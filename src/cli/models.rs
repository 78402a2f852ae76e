//! `models`: list, pull, import, verify, rm, tokenize.

use std::process::ExitCode;

use super::bars::Bars;
use super::config::Config;
use super::error::CliError;
use super::flags::{ImportFlags, ModelsCommand, RoleFlag};
use super::tokenize::tokenize;
use super::{inputs, print, print_json, table, terminal};
use crate::hub::{Band, Catalog, Hub, ImportOptions, ListedModel, Role, format_file_size};

pub fn models(config: &Config, command: ModelsCommand) -> Result<ExitCode, CliError> {
    let hub = config.hub();
    match command {
        ModelsCommand::List { json } => list(&hub, json),
        ModelsCommand::Pull { names } => pull(&hub, &names),
        ModelsCommand::Import(flags) => import(&hub, &flags),
        ModelsCommand::Verify { name } => verify(&hub, name.as_deref()),
        ModelsCommand::Tokenize(flags) => tokenize(config, &flags),
        ModelsCommand::Rm { name } => {
            let bytes = hub.rm(&name)?;
            print(&format!("{name}: removed, {} freed\n", format_file_size(bytes)))
        }
    }
}

fn list(hub: &Hub, json: bool) -> Result<ExitCode, CliError> {
    let rows = hub.list();
    hub.broken().iter().for_each(|broken| inputs::warn(broken));
    if json {
        return print_json(&rows);
    }
    let mut cells =
        vec![["NAME", "ROLE", "SIZE", "INSTALLED", "LICENCE", "SOURCE"].map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(row_of));
    print(&table(&cells))
}

fn row_of(model: &ListedModel) -> Vec<String> {
    let about = if model.verified { "" } else { "about " };
    vec![
        model.name.clone(),
        model.role.name().to_owned(),
        format!("{about}{}", format_file_size(model.bytes)),
        if model.installed { "yes" } else { "no" }.to_owned(),
        model.licence.clone().unwrap_or_else(|| "unknown".to_owned()),
        model.source.clone(),
    ]
}

fn pull(hub: &Hub, names: &[String]) -> Result<ExitCode, CliError> {
    let default = Band::from(Catalog::builtin().default_band());
    let names: Vec<&str> = names
        .iter()
        .flat_map(|name| if name == "default" { default.models() } else { vec![name.as_str()] })
        .collect();
    let mut bars = Bars::new(false);
    for name in names {
        let model = hub.pull(name, &mut |progress| bars.show(progress))?;
        print(&format!("{}: {} in {}\n", model.name, format_file_size(model.bytes), model.path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn import(hub: &Hub, flags: &ImportFlags) -> Result<ExitCode, CliError> {
    if flags.name.is_some() && flags.files.len() > 1 {
        return Err(CliError::usage("--name names one model: import one file with it"));
    }
    let role = flags.role.map(|role| match role {
        RoleFlag::Planner => Role::Planner,
        RoleFlag::Worker => Role::Worker,
        RoleFlag::Base => Role::Base,
    });
    let options = ImportOptions { name: flags.name.clone(), role, copy: flags.copy };
    let mut bars = Bars::new(false);
    for file in &flags.files {
        let (model, method) = hub.import(file, &options, &mut |progress| bars.show(progress))?;
        let how = method.map_or("was already installed", |method| method.description());
        let line =
            format!("{} ({}): {}, {how}\n", model.name, model.role.name(), format_file_size(model.bytes));
        print(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(hub: &Hub, name: Option<&str>) -> Result<ExitCode, CliError> {
    let mut models = hub.installed();
    if let Some(name) = name {
        let found = hub.find(name)?;
        models.retain(|model| model.name == found.name);
        if models.is_empty() {
            return Err(CliError::usage(format!(
                "{name} is a file of your own: there is no checksum to compare it with"
            )));
        }
    }
    let mut bars = Bars::new(false);
    let mut wrong = 0;
    for model in &models {
        match hub.verify(model, &mut |progress| bars.show(progress)) {
            Ok(()) => print(&format!("{}: good, sha256 {}\n", model.name, model.sha256))?,
            Err(error) => {
                wrong += 1;
                terminal::err(&format!("{}: {error}\n", model.name));
                ExitCode::FAILURE
            }
        };
    }
    if models.is_empty() {
        return print("nothing is installed\n");
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
