//! What holds a sequence's tokens to a form.

/// A grammar, seen from the engine. One lives with one sequence.
pub trait Constraint: Send {
    /// Marks the tokens allowed next: bit `t % 32` of word `t / 32`. The slice covers the vocabulary and is zero.
    ///
    /// # Errors
    /// A message when the grammar cannot go on (too complex, no token allowed): the sequence fails with it.
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), String>;
    /// Takes the token that was drawn.
    ///
    /// # Errors
    /// A message when the token is not allowed.
    fn accept(&mut self, token: u32) -> Result<(), String>;
    /// Says that no more than so many tokens will be taken, before the first is drawn. What can be complete within them is.
    fn limit(&mut self, _tokens: u32) {}
    /// The token to take in place of one that was drawn: itself, unless it leaves too few tokens to come to an end.
    fn settle(&mut self, drawn: u32) -> u32 {
        drawn
    }
    /// Tokens that must come next whatever the model says; they are appended as a small prefill. May be empty. This only
    /// asks: each of them is then given to [`Constraint::accept`] like a drawn one.
    fn forced(&mut self) -> Vec<u32>;
    /// A copy to come back to after tokens were supposed that may not be drawn.
    fn snapshot(&self) -> Box<dyn Constraint>;
    /// A copy that shares nothing with this one, where a snapshot shares what is learned while it is followed.
    fn apart(&self) -> Box<dyn Constraint> {
        self.snapshot()
    }
    /// Whether nothing may follow: the sequence ends here.
    fn finished(&mut self) -> bool;
}
