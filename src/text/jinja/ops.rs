//! Operators, attributes, items and slices by Python's rules.

use super::ast::Binary;
use super::builtins;
use super::format::{percent, write_escaped};
use super::heap::{Buffer, CountedVec, Heap};
use super::show::text_of;
use super::value::{Callable, Text, Value};
use super::{Error, Result};

pub(super) fn binary(operator: Binary, left: &Value, right: &Value, heap: &Heap) -> Result<Value> {
    left.defined()?;
    if operator == Binary::Modulo
        && let Value::Str(template) = left
    {
        return percent(template, right, heap);
    }
    right.defined()?;
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return int_binary(operator, left, right);
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return float_binary(operator, left, right).map(Value::Float);
    }
    match (operator, left, right) {
        (Binary::Add, Value::Str(left), Value::Str(right)) => joined(left, right, heap),
        (Binary::Add, Value::List(left), Value::List(right)) => {
            heap.list(added(&left.values, &right.values, heap)?)
        }
        (Binary::Add, Value::Tuple(left), Value::Tuple(right)) => {
            heap.tuple(added(&left.values, &right.values, heap)?)
        }
        (Binary::Multiply, sequence, count) | (Binary::Multiply, count, sequence)
            if count.as_int().is_some() && !matches!(sequence, Value::Float(_) | Value::None) =>
        {
            repeated(sequence, count.as_int().unwrap_or(0), heap)
        }
        _ => {
            let (left, right) = (left.type_name(), right.type_name());
            let sign = sign(operator);
            Err(Error::failed(format!("unsupported operand type(s) for {sign}: '{left}' and '{right}'")))
        }
    }
}

fn added(left: &[Value], right: &[Value], heap: &Heap) -> Result<CountedVec<Value>> {
    let len = left.len() + right.len();
    CountedVec::collect(
        (0..len).map(|at| left.get(at).unwrap_or_else(|| &right[at - left.len()]).clone()),
        heap,
    )
}

fn sign(operator: Binary) -> &'static str {
    match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::FloorDivide => "//",
        Binary::Modulo => "%",
        Binary::Power => "**",
    }
}

/// `left + right`. If one is markup, the other is escaped.
fn joined(left: &Text, right: &Text, heap: &Heap) -> Result<Value> {
    let markup = left.is_markup() || right.is_markup();
    let mut out = Buffer::new(heap)?;
    for text in [left, right] {
        if markup && !text.is_markup() {
            write_escaped(text, &mut out)?;
        } else {
            out.push_str(text)?;
        }
    }
    Ok(Value::Str(heap.text_as(out.into_string(), markup)?))
}

fn repeated(sequence: &Value, count: i128, heap: &Heap) -> Result<Value> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    match sequence {
        Value::Str(text) => {
            heap.room(text.len().saturating_mul(count))?;
            Ok(Value::Str(heap.text_as(text.repeat(count), text.is_markup())?))
        }
        Value::List(items) | Value::Tuple(items) => {
            let values = &items.values;
            let len = values.len().saturating_mul(count);
            let all = CountedVec::collect((0..len).map(|at| values[at % values.len()].clone()), heap)?;
            if matches!(sequence, Value::List(_)) { heap.list(all) } else { heap.tuple(all) }
        }
        other => Err(Error::failed(format!("'{}' can't be repeated", other.type_name()))),
    }
}

fn int_binary(operator: Binary, left: i128, right: i128) -> Result<Value> {
    let zero = || Error::failed("integer division or modulo by zero");
    let result = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => {
            if right == 0 {
                return Err(Error::failed("division by zero"));
            }
            return Ok(Value::Float(left as f64 / right as f64));
        }
        Binary::FloorDivide | Binary::Modulo if right == 0 => return Err(zero()),
        Binary::FloorDivide => left.checked_div(right).map(|quotient| {
            let below = left % right != 0 && (left < 0) != (right < 0);
            quotient - i128::from(below)
        }),
        Binary::Modulo => left
            .checked_rem(right)
            .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
        Binary::Power if right < 0 => {
            return float_binary(operator, left as f64, right as f64).map(Value::Float);
        }
        Binary::Power => match (left, u32::try_from(right)) {
            (_, Ok(exponent)) => left.checked_pow(exponent),
            (0 | 1, _) => Some(left),
            (-1, _) => Some(if right % 2 == 0 { 1 } else { -1 }),
            _ => None,
        },
    };
    result.map(Value::Int).ok_or_else(too_large)
}

pub(super) fn too_large() -> Error {
    Error::Limit("a whole number has more than 127 bits".into())
}

