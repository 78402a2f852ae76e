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

    /// Forgets the tasks that followed from the planner's plan, so that they follow from it anew.
    fn plan_anew(&mut self) {
        self.plan = None;
        self.tasks.retain(|task| task.task.job == Job::Plan);
        self.places = (0..).zip(&self.tasks).map(|(place, task)| (task.id.clone(), place)).collect();
    }
}
