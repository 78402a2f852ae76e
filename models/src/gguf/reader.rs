//! Reads and checks one file's header: the metadata index and the tensor table. Afterwards every range in the table
//! lies inside the file.

use std::path::Path;

use super::TensorInfo;
use super::cursor::{Cursor, Location, shortened};
use super::error::GgufError;
use super::ggml_type::GgmlType;
use super::value::{self, FromValue, Value};

/// Most dimensions of a tensor in the format.
const DIMS_MAX: u32 = 4;
/// Alignment of tensor data when the file does not specify one.
const ALIGNMENT_DEFAULT: u64 = 32;
/// The tables of a header may take this many bytes of memory beyond the file's size.
const TABLE_SLACK_BYTES: usize = 64 << 10;
/// The least bytes of a metadata entry: key length, one character, type, one byte of value.
const METADATA_ENTRY_BYTES_MIN: usize = 8 + 1 + 4 + 1;
/// The least bytes of a tensor entry: name length, one character, dimension count, one dimension, type, offset.
const TENSOR_ENTRY_BYTES_MIN: usize = 8 + 1 + 4 + 8 + 4 + 8;

#[derive(Debug)]
pub(super) struct Header {
    /// Offsets of the metadata entries, ordered by key.
    pub(super) entries: Vec<usize>,
    /// In the file's order.
    pub(super) tensors: Vec<TensorInfo>,
}

/// Memory that the tables of this file may still take. It keeps a small file from asking for large tables.
struct Budget {
    bytes_left: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize, cursor: &Cursor<'_>) -> Result<(), GgufError> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => {
                return Err(cursor.malformed(cursor.at, "the tensor table is larger than what it describes"));
            }
        }
        Ok(())
    }
}

/// Reads the header of `bytes`. `file` only appears in error messages.
pub(super) fn read(bytes: &[u8], file: &Path) -> Result<Header, GgufError> {
    let mut cursor = Cursor { bytes, at: 0, file, place: Location::Header };
    check_version(&mut cursor)?;
    let tensor_count = cursor.count("tensors", TENSOR_ENTRY_BYTES_MIN)?;
    let entry_count = cursor.count("metadata entries", METADATA_ENTRY_BYTES_MIN)?;
    let mut budget = Budget { bytes_left: bytes.len() + TABLE_SLACK_BYTES };
    budget.spend(entry_count * size_of::<usize>(), &cursor)?;
    let entries = read_entries(&mut cursor, entry_count)?;
    let alignment = alignment(&cursor, &entries)?;
    cursor.place = Location::Header;
    // Includes one word per tensor for the index by name.
    budget.spend(tensor_count * (size_of::<TensorInfo>() + size_of::<usize>()), &cursor)?;
    let mut tensors = Vec::with_capacity(tensor_count);
    for index in 0..tensor_count {
        cursor.place = Location::TensorEntry(index as u64);
        tensors.push(read_tensor(&mut cursor, &mut budget)?);
    }
    place_data(&cursor, alignment, &mut tensors)?;
    Ok(Header { entries, tensors })
}

/// Reads the file's first bytes and its version.
fn check_version(cursor: &mut Cursor<'_>) -> Result<(), GgufError> {
    let magic = &cursor.bytes[..cursor.bytes.len().min(4)];
    if magic != b"GGUF" {
        let found = match magic {
            [] => "nothing: the file is empty".to_owned(),
            other => format!("\"{}\"", other.escape_ascii()),
        };
        return Err(GgufError::NotGguf { file: cursor.file.to_owned(), found });
    }
    cursor.take(4)?;
    match cursor.u32()? {
        2 | 3 => Ok(()),
        version => Err(GgufError::Version { file: cursor.file.to_owned(), version }),
    }
}

/// Walks over all metadata and returns the offsets of the entries, ordered by key.
fn read_entries(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<usize>, GgufError> {
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        cursor.place = Location::MetadataEntry(index as u64);
        let start = cursor.at;
        let key = cursor.string()?;
        if key.is_empty() {
            return Err(cursor.malformed(start, "its key is empty"));
        }
        cursor.place = Location::Key(key);
        value::read_typed(cursor)?;
        entries.push(start);
    }
    let (bytes, file) = (cursor.bytes, cursor.file);
    entries.sort_unstable_by_key(|&at| key_at(bytes, file, at));
    if let Some(twice) =
        entries.windows(2).find(|pair| key_at(bytes, file, pair[0]) == key_at(bytes, file, pair[1]))
    {
        cursor.place = Location::Key(key_at(bytes, file, twice[1]));
        return Err(cursor.malformed(twice[0].max(twice[1]), "the key is given twice"));
    }
    Ok(entries)
}

/// The key of the entry at offset `at`.
fn key_at<'a>(bytes: &'a [u8], file: &'a Path, at: usize) -> &'a str {
    Cursor { bytes, at, file, place: Location::Header }.string().unwrap_or_default()
}

