//! Sentence embeddings: texts of similar meaning get close vectors. The forward function is passed in. It runs on the
//! engine's thread between steps, in pieces, so that no stream waits long. Cancelled work stops after its piece.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bandmaster_engine::{EngineHandle, Job, JobEnd, JobKind, OnJobEnd, Rejected, RequestId};
use tokenizers::Tokenizer;

/// Tokens of one forward pass, special tokens included: the length the model was trained with. Longer texts are split.
const WINDOW_TOKENS: usize = 256;

/// Bytes of text that are tokenized at a time, so that other requests get their turn in between.
const ENCODED_BYTES: usize = 64 << 10;
/// The most bytes of one text. What an embedding model reads at once is a hundredth of it at most.
const TEXT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    #[error("cannot use {}: {reason}; pull the embedding model again", file.display())]
    Tokenizer { file: PathBuf, reason: String },
    /// An id outside the model's vocabulary.
    #[error(
        "token {id} is not in the embedding model's vocabulary of {vocab}: send texts, or ids of its own tokenizer (LangChain: check_embedding_ctx_length=False)"
    )]
    UnknownToken {
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A text longer than `TEXT_BYTES_MAX`.
    #[error("a text has {bytes} bytes, but at most {TEXT_BYTES_MAX} are allowed: send it in parts")]
    TooLong { bytes: usize },
    /// The deadline of the request passed.
    #[error("the texts were not embedded within {} s: send fewer at a time or try again later", .0.as_secs())]
    Deadline(Duration),
    #[error("the text could not be embedded: {0}")]
    Failed(String),
    /// The engine has no room for the job now.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The engine ended before it finished.
    #[error("the engine stopped before the text was embedded")]
    Stopped,
}

/// Computes a vector of length 1 for each text's token ids, special tokens included: the models crate's
/// `Embedder::embed_all`.
pub type Forward = Arc<dyn Fn(&[&[u32]]) -> Result<Vec<Vec<f32>>, String> + Send + Sync>;

/// A sentence-embedding model on an engine.
pub struct TextEmbedder {
    engine: EngineHandle,
    tokenizer: Arc<Tokenizer>,
    /// Lets one thread tokenize at a time, in order of arrival.
    encoding: Arc<tokio::sync::Semaphore>,
    kind: JobKind,
    forward: Forward,
}

impl TextEmbedder {
    /// Reads `tokenizer.json` in the folder `dir`; `forward` is the model that was loaded from the same folder.
    ///
    /// # Errors
    /// [`EmbedError::Tokenizer`] when the file is missing or damaged.
    pub fn load(engine: &EngineHandle, dir: &Path, forward: Forward) -> Result<Self, EmbedError> {
        Ok(Self {
            engine: engine.clone(),
            tokenizer: Arc::new(tokenizer_at(dir)?),
            encoding: Arc::new(tokio::sync::Semaphore::new(1)),
            kind: engine.job_kind(),
            forward,
        })
    }

    /// The number of tokens of `text`, special tokens included.
    ///
    /// # Errors
    /// [`EmbedError::Tokenizer`].
    pub fn count_tokens(&self, text: &str) -> Result<usize, EmbedError> {
        ids_of(&self.tokenizer, text).map(|ids| ids.len())
    }

