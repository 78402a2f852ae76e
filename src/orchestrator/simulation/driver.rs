//! Works on a run as `run.rs` does, without a model, a clock or a file: it makes the calls that follow from the state,
//! records what happens, and is disturbed at random. After each event, the fold of the record must be the state in
//! memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bandmaster_journal::{Event, RecordedRun, RunRow};
use bandmaster_tools::retrieval::Index;
use serde_json::{Value, json};

use super::random::{Random, hash};
use super::replies::{Replied, reply, stopped};
use super::world::{World, tokens};
use crate::advance::{Core, Planned, Waits};
use crate::event::{EventKind, Split};
use crate::goal::Goal;
use crate::outcome::{Outcome, Status, TokenUsage};
use crate::parked::{ActionKind, Answer};
use crate::partial::Parts;
use crate::replay::{Replayed, replay};
use crate::request::RunRequest;
use crate::search::found;
use crate::start::{RunStart, StartKind};
use crate::state::{RunState, TaskState, never_begun};
use crate::strategies::map::split::parts;

use crate::strategy::SplitAsked;

/// Most events of one run. What a run of these worlds needs is far below.
const EVENTS_MAX: usize = 20_000;

/// How often each disturbance may happen in a run, and the seed for when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Disturbed {
    /// Also draws the order in which calls end.
    pub seed: u64,
    /// Of the process, after any event, which loses the last events of the record.
    pub kills: usize,
    pub forks: usize,
    /// By the user or by the time budget.
    pub stops: usize,
    /// Of a run that had ended and was not completed.
    pub resumes: usize,
    /// Of the user, who may decline a plan or end a run instead of answering its question.
    pub declines: usize,
    /// Whether a process that takes the run up may have other models.
    pub other_bands: bool,
    /// Whether the whole record is folded after each event, and not only its last event.
    pub folds_all: bool,
    /// How often the record's file can't be written for a while, because the disk is full or another process has locked
    /// it. A process that is killed meanwhile loses all of it.
    pub stuck_records: usize,
    /// Whether the record is not replayed, which takes longer than the run.
    pub skips_replay: bool,
}

pub(super) struct Driver<'a> {
    world: &'a World,
    left: Disturbed,
    random: Random,
    pub record: Vec<Event>,
    /// The fold of the record.
    folded: RunState,
    core: Core,
    in_flight: Vec<Planned>,
    /// Calls whose tasks were dropped.
    dropped: Vec<Planned>,
    /// Replies of which parts were reported, with the parts that are still to be.
    half_said: HashMap<(String, u32), (Replied, VecDeque<String>)>,
    ms: u64,
    /// Calls that were made.
    calls: u64,
    /// Tokens that count against the budget.
    spent: u64,
    /// How much of the record is in its file, while that can't be written.
    written: Option<usize>,
    /// Forks that were made; the id of a run has their number.
    forked: usize,
    /// Number of each kind of disturbance that happened.
    pub happened: Happened,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happened {
    pub kills: usize,
    pub forks: usize,
    pub stops: usize,
    pub resumes: usize,
    pub stuck: usize,
    /// Plans that were approved.
    pub approved: usize,
    /// Plans that were edited.
    pub edited: usize,
    pub declined: usize,
    /// Questions that the user has answered.
    pub answered: usize,
    /// Parts of replies that were reported before their calls ended.
    pub parts: usize,
    /// Calls that were made when their tasks were dropped.
    pub dropped: usize,
    pub in_flight_max: usize,
}

/// How a process takes up the record.
enum TakeUp {
    Start,
    Resume,
    Answer(Answer),
    Fork,
}

fn id(forked: usize) -> String {
    format!("run{forked}")
}

/// The parts that a call reports before it ends.
fn parts_of(replied: &Replied, planned: &Planned) -> VecDeque<String> {
    let mut start = 0;
    let ends = Parts::at_depth(planned.partial_depth).take(&replied.streamed);
    ends.into_iter().map(|end| replied.streamed[std::mem::replace(&mut start, end)..end].to_owned()).collect()
}

/// The request as it is after the settings of forks.
fn request_at(world: &World, state: &RunState) -> RunRequest {
    let mut request = world.request.clone();
    request.seed = state.asked.seed;
    request
}

