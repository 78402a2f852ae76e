//! Jinja2's filters that iterate over items, and its tests.

use super::args::{Args, required, size, text};
use super::ast::{Binary, Comparison};
use super::builtins;
use super::compare::{contains, equal, order, sort};
use super::heap::{Buffer, CountedVec};
use super::machine::Machine;
use super::show::text_of;
use super::strings;
use super::value::Value;
use super::{Error, Result, ops};

/// Parts of an attribute's path, and attributes in one `sort`. Values are less deep than this.
const PATH_PARTS_MAX: usize = 256;
/// Memory of a group of one item.
const GROUP_BYTES: usize = size_of::<(Value, Vec<Value>)>() + 4 * size_of::<Value>();

/// How items are compared: by an attribute, and perhaps ignoring case.
#[derive(Debug, Default)]
struct Getter {
    /// Names and indices, followed one after the other.
    path: Vec<Value>,
    default: Option<Value>,
    ignore_case: bool,
}

impl Machine<'_> {
    pub(super) fn sequence_filter(&mut self, name: &str, value: Value, args: Args) -> Result<Value> {
        match name {
            "first" => self.first(&value),
            "last" => self.last(&value),
            "list" => {
                let items = value.iterate(&self.heap)?;
                self.heap.list(items)
            }
            "reverse" => self.reversed(&value),
            "items" => match value {
                Value::Undefined(..) => self.heap.stream(Vec::new()),
                Value::Dict(dict) => {
                    let items = Value::View(super::value::View::Items, dict).iterate(&self.heap)?;
                    self.heap.stream(items)
                }
                _ => Err(Error::failed("Can only get item pairs from a mapping.")),
            },
            "join" => self.join(&value, args),
            "map" => self.map(&value, args),
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, &value, args),
            "batch" => self.batch(&value, args),
            "slice" => self.slice_filter(&value, args),
            "dictsort" => self.dict_sort(&value, args),
            "groupby" => self.group_by(&value, args),
            "sum" => self.sum(&value, args),
            "unique" => self.unique(&value, args),
            "sort" => self.sort(&value, args),
            _ => self.extreme(name, &value, args),
        }
    }

    fn first(&self, value: &Value) -> Result<Value> {
        let first = match value {
            Value::Stream(stream) => stream.next(),
            Value::Str(text) => {
                let first = text.chars().next().map(String::from);
                first.map(|first| self.heap.str(first)).transpose()?
            }
            other => other.iterate(&self.heap)?.into_iter().next(),
        };
        Ok(first.unwrap_or(Value::Undefined("", None)))
    }

    fn last(&self, value: &Value) -> Result<Value> {
        if matches!(value, Value::Stream(_) | Value::Loop(_)) {
            return Err(Error::failed(format!("'{}' object is not reversible", value.type_name())));
        }
        let last = match value {
            Value::Str(text) => {
                let last = text.chars().next_back().map(String::from);
                last.map(|last| self.heap.str(last)).transpose()?
            }
            other => other.iterate(&self.heap)?.into_iter().next_back(),
        };
        Ok(last.unwrap_or(Value::Undefined("", None)))
    }

    fn reversed(&self, value: &Value) -> Result<Value> {
        if let Value::Str(text) = value {
            self.heap.room(text.len())?;
            let reversed: String = text.chars().rev().collect();
            return Ok(Value::Str(self.heap.text_as(reversed, text.is_markup())?));
        }
        let mut items = value.iterate(&self.heap)?;
        items.reverse();
        if matches!(value, Value::Stream(_) | Value::Undefined(..)) {
            return self.heap.list(items);
        }
        self.heap.stream(items)
    }

    fn getter(&self, attribute: Option<Value>, case_sensitive: Option<Value>) -> Result<Getter> {
        let path = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(path)) => {
                let parts = path.split('.').take(PATH_PARTS_MAX + 1).map(|part| match part.parse::<i128>() {
                    Ok(index) if part.bytes().all(|b| b.is_ascii_digit()) => Ok(Value::Int(index)),
                    _ => self.heap.str(part),
                });
                let parts = parts.collect::<Result<Vec<_>>>()?;
                if parts.len() > PATH_PARTS_MAX {
                    return Err(Error::Limit("the path of an attribute has too many parts".into()));
                }
                parts
            }
            Some(other) => vec![other],
        };
        Ok(Getter { path, default: None, ignore_case: !case_sensitive.is_some_and(|case| case.is_true()) })
    }

    fn key_of(&self, getter: &Getter, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &getter.path {
            self.heap.burn(1)?;
            value = self.item(&value, part)?;
            if value.is_undefined()
                && let Some(default) = &getter.default
            {
                value = default.clone();
            }
        }
        match &value {
            Value::Str(text) if getter.ignore_case => {
                strings::call(text, "lower", Args::default(), &self.heap)
            }
            _ => Ok(value),
        }
    }

    fn join(&self, value: &Value, args: Args) -> Result<Value> {
        let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
        let separator = separator.map_or_else(|| self.heap.text(""), |d| text_of(&d, &self.heap))?;
        let getter = Getter { ignore_case: false, ..self.getter(attribute, None)? };
        let mut out = Buffer::new(&self.heap)?;
        for (at, item) in value.iterate(&self.heap)?.iter().enumerate() {
            let item = text_of(&self.key_of(&getter, item)?, &self.heap)?;
            out.push_str(if at == 0 { "" } else { &separator })?;
            out.push_str(&item)?;
        }
        self.heap.str(out.into_string())
    }

    fn map(&mut self, value: &Value, mut args: Args) -> Result<Value> {
        if !value.is_true() {
            return self.heap.stream(Vec::new());
        }
        let mut mapped = CountedVec::new(&self.heap)?;
        if args.positional.is_empty() {
            let [attribute, default] = args.bind("map", ["attribute", "default"])?;
            let attribute = required(attribute, "map", "attribute")?;
            let default = default.filter(|default| !matches!(default, Value::None));
            let getter = Getter { ignore_case: false, default, ..self.getter(Some(attribute), None)? };
            for item in value.iterate(&self.heap)? {
                mapped.push(self.key_of(&getter, &item)?)?;
            }
            return self.heap.stream(mapped);
        }
        let filter = text(&args.positional.remove(0), "map")?;
        if !builtins::FILTERS.contains(&filter.as_str()) {
            return Err(Error::failed(format!("No filter named '{}'.", super::value::shortened(&filter))));
        }
        for item in value.iterate(&self.heap)? {
            self.heap.burn((args.positional.len() + args.named.len()) as u64)?;
            let args = args.again();
            mapped.push(self.deeper(|machine| machine.filter(&filter, item, args))?)?;
        }
        self.heap.stream(mapped)
    }

    fn select(&mut self, name: &str, value: &Value, mut args: Args) -> Result<Value> {
        if !value.is_true() {
            return self.heap.stream(Vec::new());
        }
        let mut getter = Getter::default();
        if name.ends_with("attr") {
            if args.positional.is_empty() {
                return Err(Error::failed("Missing parameter for attribute name"));
            }
            getter = Getter { ignore_case: false, ..self.getter(Some(args.positional.remove(0)), None)? };
        }
        let test =
            if args.positional.is_empty() { None } else { Some(text(&args.positional.remove(0), name)?) };
        let wanted = name.starts_with("select");
        let mut kept = CountedVec::new(&self.heap)?;
        for item in value.iterate(&self.heap)? {
            let key = self.key_of(&getter, &item)?;
            let holds = match &test {
                None => key.is_true(),
                Some(test) => {
                    self.heap.burn((args.positional.len() + args.named.len()) as u64)?;
                    self.test(test, &key, args.again())?
                }
            };
            if holds == wanted {
                kept.push(item)?;
            }
        }
        self.heap.stream(kept)
    }

    fn batch(&self, value: &Value, args: Args) -> Result<Value> {
        let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
        let count = size(&required(count, "batch", "linecount")?, "batch")?.max(1);
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let mut batches = CountedVec::new(&self.heap)?;
        for batch in value.iterate(&self.heap)?.chunks(count) {
            let mut batch = batch.to_vec();
            if let Some(fill) = &fill {
                self.heap.room((count - batch.len()).saturating_mul(size_of::<Value>()))?;
                batch.resize(count, fill.clone());
            }
            batches.push(self.heap.list(batch)?)?;
        }
        self.heap.stream(batches)
    }

    fn slice_filter(&self, value: &Value, args: Args) -> Result<Value> {
        let [count, fill] = args.bind("slice", ["slices", "fill_with"])?;
        let count = size(&required(count, "slice", "slices")?, "slice")?;
        if count == 0 {
            return Err(Error::failed("integer division or modulo by zero"));
        }
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let items = value.iterate(&self.heap)?;
        let (each, longer) = (items.len() / count, items.len() % count);
        let mut slices = CountedVec::new(&self.heap)?;
        let mut at = 0;
        for slice in 0..count {
            let end = at + each + usize::from(slice < longer);
            let mut part = items[at..end].to_vec();
            if slice >= longer {
                part.extend(fill.clone());
            }
            slices.push(self.heap.list(part)?)?;
            at = end;
        }
        self.heap.stream(slices)
    }

    fn dict_sort(&self, value: &Value, args: Args) -> Result<Value> {
        let [case, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let by = by.map_or(Ok("key".to_owned()), |by| text(&by, "dictsort").map(|by| by.to_string()))?;
        let at = match by.as_str() {
            "key" => 0,
            "value" => 1,
            _ => return Err(Error::failed("You can only sort by either \"key\" or \"value\"")),
        };
        let Value::Dict(dict) = value else {
            value.defined()?;
            return Err(Error::failed(format!("'{}' object has no attribute 'items'", value.type_name())));
        };
        let getter = self.getter(None, case)?;
        let mut keyed = CountedVec::new(&self.heap)?;
        for (key, value) in &dict.entries {
            let sort_key = self.key_of(&getter, if at == 0 { key } else { value })?;
            keyed.push((sort_key, self.heap.tuple(vec![key.clone(), value.clone()])?))?;
        }
        self.sorted(keyed, reverse)
    }

    fn sorted(&self, keyed: CountedVec<(Value, Value)>, reverse: Option<Value>) -> Result<Value> {
        let reverse = reverse.is_some_and(|reverse| reverse.is_true());
        let sorted = sort(keyed, reverse, &self.heap)?;
        self.heap.list(CountedVec::collect(sorted.into_iter().map(|(_, value)| value), &self.heap)?)
    }

    fn sort(&self, value: &Value, args: Args) -> Result<Value> {
        let [reverse, case, attribute] = args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
        let getters = match &attribute {
            Some(Value::Str(several)) if several.matches(',').count() >= PATH_PARTS_MAX => {
                return Err(Error::Limit("it sorts by too many attributes".into()));
            }
            Some(Value::Str(several)) if several.contains(',') => several
                .split(',')
                .map(|one| self.getter(Some(self.heap.str(one)?), case.clone()))
                .collect::<Result<Vec<_>>>()?,
            _ => vec![self.getter(attribute, case)?],
        };
        let mut keyed = CountedVec::new(&self.heap)?;
        for item in value.iterate(&self.heap)? {
            let keys = getters.iter().map(|getter| self.key_of(getter, &item)).collect::<Result<Vec<_>>>()?;
            keyed.push((self.heap.list(keys)?, item))?;
        }
        self.sorted(keyed, reverse)
    }

    fn group_by(&self, value: &Value, args: Args) -> Result<Value> {
        let names = ["attribute", "default", "case_sensitive"];
        let [attribute, default, case] = args.bind("groupby", names)?;
        let attribute = required(attribute, "groupby", "attribute")?;
        let default = default.filter(|default| !matches!(default, Value::None));
        let getter = Getter { default, ..self.getter(Some(attribute), case)? };
        let mut keyed = CountedVec::new(&self.heap)?;
        for item in value.iterate(&self.heap)? {
            keyed.push((self.key_of(&getter, &item)?, item))?;
        }
        let _counted = self.heap.charge(keyed.len() * GROUP_BYTES)?;
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for (key, item) in sort(keyed, false, &self.heap)? {
            match groups.last_mut() {
                Some((last, items)) if equal(last, &key, &self.heap)? => items.push(item),
                _ => groups.push((key, vec![item])),
            }
        }
        let plain = Getter { ignore_case: false, ..getter };
        let mut out = Vec::with_capacity(groups.len());
        for (_, items) in groups {
            let key = self.key_of(&plain, &items[0])?;
            let items = self.heap.list(items)?;
            out.push(self.heap.named_tuple(vec![key, items], &["grouper", "list"])?);
        }
        self.heap.list(out)
    }

    fn sum(&self, value: &Value, args: Args) -> Result<Value> {
        let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
        let getter = Getter { ignore_case: false, ..self.getter(attribute, None)? };
        let mut sum = start.unwrap_or(Value::Int(0));
        if matches!(sum, Value::Str(_)) {
            return Err(Error::failed("sum() can't sum strings [use ''.join(seq) instead]"));
        }
        for item in value.iterate(&self.heap)? {
            sum = ops::binary(Binary::Add, &sum, &self.key_of(&getter, &item)?, &self.heap)?;
        }
        Ok(sum)
    }

    fn unique(&self, value: &Value, args: Args) -> Result<Value> {
        let [case, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
        let getter = self.getter(attribute, case)?;
        let mut pairs = CountedVec::new(&self.heap)?;
        for item in value.iterate(&self.heap)? {
            pairs.push((self.key_of(&getter, &item)?, item))?;
        }
        // A dictionary keeps each key's first position and last value. Built backwards, it has the first value.
        let first = CountedVec::collect(pairs.iter().rev().cloned(), &self.heap)?;
        let (Value::Dict(order), Value::Dict(first)) = (self.heap.dict(pairs)?, self.heap.dict(first)?)
        else {
            return Ok(Value::None);
        };
        let mut unique = CountedVec::new(&self.heap)?;
        for (key, _) in &order.entries {
            if let Some(item) = first.get(key, &self.heap)? {
                unique.push(item.clone())?;
            }
        }
        self.heap.stream(unique)
    }

    fn extreme(&self, name: &str, value: &Value, args: Args) -> Result<Value> {
        let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
        let getter = self.getter(attribute, case)?;
        let mut best: Option<(Value, Value)> = None;
        for item in value.iterate(&self.heap)? {
            let key = self.key_of(&getter, &item)?;
            let better = match &best {
                None => true,
                Some((held, _)) if name == "max" => order(&key, held, &self.heap)?.is_some_and(|o| o.is_gt()),
                Some((held, _)) => order(&key, held, &self.heap)?.is_some_and(|o| o.is_lt()),
            };
            if better {
                best = Some((key, item));
            }
        }
        Ok(best.map_or(Value::Undefined("", None), |(_, item)| item))
    }

    /// `value is name(args)`.
    pub(super) fn test(&mut self, name: &str, value: &Value, args: Args) -> Result<bool> {
        let comparison = match name {
            "eq" | "equalto" | "==" => Comparison::Equal,
            "ne" | "!=" => Comparison::NotEqual,
            "lt" | "lessthan" | "<" => Comparison::Less,
            "le" | "<=" => Comparison::LessOrEqual,
            "gt" | "greaterthan" | ">" => Comparison::Greater,
            "ge" | ">=" => Comparison::GreaterOrEqual,
            "in" => Comparison::In,
            "divisibleby" | "sameas" => {
                let [other] = args.bind(name, ["other"])?;
                let other = required(other, name, "other")?;
                if name == "sameas" {
                    return Ok(same(value, &other));
                }
                let rest = ops::binary(Binary::Modulo, value, &other, &self.heap)?;
                return equal(&rest, &Value::Int(0), &self.heap);
            }
            _ => {
                let [] = args.bind(name, [])?;
                return self.plain_test(name, value);
            }
        };
        let [other] = args.bind(name, ["other"])?;
        let other = required(other, name, "other")?;
        match comparison {
            Comparison::In => contains(&other, value, &self.heap),
            comparison => self.compare(comparison, value, &other),
        }
    }

    fn plain_test(&mut self, name: &str, value: &Value) -> Result<bool> {
        Ok(match name {
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => value.as_float().is_some(),
            "string" => matches!(value, Value::Str(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => matches!(
                value,
                Value::Undefined(..)
                    | Value::Str(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Range(_)
            ),
            "iterable" => !matches!(
                value,
                Value::None
                    | Value::Bool(_)
                    | Value::Int(_)
                    | Value::Float(_)
                    | Value::Namespace(_)
                    | Value::Callable(_)
            ),
            "callable" => match value {
                Value::Callable(callable) => {
                    !matches!(callable.callable(), super::value::Callable::Cycler(..))
                }
                other => matches!(other, Value::Undefined(..) | Value::Loop(_)),
            },
            "odd" | "even" => {
                let rest = ops::binary(Binary::Modulo, value, &Value::Int(2), &self.heap)?;
                equal(&rest, &Value::Int(i128::from(name == "odd")), &self.heap)?
            }
            "lower" | "upper" => {
                let text = text_of(value, &self.heap)?;
                let method = if name == "lower" { "islower" } else { "isupper" };
                strings::call(&text, method, Args::default(), &self.heap)?.is_true()
            }
            "escaped" => matches!(value, Value::Str(text) if text.is_markup()),
            "filter" | "test" => {
                let list = if name == "filter" { builtins::FILTERS } else { builtins::TESTS };
                let Value::Str(name) = value else { return Ok(false) };
                list.contains(&name.as_str())
            }
            other => return Err(Error::failed(format!("No test named '{other}'."))),
        })
    }
}

/// Python's `is`, as far as templates can tell.
fn same(left: &Value, right: &Value) -> bool {
    use std::rc::Rc;
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Str(left), Value::Str(right)) => left.as_str() == right.as_str(),
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            Rc::ptr_eq(left, right)
        }
        (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
        (Value::Namespace(left), Value::Namespace(right)) => left == right,
        (Value::Loop(left), Value::Loop(right)) => Rc::ptr_eq(left, right),
        (Value::Callable(left), Value::Callable(right)) => Rc::ptr_eq(left, right),
        _ => false,
    }
}