    /// One vector of length 1 for each text, in order. A text longer than the model reads at once is split, and its
    /// vector is the mean of its parts' vectors, scaled to length 1.
    ///
    /// # Errors
    /// [`EmbedError`] when the engine is full or has ended.
    pub async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let ids = self.encode(texts.iter().map(|&text| text.to_owned()).collect()).await?;
        self.embed_ids(&ids, None).await
    }

    /// Tokenizes texts, special tokens included. If the future is dropped, the work stops after the current part.
    ///
    /// # Errors
    /// [`EmbedError::TooLong`] and [`EmbedError::Tokenizer`].
    pub async fn encode(&self, texts: Vec<String>) -> Result<Vec<Vec<u32>>, EmbedError> {
        if let Some(text) = texts.iter().find(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(EmbedError::TooLong { bytes: text.len() });
        }
        let lengths: Vec<usize> = texts.iter().map(String::len).collect();
        let (mut ids, mut texts) = (Vec::with_capacity(texts.len()), texts.into_iter());
        for count in batch_sizes(&lengths, ENCODED_BYTES) {
            let part: Vec<String> = texts.by_ref().take(count).collect();
            let tokenizer = Arc::clone(&self.tokenizer);
            let encode = move || part.iter().map(|text| ids_of(&tokenizer, text)).collect::<Vec<_>>();
            for text in in_turn(&self.encoding, encode).await? {
                ids.push(text?);
            }
        }
        Ok(ids)
    }

    /// The same for texts that are token ids already, special tokens included. If the future is dropped, the work stops
    /// within a step.
    ///
    /// # Errors
    /// As [`TextEmbedder::embed`], [`EmbedError::UnknownToken`], and [`EmbedError::Deadline`] after `deadline`.
    pub async fn embed_ids(
        &self,
        texts: &[Vec<u32>],
        deadline: Option<Duration>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let vocab = self.tokenizer.get_vocab_size(true);
        if let Some(&id) = texts.iter().flatten().find(|&&id| id as usize >= vocab) {
            return Err(EmbedError::UnknownToken { id, vocab });
        }
        let mut parts: Vec<Vec<u32>> = Vec::new();
        let mut counts = Vec::with_capacity(texts.len());
        for ids in texts {
            let before = parts.len();
            parts.extend(windows(ids, WINDOW_TOKENS));
            counts.push(parts.len() - before);
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let vectors = self.run(parts, deadline).await?;
        let mut vectors = lengths.into_iter().zip(vectors);
        Ok(counts.into_iter().map(|count| mean_direction(vectors.by_ref().take(count))).collect())
    }

    /// Lets the engine compute all texts. It decides how many at a time.
    async fn run(
        &self,
        texts: Vec<Vec<u32>>,
        deadline: Option<Duration>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reply = Arc::new(ReplyOnce(Mutex::new(Some(sender))));
        let forward = Arc::clone(&self.forward);
        let pieces = texts.iter().map(|ids| ids.len() as u32).collect();
        let (run_reply, mut vectors) = (Arc::clone(&reply), Vec::with_capacity(texts.len()));
        let run = move |pieces: Range<usize>| {
            let last = pieces.end == texts.len();
            let part: Vec<&[u32]> = texts[pieces].iter().map(Vec::as_slice).collect();
            match forward(&part) {
                Ok(more) => vectors.extend(more),
                Err(reason) => {
                    run_reply.send(Err(EmbedError::Failed(reason)));
                    return false;
                }
            }
            if last {
                run_reply.send(Ok(std::mem::take(&mut vectors)));
            }
            true
        };
        let on_end = move |end| {
            reply.send(Err(match (end, deadline) {
                (JobEnd::Deadline, Some(deadline)) => EmbedError::Deadline(deadline),
                (JobEnd::Failed(reason), _) => EmbedError::Failed(reason),
                (JobEnd::Deadline | JobEnd::Cancelled, _) => EmbedError::Stopped,
            }));
        };
        let (run, on_end) = (Box::new(run), OnJobEnd::new(on_end));
        let id = self.engine.job(Job { kind: self.kind, pieces, deadline, run, on_end })?;
        let _cancel = CancelOnDrop { engine: &self.engine, id };
        receiver.await.map_err(|_| EmbedError::Stopped)?
    }
}

/// Does work on a blocking thread when its turn has come. The work itself holds the permit, so the permit is held to
/// the end of the work even if nobody waits for it any more.
async fn in_turn<T: Send + 'static>(
    turns: &Arc<tokio::sync::Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EmbedError> {
    // The semaphore is never closed.
    let place = Arc::clone(turns).acquire_owned().await.map_err(|_| EmbedError::Stopped)?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    done.await.map_err(|error| EmbedError::Failed(error.to_string()))
}

type Vectors = Result<Vec<Vec<f32>>, EmbedError>;

/// Where the vectors of a job go. Only the first reply counts.
struct ReplyOnce(Mutex<Option<tokio::sync::oneshot::Sender<Vectors>>>);

impl ReplyOnce {
    fn send(&self, vectors: Vectors) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The receiver may be gone.
        let _ = sender.map(|sender| sender.send(vectors));
    }
}

/// Cancels a job when it is dropped.
struct CancelOnDrop<'a> {
    engine: &'a EngineHandle,
    id: RequestId,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.engine.cancel(self.id);
    }
}

