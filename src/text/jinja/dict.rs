//! Dictionaries, and values made from JSON.

use std::rc::Rc;

use hashbrown::HashTable;
use serde_json::Value as Json;

use super::Result;
use super::compare::{equal, hash};
use super::heap::{CountedVec, Heap};
use super::value::{Countable, DEPTH_MAX, Dict, OVERHEAD_BYTES, Value, depth_of, too_deep};

/// Dictionaries with more entries get an index.
const SCANNED_MAX: usize = 8;

impl Heap {
    /// Among equal keys, the last value takes the position of the first, as in Python.
    pub(super) fn dict(&self, pairs: impl Countable<(Value, Value)>) -> Result<Value> {
        let (pairs, _counted) = pairs.counted(self)?;
        let depth = depth_of(pairs.iter().flat_map(|(key, value)| [key, value]))?;
        let charge = self.charge(pairs.len() * (2 * size_of::<Value>() + 16) + OVERHEAD_BYTES)?;
        let mut dict = Dict {
            entries: Vec::with_capacity(pairs.len()),
            index: HashTable::new(),
            depth,
            _charge: charge,
        };
        let indexed = pairs.len() > SCANNED_MAX;
        for (key, value) in pairs {
            let hashed = hash(&key, self)?;
            if let Some(at) = dict.find(&key, hashed, self)? {
                dict.entries[at].1 = value;
                continue;
            }
            if indexed {
                let at = dict.entries.len() as u32;
                dict.index.insert_unique(hashed, (hashed, at), |&(hashed, _)| hashed);
            }
            dict.entries.push((key, value));
        }
        Ok(Value::Dict(Rc::new(dict)))
    }

    pub(super) fn json(&self, json: &Json) -> Result<Value> {
        self.json_at(json, 0)
    }

    fn json_at(&self, json: &Json, depth: u16) -> Result<Value> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        match json {
            Json::Null => Ok(Value::None),
            Json::Bool(bool) => Ok(Value::Bool(*bool)),
            Json::Number(number) => Ok(match (number.as_i128(), number.as_f64()) {
                (Some(int), _) => Value::Int(int),
                (None, float) => Value::Float(float.unwrap_or(f64::NAN)),
            }),
            Json::String(text) => self.str(text.as_str()),
            Json::Array(items) => {
                let mut list = CountedVec::new(self)?;
                items.iter().try_for_each(|item| list.push(self.json_at(item, depth + 1)?))?;
                self.list(list)
            }
            Json::Object(fields) => {
                let mut pairs = CountedVec::new(self)?;
                for (key, value) in fields {
                    pairs.push((self.str(key.as_str())?, self.json_at(value, depth + 1)?))?;
                }
                self.dict(pairs)
            }
        }
    }
}

impl Dict {
    fn find(&self, key: &Value, hashed: u64, heap: &Heap) -> Result<Option<usize>> {
        if self.index.is_empty() {
            for (at, (other, _)) in self.entries.iter().enumerate() {
                if equal(other, key, heap)? {
                    return Ok(Some(at));
                }
            }
            return Ok(None);
        }
        let mut problem = Ok(());
        let found = self.index.find(hashed, |&(_, at)| {
            equal(&self.entries[at as usize].0, key, heap).unwrap_or_else(|error| {
                problem = Err(error);
                false
            })
        });
        problem.map(|()| found.map(|&(_, at)| at as usize))
    }

    pub(super) fn get(&self, key: &Value, heap: &Heap) -> Result<Option<&Value>> {
        let hashed = hash(key, heap)?;
        Ok(self.find(key, hashed, heap)?.map(|at| &self.entries[at].1))
    }
}
