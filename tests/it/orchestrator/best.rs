//! The strategy of `docs/how-a-run-works.md`, as it stands there.

use std::sync::Arc;

use bandmaster::journal::Journal;
use bandmaster::orchestrator::{Replayed, StartError, recorded, replay};

use bandmaster::orchestrator::{
    Draw, Ended, Goal, Job, Move, PLANNER, Prompt, RunState, Skill, Strategy, Task, Template,
};

const DRAFT: Template = Template::new("best.draft", 1, "{{inputs}}{{goal}}");
const CHOICE: Template =
    Template::new("best.choice", 1, "{{goal}}\n\nDrafts:\n{{drafts}}\n\nCopy the best draft, word for word.");

struct Best;

impl Strategy for Best {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(choice) = state.task("choice") else {
            let draft = |number: usize| {
                let worker = goal.band.assign(Skill::Write, number);
                let ladder = goal.band.ladder(worker, Skill::Write);
                let draw = Draw::Varied(number as u64);
                Task { draw, ..Task::new(format!("draft{number}"), Job::Step, ladder) }
            };
            let mut tasks: Vec<Task> = (1..=3).map(draft).collect();
            let needs = tasks.iter().map(|task| task.id.clone()).collect();
            tasks.push(Task { needs, with_gaps: true, ..Task::new("choice", Job::Step, [PLANNER]) });
            return Move::Add { tasks, proposed: None };
        };
        if !choice.has_ended() {
            return Move::Wait;
        }
        Move::Answer(Ended { answer: choice.output.clone(), error: choice.error.clone(), ..Ended::default() })
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let drafts: Vec<&str> = task.needs.iter().filter_map(|need| state.result(need)).collect();
        match drafts[..] {
            [] => DRAFT.prompt(&[("inputs", &goal.inputs_under("Text")), ("goal", &goal.text)]),
            _ => CHOICE.prompt(&[("goal", &goal.text), ("drafts", &drafts.join("\n\n"))]),
        }
    }
}

fn replay_best(journal: &Journal, id: &str) -> Result<Replayed, StartError> {
    let strategy: Arc<dyn Strategy> = Arc::new(Best);
    let (run, start) = recorded(journal, id)?;
    Ok(replay(&run, &start, Some(&strategy)))
}

/// Replays a run of [`best`], and checks that it comes out as recorded.
pub(super) fn check_replay(journal: &Journal, id: &str) {
    let replayed = replay_best(journal, id).unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

pub(super) fn best() -> Arc<dyn Strategy> {
    Arc::new(Best)
}
