//! Who tries a task next, as a function of the attempts so far. After trouble that may pass, the same call is made
//! again. After a reply that was not accepted, the next worker on the ladder draws afresh. Where the models on the ladder
//! had no room or did not reply, and for a plan, another model of the band stands in. When nobody is left, the best result
//! so far is used, or the task fails.

use super::band::Skill;
use super::event::FailureClass;
use super::goal::{BandInfo, WorkerInfo};
use super::plan::{Draw, Job, Task};
use super::state::{Attempt, Failure, TaskState};

/// How often the same call is made again after trouble that may pass.
const TRANSIENT_RETRIES: u32 = 3;
/// How long to wait before the first of these; each time twice as long.
const TRANSIENT_WAIT_MS: u64 = 250;

/// A model that stalls so often at a task is not asked again.
const STALLS_MAX: usize = 2;
/// Most models that stand in for those on the ladder.
const STAND_INS_MAX: usize = 3;

/// Temperature where something other than the most likely answer is wanted, as in ballots and later attempts.
const VARIED_TEMPERATURE: f32 = 0.6;

/// What follows for a task whose attempts have all been judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Try {
        /// Place on the ladder.
        rung: usize,
        wait_ms: u64,
    },
    /// The best result there is.
    Accept {
        output: String,
        cut: bool,
    },
    Fail {
        error: String,
    },
}

/// How a task is sampled in its next attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    pub temperature: f32,
    pub seed: u64,
    pub tokens_max: u32,
}

/// What the attempts at a task have shown.
#[derive(Default)]
struct Past<'a> {
    /// The place to go on from.
    rung: usize,
    /// How often the call there was made again after trouble that may pass.
    repeats: u32,
    /// The last attempt with a result that may be wrong.
    doubtful: Option<&'a Attempt>,
    /// Models that had no room.
    without_room: Vec<&'a str>,
    /// Models that made no progress, once for each time.
    stalled: Vec<&'a str>,
    last: Option<FailureClass>,
}

impl<'a> Past<'a> {
    fn of(attempts: &'a [Attempt]) -> Self {
        let mut past = Self::default();
        for attempt in attempts {
            let Some(failure) = &attempt.failure else {
                // It asked a question, and the same worker goes on with the answer.
                (past.rung, past.repeats) = (attempt.rung, 0);
                continue;
            };
            past.last = Some(failure.class);
            match failure.class {
                FailureClass::Transient if past.repeats < TRANSIENT_RETRIES => {
                    past.repeats += 1;
                    past.rung = attempt.rung;
                    continue;
                }
                FailureClass::Resource => past.without_room.push(&attempt.model),
                FailureClass::Stalled => past.stalled.push(&attempt.model),
                FailureClass::Transient | FailureClass::Content => {}
            }
            (past.rung, past.repeats) = (attempt.rung + 1, 0);
            if failure.doubtful {
                past.doubtful = Some(attempt).filter(|_| failure.kept.is_some());
            }
        }
        past
    }

    /// Whether a model can't do the task: it had no room, or it stalled twice.
    fn rules_out(&self, model: &str) -> bool {
        let stalls = self.stalled.iter().filter(|stalled| **stalled == model).count();
        self.without_room.contains(&model) || stalls >= STALLS_MAX
    }
}

/// The next step of a task. Every attempt since the run was resumed has failed; none is running.
#[must_use]
pub(crate) fn next(task: &TaskState, band: &BandInfo) -> Next {
    let attempts = task.attempts_now();
    let past = Past::of(attempts);
    let ladder = &task.task.ladder;
    let wait_ms = if past.repeats == 0 { 0 } else { TRANSIENT_WAIT_MS << (past.repeats - 1) };
    let model = |rung: usize| band.get(&ladder[rung]).map_or("", |info| info.model.as_str());
    let top = ladder.len().checked_sub(1).map(&model);
    // A doubtful result is left to the last model on the ladder, which forms its own opinion.
    let skipped = |rung: usize| {
        (past.doubtful.is_some() && Some(model(rung)) != top)
            || (past.repeats == 0 && past.rules_out(model(rung)))
    };
    let on_ladder = (past.rung..ladder.len()).find(|rung| !skipped(*rung));
    match on_ladder.or_else(|| stand_in(task, band, &past)) {
        Some(rung) => Next::Try { rung, wait_ms },
        None => at_the_end(attempts, past.doubtful),
    }
}

/// The place of the next model that stands in for those on the ladder, if there is nothing to use and it may help.
fn stand_in(task: &TaskState, band: &BandInfo, past: &Past<'_>) -> Option<usize> {
    let has_result = past.doubtful.is_some() || best_kept(task.attempts_now()).is_some();
    let may_help =
        task.task.job == Job::Plan || past.last.is_some_and(|class| class != FailureClass::Content);
    if has_result || !may_help {
        return None;
    }
    let context = |model: &&str| {
        let info = std::iter::once(&band.planner).chain(&band.workers).find(|info| info.model == **model);
        info.map_or(0, |info| info.context_tokens)
    };
    let context_min = past.without_room.iter().map(context).max();
    let has_room = |info: &WorkerInfo| context_min.is_none_or(|least| info.context_tokens > least);
    let first = task.task.ladder.len();
    let stand_ins = stand_ins(&task.task, band);
    (past.rung.max(first)..first + stand_ins.len()).find(|rung| {
        let info = stand_ins[rung - first];
        past.repeats > 0 || (has_room(info) && !past.rules_out(&info.model))
    })
}

