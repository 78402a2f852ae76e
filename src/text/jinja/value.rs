//! The values that templates compute with: Python's, as far as templates use them. Containers never change once they
//! are made, so no value can contain itself, and each container knows its depth.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashTable;

use super::heap::{Charge, CountedVec, Heap};
use super::{Error, Result};

/// Nesting depth of containers. JSON from clients has at most 128 levels.
pub(super) const DEPTH_MAX: u16 = 200;
/// Rough memory of an allocation in addition to its contents.
pub(super) const OVERHEAD_BYTES: usize = 96;

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The kind of object that lacks an attribute (`""` for a variable), and the missing name.
    Undefined(&'static str, Option<Text>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    /// Start, stop and step.
    Range(Rc<[i64; 3]>),
    /// `dict.keys()`, `dict.values()` and `dict.items()`.
    View(View, Rc<Dict>),
    /// Items that can be iterated only once, such as the results of `map` and `select`.
    Stream(Rc<Stream>),
    /// Index into the machine's list of namespaces.
    Namespace(usize),
    Loop(Rc<Loop>),
    Callable(Rc<CountedCallable>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Debug)]
pub(super) struct Text(Rc<TextInner>);

#[derive(Debug)]
struct TextInner {
    text: Box<str>,
    /// Whether the text is markup: other text that is added to it gets escaped.
    markup: bool,
    _charge: Charge,
}

#[derive(Debug)]
pub(super) struct Items {
    pub(super) values: Vec<Value>,
    /// Names of the first items, for named tuples (`grouper`, `list`).
    pub(super) names: &'static [&'static str],
    depth: u16,
    _charge: Charge,
}

#[derive(Debug)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    /// Indices into `entries` by the key's hash; empty for small dictionaries.
    pub(super) index: HashTable<(u64, u32)>,
    pub(super) depth: u16,
    pub(super) _charge: Charge,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// The remaining items, in reverse.
    rest: RefCell<Vec<Value>>,
    depth: u16,
    _charge: Charge,
}

/// The variable `loop`.
#[derive(Debug)]
pub(super) struct Loop {
    /// Identifies the loop; the last values given to `changed` are kept under it.
    pub(super) number: u64,
    pub(super) at: Cell<usize>,
    pub(super) items: Vec<Value>,
    /// Depth of recursive loops; 0 for the outermost.
    pub(super) depth0: i128,
    /// For recursive loops: the loop's index in the template, and the scope around it.
    pub(super) recursive: Option<(u32, ScopeRef)>,
    pub(super) depth: u16,
    pub(super) _charge: Charge,
}

/// Refers to a scope that may no longer exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeRef {
    pub(super) index: usize,
    pub(super) generation: u64,
}

/// A callable together with the memory that it counts for.
#[derive(Debug)]
pub(super) struct CountedCallable {
    what: Callable,
    _charge: Charge,
}

impl CountedCallable {
    pub(super) fn callable(&self) -> &Callable {
        &self.what
    }
}

#[derive(Debug)]
pub(super) enum Callable {
    Global(&'static str),
    Method(Value, &'static str),
    Macro(u32, ScopeRef),
    /// The items as a list, and the index of the next one.
    Cycler(Value, Cell<usize>),
    Joiner(Value, Cell<bool>),
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(super) fn is_markup(&self) -> bool {
        self.0.markup
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.text
    }
}

impl Heap {
    pub(super) fn text(&self, text: impl Into<Box<str>>) -> Result<Text> {
        self.text_as(text, false)
    }

    pub(super) fn text_as(&self, text: impl Into<Box<str>>, markup: bool) -> Result<Text> {
        let text = text.into();
        let charge = self.charge(text.len() + OVERHEAD_BYTES)?;
        Ok(Text(Rc::new(TextInner { text, markup, _charge: charge })))
    }

    pub(super) fn str(&self, text: impl Into<Box<str>>) -> Result<Value> {
        Ok(Value::Str(self.text(text)?))
    }

    fn items(&self, values: impl Countable<Value>, names: &'static [&'static str]) -> Result<Rc<Items>> {
        let (values, mut charge) = values.counted(self)?;
        let depth = depth_of(values.iter())?;
        charge.grow(OVERHEAD_BYTES)?;
        Ok(Rc::new(Items { values, names, depth, _charge: charge }))
    }

    pub(super) fn list(&self, values: impl Countable<Value>) -> Result<Value> {
        Ok(Value::List(self.items(values, &[])?))
    }

    pub(super) fn tuple(&self, values: impl Countable<Value>) -> Result<Value> {
        Ok(Value::Tuple(self.items(values, &[])?))
    }

    pub(super) fn named_tuple(&self, values: Vec<Value>, names: &'static [&'static str]) -> Result<Value> {
        Ok(Value::Tuple(self.items(values, names)?))
    }

