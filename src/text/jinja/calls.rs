//! Calls: the functions that `transformers` gives templates, methods of Python's types, and macros.

use std::cell::Cell;

use super::args::{Args, int, required, text};
use super::compare::equal;
use super::heap::CountedVec;
use super::machine::{Machine, Namespace};
use super::show::text_of;
use super::strftime::strftime;
use super::value::{Callable, Dict, Loop, Value, View, cut};
use super::{Error, Result, strings};

/// The largest `range` that Jinja2's sandbox allows.
const RANGE_MAX: usize = 100_000;
/// The most characters of a template's own error message, which may quote the whole conversation.
const RAISED_CHARS_MAX: usize = 500;

impl Machine<'_> {
    pub(super) fn call(&mut self, value: &Value, args: Args) -> Result<Value> {
        self.deeper(|machine| machine.call_inner(value, args))
    }

    fn call_inner(&mut self, value: &Value, args: Args) -> Result<Value> {
        value.defined()?;
        let callable = match value {
            Value::Callable(callable) => callable,
            Value::Loop(state) => {
                let [items] = args.bind("loop", ["iterable"])?;
                return self.recurse(state, &required(items, "loop", "iterable")?);
            }
            other => return Err(Error::failed(format!("'{}' object is not callable", other.type_name()))),
        };
        match callable.callable() {
            Callable::Global(name) => self.global(name, args),
            Callable::Macro(at, scope) => self.call_macro(*at, *scope, args),
            Callable::Method(subject, method) => self.method(subject, method, args),
            Callable::Joiner(separator, used) => {
                if used.replace(true) {
                    Ok(separator.clone())
                } else {
                    self.heap.str("")
                }
            }
            Callable::Cycler(..) => Err(Error::failed("'Cycler' object is not callable")),
        }
    }

    fn global(&mut self, name: &'static str, args: Args) -> Result<Value> {
        match name {
            "range" => range(args),
            "dict" => self.new_dict(args),
            "namespace" => {
                let Value::Dict(fields) = self.new_dict(args)? else { return Ok(Value::None) };
                let mut named = Vec::with_capacity(fields.entries.len());
                for (key, value) in &fields.entries {
                    named.push((text(key, "namespace")?, value.clone()));
                }
                let charge = self.heap.charge(size_of::<Namespace>() + named.len() * size_of::<Value>())?;
                self.namespaces.push(Namespace { fields: named, _charge: charge });
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
            "cycler" if args.positional.is_empty() => {
                Err(Error::failed("at least one item has to be provided"))
            }
            "cycler" => {
                let items = self.heap.list(args.positional)?;
                self.heap.callable(Callable::Cycler(items, Cell::new(0)))
            }
            "joiner" => {
                let [separator] = args.bind(name, ["sep"])?;
                let separator = separator.map_or_else(|| self.heap.str(", "), Ok)?;
                self.heap.list(vec![separator.clone()])?;
                self.heap.callable(Callable::Joiner(separator, Cell::new(false)))
            }
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                let message = text_of(&required(message, name, "message")?, &self.heap)?;
                Err(Error::Raised(cut(&message, RAISED_CHARS_MAX)))
            }
            _ => {
                let [format] = args.bind(name, ["format"])?;
                let format = text(&required(format, name, "format")?, name)?;
                // `%c` becomes twelve times as long, and each part takes some steps.
                self.heap.room(format.len() * 12)?;
                self.heap.work(format.len() * 8)?;
                self.heap.str(strftime(&format, self.now)?)
            }
        }
    }

    /// `dict(mapping or pairs, **named)`.
    fn new_dict(&mut self, args: Args) -> Result<Value> {
        let mut pairs = CountedVec::new(&self.heap)?;
        let mut positional = args.positional.into_iter();
        match positional.next() {
            None => {}
            Some(Value::Dict(dict)) => pairs = CountedVec::collect(dict.entries.iter().cloned(), &self.heap)?,
            Some(other) => {
                other.defined()?;
                for pair in other.iterate(&self.heap)? {
                    pairs.push(pair.pair("dict", &self.heap)?)?;
                }
            }
        }
        if positional.next().is_some() {
            return Err(Error::failed("dict() takes at most 1 argument"));
        }
        for (name, value) in args.named {
            pairs.push((Value::Str(name), value))?;
        }
        self.heap.dict(pairs)
    }

    fn method(&mut self, subject: &Value, method: &'static str, args: Args) -> Result<Value> {
        match subject {
            Value::Str(text) => strings::call(text, method, args, &self.heap),
            Value::Dict(dict) => self.dict_method(dict, subject, method, args),
            Value::List(items) | Value::Tuple(items) => {
                if method == "copy" {
                    return Ok(subject.clone());
                }
                self.count_or_index(&items.values, method, args)
            }
            Value::Loop(state) => self.loop_method(state, method, args),
            Value::Callable(callable) => match callable.callable() {
                Callable::Cycler(items, at) => {
                    let item = super::ops::item(items, &Value::Int(at.get() as i128), &self.heap)?;
                    let len = items.len(&self.heap)?.unwrap_or(1);
                    let next = if method == "reset" { 0 } else { (at.get() + 1) % len.max(1) };
                    at.set(next);
                    Ok(if method == "reset" { Value::None } else { item })
                }
                _ => Err(Error::failed(format!("a function or macro has no method '{method}'"))),
            },
            other => Err(Error::failed(format!("'{}' object has no method '{method}'", other.type_name()))),
        }
    }

    fn count_or_index(&self, values: &[Value], method: &str, args: Args) -> Result<Value> {
        let [item, start, stop] = args.bind(method, ["value", "start", "stop"])?;
        let item = required(item, method, "value")?;
        let len = values.len() as i128;
        let bound = |bound: Option<Value>, default: i128| -> Result<i128> {
            let at = bound.map_or(Ok(default), |bound| int(&bound, method))?;
            Ok((if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len))
        };
        let (start, stop) = (bound(start, 0)?, bound(stop, len)?);
        let mut count = 0;
        for (at, value) in (0i128..).zip(values).take(stop as usize).skip(start as usize) {
            if equal(value, &item, &self.heap)? {
                if method == "index" {
                    return Ok(Value::Int(at));
                }
                count += 1;
            }
        }
        if method == "index" { Err(Error::failed("the value is not in list")) } else { Ok(Value::Int(count)) }
    }

    fn dict_method(
        &self,
        dict: &std::rc::Rc<Dict>,
        subject: &Value,
        method: &str,
        args: Args,
    ) -> Result<Value> {
        let view = match method {
            "get" => {
                let [key, default] = args.bind(method, ["key", "default"])?;
                let key = required(key, method, "key")?;
                let found = dict.get(&key, &self.heap)?.cloned();
                return Ok(found.or(default).unwrap_or(Value::None));
            }
            "copy" => return Ok(subject.clone()),
            "keys" => View::Keys,
            "values" => View::Values,
            _ => View::Items,
        };
        let [] = args.bind(method, [])?;
        let view = Value::View(view, std::rc::Rc::clone(dict));
        // Checks that the view does not nest too deep.
        self.heap.list(vec![subject.clone()])?;
        Ok(view)
    }

    fn loop_method(&mut self, state: &Loop, method: &str, args: Args) -> Result<Value> {
        if method == "cycle" {
            let len = args.positional.len();
            if len == 0 {
                return Err(Error::failed("no items for cycling given"));
            }
            return Ok(args.positional[state.at.get() % len].clone());
        }
        let seen = self.heap.tuple(args.positional)?;
        let last = self.changed_values.iter_mut().find(|(number, _)| *number == state.number);
        let changed = match &last {
            Some((_, last)) => !equal(last, &seen, &self.heap)?,
            None => true,
        };
        match last {
            Some((_, last)) => *last = seen,
            None => self.changed_values.push((state.number, seen)),
        }
        Ok(Value::Bool(changed))
    }
}

fn range(args: Args) -> Result<Value> {
    let [first, second, step] = args.bind("range", ["start", "stop", "step"])?;
    let first = int(&required(first, "range", "stop")?, "range")?;
    let (start, stop) = match second {
        Some(stop) => (first, int(&stop, "range")?),
        None => (0, first),
    };
    let step = step.map_or(Ok(1), |step| int(&step, "range"))?;
    if step == 0 {
        return Err(Error::failed("range() arg 3 must not be zero"));
    }
    let problem = || {
        Error::failed(format!(
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({RANGE_MAX})."
        ))
    };
    let narrow = |number: i128| i64::try_from(number).map_err(|_| problem());
    let range = [narrow(start)?, narrow(stop)?, narrow(step)?];
    if super::value::range_len(&range) > RANGE_MAX {
        return Err(problem());
    }
    Ok(Value::Range(std::rc::Rc::new(range)))
}
