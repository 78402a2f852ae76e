//! Tests of the settings: tables of what is typed, set and written, and what must result.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Parser;

use super::{Config, Origin, ServeSettings};
use crate::cli::error::CliError;
use crate::cli::flags::{Cli, Command, ServeFlags};
use crate::cli::settings::ALL;
use crate::cli::settings::serve::{LogFormat, ModelAlias, Retention};

/// The settings that a command results in, with variables and the text of a `config.toml` in the folder `home`.
fn settings_of(
    words: &[&str],
    variables: &[(&str, &str)],
    file: &str,
    home: &Path,
) -> Result<Config, String> {
    fs::write(home.join("config.toml"), file).unwrap();
    let words = [&["bandmaster", "--home", home.to_str().unwrap()], words].concat();
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let lookup = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let none = ServeFlags::default();
    let settled = match &cli.command {
        Command::Run(flags) => Config::resolve(&cli.global, &flags.band, &none, &lookup),
        Command::Serve(flags) => Config::resolve(&cli.global, &flags.band, flags, &lookup),
        other => panic!("{other:?}"),
    };
    settled.map_err(|error| match error {
        CliError::Usage(message) => message,
        other => panic!("{other:?}"),
    })
}

/// The settings of `run`.
fn settings(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
    let home = tempfile::tempdir().unwrap();
    settings_of(&[&["run", "goal"], flags].concat(), variables, file, home.path())
}

/// The settings of `serve`.
fn serve(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<ServeSettings, String> {
    let home = tempfile::tempdir().unwrap();
    Ok(settings_of(&[&["serve"], flags].concat(), variables, file, home.path())?.serve)
}

/// Checks that a message has each of these parts.
fn has(message: &str, expected: &[&str]) {
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let file = "threads = 3\nmemory = \"6GiB\"\nplanner = \"from-file\"\n";
    let variables = [("BANDMASTER_THREADS", "2"), ("BANDMASTER_PLANNER", "from-environment")];
    let config = settings(&["--threads", "1"], &variables, file).unwrap();
    assert_eq!((config.threads.value, &config.threads.origin), (1, &Origin::Flag));
    assert_eq!(config.planner.unwrap().value, "from-environment");
    assert_eq!(config.memory_bytes.value, 6 << 30);
    assert!(matches!(config.memory_bytes.origin, Origin::File(_)));
    assert_eq!((config.context_tokens.value, config.context_tokens.origin), (8192, Origin::Default));
    let config = settings(&[], &variables, file).unwrap();
    assert_eq!((config.threads.value, config.threads.origin), (2, Origin::Environment("BANDMASTER_THREADS")));
}

#[test]
fn offline_is_said_in_four_ways() {
    let value = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        settings(flags, variables, file).unwrap().offline.value
    };
    assert!(!value(&[], &[], ""));
    assert!(value(&["--offline"], &[("BANDMASTER_OFFLINE", "0")], ""));
    assert!(value(&[], &[("BANDMASTER_OFFLINE", "1")], ""));
    assert!(value(&[], &[("HF_HUB_OFFLINE", "TRUE")], ""));
    assert!(value(&[], &[], "offline = true"));
    assert!(!value(&[], &[("BANDMASTER_OFFLINE", "0"), ("HF_HUB_OFFLINE", "1")], "offline = true"));
}

