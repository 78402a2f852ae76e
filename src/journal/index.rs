//! Finds where a text of a run has occurred before in it, to pack event bodies (`packed.rs`). The earlier texts are kept
//! in memory as long as the run is written, with a table from windows of a few bytes to places. Source of the method:
//! the LZ4 block format's fast compressor, with the run's earlier texts as its window.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::packed::{DICTIONARY, Packer, Reference, Source};

/// Shortest stretch that is found in the dictionary, and in the run itself.
const DICTIONARY_WINDOW: usize = 8;
const RUN_WINDOW: usize = 12;
/// Most bytes of a run's texts that are kept. Nothing refers to what comes after them.
const KEPT_BYTES_MAX: usize = 28 << 20;
/// Most slots of a table, 4 MiB. When half of them are in use, every second window is taken out, and from then on only
/// half as many are entered.
const SLOTS_MAX: usize = 1 << 20;
/// Slots of the table that are looked at for one window.
const PROBES: usize = 4;
/// In texts of at least this size only each eighth window is entered.
const LONG_BYTES: usize = 64 << 10;
const LONG_STRIDE: usize = 8;
/// After so many bytes in which nothing was found, a text counts as new, and the looks are further apart. Their distance
/// is odd, while windows are entered at multiples of powers of two: whatever the alignment of a repeated stretch, one of
/// the looks meets a window.
const NEW_BYTES: usize = 4 << 10;
const NEW_STRIDE: usize = 7;
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
    /// Only windows at multiples of 2 to the power of this are entered.
    sparse: u32,
}

