//! Tests of the built program as a user or a script runs it: with an empty home and no connections.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bandmaster"));
        command.args(words).arg("--offline").arg("--home").arg(self.path().join("home")).stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("BANDMASTER_") {
                command.env_remove(variable);
            }
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs and checks the exit status. stderr must contain every expected part, and stdout must be empty.
    fn fails(&self, words: &[&str], status: i32, expected: &[&str]) {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{words:?}: {said:?} lacks {part:?}");
        }
        assert!(
            output.stdout.is_empty(),
            "{words:?} wrote to stdout: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(!said.contains("panicked"), "{said}");
    }

    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(words)).unwrap()
    }
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_right() {
    let home = Home::new();
    home.fails(&["dance"], 2, &["dance"]);
    home.fails(&[], 2, &["Usage"]);
    home.fails(&["run"], 2, &["GOAL"]);
    home.fails(&["models"], 2, &["pull"]);
    home.fails(&["models", "pull"], 2, &["NAME"]);
    home.fails(&["models", "list", "--threads", "none"], 2, &["--threads", "none"]);
    home.fails(&["doctor", "--device", "cuda"], 2, &["cuda", "not in this build"]);
    home.fails(&["doctor", "--kv-type", "q4"], 2, &["q4", "f16 or q8"]);
    home.fails(&["doctor", "--memory", "1"], 2, &["--memory"]);
    home.fails(&["runs", "prune", "--older-than", "soon"], 2, &["--older-than", "30d"]);
    home.fails(&["completions", "abacus"], 2, &["abacus"]);
}

#[test]
fn unknown_models_are_answered_with_near_names() {
    let home = Home::new();
    home.fails(&["models", "pull", "smollm2"], 2, &["smollm2-135m", "Nothing is installed"]);
    home.fails(&["models", "rm", "qwen2.5-coder-15b"], 2, &["qwen2.5-coder-1.5b"]);
    home.fails(&["models", "verify", "nothing-like-it"], 2, &["nothing-like-it"]);
    home.fails(&["models", "pull", "hf:no-owner"], 2, &["hf:OWNER/REPO"]);
}

#[test]
fn offline_says_what_is_missing_and_how_to_bring_it() {
    let home = Home::new();
    let expected = ["offline", "smollm2-135m is not installed", "models import"];
    home.fails(&["models", "pull", "smollm2-135m"], 1, &expected);
    home.fails(&["models", "rm", "smollm2-135m"], 1, &["not installed"]);
    assert!(!home.path().join("home/models/smollm2-135m").exists());
}

#[test]
fn run_refuses_what_it_cannot_read_before_it_needs_a_model() {
    let home = Home::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    home.fails(&["run", " "], 2, &["the goal is empty"]);
    home.fails(&["run", "goal", "-f", "/nowhere/file.md"], 2, &["/nowhere/file.md", "no such file"]);
    home.fails(&["run", "goal", "-f", &file("a.pdf", b"%PDF-1.7")], 2, &["a.pdf", "convert it to text"]);
    home.fails(&["run", "goal", "-f", &file("a.bin", b"a\0b")], 2, &["a.bin", "binary"]);
    home.fails(
        &["run", "goal", "-f", &file("large.txt", &vec![b'x'; 50 << 20])],
        2,
        &["large.txt", "50 MiB", "8 MiB"],
    );
    fs::create_dir(home.path().join("empty")).unwrap();
    let empty = home.path().join("empty");
    home.fails(&["run", "goal", "-f", empty.to_str().unwrap()], 2, &["no readable text"]);
    home.fails(&["run", "goal", "--strategy", "guess"], 2, &["guess", "direct"]);
    home.fails(&["run", "goal", "--strategy", "react"], 2, &["react", "not available"]);
    home.fails(&["run", "goal", "--budget-seconds", "-1"], 2, &["--budget-seconds"]);
    home.fails(&["run", "goal", "--json", "--events"], 2, &["--json"]);
    home.fails(&["run", "goal", "--planner", "smollm2-135"], 2, &["smollm2-135m"]);
}

