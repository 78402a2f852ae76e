//! The files that the inputs of a run came from. Whoever resumes a run reads them again, and gives the texts that have
//! changed. No file is opened here.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::event::{ChangedInput, InputInfo};
use super::request::RunRequest;
use super::state::RunState;

/// Texts of a run's inputs that are not those that it began with.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    /// Inputs whose files have changed since the run read them last.
    changed: BTreeSet<usize>,
    /// What inputs said when the run began, of those that have changed since.
    first: BTreeMap<usize, String>,
}

impl Texts {
    /// Puts the texts that a recorded run went on with in place of those that it began with.
    pub(super) fn of(state: &RunState, request: &mut RunRequest) -> Self {
        let mut texts = Self::default();
        for (at, text) in &state.texts {
            texts.replace(request, *at, text.clone());
        }
        texts
    }

    fn replace(&mut self, request: &mut RunRequest, at: usize, text: String) {
        if let Some(input) = request.inputs.get_mut(at) {
            self.first.entry(at).or_insert(std::mem::replace(&mut input.text, text));
        }
    }

    /// Takes a text that has changed.
    pub(super) fn change(&mut self, request: &mut RunRequest, at: usize, text: String) {
        self.replace(request, at, text);
        self.changed.insert(at);
    }

    /// The texts that the run had at an earlier state.
    pub(super) fn restore(&self, state: &RunState, request: &mut RunRequest) {
        for (at, first) in &self.first {
            if let Some(input) = request.inputs.get_mut(*at) {
                state.texts.get(at).unwrap_or(first).clone_into(&mut input.text);
            }
        }
    }

    /// Indexes and new texts of the inputs that have changed since the run read them last.
    pub(super) fn new_texts<'a>(&self, request: &'a RunRequest) -> impl Iterator<Item = (usize, &'a str)> {
        self.changed.iter().map(|at| (*at, request.inputs[*at].text.as_str()))
    }

    /// The inputs that have changed, as they are recorded. `tokens` counts those of each input.
    pub(super) fn changed(&self, request: &RunRequest, tokens: &[usize]) -> Vec<ChangedInput> {
        let one = |(input, text): (usize, &str)| {
            let info = info(request, input, tokens[input]);
            ChangedInput { input, info, text: text.to_owned() }
        };
        self.new_texts(request).map(one).collect()
    }
}

/// What is recorded of an input beside its text.
pub(super) fn info(request: &RunRequest, at: usize, tokens: usize) -> InputInfo {
    let input = &request.inputs[at];
    let path = request.paths.get(at).cloned().flatten();
    let sha256 = path.is_some().then(|| sha256(&input.text));
    InputInfo { name: input.name.clone(), tokens, path, sha256 }
}

/// The SHA-256 of a text in hex.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
