//! An index over a set of documents: finds the parts that answer a question best, by words and by meaning.
//!
//! Words are indexed in memory when a document is added. Vectors take far longer, so that only the parts that are
//! nearest by words are embedded, when a search needs them, and their vectors are kept on disk. What a search finds
//! depends on the documents and the query alone, not on what is on disk.

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use super::cache::{Cache, Key, Vectors};
use super::cut::{self, Part};
use super::document::{Document, Layout};
use super::error::RetrievalError;
use super::fuse;
use super::lexical::Lexical;
use super::vectors::Vector;

/// Parts that a search embeds at most: those that are nearest by words. All 9,000 parts of 10 MB would take minutes.
const EMBEDDED_PARTS_MAX: usize = 64;
/// Texts that are given to the embedding model at a time.
const TEXTS_AT_ONCE: usize = 32;

/// Computes a vector of length 1 for each text.
pub type Embed = Box<dyn Fn(&[&str]) -> Result<Vec<Vec<f32>>, String> + Send + Sync>;

/// The model that turns texts into vectors, and the call that does it.
pub struct Embedder {
    /// Names the model and its weights. Vectors of another model are not used.
    pub model: String,
    pub embed: Embed,
}

/// A part that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Number of the document, in the order in which they were added.
    pub document: usize,
    /// Number of the part within the document, from 0.
    pub part: usize,
    /// The headings that the part stands under, outermost first.
    pub headings: Vec<String>,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// The first and the last line, from 1.
    pub lines: RangeInclusive<usize>,
    /// Place among the part's sentences of the one that is nearest.
    pub nearest: usize,
    /// The sentence that is nearest by meaning alone, and its cosine to the query. `None` without an embedding model.
    pub closest: Option<(usize, f64)>,
    /// The page on which the part begins, from 1, if the document has pages.
    pub page: Option<usize>,
    /// Greater is better. Only scores of one search can be compared.
    pub score: f64,
}

struct Indexed {
    document: Document,
    key: Key,
    parts: Vec<Part>,
    /// Number of the first part among the parts of all documents.
    first: u32,
    vectors: Vectors,
    /// Whether all vectors are on disk.
    is_stored: bool,
}

impl Indexed {
    /// What of a part is embedded: each sentence, with the innermost heading. In one vector of the whole part a single
    /// sentence would hardly count.
    fn texts(&self, part: usize) -> impl Iterator<Item = String> {
        let Part { sentences, headings, .. } = &self.parts[part];
        let heading = headings.last().map(|heading| format!("{heading}: ")).unwrap_or_default();
        sentences.iter().map(move |sentence| format!("{heading}{}", &self.document.text[sentence.clone()]))
    }
}

pub struct Index {
    cache: Option<Cache>,
    embedder: Option<Embedder>,
    documents: Vec<Indexed>,
    lexical: Lexical,
    /// Parts of all documents.
    parts: u32,
    cache_problem: Option<RetrievalError>,
}

impl Index {
    /// An index without documents. `cache` is a folder for vectors, which is made if need be; without one they are kept
    /// in memory only. Without an embedder documents are searched by words alone.
    #[must_use]
    pub fn open(cache: Option<&Path>, embedder: Option<Embedder>) -> Self {
        let opened = cache.filter(|_| embedder.is_some()).map(Cache::open).transpose();
        let (cache, cache_problem) = match opened {
            Ok(cache) => (cache, None),
            Err(problem) => (None, Some(problem)),
        };
        Self { cache, embedder, documents: Vec::new(), lexical: Lexical::default(), parts: 0, cache_problem }
    }

    /// Cuts a document and indexes its words. Returns its number.
    pub fn add(&mut self, document: Document) -> usize {
        let parts = cut::cut(&document);
        for part in &parts {
            let headings = part.headings.iter().map(String::as_str);
            let titles: Vec<&str> = headings.chain([document.name.as_str()]).collect();
            let sentences = part.sentences.iter().map(|sentence| &document.text[sentence.clone()]);
            self.lexical.add(&titles, &sentences.collect::<Vec<_>>());
        }
        let model = self.embedder.as_ref().map_or("", |embedder| &embedder.model);
        let key = key(&document, model, cut::VERSION);
        let vectors = self.cache.as_ref().map(|cache| cache.load(key)).unwrap_or_default();
        let first = self.parts;
        self.parts += parts.len() as u32;
        self.documents.push(Indexed { document, key, parts, first, vectors, is_stored: true });
        self.documents.len() - 1
    }

