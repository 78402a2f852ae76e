//! Shows a run in progress: on a terminal the plan as a tree that fills in, elsewhere plain lines, both on stderr; or
//! every event as a line of JSON on stdout.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::CliError;
use super::{one_line, terminal};
use crate::orchestrator::{EventKind, Plan, RunEvent, Status, limit_in_words};

/// Rows of the plan that are drawn, because a terminal has few lines. The head line counts all tasks.
const ROWS_MAX: usize = 20;
/// Characters of a task's instruction or output that are shown.
const TEXT_CHARS: usize = 80;
const REDRAW_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Bars or lines on stderr.
    Progress,
    /// Events on stdout, nothing else.
    Events,
    /// Neither progress nor events, only errors on stderr.
    Quiet,
}

/// Engine steps so far, and the sequences in them summed over steps.
pub type StepCounts = Box<dyn Fn() -> (u64, u64) + Send + Sync>;

pub struct Screen {
    view: View,
    tree: Option<Tree>,
    /// Why an event could not be written; reported when the run is over.
    write_error: Option<CliError>,
}

impl Screen {
    /// Draws bars if stderr is a terminal.
    #[must_use]
    pub fn new(view: View) -> Self {
        let terminal = view == View::Progress && terminal::stderr_is_terminal();
        Self { view, tree: terminal.then(Tree::new), write_error: None }
    }

    /// Prints a line on stderr.
    pub fn note(&self, line: &str) {
        match (&self.tree, self.view) {
            (_, View::Quiet) => {}
            // If nobody can read stderr, carry on.
            (Some(tree), _) => drop(tree.bars.println(terminal::escaped(line))),
            (None, _) => terminal::err(&format!("{line}\n")),
        }
    }

    /// Adds a bar for a model that is being loaded. It can be updated from any thread.
    #[must_use]
    pub fn loading(&self, name: &str, bytes: u64) -> LoadingBar {
        let Some(tree) = &self.tree else { return LoadingBar { bar: None } };
        let bar = tree.bars.add(ProgressBar::new(bytes));
        if let Ok(style) = ProgressStyle::with_template(
            "loading {prefix} [{bar:24}] {decimal_bytes} of {decimal_total_bytes}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(terminal::escaped(name).into_owned());
        LoadingBar { bar: Some(bar) }
    }

    /// Sets the source of the batch size in the head line.
    pub fn set_step_counts(&mut self, counts: StepCounts) {
        if let Some(tree) = &mut self.tree {
            tree.counts = Some(counts);
        }
    }

    pub fn event(&mut self, event: &RunEvent) {
        match (self.view, &mut self.tree) {
            (View::Quiet, _) => {}
            (View::Events, _) => self.write_event(event),
            (View::Progress, Some(tree)) => tree.event(event),
            (View::Progress, None) => {
                for line in lines(event) {
                    self.note(&line);
                }
            }
        }
    }

    fn write_event(&mut self, event: &RunEvent) {
        if self.write_error.is_some() {
            return;
        }
        let text = serde_json::to_string(event).map_err(|error| CliError::Failed(error.into()));
        self.write_error = text.and_then(|text| terminal::out(&format!("{text}\n"))).err();
    }

    /// Whether events can no longer be written.
    #[must_use]
    pub fn has_write_error(&self) -> bool {
        self.write_error.is_some()
    }

    /// Clears what was drawn.
    ///
    /// # Errors
    /// The first error of writing an event.
    pub fn finish(self) -> Result<(), CliError> {
        if let Some(tree) = self.tree {
            // If it can't be cleared, it stays above the answer.
            let _ = tree.bars.clear();
        }
        self.write_error.map_or(Ok(()), Err)
    }
}

/// The progress bar of a model being loaded; dropping it removes the bar.
pub struct LoadingBar {
    bar: Option<ProgressBar>,
}

impl LoadingBar {
    /// Progress as a fraction from 0 to 1.
    pub fn set(&self, share: f32) {
        if let Some(bar) = &self.bar {
            let all = bar.length().unwrap_or(0) as f64;
            bar.set_position((all * f64::from(share)) as u64);
        }
    }
}

impl Drop for LoadingBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The plan as drawn on a terminal.
struct Tree {
    bars: MultiProgress,
    head: ProgressBar,
    rows: HashMap<String, Row>,
    /// Tasks of the plan, without the planner's own calls.
    planned: usize,
    finished: usize,
    strategy: String,
    generated: HashMap<String, u32>,
    first_token: Option<Instant>,
    counts: Option<StepCounts>,
    last_counts: (u64, u64),
    batch: f64,
    last_redraw: Instant,
    answer: String,
}

struct Row {
    bar: ProgressBar,
    /// The tree's lines and the task's id.
    prefix: String,
    worker: String,
}

impl Tree {
    fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let head = bars.add(ProgressBar::new_spinner());
        head.enable_steady_tick(Duration::from_millis(120));
        head.set_message("loading");
        Self {
            bars,
            head,
            rows: HashMap::new(),
            planned: 0,
            finished: 0,
            strategy: "choosing a strategy".to_owned(),
            generated: HashMap::new(),
            first_token: None,
            counts: None,
            last_counts: (0, 0),
            batch: 0.0,
            last_redraw: Instant::now(),
            answer: String::new(),
        }
    }