#[test]
fn collector_is_named_in_the_environment_or_the_file() {
    let named = |variables: &[(&str, &str)], file: &str| {
        settings(&[], variables, file).unwrap().serve.otlp_endpoint.map(|setting| setting.value)
    };
    let (ours, all) =
        (("BANDMASTER_OTLP_ENDPOINT", "http://ours"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all"));
    let file = "otlp-endpoint = \"http://file\"";
    assert_eq!(named(&[], ""), None);
    assert_eq!(named(&[], file).as_deref(), Some("http://file"));
    assert_eq!(named(&[all, ours], file).as_deref(), Some("http://ours"));
    let for_all = if cfg!(feature = "otel") { "http://all" } else { "http://file" };
    assert_eq!(named(&[all], file).as_deref(), Some(for_all), "a build that can't leaves it alone");
}

#[test]
fn wrong_settings_name_their_source_and_what_was_expected() {
    let check = |flags: &[&str], variables: &[(&str, &str)], file: &str, expected: &[&str]| {
        has(&settings(flags, variables, file).map(|_| ()).unwrap_err(), expected);
    };
    check(&["--threads", "0"], &[], "", &["--threads", "from 1 to 1024"]);
    check(&["--memory", "8 apples"], &[], "", &["--memory", "8GiB"]);
    check(&["--memory", "1MiB"], &[], "", &["--memory", "1MiB", "at least 256 MiB"]);
    check(&["--kv-type", "q4"], &[], "", &["--kv-type", "q4", "f16 or q8"]);
    check(&["--device", "cuda"], &[], "", &["--device", "not in this build", "cpu"]);
    check(&["--device", "gpu"], &[], "", &["gpu", "expected cpu"]);
    check(&["--context-tokens", "12"], &[], "", &["--context-tokens", "from 256"]);
    check(&[], &[("BANDMASTER_THREADS", "many")], "", &["BANDMASTER_THREADS", "many"]);
    check(&[], &[("BANDMASTER_OFFLINE", "perhaps")], "", &["BANDMASTER_OFFLINE", "perhaps"]);
    check(
        &[],
        &[("BANDMASTER_WORKERS", "a"), ("BANDMASTER_SERVE_PORT", "http")],
        "",
        &["_PORT=http", "65535"],
    );
    check(&[], &[], "memory = \"little\"", &["config.toml: memory = \"little\": expected a size", "8GiB"]);
    check(&[], &[], "threads = [3]", &["config.toml: threads = [3]: expected a number of threads from 1"]);
    check(&[], &[], "workers = \"a\"", &["workers = \"a\": expected a list; each item is a catalog name"]);
    check(
        &[],
        &[],
        "serve.max-queue = 0",
        &["serve.max-queue = 0: expected a number of requests from 1 to 65536"],
    );
    check(
        &[],
        &[],
        "[serve]\naliases = [\"a b\"]",
        &["serve.aliases = [\"a b\"]: expected a list", "NAME=MODEL"],
    );
    check(&[], &[], "threads = = 3", &["config.toml", "line 1"]);
    check(&["--band", "/nowhere/band.toml"], &[], "", &["--band", "/nowhere/band.toml"]);
}

#[test]
fn named_planner_works_alone_unless_workers_are_named() {
    let band = |flags: &[&str]| {
        let config = settings(flags, &[], "").unwrap();
        config.band(&config.hub())
    };
    assert_eq!(band(&["--planner", "a"]).workers, ["a"]);
    assert_eq!(band(&["--planner", "a", "--worker", "b", "--worker", "c"]).workers, ["b", "c"]);
    assert_eq!(band(&["--planner", "a"]).embeddings, None, "nothing else is fetched for it");
    let planner_chosen = band(&["--worker", "b"]);
    assert_eq!(planner_chosen.planner, "qwen2.5-coder-1.5b");
    assert_eq!(planner_chosen.embeddings.as_deref(), Some("minilm-l6-v2"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("band.toml");
    fs::write(&file, "planner = \"p\"\nworkers = [\"w\"]\n").unwrap();
    let from_file = band(&["--band", file.to_str().unwrap(), "--planner", "a"]);
    assert_eq!((from_file.planner.as_str(), from_file.workers), ("a", vec!["w".to_owned()]));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    let check = |file: &str, expected: &[&str]| {
        has(&settings(&[], &[], file).map(|_| ()).unwrap_err(), expected);
    };
    check("thread = 3", &["config.toml: unknown key `thread`: did you mean `threads`?"]);
    check("context_tokens = 512", &["`context_tokens`: did you mean `context-tokens`?"]);
    check("[serve]\nprot = 1", &["unknown key `serve.prot`: did you mean `serve.port`?"]);
    check("port = 1", &["unknown key `port`: did you mean `serve.port`?"]);
    check("[serve]\nthreads = 1", &["unknown key `serve.threads`: did you mean `threads`?"]);
    check("[server]\nport = 1", &["unknown key `server`: did you mean `serve`?"]);
    check("[threads]\nn = 1", &["threads = { n = 1 }: expected a number of threads"]);
    check("serve = 3", &["`serve` is a table"]);
    check("home = \"/x\"", &["unknown key `home`"]);
    check("something-else-entirely = 1", &["the keys are offline, threads, memory", "serve.log"]);
}

#[test]
fn every_bound_is_the_one_that_is_named() {
    for about in ALL {
        let Some((_, bounds)) = about.expects.split_once(" from ") else { continue };
        let Some((least, most)) = bounds.split_once(" to ") else { continue };
        let (least, most): (u64, u64) = (least.parse().unwrap(), most.parse().unwrap());
        let takes = |number: i128| settings(&[], &[], &format!("{} = {number}", about.name)).is_ok();
        assert!(takes(least.into()) && takes(most.into()), "{}: {}", about.name, about.expects);
        assert!(!takes(i128::from(least) - 1) && !takes(i128::from(most) + 1), "{}", about.name);
    }
}

#[test]
fn every_setting_is_shown_in_the_order_of_the_table() {
    let shown = settings(&[], &[("BANDMASTER_SERVE_PORT", "1")], "serve.aliases = [\"a\", \"b=c\"]").unwrap();
    let shown = shown.effective();
    let names: Vec<&str> = shown.iter().map(|shown| shown.about.name).collect();
    assert_eq!(names, ALL.iter().map(|about| about.name).collect::<Vec<_>>());
    let check = |name: &str, value: Option<&str>, origin: &str| {
        let shown = shown.iter().find(|shown| shown.about.name == name).unwrap();
        assert_eq!(shown.value.as_deref(), value, "{name}");
        assert!(shown.origin.to_string().ends_with(origin), "{name}: {}", shown.origin);
    };
    check("serve.port", Some("1"), "BANDMASTER_SERVE_PORT");
    check("serve.aliases", Some("a, b=c"), "config.toml");
    check("serve.keep-responses", Some("30d"), "default");
    check("serve.log", Some("text"), "default");
    check("serve.models", None, "default");
    check("serve.api-key-file", None, "default");
}

#[test]
fn serve_is_on_loopback_without_a_key_unless_said_otherwise() {
    let serve = serve(&[], &[], "").unwrap();
    assert_eq!(address(&serve), "127.0.0.1:8080".parse().unwrap());
    assert_eq!((serve.max_queue.value, serve.drain_seconds.value, serve.max_slowdown.value), (256, 30, 10));
    assert!(!serve.standalone.value && serve.api_key_file.is_none());
    assert!(serve.models.value.is_empty() && serve.cors_origins.value.is_empty());
    assert_eq!(serve.keep_responses.value, Retention::For(Duration::from_secs(30 * 86_400)));
    assert_eq!((serve.max_connections.value, serve.max_connections_per_address), (1024, None));
    assert_eq!((serve.log.value, serve.log.origin), (LogFormat::Text, Origin::Default));
}

fn address(serve: &ServeSettings) -> SocketAddr {
    SocketAddr::new(serve.host.value, serve.port.value)
}

#[test]
fn address_is_host_and_port() {
    let check = |flags: &[&str], expected: &str| {
        assert_eq!(address(&serve(flags, &[], "").unwrap()), expected.parse().unwrap(), "{flags:?}");
    };
    check(&["--port", "0"], "127.0.0.1:0");
    check(&["--host", "LocalHost"], "127.0.0.1:8080");
    check(&["--host", "127.1.2.3"], "127.1.2.3:8080");
    check(&["--host", "::1"], "[::1]:8080");
    check(&["--host", "[::1]"], "[::1]:8080");
    check(&["--host", "0.0.0.0"], "0.0.0.0:8080");
    check(&["--host", "::"], "[::]:8080");
}

#[test]
fn settings_of_serve_come_from_flag_variable_and_file() {
    let file = "[serve]\nport = 1\nmax-queue = 1\ndrain-seconds = 1\nmodels = [\"a\", \"b\"]\nstandalone = true\n\
                log = \"json\"\ncors-origins = [\"*\"]\n";
    let variables = [
        ("BANDMASTER_SERVE_PORT", "2"),
        ("BANDMASTER_SERVE_MAX_QUEUE", "2"),
        ("BANDMASTER_SERVE_ALLOW_HOSTS", "box.lan, other.lan"),
    ];
    let serve = serve(&["--port", "3"], &variables, file).unwrap();
    assert_eq!((serve.port.value, serve.port.origin), (3, Origin::Flag));
    let variable = Origin::Environment("BANDMASTER_SERVE_MAX_QUEUE");
    assert_eq!((serve.max_queue.value, serve.max_queue.origin), (2, variable));
    assert_eq!(serve.drain_seconds.value, 1);
    assert!(matches!(serve.drain_seconds.origin, Origin::File(_)));
    assert_eq!(
        (serve.models.value, serve.cors_origins.value),
        (vec!["a".into(), "b".into()], vec!["*".into()])
    );
    assert_eq!(serve.allow_hosts.value, ["box.lan", "other.lan"]);
    assert!(serve.standalone.value && serve.log.value == LogFormat::Json);
}

#[test]
fn a_relative_key_file_starts_where_it_was_named() {
    let home = tempfile::tempdir().unwrap();
    let file = |flags: &[&str], config: &str| {
        let config = settings_of(&[&["serve"], flags].concat(), &[], config, home.path()).unwrap();
        config.serve.api_key_file.unwrap().value
    };
    assert_eq!(file(&[], "serve.api-key-file = \"keys\""), home.path().join("keys"));
    assert_eq!(file(&[], "serve.api-key-file = \"/etc/keys\""), Path::new("/etc/keys"));
    assert_eq!(file(&["--api-key-file", "keys"], ""), Path::new("keys"));
}

#[test]
fn aliases_name_the_first_model_or_the_one_behind_them() {
    let aliases =
        serve(&["--model", "m", "--alias", "gpt-4o", "--alias", "small=n"], &[], "").unwrap().aliases;
    let alias =
        |name: &str, model: Option<&str>| ModelAlias { name: name.into(), model: model.map(str::to_owned) };
    assert_eq!(aliases.value, [alias("gpt-4o", None), alias("small", Some("n"))]);
}

#[test]
fn responses_are_kept_as_long_as_is_said() {
    let kept = |age: &str| serve(&["--keep-responses", age], &[], "").unwrap().keep_responses.value;
    assert_eq!(kept("12h"), Retention::For(Duration::from_secs(12 * 3600)));
    assert_eq!(kept("forever"), Retention::Forever);
    for (age, shown) in
        [("36h", "36h"), ("2w", "14d"), ("90s", "90s"), ("120s", "2m"), ("forever", "forever")]
    {
        assert_eq!(kept(age).to_string(), shown);
    }
}

#[test]
fn wrong_flags_of_serve_are_named_with_what_was_expected() {
    let check =
        |flags: &[&str], expected: &[&str]| has(&serve(flags, &[], "").map(|_| ()).unwrap_err(), expected);
    check(&["--host", "example.com"], &["--host", "example.com", "127.0.0.1"]);
    check(&["--host", ""], &["--host", "127.0.0.1"]);
    check(&["--port", "65536"], &["--port", "65536", "65535"]);
    check(&["--max-slowdown", "0"], &["--max-slowdown", "from 1"]);
    check(&["--max-queue", "0"], &["--max-queue", "from 1 to 65536"]);
    check(&["--drain-seconds", "86400"], &["--drain-seconds", "86400", "3600"]);
    for unclear in ["0", "0d", "month"] {
        check(&["--keep-responses", unclear], &["--keep-responses", unclear, "30d", "forever"]);
    }
    check(&["--cors-origin", "example.com"], &["--cors-origin", "example.com", "https://"]);
    check(&["--allow-host", "http://a"], &["--allow-host", "http://a", "box.lan"]);
    check(&["--log", "xml"], &["--log", "text", "json"]);
    check(&["--alias", "=a"], &["--alias", "=a", "NAME=MODEL"]);
    check(&["--alias", "a="], &["--alias", "a=", "NAME=MODEL"]);
    check(&["--alias", "a b"], &["white space"]);
    check(&["--alias", "bandmaster:map"], &["band"]);
}

#[test]
fn the_example_in_the_documentation_is_right() {
    let page = fs::read_to_string("docs/settings.md").unwrap();
    let example: String =
        page.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    let config = settings(&[], &[], &example).unwrap();
    assert_eq!((config.threads.value, config.serve.port.value), (8, 9000));
}
