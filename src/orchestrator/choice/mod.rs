//! Chooses the strategy for a goal. Countable facts say which strategies are possible; what is learnt from worked
//! examples, which are data (`examples.jsonl`), says which of them is meant.

mod aspects;
mod columns;
mod enumeration;
mod facts;
mod ridge;
#[cfg(test)]
mod tests;
mod titles;
pub(crate) mod why;
mod words;

use std::sync::Arc;

use bandmaster_tools::retrieval::KeptList;
use serde::Deserialize;

use super::band::Embed;
use super::blocking::{Counts, run_blocking};
use super::request::{RunRequest, StrategyName};
use why::{Attachment, Facts, Nearest, StrategyWhy};

pub(crate) use aspects::list_item;
pub(crate) use columns::named_columns;
pub(crate) use enumeration::PART_NOUNS;
pub(crate) use facts::ANSWER_TOKENS_RESERVED;

/// One goal per line, with the best strategy for it and whether anything was attached.
const EXAMPLES: &str = include_str!("examples.jsonl");

/// Examples shown in `strategy_why`.
const NEAREST_SHOWN: usize = 5;

/// From this many on, inputs are many.
const MANY: usize = 3;

/// The score from which on a goal is at all like the examples of a strategy.
const FAR: f64 = 0.1;

/// From this length on, inputs are searched rather than read if only a fact is wanted. The planner of the default band
/// takes over ten seconds to read so much on two cores.
const LONG_TOKENS: usize = 3000;