    fn event(&mut self, event: &RunEvent) {
        match &event.kind {
            EventKind::StrategyChosen { strategy, .. } => self.strategy = strategy.to_string(),
            EventKind::PlanAccepted { plan } => self.plan(plan),
            EventKind::TaskStarted { task, worker, .. } | EventKind::TaskRetried { task, worker, .. } => {
                // Discard the output of a rejected attempt.
                self.answer.clear();
                let row = self.row(task);
                worker.clone_into(&mut row.worker);
                row.set_message("reading");
            }
            EventKind::TaskProgress { task, prefill_tokens, prompt_tokens, completion_tokens, .. } => {
                self.progress(task, *prefill_tokens, *prompt_tokens, *completion_tokens);
            }
            EventKind::TaskFailed { task, error, .. } => {
                self.row(task).set_message(&format!("not accepted: {error}"))
            }
            EventKind::TaskAsked { task, question, .. } => {
                self.row(task).set_message(&format!("asks: {}", one_line(question, TEXT_CHARS)));
            }
            EventKind::TaskFinished { task, status, output, .. } => {
                self.finished += usize::from(is_planned(task));
                self.row(task).set_message(&format!("{}: {}", status.name(), one_line(output, TEXT_CHARS)));
            }
            EventKind::AnswerDelta { text } => {
                self.answer.push_str(text);
                let text = format!("{} · {}", self.summary(), tail(&self.answer));
                self.head.set_message(terminal::escaped(&text).into_owned());
                return;
            }
            _ => {}
        }
        if self.last_redraw.elapsed() >= REDRAW_EVERY || !event.kind.is_transient() {
            self.update_batch_size();
            self.head.set_message(self.summary());
            self.last_redraw = Instant::now();
        }
    }

    /// Adds the plan's tasks in order, indented by how many tasks must come before each.
    fn plan(&mut self, plan: &Plan) {
        let mut depth: HashMap<&str, usize> = HashMap::new();
        for task in plan.tasks() {
            let deepest = task.needs.iter().filter_map(|need| depth.get(need.as_str())).max();
            let own_depth = deepest.map_or(0, |deepest| deepest + 1);
            depth.insert(&task.id, own_depth);
            let prefix = format!("{}└ {}", "  ".repeat(own_depth), terminal::escaped(&task.id));
            let row = self.row(&task.id);
            row.bar.set_prefix(prefix.clone());
            (row.prefix, row.worker) = (prefix, task.worker.clone());
            row.set_message(&format!("waits: {}", one_line(&task.instruction, TEXT_CHARS)));
        }
        self.planned = plan.tasks().len();
    }

