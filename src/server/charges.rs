//! Charges an API key for what a run computes, while it computes it.

use std::collections::HashMap;

use bandmaster_orchestrator::EventKind;

use super::layers::RequestContext;
use super::runs::RunListener;
use super::usage::Usage;

/// Wraps a listener so that the request's key is charged for every call that the run makes from now on, however the
/// call ends. What was computed before a run was resumed or forked is not charged again. The run counts as running for
/// the key until it ends.
pub(crate) fn charging(context: RequestContext, mut listener: RunListener) -> RunListener {
    let mut computed = Computed::default();
    let mut context = Some(context);
    Box::new(move |event| {
        listener(event);
        if let Some(context) = &context {
            computed.take(&event.kind);
            context.charge_total(computed.tokens());
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            context = None;
        }
    })
}

/// The tokens that were computed since a run began or was taken up.
#[derive(Debug, Default)]
struct Computed {
    by_ended_calls: u64,
    /// By the call that each task makes, as far as it has reported.
    by_calls: HashMap<String, u64>,
}

impl Computed {
    fn take(&mut self, event: &EventKind) {
        match event {
            EventKind::TaskProgress { task, prefill_tokens, cached_tokens, completion_tokens, .. } => {
                let tokens = prefill_tokens.saturating_sub(*cached_tokens) + completion_tokens;
                self.by_calls.insert(task.clone(), u64::from(tokens));
            }
            EventKind::TaskOutput { task, usage, .. } => {
                self.by_calls.remove(task);
                self.by_ended_calls += Usage::from(*usage).computed_tokens();
            }
            _ => {}
        }
    }

    fn tokens(&self) -> u64 {
        self.by_ended_calls + self.by_calls.values().sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::spans::SpanParent;

    fn output(task: &str, prompt: u64, cached: u64, completion: u64, end: &Value) -> Value {
        let details = json!({"cached_tokens": cached});
        let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details});
        json!({"type": "task.output", "task": task, "usage": usage, "end": end})
    }

    fn progress(task: &str, prefill: u64, cached: u64, completion: u64) -> Value {
        json!({"type": "task.progress", "task": task, "prefill_tokens": prefill, "cached_tokens": cached,
               "prompt_tokens": 90, "completion_tokens": completion})
    }

    fn check(events: &[Value], expected: u64) {
        let mut computed = Computed::default();
        for event in events {
            computed.take(&serde_json::from_value(event.clone()).unwrap());
        }
        assert_eq!(computed.tokens(), expected, "{events:?}");
    }

    #[test]
    fn every_call_counts_once_however_it_ends() {
        let reply = json!({"reply": "stop"});
        let failed = json!({"failed": {"class": "transient", "error": "e"}});
        let resumed = json!({"type": "run.resumed", "band": {"planner": {"worker": "planner", "model": "m",
            "context_tokens": 9, "skills": []}, "workers": []}});
        check(&[resumed], 0);
        check(&[output("t1", 50, 40, 5, &reply)], 15);
        check(&[progress("t1", 50, 40, 2), output("t1", 50, 40, 5, &reply)], 15);
        check(&[output("t1", 50, 0, 5, &failed), output("t1", 50, 50, 6, &reply)], 61);
        check(&[progress("t1", 50, 40, 2), output("t1", 50, 40, 3, &json!("stopped"))], 13);
    }

    #[test]
    fn a_resumed_run_is_not_charged_for_what_came_before() {
        let parent = SpanParent::from_headers(&HeaderMap::new());
        let context = RequestContext::new("r".to_owned(), parent);
        let mut listener = charging(context.clone(), Box::new(|_| {}));
        let facts = json!({"inputs": 0, "input_tokens": 0, "inputs_fit_together": true, "speaks_of_attachment": "no",
                           "named_aspects": [], "speaks_of_parts": false, "numbers": 0, "arithmetic": null,
                           "speaks_of_each": false});
        // The outcome counts the whole run.
        let usage = json!({"prompt_tokens": 900, "completion_tokens": 90, "prompt_tokens_details": {"cached_tokens": 0},
                           "steps": 0, "mean_batch": 0.0, "wall_ms": 0});
        let finished = json!({"type": "run.finished", "id": "r", "status": "completed", "answer": "a",
            "strategy": "direct", "strategy_why": {"facts": facts, "nearest": [], "because": "b"}, "tasks": [],
            "planner_tasks": [], "usage": usage, "missing": []});
        for mut event in [output("t2", 50, 40, 5, &json!({"reply": "stop"})), finished] {
            (event["seq"], event["ms"]) = (json!(7), json!(7));
            listener(&serde_json::from_value(event).unwrap());
        }
        assert_eq!(context.charged(), 15);
    }

    #[test]
    fn a_call_that_is_being_made_counts_as_far_as_it_got() {
        check(&[progress("t1", 50, 40, 2), progress("t2", 20, 0, 0), progress("t1", 50, 40, 8)], 38);
    }
}
