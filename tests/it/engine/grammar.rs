//! A grammar made of arithmetic, for tests.

use bandmaster::engine::hash::mix;
use bandmaster::engine::{Constraint, ConstraintError};

#[derive(Clone)]
pub struct FakeGrammar {
    pub seed: u64,
    pub vocab: usize,
    pub accepted: Vec<u32>,
    /// Complete after this many tokens.
    pub complete_at: usize,
    /// At this many tokens, `mask` fails, or panics if the number is odd.
    pub fails_at: Option<usize>,
    /// Set once it has failed; it then fails for good.
    pub broken: bool,
}

impl FakeGrammar {
    /// The only token allowed at index `place`, if there is only one.
    fn only(&self, place: usize) -> Option<u32> {
        let forced = place % 7 >= 3 && place % 7 < 6;
        forced.then(|| (mix(self.seed ^ place as u64) % self.vocab as u64) as u32)
    }

    fn allows(&self, token: u32) -> bool {
        let place = self.accepted.len();
        let last = self.accepted.last().copied().unwrap_or(0);
        match self.only(place) {
            Some(only) => token == only,
            None => {
                token as u64 == self.seed % self.vocab as u64
                    || mix(self.seed ^ u64::from(last) << 32 ^ u64::from(token)) & 3 == 0
            }
        }
    }

    pub fn will_fail(&self) -> bool {
        self.fails_at == Some(self.accepted.len()) && self.only(self.accepted.len()).is_none()
    }
}

impl Constraint for FakeGrammar {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), ConstraintError> {
        if self.broken {
            return Err(ConstraintError("this grammar is broken".into()));
        }
        if self.will_fail() {
            self.broken = true;
            assert!(self.accepted.len().is_multiple_of(2), "this grammar panics");
            return Err(ConstraintError("this grammar fails".into()));
        }
        assert!(allowed.iter().all(|&word| word == 0));
        for token in (0..self.vocab as u32).filter(|&token| self.allows(token)) {
            allowed[token as usize / 32] |= 1 << (token % 32);
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        if self.broken || !self.allows(token) {
            return Err(ConstraintError(format!("token {token} is not allowed")));
        }
        self.accepted.push(token);
        Ok(())
    }

    fn forced(&mut self) -> Vec<u32> {
        let places = self.accepted.len()..self.complete_at;
        places.map_while(|place| self.only(place)).collect()
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }

    fn finished(&mut self) -> bool {
        self.accepted.len() >= self.complete_at
    }
}