/// The models of the band that are not on a task's ladder and can do such a task, largest first, each once.
fn stand_ins<'a>(task: &Task, band: &'a BandInfo) -> Vec<&'a WorkerInfo> {
    let on_ladder = |info: &WorkerInfo| {
        task.ladder.iter().filter_map(|worker| band.get(worker)).any(|on| on.model == info.model)
    };
    let can = |info: &WorkerInfo| {
        let finds = task.job == Job::Read && info.skills.contains(&Skill::Find);
        finds || info.skills.contains(&Skill::Read) || info.skills.contains(&Skill::Write)
    };
    let mut found: Vec<&WorkerInfo> = Vec::new();
    let workers = band.workers.iter().filter(|info| !info.is_calculator() && can(info));
    for info in std::iter::once(&band.planner).chain(workers) {
        if !on_ladder(info) && !found.iter().any(|other| other.model == info.model) {
            found.push(info);
        }
    }
    let is_planner = |info: &WorkerInfo| info.worker == band.planner.worker;
    found.sort_by_key(|info| {
        let size = (is_planner(info), info.skills.contains(&Skill::Read), info.context_tokens);
        std::cmp::Reverse(size)
    });
    found.truncate(STAND_INS_MAX);
    found
}

/// The worker at a place of a task's ladder. Those that stand in come after it.
#[must_use]
pub(crate) fn worker_at<'a>(task: &'a Task, band: &'a BandInfo, rung: usize) -> Option<&'a str> {
    match rung.checked_sub(task.ladder.len()) {
        None => Some(&task.ladder[rung]),
        Some(place) => stand_ins(task, band).get(place).map(|info| info.worker.as_str()),
    }
}

/// The attempt whose result is used when nobody is left: a doubtful one stands if no better model contradicted it, and
/// else what was kept.
fn best<'a>(attempts: &'a [Attempt], doubtful: Option<&'a Attempt>) -> Option<&'a Attempt> {
    doubtful.or_else(|| best_kept(attempts))
}

fn at_the_end(attempts: &[Attempt], doubtful: Option<&Attempt>) -> Next {
    if let Some(attempt) = best(attempts, doubtful)
        && let Some(Failure { kept: Some(output), doubtful, .. }) = &attempt.failure
    {
        return Next::Accept { output: output.clone(), cut: !doubtful && attempt.is_cut() };
    }
    let error = attempts.iter().rev().find_map(|attempt| attempt.error.clone());
    Next::Fail { error: error.unwrap_or_else(|| "no worker is there to do it".to_owned()) }
}

/// The first result that can be used is the most likely one, but of those that were cut off the last had most room.
fn best_kept(attempts: &[Attempt]) -> Option<&Attempt> {
    let is_kept = |failure: &Failure| failure.kept.is_some() && !failure.doubtful;
    let mut kept = attempts.iter().filter(|attempt| attempt.failure.as_ref().is_some_and(is_kept));
    kept.clone().find(|attempt| !attempt.is_cut()).or_else(|| kept.next_back())
}

/// The attempt whose reply became the result of a completed task: the last one, if the check accepted it, or else the one
/// that was used when nobody was left. A result without a call has none.
#[must_use]
pub(crate) fn with_result(task: &TaskState) -> Option<&Attempt> {
    let attempts = task.attempts_now();
    let accepted = attempts.last().filter(|attempt| attempt.failure.is_none());
    accepted.or_else(|| best(attempts, Past::of(attempts).doubtful))
}

/// Whether the model at this place of the ladder is the last that may decide.
#[must_use]
pub(crate) fn is_top(task: &Task, band: &BandInfo, rung: usize) -> bool {
    if rung >= task.ladder.len() {
        return true;
    }
    let model = |worker: Option<&String>| worker.and_then(|worker| band.get(worker)).map(|info| &info.model);
    model(task.ladder.get(rung)) == model(task.ladder.last())
}

/// How the attempt that is being made is sampled. It is a function of the run's seed, the task and its earlier attempts;
/// a call that is made again after trouble is the same call.
#[must_use]
pub(crate) fn sampled(task: &TaskState, seed: u64, tokens_max: u32) -> Sampled {
    let before = &task.attempts[..task.attempts.len().saturating_sub(1)];
    let same_call = |attempt: &&Attempt| {
        attempt.failure.as_ref().is_none_or(|failure| failure.class == FailureClass::Transient)
    };
    let draws = before.iter().filter(|attempt| !same_call(attempt)).count() as u64;
    let (varied, ballot) = match task.task.draw {
        // At temperature 0 a model that went wrong goes wrong in the same way again.
        Draw::MostLikely => (draws > 0, 0),
        Draw::Varied(ballot) => (true, ballot),
    };
    Sampled {
        temperature: if varied { VARIED_TEMPERATURE } else { 0.0 },
        seed: seed.wrapping_add(draws).wrapping_add(ballot << 8),
        tokens_max: with_more_room(before, task.earlier_attempts, tokens_max),
    }
}

/// Most tokens of a call whose task is planned to have `planned`: twice as many if an attempt before it was cut off at its
/// limit. If the run was resumed after that, it is twice as many as that attempt was allowed.
fn with_more_room(before: &[Attempt], earlier: usize, planned: u32) -> u32 {
    let had = before.iter().enumerate().filter(|(_, attempt)| attempt.is_cut()).map(|(at, attempt)| {
        let is_earlier = at < earlier;
        attempt.tokens_max().filter(|_| is_earlier).unwrap_or(planned)
    });
    had.map(|tokens| tokens.saturating_mul(2)).fold(planned, u32::max)
}

#[cfg(test)]
mod tests;