fn float_binary(operator: Binary, left: f64, right: f64) -> Result<f64> {
    let divides = matches!(operator, Binary::Divide | Binary::FloorDivide | Binary::Modulo);
    if (divides && right == 0.0) || (operator == Binary::Power && left == 0.0 && right < 0.0) {
        return Err(Error::failed("division by zero"));
    }
    let modulo = || {
        let rest = left % right;
        if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }
    };
    Ok(match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        Binary::FloorDivide => ((left - modulo()) / right).round(),
        Binary::Modulo => modulo(),
        Binary::Power => left.powf(right),
    })
}

pub(super) fn negative(value: &Value) -> Result<Value> {
    value.defined()?;
    match value {
        Value::Float(float) => Ok(Value::Float(-float)),
        other => match other.as_int() {
            Some(int) => int.checked_neg().map(Value::Int).ok_or_else(too_large),
            None => Err(Error::failed(format!("bad operand type for unary -: '{}'", other.type_name()))),
        },
    }
}

pub(super) fn positive(value: &Value) -> Result<Value> {
    value.defined()?;
    match value {
        Value::Float(_) => Ok(value.clone()),
        other => match other.as_int() {
            Some(int) => Ok(Value::Int(int)),
            None => Err(Error::failed(format!("bad operand type for unary +: '{}'", other.type_name()))),
        },
    }
}

/// `a ~ b ~ c`: joins the values as text.
pub(super) fn concat(values: &[Value], heap: &Heap) -> Result<Value> {
    let texts: Vec<Text> = values.iter().map(|value| text_of(value, heap)).collect::<Result<_>>()?;
    heap.room(texts.iter().map(|text| text.len()).sum())?;
    let texts: Vec<&str> = texts.iter().map(Text::as_str).collect();
    heap.str(texts.concat())
}

/// The kind of object as Jinja2's messages about missing attributes name it.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Str(_) => "str object",
        Value::List(_) => "list object",
        Value::Tuple(_) => "tuple object",
        Value::Dict(_) => "dict object",
        other => other.type_name(),
    }
}

/// What Python's `getattr` finds. Namespaces and macros are handled by the machine.
fn python_attribute(value: &Value, name: &str, heap: &Heap) -> Result<Option<Value>> {
    let methods: &[&'static str] = match value {
        Value::Str(_) => builtins::STRING_METHODS,
        Value::List(_) => builtins::LIST_METHODS,
        Value::Dict(_) => builtins::DICT_METHODS,
        Value::Tuple(items) => {
            if let Some(at) = items.names.iter().position(|known| *known == name) {
                return Ok(items.values.get(at).cloned());
            }
            builtins::TUPLE_METHODS
        }
        Value::Callable(callable) => match callable.callable() {
            Callable::Cycler(Value::List(items), at) if name == "current" => {
                return Ok(items.values.get(at.get()).cloned());
            }
            Callable::Cycler(..) => &["next", "reset"],
            _ => &[],
        },
        Value::Loop(state) => {
            let at = state.at.get();
            let (index, len) = (at as i128, state.items.len() as i128);
            return Ok(Some(match name {
                "index" => Value::Int(index + 1),
                "index0" => Value::Int(index),
                "revindex" => Value::Int(len - index),
                "revindex0" => Value::Int(len - index - 1),
                "first" => Value::Bool(index == 0),
                "last" => Value::Bool(index + 1 == len),
                "length" => Value::Int(len),
                "depth" => Value::Int(state.depth0 + 1),
                "depth0" => Value::Int(state.depth0),
                "previtem" => match at.checked_sub(1).and_then(|at| state.items.get(at)) {
                    Some(item) => item.clone(),
                    None => Value::Undefined("", None),
                },
                "nextitem" => state.items.get(at + 1).cloned().unwrap_or(Value::Undefined("", None)),
                "cycle" => heap.callable(Callable::Method(value.clone(), "cycle"))?,
                "changed" => heap.callable(Callable::Method(value.clone(), "changed"))?,
                _ => return Ok(None),
            }));
        }
        _ => &[],
    };
    let method = methods.iter().find(|method| **method == name);
    method.map(|method| heap.callable(Callable::Method(value.clone(), method))).transpose()
}

/// `value.name`.
pub(super) fn attribute(value: &Value, name: &Text, heap: &Heap) -> Result<Value> {
    value.defined()?;
    if let Some(found) = python_attribute(value, name, heap)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.get(&Value::Str(name.clone()), heap)?
    {
        return Ok(found.clone());
    }
    let name_text = name.as_str();
    let forbidden = match value {
        Value::Dict(_) => builtins::DICT_CHANGES.contains(&name_text),
        Value::List(_) => builtins::LIST_CHANGES.contains(&name_text),
        _ => false,
    };
    if forbidden {
        let problem = format!("the method `{name_text}` changes a value, which templates must not");
        return Err(Error::failed(problem));
    }
    Ok(Value::Undefined(kind_of(value), Some(name.clone())))
}

