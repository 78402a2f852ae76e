//! The strategies, one file or folder each. docs/how-a-run-works.md lists what to do to add one.

mod ask;
mod asking;
mod compare;
mod direct;
mod dropped;
mod each;
mod find;
mod follow;
mod free;
mod limit;
pub(crate) mod map;
mod parallel;
mod query;
mod question;
mod rounds;
mod sequence;
mod vote;
mod weigh;

use std::sync::Arc;

use crate::request::StrategyName;
use crate::strategy::Strategy;

pub use direct::direct_prompt;

/// Every strategy that can be run.
#[must_use]
pub(crate) fn all() -> [Arc<dyn Strategy>; 12] {
    [
        Arc::new(ask::Ask),
        Arc::new(compare::Compare),
        Arc::new(direct::Direct),
        Arc::new(each::Each),
        Arc::new(find::Find),
        Arc::new(follow::Follow),
        Arc::new(free::Free),
        Arc::new(map::Map),
        Arc::new(parallel::Parallel),
        Arc::new(query::Query),
        Arc::new(sequence::Sequence),
        Arc::new(vote::Vote),
    ]
}

/// The strategy of a name; `None` if it can't be run.
#[must_use]
pub(crate) fn named(name: StrategyName) -> Option<Arc<dyn Strategy>> {
    all().into_iter().find(|strategy| strategy.name() == name)
}