impl<'a> Driver<'a> {
    pub(super) fn new(world: &'a World, disturbed: Disturbed) -> Self {
        let state = RunState::new(&id(0), 0);
        let goal = Goal::new(&world.request, world.facts.clone(), world.band.clone());
        Self {
            world,
            left: disturbed,
            random: Random::new(hash(disturbed.seed, &["driver"], &[world.seed])),
            record: Vec::new(),
            folded: state.clone(),
            core: Core::new(Arc::new(goal), state, world.custom()),
            in_flight: Vec::new(),
            dropped: Vec::new(),
            half_said: HashMap::new(),
            ms: 0,
            calls: 0,
            spent: 0,
            written: None,
            forked: 0,
            happened: Happened::default(),
        }
    }

    /// A fork of a recorded run at event `at`.
    pub(super) fn fork_of(world: &'a World, record: &[Event], at: usize, disturbed: Disturbed) -> Outcome {
        let mut driver = Self::new(world, disturbed);
        driver.record = record[..at].to_vec();
        driver.take_up(TakeUp::Fork);
        driver.work()
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) -> Outcome {
        self.take_up(TakeUp::Start);
        self.work()
    }

    fn work(&mut self) -> Outcome {
        loop {
            assert!(self.record.len() < EVENTS_MAX, "the run does not end");
            // What stops a run is recorded before anything that follows from it.
            if let Some(event) = self.budget_spent() {
                self.note(event);
            }
            let waits = self.advance();
            self.stick();
            if self.is_cut_off(waits == Waits::Over) || self.end_dropped() {
                continue;
            }
            match waits {
                Waits::Over if self.state().is_parked() => self.answer(),
                Waits::Over => {
                    if !self.resumes_after_end() {
                        return self.end();
                    }
                }
                Waits::ForSplits(asked) => {
                    let event = self.split(asked);
                    self.note(event);
                }
                Waits::ForSearch(asked) => {
                    let search = found(&mut Index::open(None, None), &self.core.goal.inputs, asked);
                    self.note(EventKind::InputsSearched { search });
                }
                Waits::ForCalls => self.wait(),
            }
        }
    }

    fn state(&self) -> &RunState {
        &self.core.state
    }

    /// Begins or goes on with the run from its record, as a new process does.
    fn take_up(&mut self, how: TakeUp) {
        let before = RunState::fold(&id(self.forked), 0, &self.record);
        assert!(before.damaged.is_empty(), "{:?}", before.damaged);
        (self.ms, self.in_flight, self.written) = (before.wall_ms, Vec::new(), None);
        self.half_said.clear();
        self.dropped.clear();
        let other_band = self.left.other_bands && self.random.one_in(3);
        let band = match how {
            TakeUp::Start => self.world.band.clone(),
            _ if other_band => self.world.other_band(&mut self.random),
            _ => before.band.clone().unwrap_or_default(),
        };
        let event = match how {
            TakeUp::Start => self.world.started(&id(0)),
            TakeUp::Resume => EventKind::RunResumed { answer: None, band: band.clone(), changed: Vec::new() },
            TakeUp::Answer(answer) => {
                EventKind::RunResumed { answer: Some(answer), band: band.clone(), changed: Vec::new() }
            }
            TakeUp::Fork => self.forked_event(&before, band.clone()),
        };
        self.folded = before.clone();
        self.core.state = before;
        self.note(event);
        self.spent = self.state().used().tokens;
        if self.state().strategy_why.is_none() {
            self.note(self.world.chosen());
        }
        let request = request_at(self.world, self.state());
        let goal = Goal::new(&request, self.world.facts.clone(), band);
        self.core = Core::new(Arc::new(goal), self.core.state.clone(), self.world.custom());
    }

    fn forked_event(&mut self, before: &RunState, band: crate::goal::BandInfo) -> EventKind {
        let from = id(self.forked);
        self.forked += 1;
        let settable: Vec<&TaskState> =
            before.tasks.iter().filter(|task| before.can_set_output(&task.id).is_ok()).collect();
        let result = (!settable.is_empty()).then(|| settable[self.random.below(settable.len())]);
        let set = match (self.random.below(6), result) {
            _ if !self.left.other_bands => None,
            (0, _) => Some(("seed".to_owned(), self.random.below(50).to_string())),
            (1, _) => Some(("budget-tokens".to_owned(), (1 + self.random.below(4000)).to_string())),
            (2, _) => Some(("budget-tasks".to_owned(), (1 + self.random.below(9)).to_string())),
            (3, Some(task)) => Some((format!("output.{}", task.id), "something else".to_owned())),
            _ => None,
        };
        EventKind::RunForked {
            run: id(self.forked),
            from,
            at: before.last_seq,
            set: set.into_iter().collect(),
            band,
        }
    }

