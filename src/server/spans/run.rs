//! Spans for runs, made from the run's events: one for the run, and below it one for every attempt at a task.

use std::collections::HashMap;

use bandmaster_orchestrator::{EventKind, FailureClass, Outcome, Status, TokenUsage};
use tracing::Span;
use tracing::field::Empty;

use super::{PROVIDER, SPAN_TARGET, SpanParent, record_usage};
use crate::runs::RunListener;
use crate::usage::Usage;

/// The `model` in events of a task that a tool does instead of a model.
const RULE: &str = "rule";

/// Wraps a listener so that the events also produce spans below `parent`.
#[must_use]
pub fn traced(parent: &SpanParent, mut listener: RunListener) -> RunListener {
    let run = tracing::info_span!(
        target: SPAN_TARGET,
        parent: None,
        "run",
        otel.name = "invoke_agent bandmaster",
        otel.status_code = Empty,
        gen_ai.operation.name = "invoke_agent",
        gen_ai.provider.name = PROVIDER,
        gen_ai.agent.name = PROVIDER,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        bandmaster.run.id = Empty,
        bandmaster.run.strategy = Empty,
        bandmaster.run.status = Empty,
    );
    if run.is_disabled() {
        return listener;
    }
    parent.adopt(&run);
    let mut spans = Spans { run, attempts: HashMap::new(), usage: TokenUsage::default(), is_recorded: true };
    Box::new(move |event| {
        spans.record(&event.kind);
        listener(event);
    })
}

/// The open spans of a run.
struct Spans {
    run: Span,
    /// The current attempt at each task, by the task's id.
    attempts: HashMap<String, Span>,
    /// Of the calls since the run began or was taken up. The run's outcome counts those before as well.
    usage: TokenUsage,
    /// Whether the run was taken up, so that its id and strategy are only known from its end.
    is_recorded: bool,
}

impl Spans {
    fn record(&mut self, event: &EventKind) {
        match event {
            EventKind::RunStarted { run, .. } => {
                self.run.record("bandmaster.run.id", run.as_str());
                self.is_recorded = false;
            }
            EventKind::StrategyChosen { strategy, .. } if !self.is_recorded => {
                self.run.record("bandmaster.run.strategy", strategy.name());
            }
            EventKind::TaskStarted { task, attempt, worker, model, .. }
            | EventKind::TaskRetried { task, attempt, worker, model, .. } => {
                let span = self.attempt(task, *attempt, worker, model);
                self.attempts.insert(task.clone(), span);
            }
            EventKind::TaskOutput { task, usage, .. } => {
                self.usage.add(*usage);
                if let Some(span) = self.attempts.get(task) {
                    record_usage(span, Usage::from(*usage));
                }
            }
            EventKind::TaskFailed { task, class, .. } => {
                if let Some(span) = self.attempts.remove(task) {
                    span.record("error.type", class_name(*class));
                    span.record("otel.status_code", "error");
                }
            }
            // Its attempt is over. The next one has the answer.
            EventKind::TaskAsked { task, .. } => drop(self.attempts.remove(task)),
            EventKind::TaskFinished { task, status, .. } => {
                if let Some(span) = self.attempts.remove(task) {
                    span.record("bandmaster.task.status", status.name());
                }
            }
            EventKind::RunFinished { outcome } => self.end(outcome),
            _ => {}
        }
    }

    fn attempt(&self, task: &str, attempt: u32, worker: &str, model: &str) -> Span {
        let is_rule = model == RULE;
        let operation = if is_rule { "execute_tool" } else { "chat" };
        let what = if is_rule { worker } else { model };
        tracing::info_span!(
            target: SPAN_TARGET,
            parent: &self.run,
            "attempt",
            otel.name = format!("{operation} {what}"),
            otel.status_code = Empty,
            error.type = Empty,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = PROVIDER,
            gen_ai.request.model = (!is_rule).then_some(model),
            gen_ai.tool.name = is_rule.then_some(worker),
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            bandmaster.task.id = task,
            bandmaster.task.attempt = i64::from(attempt),
            bandmaster.task.worker = worker,
            bandmaster.task.status = Empty,
        )
    }

    fn end(&mut self, outcome: &Outcome) {
        self.attempts.clear();
        record_usage(&self.run, Usage::from(self.usage));
        if self.is_recorded {
            self.run.record("bandmaster.run.id", outcome.id.as_str());
            self.run.record("bandmaster.run.strategy", outcome.strategy.name());
        }
        self.run.record("bandmaster.run.status", outcome.status.name());
        if outcome.status == Status::Failed {
            self.run.record("otel.status_code", "error");
        }
        self.run = Span::none();
    }
}

fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::Stalled => "stalled",
        FailureClass::Resource => "resource",
        FailureClass::Content => "content",
    }
}
