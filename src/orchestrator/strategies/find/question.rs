//! What is searched for: the question that the planner has taken out of the goal, or else what a rule takes for it.

use std::collections::{HashMap, HashSet};

use crate::checks::sentences;
use crate::goal::Goal;
use crate::state::{RunState, TaskState};
use crate::topic::{content_words, is_same_word};

/// What to search for: the question as the planner took it out of the goal, or else as a rule does.
pub(super) fn question(goal: &Goal, plan: Option<&TaskState>) -> String {
    plan.and_then(TaskState::accepted).map_or_else(|| asked(goal), str::to_owned)
}

/// The question as it was searched for.
pub(super) fn searched<'a>(goal: &'a Goal, state: &'a RunState) -> &'a str {
    state.searches.first().map_or(goal.text.as_str(), |search| search.query.as_str())
}

/// The goal's own words without those around the question. Once it was searched for, it stands in the state.
pub(super) fn asked(goal: &Goal) -> String {
    let text = goal.text.trim();
    let question = Used::of(goal.inputs.iter().map(|input| input.text.as_str())).question(text);
    if question.is_empty() { text.to_owned() } else { question }
}

/// The words that the inputs use, by their first letters.
struct Used(HashMap<String, HashSet<String>>);

impl Used {
    fn of<'a>(inputs: impl Iterator<Item = &'a str>) -> Self {
        let mut used: HashMap<String, HashSet<String>> = HashMap::new();
        let words = inputs.flat_map(|input| input.split(|c: char| !c.is_alphanumeric()));
        for word in words.filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            let of_first = used.entry(first_letters(&word)).or_default();
            if !of_first.contains(&word) {
                of_first.insert(word);
            }
        }
        Self(used)
    }

    /// The sentences with a question mark, or else those about what stands in the inputs, without what leads up to them.
    fn question(&self, goal: &str) -> String {
        let sentences = sentences(goal);
        let about = |sentence: &&str| self.share_of(sentence) >= 0.5;
        let asking = sentences.iter().copied().filter(|sentence| sentence.ends_with('?')).filter(about);
        let asking: Vec<&str> = asking.collect();
        let kept = match asking.is_empty() {
            false => asking,
            true => sentences.iter().copied().filter(about).collect(),
        };
        let kept = if kept.is_empty() { sentences } else { kept };
        kept.into_iter().map(|sentence| self.without_lead_in(sentence)).collect::<Vec<_>>().join(" ")
    }

    /// The sentence without a beginning such as "For my talk:" or "need this for a call -" that is not about the inputs.
    fn without_lead_in<'a>(&self, sentence: &'a str) -> &'a str {
        for border in [": ", " - ", " – ", ", "] {
            let Some((before, after)) = sentence.split_once(border) else { continue };
            if content_words(after).len() >= 2 && self.share_of(before) <= 0.5 {
                return self.without_lead_in(after.trim());
            }
        }
        sentence
    }

    /// The share of a text's content words that the inputs use in some form; 0 if it has none.
    fn share_of(&self, text: &str) -> f64 {
        let words = content_words(text);
        let is_used = |word: &&String| {
            let near = self.0.get(&first_letters(word));
            near.is_some_and(|near| near.iter().any(|other| is_same_word(other, word)))
        };
        words.iter().filter(is_used).count() as f64 / words.len().max(1) as f64
    }
}

/// The first letters of a word, which its forms share.
fn first_letters(word: &str) -> String {
    word.chars().take(3).collect()
}