fn ids_of(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, EmbedError> {
    let encoding = tokenizer.encode_fast(text, true);
    let encoding = encoding
        .map_err(|e| EmbedError::Tokenizer { file: "tokenizer.json".into(), reason: e.to_string() })?;
    Ok(encoding.get_ids().to_vec())
}

fn tokenizer_at(dir: &Path) -> Result<Tokenizer, EmbedError> {
    let file = dir.join("tokenizer.json");
    let unusable = |reason: String| EmbedError::Tokenizer { file: file.clone(), reason };
    let mut tokenizer = Tokenizer::from_file(&file).map_err(|e| unusable(e.to_string()))?;
    // The settings in the file cut and pad to a fixed length.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| unusable(e.to_string()))?;
    Ok(tokenizer)
}

/// Cuts `ids`, which begin and end with a special token, into even parts of at most `tokens_max` tokens. Each part
/// begins and ends with the same special tokens.
fn windows(ids: &[u32], tokens_max: usize) -> Vec<Vec<u32>> {
    let [first, middle @ .., last] = ids else { return vec![ids.to_vec()] };
    if ids.len() <= tokens_max {
        return vec![ids.to_vec()];
    }
    let parts = middle.len().div_ceil(tokens_max - 2);
    let framed = |tokens: &[u32]| [&[*first], tokens, &[*last]].concat();
    middle.chunks(middle.len().div_ceil(parts)).map(framed).collect()
}

/// How many of the following texts go into each part of at most `bytes_max` bytes; a longer text goes alone.
fn batch_sizes(lengths: &[usize], bytes_max: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = Vec::new();
    let mut bytes = usize::MAX;
    for &length in lengths {
        bytes = bytes.saturating_add(length);
        match counts.last_mut().filter(|_| bytes <= bytes_max) {
            Some(count) => *count += 1,
            None => {
                counts.push(1);
                bytes = length;
            }
        }
    }
    counts
}

/// The mean of vectors, each weighted by its tokens, scaled to length 1. A single vector is returned unchanged.
fn mean_direction(mut vectors: impl Iterator<Item = (usize, Vec<f32>)>) -> Vec<f32> {
    let Some((tokens, first)) = vectors.next() else { return Vec::new() };
    let Some((more, second)) = vectors.next() else { return first };
    let mut sum: Vec<f32> = first.iter().map(|x| tokens as f32 * x).collect();
    for (tokens, vector) in std::iter::once((more, second)).chain(vectors) {
        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += tokens as f32 * x);
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    sum.iter_mut().for_each(|x| *x /= length);
    sum
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::{batch_sizes, in_turn, windows};

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_keeps_its_place_to_its_end() {
        let turns = Arc::new(tokio::sync::Semaphore::new(1));
        let ((begins, begun), (free, waits)) = (channel(), channel::<()>());
        let first = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let work = move || {
                    begins.send(()).unwrap();
                    // Ends when the test says so.
                    let _ = waits.recv();
                };
                in_turn(&turns, work).await
            })
        };
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let waited = tokio::time::timeout(Duration::from_millis(200), in_turn(&turns, || 2)).await;
        assert!(waited.is_err(), "the first still runs: two at once would take twice the memory");
        free.send(()).unwrap();
        assert_eq!(in_turn(&turns, || 3).await.unwrap(), 3);
    }

    #[test]
    fn parts_are_filled_in_order_and_nothing_is_left_out() {
        assert_eq!(batch_sizes(&[10, 20, 5, 40, 3, 30], 36), [3, 1, 2]);
        assert_eq!(batch_sizes(&[], 36), [0; 0]);
    }

    #[test]
    fn long_texts_are_read_in_even_parts_and_nothing_is_lost() {
        let ids: Vec<u32> = (0..100).collect();
        assert_eq!(windows(&ids, 100), std::slice::from_ref(&ids));
        assert_eq!(windows(&[101, 102], 40), [[101, 102]]);
        let parts = windows(&ids, 40);
        assert!(parts.iter().all(|part| part.len() <= 40 && part[0] == 0 && part[part.len() - 1] == 99));
        let middle: Vec<u32> = parts.iter().flat_map(|part| &part[1..part.len() - 1]).copied().collect();
        assert_eq!(middle, ids[1..99]);
        assert_eq!(parts.len(), 3);
    }
}
