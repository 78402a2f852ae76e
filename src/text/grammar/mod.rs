//! JSON schemas and calls of tools as constraints on the next token, through llguidance. How tokens are drawn is not known
//! here.
//!
//! Output is kept on one line with Python's separators (`, ` and `: `): it is what models have read most, and no small
//! model can lose itself in white space.

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
use crate::engine::Constraint;

/// A grammar takes no longer to be made.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(2);
/// All grammars that are tried for one request take no longer, the wait for a place included.
const ASKED_TIME_MAX: Duration = Duration::from_secs(6);
/// So often it is asked whether a grammar is still waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Grammars that are made at once.
const MAKING_MAX: usize = 4;
/// Those of them that are not plainly small: each may take some tens of megabytes.
const DEAR_MAX: usize = 1;
/// How much those that compute tokens go before them.
const NICENESS: i32 = 10;
/// Stack of the thread that makes grammars: nested schemas are followed by recursion.
const COMPILE_STACK_BYTES: usize = 32 << 20;
/// Begins the message when a grammar fails while tokens are drawn, so that it can be told from a model that failed.
pub const GRAMMAR_FAILED: &str = "the grammar can't go on";

/// A schema that can't be kept to, or a vocabulary that can't be constrained.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrammarError {
    /// Not a schema, or one that uses what can't be enforced token by token.
    #[error("the JSON schema can't be enforced: {0}")]
    Schema(String),
    /// A tool whose parameters can't be enforced.
    #[error("the parameters of tool `{tool}` can't be enforced: {problem}")]
    Tool {
        /// Its name.
        tool: String,
        /// What is wrong with them.
        problem: String,
    },
    /// A regular expression or a grammar that is wrong or can't be enforced.
    #[error("the grammar can't be used: {0}")]
    Written(String),
    /// The tool that has to be called isn't there.
    #[error("the tool `{0}` has to be called but is not among the tools: name one that is")]
    UnknownTool(String),
    /// Without an end token, a finished answer could not end.
    #[error("the model's vocabulary names no end-of-sequence token, so its output can't be held to a schema")]
    NoEndToken,
    /// Too many grammars are being made.
    #[error("too many grammars are being made at this moment: ask again later")]
    Busy,
    /// All that one request asks for takes too long together.
    #[error("the grammar takes more than {} seconds to make in all: simplify what is asked for", ASKED_TIME_MAX.as_secs())]
    Late,
    /// Nobody waits for it any more.
    #[error("nobody waits for the grammar any more")]
    Ended,
    /// The trie of tokens could not be made.
    #[error("the vocabulary can't be used for grammars: {0}")]
    Vocabulary(String),
}

/// Makes constraints for one vocabulary. Costs some tenths of a second for a large one: make it once and share it.
pub struct GrammarFactory {
    parsers: Arc<ParserFactory>,
    tokenizer: Arc<Tokenizer>,
    making: Arc<Making>,
    /// Of a request's: when everything that it asks for must be made.
    deadline: Option<Instant>,
    waited: Waited,
}

/// How many grammars are being made.
#[derive(Default)]
struct Making {
    count: Mutex<Count>,
    fewer: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Count {
    all: usize,
    /// Those that may take long, one at a time: the others need not wait for them.
    dear: usize,
}

/// One of the places to make a grammar, given back when dropped.
struct MakingPlace {
    making: Arc<Making>,
    is_dear: bool,
}

impl MakingPlace {
    /// Waits for a place, so long at most.
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

/// Tight enough that no schema takes more than some seconds or some hundred megabytes, wide enough for large ones. Those of a
/// step bound what one token takes of the engine's thread, for everybody: some 15 ms (`tests/long/mask_cost.py`). A grammar
/// that needs more ends its own sequence.
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
    /// Prepares the vocabulary of `tokenizer`.
    ///
    /// # Errors
    /// [`GrammarError`] when the vocabulary has no end token.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, GrammarError> {
        let trie = trie_of(&tokenizer)?;
        let environment: TokEnv = Arc::new(TokenEnvironment { trie, tokenizer: Arc::clone(&tokenizer) });
        // Forced tokens are taken as they come; taking back what was drawn is not asked of the engine.
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = SlicedBiasComputer::json_slices();
        let mut parsers = ParserFactory::new(&environment, capabilities, &slices)
            .map_err(|e| GrammarError::Vocabulary(e.to_string()))?;
        parsers.quiet();
        *parsers.limits_mut() = limits();
        let (making, waited) = (Arc::default(), Waited::default());
        Ok(Self { parsers: Arc::new(parsers), tokenizer, making, deadline: None, waited })
    }