impl<const W: usize> Windows<W> {
    /// Enters the windows that begin at `places` of `text`, at multiples of `stride`.
    fn enter(&mut self, text: &[u8], places: std::ops::Range<usize>, stride: usize) {
        let end = places.end.min((text.len() + 1).saturating_sub(W));
        let mut place = places.start.next_multiple_of(stride.max(1 << self.sparse));
        while place < end {
            if 2 * self.entered >= self.slots.len() {
                self.make_room(text);
            }
            self.put(text, place);
            place = (place + 1).next_multiple_of(stride.max(1 << self.sparse));
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

    /// Enlarges the table, or takes windows out if it has its full size.
    fn make_room(&mut self, text: &[u8]) {
        let slots = (2 * self.slots.len()).clamp(1 << 10, SLOTS_MAX);
        self.sparse += u32::from(slots == self.slots.len());
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        self.entered = 0;
        let stride = 1 << self.sparse;
        let fits = |place: &usize| place + W <= text.len() && place.is_multiple_of(stride);
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
    /// Set if there is no memory for the texts: what the index would take with them. Then only the dictionary is
    /// searched.
    left_out: Option<usize>,
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
    fn bytes(&self) -> usize {
        self.text.capacity() + 4 * self.windows.slots.len()
    }

    /// Whether the texts are left out, because there is no memory for them.
    pub(super) fn is_left_out(&self) -> bool {
        self.left_out.is_some()
    }

    /// Frees the texts and remembers how much memory they took.
    fn leave_out(&mut self) {
        let bytes = self.left_out.unwrap_or_else(|| self.bytes());
        *self = Self { left_out: Some(bytes), last_seq: self.last_seq, ..Self::default() };
    }

    /// Whether a text of this size can be kept.
    fn has_room(&self, bytes: usize) -> bool {
        !self.is_left_out() && self.text.len() + bytes <= KEPT_BYTES_MAX
    }

    /// Makes room for a text without doubling what is there.
    fn reserve(&mut self, bytes: usize) {
        if self.text.capacity() - self.text.len() < bytes {
            let more = KEPT_BYTES_MAX.saturating_sub(self.text.len() + bytes).min(self.text.len() / 8);
            self.text.reserve_exact(bytes + more);
        }
    }

    /// Adds a text that is stored as it is.
    pub(super) fn add(&mut self, source: Source, text: &[u8]) {
        if !self.has_room(text.len()) {
            return;
        }
        self.reserve(text.len());
        let begin = self.begin(source);
        self.text.extend(text);
        self.enter(begin);
    }

    /// Packs the body of the event that comes next; `None` if it is best stored as it is. Later events can refer to it if
    /// there is room for it.
    pub(super) fn pack(&mut self, seq: u64, body: &str) -> Option<Vec<u8>> {
        self.last_seq = seq;
        let bytes = body.as_bytes();
        self.left_out = self.left_out.map(|left_out| left_out + bytes.len());
        let is_kept = self.has_room(bytes.len());
        self.reserve(bytes.len());
        let begin = self.begin(Source::Event(seq));
        let mut packer = Packer::default();
        // Up to where the body is packed, and its literals are entered.
        let (mut at, mut entered) = (0, begin);
        // Length of the text when the last reference was made.
        let mut referred = begin;
        while at < bytes.len() {
            let closed = referred.max(entered);
            let open = self.text.len() - closed;
            let Some(Match { back, to }) = self.find(&bytes[at..], &bytes[at - open..at], closed) else {
                // What is found between two looks that are further apart grows backwards.
                let step = if self.text.len() - referred < NEW_BYTES { 1 } else { NEW_STRIDE };
                let until = bytes.len().min(at + step);
                self.text.extend(&bytes[at..until]);
                at = until;
                if is_kept && self.text.len() - entered >= 2 * OPEN_BYTES {
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
        if !is_kept {
            self.sources.pop();
            self.text.truncate(begin);
            self.text.shrink_to(if self.is_left_out() { 0 } else { KEPT_BYTES_MAX });
            return packed;
        }
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

/// Most memory for the indexes of the runs that are being written.
const INDEXES_BYTES_MAX: usize = 64 << 20;
/// A run to which nothing was added for so long gives up its texts when another one needs the memory.
const IDLE_MIN: Duration = Duration::from_secs(60);

/// The indexes of the runs that are being written. A run for whose texts there is no memory is written without them, as
/// long as that is so: to read them again for each event would delay all runs.
#[derive(Debug)]
pub(super) struct Indexes {
    /// The last used last.
    list: Mutex<Vec<Used>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Used {
    run: String,
    index: Index,
    at: Instant,
}

impl Default for Indexes {
    fn default() -> Self {
        Self { list: Mutex::default(), bytes_max: INDEXES_BYTES_MAX }
    }
}

impl Indexes {
    fn lock(&self) -> MutexGuard<'_, Vec<Used>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of a run; `None` if its texts are to be read, because they never were or there is memory for them again.
    pub(super) fn take(&self, run: &str) -> Option<Index> {
        let mut indexes = self.lock();
        let place = indexes.iter().position(|used| used.run == run)?;
        let index = indexes.remove(place).index;
        let reads_again = index.left_out.is_some_and(|bytes| self.make_room(&mut indexes, bytes));
        (!reads_again).then_some(index)
    }

    pub(super) fn put(&self, run: &str, mut index: Index) {
        let mut indexes = self.lock();
        if !self.make_room(&mut indexes, index.bytes()) {
            index.leave_out();
        }
        indexes.push(Used { run: run.to_owned(), index, at: Instant::now() });
    }

    /// Whether there is memory for an index of this size beside the others, if need be without the texts of idle runs.
    fn make_room(&self, indexes: &mut [Used], bytes: usize) -> bool {
        let room = self.bytes_max.saturating_sub(bytes);
        let mut others: usize = indexes.iter().map(|used| used.index.bytes()).sum();
        let is_idle = |used: &&mut Used| !used.index.is_left_out() && used.at.elapsed() >= IDLE_MIN;
        for used in indexes.iter_mut().filter(is_idle) {
            if others <= room {
                break;
            }
            others -= used.index.bytes();
            used.index.leave_out();
        }
        others <= room
    }
}

#[cfg(test)]
mod tests;