    fn row(&mut self, task: &str) -> &mut Row {
        let is_drawn = self.rows.len() < ROWS_MAX;
        let bars = &self.bars;
        self.rows.entry(task.to_owned()).or_insert_with(|| {
            let bar = if is_drawn { bars.add(ProgressBar::new_spinner()) } else { ProgressBar::hidden() };
            if let Ok(style) = ProgressStyle::with_template("  {prefix:8} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(terminal::escaped(task).into_owned());
            Row { bar, prefix: task.to_owned(), worker: String::new() }
        })
    }

    fn progress(&mut self, task: &str, prefill: u32, prompt: u32, completion: u32) {
        if completion > 0 {
            self.first_token.get_or_insert_with(Instant::now);
        }
        self.generated.insert(task.to_owned(), completion);
        self.row(task).set_message(&progress_text(prefill, prompt, completion));
    }

    fn update_batch_size(&mut self) {
        let Some(counts) = &self.counts else { return };
        let (steps, sequences) = counts();
        let (steps_before, sequences_before) = self.last_counts;
        if steps > steps_before {
            self.batch = (sequences - sequences_before) as f64 / (steps - steps_before) as f64;
            self.last_counts = (steps, sequences);
        }
    }

    fn summary(&self) -> String {
        let mut summary = self.strategy.clone();
        if self.planned > 0 {
            summary.push_str(&format!(" · {} of {} tasks", self.finished.min(self.planned), self.planned));
        }
        let tokens: u32 = self.generated.values().sum();
        if let Some(since) = self.first_token.filter(|since| since.elapsed() > REDRAW_EVERY) {
            summary
                .push_str(&format!(" · {:.1} tokens/s", f64::from(tokens) / since.elapsed().as_secs_f64()));
        }
        if self.batch > 0.0 {
            summary.push_str(&format!(" · batch {:.1}", self.batch));
        }
        summary
    }
}

impl Row {
    fn set_message(&self, what: &str) {
        self.bar.set_message(terminal::escaped(&format!("{}: {what}", self.worker)).into_owned());
        self.bar.tick();
    }
}

/// Tasks of the plan have numbers; the planner's own calls have these names, or such as `t1.question1`.
fn is_planned(task: &str) -> bool {
    !matches!(task, "plan" | "synthesis") && !task.contains(".question")
}

/// How far a model call is. Before the call reaches the engine, its prompt's length is not known.
fn progress_text(prefill: u32, prompt: u32, completion: u32) -> String {
    match (prompt, completion) {
        (0, 0) => "reading".to_owned(),
        (_, 0) => format!("reading {prefill} of {prompt} tokens"),
        _ => format!("{completion} tokens"),
    }
}

/// An event as lines of plain text.
fn lines(event: &RunEvent) -> Vec<String> {
    let seconds = event.ms as f64 / 1000.0;
    let line = |text: String| vec![format!("{seconds:7.1} s  {text}")];
    match &event.kind {
        EventKind::StrategyChosen { strategy, why } => line(format!("strategy {strategy}: {}", why.because)),
        EventKind::PlanAccepted { plan } => {
            let task = |task: &crate::orchestrator::Task| {
                let needs = if task.needs.is_empty() {
                    String::new()
                } else {
                    format!(" after {}", task.needs.join(", "))
                };
                format!(
                    "            {} by {}{needs}: {}",
                    task.id,
                    task.worker,
                    one_line(&task.instruction, TEXT_CHARS)
                )
            };
            line(format!("plan of {} tasks", plan.tasks().len()))
                .into_iter()
                .chain(plan.tasks().iter().map(task))
                .collect()
        }
        EventKind::TaskStarted { task, worker, .. } => line(format!("{task} starts on {worker}")),
        EventKind::TaskRetried { task, worker, attempt, .. } => {
            line(format!("{task} again on {worker}, attempt {attempt}"))
        }
        EventKind::TaskFailed { task, error, .. } => line(format!("{task} not accepted: {error}")),
        EventKind::TaskAsked { task, question, .. } => {
            line(format!("{task} asks: {}", one_line(question, TEXT_CHARS)))
        }
        EventKind::TaskAnswered { task, answer } => {
            line(format!("the planner answers {task}: {}", one_line(answer, TEXT_CHARS)))
        }
        EventKind::TaskFinished { task, status, output, .. } => {
            let mark = if *status == Status::Completed { "" } else { status.name() };
            line(format!("{task} ends {mark}: {}", one_line(output, TEXT_CHARS)).replace(" :", ":"))
        }
        EventKind::BudgetReached { which, limit } => {
            line(format!("the budget of {} is used up", limit_in_words(which, *limit)))
        }
        _ => Vec::new(),
    }
}

/// A text's end, on one line.
fn tail(text: &str) -> String {
    const CHARS: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(CHARS);
    line.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_of_unknown_length_is_shown_without_numbers() {
        assert_eq!(progress_text(0, 0, 0), "reading");
        assert_eq!(progress_text(16, 40, 0), "reading 16 of 40 tokens");
        assert_eq!(progress_text(40, 40, 3), "3 tokens");
        assert_eq!(progress_text(0, 0, 3), "3 tokens");
    }
}
