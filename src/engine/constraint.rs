//! Limits which tokens a sequence may generate.

/// Why a grammar can't continue: it is too complex, it allows no token, or it does not allow this one. The text says
/// which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConstraintError(pub String);

/// A grammar as the engine sees it. Each belongs to one sequence.
pub trait Constraint: Send {
    /// Marks the tokens allowed next: bit `t % 32` of word `t / 32`. The slice covers the vocabulary and is zero.
    ///
    /// # Errors
    /// When the grammar can't continue (it is too complex, or allows no token). The sequence fails with it.
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), ConstraintError>;
    /// Takes the next token, sampled or forced.
    ///
    /// # Errors
    /// When the token is not allowed.
    fn accept(&mut self, token: u32) -> Result<(), ConstraintError>;
    /// Announces the most tokens there can be, before the first. An output that can be complete within them will be.
    fn limit(&mut self, _tokens: u32) {}
    /// The token to append instead of the sampled one: the same, unless too few tokens would be left to complete the
    /// output.
    fn replace_sampled(&mut self, sampled: u32) -> u32 {
        sampled
    }
    /// Tokens that must come next whatever the logits. They are appended as a small prefill. May be empty. Does not
    /// advance the grammar: each token is then passed to [`Constraint::accept`].
    fn forced(&mut self) -> Vec<u32>;
    /// A copy to return to after draft tokens were tried.
    fn snapshot(&self) -> Box<dyn Constraint>;
    /// A copy that shares nothing with this one. A snapshot may share its caches.
    fn deep_clone(&self) -> Box<dyn Constraint> {
        self.snapshot()
    }
    /// Whether nothing may follow, so that the sequence ends here.
    fn finished(&mut self) -> bool;
}
