//! What the engine knows of a run: when it began, how much service it had, what it generated. Plans are not known here.

use std::collections::HashMap;
use std::time::Duration;

use super::draft::History;
use super::{ModelId, RunId};

/// Runs that are remembered. Of those without a request, the least recently used is forgotten first.
const RUNS_MAX: usize = 256;
/// A run with this much service counts as having begun one `STEP_BACK` later, with four times as much two, and so on.
const SERVICE_FIRST: Duration = Duration::from_secs(30);
const STEP_BACK: Duration = Duration::from_secs(30);

/// How long a run's outputs are kept after its last request arrived.
const HISTORY_KEPT: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Run {
    /// When its first request arrived.
    since: Duration,
    /// When its last request arrived.
    last_used: Duration,
    /// Requests that have not ended.
    requests: usize,
    service_us: f64,
    histories: HashMap<ModelId, History>,
}

#[derive(Debug, Default)]
pub(crate) struct Runs(HashMap<RunId, Run>);

impl Runs {
    /// Registers a request of `run` and returns when the run counts as having begun. A run that has had much service is
    /// moved behind shorter ones, one step for each fourfold, so that nobody waits for a long run to end.
    pub(crate) fn enter(&mut self, run: RunId, now: Duration) -> Duration {
        if self.0.len() >= RUNS_MAX && !self.0.contains_key(&run) {
            let idle = self.0.iter().filter(|(_, run)| run.requests == 0);
            let oldest = idle.min_by_key(|(_, run)| run.last_used).map(|(&id, _)| id);
            oldest.map(|id| self.0.remove(&id));
        }
        for run in self.0.values_mut().filter(|run| run.requests == 0) {
            if now.saturating_sub(run.last_used) >= HISTORY_KEPT {
                run.histories = HashMap::new();
            }
        }
        let new_run =
            || Run { since: now, last_used: now, requests: 0, service_us: 0.0, histories: HashMap::new() };
        let run = self.0.entry(run).or_insert_with(new_run);
        (run.requests, run.last_used) = (run.requests + 1, now);
        let service = run.service_us / SERVICE_FIRST.as_micros() as f64;
        let steps = if service < 1.0 { 0 } else { 1 + service.log(4.0) as u32 };
        run.since + STEP_BACK * steps
    }

    /// A request of `run` has ended. Its output is kept to draft from.
    pub(crate) fn leave(&mut self, run: RunId, model: ModelId, generated: &[u32]) {
        if let Some(run) = self.0.get_mut(&run) {
            run.requests -= 1;
            if !generated.is_empty() {
                run.histories.entry(model).or_default().add(generated);
            }
        }
    }

    /// Charges `run` for its part of a step.
    pub(crate) fn charge(&mut self, run: RunId, us: f64) {
        if let Some(run) = self.0.get_mut(&run) {
            run.service_us += us;
        }
    }

    /// What `run` has generated with `model`.
    #[must_use]
    pub(crate) fn history(&self, run: RunId, model: ModelId) -> Option<&History> {
        self.0.get(&run)?.histories.get(&model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_from_their_first_request_and_step_back_with_service() {
        let mut runs = Runs::default();
        let at = Duration::from_secs;
        assert_eq!(runs.enter(RunId(1), at(5)), at(5));
        assert_eq!(runs.enter(RunId(1), at(9)), at(5));
        runs.charge(RunId(1), 29e6);
        assert_eq!(runs.enter(RunId(1), at(40)), at(5));
        runs.charge(RunId(1), 2e6);
        assert_eq!(runs.enter(RunId(1), at(41)), at(35));
        runs.charge(RunId(1), 90e6);
        assert_eq!(runs.enter(RunId(1), at(150)), at(65));
        assert_eq!(runs.enter(RunId(2), at(151)), at(151));
    }

    #[test]
    fn ended_runs_are_forgotten_when_there_are_many() {
        let mut runs = Runs::default();
        for id in 0..1000 {
            runs.enter(RunId(id), Duration::from_secs(id));
            if id > 0 {
                runs.leave(RunId(id), ModelId(0), &[1, 2, 3, 4]);
            }
        }
        assert!(runs.0.len() <= RUNS_MAX && runs.0.contains_key(&RunId(0)));
        assert!(
            runs.history(RunId(999), ModelId(0)).is_some() && runs.history(RunId(5), ModelId(0)).is_none()
        );
    }
}