/// From this length on, reading everything takes minutes.
const VERY_LONG_TOKENS: usize = 50_000;

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
    match likeness(&request.goal, facts.inputs > 0, embed).await {
        Ok(likeness) => by_likeness(facts, &possible, likeness),
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
        // Each of several logs may be a row of the table that is asked for.
        if facts.inputs >= MANY && facts.speaks_of_table {
            possible.push(StrategyName::Map);
        }
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
        possible.push(StrategyName::Find);
        if facts.inputs_lead_on {
            possible.push(StrategyName::Follow);
        }
        if facts.inputs_fit_together && facts.named_aspects.len() >= 2 {
            possible.push(StrategyName::Parallel);
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
    if facts.speaks_of_steps {
        possible.push(StrategyName::Sequence);
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
    let map = possible.contains(&StrategyName::Map) && (facts.inputs >= MANY || facts.speaks_of_each);
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

/// How much a goal is like the examples.
struct Likeness {
    /// Scores of the strategies that have examples, near 1 for one that the goal is like.
    scores: Vec<(StrategyName, f64)>,
    /// The closest examples, closest first.
    nearest: Vec<Nearest>,
}

/// Compares a goal with all examples of the same kind, with inputs or without.
async fn likeness(goal: &str, inputs: bool, embed: &dyn Embed) -> Result<Likeness, String> {
    let examples = Arc::new(examples());
    let vectors = example_vectors(&examples, embed).await?;
    let goal = embed.embed(&[goal]).await?.pop().ok_or("no vector for the goal")?;
    Ok(run_blocking(move || compared(&goal, inputs, &examples, &vectors)).await)
}

/// Solves for the scores, which takes some milliseconds.
fn compared(goal: &[f32], inputs: bool, examples: &[Example], vectors: &[Vec<f32>]) -> Likeness {
    let same_kind = examples.iter().zip(vectors).filter(|(example, _)| example.inputs == inputs);
    let (examples, vectors): (Vec<&Example>, Vec<&[f32]>) =
        same_kind.map(|(example, vector)| (example, vector.as_slice())).unzip();
    let mut strategies: Vec<StrategyName> = Vec::new();
    let mut class_of = |strategy: StrategyName| {
        strategies.iter().position(|known| *known == strategy).unwrap_or_else(|| {
            strategies.push(strategy);
            strategies.len() - 1
        })
    };
    let classes: Vec<usize> = examples.iter().map(|example| class_of(stands_for(example.strategy))).collect();
    let scores = ridge::scores(goal, &vectors, &classes, strategies.len());
    let cosine = |vector: &[f32]| goal.iter().zip(vector).map(|(a, b)| a * b).sum();
    let mut nearest: Vec<Nearest> = examples
        .iter()
        .zip(&vectors)
        .map(|(example, vector)| Nearest {
            goal: example.goal.clone(),
            strategy: example.strategy,
            similarity: cosine(vector),
        })
        .collect();
    nearest.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    nearest.truncate(NEAREST_SHOWN);
    Likeness { scores: strategies.into_iter().zip(scores).collect(), nearest }
}

/// The vectors of all examples, computed only if the embedder's folder hasn't got them.
async fn example_vectors(examples: &Arc<Vec<Example>>, embed: &dyn Embed) -> Result<Vec<Vec<f32>>, String> {
    let texts: Vec<&str> = examples.iter().map(|example| example.goal.as_str()).collect();
    let kept = match embed.kept().cloned() {
        Some(kept) => {
            let examples = Arc::clone(examples);
            run_blocking(move || {
                let texts: Vec<&str> = examples.iter().map(|example| example.goal.as_str()).collect();
                // A folder that can't be used costs time and nothing else.
                KeptList::open(&kept.folder, &kept.model, &texts).ok().map(|list| (list.load(), list))
            })
            .await
        }
        None => None,
    };
    let list = match kept {
        Some((Some(vectors), _)) => return Ok(vectors),
        other => other.map(|(_, list)| list),
    };
    let vectors = embed.embed(&texts).await?;
    if vectors.len() != texts.len() {
        return Err(format!("{} vectors for {} texts", vectors.len(), texts.len()));
    }
    let Some(list) = list else { return Ok(vectors) };
    // Vectors are kept in less space, and a first run must choose as the later ones do.
    let stored = move || list.store(&vectors).ok().and_then(|()| list.load()).unwrap_or(vectors);
    Ok(run_blocking(stored).await)
}

/// Examples of a strategy that is not available count for the direct one.
fn stands_for(strategy: StrategyName) -> StrategyName {
    if strategy.is_available() { strategy } else { StrategyName::Direct }
}

fn by_likeness(facts: &Facts, possible: &[StrategyName], likeness: Likeness) -> Choice {
    let of = |strategy: StrategyName| {
        likeness.scores.iter().find(|(known, _)| *known == strategy).map_or(0.0, |(_, score)| *score)
    };
    let score = |strategy: StrategyName| {
        let own = match strategy {
            // If no example is close, nothing speaks against one call. It can also read what leads from file to file.
            StrategyName::Direct if possible.contains(&StrategyName::Follow) => of(strategy).max(FAR),
            StrategyName::Direct => of(strategy).max(of(StrategyName::Follow)).max(FAR),
            _ => of(strategy),
        };
        own + leaning(strategy, facts)
    };
    let scored: Vec<(StrategyName, f64)> =
        possible.iter().map(|strategy| (*strategy, score(*strategy))).collect();
    let best = scored
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(StrategyName::Direct, |(strategy, _)| *strategy);
    let shown: Vec<String> =
        scored.iter().map(|(strategy, score)| format!("{strategy} {score:.2}")).collect();
    let because = format!("likeness to worked examples, and the facts: {}", shown.join(", "));
    (best, likeness.nearest, because)
}

/// What the facts add to the score. Most of it decides a close call; a table or headings that are asked for, tables alone
/// and very long inputs overturn a clear one.
fn leaning(strategy: StrategyName, facts: &Facts) -> f64 {
    match strategy {
        // Files rarely lead from one to another by chance.
        StrategyName::Follow => 0.15,
        // In a tie, one call is preferred to splitting the goal.
        StrategyName::Direct => 0.03,
        StrategyName::Compare if facts.speaks_of_contradiction => 0.25,
        // "Which file" and "compare" ask for a comparison as often as for one at a time.
        StrategyName::Compare if facts.speaks_of_each => 0.05,
        // Whoever attaches nothing but tables mostly asks for what is in their rows.
        StrategyName::Query => 0.3,
        // Only a map makes a table.
        StrategyName::Map if facts.speaks_of_table && facts.inputs >= MANY => 0.5,
        StrategyName::Map | StrategyName::Each => {
            let each = if facts.speaks_of_each { 0.05 } else { 0.0 };
            let many = if facts.inputs >= MANY { 0.05 } else { 0.0 };
            each + many
        }
        // It reads a small part of what the others read. "Which" asks for one thing in a library of long texts.
        StrategyName::Find if facts.input_tokens >= VERY_LONG_TOKENS => 0.35,
        StrategyName::Find
            if facts.input_tokens >= LONG_TOKENS && (facts.inputs == 1 || !facts.speaks_of_each) =>
        {
            0.08
        }
        // No other strategy checks headings and the limits of what stands under them.
        StrategyName::Parallel if facts.speaks_of_parts && facts.named_aspects.len() >= 2 => 0.3,
        _ => 0.0,
    }
}
