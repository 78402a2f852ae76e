//! Constraints on the next token: JSON schemas, tool calls, and grammars that a client sends. llguidance enforces them.
//! How tokens are sampled is not known here.
//!
//! From a schema to a mask of tokens:
//!
//! 1. `schema/keywords.rs` reads the schema and refuses what can't be enforced. What remains is canonical:
//!    `schema/numbers.rs`, `formats.rs` and `property_names.rs` rewrite keywords into others that can be enforced.
//! 2. `schema/mod.rs` replaces `oneOf` where its branches exclude each other, and forbids unlisted properties.
//!    `schema/cost.rs` refuses schemas that would take too much work.
//! 3. [`GrammarFactory`] has llguidance compile the result on a thread of its own, with limits on time and memory.
//! 4. The compiled [`Grammar`] belongs to one sequence. For each step it marks the tokens that may come next.
//! 5. `token_budget.rs` makes sure that the JSON is complete before the tokens are used up. When few are left, it asks
//!    `ending/` for the shortest text that completes the answer.
//!
//! Other constraints join in at step 3: `client_grammar/` checks regular expressions, lists of choices, Lark and GBNF,
//! and translates them into llguidance's form. `tools.rs` writes a Lark grammar of tool calls with the parameters'
//! schemas inside; `free_text.rs` allows any text until such a call, or the end of reasoning, begins. `min_tokens.rs`
//! wraps a constraint so that the answer doesn't end too early.
//!
//! JSON output stays on one line with Python's separators (`, ` and `: `). Models have seen that form most, and a small
//! model cannot get lost in white space.

mod client_grammar;
mod compile_slots;
mod ending;
mod free_text;
mod messages;
mod min_tokens;
mod regexes;
mod schema;
#[cfg(test)]
mod tests;
mod token_budget;
mod tools;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bandmaster_engine::{Constraint, ConstraintError};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory, TokenParser};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

pub use client_grammar::ClientGrammar;
pub(crate) use min_tokens::min_tokens;

use compile_slots::{CompileSlot, CompileSlots};
use ending::SearchHints;
use token_budget::TokenBudget;

use super::template::Tool;
use super::tool_calls::{ToolChoice, ToolFormat};
use super::{Cancellation, Tokenizer};

/// Time limit for compiling one grammar.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(2);
/// Time limit for all grammars of one request, including the wait for a slot.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(6);
/// Interval for checking whether the request was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Niceness of the thread that compiles a grammar, so that threads that compute tokens go first.
const NICENESS: i32 = 10;
/// Stack of the thread that compiles a grammar: nested schemas are followed by recursion.
const COMPILE_STACK_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, thiserror::Error)]
pub enum GrammarError {
    /// The value is not a schema, or it uses something that can't be enforced token by token.
    #[error("the JSON schema can't be enforced: {0}")]
    Schema(String),
    #[error("the parameters of tool `{tool}` can't be enforced: {problem}")]
    Tool { tool: String, problem: String },
    #[error("the grammar can't be used: {0}")]
    ClientGrammar(String),
    #[error("the tool `{0}` has to be called but is not among the tools: name one that is")]
    UnknownTool(String),
    /// Without an end-of-sequence token, a finished answer could not end.
    #[error(
        "the model's vocabulary has no end-of-sequence token, so its output can't be constrained to a schema"
    )]
    NoEndToken,
    /// Too many grammars are being compiled, or the machine has no time for a small one.
    #[error("the server is too busy to compile a grammar: try again later")]
    Busy,
    #[error("the grammar takes more than {} seconds to compile in all: simplify it", REQUEST_TIME_MAX.as_secs())]
    TimedOut,
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the vocabulary can't be used for grammars: {0}")]
    Vocabulary(String),
}

/// Makes constraints for one vocabulary. Building it takes some tenths of a second for a large vocabulary, so share it.
pub struct GrammarFactory {
    parsers: Arc<ParserFactory>,
    tokenizer: Arc<Tokenizer>,
    slots: Arc<CompileSlots>,
    /// The time by which all grammars of a request must be compiled; `None` outside a request.
    deadline: Option<Instant>,
    cancellation: Cancellation,
}

/// Tight enough that no schema takes more than some seconds or some hundred megabytes, wide enough for large ones. The
/// limits of a step bound the time that one token takes on the engine's thread, which all requests share: some 15 ms
/// (`tests/long/mask_cost.py`). A grammar that needs more fails its own sequence only.
fn limits() -> ParserLimits {
    let defaults = ParserLimits::default();
    ParserLimits {
        max_lexer_states: 25_000,
        initial_lexer_fuel: 500_000,
        step_lexer_fuel: 100_000,
        step_max_items: 50_000,
        verbose_errors: false,
        ..defaults
    }
}

