//! What of a goal is the question. Greetings, thanks and how long the answer may be would only disturb the search.

use crate::goal::Goal;
use crate::state::RunState;
use crate::topic::{content_words, is_same_word};

/// The question as it was searched for.
pub(super) fn searched<'a>(goal: &'a Goal, state: &'a RunState) -> &'a str {
    state.searches.first().map_or(goal.text.as_str(), |search| search.query.as_str())
}

/// The goal's own words without those around the question. Once it was searched for, it stands in the state.
pub(super) fn asked(goal: &Goal) -> String {
    let text = goal.text.trim();
    let inputs = goal.inputs.iter().map(|input| input.text.as_str());
    let question = of(text, &inputs.collect::<Vec<_>>());
    if question.is_empty() { text.to_owned() } else { question }
}

/// The sentences with a question mark, or else those about what stands in the inputs, without what leads up to them.
fn of(goal: &str, inputs: &[&str]) -> String {
    let sentences = sentences(goal);
    let asks = |sentence: &&str| sentence.ends_with('?') && !content_words(sentence).is_empty();
    let about = |sentence: &&str| share_in(inputs, sentence) > 0.5;
    let asking: Vec<&str> = sentences.iter().copied().filter(asks).filter(about).collect();
    let kept = match asking.is_empty() {
        false => asking,
        true => sentences.iter().copied().filter(about).collect(),
    };
    let kept = if kept.is_empty() { sentences } else { kept };
    kept.into_iter().map(|sentence| without_lead_in(inputs, sentence)).collect::<Vec<_>>().join(" ")
}

fn sentences(goal: &str) -> Vec<&str> {
    crate::checks::sentences(goal)
}

/// The sentence without a beginning such as "For my talk:" or "need this for a call -" that is not about the inputs.
fn without_lead_in<'a>(inputs: &[&str], sentence: &'a str) -> &'a str {
    for border in [": ", " - ", " – ", ", "] {
        let Some((before, after)) = sentence.split_once(border) else { continue };
        if content_words(after).len() >= 2 && share_in(inputs, before) <= 0.5 {
            return without_lead_in(inputs, after.trim());
        }
    }
    sentence
}

/// The share of a text's content words that stand in the inputs; 0 if it has none.
fn share_in(inputs: &[&str], text: &str) -> f64 {
    let words = content_words(text);
    let stands = |word: &&String| inputs.iter().any(|input| has_word(input, word));
    let standing = words.iter().filter(stands).count();
    standing as f64 / words.len().max(1) as f64
}

/// Whether a text has a form of a word.
fn has_word(text: &str, word: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|other| !other.is_empty());
    words.into_iter().any(|other| other.len() + 4 > word.len() && is_same_word(&other.to_lowercase(), word))
}
