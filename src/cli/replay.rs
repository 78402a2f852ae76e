//! `runs replay` and `runs diff`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::config::Config;
use super::error::CliError;
use super::flags::BandFlags;
use super::process_limits::runtime;
use super::screen::{Screen, View};
use super::{load, one_line, print, print_json, table};
use crate::band::limits_for_band;
use crate::journal::Journal;
use crate::orchestrator::{
    Asked, ChangedPrompt, Difference, EventKind, Replayed, RunState, StrategyName, Verified, limit_in_words,
    recorded, replay as replay_run, verify,
};

/// Characters of a value in a table.
const CHARS: usize = 50;

/// What `runs replay --json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    replayed: &'a Replayed,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'a Verified>,
}

/// Replays a run. The exit status is 1 if anything differs.
pub fn replay(
    config: &Config,
    journal: &Journal,
    id: &str,
    verified_with: Option<&BandFlags>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let (run, again) = recorded(journal, id)?;
    let again = again.without_own_strategy()?;
    let replayed = replay_run(&run, &again, None);
    let verified =
        verified_with.map(|band| computed_again(config, band, again.state(), &replayed)).transpose()?;
    if json {
        print_json(&Printed { replayed: &replayed, verified: verified.as_ref() })?;
    } else {
        print(&text(&replayed, verified.as_ref()))?;
    }
    let same = replayed.differences.is_empty()
        && verified.as_ref().is_none_or(|verified| verified.differences.is_empty());
    Ok(ExitCode::from(u8::from(!same)))
}

/// Loads the band and makes the accepted calls again.
fn computed_again(
    config: &Config,
    band: &BandFlags,
    run: &RunState,
    replayed: &Replayed,
) -> Result<Verified, CliError> {
    let hub = config.hub();
    let (config, files) = match band.are_given() {
        true => (config.clone(), load::find(config, &hub, true)?),
        false => load::find_of_run(config, run, &hub, true)?,
    };
    let config = &config;
    let memory = limits_for_band(load::available(config), &hub, &files)?;
    let loaded = load::load(config, &files, &memory, &Screen::new(View::Quiet))?;
    let verified = runtime(1)?.block_on(verify(&loaded.band, replayed));
    loaded.engine.shutdown();
    Ok(verified)
}

fn text(replayed: &Replayed, verified: Option<&Verified>) -> String {
    let mut text = format!("{}: {} events replayed, ", replayed.id, replayed.events);
    match &replayed.differences[..] {
        [] => text.push_str("all as recorded\n"),
        differences => {
            let _ = writeln!(text, "{} differ", differences.len());
            differences.iter().for_each(|difference| text.push_str(&difference_text(difference)));
        }
    }
    if !replayed.changed_prompts.is_empty() {
        let _ =
            writeln!(text, "the prompts have changed since this run: {}", changed(&replayed.changed_prompts));
    }
    if let Some(Verified { outputs, differences }) = verified {
        let _ = writeln!(text, "{outputs} outputs computed again, {} differ", differences.len());
        for one in differences {
            let _ = writeln!(
                text,
                "  {} attempt {}\n    recorded {:?}\n    computed {:?}",
                one.task, one.attempt, one.recorded, one.computed
            );
        }
    }
    let _ = writeln!(text, "\n{}", replayed.answer.trim_end());
    text
}