    /// The same for one request: all that is made with it together has one deadline, and ends when nobody waits for it.
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

    /// How long the next grammar may take.
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

    /// A constraint that lets a sequence write exactly one JSON value that fits `schema`. Objects that list their properties
    /// get no others, and formats that can't be enforced mean nothing. Blocks while the grammar is made: milliseconds as a
    /// rule, two seconds at most and as long again for a place when others are being made.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] names what in the schema is wrong or can't be enforced.
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

    /// A constraint that lets a sequence write exactly one JSON object.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] when the vocabulary can't write one.
    pub fn json_object(&self) -> Result<Box<dyn Constraint>, GrammarError> {
        self.json_schema(&json!({"type": "object"}))
    }

    /// A constraint for an answer that may or must call `tools`, written as `format` says, with arguments that fit the
    /// tools' parameters. `Required` and `Named`: one call and nothing else, or with `parallel` one or more. `Auto`: free
    /// text, and calls after it; thoughts may come first; with `otherwise`, a call or JSON that fits this schema. `None` when
    /// nothing is called.
    ///
    /// Parameters that can't be enforced to the letter are loosened for a tool that isn't `strict`.
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

    /// A constraint for an answer that begins in the model's thoughts, which are free; `inner` holds from their end on.
    #[must_use]
    pub fn after_reasoning(&self, inner: Box<dyn Constraint>) -> Box<dyn Constraint> {
        tools::after_thoughts(self, inner)
    }

    /// Makes a grammar on a thread of its own, which has the stack for it and can be left when it takes too long. It ends
    /// by itself soon after: its limits count work and size. `hints` are of a schema; nothing
    /// where the grammar is of something else. `said` puts what the library says of a problem in our own words.
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
            // Whoever computes tokens goes first.
            // On other systems it would be the whole process that is slowed.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICENESS);
            let parser = parsers.create_parser(grammar).map_err(|error| format!("{error:#}"));
            let made = parser.and_then(|parser| Grammar::new(parser, tokenizer, hints));
            // An error that comes back means that nobody waits any more.
            drop(sender.send(made.map_err(|error| said(&error))));
        };
        let thread = thread::Builder::new().name("grammar".into()).stack_size(COMPILE_STACK_BYTES);
        let no_thread = |error: std::io::Error| format!("no thread could be started for it: {error}");
        thread.spawn(compile).map_err(|error| GrammarError::Schema(no_thread(error)))?;
        let made = loop {
            let left = until.saturating_duration_since(Instant::now());
            match made.recv_timeout(left.min(LOOK_EVERY)) {
                Ok(made) => break made,
                Err(RecvTimeoutError::Disconnected) => break Err("making it broke".into()),
                Err(RecvTimeoutError::Timeout) if left > LOOK_EVERY => drop(self.time_left()?),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = COMPILE_TIME_MAX.as_secs();
                    break Err(format!("it takes more than {seconds} seconds to make: simplify it"));
                }
            }
        };
        made.map_err(GrammarError::Schema)
    }
}

/// A schema with the options that go with it.
fn for_llguidance(schema: &Value, lenient: bool) -> Result<Value, GrammarError> {
    let mut schema = schema::prepared(schema, lenient)?;
    let options = json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
        "lenient": lenient,
        // With `\\u`, a name that is listed could be written another way.
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

/// The bytes by which the trie knows a token; none for one that must never be drawn.
fn word_of(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = tokenizer.decode_bytes(id);
    if tokenizer.is_control(id) {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
    } else if tokenizer.is_unused(id) || bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        // No JSON has the byte 0xFF.
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
fn stuck(error: &str) -> String {
    format!("{GRAMMAR_FAILED}: {}", own_words::of_schema(error))
}

impl Constraint for Grammar {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), String> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| stuck(&error.to_string()))?;
        for (word, mask) in allowed.iter_mut().zip(mask.as_slice()) {
            *word = *mask;
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        let taken = self.matcher.consume_token(token);
        taken.map_err(|error| stuck(&error.to_string()))?;
        self.in_time.accept(token);
        Ok(())
    }

    fn limit(&mut self, tokens: u32) {
        self.in_time.limit(tokens);
    }

    fn settle(&mut self, drawn: u32) -> u32 {
        if self.matcher.is_stopped() { drawn } else { self.in_time.settle(drawn) }
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

    fn apart(&self) -> Box<dyn Constraint> {
        Box::new(Self { matcher: self.matcher.deep_clone(), in_time: self.in_time.apart() })
    }

    fn finished(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}