#[test]
fn run_offline_on_an_empty_home_says_what_is_missing() {
    let home = Home::new();
    let expected = ["offline", "qwen2.5-coder-1.5b", "smollm2-135m", "minilm-l6-v2", "models import"];
    home.fails(&["run", "What is the capital of France?"], 1, &expected);
    assert!(!home.path().join("home").exists(), "nothing was written");
}

#[test]
fn models_list_is_an_array_of_the_promised_shape() {
    let home = Home::new();
    let list = home.json(&["models", "list", "--json"]);
    let models = list.as_array().unwrap();
    for name in ["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2-135m", "minilm-l6-v2"] {
        let model = models.iter().find(|model| model["name"] == name).unwrap();
        assert_eq!(model["installed"], false);
        assert!(model["path"].is_null());
        assert!(model["bytes"].as_u64().unwrap() > 10_000_000);
        assert_eq!(model["sha256"].as_str().unwrap().len(), 64);
        assert!(model["source"].as_str().unwrap().starts_with("hf:"));
        assert!(["planner", "worker", "embeddings"].contains(&model["role"].as_str().unwrap()));
    }
    let table = home.succeeds(&["models", "list"]);
    assert!(table.lines().next().unwrap().starts_with("NAME"));
    assert_eq!(table.lines().count(), models.len() + 1);
}