    /// Takes an event into the state and the record.
    fn note(&mut self, event: EventKind) {
        self.ms += self.random.below(40) as u64;
        self.core.take(self.ms, &event);
        self.put(&event);
        assert!(self.folded == self.core.state, "{}", self.differ(&self.core.state, &event));
    }

    /// Adds an event to the record as it is written to a file and read back, and to the fold of the record.
    fn put(&mut self, event: &EventKind) {
        let mut body = serde_json::to_value(event).unwrap();
        let kind = body.as_object_mut().and_then(|fields| fields.shift_remove("type")).unwrap();
        let body: Value = serde_json::from_str(&body.to_string()).unwrap();
        let kind = kind.as_str().unwrap().to_owned();
        let (seq, ms) = (self.record.len() as u64 + 1, self.ms);
        let read = EventKind::read(&kind, &body).unwrap().expect("it is of a known type");
        assert_eq!(read, *event, "an event is read back as another one");
        self.record.push(Event { seq, ms, kind, body });
        self.folded.apply(seq, ms, &read);
        if self.left.folds_all {
            self.check_fold();
        }
    }

    fn check_fold(&self) {
        let whole = RunState::fold(&id(self.forked), 0, &self.record);
        assert!(whole == self.folded, "the fold of the whole record differs at event {}", self.record.len());
    }

    fn differ(&self, state: &RunState, event: &EventKind) -> String {
        format!("after {event:?}\nthe fold is  {:?}\nthe state is {state:?}", self.folded)
    }

    /// Records everything that follows from the state, and starts the calls that follow.
    fn advance(&mut self) -> Waits {
        let mut before = self.core.state.clone();
        let (events, waits) = self.core.advance(self.ms);
        for event in &events {
            before.apply(before.last_seq + 1, self.ms, event);
            self.put(event);
            assert!(self.folded == before, "{}", self.differ(&before, event));
        }
        assert!(self.core.state == before, "what follows is not taken into the state");
        let mut in_flight = std::mem::take(&mut self.in_flight);
        let known = |task: &str, attempt: u32| {
            in_flight.iter().any(|planned| planned.task == task && planned.attempt == attempt)
        };
        let new = self.core.calls(&known);
        let runs = |planned: &Planned| {
            let running = self.core.state.task(&planned.task).and_then(|task| task.running());
            running.is_some_and(|attempt| attempt.attempt == planned.attempt)
        };
        self.dropped.extend(in_flight.extract_if(.., |planned| !runs(planned)));
        self.in_flight = in_flight.into_iter().chain(new).collect();
        let wanted = self.state().tasks.iter().filter(|task| task.running().is_some()).count();
        assert_eq!(self.in_flight.len(), wanted, "each attempt that is being made has its call");
        assert!(wanted <= 64, "{wanted} calls in flight");
        self.happened.in_flight_max = self.happened.in_flight_max.max(wanted);
        waits
    }

    /// Records how calls of dropped tasks ended, one after the other. Returns whether there was one.
    fn end_dropped(&mut self) -> bool {
        let Some((task, attempt)) = self.state().dropped_calls().next() else { return false };
        let is_it = |planned: &Planned| planned.task == task && planned.attempt == attempt.attempt;
        let event = match self.dropped.iter().position(is_it) {
            None => never_begun(task, attempt),
            Some(place) => {
                let planned = self.dropped.swap_remove(place);
                let replied = stopped(reply(self.world, &self.core.goal.band, &planned, self.calls));
                self.half_said.remove(&(planned.task.clone(), planned.attempt));
                self.happened.dropped += 1;
                self.spent += TokenUsage::from(&replied.usage).computed();
                self.output(planned, replied)
            }
        };
        self.note(event);
        true
    }

