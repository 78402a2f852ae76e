//! Inputs whose files have changed since the run read them. What was done with the old text is done again.

use super::RunState;
use crate::event::{ChangedInput, InputInfo};
use crate::plan::{Job, Plan, Slice};

impl RunState {
    /// Takes new texts of inputs into the state, and returns the places of these inputs.
    pub(super) fn take_changed(&mut self, changed: &[ChangedInput]) -> Vec<usize> {
        let mut places = Vec::new();
        for ChangedInput { input, info, text } in changed {
            if *input >= self.inputs.len() {
                continue;
            }
            let fits = self.fits(*input, info, text);
            self.inputs[*input].clone_from(info);
            self.texts.insert(*input, text.clone());
            self.splits.retain(|split| split.input != *input);
            if fits {
                self.slices(*input).for_each(|slice| slice.bytes = 0..text.len());
            } else {
                self.plan_anew();
            }
            places.push(*input);
        }
        if !places.is_empty() && !self.searches.is_empty() {
            // Everything follows from what was found in the old text.
            self.searches.clear();
            self.forget(|_| false);
            self.plan = None;
        }
        if !places.is_empty() && self.plan.is_some() {
            self.plan = Some(Plan::of(self.plan_tasks().map(|task| task.task.clone()).collect()));
        }
        places
    }

    /// Whether the tasks that read an input can read its new text. One that is cut into parts may have to be cut into
    /// more of them. A whole input was known to fit by its bytes, or because it had been measured.
    fn fits(&mut self, input: usize, info: &InputInfo, text: &str) -> bool {
        let split = self.splits.iter().find(|split| split.input == input).map(|split| split.tokens_max);
        self.slices(input).all(|slice| {
            let tokens_max = split.unwrap_or(slice.bytes.len());
            slice.parts == 1 && (info.tokens <= tokens_max || text.len() <= tokens_max)
        })
    }

    fn slices(&mut self, input: usize) -> impl Iterator<Item = &mut Slice> {
        let slices = self.tasks.iter_mut().filter_map(|task| task.task.input.as_mut());
        slices.filter(move |slice| slice.index == input)
    }

    /// Forgets the tasks that followed from the planner's first plan, so that they follow from it anew. Later plans were
    /// made around the results of these tasks, so they are forgotten as well.
    fn plan_anew(&mut self) {
        self.plan = None;
        self.replans.clear();
        let first = self.tasks.iter().find(|task| task.task.job == Job::Plan).map(|task| task.id.clone());
        self.forget(|task| Some(&task.id) == first.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use bandmaster_journal::Event;
    use serde_json::{Value, json};

    use super::super::RunState;
    use crate::goal::BandInfo;

    #[test]
    fn what_was_planned_again_is_forgotten_with_the_first_plan() {
        let task = |id: &str, kind: &str| {
            json!({"id": id, "job": {"kind": kind}, "worker": "w", "instruction": "i", "needs": [], "output": "text",
                "tokens_max": 9})
        };
        let mut reading = task("t1", "read");
        reading["input"] =
            json!({"index": 0, "name": "x", "part": 0, "parts": 2, "bytes": {"start": 0, "end": 2}});
        let ended = |task: &str, status: &str| {
            ("task.finished", json!({"task": task, "status": status, "output": task}))
        };
        let said = |task: &str, tokens: u64| {
            let details = json!({"cached_tokens": 0});
            let usage =
                json!({"prompt_tokens": tokens, "completion_tokens": 1, "prompt_tokens_details": details});
            ("task.output", json!({"task": task, "end": {"reply": "stop"}, "usage": usage, "steps": [3, 6]}))
        };
        let band = BandInfo::default();
        let changed = json!([{"input": 0, "name": "x", "tokens": 9, "text": "longer"}]);
        let events = [
            ("run.started", json!({"goal": "g", "inputs": [{"name": "x", "tokens": 1}]})),
            ("strategy.chosen", json!({"strategy": "free"})),
            ("tasks.added", json!({"tasks": [task("plan", "plan")]})),
            said("plan", 5),
            ended("plan", "completed"),
            ("tasks.added", json!({"tasks": [reading, task("t2", "step")]})),
            said("t1", 70),
            ended("t1", "completed"),
            ended("t2", "failed"),
            ("replan.started", json!({"why": "w", "kept": ["t1"], "dropped": ["t2"]})),
            ("tasks.added", json!({"tasks": [task("plan2", "plan")]})),
            ended("plan2", "completed"),
            ("tasks.added", json!({"tasks": [task("t3", "step")]})),
            ("run.resumed", json!({"band": band, "changed": changed})),
        ];
        let recorded = (1..).zip(events).map(|(seq, (kind, body)): (u64, (&str, Value))| Event {
            seq,
            ms: seq,
            kind: kind.to_owned(),
            body,
        });
        let run = RunState::fold("r1", 0, &recorded.collect::<Vec<_>>());
        assert_eq!(run.damaged, [""; 0]);
        assert_eq!(run.tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["plan"]);
        assert!(run.replans.is_empty() && !run.is_dropped("t2") && run.task("plan2").is_none());
        // What was spent on it was spent.
        assert_eq!((run.used().tokens, run.used().tasks), (77, 1));
        let costs: Vec<_> = run.calls().map(|call| (call.usage.prompt_tokens, call.steps)).collect();
        assert_eq!(costs, [(5, [3, 6]), (70, [3, 6])]);
    }
}
