//! Runs that wait for the user: on the command line, on a terminal and in the server, also after it was restarted.

use std::fs;
use std::path::Path;

use super::runs::{said, serve};
use super::*;

/// The run after it has ended, or while it waits.
fn stopped(server: &Server, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let (status, run) = server.get(&format!("/v1/runs/{id}"));
        assert_eq!(status, 200, "{run}");
        if run["status"] != "in_progress" {
            return run;
        }
        assert!(began.elapsed() < PATIENCE, "{run}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn begin(server: &Server) -> String {
    let (status, run) =
        server.post("/v1/runs", &json!({"goal": "Name a colour.", "strategy": "direct", "approve": true}));
    assert_eq!(status, 200, "{run}");
    let id = run["id"].as_str().unwrap().to_owned();
    let run = stopped(server, &id);
    assert_eq!(
        (&run["status"], &run["required_action"]["kind"]),
        (&json!("requires_action"), &json!("approve_plan"))
    );
    id
}

fn answer(server: &Server, id: &str, body: &Value) -> (u16, Value) {
    server.post(&format!("/v1/runs/{id}/answer"), body)
}

#[test]
fn a_plan_that_waits_is_approved_after_the_server_was_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let id = begin(&server);
    for (body, status, param) in [
        (json!({}), 400, "text"),
        (json!({"text": "yes", "approve": true}), 400, "text"),
        (json!({"plan": {"steps": ["a", "b"]}}), 400, "plan"),
        (json!({"text": "perhaps"}), 409, ""),
        (json!({"text": "x", "task": "t1"}), 409, ""),
    ] {
        let (refused, error) = answer(&server, &id, &body);
        assert_eq!(
            (refused, error["error"]["param"].as_str().unwrap_or("")),
            (status, param),
            "{body}: {error}"
        );
    }
    drop(server);
    let server = serve(&folder).unwrap();
    assert_eq!(stopped(&server, &id)["status"], "requires_action");
    let (status, run) = answer(&server, &id, &json!({"approve": true}));
    assert_eq!((status, &run["resumes"]), (200, &json!(id)), "{run}");
    let run = stopped(&server, &id);
    assert!(["completed", "incomplete"].contains(&run["status"].as_str().unwrap()), "{run}");
    assert!(!run["answer"].as_str().unwrap().is_empty() && run.get("required_action").is_none(), "{run}");
    assert_eq!(answer(&server, &id, &json!({"approve": true})).0, 409, "it waits no more");

    let declined = begin(&server);
    let (status, run) = answer(&server, &declined, &json!({"approve": false}));
    assert_eq!((status, &run["status"]), (200, &json!("cancelled")), "{run}");
    let cancelled = begin(&server);
    let (status, run) = server.post(&format!("/v1/runs/{cancelled}/cancel"), &json!({}));
    assert_eq!((status, &run["status"]), (200, &json!("cancelled")), "{run}");
    assert!(run["missing"][0].as_str().unwrap().contains("declined"), "{run}");
}