    /// A document by its number.
    #[must_use]
    pub fn document(&self, number: usize) -> Option<&Document> {
        self.documents.get(number).map(|indexed| &indexed.document)
    }

    /// The parts of a document, in its order. They hold all of its text but white space.
    #[must_use]
    pub fn parts(&self, document: usize) -> &[Part] {
        self.documents.get(document).map_or(&[], |indexed| &indexed.parts)
    }

    /// Why vectors were not kept on disk. Searches don't fail for it.
    #[must_use]
    pub fn cache_problem(&self) -> Option<&RetrievalError> {
        self.cache_problem.as_ref()
    }

    /// The `count` best parts, best first. Asking for more gives the same ones and then the next ones.
    ///
    /// # Errors
    /// [`RetrievalError::Embedding`]. Vectors that were computed before are kept.
    pub fn search(&mut self, query: &str, count: usize) -> Result<Vec<Hit>, RetrievalError> {
        let by_words: Vec<u32> = self.lexical.search(query).into_iter().map(|(part, _)| part).collect();
        let (by_meaning, query_vector) = self.by_meaning(query, &by_words)?;
        let fused = fuse::by_rank(&[&by_words, &by_meaning]);
        let words = self.lexical.sentence_scores(query);
        let hit = |(part, score)| self.hit(part, score, &words, query_vector.as_ref());
        Ok(fused.into_iter().take(count).map(hit).collect())
    }

    /// The same without the embedding model.
    #[must_use]
    pub fn search_words(&self, query: &str, count: usize) -> Vec<Hit> {
        let words = self.lexical.sentence_scores(query);
        let found = self.lexical.search(query).into_iter().take(count);
        found.map(|(part, score)| self.hit(part, score, &words, None)).collect()
    }

    /// Whether parts can be compared by meaning.
    #[must_use]
    pub fn has_embedder(&self) -> bool {
        self.embedder.is_some()
    }

    /// The document of a part, and the part's number there.
    fn place(&self, part: u32) -> (usize, usize) {
        let document = self.documents.partition_point(|indexed| indexed.first <= part) - 1;
        (document, (part - self.documents[document].first) as usize)
    }

    /// `words` are the scores of all sentences by words.
    fn hit(&self, part: u32, score: f64, words: &[f64], query: Option<&Vector>) -> Hit {
        let (document, number) = self.place(part);
        let by_meaning = query.and_then(|query| self.by_meaning_within(part, query)).unwrap_or_default();
        let nearest = self.nearest(part, words, &by_meaning);
        let closest = ranked(&by_meaning).first().map(|&at| (at as usize, by_meaning[at as usize]));
        let Part { span, lines, headings, page, .. } = self.documents[document].parts[number].clone();
        Hit { document, part: number, headings, span, lines, nearest, closest, page, score }
    }

    /// The sentence of a part that is nearest by words and by meaning.
    fn nearest(&self, part: u32, words: &[f64], by_meaning: &[f64]) -> usize {
        let words = &words[self.lexical.sentences_of(part)];
        let by_words = ranked(words);
        fuse::by_rank(&[&by_words, &ranked(by_meaning)]).first().map_or(0, |(sentence, _)| *sentence as usize)
    }

    /// The cosine of each sentence of a part to the query.
    fn by_meaning_within(&self, part: u32, query: &Vector) -> Option<Vec<f64>> {
        let (document, number) = self.place(part);
        let vectors = self.documents[document].vectors.get(&(number as u32))?;
        Some(vectors.iter().map(|one| one.cosine(query)).collect())
    }