/// The offset of the entry of `key`, and its value. `entries` must come from [`read`] of the same bytes.
pub(super) fn find<'a>(
    bytes: &'a [u8],
    file: &'a Path,
    entries: &[usize],
    key: &str,
) -> Option<(usize, Value<'a>)> {
    let found = entries.binary_search_by_key(&key, |&at| key_at(bytes, file, at)).ok()?;
    let at = entries[found];
    value_at(bytes, file, at).map(|(_, value)| (at, value))
}

/// Key and value of the entry at offset `at`.
pub(super) fn value_at<'a>(bytes: &'a [u8], file: &'a Path, at: usize) -> Option<(&'a str, Value<'a>)> {
    let mut cursor = Cursor { bytes, at, file, place: Location::Header };
    let key = cursor.string().ok()?;
    cursor.place = Location::Key(key);
    Some((key, value::read_typed(&mut cursor).ok()?))
}

fn alignment(cursor: &Cursor<'_>, entries: &[usize]) -> Result<u64, GgufError> {
    let Some((at, value)) = find(cursor.bytes, cursor.file, entries, "general.alignment") else {
        return Ok(ALIGNMENT_DEFAULT);
    };
    match u64::from_value(&value) {
        Some(alignment) if alignment.is_power_of_two() => Ok(alignment),
        _ => {
            let at_key = Cursor { place: Location::Key("general.alignment"), ..cursor.clone() };
            Err(at_key.malformed(at, "it must be a power of two"))
        }
    }
}

/// Reads one entry of the tensor table. Its `offset` is still relative to the start of the tensor data.
fn read_tensor(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<TensorInfo, GgufError> {
    let start = cursor.at;
    let name = cursor.string()?;
    if name.is_empty() {
        return Err(cursor.malformed(start, "its name is empty"));
    }
    cursor.place = Location::Tensor(name);
    let dims = cursor.u32()?;
    if dims == 0 || dims > DIMS_MAX {
        return Err(cursor
            .malformed(start, format!("it has {dims} dimensions, but only 1 to {DIMS_MAX} are possible")));
    }
    budget.spend(name.len() + dims as usize * size_of::<u64>(), cursor)?;
    let mut shape = Vec::with_capacity(dims as usize);
    for _ in 0..dims {
        shape.push(cursor.u64()?);
    }
    let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let Some(elements) = elements.filter(|&elements| elements > 0) else {
        return Err(cursor.malformed(start, format!("its shape {shape:?} is impossible")));
    };
    let ggml_type = cursor.u32()?;
    let bytes = match GgmlType::from_id(ggml_type) {
        None => 0,
        Some(known) => known.bytes(shape[0], elements).ok_or_else(|| {
            let problem =
                format!("its shape {shape:?} does not fit blocks of {} {}", known.block_elements, known.name);
            cursor.malformed(start, problem)
        })?,
    };
    let offset = cursor.u64()?;
    Ok(TensorInfo { name: name.to_owned(), shape, ggml_type, part: 0, offset, bytes })
}

/// Makes offsets relative to the start of the file, and checks that tensors are aligned, inside the file, and apart.
fn place_data(cursor: &Cursor<'_>, alignment: u64, tensors: &mut [TensorInfo]) -> Result<(), GgufError> {
    let file_bytes = cursor.bytes.len() as u64;
    let data_start = (cursor.at as u64).checked_next_multiple_of(alignment);
    for tensor in &mut *tensors {
        let fail = |problem: String| {
            let at_tensor = Cursor { place: Location::Tensor(&tensor.name), ..cursor.clone() };
            at_tensor.malformed(cursor.at, problem)
        };
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(fail(format!("its data offset {} is not a multiple of {alignment}", tensor.offset)));
        }
        let start = data_start.and_then(|data_start| data_start.checked_add(tensor.offset));
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_bytes => tensor.offset = start,
            (Some(start), _) => {
                return Err(GgufError::Truncated {
                    file: cursor.file.to_owned(),
                    place: Location::Tensor(&tensor.name).to_string(),
                    offset: start,
                    needed: tensor.bytes,
                    left: file_bytes.saturating_sub(start),
                });
            }
            (None, _) => return Err(fail(format!("its data offset {} lies past the end", tensor.offset))),
        }
    }
    no_overlap(cursor, tensors)
}

/// Overlapping data would let a small file describe a huge model.
fn no_overlap(cursor: &Cursor<'_>, tensors: &[TensorInfo]) -> Result<(), GgufError> {
    let in_order = tensors.windows(2).all(|pair| pair[0].offset + pair[0].bytes <= pair[1].offset);
    if in_order {
        return Ok(());
    }
    let mut by_offset: Vec<usize> = (0..tensors.len()).collect();
    by_offset.sort_unstable_by_key(|&index| (tensors[index].offset, tensors[index].bytes));
    for pair in by_offset.windows(2) {
        let (first, second) = (&tensors[pair[0]], &tensors[pair[1]]);
        if first.offset + first.bytes > second.offset {
            let at_tensor = Cursor { place: Location::Tensor(&second.name), ..cursor.clone() };
            let problem = format!("its data overlaps that of `{}`", shortened(&first.name));
            return Err(at_tensor.malformed(second.offset as usize, problem));
        }
    }
    Ok(())
}
