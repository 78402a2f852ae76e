//! Chooses the strategy for a goal. Countable facts say which strategies are possible; similarity in meaning to worked
//! examples, which are data (`examples.jsonl`), says which of them is meant.

mod aspects;
mod facts;
#[cfg(test)]
mod tests;
pub(crate) mod why;

use std::sync::Arc;

use serde::Deserialize;

use super::band::Embed;
use super::blocking::{Counts, run_blocking};
use super::request::{RunRequest, StrategyName};
use why::{Attachment, Facts, Nearest, StrategyWhy};

pub(crate) use aspects::{PART_NOUNS, list_item};
pub(crate) use facts::ANSWER_TOKENS_RESERVED;

/// One goal per line, with the best strategy for it and whether anything was attached.
const EXAMPLES: &str = include_str!("examples.jsonl");

/// Examples shown in `strategy_why`.
const NEAREST_SHOWN: usize = 5;
/// A strategy's score is the mean similarity of this many of its closest examples. One alone may be close
/// only by its topic.
const NEIGHBOURS: usize = 3;

/// Similarity below which an example says nothing.
const FAR: f32 = 0.2;

/// From this length on, inputs are searched rather than read if only a fact is wanted. The planner of the default band
/// takes over ten seconds to read so much on two cores.
const LONG_TOKENS: usize = 3000;

#[derive(Debug, Clone, Deserialize)]
struct Example {
    goal: String,
    strategy: StrategyName,
    /// Whether inputs came with the goal.
    inputs: bool,
}

fn examples() -> Vec<Example> {
    let lines = EXAMPLES.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).expect("examples.jsonl is checked by a test")).collect()
}

/// Chooses a strategy and says why. `context_tokens` is the planner's context length.
pub(crate) async fn choose(
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
    context_tokens: usize,
    embed: Option<&dyn Embed>,
) -> (StrategyName, StrategyWhy) {
    let (asked, counts) = (Arc::clone(request), Arc::clone(counts));
    let facts = run_blocking(move || facts::gather(&asked, &counts, context_tokens)).await;
    let (strategy, nearest, because) = decide(request, &facts, embed).await;
    (strategy, StrategyWhy { facts, nearest, because })
}

type Choice = (StrategyName, Vec<Nearest>, String);

async fn decide(request: &RunRequest, facts: &Facts, embed: Option<&dyn Embed>) -> Choice {
    if let Some(strategy) = request.strategy {
        return (strategy, Vec::new(), "it was asked for".to_owned());
    }
    let possible = possible(facts);
    if let [only] = possible.as_slice() {
        return (*only, Vec::new(), only_choice(*only, facts).to_owned());
    }
    let by_facts = without_embedder(facts, &possible);
    let Some(embed) = embed else {
        return (by_facts, Vec::new(), "no embedder: chosen by the facts alone".to_owned());
    };
    match neighbours(&request.goal, facts.inputs > 0, embed).await {
        Ok(neighbours) => by_nearness(facts, &possible, neighbours),
        Err(why) => (by_facts, Vec::new(), format!("the embedder failed ({why}): chosen by the facts alone")),
    }
}

/// The strategies that the facts allow.
fn possible(facts: &Facts) -> Vec<StrategyName> {
    if facts.arithmetic.is_some() {
        return vec![StrategyName::Direct];
    }
    if facts.inputs > 0 && facts.tables == facts.inputs {
        // What is to be done with a table's text, such as to translate it, is no question to its rows.
        let mut possible = vec![StrategyName::Query, StrategyName::Each, StrategyName::Direct];
        if facts.inputs_lead_on {
            possible.push(StrategyName::Follow);
        }
        return possible;
    }
    if facts.inputs > 0 {
        let mut possible = match (facts.inputs, facts.inputs_fit_together) {
            (1, false) => vec![StrategyName::Map, StrategyName::Each],
            (_, false) => vec![StrategyName::Map, StrategyName::Each, StrategyName::Compare],
            (1, true) => vec![StrategyName::Direct, StrategyName::Sequence],
            (_, true) => {
                let [direct, map, each] = [StrategyName::Direct, StrategyName::Map, StrategyName::Each];
                vec![direct, map, each, StrategyName::Compare, StrategyName::Sequence]
            }
        };
        if !facts.inputs_fit_together || facts.input_tokens >= LONG_TOKENS {
            possible.push(StrategyName::Find);
        }
        if facts.inputs_lead_on {
            possible.push(StrategyName::Follow);
        }
        return possible;
    }
    match facts.speaks_of_attachment {
        // The conversation has the text.
        _ if facts.conversation_has_it => {}
        Attachment::Yes => return vec![StrategyName::Ask],
        Attachment::Perhaps => return vec![StrategyName::Direct, StrategyName::Ask],
        Attachment::No => {}
    }
    let mut possible = vec![StrategyName::Direct];
    if facts.named_aspects.len() >= 2 || facts.speaks_of_parts {
        possible.push(StrategyName::Parallel);
    }
    // Two numbers make one operation, which one call does as well. From three on, there are steps that
    // ballots may differ in.
    if facts.numbers >= 3 {
        possible.push(StrategyName::Vote);
    }
    possible
}

