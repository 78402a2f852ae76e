//! The grammars that constrain answers, kept for later requests of the same output. How one is made is not known here.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bandmaster_engine::Constraint;

use super::{LoadedModel, Output, Prompt, SessionError, Terms};
use crate::grammar::at_least;
use crate::tool_calls::reasoning_open;
use crate::{ToolChoice, Waited};

const GRAMMARS_KEPT: usize = 32;
/// A grammar is kept only if its output, printed, has at most so many bytes.
const KEPT_CHARS_MAX: usize = 64 << 10;
const KEPT_MADE_WITHIN: Duration = Duration::from_secs(1);

pub(super) type Kept = VecDeque<(Output, Option<Box<dyn Constraint>>)>;

/// The constraint on an answer: a grammar in its initial state. `None` allows any text.
pub struct Held(Option<Box<dyn Constraint>>);

impl LoadedModel {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constraint for an output, if it is known without work: no grammar is needed, or it is in the cache.
    #[must_use]
    pub fn held_at_once(&self, output: &Output) -> Option<Held> {
        if matches!(output, Output::Text | Output::Calls { choice: ToolChoice::None, .. }) {
            return Some(Held(None));
        }
        let mut kept = self.kept();
        let at = kept.iter().position(|(other, _)| other == output)?;
        let found = kept.remove(at)?;
        let made = found.1.as_ref().map(|made| made.deep_clone());
        kept.push_front(found);
        Some(Held(made))
    }

    /// The constraint for an output, from the cache if possible: a client that calls tools sends the same ones with
    /// every turn. Blocks while a grammar is made, perhaps for seconds.
    ///
    /// # Errors
    /// [`SessionError::Grammar`] when the output can't be enforced, or nobody waits for it any more.
    pub fn hold(&self, output: &Output, waited: &Waited) -> Result<Held, SessionError> {
        if let Some(held) = self.held_at_once(output) {
            return Ok(held);
        }
        let grammars = self.grammars()?.asked(waited);
        let started = Instant::now();
        let constraint = match output {
            Output::Text => None,
            Output::JsonObject => Some(grammars.json_object()?),
            Output::Schema(schema) => Some(grammars.json_schema(schema)?),
            Output::Written(written) => Some(grammars.written(written)?),
            Output::Calls { tools, choice, parallel, otherwise } => {
                grammars.tool_calls(&self.tool_format, tools, choice, *parallel, otherwise.as_ref())?
            }
        };
        // A grammar made under time pressure may be looser than necessary, and a large one takes much memory.
        if started.elapsed() > KEPT_MADE_WITHIN || format!("{output:?}").len() > KEPT_CHARS_MAX {
            return Ok(Held(constraint));
        }
        let mut kept = self.kept();
        kept.truncate(GRAMMARS_KEPT - 1);
        // The kept copy must not depend on this request or change with its answer.
        kept.push_front((output.clone(), constraint.as_ref().map(|made| made.deep_clone())));
        Ok(Held(constraint))
    }

    pub(super) fn constraint(
        &self,
        terms: &Terms,
        prompt: &Prompt,
        held: &Held,
    ) -> Result<Option<Box<dyn Constraint>>, SessionError> {
        let constraint = match held.0.as_ref().map(|inner| inner.snapshot()) {
            Some(inner) if reasoning_open(&prompt.text) => Some(self.grammars()?.after_reasoning(inner)),
            constraint => constraint,
        };
        Ok(match terms.min_tokens {
            0 => constraint,
            tokens => Some(at_least(tokens, self.stop_tokens(false, &terms.stop_tokens), constraint)),
        })
    }
}