#[test]
fn doctor_tells_every_setting_with_its_origin() {
    let home = Home::new();
    fs::create_dir_all(home.path().join("home")).unwrap();
    fs::write(home.path().join("home/config.toml"), "context-tokens = 4096\n").unwrap();
    let mut command = home.command(&["doctor", "--json"]);
    let output = command.env("BANDMASTER_THREADS", "1").env("BANDMASTER_SERVE_PORT", "9").output().unwrap();
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| {
        let settings = doctor["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("threads"), ("1".to_owned(), "BANDMASTER_THREADS".to_owned()));
    assert_eq!(setting("offline"), ("true".to_owned(), "flag".to_owned()));
    assert_eq!(setting("device"), ("cpu".to_owned(), "default".to_owned()));
    assert_eq!(setting("serve.port"), ("9".to_owned(), "BANDMASTER_SERVE_PORT".to_owned()));
    assert_eq!(setting("serve.host"), ("127.0.0.1".to_owned(), "default".to_owned()));
    let (tokens, origin) = setting("context-tokens");
    assert!(tokens == "4096" && origin.ends_with("config.toml"), "{tokens} {origin}");
    assert!(doctor["machine"]["cores_logical"].as_u64().unwrap() >= 1);
    assert!(doctor["machine"]["memory_bytes"].as_u64().unwrap() > 0);
    assert!(doctor["measured"]["memory_read_bytes_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(doctor["missing"].as_array().unwrap().len(), 4);
    let text = home.succeeds(&["doctor"]);
    assert!(text.contains("settings") && text.contains("no key is needed"), "{text}");
}

#[test]
fn settings_file_with_a_mistake_is_named() {
    let home = Home::new();
    fs::create_dir_all(home.path().join("home")).unwrap();
    fs::write(home.path().join("home/config.toml"), "thread = 2\n").unwrap();
    home.fails(&["models", "list"], 2, &["config.toml: unknown key `thread`: did you mean `threads`?"]);
}

#[test]
fn what_is_no_model_is_not_imported() {
    let home = Home::new();
    let file = home.path().join("notes.gguf");
    fs::write(&file, "these are notes, and not a model, whatever the ending says").unwrap();
    let file = file.to_str().unwrap();
    home.fails(&["models", "import", file], 1, &[file]);
    home.fails(&["models", "import", "/nowhere/at/all.gguf"], 2, &["/nowhere/at/all.gguf", "no such file"]);
    assert_eq!(home.json(&["models", "list", "--json"])[0]["installed"], false);
}

#[test]
fn imported_model_is_listed_verified_and_removed() {
    let home = Home::new();
    let mut writer = bandmaster_models::gguf::Writer::new();
    writer.set("general.architecture", "llama").tensor("w", &[32], 0, &[7; 128]);
    let bytes = writer.finish();
    let file = home.path().join("mine.gguf");
    fs::write(&file, &bytes).unwrap();
    let said = home.succeeds(&["models", "import", file.to_str().unwrap()]);
    assert!(said.starts_with("mine (worker)"), "{said}");
    let list = home.json(&["models", "list", "--json"]);
    let mine = list.as_array().unwrap().iter().find(|model| model["name"] == "mine").unwrap().clone();
    assert_eq!((mine["installed"].as_bool(), mine["bytes"].as_u64()), (Some(true), Some(bytes.len() as u64)));
    assert!(home.succeeds(&["models", "verify"]).contains("mine: good"));
    let path = Path::new(mine["path"].as_str().unwrap()).to_owned();
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes[1..]).unwrap();
    let verify = home.run(&["models", "verify", "mine"]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verify.stderr).contains("were installed"));
    home.succeeds(&["models", "rm", "mine"]);
    home.fails(&["models", "rm", "mine"], 2, &["mine"]);
}

#[test]
fn embedding_model_where_one_must_write_is_one_clear_error() {
    let home = Home::new();
    let folder = home.path().join("embedder");
    fs::create_dir(&folder).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        fs::write(folder.join(name), name).unwrap();
    }
    home.succeeds(&["models", "import", folder.to_str().unwrap(), "--name", "mine"]);
    let expected = ["error: `mine` is an embedding model (", "a model that writes text is needed here"];
    home.fails(&["run", "goal", "--planner", "mine"], 2, &expected);
    home.fails(&["run", "goal", "--planner", "mine", "--worker", "mine"], 2, &expected);
    home.fails(&["bench", "throughput", "--model", "mine"], 2, &expected);
    home.fails(&["models", "tokenize", "mine", "text"], 2, &expected);
    // The error comes before anything is downloaded.
    let expected = ["`minilm-l6-v2` is an embedding model (in the catalog)"];
    home.fails(&["run", "goal", "--planner", "minilm-l6-v2"], 2, &expected);
}

#[test]
fn part_of_a_model_alone_names_the_missing_one() {
    let home = Home::new();
    let file = home.path().join("m-00001-of-00002.gguf");
    fs::write(&file, "GGUF").unwrap();
    let expected = ["m-00002-of-00002.gguf: there is no such file", "2 parts"];
    home.fails(&["run", "goal", "--planner", file.to_str().unwrap()], 2, &expected);
    home.fails(&["models", "import", file.to_str().unwrap()], 2, &expected);
}

#[test]
fn runs_of_a_new_home_are_an_empty_list() {
    let home = Home::new();
    assert_eq!(home.json(&["runs", "list", "--json"]), Value::Array(Vec::new()));
    home.fails(&["runs", "show", "last"], 2, &["no run"]);
    assert!(home.succeeds(&["runs", "prune", "--older-than", "30d"]).starts_with('0'));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("home"), mode("home/runs.sqlite")), (0o700, 0o600));
    }
}

