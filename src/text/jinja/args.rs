//! The arguments of a call, and how they are bound to a function's parameters.

use super::heap::Charge;
use super::value::{Text, Value, shortened};
use super::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Text, Value)>,
    /// The items of `*args` and `**kwargs` are counted during the call.
    pub(super) charges: Vec<Charge>,
}

impl Args {
    pub(super) fn of(positional: Vec<Value>) -> Self {
        Self { positional, ..Self::default() }
    }

    /// A copy for another call.
    pub(super) fn again(&self) -> Self {
        Self { positional: self.positional.clone(), named: self.named.clone(), charges: Vec::new() }
    }

    /// The arguments for the parameters `names`, in that order.
    pub(super) fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let given = self.positional.len();
        if given > N {
            return Err(Error::failed(format!(
                "{function}() takes at most {N} arguments, and {given} are given"
            )));
        }
        let mut values = self.positional.into_iter();
        let mut bound: [Option<Value>; N] = std::array::from_fn(|_| values.next());
        for (name, value) in self.named {
            match names.iter().position(|known| *known == name.as_str()) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                _ => {
                    let name = shortened(&name);
                    return Err(Error::failed(format!("{function}() does not take the argument '{name}'")));
                }
            }
        }
        Ok(bound)
    }
}

pub(super) fn required(value: Option<Value>, function: &str, name: &str) -> Result<Value> {
    value.ok_or_else(|| Error::failed(format!("{function}() needs the argument '{name}'")))
}

pub(super) fn text(value: &Value, function: &str) -> Result<Text> {
    value.defined()?;
    let problem = || Error::failed(format!("{function}() needs a str, not {}", value.type_name()));
    value.as_text().cloned().ok_or_else(problem)
}

pub(super) fn int(value: &Value, function: &str) -> Result<i128> {
    value.defined()?;
    let problem = || Error::failed(format!("{function}() needs an int, not {}", value.type_name()));
    value.as_int().ok_or_else(problem)
}

/// A width or a count; negative numbers become 0.
pub(super) fn size(value: &Value, function: &str) -> Result<usize> {
    Ok(usize::try_from(int(value, function)?.max(0)).unwrap_or(usize::MAX))
}
