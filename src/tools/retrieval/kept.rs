//! The vectors of a fixed list of texts, kept on disk so that they are computed once.

use std::path::Path;

use super::cache::{Cache, Key, Vectors};
use super::error::RetrievalError;
use super::vectors::Vector;

/// A list of texts whose vectors are kept in a folder.
pub struct KeptList {
    cache: Cache,
    key: Key,
    texts: usize,
}

impl KeptList {
    /// `model` names the embedding model and its weights: vectors of another model are not used.
    ///
    /// # Errors
    /// If the folder can't be made or read.
    pub fn open(folder: &Path, model: &str, texts: &[&str]) -> Result<Self, RetrievalError> {
        let facts: Vec<&[u8]> = [b"list".as_slice(), model.as_bytes()]
            .into_iter()
            .chain(texts.iter().map(|text| text.as_bytes()))
            .collect();
        Ok(Self { cache: Cache::open(folder)?, key: Key::of(&facts), texts: texts.len() })
    }

    /// One vector for each text, of nearly length 1; `None` if they are not kept.
    #[must_use]
    pub fn load(&self) -> Option<Vec<Vec<f32>>> {
        let vectors = self.cache.load(self.key).remove(&0).filter(|vectors| vectors.len() == self.texts)?;
        Some(vectors.iter().map(Vector::values).collect())
    }

    /// # Errors
    /// If the file can't be written.
    pub fn store(&self, vectors: &[Vec<f32>]) -> Result<(), RetrievalError> {
        let vectors = vectors.iter().map(|vector| Vector::new(vector)).collect();
        self.cache.store(self.key, &Vectors::from([(0, vectors)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_loaded_for_the_same_texts_and_model_only() {
        let folder = tempfile::tempdir().unwrap();
        let open = |model: &str, texts: &[&str]| KeptList::open(folder.path(), model, texts).unwrap();
        let vectors = vec![vec![0.6, 0.8, 0.0], vec![0.0, -1.0, 0.0]];
        assert!(open("m", &["a", "b"]).load().is_none());
        open("m", &["a", "b"]).store(&vectors).unwrap();
        let loaded = open("m", &["a", "b"]).load().unwrap();
        let far = |(a, b): (&f32, &f32)| (a - b).abs() > 0.005;
        assert!(!loaded.iter().flatten().zip(vectors.iter().flatten()).any(far), "{loaded:?}");
        assert!(open("m", &["a", "c"]).load().is_none() && open("n", &["a", "b"]).load().is_none());
    }
}