    /// Waits for the end of a call, or for whoever stops the run.
    fn wait(&mut self) {
        assert!(!self.in_flight.is_empty(), "the run waits for a call although none is in flight");
        if let Some(event) = self.stop() {
            self.happened.stops += 1;
            return self.note(event);
        }
        let place = self.random.below(self.in_flight.len());
        let of = (self.in_flight[place].task.clone(), self.in_flight[place].attempt);
        let (mut replied, mut parts) = match self.half_said.remove(&of) {
            Some(half_said) => half_said,
            None => {
                self.calls += 1;
                let planned = &self.in_flight[place];
                let replied = reply(self.world, &self.core.goal.band, planned, self.calls - 1);
                let parts =
                    if planned.partial_depth > 0 { parts_of(&replied, planned) } else { VecDeque::new() };
                (replied, parts)
            }
        };
        // A call that was stopped reports nothing more.
        if let Some(output) = parts.pop_front().filter(|_| !self.state().is_stopped()) {
            self.half_said.insert(of.clone(), (replied, parts));
            self.happened.parts += 1;
            return self.note(EventKind::TaskPartial { task: of.0, attempt: of.1, output });
        }
        let planned = self.in_flight.swap_remove(place);
        // A call may have ended just when the run was stopped.
        if self.state().is_stopped() && !self.random.one_in(4) {
            replied = stopped(replied);
        }
        self.spent += TokenUsage::from(&replied.usage).computed();
        let event = self.output(planned, replied);
        self.note(event);
    }

    fn budget_spent(&self) -> Option<EventKind> {
        let limit = self.state().asked.budget_tokens.filter(|limit| self.spent >= *limit)?;
        let event = EventKind::BudgetReached { which: "tokens".into(), limit: limit as f64 };
        (!self.state().is_stopped()).then_some(event)
    }

    fn stop(&mut self) -> Option<EventKind> {
        if self.state().is_stopped() || self.left.stops == 0 || !self.random.one_in(6) {
            return None;
        }
        self.left.stops -= 1;
        let by_user = self.random.one_in(2);
        let spent = EventKind::BudgetReached { which: "seconds".into(), limit: 0.3 };
        Some(if by_user { EventKind::RunCancelled } else { spent })
    }

    fn output(&self, planned: Planned, replied: Replied) -> EventKind {
        let attempt = self.state().task(&planned.task).and_then(|task| task.running());
        let call = planned.call;
        EventKind::TaskOutput {
            task: planned.task,
            attempt: planned.attempt,
            worker: planned.worker,
            model: attempt.map_or_else(String::new, |attempt| attempt.model.clone()),
            prompt: replied.prompt,
            prompt_template: planned.prompt_template,
            sampling: call.sampling(call.tokens_max),
            output: replied.output,
            usage: TokenUsage::from(&replied.usage),
            end: replied.end,
            steps: [replied.usage.steps, replied.usage.batch_sum],
        }
    }

    fn split(&self, asked: Vec<SplitAsked>) -> EventKind {
        let split = |SplitAsked { input, worker, tokens_max }: SplitAsked| {
            let parts = parts(&self.world.request.inputs[input].text, tokens_max, None, tokens);
            Split { input, worker, tokens_max, parts }
        };
        EventKind::InputsSplit { splits: asked.into_iter().map(split).collect() }
    }

    /// The record's file may become one that can't be written, or that can be written again.
    fn stick(&mut self) {
        if self.written.is_some() {
            if self.random.one_in(6) {
                self.written = None;
            }
        } else if self.left.stuck_records > 0 && self.random.one_in(8) {
            (self.left.stuck_records, self.happened.stuck) =
                (self.left.stuck_records - 1, self.happened.stuck + 1);
            self.written = Some(self.record.len());
        }
    }

