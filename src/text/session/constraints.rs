//! Makes the constraints that answers must satisfy, and keeps them for later requests with the same output. How a
//! grammar is compiled is not known here.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bandmaster_engine::Constraint;

use super::{GenerationOptions, LoadedModel, Output, Prompt, SessionError};
use crate::grammar::min_tokens;
use crate::tool_calls::reasoning_open;
use crate::{Cancellation, ToolChoice};

const CACHED_MAX: usize = 32;
/// A constraint is cached only if its output, printed, has at most so many bytes.
const CACHED_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// A constraint is cached only if it was made within this time.
const CACHED_COMPILE_TIME_MAX: Duration = Duration::from_secs(1);

/// Outputs and their grammars in the initial state, latest first.
pub(super) type ConstraintCache = VecDeque<(Output, Option<Box<dyn Constraint>>)>;

/// The constraint on an answer: a grammar in its initial state. `None` allows any text.
pub struct OutputConstraint(Option<Box<dyn Constraint>>);

impl OutputConstraint {
    /// Any text.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl LoadedModel {
    fn constraint_cache(&self) -> MutexGuard<'_, ConstraintCache> {
        self.constraint_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constraint for an output, if it is known without work: no grammar is needed, or it is in the cache.
    #[must_use]
    pub fn cached_constraint(&self, output: &Output) -> Option<OutputConstraint> {
        if matches!(output, Output::Text | Output::Calls { choice: ToolChoice::None, .. }) {
            return Some(OutputConstraint(None));
        }
        let mut cache = self.constraint_cache();
        let at = cache.iter().position(|(other, _)| other == output)?;
        let found = cache.remove(at)?;
        let constraint = found.1.as_ref().map(|constraint| constraint.deep_clone());
        cache.push_front(found);
        Some(OutputConstraint(constraint))
    }

    /// The constraint for an output, from the cache if possible: a client that calls tools sends the same ones with
    /// every turn. Blocks while a grammar is compiled, perhaps for seconds.
    ///
    /// # Errors
    /// [`SessionError::Grammar`] when the output can't be enforced, or the request is cancelled.
    pub fn constraint_for(
        &self,
        output: &Output,
        cancellation: &Cancellation,
    ) -> Result<OutputConstraint, SessionError> {
        if let Some(cached) = self.cached_constraint(output) {
            return Ok(cached);
        }
        let grammars = self.shared.grammars()?.for_request(cancellation);
        self.grammars_compiled.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let constraint = match output {
            Output::Text => None,
            Output::JsonObject => Some(grammars.json_object()?),
            Output::Schema(schema) => Some(grammars.json_schema(schema)?),
            Output::ClientGrammar(grammar) => Some(grammars.client_grammar(grammar)?),
            Output::Calls { tools, choice, parallel, otherwise } => {
                grammars.tool_calls(&self.tool_format, tools, choice, *parallel, otherwise.as_ref())?
            }
        };
        // A grammar made under time pressure may be looser than necessary, and a large one takes much memory.
        let is_slow = started.elapsed() > CACHED_COMPILE_TIME_MAX;
        if is_slow || format!("{output:?}").len() > CACHED_OUTPUT_BYTES_MAX {
            return Ok(OutputConstraint(constraint));
        }
        let mut cache = self.constraint_cache();
        cache.truncate(CACHED_MAX - 1);
        // The cached copy must not depend on this request or change with its answer.
        cache.push_front((output.clone(), constraint.as_ref().map(|constraint| constraint.deep_clone())));
        Ok(OutputConstraint(constraint))
    }

    /// How many grammars were compiled for this model since it was loaded.
    #[must_use]
    pub fn grammars_compiled(&self) -> u64 {
        self.grammars_compiled.load(Ordering::Relaxed)
    }

    /// The constraint of one request: that of its output, after the reasoning if the prompt opens it, and with the
    /// request's `min_tokens`.
    pub(super) fn request_constraint(
        &self,
        options: &GenerationOptions,
        prompt: &Prompt,
        output: &OutputConstraint,
    ) -> Result<Option<Box<dyn Constraint>>, SessionError> {
        let constraint = match output.0.as_ref().map(|inner| inner.snapshot()) {
            Some(inner) if reasoning_open(&prompt.text) => {
                Some(self.shared.grammars()?.after_reasoning(inner))
            }
            constraint => constraint,
        };
        Ok(match options.min_tokens {
            0 => constraint,
            tokens => Some(min_tokens(tokens, self.stop_tokens(false, &options.stop_tokens), constraint)),
        })
    }
}
