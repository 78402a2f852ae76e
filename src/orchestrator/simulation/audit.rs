//! Checks a record by itself, event by event, without the code that made it.

use std::collections::{HashMap, HashSet};

use bandmaster_journal::Event;
use serde_json::Value;

use crate::band::Finish;
use crate::event::{CallEnd, EventKind, FailureClass};
use crate::goal::BandInfo;
use crate::outcome::{Outcome, Status, TokenUsage};
use crate::parked::Answer;
use crate::plan::{Job, Task};
use crate::request::Budget;

/// Most calls of a run at a time.
const IN_FLIGHT_MAX: usize = 64;
/// How often a call is made again after trouble that may pass.
const REPEATS_MAX: usize = 3;
/// Most models that stand in for those on a ladder.
const STAND_INS_MAX: usize = 3;

/// What the record says of a task.
struct Known {
    task: Task,
    /// How it ended, since it was last begun.
    status: Option<Status>,
    output: String,
    /// Whether its result was cut off at its limit.
    cut: bool,
    attempts: Vec<Made>,
    /// Whether it waits for an answer.
    asks: bool,
    /// Attempts that were made before the run was taken up and the task was begun anew.
    earlier: usize,
}

struct Made {
    worker: String,
    model: String,
    /// Where in the context its limit was.
    reached: u64,
    rung: usize,
    end: Option<CallEnd>,
    failure: Option<FailureClass>,
    /// Whether it ended with a question.
    asked: bool,
}

#[derive(Default)]
struct Audit {
    tasks: Vec<Known>,
    places: HashMap<String, usize>,
    has_plan: bool,
    band: BandInfo,
    /// Tasks and attempts whose calls are being made.
    in_flight: HashSet<(String, u32)>,
    /// The same for tasks that have ended, because they were dropped. The run does not end before these calls.
    dropped_calls: HashSet<(String, u32)>,
    /// Whether a budget or the user stops the run, and whether it was the user.
    is_stopped: bool,
    by_user: bool,
    budget: Budget,
    /// What was used since the budget began.
    used_tokens: u64,
    begun: HashSet<String>,
    /// Tasks that had been begun before.
    begun_before: HashSet<String>,
    /// Whether the user wants to approve the plan, and has not yet.
    unapproved: bool,
    outcome: Option<Outcome>,
    /// What was completed before the last kill.
    kept: HashSet<String>,
    tokens: TokenUsage,
    replans: usize,
    /// What the plan goes on without since the planner was asked again.
    dropped: HashSet<String>,
}

/// Checks a record.
///
/// # Panics
/// When something in it can't be right.
pub(super) fn audit(record: &[Event]) {
    let mut audit = Audit::default();
    for (at, event) in record.iter().enumerate() {
        assert_eq!(event.seq, at as u64 + 1, "events are numbered without gaps");
        let read = EventKind::read(&event.kind, &event.body).unwrap().unwrap();
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| audit.take(&read)));
        taken.unwrap_or_else(|panic| {
            let told =
                record[..=at].iter().map(|event| format!("{} {} {}\n", event.seq, event.kind, brief(event)));
            eprintln!("the record up to the fault:\n{}", told.collect::<String>());
            std::panic::resume_unwind(panic)
        });
    }
}

