//! Public traces of real traffic: ShareGPT's conversations, and lengths and times of BurstGPT and Mooncake. The latter
//! two have no texts; random words of the same length are sent instead.

use std::time::Duration;

use bandmaster_client::Prompt;
use bandmaster_orchestrator::{Message, Role};
use serde::Deserialize;

use super::call::{AT_MS_MAX, Call, LineError, OUTPUT_TOKENS_MAX, RecordedCall, RecordedCalls};

/// Approximate bytes per token of English prose: ShareGPT has answers as text, but their length is needed in tokens.
const TOKEN_BYTES: usize = 4;
/// Prompt tokens per block hash of Mooncake (its README).
const MOONCAKE_BLOCK_TOKENS: usize = 512;
/// More than any model reads.
const PROMPT_TOKENS_MAX: usize = 4 << 20;
/// Beginning of BurstGPT's header line.
const BURST_GPT: &str = "Timestamp,";

/// Reads a trace; `None` if the text is not one.
pub(super) fn read(text: &str) -> Option<Result<RecordedCalls, LineError>> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with('[') {
        return Some(share_gpt(start));
    }
    if start.starts_with(BURST_GPT) {
        return Some(burst_gpt(start));
    }
    let first = start.lines().next()?;
    serde_json::from_str::<Mooncake>(first).is_ok().then(|| mooncake(start))
}

#[derive(Deserialize)]
struct Conversation {
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

/// The first question of each conversation, with about as many output tokens as its recorded answer.
fn share_gpt(text: &str) -> Result<RecordedCalls, LineError> {
    let all: Vec<Conversation> =
        serde_json::from_str(text).map_err(|error| (error.line(), error.to_string()))?;
    let count = all.len();
    let calls: Vec<RecordedCall> =
        all.into_iter().filter_map(Conversation::call).map(RecordedCall::from).collect();
    let mut notes = vec![format!(
        "each answer gets as many tokens as the recorded one has bytes, divided by {TOKEN_BYTES}"
    )];
    if calls.len() < count {
        notes.push(format!(
            "{} of {count} conversations don't begin with a question and its answer and are left out",
            count - calls.len()
        ));
    }
    Ok(RecordedCalls { calls, notes })
}

impl Conversation {
    fn call(self) -> Option<Call> {
        let mut turns = self.conversations.into_iter().skip_while(|turn| turn.from == "system");
        let (question, answer) = (turns.next()?, turns.next()?);
        let is_question_and_answer = matches!(question.from.as_str(), "human" | "user")
            && matches!(answer.from.as_str(), "gpt" | "chatgpt" | "assistant" | "bing" | "bard");
        if !is_question_and_answer || question.value.trim().is_empty() || answer.value.trim().is_empty() {
            return None;
        }
        let tokens = u32::try_from(answer.value.len().div_ceil(TOKEN_BYTES)).unwrap_or(OUTPUT_TOKENS_MAX);
        let prompt = Prompt::chat(&[Message::new(Role::User, question.value)]);
        Some(Call::with_length(prompt, tokens.min(OUTPUT_TOKENS_MAX), None))
    }
}

/// One request of a trace: its time and its lengths.
struct Lengths {
    at_s: f64,
    prompt_tokens: usize,
    output_tokens: u32,
}

/// Columns `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`; the time is in seconds.
fn burst_gpt(text: &str) -> Result<RecordedCalls, LineError> {
    let head: Vec<&str> = text.lines().next().unwrap_or_default().split(',').map(str::trim).collect();
    let column = |name: &str| {
        let index = head.iter().position(|column| column.eq_ignore_ascii_case(name));
        index.ok_or_else(|| (1, format!("no column `{name}`")))
    };
    let (at, read, written) = (column("Timestamp")?, column("Request tokens")?, column("Response tokens")?);
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |column: usize| {
            let cell = cells.get(column).copied().unwrap_or_default();
            let number = cell.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
            number.ok_or_else(|| {
                (index + 1, format!("{} is `{cell}`: expected a number, 0 or more", head[column]))
            })
        };
        lines.push(Lengths {
            at_s: number(at)?,
            prompt_tokens: number(read)? as usize,
            output_tokens: number(written)? as u32,
        });
    }
    Ok(random_calls(&lines, |index, words| vec![(index as u64, words)]))
}

/// A line of Mooncake's trace; the time is in milliseconds.
#[derive(Deserialize)]
struct Mooncake {
    timestamp: f64,
    input_length: usize,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

/// Prompts that begin with the same hashes begin with the same words.
fn mooncake(text: &str) -> Result<RecordedCalls, LineError> {
    let (mut lines, mut hashes) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Mooncake = serde_json::from_str(line).map_err(|error| (index + 1, error.to_string()))?;
        lines.push(Lengths {
            at_s: line.timestamp / 1e3,
            prompt_tokens: line.input_length,
            output_tokens: line.output_length,
        });
        hashes.push(line.hash_ids);
    }
    Ok(random_calls(&lines, |index, words| {
        // Without hashes nothing is shared: each block has its own seed.
        let own = |block: usize| u64::MAX - ((index as u64) << 32) - block as u64;
        let seed = |block: usize| hashes[index].get(block).copied().unwrap_or_else(|| own(block));
        let length = |block: usize| (words - block * MOONCAKE_BLOCK_TOKENS).min(MOONCAKE_BLOCK_TOKENS);
        (0..words.div_ceil(MOONCAKE_BLOCK_TOKENS)).map(|block| (seed(block), length(block))).collect()
    }))
}

/// Calls with these lengths; `words(index, count)` gives the seeds of a call's words. Of a trace longer than a day only
/// the first day is used.
fn random_calls(lines: &[Lengths], words: impl Fn(usize, usize) -> Vec<(u64, usize)>) -> RecordedCalls {
    let begin = lines.iter().map(|line| line.at_s).fold(f64::INFINITY, f64::min);
    let at_ms = |line: &Lengths| ((line.at_s - begin) * 1e3).round() as u64;
    let usable = |line: &&Lengths| {
        (1..=OUTPUT_TOKENS_MAX).contains(&line.output_tokens)
            && (1..=PROMPT_TOKENS_MAX).contains(&line.prompt_tokens)
    };
    let in_time = |line: &&Lengths| at_ms(line) <= AT_MS_MAX;
    let mut notes = vec!["the trace has lengths but no texts: random words are sent instead".to_owned()];
    let (all, whole) = (lines.len(), lines.iter().filter(usable).count());
    if whole < all {
        notes.push(format!(
            "{} of {all} calls have no input or output tokens, or too many for any model, and are left out",
            all - whole
        ));
    }
    let within = lines.iter().filter(usable).filter(in_time).count();
    if within < whole {
        notes.push(format!(
            "the trace is longer than a day: its first day is used, {within} of {whole} calls"
        ));
    }
    let calls = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| usable(line) && in_time(line))
        .map(|(index, line)| {
            let at = Some(Duration::from_millis(at_ms(line)));
            let call = Call::with_length(Prompt::Chat(Vec::new()), line.output_tokens, at);
            RecordedCall { call, words: words(index, line.prompt_tokens) }
        })
        .collect();
    RecordedCalls { calls, notes }
}
