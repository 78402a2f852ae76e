//! What one rendering may take: steps and bytes. Values give their bytes back when they are dropped.

use std::cell::Cell;
use std::rc::Rc;

use super::{Error, Result};

/// Bytes that are written or compared for one unit of fuel.
const BYTES_PER_STEP: usize = 16;

/// Share it: a copy counts with the same meter.
#[derive(Clone, Debug)]
pub(super) struct Heap(Rc<Meter>);

#[derive(Debug)]
struct Meter {
    fuel: Cell<u64>,
    live_bytes: Cell<usize>,
    bytes_max: usize,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: usize,
    heap: Heap,
}

impl Heap {
    pub(super) fn new(fuel: u64, bytes_max: usize) -> Self {
        Self(Rc::new(Meter { fuel: Cell::new(fuel), live_bytes: Cell::new(0), bytes_max }))
    }

    /// Takes fuel for `steps`.
    pub(super) fn burn(&self, steps: u64) -> Result<()> {
        match self.0.fuel.get().checked_sub(steps) {
            Some(left) => {
                self.0.fuel.set(left);
                Ok(())
            }
            None => {
                self.0.fuel.set(0);
                Err(Error::Limit("it ran too long".into()))
            }
        }
    }

    /// Takes fuel for reading or writing so many bytes.
    pub(super) fn touch(&self, bytes: usize) -> Result<()> {
        self.burn((bytes / BYTES_PER_STEP) as u64 + 1)
    }

    /// Says whether `bytes` more would fit, before they are made.
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
    /// Takes `bytes` more.
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

/// A text that grows and is counted as it does.
#[derive(Debug)]
pub(super) struct Buffer {
    text: String,
    charge: Charge,
}

impl Buffer {
    pub(super) fn new(heap: &Heap) -> Result<Self> {
        Ok(Self { text: String::new(), charge: heap.charge(0)? })
    }

    pub(super) fn push_str(&mut self, text: &str) -> Result<()> {
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

    /// `n` times the same character.
    pub(super) fn fill(&mut self, c: char, n: usize) -> Result<()> {
        self.charge.grow(n.saturating_mul(c.len_utf8()))?;
        self.text.extend(std::iter::repeat_n(c, n));
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }
}
