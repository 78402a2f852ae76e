//! Keeps an answer from ending before it has a minimum of tokens (`min_tokens`). It wraps the constraint on the answer,
//! if there is one.

use bandmaster_engine::{Constraint, ConstraintError};

/// A constraint that forbids the tokens in `ends` until `tokens` tokens were accepted, unless `inner` allows nothing
/// else. Without `inner`, all other tokens are allowed.
pub(crate) fn min_tokens(
    tokens: u32,
    ends: Vec<u32>,
    inner: Option<Box<dyn Constraint>>,
) -> Box<dyn Constraint> {
    Box::new(MinTokens { tokens_left: tokens, ends, inner })
}

struct MinTokens {
    /// How many tokens must come before the answer may end.
    tokens_left: u32,
    ends: Vec<u32>,
    inner: Option<Box<dyn Constraint>>,
}

impl Constraint for MinTokens {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), ConstraintError> {
        match &mut self.inner {
            Some(inner) => inner.mask(allowed)?,
            None => allowed.fill(u32::MAX),
        }
        if self.tokens_left == 0 {
            return Ok(());
        }
        let bit = |token: u32| (token as usize / 32, 1u32 << (token % 32));
        let ends = self.ends.iter().map(|&token| bit(token)).filter(|&(word, _)| word < allowed.len());
        let forbidden: Vec<(usize, u32)> = ends.filter(|&(word, bit)| allowed[word] & bit != 0).collect();
        forbidden.iter().for_each(|&(word, bit)| allowed[word] &= !bit);
        if allowed.iter().all(|&word| word == 0) {
            forbidden.iter().for_each(|&(word, bit)| allowed[word] |= bit);
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.tokens_left = self.tokens_left.saturating_sub(1);
        self.inner.as_mut().map_or(Ok(()), |inner| inner.accept(token))
    }

    fn limit(&mut self, tokens: u32) {
        if let Some(inner) = &mut self.inner {
            inner.limit(tokens);
        }
    }

    fn replace_sampled(&mut self, sampled: u32) -> u32 {
        self.inner.as_mut().map_or(sampled, |inner| inner.replace_sampled(sampled))
    }

    fn forced(&mut self) -> Vec<u32> {
        self.inner.as_mut().map_or_else(Vec::new, |inner| inner.forced())
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        let inner = self.inner.as_ref().map(|inner| inner.snapshot());
        Box::new(Self { tokens_left: self.tokens_left, ends: self.ends.clone(), inner })
    }

    fn finished(&mut self) -> bool {
        self.inner.as_mut().is_some_and(|inner| inner.finished())
    }
}
