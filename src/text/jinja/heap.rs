//! Counts the fuel and the memory of one rendering. Values give their bytes back when they are dropped, and growing
//! values are counted while they grow.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::{Error, Limits, Result};
use crate::Cancellation;

/// Bytes that are written or compared for one unit of fuel.
const BYTES_PER_STEP: usize = 16;
/// Steps between two checks whether anyone still waits for the text: some milliseconds.
const STEPS_BETWEEN: u64 = 1 << 15;

/// Clones share one meter.
#[derive(Clone, Debug)]
pub(super) struct Heap(Rc<Meter>);

#[derive(Debug)]
struct Meter {
    fuel: Cell<u64>,
    /// The fuel level at which to check next whether anyone still waits.
    asked_at: Cell<u64>,
    live_bytes: Cell<usize>,
    bytes_max: usize,
    cancellation: Cancellation,
}

/// Bytes that count as used until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: usize,
    heap: Heap,
}

impl Heap {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Rc::new(Meter {
            fuel: Cell::new(limits.fuel),
            asked_at: Cell::new(limits.fuel),
            live_bytes: Cell::new(0),
            bytes_max: limits.bytes,
            cancellation: limits.cancellation.clone(),
        }))
    }

    /// Takes fuel for `steps`.
    pub(super) fn burn(&self, steps: u64) -> Result<()> {
        let meter = &self.0;
        let Some(left) = meter.fuel.get().checked_sub(steps) else {
            meter.fuel.set(0);
            return Err(Error::Limit("it ran too long".into()));
        };
        meter.fuel.set(left);
        if left <= meter.asked_at.get() {
            meter.asked_at.set(left.saturating_sub(STEPS_BETWEEN));
            if meter.cancellation.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// Takes fuel for reading or writing so many bytes.
    pub(super) fn touch(&self, bytes: usize) -> Result<()> {
        self.burn((bytes / BYTES_PER_STEP) as u64 + 1)
    }

    /// Takes fuel for work on each byte that is more expensive than reading or writing it.
    pub(super) fn work(&self, bytes: usize) -> Result<()> {
        self.burn(bytes as u64 + 1)
    }

    /// Checks that `bytes` more would fit, before they are allocated.
    pub(super) fn room(&self, bytes: usize) -> Result<()> {
        let meter = &self.0;
        if meter.live_bytes.get().saturating_add(bytes) > meter.bytes_max {
            let problem = format!("it needs more than {} MB of memory", meter.bytes_max / 1_000_000);
            return Err(Error::Limit(problem));
        }
        self.touch(bytes)
    }

    pub(super) fn charge(&self, bytes: usize) -> Result<Charge> {
        self.room(bytes)?;
        self.0.live_bytes.set(self.0.live_bytes.get() + bytes);
        Ok(Charge { bytes, heap: self.clone() })
    }
}

impl Charge {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<()> {
        self.heap.room(bytes)?;
        let live = &self.heap.0.live_bytes;
        live.set(live.get() + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let live = &self.heap.0.live_bytes;
        live.set(live.get() - self.bytes);
    }
}

/// A text that is counted while it grows.
#[derive(Debug)]
pub(super) struct Buffer {
    text: String,
    bytes_max: usize,
    charge: Charge,
}

impl Buffer {
    pub(super) fn new(heap: &Heap) -> Result<Self> {
        Self::of_at_most(usize::MAX, heap)
    }

    /// A buffer that refuses more than so many bytes.
    pub(super) fn of_at_most(bytes_max: usize, heap: &Heap) -> Result<Self> {
        Ok(Self { text: String::new(), bytes_max, charge: heap.charge(0)? })
    }

    pub(super) fn push_str(&mut self, text: &str) -> Result<()> {
        if text.len() > self.bytes_max - self.text.len() {
            return Err(Error::TooLong);
        }
        self.charge.grow(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push(&mut self, c: char) -> Result<()> {
        self.push_str(c.encode_utf8(&mut [0; 4]))
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends the same character `n` times.
    pub(super) fn fill(&mut self, c: char, n: usize) -> Result<()> {
        self.charge.grow(n.saturating_mul(c.len_utf8()))?;
        self.text.extend(std::iter::repeat_n(c, n));
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }
}

/// A list that is counted while it grows.
#[derive(Debug)]
pub(super) struct CountedVec<T> {
    items: Vec<T>,
    charge: Charge,
}

impl<T> CountedVec<T> {
    pub(super) fn new(heap: &Heap) -> Result<Self> {
        Self::with_capacity(0, heap)
    }

    /// A list with room for so many items, all of which are counted now.
    fn with_capacity(items: usize, heap: &Heap) -> Result<Self> {
        let charge = heap.charge(items.saturating_mul(size_of::<T>()))?;
        Ok(Self { items: Vec::with_capacity(items), charge })
    }

    /// Collects the items, after counting as many as `items` reports.
    pub(super) fn collect(items: impl ExactSizeIterator<Item = T>, heap: &Heap) -> Result<Self> {
        let mut all = Self::with_capacity(items.len(), heap)?;
        all.items.extend(items);
        Ok(all)
    }

    pub(super) fn push(&mut self, item: T) -> Result<()> {
        self.charge.grow(size_of::<T>())?;
        self.items.push(item);
        Ok(())
    }

    pub(super) fn into_parts(self) -> (Vec<T>, Charge) {
        (self.items, self.charge)
    }
}

impl<T> Deref for CountedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for CountedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> IntoIterator for CountedVec<T> {
    type Item = T;
    type IntoIter = CountedIntoIter<T>;

    fn into_iter(self) -> CountedIntoIter<T> {
        CountedIntoIter { items: self.items.into_iter(), _charge: self.charge }
    }
}

/// An iterator whose items are counted until it is dropped.
pub(super) struct CountedIntoIter<T> {
    items: std::vec::IntoIter<T>,
    _charge: Charge,
}

impl<T> Iterator for CountedIntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<T> ExactSizeIterator for CountedIntoIter<T> {}

impl<T> DoubleEndedIterator for CountedIntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        self.items.next_back()
    }
}