    pub(super) fn stream(&self, values: impl Countable<Value>) -> Result<Value> {
        let (mut values, mut charge) = values.counted(self)?;
        let depth = depth_of(values.iter())?;
        values.reverse();
        charge.grow(OVERHEAD_BYTES)?;
        Ok(Value::Stream(Rc::new(Stream { rest: RefCell::new(values), depth, _charge: charge })))
    }

    pub(super) fn callable(&self, what: Callable) -> Result<Value> {
        let charge = self.charge(size_of::<CountedCallable>() + OVERHEAD_BYTES)?;
        Ok(Value::Callable(Rc::new(CountedCallable { what, _charge: charge })))
    }
}

/// A list of items whose memory can be counted.
pub(super) trait Countable<T> {
    fn counted(self, heap: &Heap) -> Result<(Vec<T>, Charge)>;
}

/// A plain vector is bounded by the template's text or was counted before.
impl<T> Countable<T> for Vec<T> {
    fn counted(self, heap: &Heap) -> Result<(Vec<T>, Charge)> {
        let charge = heap.charge(size_of_val(self.as_slice()))?;
        Ok((self, charge))
    }
}

impl<T> Countable<T> for CountedVec<T> {
    fn counted(self, _: &Heap) -> Result<(Vec<T>, Charge)> {
        Ok(self.into_parts())
    }
}

pub(super) fn too_deep() -> Error {
    Error::Limit(format!("a value holds others more than {DEPTH_MAX} levels deep"))
}

pub(super) fn depth_of<'v>(values: impl Iterator<Item = &'v Value>) -> Result<u16> {
    let depth = values.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > DEPTH_MAX { Err(too_deep()) } else { Ok(depth) }
}

impl Stream {
    pub(super) fn next(&self) -> Option<Value> {
        self.rest.borrow_mut().pop()
    }

    /// The remaining items, in order.
    pub(super) fn take(&self) -> Vec<Value> {
        let mut rest = self.rest.take();
        rest.reverse();
        rest
    }
}