impl GrammarFactory {
    /// Builds the token trie for `tokenizer`'s vocabulary.
    ///
    /// # Errors
    /// [`GrammarError`] when the vocabulary has no end-of-sequence token.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, GrammarError> {
        let trie = trie_of(&tokenizer)?;
        let environment: TokEnv = Arc::new(TokenEnvironment { trie, tokenizer: Arc::clone(&tokenizer) });
        // The engine appends forced tokens, but it never takes back a sampled one.
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = SlicedBiasComputer::json_slices();
        let mut parsers = ParserFactory::new(&environment, capabilities, &slices)
            .map_err(|e| GrammarError::Vocabulary(e.to_string()))?;
        parsers.quiet();
        *parsers.limits_mut() = limits();
        Ok(Self {
            parsers: Arc::new(parsers),
            tokenizer,
            slots: Arc::default(),
            deadline: None,
            cancellation: Cancellation::default(),
        })
    }

    /// The same factory for one request: all its grammars share one deadline, and it stops when it is cancelled.
    #[must_use]
    pub(crate) fn for_request(&self, cancellation: &Cancellation) -> Self {
        Self {
            parsers: Arc::clone(&self.parsers),
            tokenizer: Arc::clone(&self.tokenizer),
            slots: Arc::clone(&self.slots),
            deadline: Some(Instant::now() + REQUEST_TIME_MAX),
            cancellation: cancellation.clone(),
        }
    }

    fn time_left(&self) -> Result<Duration, GrammarError> {
        if self.cancellation.is_cancelled() {
            return Err(GrammarError::Cancelled);
        }
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => Err(GrammarError::TimedOut),
            left => Ok(left.unwrap_or(COMPILE_TIME_MAX).min(COMPILE_TIME_MAX)),
        }
    }

    /// A constraint that accepts exactly one JSON value that matches `schema`. Objects that list their properties get
    /// no other properties, and formats that can't be enforced are ignored. Blocks while the grammar is compiled:
    /// usually milliseconds, at most two seconds, and at most two more while it waits for a slot.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] says what is wrong with the schema or can't be enforced.
    pub fn json_schema(&self, schema: &Value) -> Result<Box<dyn Constraint>, GrammarError> {
        let schema = for_llguidance(schema, false)?;
        let is_expensive = !schema::is_cheap(&schema);
        let hints = SearchHints::of(&schema);
        let grammar = TopLevelGrammar::from_json_schema(schema);
        Ok(Box::new(self.compile(grammar, is_expensive, Some(hints), messages::for_schema)?))
    }

    /// A constraint that accepts exactly one JSON object of any content.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] when the vocabulary can't spell one.
    pub(crate) fn json_object(&self) -> Result<Box<dyn Constraint>, GrammarError> {
        self.json_schema(&json!({"type": "object"}))
    }

    /// A constraint for an answer that may or must call `tools`, in the syntax `format`, with arguments that match the
    /// tools' parameters:
    /// * `Required` and `Named`: one call and nothing else; with `parallel`, one or more calls.
    /// * `Auto`: free text, then perhaps calls; reasoning may come first. With `otherwise`: calls, or JSON that matches
    ///   that schema.
    /// * `None`: no constraint, and the result is `None`.
    ///
    /// If a tool isn't `strict`, keywords of its parameters that can't be enforced are dropped.
    ///
    /// # Errors
    /// [`GrammarError::Tool`] when a strict tool's parameters can't be enforced, [`GrammarError::UnknownTool`].
    pub fn tool_calls(
        &self,
        format: &ToolFormat,
        tools: &[Tool],
        choice: &ToolChoice,
        parallel: bool,
        otherwise: Option<&Value>,
    ) -> Result<Option<Box<dyn Constraint>>, GrammarError> {
        tools::constraint(self, format.syntax(), tools, choice, parallel, otherwise)
    }

    /// A constraint for an answer that begins inside the model's reasoning, which is free text. `inner` applies after
    /// it.
    #[must_use]
    pub(crate) fn after_reasoning(&self, inner: Box<dyn Constraint>) -> Box<dyn Constraint> {
        tools::after_reasoning(self, inner)
    }

    /// Compiles a grammar on its own thread, which has the necessary stack and can be abandoned when it takes too long.
    /// An abandoned thread ends soon after, because its limits count work and size. `hints` come from the schema and
    /// are `None` if the grammar is not JSON. `explain` translates the library's error messages.
    fn compile(
        &self,
        grammar: TopLevelGrammar,
        is_expensive: bool,
        hints: Option<SearchHints>,
        explain: fn(&str) -> String,
    ) -> Result<Grammar, GrammarError> {
        let slot =
            CompileSlot::wait(&self.slots, is_expensive, self.time_left()?).ok_or(GrammarError::Busy)?;
        let deadline = Instant::now() + self.time_left()?;
        let (parsers, tokenizer) = (Arc::clone(&self.parsers), Arc::clone(&self.tokenizer));
        let (sender, compiled) = mpsc::sync_channel(1);
        let compile = move || {
            let _slot = slot;
            // Threads that compute tokens go first. On other systems this would slow the whole process.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICENESS);
            let parser = parsers.create_parser(grammar).map_err(|error| format!("{error:#}"));
            let grammar = parser.and_then(|parser| Grammar::new(parser, tokenizer, hints));
            // Sending fails only when the thread was abandoned.
            drop(sender.send(grammar.map_err(|error| explain(&error))));
        };
        let thread = thread::Builder::new().name("grammar".into()).stack_size(COMPILE_STACK_BYTES);
        let no_thread = |error: std::io::Error| format!("can't start a thread to compile it: {error}");
        thread.spawn(compile).map_err(|error| GrammarError::Schema(no_thread(error)))?;
        let compiled = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match compiled.recv_timeout(left.min(POLL_INTERVAL)) {
                Ok(compiled) => break compiled,
                Err(RecvTimeoutError::Disconnected) => break Err("the grammar compiler crashed".into()),
                Err(RecvTimeoutError::Timeout) if left > POLL_INTERVAL => drop(self.time_left()?),
                // It would take milliseconds on a machine that has time for it.
                Err(RecvTimeoutError::Timeout) if !is_expensive => return Err(GrammarError::Busy),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = COMPILE_TIME_MAX.as_secs();
                    break Err(format!("it takes more than {seconds} seconds to compile: simplify it"));
                }
            }
        };
        compiled.map_err(GrammarError::Schema)
    }
}

