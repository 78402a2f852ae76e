//! Replays a recorded run without a model: what happened from outside is taken from the record, and what follows from
//! it is computed anew and compared with what is recorded.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bandmaster_journal::{Event, RecordedRun};
use serde::Serialize;

use super::advance::{Core, Planned};
use super::band::Band;
use super::event::{CallEnd, EventKind};
use super::goal::{Goal, Models};
use super::ladder;
use super::outcome::Status;
use super::start::RunStart;
use super::state::RunState;
use super::strategy::Strategy;

/// What came of a replay.
#[derive(Debug, Serialize)]
pub struct Replayed {
    pub id: String,
    /// Events that were computed anew.
    pub events: usize,
    /// Where the replay and the record differ.
    pub differences: Vec<Difference>,
    /// The answer, computed anew.
    pub answer: String,
    /// Templates of prompts that have changed since the run, each once.
    pub changed_prompts: Vec<ChangedPrompt>,
    /// Calls with a reply, as they were made, to be made again.
    #[serde(skip)]
    pub calls: Vec<RecordedCall>,
}

/// An event that is not what follows from the events before it.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub seq: u64,
    pub recorded: Option<EventKind>,
    pub replayed: Option<EventKind>,
}

/// A template that is not the one that made a recorded prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedPrompt {
    /// Name and version in the record, such as `map.plan@1`.
    pub recorded: String,
    /// The one that would make the prompt now, if any.
    pub now: Option<String>,
}

/// A call of a recorded run and the reply that it got.
#[derive(Debug)]
pub struct RecordedCall {
    pub task: String,
    pub attempt: u32,
    pub worker: String,
    pub call: super::band::Call,
    pub output: String,
    /// Whether the reply became the task's result.
    pub accepted: bool,
}

/// Replays a run. `run` and `start` come from [`recorded`](super::start::recorded). `custom` is the strategy of the run
/// if it comes from outside this crate; without it, nothing that followed from it is computed as recorded. The state is carried from event to event, so
/// that the time grows with the number of events and not with the size of the state at each of them.
#[must_use]
pub fn replay(run: &RecordedRun, start: &RunStart, custom: Option<&Arc<dyn Strategy>>) -> Replayed {
    let events = typed(&run.events);
    let mut replay = Replay {
        fold: Fold { id: &run.row.id, created_ms: run.row.created_ms, events: &events },
        core: core(RunState::new(&run.row.id, run.row.created_ms), start, custom),
        planned: HashMap::new(),
        replayed: Replayed {
            id: run.row.id.clone(),
            events: 0,
            differences: Vec::new(),
            answer: String::new(),
            changed_prompts: Vec::new(),
            calls: Vec::new(),
        },
        accepted: HashSet::new(),
    };
    let mut at = 0;
    while let Some((seq, ms, event)) = events.get(at) {
        replay.note_call(event);
        replay.core.state.apply(*seq, *ms, event);
        at += 1;
        if changes_goal(event) {
            replay.core = core(replay.core.state, start, custom);
            replay.planned.clear();
        }
        if replay.core.state.strategy_why.is_some() {
            let rest = &events[at..];
            at += rest.iter().position(|(_, _, event)| event.is_external()).unwrap_or(rest.len());
            replay.follow(events.len() - rest.len()..at);
        }
    }
    replay.finish()
}

/// An event with its number and time.
type Timed = (u64, u64, EventKind);

/// The recorded events, of which a state is computed.
struct Fold<'a> {
    id: &'a str,
    created_ms: u64,
    events: &'a [Timed],
}

impl Fold<'_> {
    fn state(&self, events: usize) -> RunState {
        let mut state = RunState::new(self.id, self.created_ms);
        self.events[..events].iter().for_each(|(seq, ms, event)| state.apply(*seq, *ms, event));
        state
    }
}

