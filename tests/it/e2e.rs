//! The built program on real models: the default band, offline. The models are imported once, from the folder that
//! `BANDMASTER_TEST_MODELS` names, into a home in the build folder. Without that variable these tests are skipped.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Names and files of the default band.
const BAND: [(&str, &str); 4] = [
    ("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b.gguf"),
    ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b.gguf"),
    ("smollm2-135m", "smollm2-135m.gguf"),
    ("minilm-l6-v2", "minilm-l6-v2"),
];

fn bandmaster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bandmaster"));
    command.stdin(Stdio::null());
    command
}

/// The `models` folder of a home that has the band. It is kept between runs, so that models are packed once.
fn models_dir() -> Option<PathBuf> {
    let files = BAND.map(|(name, file)| Some((name, bandmaster_test_support::model(file)?)));
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("home-with-the-default-band");
    let at_home = |args: &[&str]| {
        let output = bandmaster().args(args).arg("--offline").arg("--home").arg(&home).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let listed: Vec<Value> = serde_json::from_slice(&at_home(&["models", "list", "--json"])).unwrap();
    for file in files {
        let (name, file) = file?;
        if !listed.iter().any(|model| model["name"] == name && model["installed"] == true) {
            at_home(&["models", "import", file.to_str().unwrap(), "--name", name]);
        }
    }
    Some(home.join("models"))
}

static MODELS: LazyLock<Option<PathBuf>> = LazyLock::new(models_dir);
/// Keeps only one band in memory at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A temporary home with the installed models.
struct Home {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Home {
    fn new() -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let models = MODELS.as_ref().or_else(|| {
            bandmaster_test_support::skip("the default band is not in BANDMASTER_TEST_MODELS");
            None
        })?;
        let folder = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(models, folder.path().join("models")).unwrap();
        Some(Self { folder, _turn: turn })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = bandmaster();
        command.args(args).arg("--offline").arg("--home").arg(self.folder.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        // 3 if nothing has checked the answer.
        assert!(matches!(code, Some(0 | 3)), "{args:?} ended with {code:?}: {errors}");
        output
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.output(args).stdout).unwrap()
    }

    /// Writes reports on ships, each with one crew figure in the middle of filler; returns their folder.
    fn ships(&self, crews: &[(&str, u32)]) -> String {
        let folder = self.folder.path().join("ships");
        fs::create_dir(&folder).unwrap();
        let filler =
            "The hull was painted in spring. The harbour master kept the log. Weather was mild and dry. ";
        for (name, crew) in crews {
            let text = format!(
                "# The {name}\n\n{}\nThis year the {name} sailed with a crew of {crew} people.\n{}",
                filler.repeat(8),
                filler.repeat(5)
            );
            fs::write(folder.join(format!("{}.md", name.to_lowercase())), text).unwrap();
        }
        folder.to_str().unwrap().to_owned()
    }
}

fn ms(task: &Value, field: &str) -> u64 {
    task[field].as_u64().unwrap()
}

#[test]
fn a_question_one_call_answers_gets_one_call() {
    let Some(home) = Home::new() else { return };
    let run = home.json(&["run", "What is the capital of France?", "--json"]);
    let lacks = [&run["missing"], &run["unchecked"]].map(|list| list.as_array().unwrap().len());
    assert_eq!(
        (&run["status"], lacks),
        (&Value::from("incomplete"), [0, 1]),
        "one call is checked by nothing"
    );
    assert_eq!(run["strategy"], "direct");
    assert_eq!(run["tasks"].as_array().unwrap().len(), 1);
    assert!(run["answer"].as_str().unwrap().contains("Paris"), "{run}");
    assert!(run["usage"]["steps"].as_u64().unwrap() > 0);
}

#[test]
fn reports_are_read_together_and_compared_exactly() {
    let Some(home) = Home::new() else { return };
    let ships = home.ships(&[("Aurora", 31), ("Bittern", 58), ("Cormorant", 17), ("Dunlin", 44)]);
    let goal = "Each file is about one ship. Which ship had the largest crew, and how many people was that?";
    let run = home.json(&["run", goal, "-f", &ships, "--json"]);
    assert_eq!(run["strategy"], "map", "{run}");
    let answer = run["answer"].as_str().unwrap();
    assert!(answer.contains("Bittern") && answer.contains("58"), "{answer}");
    let reads: Vec<&Value> =
        run["tasks"].as_array().unwrap().iter().filter(|task| task["worker"] != "calculator").collect();
    assert!(reads.len() >= 4, "{run}");
    let latest_start = reads.iter().map(|task| ms(task, "started_ms")).max().unwrap();
    let earliest_end = reads.iter().map(|task| ms(task, "finished_ms")).min().unwrap();
    assert!(latest_start < earliest_end, "tasks ran one after the other: {run}");
    assert!(run["usage"]["mean_batch"].as_f64().unwrap() > 1.2, "{}", run["usage"]);

    let id = run["id"].as_str().unwrap();
    let listed = String::from_utf8(home.output(&["runs", "list"]).stdout).unwrap();
    assert!(listed.contains(id), "{listed}");
    let task = reads[0]["id"].as_str().unwrap();
    let shown = String::from_utf8(home.output(&["runs", "show", id, "--task", task]).stdout).unwrap();
    assert!(shown.contains("<|im_start|>"), "the rendered prompt is kept: {shown}");
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let Some(home) = Home::new() else { return };
    let goal = ["run", "Name three colours of the rainbow.", "--strategy", "direct", "--seed", "7", "--json"];
    assert_eq!(home.json(&goal)["answer"], home.json(&goal)["answer"]);
}

#[test]
fn events_tell_the_run_in_order() {
    let Some(home) = Home::new() else { return };
    let lines = String::from_utf8(home.output(&["run", "What is two plus two?", "--events"]).stdout).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types.first(), Some(&"run.started"));
    assert_eq!(types.last(), Some(&"run.finished"));
    for wanted in ["strategy.chosen", "plan.accepted", "task.started", "task.finished"] {
        assert!(types.contains(&wanted), "{wanted} is missing: {types:?}");
    }
    // The text of the answer, and progress, have no numbers of their own.
    let has_none = |kind: &Value| kind == "answer.delta" || kind == "task.progress";
    let numbered = events.iter().filter(|event| !has_none(&event["type"]));
    let order: Vec<u64> = numbered.map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(order, (1..=order.len() as u64).collect::<Vec<_>>());
    let all: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(all.is_sorted() && all.len() > order.len(), "{all:?}");
}

