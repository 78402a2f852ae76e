//! Runs that wait for the user: says what they ask and how to answer, asks on a terminal, and turns plans into TOML
//! that can be edited and back.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::error::CliError;
use super::terminal;
use crate::orchestrator::{ActionKind, Answer, RequiredAction, RunStart, StartError};

/// The commands that answer a run.
#[must_use]
pub fn how_to_answer(id: &str, action: &RequiredAction) -> String {
    let mut lines = match (action.kind, &action.questions[..]) {
        (ActionKind::ApprovePlan, _) => vec![
            (format!("bandmaster runs answer {id} yes"), "carries the plan out"),
            (format!("bandmaster runs answer {id} no"), "ends the run"),
        ],
        (ActionKind::AnswerQuestion, [] | [_]) => {
            vec![(format!("bandmaster runs answer {id} TEXT"), "answers")]
        }
        (ActionKind::AnswerQuestion, several) => several
            .iter()
            .map(|one| (format!("bandmaster runs answer {id} --task {} TEXT", one.task), "answers"))
            .collect(),
    };
    if action.plan.is_some() {
        lines.push((
            format!("bandmaster runs show {id} --plan > plan.toml"),
            "writes the plan to a file to edit",
        ));
        lines.push((format!("bandmaster runs answer {id} --plan plan.toml"), "carries the edited plan out"));
    }
    lines.iter().map(|(command, does)| format!("`{command}` {does}\n")).collect()
}

/// A plan as TOML, with a comment that explains its fields.
///
/// # Errors
/// When the run doesn't wait for approval, or its plan can't be edited.
pub fn plan_text(id: &str, action: Option<&RequiredAction>) -> Result<String, CliError> {
    let waits = action.filter(|action| action.kind == ActionKind::ApprovePlan);
    let Some(action) = waits else {
        return Err(CliError::usage(format!("run {id} has no plan that waits for approval")));
    };
    let Some(plan) = &action.plan else {
        return Err(CliError::usage(format!(
            "the plan of run {id} can't be edited: `bandmaster runs answer {id} yes` carries it out, `bandmaster runs answer {id} no` ends the run"
        )));
    };
    toml_of(id, plan, action.plan_fields.as_deref().unwrap_or_default())
}

fn toml_of(id: &str, plan: &Value, fields: &str) -> Result<String, CliError> {
    let mut text = format!(
        "# The plan of run {id}. Edit it, and carry it out with `bandmaster runs answer {id} --plan FILE`.\n#\n"
    );
    for line in fields.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push('\n');
    let plan = toml::to_string_pretty(&without_nulls(plan));
    text.push_str(&plan.context("the plan can't be written as TOML").map_err(CliError::Failed)?);
    Ok(text)
}

/// TOML has no null; a field without a value is left out.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Reads an edited plan from a file, or from stdin for `-`.
///
/// # Errors
/// When it can't be read or is no TOML.
pub fn read_plan(path: &Path) -> Result<Value, CliError> {
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| CliError::usage(format!("--plan {}: {error}", path.display())))?;
    let plan = toml::from_str(&text);
    plan.map_err(|error| CliError::usage(format!("--plan {}: {error}", path.display())))
}

/// Whether somebody sits at this terminal who can be asked.
#[must_use]
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && terminal::err_is_terminal()
}

/// Checks an answer. Gives the run that goes on with it.
pub type Checked<'a> = &'a dyn Fn(Answer) -> Result<RunStart, StartError>;

/// Asks the user on the terminal what a parked run asks. `None` if the user doesn't answer now. `folder` is for a plan
/// that is being edited.
///
/// # Errors
/// When the record can't be read, or the editor can't be started.
pub fn ask(
    id: &str,
    action: &RequiredAction,
    folder: &Path,
    checked: Checked<'_>,
) -> Result<Option<RunStart>, CliError> {
    match action.kind {
        ActionKind::ApprovePlan => ask_for_approval(id, action, folder, checked),
        ActionKind::AnswerQuestion => {
            let Some(asked) = action.questions.first() else { return Ok(None) };
            terminal::err(&format!(
                "{} asks: {}\nYour answer (nothing to answer later): ",
                asked.task, asked.question
            ));
            match line() {
                Some(text) => Ok(Some(checked(Answer::Task { task: asked.task.clone(), text })?)),
                None => Ok(None),
            }
        }
    }
}