/// The fields of an event that say what happened, without long texts.
fn brief(event: &Event) -> String {
    let fields = ["task", "attempt", "rung", "status", "end", "class", "error", "which", "answer", "needs"];
    let shown = fields.iter().filter_map(|field| Some(format!("{field}={}", event.body.get(field)?)));
    shown.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

impl Known {
    /// An open question of a task that is begun anew is not waited for any more.
    fn withdraw_question(&mut self) {
        let asked = self.attempts.iter_mut().rfind(|made| made.asked);
        if let Some(made) = asked.filter(|_| std::mem::take(&mut self.asks)) {
            made.asked = false;
        }
    }

    /// Attempts that were cut short are made again under their numbers.
    fn forget_cut_short(&mut self) {
        let is_cut_short = |made: &mut Made| matches!(made.end, None | Some(CallEnd::Stopped));
        while self.attempts.pop_if(is_cut_short).is_some() {}
    }
}

impl Audit {
    fn take(&mut self, event: &EventKind) {
        let takes_up = matches!(event, EventKind::RunResumed { .. } | EventKind::RunForked { .. });
        assert!(takes_up || self.outcome.is_none(), "something happens after the end: {event:?}");
        match event {
            EventKind::RunStarted { asked, band, .. } => {
                self.unapproved = asked.approve;
                self.band = band.clone().unwrap_or_default();
                self.budget = Budget {
                    tokens: asked.budget_tokens,
                    tasks: asked.budget_tasks,
                    depth: asked.budget_depth,
                    time: None,
                };
            }
            EventKind::PlanAccepted { plan } => {
                assert!(!self.unapproved, "the plan is carried out although nobody has approved it");
                self.has_plan = true;
                plan.tasks().iter().for_each(|task| self.add(task));
            }
            EventKind::TasksAdded { tasks } => tasks.iter().for_each(|task| self.add(task)),
            EventKind::TaskReady { task } => {
                self.check_needs(task);
                assert!(self.known(task).status.is_none(), "{task} is ready although it has ended");
            }
            EventKind::TaskStarted { task, attempt, worker, model, rung }
            | EventKind::TaskRetried { task, attempt, worker, model, rung, .. } => {
                self.begin(task, *attempt, (worker, model), *rung);
            }
            EventKind::TaskOutput { task, attempt, end, usage, sampling, .. } => {
                self.output(task, *attempt, end, *usage, sampling["tokens_max"].as_u64().unwrap_or(0));
            }
            EventKind::TaskAsked { task, attempt, .. } => self.ask(task, *attempt),
            EventKind::TaskAnswered { task, .. } => self.answer(task),
            EventKind::TaskPartial { task, attempt, .. } => self.partial(task, *attempt),
            EventKind::ReplanStarted { kept, dropped, .. } => self.replan(kept, dropped),
            EventKind::TaskFailed { task, attempt, class, .. } => self.fail(task, *attempt, *class),
            EventKind::TaskFinished { task, status, output, cut, .. } => {
                self.finish(task, *status, output);
                self.known(task).cut = *cut;
            }
            EventKind::BudgetReached { which, .. } if matches!(which.as_ref(), "tasks" | "depth") => {}
            EventKind::BudgetReached { .. } => self.is_stopped = true,
            EventKind::RunCancelled => {
                self.by_user = !self.is_stopped;
                self.is_stopped = true;
            }
            EventKind::RunResumed { answer, band, .. } => self.resume(answer.as_ref(), band),
            // A fork goes on from the middle of the other run, even if that had ended.
            EventKind::RunForked { set, band, .. } => {
                self.band = band.clone();
                self.take_up(false);
                self.begin_budget();
                set.iter().for_each(|(name, value)| self.set(name, value));
            }
            EventKind::RunFinished { outcome } => self.end(outcome),
            _ => {}
        }
    }

    fn resume(&mut self, answer: Option<&Answer>, band: &BandInfo) {
        self.band = band.clone();
        let was_parked = self.outcome.as_ref().is_some_and(|end| end.status == Status::RequiresAction);
        assert!(answer.is_none() || was_parked, "nobody asked for {answer:?}");
        self.take_up(self.outcome.is_some() && !was_parked);
        match answer {
            Some(Answer::Task { task, .. }) => self.answer(task),
            Some(Answer::Approval { approve: false }) => (self.is_stopped, self.by_user) = (true, true),
            Some(Answer::Plan { plan }) => self.edit(plan),
            Some(_) => self.unapproved = false,
            None => {}
        }
    }

    fn ask(&mut self, task: &str, attempt: u32) {
        let known = self.known(task);
        let made = known.attempts.last_mut().expect("it was begun");
        assert!(made.end.is_some() && made.failure.is_none() && !made.asked, "{task} asks once");
        made.asked = true;
        known.asks = true;
        assert_eq!(attempt as usize, known.attempts.len(), "the last attempt of {task} asks");
        let asked = known.attempts.iter().filter(|made| made.asked).count();
        assert!(asked <= 2, "{task} asks {asked} questions");
    }

    fn known(&mut self, task: &str) -> &mut Known {
        let place = self.places.get(task).unwrap_or_else(|| panic!("nobody added {task}"));
        &mut self.tasks[*place]
    }

    fn begin_budget(&mut self) {
        (self.is_stopped, self.used_tokens) = (false, 0);
        self.begun_before.extend(self.begun.drain());
        for known in &self.tasks {
            // What was cut short is begun as if for the first time.
            if known.attempts.is_empty() {
                self.begun_before.remove(&known.task.id);
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match (name, name.strip_prefix("output.")) {
            ("budget-tokens", _) => self.budget.tokens = value.parse().ok(),
            ("budget-tasks", _) => self.budget.tasks = value.parse().ok(),
            (_, Some(task)) => {
                self.known(task).output.clone_from(&value.to_owned());
                let mut changed = HashSet::from([task.to_owned()]);
                let dropped = &self.dropped;
                for known in self.tasks.iter_mut().filter(|known| !dropped.contains(&known.task.id)) {
                    if known.task.needs.iter().any(|need| changed.contains(need)) {
                        changed.insert(known.task.id.clone());
                        self.kept.remove(&known.task.id);
                        known.withdraw_question();
                        known.forget_cut_short();
                        (known.status, known.earlier) = (None, known.attempts.len());
                    }
                }
            }
            _ => {}
        }
    }

    /// No call begins beyond a budget.
    fn check_budget(&mut self, task: &str) {
        assert!(self.budget.tokens.is_none_or(|max| self.used_tokens < max), "{task} begins without tokens");
        if self.known(task).task.job.is_planners() || self.begun_before.contains(task) {
            return;
        }
        self.begun.insert(task.to_owned());
        assert!(self.budget.tasks.is_none_or(|max| self.begun.len() as u64 <= max), "{task} is one too many");
        assert!(self.budget.depth.is_none_or(|max| self.depth(task) <= max), "{task} is too deep");
    }

    fn depth(&self, task: &str) -> u64 {
        let task = &self.tasks[self.places[task]].task;
        let counts = !task.job.is_planners() && task.job != Job::Calculate;
        task.needs.iter().map(|need| self.depth(need)).max().unwrap_or(0) + u64::from(counts)
    }

    fn add(&mut self, task: &Task) {
        let place = self.places.insert(task.id.clone(), self.tasks.len());
        assert!(place.is_none(), "{} is added twice", task.id);
        let (output, attempts) = (String::new(), Vec::new());
        self.tasks.push(Known {
            task: task.clone(),
            status: None,
            output,
            cut: false,
            attempts,
            asks: false,
            earlier: 0,
        });
    }

    /// An edited plan stands in for the planner's reply.
    fn edit(&mut self, plan: &Value) {
        self.unapproved = false;
        for known in self.tasks.iter_mut().filter(|known| known.task.job == Job::Plan) {
            (known.status, known.output) = (Some(Status::Completed), plan.to_string());
        }
    }

    fn answer(&mut self, task: &str) {
        let known = self.known(task);
        assert!(known.asks, "{task} is answered although it asks nothing");
        known.asks = false;
    }

    /// A task begins only when all that it needs has ended.
    fn check_needs(&mut self, task: &str) {
        for need in self.known(task).task.needs.clone() {
            let status = self.known(&need).status;
            assert!(status.is_some(), "{task} begins although {need} has not ended");
            let has_result = status == Some(Status::Completed) || self.known(task).task.with_gaps;
            assert!(has_result, "{task} begins although {need} has no result");
        }
    }

    fn begin(&mut self, task: &str, attempt: u32, (worker, model): (&str, &str), rung: usize) {
        self.check_needs(task);
        assert!(!self.is_stopped, "{task} begins although the run was stopped");
        assert!(!self.kept.contains(task), "{task} begins again although it was completed before a kill");
        self.check_worker(task, worker, rung);
        let known = self.known(task);
        assert!(known.status.is_none(), "{task} begins although it has ended");
        assert!(!known.asks, "{task} begins although its question is open");
        assert_eq!(attempt as usize, known.attempts.len() + 1, "the number of an attempt of {task}");
        let by_rule = known.task.job == Job::Calculate;
        let now = &known.attempts[known.earlier..];
        check_rung(task, now, rung);
        let has_no_room = |made: &Made| made.failure == Some(FailureClass::Resource) && made.model == model;
        let again_without_room = now.iter().any(has_no_room);
        assert!(!again_without_room, "{model} is asked again for {task}, for which it has no room");
        let stalls = |made: &&Made| made.failure == Some(FailureClass::Stalled) && made.model == model;
        let is_dead = now.iter().filter(stalls).count() >= 2;
        assert!(!is_dead || repeats(now), "{model} is asked for {task} although it stalled twice");
        let tries_max = (3 + REPEATS_MAX) * (known.task.ladder.len() + STAND_INS_MAX);
        assert!(now.len() < tries_max, "{task} never ends");
        let (worker, model) = (worker.to_owned(), model.to_owned());
        known.attempts.push(Made { worker, model, reached: 0, rung, end: None, failure: None, asked: false });
        if !by_rule {
            self.check_budget(task);
            self.in_flight.insert((task.to_owned(), attempt));
            assert!(self.in_flight.len() <= IN_FLIGHT_MAX, "{} calls in flight", self.in_flight.len());
        }
    }

    /// A task is tried by those on its ladder. Then models stand in for them that are not on it: for a plan, for models
    /// that did not reply, and with more room for models that had too little.
    fn check_worker(&mut self, task: &str, worker: &str, rung: usize) {
        let band = self.band.clone();
        let known = self.known(task);
        let by_rule = known.task.job == Job::Calculate;
        let expected = if by_rule { Some(&known.task.worker) } else { known.task.ladder.get(rung) };
        if let Some(expected) = expected {
            return assert_eq!(worker, expected, "the worker on rung {rung} of {task}");
        }
        let info = band.get(worker).unwrap_or_else(|| panic!("there is no {worker} to stand in for {task}"));
        let on_ladder =
            known.task.ladder.iter().filter_map(|on| band.get(on)).any(|on| on.model == info.model);
        assert!(!on_ladder && !info.is_calculator(), "{worker} stands in for itself in {task}");
        let now = &known.attempts[known.earlier..];
        let last = now.last().and_then(|made| made.failure);
        assert!(
            known.task.job == Job::Plan || last != Some(FailureClass::Content),
            "{worker} stands in for models whose replies to {task} were bad"
        );
        for made in now.iter().filter(|made| made.failure == Some(FailureClass::Resource)) {
            let other =
                std::iter::once(&band.planner).chain(&band.workers).find(|other| other.model == made.model);
            let less = other.is_none_or(|other| other.context_tokens < info.context_tokens);
            assert!(less || repeats(now), "{worker} has no more room for {task} than {}", made.model);
        }
    }

    fn output(&mut self, task: &str, attempt: u32, end: &CallEnd, usage: TokenUsage, tokens_max: u64) {
        assert!(!self.kept.contains(task), "{task} is done again although it was completed before a kill");
        let of = (task.to_owned(), attempt);
        let was_dropped = self.dropped_calls.remove(&of);
        assert!(!was_dropped || *end == CallEnd::Stopped, "attempt {attempt} of {task} was dropped: {end:?}");
        let begun = was_dropped || self.in_flight.remove(&of);
        assert!(begun, "attempt {attempt} of {task} ends and was not begun");
        self.tokens.add(usage);
        self.used_tokens += usage.computed();
        let made = self.known(task).attempts.last_mut().expect("it was begun");
        made.end = Some(end.clone());
        made.reached = usage.prompt_tokens + tokens_max;
    }

    fn finish(&mut self, task: &str, status: Status, output: &str) {
        let known = self.known(task);
        assert!(known.status.is_none(), "{task} ends twice");
        let ends = [Status::Completed, Status::Failed, Status::Skipped, Status::Cancelled];
        assert!(ends.contains(&status), "{task} ends as {status}");
        let was_tried = known.attempts.len() > known.earlier || known.task.ladder.is_empty();
        assert!(status != Status::Failed || was_tried, "{task} fails although nobody has tried it");
        (known.status, known.output) = (Some(status), output.to_owned());
        self.dropped_calls.extend(self.in_flight.extract_if(|(id, _)| id == task));
    }

    fn partial(&self, task: &str, attempt: u32) {
        assert!(!self.is_stopped, "a part of {task} comes after the run was stopped");
        let of = (task.to_owned(), attempt);
        assert!(self.in_flight.contains(&of), "a part of {task}, of which no call is being made");
    }

    fn fail(&mut self, task: &str, attempt: u32, class: FailureClass) {
        let known = self.known(task);
        let last = known.attempts.len();
        let made = known.attempts.last_mut().expect("it was begun");
        assert_eq!(attempt as usize, last, "the last attempt of {task} fails");
        assert!(made.end.is_some() && made.failure.is_none(), "attempt {attempt} of {task} has ended once");
        made.failure = Some(class);
    }

    /// The planner is asked again: what has a result stays, and the rest has ended.
    fn replan(&mut self, kept: &[String], dropped: &[String]) {
        self.replans += 1;
        assert!(self.replans <= 3, "the planner is asked again {} times", self.replans);
        for task in kept {
            assert_eq!(self.known(task).status, Some(Status::Completed), "{task} is kept");
            assert!(!self.dropped.contains(task), "{task} was dropped before");
        }
        for task in dropped {
            let known = self.known(task);
            let is_planners = known.task.job.is_planners();
            let has_no_result = known.status.is_some_and(|status| status != Status::Completed);
            assert!(is_planners || has_no_result, "{task} is dropped although it has a result");
        }
        self.dropped.extend(dropped.iter().cloned());
    }

    /// A process takes up the run. Calls that were being made are lost.
    fn take_up(&mut self, had_ended: bool) {
        let mut again: HashSet<String> = HashSet::new();
        let completed = |known: &Known| known.status == Some(Status::Completed);
        self.kept.clear();
        if !had_ended {
            self.kept = self
                .tasks
                .iter()
                .filter(|known| completed(known))
                .map(|known| known.task.id.clone())
                .collect();
        }
        let last_planned = self.tasks.iter().rposition(|known| !known.task.job.is_planners());
        for (at, known) in self.tasks.iter_mut().enumerate() {
            if self.dropped.contains(&known.task.id) {
                continue;
            }
            let has_followed = known.task.job == Job::Plan && last_planned > Some(at);
            let is_open = match known.status {
                Some(Status::Completed | Status::Failed | Status::Skipped) if has_followed => false,
                Some(Status::Completed) => had_ended && known.cut && may_get_further(known, &self.band),
                Some(Status::Failed | Status::Skipped) => had_ended,
                _ => true,
            };
            let needs_again = known.task.needs.iter().any(|need| again.contains(need));
            if !is_open && !needs_again {
                continue;
            }
            if matches!(known.status, Some(Status::Completed | Status::Failed | Status::Skipped)) {
                again.insert(known.task.id.clone());
            }
            if needs_again {
                known.withdraw_question();
            }
            known.forget_cut_short();
            if known.attempts.is_empty() {
                // It counts against a budget of tasks when it is begun again. Another one may begin before it.
                self.begun.remove(&known.task.id);
            }
            if needs_again || !matches!(known.status, None | Some(Status::Cancelled)) {
                known.earlier = known.attempts.len();
            }
            known.earlier = known.earlier.min(known.attempts.len());
            known.status = None;
        }
        self.in_flight.clear();
        self.dropped_calls.clear();
        self.outcome = None;
        if had_ended {
            self.begin_budget();
        } else if self.by_user {
            self.is_stopped = false;
        }
        self.by_user = false;
    }

    fn end(&mut self, outcome: &Outcome) {
        let parked = outcome.status == Status::RequiresAction;
        let ends = [Status::Completed, Status::Incomplete, Status::Failed, Status::Cancelled];
        assert!(parked || ends.contains(&outcome.status), "the run ends as {}", outcome.status);
        assert!(outcome.status != Status::Failed || outcome.error.is_some(), "a run that failed says why");
        assert!(
            outcome.status != Status::Completed || outcome.unchecked.is_empty(),
            "unchecked, but completed"
        );
        assert!(outcome.status != Status::Completed || !outcome.answer.trim().is_empty(), "an empty answer");
        let reports = outcome.tasks.iter().chain(&outcome.planner_tasks);
        let mut reported = 0;
        for report in reports {
            reported += 1;
            let known = self.known(&report.id);
            let Some(status) = known.status else {
                assert!(parked, "{} has not ended", report.id);
                let waits = [Status::Queued, Status::RequiresAction].contains(&report.status);
                assert!(waits, "{} is {} in a run that is parked", report.id, report.status);
                continue;
            };
            assert_eq!(
                (report.status, &report.output),
                (status, &known.output),
                "the report of {}",
                report.id
            );
            assert_eq!(report.attempts as usize, known.attempts.len(), "the attempts of {}", report.id);
        }
        assert_eq!(reported, self.tasks.len(), "each task is reported");
        assert_eq!(outcome.usage.tokens, self.tokens, "the run's cost is that of its calls");
        assert!(self.dropped_calls.is_empty(), "the run ends before its calls {:?}", self.dropped_calls);
        if parked {
            assert!(self.in_flight.is_empty(), "a parked run has calls in flight: {:?}", self.in_flight);
            let waits = self.unapproved || self.tasks.iter().any(|known| known.asks);
            assert!(waits, "the run is parked and asks nothing");
        }
        self.outcome = Some(outcome.clone());
    }
}

/// Whether a result that was cut off has more room in another attempt: the last reply that was cut off at its limit was
/// not at the end of its model's context.
fn may_get_further(known: &Known, band: &BandInfo) -> bool {
    let is_cut = |made: &&Made| made.end == Some(CallEnd::Reply(Finish::Length));
    let cut = known.attempts.iter().rfind(is_cut).expect("a result that was cut off has a call");
    let same_model = band.get(&cut.worker).filter(|info| info.model == cut.model);
    same_model.is_none_or(|info| cut.reached < info.context_tokens as u64)
}

/// Whether the last call is made again after trouble that may pass.
fn repeats(before: &[Made]) -> bool {
    before.last().is_some_and(|made| made.failure == Some(FailureClass::Transient))
}

/// The same worker repeats a call after trouble that may pass, and else the next one on the ladder tries.
fn check_rung(task: &str, before: &[Made], rung: usize) {
    let Some(last) = before.last() else { return assert_eq!(rung, 0, "{task} begins high on its ladder") };
    if last.asked {
        // With another band, its worker may not be there any more.
        return assert!(rung >= last.rung, "{task} goes on with the answer to its question, on rung {rung}");
    }
    assert!(last.failure.is_some(), "{task} is tried again before the last attempt was judged");
    let passing = |made: &&Made| made.rung == last.rung && made.failure == Some(FailureClass::Transient);
    let repeats = before.iter().rev().take_while(passing).count();
    if (1..=REPEATS_MAX).contains(&repeats) {
        assert_eq!(rung, last.rung, "the call of {task} is made again by another worker");
    } else {
        assert!(rung > last.rung, "{task} is tried again on rung {rung}");
    }
}
