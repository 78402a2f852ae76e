//! Turns `--url` flags into endpoints: which server answers for which model.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;

use super::config::Config;
use super::error::CliError;
use crate::client::{Client, Endpoint};

/// Environment variable with the servers' API key, as most OpenAI clients use.
const KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// A `--url`, optionally for one role: `worker=http://127.0.0.1:8081`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleUrl<'a> {
    role: Option<&'a str>,
    url: &'a str,
}

impl<'a> RoleUrl<'a> {
    pub fn parse(typed: &'a str) -> Self {
        match typed.split_once('=') {
            // A `=` after a colon belongs to the URL itself.
            Some((role, url)) if !role.contains(':') => Self { role: Some(role), url },
            _ => Self { role: None, url: typed },
        }
    }
}

/// A client that gives up on a server after this many seconds of silence.
pub fn client(timeout_seconds: u64) -> Result<Client, CliError> {
    if timeout_seconds == 0 {
        return Err(CliError::usage("--timeout-seconds must be at least 1"));
    }
    Client::new(Duration::from_secs(timeout_seconds)).map_err(|error| CliError::Failed(anyhow!(error)))
}

/// The endpoint for one server and model. Without a name, the server's only model is used.
pub async fn endpoint(
    config: &Config,
    client: &Client,
    url: &str,
    model: Option<&str>,
) -> Result<Endpoint, CliError> {
    let key = || std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    let at = |model: &str| {
        Endpoint::new(url, model, key(), config.offline.value)
            .map_err(|error| CliError::usage(error.to_string()))
    };
    let failed = |error| CliError::Failed(anyhow::Error::new(error));
    if let Some(model) = model {
        return at(model);
    }
    let models = client.models(&at("")?).await.map_err(failed)?;
    match models.as_slice() {
        [only] => at(only),
        [] => Err(CliError::usage(format!("{url} names no models: say which with --model"))),
        several => Err(CliError::usage(format!("{url} has {}: say which with --model", several.join(", ")))),
    }
}

/// Assigns a server to each role. A single URL serves all roles; of several, each serves the roles it is named for
/// (`ROLE=URL`) or those whose model it lists.
pub async fn by_role(
    config: &Config,
    client: &Client,
    named: &[RoleUrl<'_>],
    models: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Endpoint>, CliError> {
    if let Some(unknown) = named.iter().filter_map(|at| at.role).find(|role| !models.contains_key(*role)) {
        let known = models.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(CliError::usage(format!("--url {unknown}=…: the trace's roles are {known}")));
    }
    let mut listed = Vec::new();
    for at in named {
        let endpoint = endpoint(config, client, at.url, Some("")).await?;
        let has =
            client.models(&endpoint).await.map_err(|error| CliError::Failed(anyhow::Error::new(error)))?;
        listed.push((*at, has));
    }
    let mut endpoints = BTreeMap::new();
    for (role, model) in models {
        let named_for_role = listed.iter().find(|(at, _)| at.role == Some(role));
        let has = |has: &[String]| has.iter().any(|other| is_same_model(other, model));
        let mut open = listed.iter().filter(|(at, _)| at.role.is_none());
        let only = open.clone().next().filter(|_| open.clone().count() == 1);
        let found = named_for_role.or_else(|| open.find(|(_, names)| has(names))).or(only);
        let (at, names) = found.ok_or_else(|| {
            let there = listed.iter().map(|(at, names)| format!("{} has {}", at.url, names.join(", ")));
            let there = there.collect::<Vec<_>>().join("; ");
            CliError::usage(format!(
                "no server for {role} ({model}): {there}; name one with --url {role}=URL"
            ))
        })?;
        // Use the server's spelling of the name. A server with one model uses that one, whatever the trace names.
        let name = match (names.iter().find(|name| is_same_model(name, model)), names.as_slice()) {
            (Some(same), _) => same,
            (None, [only]) => only,
            (None, []) => model,
            (None, several) => {
                let several = several.join(", ");
                let choose = format!("choose one for {role} with --role {role}=NAME");
                return Err(CliError::usage(format!("{} has no {model} but {several}: {choose}", at.url)));
            }
        };
        endpoints.insert(role.clone(), endpoint(config, client, at.url, Some(name)).await?);
    }
    Ok(endpoints)
}

/// Whether a server's name for a model, which may be a path, means the same model as ours.
fn is_same_model(server: &str, model: &str) -> bool {
    let plain = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file.strip_suffix(".gguf").unwrap_or(file).to_lowercase()
    };
    plain(server) == plain(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_be_for_one_role() {
        let check = |typed, role, url| assert_eq!(RoleUrl::parse(typed), RoleUrl { role, url });
        check("http://127.0.0.1:8080", None, "http://127.0.0.1:8080");
        check("worker=http://127.0.0.1:8081", Some("worker"), "http://127.0.0.1:8081");
        check("http://host/v1?key=1", None, "http://host/v1?key=1");
        check("a=b", Some("a"), "b");
    }

    #[test]
    fn a_path_and_a_name_are_the_same_model() {
        assert!(is_same_model("/models/SmolLM2-135M.gguf", "smollm2-135m"));
        assert!(!is_same_model("/models/smollm2-135m.gguf", "smollm2-360m"));
    }
}