fn farms(home: &Path) -> Vec<String> {
    let file = |number: usize| {
        let path = home.join(format!("farm{number}.md"));
        fs::write(&path, format!("Farm {number} keeps {} sheep.", 10 * number)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    (1..3).map(file).collect()
}

#[test]
fn a_plan_is_written_to_a_file_edited_and_carried_out() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (home, model) = (folder.path(), model.to_str().unwrap().to_owned());
    let files = farms(home);
    let goal = "How many sheep does each farm keep?";
    let band = ["--planner", &model];
    let run = ["run", goal, "-f", &files[0], "-f", &files[1], "--strategy", "map", "--approve"];
    let asked = said(home, &[&run[..], &band].concat(), 4);
    for part in ["This is the plan:", "farm1.md", "runs answer", "--plan plan.toml"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let plan = said(home, &["runs", "show", "last", "--plan"], 0);
    assert!(
        plan.starts_with("# The plan of run") && plan.contains("\n# find: ") && plan.contains("columns"),
        "{plan}"
    );
    assert!(said(home, &["runs", "show", "last"], 0).contains("carries the plan out"));
    let file = home.join("plan.toml");
    let name = file.to_str().unwrap();
    let words = [&["runs", "answer", "last", "--plan", name][..], &band].concat();
    for (text, why) in [
        ("find = \"number of sheep", "--plan"),
        ("find = \"number of sheep\"\nanswer_is = \"weight\"\ncombine = [\"list\"]", "/answer_is"),
        (
            "find = \"price of petrol\"\nanswer_is = \"number\"\ncombine = [\"list\"]",
            "nothing to do with the goal",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let refused = said(home, &words, 2);
        assert!(refused.contains(why), "{why}: {refused}");
    }
    fs::write(&file, "find = \"number of sheep\"\nanswer_is = \"number\"\ncombine = [\"list\", \"average\"]")
        .unwrap();
    let output = runs::command(home, &words).output().unwrap();
    assert!([0, 1, 3].contains(&output.status.code().unwrap()), "{output:?}");
    let state: Value = serde_json::from_str(&said(home, &["runs", "show", "last", "--json"], 0)).unwrap();
    let tasks = state["plan"]["tasks"].as_array().unwrap();
    assert_eq!((tasks.len(), &tasks[2]["instruction"]), (3, &json!("average")), "{state}");
    let refused = said(home, &["runs", "show", "last", "--plan"], 2);
    assert!(refused.contains("no plan that waits"), "{refused}");
    said(home, &["runs", "replay", "last"], 0);

    // What waits is ended without a model.
    said(home, &[&run[..], &band].concat(), 4);
    assert!(said(home, &["runs", "answer", "last", "no"], 0).contains("cancelled"));
    said(home, &[&run[..], &band].concat(), 4);
    assert!(said(home, &["runs", "cancel", "last"], 0).contains("cancelled"));
}

/// What the program writes on a terminal on which somebody types; `None` without the tool that makes one.
fn on_a_terminal(home: &Path, words: &[&str], typed: &str, editor: &str) -> Option<String> {
    let quoted = words.iter().map(|word| format!("'{word}'"));
    let line = format!(
        "{} {} --offline --threads 1 --home {}",
        env!("CARGO_BIN_EXE_bandmaster"),
        quoted.collect::<Vec<_>>().join(" "),
        home.display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("EDITOR", editor).env_remove("VISUAL");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        bandmaster_test_support::skip("`script` is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn somebody_at_a_terminal_is_asked_and_the_run_goes_on_at_once() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (home, model) = (folder.path(), model.to_str().unwrap().to_owned());
    let run = ["run", "Name a colour.", "--strategy", "direct", "--approve", "--planner", &model];
    let status = || {
        let state = said(home, &["runs", "show", "last", "--json"], 0);
        serde_json::from_str::<Value>(&state).unwrap()["status"].as_str().unwrap().to_owned()
    };
    let Some(said) = on_a_terminal(home, &run, "what\nyes\n", "false") else { return };
    assert!(
        said.contains("[yes, no; nothing to answer later]") && said.contains("answer yes or no"),
        "{said}"
    );
    assert!(["completed", "incomplete"].contains(&status().as_str()), "{said}");
    on_a_terminal(home, &run, "no\n", "false");
    assert_eq!(status(), "cancelled");
    let said = on_a_terminal(home, &run, "\n", "false").unwrap();
    assert!(said.contains("runs answer"), "{said}");
    assert_eq!(status(), "requires_action");

    let files = farms(home);
    let goal = "How many sheep does each farm keep?";
    let run = [
        "run",
        goal,
        "-f",
        &files[0],
        "-f",
        &files[1],
        "--strategy",
        "map",
        "--approve",
        "--planner",
        &model,
    ];
    let script = home.join("editor.sh");
    let plan = r#"find = "number of sheep"\nanswer_is = "text"\ncombine = ["list"]\n"#;
    fs::write(&script, format!("grep -q '^# answer_is: ' \"$1\" && printf '{plan}' > \"$1\"")).unwrap();
    let editor = format!("sh {}", script.display());
    let said = on_a_terminal(home, &run, "edit\n", &editor).unwrap();
    let events = super::runs::said(home, &["runs", "show", "last", "--events"], 0);
    assert!(events.contains("run.resumed") && events.contains("\"answer_is\":\"text\""), "{said}\n{events}");
    let left: Vec<_> = fs::read_dir(home).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("plan-")), "{left:?}");
}
