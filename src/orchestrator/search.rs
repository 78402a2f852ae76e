//! Searches the inputs of a run: cuts them into parts and finds those that are nearest to some words, by words and, with
//! an embedding model, by meaning. What is searched for and what becomes of it is up to the strategy.

use std::sync::Arc;

use bandmaster_tools::retrieval::{Document, Embedder, Hit, Index};

use super::band::Embed;
use super::blocking::run_blocking;
use super::event::{Closest, EventKind, Found, Search};
use super::goal::Goal;
use super::request::Input;
use super::strategy::SearchAsked;

/// Does a search. If the embedding model fails, words alone decide.
pub(crate) async fn search(embed: Option<Arc<dyn Embed>>, goal: &Arc<Goal>, asked: SearchAsked) -> EventKind {
    let goal = Arc::clone(goal);
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let kept = embed.as_ref().and_then(|embed| embed.kept().cloned());
        let embedder = embed.map(|embed| Embedder {
            model: kept.as_ref().map_or_else(String::new, |kept| kept.model.clone()),
            embed: Box::new(move |texts| runtime.block_on(embed.embed(texts))),
        });
        let mut index = Index::open(kept.as_ref().map(|kept| kept.folder.as_path()), embedder);
        found(&mut index, &goal.inputs, asked)
    };
    EventKind::InputsSearched { search: run_blocking(work).await }
}

/// What an index without documents finds in the inputs.
pub(crate) fn found(index: &mut Index, inputs: &[Input], asked: SearchAsked) -> Search {
    for input in inputs {
        index.add(document(input));
    }
    let SearchAsked { query, parts_max } = asked;
    let parts = (0..inputs.len()).map(|input| index.parts(input).len()).sum();
    let by_meaning = if index.has_embedder() { index.search(&query, parts_max).ok() } else { None };
    let (hits, by_meaning) = match by_meaning {
        Some(hits) => (hits, true),
        None => (index.search_words(&query, parts_max), false),
    };
    let cosines: Vec<f64> = hits.iter().filter_map(|hit| hit.closest).map(|(_, cosine)| cosine).collect();
    let found = |hit: Hit| {
        let sentences = index.parts(hit.document)[hit.part].sentences.clone();
        let closest = hit.closest.map(|(sentence, cosine)| Closest {
            sentence,
            rank: cosines.iter().filter(|other| **other > cosine).count(),
        });
        Found { input: hit.document, bytes: hit.span, sentences, nearest: hit.nearest, closest }
    };
    Search { query, parts_max, parts, by_meaning, found: hits.into_iter().map(found).collect() }
}

/// An input as it is. Of HTML, the search would take the text out of the tags, and no place in it could be cited.
fn document(input: &Input) -> Document {
    let laid_out = Document::from_text(&input.name, &input.text).ok();
    let layout = laid_out.filter(|document| document.text == input.text).map(|document| document.layout);
    Document {
        name: input.name.clone(),
        text: input.text.clone(),
        layout: layout.unwrap_or(bandmaster_tools::retrieval::Layout::Prose),
    }
}