/// Templates that have changed, such as `map.plan (1, now 2)`.
fn changed(prompts: &[ChangedPrompt]) -> String {
    let told = prompts.iter().map(|ChangedPrompt { recorded, now }| {
        let Some(now) = now else { return format!("{recorded} (now without a template)") };
        match (recorded.split_once('@'), now.split_once('@')) {
            (Some((name, before)), Some((same, after))) if name == same => {
                format!("{name} (version {before}, now {after})")
            }
            _ => format!("{recorded} (now {now})"),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

fn difference_text(Difference { seq, recorded, replayed }: &Difference) -> String {
    let shown = |event: &Option<EventKind>| {
        event.as_ref().map_or_else(
            || "nothing".to_owned(),
            |event: &EventKind| one_line(&serde_json::to_string(event).unwrap_or_default(), CHARS),
        )
    };
    format!("  event {seq}\n    recorded {}\n    replayed {}\n", shown(recorded), shown(replayed))
}

/// A value in which two runs differ.
#[derive(Debug, Serialize)]
struct Field {
    name: String,
    a: String,
    b: String,
}

/// What `runs diff --json` prints.
#[derive(Serialize)]
struct Differences<'a> {
    a: &'a str,
    b: &'a str,
    same: bool,
    differences: &'a [Field],
}

/// Shows in what two runs differ. Times are not compared.
pub fn diff(a: &RunState, b: &RunState, json: bool) -> Result<ExitCode, CliError> {
    let fields = fields(a, b);
    if json {
        return print_json(&Differences {
            a: &a.id,
            b: &b.id,
            same: fields.is_empty(),
            differences: &fields,
        });
    }
    if fields.is_empty() {
        return print(&format!("{} and {} are the same\n", a.id, b.id));
    }
    let mut rows = vec![vec![String::new(), a.id.clone(), b.id.clone()]];
    rows.extend(
        fields
            .into_iter()
            .map(|field| vec![field.name, one_line(&field.a, CHARS), one_line(&field.b, CHARS)]),
    );
    print(&table(&rows))
}

fn fields(a: &RunState, b: &RunState) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut compare = |name: String, a: String, b: String| {
        if a != b {
            fields.push(Field { name, a, b });
        }
    };
    let budget = |run: &RunState| {
        let Asked { budget_tokens, budget_seconds, budget_tasks, budget_depth, .. } = run.asked;
        let whole = |limit: Option<u64>| limit.map(|limit| limit as f64);
        let limits = [
            ("tokens", whole(budget_tokens)),
            ("seconds", budget_seconds),
            ("tasks", whole(budget_tasks)),
            ("depth", whole(budget_depth)),
        ];
        let told = limits.into_iter().filter_map(|(which, limit)| Some(limit_in_words(which, limit?)));
        told.collect::<Vec<_>>().join(", ")
    };
    let band = |run: &RunState| serde_json::to_string(&run.band).unwrap_or_default();
    let strategy = |run: &RunState| run.strategy.map_or("", StrategyName::name).to_owned();
    compare("goal".to_owned(), a.goal.clone(), b.goal.clone());
    compare("seed".to_owned(), a.asked.seed.to_string(), b.asked.seed.to_string());
    compare("budget".to_owned(), budget(a), budget(b));
    compare("band".to_owned(), band(a), band(b));
    compare("strategy".to_owned(), strategy(a), strategy(b));
    compare("status".to_owned(), a.status.to_string(), b.status.to_string());
    let only_in_b = b.tasks.iter().filter(|task| a.task(&task.id).is_none());
    for id in a.tasks.iter().chain(only_in_b).map(|task| &task.id) {
        let of = |run: &RunState, value: &dyn Fn(&crate::orchestrator::TaskState) -> String| {
            run.task(id).map_or_else(String::new, value)
        };
        let mut one = |name: &str, value: &dyn Fn(&crate::orchestrator::TaskState) -> String| {
            compare(format!("{id} {name}"), of(a, value), of(b, value));
        };
        one("status", &|task| task.status.to_string());
        one("worker", &|task| task.worker.clone());
        one("model", &|task| task.model.clone());
        one("attempts", &|task| task.attempts.len().to_string());
        one("prompt", &|task| task.attempts.last().map_or_else(String::new, |last| last.prompt.clone()));
        one("prompt template", &|task| {
            task.attempts.last().and_then(|last| last.prompt_template.clone()).unwrap_or_default()
        });
        one("output", &|task| task.output.clone());
    }
    compare("answer".to_owned(), a.answer.clone(), b.answer.clone());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_that_have_changed_are_named_with_their_versions() {
        let prompt = |recorded: &str, now: Option<&str>| ChangedPrompt {
            recorded: recorded.to_owned(),
            now: now.map(str::to_owned),
        };
        let prompts = [
            prompt("map.plan@1", Some("map.plan@3")),
            prompt("a@1", Some("b@1")),
            prompt("crew.draft@2", None),
        ];
        let expected = "map.plan (version 1, now 3), a@1 (now b@1), crew.draft@2 (now without a template)";
        assert_eq!(changed(&prompts), expected);
    }
}