    /// Kills the process or forks the run, if it is time for that. What is lost of the record never happened.
    fn is_cut_off(&mut self, is_over: bool) -> bool {
        let kills = self.left.kills > 0 && self.random.one_in(if is_over { 2 } else { 10 });
        let forks = !kills && self.left.forks > 0 && self.random.one_in(if is_over { 2 } else { 20 });
        if !kills && !forks {
            return false;
        }
        if !self.left.skips_replay && self.random.one_in(4) {
            self.replay();
        }
        super::audit::audit(&self.record);
        let length = self.record.len();
        let lost =
            if self.random.one_in(2) { self.random.below(length) } else { self.random.below(8.min(length)) };
        // A run whose end is recorded was not killed.
        let lost = if kills && is_over { lost.max(1) } else { lost };
        // What is not in the file is lost with the process. Whoever forks the run has it from this process.
        let kept = match self.written {
            Some(written) if kills => written.min(length - usize::from(is_over)),
            _ => (length - lost).max(1),
        };
        if kills && RunState::fold("", 0, &self.record[..kept]).outcome.is_some() {
            return false;
        }
        self.record.truncate(kept);
        if kills {
            (self.left.kills, self.happened.kills) = (self.left.kills - 1, self.happened.kills + 1);
            self.take_up(TakeUp::Resume);
        } else {
            (self.left.forks, self.happened.forks) = (self.left.forks - 1, self.happened.forks + 1);
            self.take_up(TakeUp::Fork);
        }
        true
    }

    /// The user answers what the run asks. The same question always gets the same answer.
    fn answer(&mut self) {
        self.end();
        let action = self.state().required_action.clone().expect("a run that is parked asks something");
        let mut random = Random::new(hash(self.world.seed, &[&action.question], &[]));
        if self.left.declines > 0 && self.random.one_in(3) {
            (self.left.declines, self.happened.declined) =
                (self.left.declines - 1, self.happened.declined + 1);
            return self.take_up(TakeUp::Answer(Answer::Approval { approve: false }));
        }
        let answer = match (action.kind, action.plan) {
            (ActionKind::AnswerQuestion, _) => {
                self.happened.answered += 1;
                let task = action.questions[self.random.below(action.questions.len())].task.clone();
                let text = format!("{task} is piece {}", hash(self.world.seed, &[&task], &[]) % 9);
                Answer::Task { task, text }
            }
            (ActionKind::ApprovePlan, Some(plan)) if random.one_in(2) => self.edit(plan, &mut random),
            (ActionKind::ApprovePlan, _) => Answer::Approval { approve: true },
        };
        self.happened.approved += usize::from(answer == Answer::Approval { approve: true });
        self.take_up(TakeUp::Answer(answer));
    }

    /// A plan that the user has edited, if its check accepts it.
    fn edit(&mut self, mut plan: Value, random: &mut Random) -> Answer {
        if let Some(combine) = plan.get_mut("combine") {
            let lists: [&[&str]; 4] = [&["list"], &["list", "total"], &["most"], &[]];
            *combine = json!(random.pick(&lists));
        }
        for list in ["steps", "sections"] {
            if let Some(items) = plan.get_mut(list).and_then(Value::as_array_mut) {
                items.reverse();
                items.truncate(1 + random.below(3));
            }
        }
        match self.core.check_plan(&plan) {
            Ok(plan) => {
                self.happened.edited += 1;
                Answer::Plan { plan }
            }
            Err(_) => Answer::Approval { approve: true },
        }
    }

    fn resumes_after_end(&mut self) -> bool {
        let status = self.state().status;
        let can = matches!(status, Status::Incomplete | Status::Failed | Status::Cancelled);
        if !can || self.left.resumes == 0 {
            return false;
        }
        self.end();
        (self.left.resumes, self.happened.resumes) = (self.left.resumes - 1, self.happened.resumes + 1);
        self.take_up(TakeUp::Resume);
        true
    }

    /// The outcome, after everything that must be true of a record was checked.
    fn end(&self) -> Outcome {
        self.check_fold();
        super::audit::audit(&self.record);
        let outcome = *self.state().outcome.clone().expect("the run has ended");
        if !self.left.skips_replay {
            assert_eq!(self.replay().answer, outcome.answer, "the answer of the replay");
        }
        let error = outcome.error.as_deref().unwrap_or_default();
        assert!(!error.contains("a bug") && !error.contains("be carried out"), "{error}");
        assert_eq!((outcome.id.as_str(), outcome.status), (self.folded.id.as_str(), self.folded.status));
        outcome
    }

    fn replay(&self) -> Replayed {
        let row = RunRow { id: id(self.forked), created_ms: 0 };
        let run = RecordedRun { row, left: false, events: self.record.clone() };
        let request = request_at(self.world, self.state());
        let start = RunStart::of(request, self.state().clone(), StartKind::Resumed);
        let custom = self.world.custom();
        let replayed = replay(&run, &start, custom.as_ref());
        assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
        replayed
    }
}