impl Value {
    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::List(items) | Self::Tuple(items) => items.depth,
            Self::Dict(dict) => dict.depth,
            Self::View(_, dict) => dict.depth + 1,
            Self::Stream(stream) => stream.depth,
            Self::Loop(state) => state.depth,
            Self::Callable(callable) => match callable.callable() {
                Callable::Method(value, _) | Callable::Joiner(value, _) | Callable::Cycler(value, _) => {
                    value.depth() + 1
                }
                Callable::Global(_) | Callable::Macro(..) => 1,
            },
            _ => 0,
        }
    }

    /// The name of its type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(..) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Range(_) => "range",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Stream(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Callable(callable) => match callable.callable() {
                Callable::Global(_) => "function",
                Callable::Method(..) => "builtin_function_or_method",
                Callable::Macro(..) => "Macro",
                Callable::Cycler(..) => "Cycler",
                Callable::Joiner(..) => "Joiner",
            },
        }
    }

    pub(super) fn as_text(&self) -> Option<&Text> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The number of an `int` or a `bool`.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Bool(bool) => Some(i128::from(*bool)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            other => other.as_int().map(|int| int as f64),
        }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(..))
    }

    /// An error if the value is undefined.
    pub(super) fn defined(&self) -> Result<()> {
        match self {
            Self::Undefined("", Some(name)) => {
                Err(Error::failed(format!("'{}' is undefined", name.as_str())))
            }
            Self::Undefined("", None) => Err(Error::failed("a value is undefined")),
            Self::Undefined(kind, name) => {
                let name = name.as_ref().map_or("", Text::as_str);
                Err(Error::failed(format!("'{kind}' has no attribute '{}'", shortened(name))))
            }
            _ => Ok(()),
        }
    }

    /// Truth by Python's rules.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(..) | Self::None => false,
            Self::Bool(bool) => *bool,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.values.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.entries.is_empty(),
            Self::Range(range) => range_len(range) > 0,
            Self::Stream(_) | Self::Namespace(_) | Self::Loop(_) | Self::Callable(_) => true,
        }
    }

    /// `len(value)`; `None` if Python defines no length.
    pub(super) fn len(&self, heap: &Heap) -> Result<Option<usize>> {
        Ok(Some(match self {
            Self::Undefined(..) => 0,
            Self::Str(text) => {
                heap.touch(text.len())?;
                text.chars().count()
            }
            Self::List(items) | Self::Tuple(items) => items.values.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.entries.len(),
            Self::Range(range) => range_len(range),
            Self::Loop(state) => state.items.len(),
            _ => return Ok(None),
        }))
    }

    /// The two items of a pair. `function` is named in the error.
    pub(super) fn pair(&self, function: &str, heap: &Heap) -> Result<(Value, Value)> {
        let mut items = self.iterate(heap)?.into_iter();
        match (items.next(), items.next(), items.next()) {
            (Some(first), Some(second), None) => Ok((first, second)),
            _ => Err(Error::failed(format!("{function}() needs pairs"))),
        }
    }

    /// All items, in the order in which `for` visits them.
    pub(super) fn iterate(&self, heap: &Heap) -> Result<CountedVec<Value>> {
        heap.burn(1)?;
        match self {
            Self::Undefined(..) => CountedVec::new(heap),
            Self::Str(text) => {
                let (mut chars, mut buffer) = (CountedVec::new(heap)?, [0; 4]);
                for c in text.chars() {
                    chars.push(heap.str(&*c.encode_utf8(&mut buffer))?)?;
                }
                Ok(chars)
            }
            Self::List(items) | Self::Tuple(items) => CountedVec::collect(items.values.iter().cloned(), heap),
            Self::Dict(dict) => dict_items(View::Keys, dict, heap),
            Self::View(view, dict) => dict_items(*view, dict, heap),
            Self::Range(range) => {
                let len = range_len(range);
                let [start, _, step] = **range;
                let item = |at: usize| Value::Int(i128::from(start + at as i64 * step));
                CountedVec::collect((0..len).map(item), heap)
            }
            Self::Stream(stream) => CountedVec::collect(stream.take().into_iter(), heap),
            Self::Loop(state) => {
                let rest = state.items.get(state.at.get() + 1..).unwrap_or_default();
                CountedVec::collect(rest.iter().cloned(), heap)
            }
            _ => Err(Error::failed(format!("'{}' object is not iterable", self.type_name()))),
        }
    }
}

fn dict_items(view: View, dict: &Dict, heap: &Heap) -> Result<CountedVec<Value>> {
    let mut items = CountedVec::new(heap)?;
    for (key, value) in &dict.entries {
        items.push(match view {
            View::Keys => key.clone(),
            View::Values => value.clone(),
            View::Items => heap.tuple(vec![key.clone(), value.clone()])?,
        })?;
    }
    Ok(items)
}

pub(super) fn range_len(range: &[i64; 3]) -> usize {
    let [start, stop, step] = range.map(i128::from);
    let span = if step > 0 { stop - start } else { start - stop };
    let step = step.abs();
    usize::try_from((span + step - 1).div_euclid(step)).unwrap_or(0)
}

/// A name, short enough for an error message.
pub(super) fn shortened(name: &str) -> String {
    cut(name, 100)
}

/// A text of at most so many characters, with an ellipsis if it was cut.
pub(super) fn cut(name: &str, chars_max: usize) -> String {
    match name.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
