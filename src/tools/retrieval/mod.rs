//! Finds the parts of long documents that answer a question. Who asks, and what is done with the parts, is not known
//! here.
//!
//! 1. `document.rs` and `read/` make a text of a file: Markdown, plain text, code, CSV, HTML, and with the feature `pdf`
//!    PDF.
//! 2. `cut/` cuts the text into parts with their headings and exact spans.
//! 3. `lexical/` ranks the parts by words, with BM25. `vectors.rs` ranks them by meaning, with an embedding model that is
//!    passed in. `fuse.rs` joins both rankings.
//! 4. `index.rs` does it for a set of documents, and `cache.rs` keeps the vectors on disk.
//!
//! MiniLM embeds some 20 kB of sentences a second on two cores, so that 10 MB would take minutes. Therefore a search embeds
//! only the 64 parts that are nearest by words. The words of 10 MB are indexed in seconds and are not kept on disk.
//!
//! The inverted index is the project's own. The library tantivy (0.27, without its default features) brings 45 crates that
//! nothing else here needs, and took 156 s to build for release on two busy cores. It is good at large indexes on disk:
//! segments, merging, compression. Here an index is made anew for each set of documents, so that scores depend on these
//! documents alone.

mod cache;
mod cut;
mod document;
mod error;
mod fuse;
mod index;
mod kept;
mod lexical;
mod read;
#[cfg(test)]
mod tests;
mod vectors;

pub use cut::{Part, cut};
pub use document::{DOCUMENT_BYTES_MAX, Document, Layout};
pub use error::RetrievalError;
pub use index::{Embed, Embedder, Hit, Index};
pub use kept::KeptList;