/// A replay that is going on.
struct Replay<'a> {
    fold: Fold<'a>,
    /// Has the state up to the last event that was replayed.
    core: Core,
    /// The calls in progress, by task and attempt.
    planned: HashMap<(String, u32), Planned>,
    replayed: Replayed,
    /// Tasks and attempts whose replies became results.
    accepted: HashSet<(String, u32)>,
}

impl Replay<'_> {
    /// Computes what follows from the state and compares it with the events that are recorded there.
    fn follow(&mut self, place: Range<usize>) {
        let recorded = &self.fold.events[place.clone()];
        let cut = self.fold.events.get(place.end).is_none_or(|(_, _, event)| cuts(event));
        let ms = recorded.last().map_or(self.core.state.wall_ms, |(_, ms, _)| *ms);
        let first = self.core.state.last_seq + 1;
        let (mut computed, _) = self.core.advance(ms);
        if computed.len() < recorded.len() && self.core.state.lose_dropped_calls() {
            // Earlier versions didn't record how dropped calls ended, and no run waited for them.
            computed.extend(self.core.advance(ms).0);
        }
        self.replayed.compare(first, &computed, recorded, cut);
        let is_same = computed.len() == recorded.len()
            && (first..).zip(&computed).zip(recorded).all(|((seq, computed), recorded)| {
                (seq, ms) == (recorded.0, recorded.1) && *computed == recorded.2
            });
        if !is_same {
            // What comes next follows from what is recorded.
            self.core.state = self.fold.state(place.end);
        }
        self.plan_calls();
        recorded.iter().for_each(|(_, _, event)| self.note_result(event));
    }

    fn plan_calls(&mut self) {
        let state = &self.core.state;
        self.planned.retain(|(task, attempt), _| {
            let running = state.task(task).and_then(|task| task.running());
            running.is_some_and(|running| running.attempt == *attempt)
        });
        let new = self.core.calls(&|task, attempt| self.planned.contains_key(&(task.to_owned(), attempt)));
        self.planned.extend(new.into_iter().map(|call| ((call.task.clone(), call.attempt), call)));
    }

    /// Keeps a call that got a reply, as it was planned.
    fn note_call(&mut self, event: &EventKind) {
        let EventKind::TaskOutput {
            task,
            attempt,
            output,
            sampling,
            prompt_template,
            end: CallEnd::Reply(_),
            ..
        } = event
        else {
            return;
        };
        let Some(planned) = self.planned.get(&(task.clone(), *attempt)) else { return };
        self.replayed.note_template(prompt_template.as_ref(), planned);
        let mut call = planned.call.clone();
        // A budget may have left fewer tokens.
        let tokens_max = sampling["tokens_max"].as_u64().and_then(|tokens| u32::try_from(tokens).ok());
        call.tokens_max = tokens_max.unwrap_or(call.tokens_max);
        self.replayed.calls.push(RecordedCall {
            task: task.clone(),
            attempt: *attempt,
            worker: planned.worker.clone(),
            call,
            output: output.clone(),
            accepted: false,
        });
    }

    fn note_result(&mut self, event: &EventKind) {
        let EventKind::TaskFinished { task, status: Status::Completed, .. } = event else { return };
        let attempt = self.core.state.task(task).and_then(ladder::with_result);
        self.accepted.extend(attempt.map(|attempt| (task.clone(), attempt.attempt)));
    }

    fn finish(self) -> Replayed {
        let Self { mut replayed, core, accepted, .. } = self;
        for call in &mut replayed.calls {
            call.accepted = accepted.contains(&(call.task.clone(), call.attempt));
        }
        replayed.answer = core.state.answer;
        replayed
    }
}

/// The events that can be read, each with its number and time.
fn typed(events: &[Event]) -> Vec<Timed> {
    let read = |event: &Event| Some((event.seq, event.ms, EventKind::read(&event.kind, &event.body).ok()??));
    events.iter().filter_map(read).collect()
}

/// Whether a process took up the run with this event.
fn takes_up(event: &EventKind) -> bool {
    matches!(event, EventKind::RunResumed { .. } | EventKind::RunForked { .. })
}

