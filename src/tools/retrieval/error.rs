//! What can go wrong when documents are read and searched, as values that say what, where, and what to do.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetrievalError {
    #[error("{document} can't be read: {why}")]
    Unreadable { document: String, why: String },
    #[error("{document} has {bytes} bytes, but at most {most} can be searched: split it")]
    TooLarge { document: String, bytes: usize, most: usize },
    #[error(
        "the parts of the documents could not be embedded: {problem}: search by words alone, or try again"
    )]
    Embedding { problem: String },
    /// The search itself went well: only its vectors were not kept, and the next search computes them again.
    #[error(
        "{path}: {problem}: free space there or name another folder; until then vectors are computed again"
    )]
    Cache { path: String, problem: String },
}