#[test]
fn workers_are_the_bands() {
    let home = Home::new();
    let list = home.json(&["workers", "list", "--json"]);
    let names: Vec<&str> =
        list.as_array().unwrap().iter().map(|worker| worker["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["qwen2.5-coder-0.5b", "smollm2-135m", "calculator"]);
    assert_eq!(home.json(&["workers", "show", "calculator", "--json"])["kind"], "rule");
    home.fails(&["workers", "show", "calculater"], 2, &["calculator"]);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(home.succeeds(&["completions", shell]).contains("bandmaster"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn closed_stdout_is_no_panic() {
    let home = Home::new();
    let mut child =
        home.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
}

#[test]
fn a_name_that_is_no_folder_name_removes_nothing() {
    let home = Home::new();
    let kept = home.path().join("home/models/.partial/some-model/part");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "half a download").unwrap();
    for name in ["..", ".", ".partial"] {
        home.fails(&["models", "rm", name], 2, &["no model is named"]);
    }
    assert!(kept.exists());
}

#[test]
fn a_part_of_no_parts_is_an_error_and_not_a_panic() {
    let home = Home::new();
    let file = home.path().join("x-00001-of-00000.gguf");
    fs::write(&file, "GGUF").unwrap();
    home.fails(&["models", "import", file.to_str().unwrap()], 1, &["x-00001-of-00000.gguf"]);
}

#[test]
fn an_empty_file_is_refused_by_name() {
    let home = Home::new();
    let file = home.path().join("nothing.txt");
    fs::write(&file, " \n").unwrap();
    home.fails(&["run", "Summarise it.", "-f", file.to_str().unwrap()], 2, &["nothing.txt", "empty"]);
}

#[test]
fn a_pipe_that_brings_text_is_read_and_one_that_stays_silent_is_said_to_be() {
    let home = Home::new();
    let started = |words: &[&str]| {
        let mut command = home.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // Slow, but within the waiting time.
    let mut child = started(&["run", "Summarise."]);
    let mut pipe = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        pipe.write_all(b"%PDF-1.7").unwrap();
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("stdin: a PDF"), "{said}");
    // Silent: the run continues (and finds no models), and says that it did not wait for stdin.
    let mut child = started(&["run", "Summarise.", "--quiet"]);
    let pipe = child.stdin.take().unwrap();
    let output = child.wait_with_output().unwrap();
    drop(pipe);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing was received on stdin") && said.contains("-f -"), "{said}");
}

#[cfg(unix)]
#[test]
fn text_that_comes_through_a_socket_is_read() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let home = Home::new();
    // Some programs start others with a socket as stdin.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"%PDF-1.7").unwrap();
    drop(ours);
    let output = home.command(&["run", "Summarise."]).stdin(OwnedFd::from(theirs)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("stdin: a PDF"), "{said}");
}

#[test]
fn slow_text_on_stdin_is_waited_for_and_that_is_said() {
    let home = Home::new();
    let mut command = home.command(&["run", "Summarise."]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        pipe.write_all(b"It begins well,").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(4));
        pipe.write_all(b" and ends in \0.").unwrap();
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stdin has not ended"), "{said}");
    assert!(output.status.code() == Some(2) && said.contains("stdin: a binary file"), "{said}");
}

#[test]
fn results_are_compared_or_refused_with_status_2() {
    let home = Home::new();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let result = |walls: &str| {
        format!(
            r#"{{"schema": "bandmaster.bench.workflow/1", "command": "c", "version": "1", "threads": 2,
                 "machine": {{"cpu": "c", "cores": 2, "isa": "avx2", "memory_bytes": 1, "load_1m": 0}},
                 "trace": "fanout", "runs": 1, "models": {{"w": "<m>"}}, "rounds_wall_s": {walls},
                 "prompt_tokens": 10, "output_tokens": 5}}"#
        )
    };
    let (a, b) = (write("a.json", &result("[2, 2.1, 2.2]")), write("b.json", &result("[1, 1.1, 1.2]")));
    let (empty, other) = (write("empty.json", ""), write("other.json", r#"{"schema": "x/2"}"#));
    let missing = home.path().join("missing.json");
    home.fails(&["bench", "compare", &a], 2, &["a.json holds one result", "--against"]);
    home.fails(&["bench", "compare", &a, missing.to_str().unwrap()], 2, &["missing.json", "can't be read"]);
    home.fails(&["bench", "compare", &a, &empty], 2, &["empty.json is empty"]);
    home.fails(&["bench", "compare", &other, &b], 2, &["other.json has schema `x/2`"]);
    home.fails(&["bench", "compare", &a, &b, "-o", &b], 2, &["is one of the results"]);
    let page = home.path().join("page.html");
    let text = home.succeeds(&["bench", "compare", &a, &b, "-o", page.to_str().unwrap()]);
    assert!(text.contains("x 0.523") && text.contains("better"), "{text}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;m&gt;") && page.contains("<svg"), "{page}");
    let json = home.json(&["bench", "compare", &a, &b, "--json"]);
    assert_eq!(json["schema"], "bandmaster.bench.compare/1");
    assert_eq!(json["rows"][0]["verdict"], "better");
    home.succeeds(&["bench", "compare", &a, &b, "--fail-if", "worse"]);
}

#[test]
fn a_sweep_takes_no_counts_of_its_own() {
    let home = Home::new();
    for flag in ["--batch", "--depth", "--prompt-tokens", "--gen-tokens", "--shared-prefix"] {
        home.fails(&["bench", "throughput", "--model", "m", "--all", flag, "1"], 2, &["--all", flag]);
    }
    home.fails(&["bench", "throughput", "--model", "m", "--json", "--markdown"], 2, &["--markdown"]);
}

/// What a command prints on a terminal; `None` if there is no `script` program.
#[cfg(unix)]
fn on_a_terminal(home: &Home, words: &[&str]) -> Option<Vec<u8>> {
    let command = home.command(words);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
    let line: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let output =
        Command::new("script").args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null()).output();
    match output {
        Ok(output) => Some(output.stdout),
        Err(_) => {
            bandmaster_test_support::skip("`script` is not installed");
            None
        }
    }
}

#[cfg(unix)]
#[test]
fn what_a_model_wrote_moves_no_terminal_and_is_whole_in_a_pipe() {
    use bandmaster::journal::Journal;
    let home = Home::new();
    home.succeeds(&["runs", "list"]);
    // Clears the screen, sets the clipboard, hides a link, reverses text, deletes.
    let bad =
        "\u{1b}[2J\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}]8;;https://a.example\u{1b}\\\u{9b}31m\u{202e}\u{7f}end";
    let journal = Journal::open(&home.path().join("home/runs.sqlite")).unwrap();
    let run = journal.create_run().unwrap();
    let text = |name: &str| format!("{name} {bad}");
    let task = serde_json::json!({"task": text("task"), "attempt": 1, "worker": text("worker"), "model": "m",
        "prompt": text("prompt"), "output": text("output"), "status": "completed", "error": text("error")});
    let started = serde_json::json!({"goal": text("goal"), "inputs": [{"name": text("input")}]});
    journal.append(&run.id, "run.started", 0, &started).unwrap();
    for kind in ["task.started", "task.output", "task.failed", "task.finished"] {
        journal.append(&run.id, kind, 0, &task).unwrap();
    }
    let end = super::journal::finished("completed", &text("answer"), &[&text("missing")]);
    journal.append(&run.id, "run.finished", 0, &end).unwrap();
    drop(run);
    let named = text("task");
    let show = ["runs", "show", "last"];
    let more: [&[&str]; 6] =
        [&[], &["--json"], &["--events"], &["--events", "--json"], &["--task", &named], &["--task", "none"]];
    let list: [&[&str]; 2] = [&["runs", "list"], &["runs", "list", "--json"]];
    let commands: Vec<Vec<&str>> = more
        .iter()
        .map(|more| [&show, *more].concat())
        .chain(list.iter().map(|words| words.to_vec()))
        .collect();
    for words in commands {
        let Some(bytes) = on_a_terminal(&home, &words) else { return };
        let said = String::from_utf8(bytes).unwrap();
        assert!(said.contains("end") && said.contains("\\u001b"), "{words:?}: {said:?}");
        let obeyed = |c: char| (c.is_control() && !matches!(c, '\n' | '\t' | '\r')) || c == '\u{202e}';
        assert!(!said.contains(obeyed), "{words:?}: {said:?}");
    }
    let piped = home.succeeds(&show);
    assert!(piped.contains(&format!("\nanswer {bad}\n")), "{piped:?}");
}