fn ask_for_approval(
    id: &str,
    action: &RequiredAction,
    folder: &Path,
    checked: Checked<'_>,
) -> Result<Option<RunStart>, CliError> {
    let choices = if action.plan.is_some() { "yes, no, edit" } else { "yes, no" };
    let mut text = None;
    terminal::err(&format!("{}\n", action.question));
    loop {
        terminal::err(&format!("[{choices}; nothing to answer later] "));
        let answer = match line().as_deref().map(str::to_lowercase).as_deref() {
            None => return Ok(None),
            Some("e" | "edit") if action.plan.is_some() => {
                let before = match text.take() {
                    Some(text) => text,
                    None => plan_text(id, Some(action))?,
                };
                let after = edited(&folder.join(format!("plan-{id}.toml")), &before)?;
                let plan = toml::from_str(&after);
                text = Some(after);
                match plan {
                    Ok(plan) => Answer::Plan { plan },
                    Err(error) => {
                        terminal::err(&format!("{error}\n"));
                        continue;
                    }
                }
            }
            Some(other) => Answer::Text(other.to_owned()),
        };
        match checked(answer) {
            Ok(start) => return Ok(Some(start)),
            Err(refused @ (StartError::NeedsApproval { .. } | StartError::PlanRefused(_))) => {
                terminal::err(&format!("{refused}\n"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A line that the user types; `None` if it is empty or stdin is closed.
fn line() -> Option<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A text after the user has changed it in an editor.
fn edited(file: &Path, text: &str) -> Result<String, CliError> {
    let removed = Removed(file.to_owned());
    private(&removed.0)
        .and_then(|mut new| new.write_all(text.as_bytes()))
        .map_err(|error| failed(file, &error))?;
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    let editor =
        editor.into_iter().find(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".to_owned());
    // Through the shell, as git does: the variable may hold arguments.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file).status();
    match status {
        Ok(status) if status.success() => {}
        _ => {
            return Err(CliError::Failed(anyhow!("the editor {editor:?} failed: set EDITOR to another one")));
        }
    }
    fs::read_to_string(file).map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &io::Error) -> CliError {
    CliError::Failed(anyhow!("{}: {error}", file.display()))
}

fn private(file: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// A file that is removed when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // A file that stays does no harm: its folder is private.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(plan: Option<Value>) -> RequiredAction {
        let kind = ActionKind::ApprovePlan;
        let question = "This is the plan:\n- t1 (w): do it\n".to_owned();
        let plan_fields = plan.as_ref().map(|_| "steps: in order\nwhat: what is done".to_owned());
        RequiredAction { kind, question, plan, plan_fields, task: None, questions: Vec::new() }
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let plan = json!({
            "steps": ["Say \"when\".", "ü\nb"], "sections": [{"title": "A", "about": "b"}, {"title": "C", "about": "d"}],
            "count": 3,
        });
        let text = plan_text("r1", Some(&action(Some(plan.clone())))).unwrap();
        assert!(text.contains("# steps: in order\n# what: what is done\n"), "{text}");
        assert_eq!(toml::from_str::<Value>(&text).unwrap(), plan);
    }

    #[test]
    fn what_has_no_plan_to_edit_says_so() {
        let said = |action: Option<&RequiredAction>| match plan_text("r1", action) {
            Err(CliError::Usage(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(said(None).contains("no plan that waits"));
        assert!(said(Some(&action(None))).contains("can't be edited"));
    }

    #[test]
    fn the_commands_fit_what_is_asked() {
        let commands = how_to_answer("r1", &action(Some(json!({"steps": []}))));
        for part in ["answer r1 yes", "answer r1 no", "show r1 --plan", "answer r1 --plan"] {
            assert!(commands.contains(part), "{commands}");
        }
        assert!(!how_to_answer("r1", &action(None)).contains("--plan"));
    }

    #[cfg(unix)]
    #[test]
    fn a_plan_is_edited_in_a_private_file_that_does_not_stay() {
        let folder = std::env::temp_dir().join(format!("bandmaster-edit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("plan.toml");
        {
            let removed = Removed(file.clone());
            use std::os::unix::fs::PermissionsExt;
            let mode = private(&removed.0).unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(!file.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
