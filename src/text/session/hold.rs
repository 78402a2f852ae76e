//! What holds an answer to the form that was asked for. Grammars that were made are kept for the next who asks for the
//! same. How a grammar is made is not known here.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{LoadedModel, Output, Prompt, SessionError, Terms};
use crate::engine::Constraint;
use crate::text::grammar::at_least;
use crate::text::tool_calls::reasoning_open;
use crate::text::{ToolChoice, Waited};

/// Grammars kept for the next who asks for the same output.
const GRAMMARS_KEPT: usize = 32;
/// Of an output whose grammar is kept.
const KEPT_CHARS_MAX: usize = 64 << 10;
const KEPT_MADE_WITHIN: Duration = Duration::from_secs(1);

/// Outputs with their grammars.
pub(super) type Kept = VecDeque<(Output, Option<Box<dyn Constraint>>)>;

/// What holds an answer to an output: its grammar, before anything was drawn.
pub struct Held(Option<Box<dyn Constraint>>);

impl LoadedModel {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds an answer to an output, where that need not be made first.
    #[must_use]
    pub fn held_at_once(&self, output: &Output) -> Option<Held> {
        if matches!(output, Output::Text | Output::Calls { choice: ToolChoice::None, .. }) {
            return Some(Held(None));
        }
        let mut kept = self.kept();
        let at = kept.iter().position(|(other, _)| other == output)?;
        let found = kept.remove(at)?;
        let made = found.1.as_ref().map(|made| made.apart());
        kept.push_front(found);
        Some(Held(made))
    }

    /// What holds an answer to an output. A grammar is made once while it is among the last that were asked for: whoever
    /// calls tools sends the same ones with every turn. Blocks while it is made, for seconds perhaps.
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
        // What was made in a hurry may be looser than it need be, and what is large stays no longer than it is used.
        if started.elapsed() > KEPT_MADE_WITHIN || format!("{output:?}").len() > KEPT_CHARS_MAX {
            return Ok(Held(constraint));
        }
        let mut kept = self.kept();
        kept.truncate(GRAMMARS_KEPT - 1);
        // What is kept is followed by nobody: who asked before changes no answer, and it doesn't grow.
        kept.push_front((output.clone(), constraint.as_ref().map(|made| made.apart())));
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
