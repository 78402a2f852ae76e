//! Finds where a text of a run has occurred before in it, to pack event bodies (`packed.rs`). The earlier texts are kept
//! in memory as long as the run is written, with a table from windows of a few bytes to places. Source of the method:
//! the LZ4 block format's fast compressor, with the run's earlier texts as its window.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::packed::{DICTIONARY, Packer, Reference, Source};

/// Shortest stretch that is found in the dictionary, and in the run itself.
const DICTIONARY_WINDOW: usize = 8;
const RUN_WINDOW: usize = 12;
/// Most bytes of a run's texts that are kept. What comes after them is stored without references to it.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Slots of the table that are looked at for one window.
const PROBES: usize = 4;
/// In texts of at least this size only each eighth window is entered.
const LONG_BYTES: usize = 64 << 10;
const LONG_STRIDE: usize = 8;
/// After so many bytes in which nothing was found, a text counts as new.
const NEW_BYTES: usize = 4 << 10;
/// The last literals of a body are not entered yet, because a match may grow backwards over them.
const OPEN_BYTES: usize = 32;

static IN_DICTIONARY: LazyLock<Windows<DICTIONARY_WINDOW>> = LazyLock::new(|| {
    let mut windows = Windows::default();
    windows.enter(DICTIONARY.as_bytes(), 0..DICTIONARY.len(), 1);
    windows
});

/// A table from windows of `W` bytes to the first place where each occurs.
#[derive(Debug, Default)]
struct Windows<const W: usize> {
    /// Place + 1, or 0. Its length is a power of two.
    slots: Vec<u32>,
    entered: usize,
}

impl<const W: usize> Windows<W> {
    /// Enters each `stride`-th window that begins at `places` of `text`.
    fn enter(&mut self, text: &[u8], places: std::ops::Range<usize>, stride: usize) {
        for place in places.step_by(stride).take_while(|place| place + W <= text.len()) {
            if 2 * self.entered >= self.slots.len() {
                self.grow(text);
            }
            self.put(text, place);
        }
    }

    fn put(&mut self, text: &[u8], place: usize) {
        let window = &text[place..place + W];
        for slot in probes(window, self.slots.len()) {
            match self.slots[slot] {
                0 => {
                    self.slots[slot] = place as u32 + 1;
                    self.entered += 1;
                    return;
                }
                there if text.get(there as usize - 1..there as usize - 1 + W) == Some(window) => return,
                _ => {}
            }
        }
    }

    fn grow(&mut self, text: &[u8]) {
        let slots = vec![0; (2 * self.slots.len()).max(1 << 10)];
        let old = std::mem::replace(&mut self.slots, slots);
        self.entered = 0;
        let fits = |place: &usize| place + W <= text.len();
        let mut places: Vec<usize> =
            old.iter().filter(|place| **place > 0).map(|place| *place as usize - 1).filter(fits).collect();
        places.sort_unstable();
        places.into_iter().for_each(|place| self.put(text, place));
    }

    /// The places where the first window of `wanted` occurs.
    fn places(&self, text: &[u8], wanted: &[u8]) -> impl Iterator<Item = usize> + use<W> {
        let mut found = [None; PROBES];
        if let (Some(window), false) = (wanted.get(..W), self.slots.is_empty()) {
            for (found, slot) in found.iter_mut().zip(probes(window, self.slots.len())) {
                let Some(place) = (self.slots[slot] as usize).checked_sub(1) else { break };
                *found = Some(place).filter(|place| text.get(*place..place + W) == Some(window));
            }
        }
        found.into_iter().flatten()
    }
}

/// The slots in which a window may be.
fn probes(window: &[u8], slots: usize) -> impl Iterator<Item = usize> + use<> {
    let word = |at: usize| window[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let mixed = word(0) ^ word(window.len() - 8).rotate_left(23);
    let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (0..PROBES).map(move |probe| (hash as usize + probe) & (slots - 1))
}

/// Of a text of this size, how many windows lie between two that are entered.
fn stride_of(bytes: usize) -> usize {
    if bytes < LONG_BYTES { 1 } else { LONG_STRIDE }
}

/// The earlier texts of a run.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The texts, one after the other.
    text: Vec<u8>,
    /// Where each begins in `text`.
    sources: Vec<(usize, Source)>,
    windows: Windows<RUN_WINDOW>,
    /// Number of the run's last event.
    pub(super) last_seq: u64,
}

/// A stretch of text that has occurred before.
struct Match {
    /// Bytes before the place where it was found that are the same as well.
    back: usize,
    to: Reference,
}