/// `value|attr(name)`: an attribute, never an item.
pub(super) fn attribute_only(value: &Value, name: &Text, heap: &Heap) -> Result<Value> {
    value.defined()?;
    let found = python_attribute(value, name, heap)?;
    Ok(found.unwrap_or(Value::Undefined(kind_of(value), Some(name.clone()))))
}

/// `value[key]`.
pub(super) fn item(value: &Value, key: &Value, heap: &Heap) -> Result<Value> {
    value.defined()?;
    let found = match value {
        Value::Dict(dict) if !matches!(key, Value::List(_) | Value::Dict(_)) => dict.get(key, heap)?.cloned(),
        Value::List(items) | Value::Tuple(items) => {
            place(key, items.values.len()).and_then(|at| items.values.get(at).cloned())
        }
        Value::Str(text) if key.as_int().is_some() => {
            heap.touch(text.len())?;
            let len = if key.as_int() < Some(0) { text.chars().count() } else { text.len() };
            let c = place(key, len).and_then(|at| text.chars().nth(at));
            match c {
                Some(c) => Some(Value::Str(heap.text_as(c.to_string(), text.is_markup())?)),
                None => None,
            }
        }
        Value::Range(range) => {
            let len = super::value::range_len(range);
            place(key, len).map(|at| Value::Int(i128::from(range[0]) + at as i128 * i128::from(range[2])))
        }
        _ => None,
    };
    let found = match (found, key) {
        (None, Value::Str(name)) => python_attribute(value, name, heap)?,
        (found, _) => found,
    };
    match found {
        Some(found) => Ok(found),
        None => Ok(Value::Undefined(kind_of(value), Some(text_of(key, heap)?))),
    }
}

/// The position among `len` items that an index refers to.
fn place(key: &Value, len: usize) -> Option<usize> {
    let index = key.as_int()?;
    let at = if index < 0 { index + len as i128 } else { index };
    usize::try_from(at).ok().filter(|&at| at < len)
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: [Option<Value>; 3], heap: &Heap) -> Result<Value> {
    value.defined()?;
    let mut numbers = [None; 3];
    for (number, bound) in numbers.iter_mut().zip(&bounds) {
        *number = match bound {
            None | Some(Value::None) => None,
            Some(bound) => {
                bound.defined()?;
                let problem = || Error::failed("slice indices must be integers or None");
                Some(bound.as_int().ok_or_else(problem)?)
            }
        };
    }
    match value {
        Value::Str(text) => {
            heap.room(text.len())?;
            let chars = text.chars().count();
            let (places, step) = places(numbers, chars)?;
            let sliced: String = if step == 1 {
                text.chars().skip(places.start).take(places.len()).collect()
            } else {
                let _counted = heap.charge(chars * size_of::<char>())?;
                let all: Vec<char> = text.chars().collect();
                stepped(&places, step).filter_map(|at| all.get(at)).collect()
            };
            Ok(Value::Str(heap.text_as(sliced, text.is_markup())?))
        }
        Value::List(items) | Value::Tuple(items) => {
            let (places, step) = places(numbers, items.values.len())?;
            let mut picked = CountedVec::new(heap)?;
            for at in stepped(&places, step) {
                picked.push(items.values[at].clone())?;
            }
            if matches!(value, Value::List(_)) { heap.list(picked) } else { heap.tuple(picked) }
        }
        Value::Range(_) => slice(&heap.list(value.iterate(heap)?)?, bounds, heap),
        other => Err(Error::failed(format!("'{}' object can't be sliced", other.type_name()))),
    }
}

/// The positions between two bounds, and the step. With a negative step they are to be read from the end.
fn places([start, stop, step]: [Option<i128>; 3], len: usize) -> Result<(std::ops::Range<usize>, i128)> {
    let len = len as i128;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::failed("slice step cannot be zero"));
    }
    let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let bound = |bound: Option<i128>, default: i128| match bound {
        None => default,
        Some(at) => (if at < 0 { at.saturating_add(len) } else { at }).clamp(lowest, highest),
    };
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let (start, stop) = (bound(start, first), bound(stop, last));
    let (low, high) = if step > 0 { (start, stop) } else { (stop + 1, start + 1) };
    // Both lie between 0 and the length by now.
    let range = low as usize..(high.max(low)) as usize;
    Ok((range, step))
}

fn stepped(places: &std::ops::Range<usize>, step: i128) -> Box<dyn Iterator<Item = usize>> {
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    if step > 0 {
        Box::new(places.clone().step_by(stride))
    } else {
        Box::new(places.clone().rev().step_by(stride))
    }
}
