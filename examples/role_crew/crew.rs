//! Three roles with their own prompts: a researcher reads the inputs, a writer writes from the notes, and a critic
//! accepts the draft or says what to change. The researcher and the writer are workers of these names; the critic is the
//! planner.

use bandmaster::orchestrator::{Ended, Goal, Job, Move, PLANNER, Prompt, RunState, Strategy, Task, Template};
use serde_json::{Value, json};

const RESEARCH: Template = Template::new("crew.research", 1, include_str!("research.txt"));
const DRAFT: Template = Template::new("crew.draft", 1, include_str!("draft.txt"));
const REVISION: Template = Template::new("crew.revision", 1, include_str!("revision.txt"));
const REVIEW: Template = Template::new("crew.review", 1, include_str!("review.txt"));

/// Most drafts. The last one is not reviewed.
const DRAFTS_MAX: usize = 3;

pub struct Crew;

impl Strategy for Crew {
    fn next(&self, _: &Goal, state: &RunState) -> Move {
        let Some(last) = state.tasks.last() else { return Move::add(task("notes", "researcher", &[])) };
        if !last.has_ended() {
            return Move::Wait;
        }
        let round = state.tasks.len() / 2;
        let (draft, review) = (format!("draft{round}"), format!("review{round}"));
        let next = match (last.id.as_str(), last.accepted()) {
            (_, None) => None,
            ("notes", _) => Some(task("draft1", "writer", &["notes"])),
            (id, Some(_)) if id == draft && round < DRAFTS_MAX => {
                Some(task(&review, PLANNER, &["notes", &draft]))
            }
            (id, Some(said)) if id == review && !change(said).is_empty() => {
                Some(task(&format!("draft{}", round + 1), "writer", &["notes", &draft, &review]))
            }
            _ => None,
        };
        next.filter(|_| !state.is_stopped()).map_or_else(|| Move::Answer(end(state)), Move::add)
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let results: Vec<&str> = task.needs.iter().filter_map(|need| state.result(need)).collect();
        let asked = ("goal", goal.text.as_str());
        match results[..] {
            [notes, draft] => {
                REVIEW.prompt(&[asked, ("notes", notes), ("draft", draft)]).with_schema(review_schema())
            }
            [notes, draft, review] => {
                REVISION.prompt(&[asked, ("notes", notes), ("draft", draft), ("change", &change(review))])
            }
            [notes] => DRAFT.prompt(&[asked, ("notes", notes)]),
            _ => RESEARCH.prompt(&[asked, ("inputs", &goal.inputs_under("Text"))]),
        }
    }
}

/// A task for a worker, who has two attempts.
fn task(id: &str, worker: &str, needs: &[&str]) -> Task {
    let needs = needs.iter().map(|need| (*need).to_owned()).collect();
    Task { needs, instruction: id.to_owned(), ..Task::new(id, Job::Step, [worker, worker]) }
}

fn review_schema() -> Value {
    let properties = json!({"accept": {"type": "boolean"}, "change": {"type": "string"}});
    json!({"type": "object", "properties": properties, "required": ["accept", "change"], "additionalProperties": false})
}

/// What a review wants changed; empty if it accepts the draft.
fn change(review: &str) -> String {
    let review: Value = serde_json::from_str(review).unwrap_or_default();
    let change = review["change"].as_str().filter(|_| review["accept"] == false);
    change.unwrap_or_default().trim().to_owned()
}

/// The last draft is the answer.
fn end(state: &RunState) -> Ended {
    let drafts = state.tasks.iter().filter(|task| task.id.starts_with("draft"));
    let answer = drafts.filter_map(|draft| draft.accepted()).next_back().unwrap_or_default().to_owned();
    let failed = state.tasks.iter().filter(|task| task.accepted().is_none());
    let missing: Vec<String> =
        failed.map(|task| format!("{}: {}", task.id, task.error.as_deref().unwrap_or("not done"))).collect();
    Ended { answer, failed_tasks: missing.len(), missing, ..Ended::default() }
}
