//! JSON schemas, tool calls and clients' own grammars as constraints on the next token, enforced by llguidance. How
//! tokens are sampled is not known here.
//!
//! JSON output stays on one line with Python's separators (`, ` and `: `). Models have seen that form most, and a small
//! model cannot get lost in white space.

mod at_least;
mod children;
mod closing;
mod dear;
mod exclusive;
mod formats;
mod free;
mod hints;
mod in_time;
mod keywords;
mod lengths;
mod multiples;
mod names;
mod numbers;
mod own_words;
mod patterns;
mod place;
mod references;
mod schema;
mod states;
#[cfg(test)]
mod tests;
mod tools;
mod walk;
mod words;
mod written;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bandmaster_engine::{Constraint, ConstraintError};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory, TokenParser};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

pub use at_least::at_least;
pub use written::Written;

use hints::Hints;
use in_time::InTime;

use super::template::Tool;
use super::tool_calls::{ToolChoice, ToolFormat};
use super::{Tokenizer, Waited};

/// Time limit for making one grammar.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(2);
/// Time limit for all grammars made for one request, including the wait for a place.
const ASKED_TIME_MAX: Duration = Duration::from_secs(6);
/// Interval for checking whether anyone still waits for the grammar.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Grammars being made at the same time.
const MAKING_MAX: usize = 4;
/// How many of them may be expensive. Each of those may take some tens of megabytes.
const DEAR_MAX: usize = 1;
/// Niceness of the thread that makes a grammar, so that threads that compute tokens go first.
const NICENESS: i32 = 10;
/// Stack of the thread that makes a grammar: nested schemas are followed by recursion.
const COMPILE_STACK_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, thiserror::Error)]
pub enum GrammarError {
    /// The value is not a schema, or it uses something that can't be enforced token by token.
    #[error("the JSON schema can't be enforced: {0}")]
    Schema(String),
    #[error("the parameters of tool `{tool}` can't be enforced: {problem}")]
    Tool { tool: String, problem: String },
    #[error("the grammar can't be used: {0}")]
    Written(String),
    #[error("the tool `{0}` has to be called but is not among the tools: name one that is")]
    UnknownTool(String),
    /// Without an end-of-sequence token, a finished answer could not end.
    #[error(
        "the model's vocabulary has no end-of-sequence token, so its output can't be constrained to a schema"
    )]
    NoEndToken,
    #[error("too many grammars are being compiled: try again later")]
    Busy,
    #[error("the grammar takes more than {} seconds to compile in all: simplify it", ASKED_TIME_MAX.as_secs())]
    Late,
    #[error("the request was cancelled")]
    Ended,
    #[error("the vocabulary can't be used for grammars: {0}")]
    Vocabulary(String),
}

/// Makes constraints for one vocabulary. Building it takes some tenths of a second for a large vocabulary, so share it.
pub struct GrammarFactory {
    parsers: Arc<ParserFactory>,
    tokenizer: Arc<Tokenizer>,
    making: Arc<Making>,
    /// The time by which all grammars of a request must be made; `None` outside a request.
    deadline: Option<Instant>,
    waited: Waited,
}

/// Limits how many grammars are made at the same time.
#[derive(Default)]
struct Making {
    count: Mutex<Count>,
    fewer: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Count {
    all: usize,
    /// Expensive grammars are made one at a time, so that cheap ones do not wait for them.
    dear: usize,
}

/// A place to make a grammar, freed when dropped.
struct MakingPlace {
    making: Arc<Making>,
    is_dear: bool,
}

impl MakingPlace {
    fn wait(making: &Arc<Making>, is_dear: bool, time_max: Duration) -> Option<Self> {
        let count = making.count.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |count: &mut Count| count.all >= MAKING_MAX || (is_dear && count.dear >= DEAR_MAX);
        let waited = making.fewer.wait_timeout_while(count, time_max, is_full);
        let (mut count, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        count.all += 1;
        count.dear += usize::from(is_dear);
        Some(Self { making: Arc::clone(making), is_dear })
    }
}

impl Drop for MakingPlace {
    fn drop(&mut self) {
        let mut count = self.making.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.all -= 1;
        count.dear -= usize::from(self.is_dear);
        drop(count);
        self.making.fewer.notify_all();
    }
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
        let (making, waited) = (Arc::default(), Waited::default());
        Ok(Self { parsers: Arc::new(parsers), tokenizer, making, deadline: None, waited })
    }

    /// The same factory for one request: all its grammars share one deadline, and it stops when nobody waits any more.
    #[must_use]
    pub fn asked(&self, waited: &Waited) -> Self {
        Self {
            parsers: Arc::clone(&self.parsers),
            tokenizer: Arc::clone(&self.tokenizer),
            making: Arc::clone(&self.making),
            deadline: Some(Instant::now() + ASKED_TIME_MAX),
            waited: waited.clone(),
        }
    }

    fn time_left(&self) -> Result<Duration, GrammarError> {
        if !self.waited.goes_on() {
            return Err(GrammarError::Ended);
        }
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => Err(GrammarError::Late),
            left => Ok(left.unwrap_or(COMPILE_TIME_MAX).min(COMPILE_TIME_MAX)),
        }
    }