    /// The parts that are nearest by words, or all if there are few, the nearest in meaning first.
    /// Returns the vector of the query as well.
    fn by_meaning(
        &mut self,
        query: &str,
        by_words: &[u32],
    ) -> Result<(Vec<u32>, Option<Vector>), RetrievalError> {
        if self.embedder.is_none() || self.parts == 0 {
            return Ok((Vec::new(), None));
        }
        // Where words find too little, the first of the other parts are tried.
        let mut is_found = vec![false; self.parts as usize];
        by_words.iter().for_each(|part| is_found[*part as usize] = true);
        let others = (0..self.parts).filter(|part| !is_found[*part as usize]);
        let mut candidates: Vec<u32> =
            by_words.iter().copied().chain(others).take(EMBEDDED_PARTS_MAX).collect();
        candidates.sort_unstable();
        let computed = self.embed_parts(&candidates);
        self.store();
        computed?;
        let query = self.embed(&[query])?.remove(0);
        let nearness = |part: u32| {
            let (document, number) = self.place(part);
            let vectors = self.documents[document].vectors.get(&(number as u32));
            vectors.into_iter().flatten().map(|vector| vector.cosine(&query)).fold(-1.0, f64::max)
        };
        let mut near: Vec<(u32, f64)> = candidates.into_iter().map(|part| (part, nearness(part))).collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok((near.into_iter().map(|(part, _)| part).collect(), Some(query)))
    }

    /// Computes the vectors of the parts that have none yet.
    fn embed_parts(&mut self, parts: &[u32]) -> Result<(), RetrievalError> {
        let mut due: Vec<(usize, u32, usize)> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for &part in parts {
            let (document, number) = self.place(part);
            let indexed = &self.documents[document];
            if !indexed.vectors.contains_key(&(number as u32)) {
                let before = texts.len();
                texts.extend(indexed.texts(number));
                due.push((document, number as u32, texts.len() - before));
            }
        }
        let mut texts = texts.iter().map(String::as_str);
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let (mut some, mut count) = (Vec::new(), 0);
            while let Some(next) =
                due.next_if(|(_, _, sentences)| count == 0 || count + sentences <= TEXTS_AT_ONCE)
            {
                count += next.2;
                some.push(next);
            }
            let batch: Vec<&str> = texts.by_ref().take(count).collect();
            let mut vectors = self.embed(&batch)?.into_iter();
            for (document, number, sentences) in some {
                let indexed = &mut self.documents[document];
                indexed.vectors.insert(number, vectors.by_ref().take(sentences).collect());
                indexed.is_stored = false;
            }
        }
        Ok(())
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, RetrievalError> {
        let Some(embedder) = &self.embedder else { return Ok(Vec::new()) };
        let vectors = (embedder.embed)(texts).map_err(|problem| RetrievalError::Embedding { problem })?;
        if vectors.len() != texts.len() {
            let problem = format!("the model gave {} vectors for {} texts", vectors.len(), texts.len());
            return Err(RetrievalError::Embedding { problem });
        }
        Ok(vectors.iter().map(|vector| Vector::new(vector)).collect())
    }

    /// Keeps new vectors on disk. A failure is remembered, and the search goes on.
    fn store(&mut self) {
        let Some(cache) = &self.cache else { return };
        for indexed in self.documents.iter_mut().filter(|indexed| !indexed.is_stored) {
            match cache.store(indexed.key, &indexed.vectors) {
                Ok(()) => indexed.is_stored = true,
                Err(problem) => self.cache_problem = Some(problem),
            }
        }
    }
}

/// Places of scores, the greatest first.
fn ranked(scores: &[f64]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..scores.len() as u32).collect();
    places.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
    places
}

/// What the vectors of a document depend on.
pub(super) fn key(document: &Document, model: &str, version: u32) -> Key {
    let layout: &[u8] = match document.layout {
        Layout::Markdown => b"markdown",
        Layout::Prose => b"prose",
        Layout::Code => b"code",
        Layout::Records => b"records",
    };
    Key::of(&[document.text.as_bytes(), layout, model.as_bytes(), &version.to_le_bytes()])
}
