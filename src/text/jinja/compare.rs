//! Equality, order and hashes by Python's rules.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::heap::{CountedVec, Heap};
use super::value::{Items, Value, View, range_len};
use super::{Error, Result};

/// `left == right`.
pub(super) fn equal(left: &Value, right: &Value, heap: &Heap) -> Result<bool> {
    heap.burn(1)?;
    Ok(match (left, right) {
        (Value::Str(left), Value::Str(right)) => {
            heap.touch(left.len().min(right.len()))?;
            left.as_str() == right.as_str()
        }
        (Value::None, Value::None) | (Value::Undefined(..), Value::Undefined(..)) => true,
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            all_equal(left, right, heap)?
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if left.entries.len() != right.entries.len() {
                return Ok(false);
            }
            for (key, value) in &left.entries {
                match right.get(key, heap)? {
                    Some(other) if equal(value, other, heap)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(left), Value::Range(right)) => {
            let len = range_len(left);
            len == range_len(right) && (len == 0 || left[0] == right[0]) && (len < 2 || left[2] == right[2])
        }
        (Value::Namespace(left), Value::Namespace(right)) => left == right,
        (Value::Loop(left), Value::Loop(right)) => Rc::ptr_eq(left, right),
        (Value::Stream(left), Value::Stream(right)) => Rc::ptr_eq(left, right),
        (Value::Callable(left), Value::Callable(right)) => Rc::ptr_eq(left, right),
        (Value::View(View::Keys | View::Items, _), Value::View(View::Keys | View::Items, _)) => {
            let (left, right) = (left.iterate(heap)?, right.iterate(heap)?);
            left.len() == right.len()
                && left.iter().try_fold(true, |all, item| Ok(all && holds(&right, item, heap)?))?
        }
        _ => match number_order(left, right) {
            Some(order) => order == Some(Ordering::Equal),
            None => false,
        },
    })
}

fn all_equal(left: &Items, right: &Items, heap: &Heap) -> Result<bool> {
    if left.values.len() != right.values.len() {
        return Ok(false);
    }
    for (left, right) in left.values.iter().zip(&right.values) {
        if !equal(left, right, heap)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn holds(values: &[Value], item: &Value, heap: &Heap) -> Result<bool> {
    for value in values {
        if equal(value, item, heap)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The order of two numbers; `Some(None)` if one is NaN, `None` if one is not a number.
fn number_order(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return Some(Some(left.cmp(&right)));
    }
    match (left.as_float(), right.as_float()) {
        (Some(left), Some(right)) => Some(left.partial_cmp(&right)),
        _ => None,
    }
}

/// The order of two values, an error if they have none; `None` if NaN is involved.
pub(super) fn order(left: &Value, right: &Value, heap: &Heap) -> Result<Option<Ordering>> {
    heap.burn(1)?;
    left.defined()?;
    right.defined()?;
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => {
            heap.touch(left.len().min(right.len()))?;
            return Ok(Some(left.as_str().cmp(right.as_str())));
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            for (left, right) in left.values.iter().zip(&right.values) {
                if !equal(left, right, heap)? {
                    return order(left, right, heap);
                }
            }
            return Ok(Some(left.values.len().cmp(&right.values.len())));
        }
        _ => {}
    }
    number_order(left, right).ok_or_else(|| {
        let (left, right) = (left.type_name(), right.type_name());
        Error::failed(format!("'{left}' and '{right}' can't be ordered"))
    })
}

/// A stable merge sort, which stops at the first comparison that fails.
pub(super) fn sort(
    keyed: impl IntoIterator<Item = (Value, Value), IntoIter: ExactSizeIterator>,
    reverse: bool,
    heap: &Heap,
) -> Result<CountedVec<(Value, Value)>> {
    let keyed = keyed.into_iter();
    let len = keyed.len();
    let _counted = heap.charge(len * 2 * size_of::<Option<(Value, Value)>>())?;
    let mut from: Vec<Option<(Value, Value)>> = keyed.map(Some).collect();
    let mut width = 1;
    while width < len {
        let mut to = Vec::with_capacity(len);
        for start in (0..len).step_by(width * 2) {
            let (middle, end) = ((start + width).min(len), (start + width * 2).min(len));
            let (mut left, mut right) = (start, middle);
            while left < middle && right < end {
                let (Some(first), Some(second)) = (&from[left], &from[right]) else { break };
                let (low, high) = if reverse { (&first.0, &second.0) } else { (&second.0, &first.0) };
                // Equal items keep their order, also in reverse.
                if order(low, high, heap)? == Some(Ordering::Less) {
                    to.push(from[right].take());
                    right += 1;
                } else {
                    to.push(from[left].take());
                    left += 1;
                }
            }
            to.extend((left..middle).map(|at| from[at].take()));
            to.extend((right..end).map(|at| from[at].take()));
        }
        from = to;
        width *= 2;
    }
    let mut sorted = CountedVec::new(heap)?;
    from.into_iter().flatten().try_for_each(|pair| sorted.push(pair))?;
    Ok(sorted)
}

/// A hash that is the same for equal values.
pub(super) fn hash(value: &Value, heap: &Heap) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    hash_into(value, &mut hasher, heap)?;
    Ok(hasher.finish())
}

fn hash_into(value: &Value, hasher: &mut DefaultHasher, heap: &Heap) -> Result<()> {
    heap.burn(1)?;
    match value {
        Value::Str(text) => {
            heap.touch(text.len())?;
            text.as_str().hash(hasher);
        }
        Value::Float(float) if float.fract() != 0.0 || float.abs() >= 1e30 => float.to_bits().hash(hasher),
        Value::Float(float) => (*float as i128).hash(hasher),
        Value::Int(int) => int.hash(hasher),
        Value::Bool(bool) => i128::from(*bool).hash(hasher),
        Value::Tuple(items) => items.values.iter().try_for_each(|item| hash_into(item, hasher, heap))?,
        Value::None | Value::Undefined(..) => 0.hash(hasher),
        Value::Range(range) => range_len(range).hash(hasher),
        Value::Namespace(index) => index.hash(hasher),
        Value::Loop(_) | Value::Stream(_) | Value::Callable(_) => 1.hash(hasher),
        Value::List(_) | Value::Dict(_) | Value::View(..) => {
            return Err(Error::failed(format!("unhashable type: '{}'", value.type_name())));
        }
    }
    Ok(())
}

/// `item in container`.
pub(super) fn contains(container: &Value, item: &Value, heap: &Heap) -> Result<bool> {
    match container {
        Value::Undefined(..) => Ok(false),
        Value::Str(text) => match item {
            Value::Str(part) => {
                heap.touch(text.len() + part.len())?;
                Ok(text.contains(part.as_str()))
            }
            _ => {
                item.defined()?;
                let kind = item.type_name();
                Err(Error::failed(format!("'in <string>' requires string as left operand, not {kind}")))
            }
        },
        Value::List(items) | Value::Tuple(items) => holds(&items.values, item, heap),
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(item, heap)?.is_some()),
        Value::Range(range) => {
            let Some(int) = item.as_int() else { return Ok(false) };
            let [start, _, step] = range.map(i128::from);
            let Ok(int) = i64::try_from(int) else { return Ok(false) };
            let (place, rest) = ((i128::from(int) - start) / step, (i128::from(int) - start) % step);
            Ok(rest == 0 && place >= 0 && place < range_len(range) as i128)
        }
        Value::View(..) | Value::Stream(_) | Value::Loop(_) => holds(&container.iterate(heap)?, item, heap),
        _ => Err(Error::failed(format!("argument of type '{}' is not iterable", container.type_name()))),
    }
}