/// Whether what follows from the events before this one may not be recorded. A process that takes up the run may follow
/// one that was killed, and a run is stopped before anything else begins.
fn cuts(event: &EventKind) -> bool {
    takes_up(event) || matches!(event, EventKind::BudgetReached { .. } | EventKind::RunCancelled)
}

/// Whether an event changes what [`Goal`] says.
fn changes_goal(event: &EventKind) -> bool {
    takes_up(event) || matches!(event, EventKind::RunStarted { .. } | EventKind::StrategyChosen { .. })
}

fn core(state: RunState, start: &RunStart, custom: Option<&Arc<dyn Strategy>>) -> Core {
    let facts = state.strategy_why.clone().unwrap_or_default().facts;
    let band = state.band.clone().unwrap_or_default();
    let goal = Goal::new(&start.request_at(&state), facts, band);
    Core::new(Arc::new(goal), state, custom.cloned())
}

/// An outcome without what depends on the disk, and without the run's id: a fork shares the end of another run.
fn comparable(event: &EventKind) -> EventKind {
    let mut event = event.clone();
    if let EventKind::RunFinished { outcome } = &mut event {
        outcome.warnings.clear();
        outcome.id.clear();
    }
    event
}

impl Replayed {
    /// Compares what follows from a state with what is recorded. `first` is the number of the next event.
    fn compare(&mut self, first: u64, computed: &[EventKind], recorded: &[Timed], cut: bool) {
        self.events += recorded.len();
        for place in 0..computed.len().max(recorded.len()) {
            let (replayed, recorded) = (computed.get(place), recorded.get(place).map(|(_, _, event)| event));
            if recorded.is_none() && cut {
                return;
            }
            if replayed != recorded && replayed.map(comparable) != recorded.map(comparable) {
                self.differences.push(Difference {
                    seq: first + place as u64,
                    recorded: recorded.cloned(),
                    replayed: replayed.cloned(),
                });
                return;
            }
        }
    }

    /// Keeps the template of a recorded prompt if another one makes the prompt now.
    fn note_template(&mut self, recorded: Option<&String>, planned: &Planned) {
        let Some(recorded) = recorded.filter(|recorded| planned.prompt_template.as_ref() != Some(*recorded))
        else {
            return;
        };
        let changed = ChangedPrompt { recorded: recorded.clone(), now: planned.prompt_template.clone() };
        if !self.changed_prompts.contains(&changed) {
            self.changed_prompts.push(changed);
        }
    }
}

/// What became of making the recorded calls again.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// Accepted replies that were computed again.
    pub outputs: usize,
    /// Those that differ, or could not be computed again, with the reason.
    pub differences: Vec<OutputDifference>,
}

#[derive(Debug, Serialize)]
pub struct OutputDifference {
    pub task: String,
    pub attempt: u32,
    pub recorded: String,
    pub computed: String,
}

/// Makes the calls of a replayed run again whose replies were accepted, and compares the replies byte by byte.
pub async fn verify(band: &Band, replayed: &Replayed) -> Verified {
    let models = Models::of(band);
    let mut verified = Verified::default();
    for recorded in replayed.calls.iter().filter(|call| call.accepted) {
        let computed = match models.get(&recorded.worker) {
            Some(llm) => match llm.generate(&recorded.call, &mut |_| {}).await {
                Ok(reply) => Ok(reply.text),
                Err(error) => Err(error.to_string()),
            },
            None => Err(format!("the band has no worker {}", recorded.worker)),
        };
        verified.outputs += 1;
        if computed.as_ref() != Ok(&recorded.output) {
            verified.differences.push(OutputDifference {
                task: recorded.task.clone(),
                attempt: recorded.attempt,
                recorded: recorded.output.clone(),
                computed: computed.unwrap_or_else(|error| error),
            });
        }
    }
    verified
}

#[cfg(test)]
mod tests;