/// The prepared schema with llguidance's options.
fn for_llguidance(schema: &Value, lenient: bool) -> Result<Value, GrammarError> {
    let mut schema = schema::enforceable(schema, lenient)?;
    let options = json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
        "lenient": lenient,
        // With `\\u` escapes, a listed name could be spelled in another way.
        "json_allowed_escapes": "nrbtf\\\"",
    });
    schema.insert("x-guidance".into(), options);
    Ok(schema.into())
}

fn trie_of(tokenizer: &Tokenizer) -> Result<TokTrie, GrammarError> {
    let ends = tokenizer.end_of_generation();
    let first = *ends.first().ok_or(GrammarError::NoEndToken)?;
    let vocab = tokenizer.vocab_size() as u32;
    let tokens: Vec<Vec<u8>> = (0..vocab).map(|id| trie_bytes(tokenizer, id)).collect();
    Ok(TokTrie::from(&TokRxInfo::new(vocab, first), &tokens).with_eos_tokens(ends))
}

/// The bytes by which the trie knows a token; empty for a token that must never be sampled.
fn trie_bytes(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = tokenizer.decode_bytes(id);
    if tokenizer.is_control(id) {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
    } else if tokenizer.is_unused(id) || bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        // JSON never contains the byte 0xFF.
        Vec::new()
    } else {
        bytes.to_vec()
    }
}

/// What llguidance must know of a vocabulary.
struct TokenEnvironment {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for TokenEnvironment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.tokenizer.encode_continuation(text))
    }
}

/// A compiled grammar with the state of one sequence in it.
#[derive(Clone)]
struct Grammar {
    matcher: Matcher,
    budget: TokenBudget,
}

impl Grammar {
    /// Computes the first mask, which is the most expensive, so that the engine's thread need not.
    fn new(
        parser: TokenParser,
        tokenizer: Arc<Tokenizer>,
        hints: Option<SearchHints>,
    ) -> Result<Self, String> {
        let budget = TokenBudget::new(&parser, tokenizer, hints);
        let mut matcher = Matcher::new(Ok(parser));
        matcher.compute_mask_or_eos().map_err(|error| error.to_string())?;
        Ok(Self { matcher, budget })
    }
}

/// Why a grammar that was followed so far ends.
fn stuck(error: &str) -> ConstraintError {
    ConstraintError(format!("the grammar failed during generation: {}", messages::for_schema(error)))
}

impl Constraint for Grammar {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), ConstraintError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| stuck(&error.to_string()))?;
        for (word, mask) in allowed.iter_mut().zip(mask.as_slice()) {
            *word = *mask;
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        let taken = self.matcher.consume_token(token);
        taken.map_err(|error| stuck(&error.to_string()))?;
        self.budget.accept(token);
        Ok(())
    }

    fn limit(&mut self, tokens: u32) {
        self.budget.limit(tokens);
    }

    fn replace_sampled(&mut self, sampled: u32) -> u32 {
        if self.matcher.is_stopped() { sampled } else { self.budget.replace_sampled(sampled) }
    }

    /// Only tokens that the tokenizer itself would make of the forced text, and none whose text could become part of a
    /// longer token with what follows: llguidance holds those back.
    fn forced(&mut self) -> Vec<u32> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        let forced = self.matcher.compute_ff_tokens();
        self.budget.forced(forced)
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }

    fn deep_clone(&self) -> Box<dyn Constraint> {
        Box::new(Self { matcher: self.matcher.deep_clone(), budget: self.budget.deep_clone() })
    }

    fn finished(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}