fn only_choice(strategy: StrategyName, facts: &Facts) -> &'static str {
    match strategy {
        StrategyName::Ask => "the goal mentions an attachment, but there is none",
        _ if facts.arithmetic.is_some() => "it is only arithmetic, which the calculator does",
        _ if facts.inputs == 1 => "one input, which fits one call",
        _ => "one call answers it",
    }
}

fn without_embedder(facts: &Facts, possible: &[StrategyName]) -> StrategyName {
    let map = possible.contains(&StrategyName::Map) && (facts.inputs >= 3 || facts.speaks_of_each);
    let parallel =
        possible.contains(&StrategyName::Parallel) && facts.speaks_of_parts && facts.named_aspects.len() >= 2;
    match (map, parallel) {
        _ if possible.contains(&StrategyName::Query) => StrategyName::Query,
        _ if possible.contains(&StrategyName::Follow) => StrategyName::Follow,
        _ if !facts.inputs_fit_together => StrategyName::Map,
        (true, _) => StrategyName::Map,
        (_, true) => StrategyName::Parallel,
        _ => StrategyName::Direct,
    }
}

/// All examples of the same kind (with inputs or without), closest first.
async fn neighbours(goal: &str, inputs: bool, embed: &dyn Embed) -> Result<Vec<Nearest>, String> {
    let examples: Vec<Example> = examples().into_iter().filter(|example| example.inputs == inputs).collect();
    let mut texts: Vec<&str> = vec![goal];
    texts.extend(examples.iter().map(|example| example.goal.as_str()));
    let vectors = embed.embed(&texts).await?;
    let (goal_vector, vectors) = vectors.split_first().ok_or("the embedder returned no vectors")?;
    if vectors.len() != examples.len() {
        return Err(format!("{} vectors for {} texts", vectors.len() + 1, texts.len()));
    }
    let mut nearest: Vec<Nearest> = examples
        .iter()
        .zip(vectors)
        .map(|(example, vector)| Nearest {
            goal: example.goal.clone(),
            strategy: example.strategy,
            similarity: goal_vector.iter().zip(vector).map(|(a, b)| a * b).sum(),
        })
        .collect();
    nearest.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    Ok(nearest)
}

/// Examples of a strategy that is not available count for the direct one.
fn stands_for(strategy: StrategyName) -> StrategyName {
    if strategy.is_available() { strategy } else { StrategyName::Direct }
}

fn by_nearness(facts: &Facts, possible: &[StrategyName], mut nearest: Vec<Nearest>) -> Choice {
    let score = |strategy: StrategyName| {
        let near: Vec<f32> = nearest
            .iter()
            .filter(|example| stands_for(example.strategy) == strategy)
            .take(NEIGHBOURS)
            .map(|example| example.similarity)
            .collect();
        let nearness = near.iter().sum::<f32>() / near.len().max(1) as f32;
        // If no example is close, nothing speaks against one call.
        let floor = if strategy == StrategyName::Direct { FAR } else { f32::MIN };
        nearness.max(floor) + leaning(strategy, facts)
    };
    let scored: Vec<(StrategyName, f32)> =
        possible.iter().map(|strategy| (*strategy, score(*strategy))).collect();
    let best = scored
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(StrategyName::Direct, |(strategy, _)| *strategy);
    let shown: Vec<String> =
        scored.iter().map(|(strategy, score)| format!("{strategy} {score:.2}")).collect();
    nearest.truncate(NEAREST_SHOWN);
    (best, nearest, format!("similarity to worked examples, and the facts: {}", shown.join(", ")))
}

/// What the facts add to the cosine similarity: enough to decide a close call, not to overturn a clear one.
fn leaning(strategy: StrategyName, facts: &Facts) -> f32 {
    match strategy {
        // Files rarely lead from one to another by chance.
        StrategyName::Follow => 0.15,
        // In a tie, one call is preferred to splitting the goal.
        StrategyName::Direct => 0.03,
        // "Which file" and "compare" ask for a comparison as often as for one at a time.
        StrategyName::Compare if facts.speaks_of_each => 0.05,
        // Whoever attaches nothing but tables mostly asks for what is in their rows.
        StrategyName::Query => 0.2,
        StrategyName::Map | StrategyName::Each => {
            let each = if facts.speaks_of_each { 0.05 } else { 0.0 };
            let many = if facts.inputs >= 3 { 0.05 } else { 0.0 };
            each + many
        }
        // It reads a small part of what the others read.
        StrategyName::Find if facts.inputs == 1 || !facts.speaks_of_each => 0.08,
        StrategyName::Parallel if facts.speaks_of_parts && facts.named_aspects.len() >= 2 => 0.15,
        _ => 0.0,
    }
}
