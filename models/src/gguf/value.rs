//! Metadata values, decoded from the file's bytes on demand. Only what a caller collects is copied.

use super::cursor::Cursor;
use super::error::GgufError;

/// Arrays nested deeper than this are refused. No known file nests them at all.
const ARRAY_DEPTH_MAX: usize = 4;

const U8: u32 = 0;
const I8: u32 = 1;
const U16: u32 = 2;
const I16: u32 = 3;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;
const F64: u32 = 12;

/// One metadata value, borrowed from the file.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

/// Values of one type, in the file's order.
#[derive(Debug, Clone)]
pub struct Array<'a> {
    element_type: u32,
    len: usize,
    first: Cursor<'a>,
}

impl<'a> Array<'a> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Iterates over the elements. Ends early if the file was changed since it was opened.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut cursor = self.first.clone();
        let element_type = self.element_type;
        (0..self.len).map_while(move |_| read(&mut cursor, element_type, 1).ok())
    }
}

impl Value<'_> {
    /// The name of the value's type, for error messages.
    pub fn type_name(&self) -> String {
        match self {
            Value::U8(_) => type_name(U8).into(),
            Value::I8(_) => type_name(I8).into(),
            Value::U16(_) => type_name(U16).into(),
            Value::I16(_) => type_name(I16).into(),
            Value::U32(_) => type_name(U32).into(),
            Value::I32(_) => type_name(I32).into(),
            Value::U64(_) => type_name(U64).into(),
            Value::I64(_) => type_name(I64).into(),
            Value::F32(_) => type_name(F32).into(),
            Value::F64(_) => type_name(F64).into(),
            Value::Bool(_) => type_name(BOOL).into(),
            Value::Str(_) => type_name(STRING).into(),
            Value::Array(array) => format!("array of {} {}", array.len, type_name(array.element_type)),
        }
    }
}

fn type_name(id: u32) -> &'static str {
    match id {
        U8 => "u8",
        I8 => "i8",
        U16 => "u16",
        I16 => "i16",
        U32 => "u32",
        I32 => "i32",
        F32 => "f32",
        BOOL => "bool",
        STRING => "string",
        ARRAY => "array",
        U64 => "u64",
        I64 => "i64",
        F64 => "f64",
        _ => "unknown",
    }
}

/// The fewest bytes an element of this type takes in a file; `None` for an unknown type.
fn bytes_min(id: u32) -> Option<usize> {
    match id {
        U8 | I8 | BOOL => Some(1),
        U16 | I16 => Some(2),
        U32 | I32 | F32 => Some(4),
        U64 | I64 | F64 | STRING => Some(8),
        ARRAY => Some(12),
        _ => None,
    }
}

/// Reads a value's type and then the value.
pub(super) fn read_typed<'a>(cursor: &mut Cursor<'a>) -> Result<Value<'a>, GgufError> {
    let value_type = cursor.u32()?;
    read(cursor, value_type, 0)
}

/// Reads a value and moves the cursor behind it. Everything inside is checked; nothing is allocated.
fn read<'a>(cursor: &mut Cursor<'a>, value_type: u32, depth: usize) -> Result<Value<'a>, GgufError> {
    Ok(match value_type {
        U8 => Value::U8(u8::from_le_bytes(cursor.array()?)),
        I8 => Value::I8(i8::from_le_bytes(cursor.array()?)),
        U16 => Value::U16(u16::from_le_bytes(cursor.array()?)),
        I16 => Value::I16(i16::from_le_bytes(cursor.array()?)),
        U32 => Value::U32(cursor.u32()?),
        I32 => Value::I32(i32::from_le_bytes(cursor.array()?)),
        U64 => Value::U64(cursor.u64()?),
        I64 => Value::I64(i64::from_le_bytes(cursor.array()?)),
        F32 => Value::F32(f32::from_le_bytes(cursor.array()?)),
        F64 => Value::F64(f64::from_le_bytes(cursor.array()?)),
        BOOL => Value::Bool(cursor.array::<1>()?[0] != 0),
        STRING => Value::Str(cursor.string()?),
        ARRAY => Value::Array(read_array(cursor, depth)?),
        unknown => {
            return Err(
                cursor.malformed(cursor.at, format!("a value has type {unknown}, which does not exist"))
            );
        }
    })
}

fn read_array<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Array<'a>, GgufError> {
    let start = cursor.at;
    if depth == ARRAY_DEPTH_MAX {
        return Err(cursor.malformed(start, format!("arrays are nested more than {ARRAY_DEPTH_MAX} deep")));
    }
    let element_type = cursor.u32()?;
    let Some(element_bytes) = bytes_min(element_type) else {
        return Err(cursor.malformed(
            start,
            format!("an array has elements of type {element_type}, which does not exist"),
        ));
    };
    let len = cursor.count("array elements", element_bytes)?;
    let first = cursor.clone();
    if matches!(element_type, STRING | ARRAY) {
        for _ in 0..len {
            read(cursor, element_type, depth + 1)?;
        }
    } else {
        cursor.take((len * element_bytes) as u64)?;
    }
    Ok(Array { element_type, len, first })
}

/// Types that a metadata value can be converted to.
pub trait FromValue<'a>: Sized {
    /// Describes the wanted type in error messages.
    const WANTED: &'static str;
    /// Converts the value; `None` when it has another type. Integers of any width are accepted if they fit.
    fn from_value(value: &Value<'a>) -> Option<Self>;
}

/// The value of any integer type; `None` for other types.
fn integer(value: &Value<'_>) -> Option<i128> {
    Some(match *value {
        Value::U8(v) => v.into(),
        Value::I8(v) => v.into(),
        Value::U16(v) => v.into(),
        Value::I16(v) => v.into(),
        Value::U32(v) => v.into(),
        Value::I32(v) => v.into(),
        Value::U64(v) => v.into(),
        Value::I64(v) => v.into(),
        _ => return None,
    })
}

macro_rules! integers {
    ($($int:ty: $wanted:literal),*) => {$(
        impl<'a> FromValue<'a> for $int {
            const WANTED: &'static str = $wanted;
            fn from_value(value: &Value<'a>) -> Option<Self> {
                integer(value)?.try_into().ok()
            }
        }
    )*};
}

integers!(u32: "an unsigned 32-bit integer", u64: "an unsigned 64-bit integer", i32: "a 32-bit integer", i64: "a 64-bit integer", usize: "an unsigned integer");

impl<'a> FromValue<'a> for f32 {
    const WANTED: &'static str = "a floating-point number";
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::F32(v) => Some(v),
            Value::F64(v) => Some(v as f32),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for bool {
    const WANTED: &'static str = "a boolean";
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Bool(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WANTED: &'static str = "a string";
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Str(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for Array<'a> {
    const WANTED: &'static str = "an array";
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Array(array) => Some(array.clone()),
            _ => None,
        }
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    const WANTED: &'static str = "an array with elements of the right type";
    fn from_value(value: &Value<'a>) -> Option<Self> {
        let Value::Array(array) = value else { return None };
        array.iter().map(|element| T::from_value(&element)).collect()
    }
}