#[test]
fn a_goal_longer_than_the_context_is_refused_with_numbers() {
    let Some(home) = Home::new() else { return };
    let goal = "Consider the following words: ".to_owned() + &"lorem ipsum dolor ".repeat(6000);
    let output = home.command(&["run", &goal]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tokens"));
    assert!(output.stdout.is_empty());
}

/// Peak resident bytes of a process, watched until it ends. Linux only.
fn peak_rss(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let kib =
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

#[test]
#[cfg(target_os = "linux")]
fn memory_stays_within_the_files_and_the_pool() {
    let Some(home) = Home::new() else { return };
    let ships = home.ships(&[("Egret", 12), ("Fulmar", 23), ("Gannet", 34)]);
    let mut command =
        home.command(&["run", "List the crew of each ship and the total.", "-f", &ships, "--quiet"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let peak = peak_rss(&mut child);
    let models = home.json(&["models", "list", "--json"]);
    let of_the_band = |model: &&Value| BAND.iter().any(|(name, _)| model["name"] == *name);
    let band = models.as_array().unwrap().iter().filter(of_the_band);
    let files: u64 = band.map(|model| model["bytes"].as_u64().unwrap()).sum();
    // The most this run can cache: a few thousand tokens of the largest model, 28 KiB each.
    let pool = 6000 * 28 * 1024;
    let limit = files * 115 / 100 + pool + (250 << 20);
    assert!(peak > files / 2, "the measurement is broken: peak {peak}");
    assert!(peak <= limit, "peak {} MiB over {} MiB", peak >> 20, limit >> 20);
}
