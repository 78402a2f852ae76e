//! Who tries a task next, as a function of the attempts so far. After trouble that may pass, the same call is made
//! again. After a reply that was not accepted, the next worker on the ladder draws afresh. When nobody is left, the best
//! result so far is used, or the task fails.

use super::event::{CallEnd, FailureClass};
use super::goal::BandInfo;
use super::plan::{Draw, Task};
use super::state::{Attempt, TaskState};

/// How often the same call is made again after trouble that may pass.
const TRANSIENT_RETRIES: u32 = 3;
/// How long to wait before the first of these; each time twice as long.
const TRANSIENT_WAIT_MS: u64 = 250;

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

/// The next step of a task. Every attempt since the run was resumed has failed; none is running.
#[must_use]
pub(crate) fn next(task: &TaskState, band: &BandInfo) -> Next {
    let attempts = task.attempts_now();
    let mut rung = 0;
    let (mut repeats, mut doubtful) = (0, None);
    let mut without_room: Vec<&str> = Vec::new();
    for attempt in attempts {
        let Some(failure) = &attempt.failure else {
            // It asked a question, and the same worker goes on with the answer.
            repeats = 0;
            continue;
        };
        match failure.class {
            FailureClass::Transient if repeats < TRANSIENT_RETRIES => {
                repeats += 1;
                rung = attempt.rung;
                continue;
            }
            FailureClass::Resource => without_room.push(&attempt.model),
            _ => {}
        }
        (rung, repeats) = (attempt.rung + 1, 0);
        if failure.doubtful {
            doubtful = failure.kept.as_ref();
        }
    }
    let wait_ms = if repeats == 0 { 0 } else { TRANSIENT_WAIT_MS << (repeats - 1) };
    let model = |rung: usize| band.get(&task.task.ladder[rung]).map_or("", |info| info.model.as_str());
    let top = task.task.ladder.len().checked_sub(1).map(&model);
    // A doubtful result is left to the last model on the ladder, which forms its own opinion.
    let skipped = |rung: usize| {
        (doubtful.is_some() && Some(model(rung)) != top)
            || (repeats == 0 && without_room.contains(&model(rung)))
    };
    match (rung..task.task.ladder.len()).find(|rung| !skipped(*rung)) {
        Some(rung) => Next::Try { rung, wait_ms },
        None => at_the_end(attempts, doubtful),
    }
}

/// A doubtful result stands if no better model contradicted it, and else what was kept.
fn at_the_end(attempts: &[Attempt], doubtful: Option<&String>) -> Next {
    if let Some(output) = doubtful {
        return Next::Accept { output: output.clone(), cut: false };
    }
    if let Some((output, cut)) = best_kept(attempts) {
        return Next::Accept { output: output.to_owned(), cut };
    }
    let error = attempts.iter().rev().find_map(|attempt| attempt.error.clone());
    Next::Fail { error: error.unwrap_or_else(|| "no worker is there to do it".to_owned()) }
}

/// The first result that can be used is the most likely one, but of those that were cut off the last had most room.
fn best_kept(attempts: &[Attempt]) -> Option<(&str, bool)> {
    let kept = attempts.iter().filter_map(|attempt| {
        let failure = attempt.failure.as_ref().filter(|failure| !failure.doubtful)?;
        Some((failure.kept.as_deref()?, is_cut(attempt)))
    });
    let kept: Vec<(&str, bool)> = kept.collect();
    kept.iter().find(|(_, cut)| !cut).or(kept.last()).copied()
}

/// Whether a reply was cut off at its token limit.
#[must_use]
pub(crate) fn is_cut(attempt: &Attempt) -> bool {
    attempt.end == Some(CallEnd::Reply(super::band::Finish::Length))
}

/// Whether the model at this place of the ladder is the last that may decide.
#[must_use]
pub(crate) fn is_top(task: &Task, band: &BandInfo, rung: usize) -> bool {
    let model = |worker: Option<&String>| worker.and_then(|worker| band.get(worker)).map(|info| &info.model);
    model(task.ladder.get(rung)) == model(task.ladder.last())
}

/// How the attempt that is being made is sampled. It is a function of the run's seed, the task and its earlier attempts;
/// a call that is made again after trouble is the same call.
#[must_use]
pub(crate) fn sampled(task: &TaskState, seed: u64) -> Sampled {
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
    let was_cut = before.iter().any(|attempt| attempt.failure.is_some() && is_cut(attempt));
    let tokens_max = if was_cut { task.task.tokens_max.saturating_mul(2) } else { task.task.tokens_max };
    Sampled {
        temperature: if varied { VARIED_TEMPERATURE } else { 0.0 },
        seed: seed.wrapping_add(draws).wrapping_add(ballot << 8),
        tokens_max,
    }
}