    /// A constraint that accepts exactly one JSON value that matches `schema`. Objects that list their properties get
    /// no other properties, and formats that can't be enforced are ignored. Blocks while the grammar is made: usually
    /// milliseconds, at most two seconds, and at most two more while it waits for a place.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] says what is wrong with the schema or can't be enforced.
    pub fn json_schema(&self, schema: &Value) -> Result<Box<dyn Constraint>, GrammarError> {
        let schema = for_llguidance(schema, false)?;
        let is_dear = !dear::is_cheap(&schema);
        let hints = Hints::of(&schema);
        let grammar = self.compiled(
            TopLevelGrammar::from_json_schema(schema),
            is_dear,
            Some(hints),
            own_words::of_schema,
        )?;
        Ok(Box::new(grammar))
    }

    /// A constraint that accepts exactly one JSON object of any content.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] when the vocabulary can't spell one.
    pub fn json_object(&self) -> Result<Box<dyn Constraint>, GrammarError> {
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
    pub fn after_reasoning(&self, inner: Box<dyn Constraint>) -> Box<dyn Constraint> {
        tools::after_thoughts(self, inner)
    }

    /// Makes a grammar on its own thread, which has the necessary stack and can be abandoned when it takes too long. An
    /// abandoned thread ends soon after, because its limits count work and size. `hints` come from the schema and are
    /// `None` if the grammar is not JSON. `said` translates the library's error messages into our own words.
    fn compiled(
        &self,
        grammar: TopLevelGrammar,
        is_dear: bool,
        hints: Option<Hints>,
        said: fn(&str) -> String,
    ) -> Result<Grammar, GrammarError> {
        let place = MakingPlace::wait(&self.making, is_dear, self.time_left()?).ok_or(GrammarError::Busy)?;
        let until = Instant::now() + self.time_left()?;
        let (parsers, tokenizer) = (Arc::clone(&self.parsers), Arc::clone(&self.tokenizer));
        let (sender, made) = mpsc::sync_channel(1);
        let compile = move || {
            let _place = place;
            // Threads that compute tokens go first. On other systems this would slow the whole process.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICENESS);
            let parser = parsers.create_parser(grammar).map_err(|error| format!("{error:#}"));
            let made = parser.and_then(|parser| Grammar::new(parser, tokenizer, hints));
            // Sending fails only when nobody waits any more.
            drop(sender.send(made.map_err(|error| said(&error))));
        };
        let thread = thread::Builder::new().name("grammar".into()).stack_size(COMPILE_STACK_BYTES);
        let no_thread = |error: std::io::Error| format!("can't start a thread to compile it: {error}");
        thread.spawn(compile).map_err(|error| GrammarError::Schema(no_thread(error)))?;
        let made = loop {
            let left = until.saturating_duration_since(Instant::now());
            match made.recv_timeout(left.min(LOOK_EVERY)) {
                Ok(made) => break made,
                Err(RecvTimeoutError::Disconnected) => break Err("the grammar compiler crashed".into()),
                Err(RecvTimeoutError::Timeout) if left > LOOK_EVERY => drop(self.time_left()?),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = COMPILE_TIME_MAX.as_secs();
                    break Err(format!("it takes more than {seconds} seconds to compile: simplify it"));
                }
            }
        };
        made.map_err(GrammarError::Schema)
    }
}

/// The prepared schema with llguidance's options.
fn for_llguidance(schema: &Value, lenient: bool) -> Result<Value, GrammarError> {
    let mut schema = schema::prepared(schema, lenient)?;
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
    let words: Vec<Vec<u8>> = (0..vocab).map(|id| word_of(tokenizer, id)).collect();
    Ok(TokTrie::from(&TokRxInfo::new(vocab, first), &words).with_eos_tokens(ends))
}

/// The bytes by which the trie knows a token; empty for a token that must never be sampled.
fn word_of(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
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

/// One sequence's place in its grammar.
#[derive(Clone)]
struct Grammar {
    matcher: Matcher,
    in_time: InTime,
}

impl Grammar {
    /// Takes the first step, which is the dearest, so that the engine's thread need not.
    fn new(parser: TokenParser, tokenizer: Arc<Tokenizer>, hints: Option<Hints>) -> Result<Self, String> {
        let in_time = InTime::new(&parser, tokenizer, hints);
        let mut matcher = Matcher::new(Ok(parser));
        matcher.compute_mask_or_eos().map_err(|error| error.to_string())?;
        Ok(Self { matcher, in_time })
    }
}

/// Why a grammar that was followed so far ends.
fn stuck(error: &str) -> ConstraintError {
    ConstraintError(format!("the grammar failed during generation: {}", own_words::of_schema(error)))
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
        self.in_time.accept(token);
        Ok(())
    }

    fn limit(&mut self, tokens: u32) {
        self.in_time.limit(tokens);
    }

    fn replace_sampled(&mut self, sampled: u32) -> u32 {
        if self.matcher.is_stopped() { sampled } else { self.in_time.replace_sampled(sampled) }
    }

    /// Only tokens that the tokenizer itself would make of the forced text, and none whose text could become part of a
    /// longer token with what follows: llguidance holds those back.
    fn forced(&mut self) -> Vec<u32> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        let forced = self.matcher.compute_ff_tokens();
        self.in_time.forced(forced)
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }

    fn deep_clone(&self) -> Box<dyn Constraint> {
        Box::new(Self { matcher: self.matcher.deep_clone(), in_time: self.in_time.deep_clone() })
    }

    fn finished(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}
