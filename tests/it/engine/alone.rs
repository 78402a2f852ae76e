//! The expected answer of a request, computed without the engine, one token after the other.

use bandmaster::engine::{Constraint, FinishReason, Sampler, SamplerScratch, Sampling, sample};

use super::fake::row_after;
use super::grammar::FakeGrammar;

#[derive(Clone)]
pub struct Ask {
    pub model: usize,
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    pub tokens_max: u32,
    pub stop_tokens: Vec<u32>,
    pub grammar: Option<FakeGrammar>,
    pub top_logprobs: Option<u32>,
    pub score_prompt_from: Option<u32>,
}

/// How the answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Ends(FinishReason),
    Fails,
}

pub fn alone(ask: &Ask, seed: u64, vocab: usize, context: usize) -> (Vec<u32>, Answer) {
    let mut tokens = ask.prompt.clone();
    let mut grammar = ask.grammar.clone();
    let mut sampler = Sampler::new(ask.sampling.clone(), None, &ask.prompt);
    let generated = |tokens: &[u32]| tokens[ask.prompt.len()..].to_vec();
    if ask.tokens_max == 0 {
        return (Vec::new(), Answer::Ends(FinishReason::Length));
    }
    loop {
        let mut allowed = vec![0u32; vocab.div_ceil(32)];
        if let Some(grammar) = &mut grammar {
            if grammar.will_fail() {
                return (generated(&tokens), Answer::Fails);
            }
            grammar.mask(&mut allowed).expect("it does not fail here");
        }
        let mut row = row_after(seed, &tokens, vocab);
        let mask = grammar.is_some().then_some(&allowed[..]);
        let sampled = sample(&mut row, &sampler, mask, tokens.len(), &mut SamplerScratch::default());
        let token = sampled.expect("fake logits are numbers").token;
        if ask.stop_tokens.contains(&token) {
            return (generated(&tokens), Answer::Ends(FinishReason::Stop));
        }
        tokens.push(token);
        sampler.count_token(token);
        if let Some(grammar) = &mut grammar {
            grammar.accept(token).expect("sampled under its mask");
            if grammar.finished() {
                return (generated(&tokens), Answer::Ends(FinishReason::Stop));
            }
        }
        if tokens.len() - ask.prompt.len() == ask.tokens_max as usize || tokens.len() == context {
            return (generated(&tokens), Answer::Ends(FinishReason::Length));
        }
    }
}