impl Index {
    /// Memory that it uses.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + 4 * self.windows.slots.len()
    }

    /// Adds a text that is stored as it is.
    pub(super) fn add(&mut self, source: Source, text: &[u8]) {
        if self.text.len() + text.len() > KEPT_BYTES_MAX {
            return;
        }
        let begin = self.begin(source);
        self.text.extend(text);
        self.enter(begin);
    }

    /// Packs the body of the event that comes next; `None` if it is best stored as it is. Later events can refer to it.
    pub(super) fn pack(&mut self, seq: u64, body: &str) -> Option<Vec<u8>> {
        self.last_seq = seq;
        let (source, bytes) = (Source::Event(seq), body.as_bytes());
        if self.text.len() + bytes.len() > KEPT_BYTES_MAX {
            return None;
        }
        let begin = self.begin(source);
        let mut packer = Packer::default();
        // Up to where the body is packed, and its literals are entered.
        let (mut at, mut entered) = (0, begin);
        // Length of the text when the last reference was made.
        let mut referred = begin;
        while at < bytes.len() {
            let closed = referred.max(entered);
            let open = self.text.len() - closed;
            let Some(Match { back, to }) = self.find(&bytes[at..], &bytes[at - open..at], closed) else {
                // In a long new text the looks are further apart. What is found then grows backwards.
                let step = if self.text.len() - referred < NEW_BYTES { 1 } else { LONG_STRIDE };
                let until = bytes.len().min(at + step);
                self.text.extend(&bytes[at..until]);
                at = until;
                if self.text.len() - entered >= 2 * OPEN_BYTES {
                    let until = self.text.len() - OPEN_BYTES;
                    self.windows.enter(&self.text, entered..until - RUN_WINDOW, stride_of(bytes.len()));
                    entered = until - RUN_WINDOW;
                }
                continue;
            };
            self.text.truncate(self.text.len() - back);
            packer.refer(self.text.len() - referred, to);
            at += to.bytes - back;
            referred = self.text.len();
        }
        let packed = packer.finish(body, &self.text[begin..]);
        if packed.is_none() {
            // Places that were entered stay in the table. What is found there is compared in any case.
            self.text.truncate(begin);
            self.text.extend(bytes);
        }
        self.enter(begin);
        packed
    }

    fn begin(&mut self, source: Source) -> usize {
        self.sources.push((self.text.len(), source));
        self.text.len()
    }

    fn enter(&mut self, begin: usize) {
        self.windows.enter(&self.text, begin..self.text.len(), stride_of(self.text.len() - begin));
    }

    /// The longest stretch of the known text up to `closed` with which `text` begins, and how far it reaches back into
    /// `before`.
    fn find(&self, text: &[u8], before: &[u8], closed: usize) -> Option<Match> {
        let known = &self.text[..closed];
        let in_run = self.windows.places(known, text).map(|place| {
            let at = self.sources.partition_point(|(begin, _)| *begin <= place) - 1;
            let (begin, source) = self.sources[at];
            let end = self.sources.get(at + 1).map_or(closed, |(end, _)| *end);
            Match::of(source, &known[begin..end], place - begin, text, before)
        });
        let dictionary = DICTIONARY.as_bytes();
        let in_dictionary = IN_DICTIONARY
            .places(dictionary, text)
            .map(|place| Match::of(Source::Dictionary, dictionary, place, text, before));
        // Of equal lengths the last wins, which costs fewer bytes and depends on no other event.
        let found = in_run.filter(|found| found.to.bytes >= RUN_WINDOW).chain(in_dictionary);
        found.max_by_key(|found| found.to.bytes)
    }
}

impl Match {
    /// The match at `place` of a source's text.
    fn of(source: Source, known: &[u8], place: usize, text: &[u8], before: &[u8]) -> Self {
        let same = |(one, other): &(&u8, &u8)| one == other;
        let ahead = known[place..].iter().zip(text).take_while(same).count();
        let back = known[..place].iter().rev().zip(before.iter().rev()).take_while(same).count();
        Self { back, to: Reference { source, offset: place - back, bytes: ahead + back } }
    }
}

/// Most memory for the indexes of the runs that are being written. Of those that are dropped, the texts are read again
/// when their runs go on.
const INDEXES_BYTES_MAX: usize = 64 << 20;

/// The indexes of the runs that are being written, the last used last.
#[derive(Debug, Default)]
pub(super) struct Indexes(Mutex<Vec<(String, Index)>>);

impl Indexes {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Index)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, run: &str) -> Option<Index> {
        let mut indexes = self.lock();
        let place = indexes.iter().position(|(id, _)| id == run)?;
        Some(indexes.remove(place).1)
    }

    pub(super) fn put(&self, run: &str, index: Index) {
        let mut indexes = self.lock();
        indexes.push((run.to_owned(), index));
        let mut bytes: usize = indexes.iter().map(|(_, index)| index.bytes()).sum();
        while bytes > INDEXES_BYTES_MAX && indexes.len() > 1 {
            bytes -= indexes.remove(0).1.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
