//! Reads GGUF files (versions 2 and 3, little endian): metadata and the tensor table, over a memory map.
//!
//! Files are untrusted. Opening checks every count, offset and size against the file before use, allocates less than
//! the file's size plus 64 KiB, and never panics. Afterwards every tensor's range lies inside its file. Values are read
//! from the map on demand. What the keys and tensors mean is not known here.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod bytes;
mod cursor;
mod error;
mod ggml_type;
mod reader;
mod split;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;
pub(crate) use cursor::shortened;
use reader::Header;
use split::Split;

use crate::mapping::FileChanged;

pub use error::GgufError;
pub use ggml_type::GgmlType;
pub use value::{Array, FromValue, Value};
pub use writer::{Encode, Writer};

/// An open model: one file, or all parts of a split one.
#[derive(Debug)]
pub struct Gguf {
    /// At least one. The metadata is that of the first part.
    parts: Vec<Part>,
    /// Offsets of the metadata entries in the first part, ordered by key.
    entries: Vec<usize>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, ordered by name.
    by_name: Vec<usize>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    bytes: Bytes,
}

/// One entry of the tensor table. Its range was checked when the file was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// In ggml's order: `shape[0]` is the row length, over which products sum. One to four dimensions, none of them
    /// zero; their product fits in 64 bits.
    pub shape: Vec<u64>,
    /// Number of the element type; see [`GgmlType::from_id`].
    pub ggml_type: u32,
    /// Index of the file that holds the data, from 0; above 0 only in a split model.
    pub part: usize,
    /// Offset of the data in bytes from the start of that file.
    pub offset: u64,
    /// Size of the data in bytes; 0 when the type's size is unknown.
    pub bytes: u64,
}

impl TensorInfo {
    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The name of the element type, or its number if it is unknown.
    pub fn type_name(&self) -> String {
        GgmlType::from_id(self.ggml_type)
            .map_or_else(|| format!("type {}", self.ggml_type), |known| known.name.to_owned())
    }
}

impl Gguf {
    /// Maps the file at `path`. For any part of a split model, opens all parts.
    ///
    /// # Errors
    /// [`GgufError`] when the file can't be read, is not GGUF, is damaged, or a part is missing.
    pub fn open(path: &Path) -> Result<Gguf, GgufError> {
        let (part, header) = open_part(path)?;
        match split_of(&part, &header)? {
            Some(split) if split.parts > 1 => Gguf::open_split(path, split),
            _ => Gguf::assemble(vec![part], header),
        }
    }

    /// Reads a file from memory.
    ///
    /// # Errors
    /// As [`Gguf::open`]. A part of a split model is refused, since the others can't be found.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
        let part = Part { path: PathBuf::from("<memory>"), bytes: Bytes::Owned(bytes) };
        let header = reader::read(&part.bytes, &part.path)?;
        match split_of(&part, &header)? {
            Some(split) if split.parts > 1 => {
                Err(split_error(&part.path, "a part of a split model must be opened by its path"))
            }
            _ => Gguf::assemble(vec![part], header),
        }
    }

    /// The paths of the model's files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    fn open_split(path: &Path, split: Split) -> Result<Gguf, GgufError> {
        let mut parts = Vec::new();
        let mut whole: Option<Header> = None;
        for (index, part_path) in split::paths(path, split)?.into_iter().enumerate() {
            let (part, mut header) =
                open_part(&part_path).map_err(|error| missing_part(error, index, split))?;
            let expected = Split { part: index as u32, ..split };
            if split_of(&part, &header)? != Some(expected) {
                let problem = format!(
                    "it is not part {} of {}: get all parts from the same place",
                    index + 1,
                    split.parts
                );
                return Err(split_error(&part_path, problem));
            }
            header.tensors.iter_mut().for_each(|tensor| tensor.part = index);
            match &mut whole {
                Some(first) => first.tensors.append(&mut header.tensors),
                None => whole = Some(header),
            }
            parts.push(part);
        }
        let header = whole.expect("a split has parts");
        Gguf::assemble(parts, header)
    }

    fn assemble(parts: Vec<Part>, header: Header) -> Result<Gguf, GgufError> {
        let Header { entries, tensors } = header;
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        by_name.sort_unstable_by(|&a, &b| tensors[a].name.cmp(&tensors[b].name));
        if let Some(twice) = by_name.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
            let tensor = &tensors[twice[0].max(twice[1])];
            return Err(GgufError::Malformed {
                file: parts[tensor.part].path.clone(),
                place: cursor::Location::Tensor(&tensor.name).to_string(),
                offset: tensor.offset,
                problem: "the name is used twice".to_owned(),
            });
        }
        let gguf = Gguf { parts, entries, tensors, by_name };
        let announced: Option<usize> = gguf.value("split.tensors.count")?;
        match announced {
            Some(count) if gguf.parts.len() > 1 && count != gguf.tensors.len() => {
                let problem = format!(
                    "{count} tensors are announced, but all parts together hold {}: download them again",
                    gguf.tensors.len()
                );
                Err(split_error(gguf.path(), problem))
            }
            _ => Ok(gguf),
        }
    }

    /// The path of the first file.
    pub fn path(&self) -> &Path {
        &self.parts[0].path
    }

    /// Identifies the model's files by size, modification time and a checksum over a sample of pages. `None` for a
    /// model that is in no file.
    pub(crate) fn fingerprint(&self) -> Option<serde_json::Value> {
        const SAMPLES: usize = 256;
        const SAMPLE_BYTES: usize = 4096;
        let parts = self.parts.iter().map(|part| {
            let changed = part.bytes.modified()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            let mut hasher = crc32fast::Hasher::new();
            let last = part.bytes.len().saturating_sub(SAMPLE_BYTES);
            for sample in 0..SAMPLES {
                let at = last / (SAMPLES - 1) * sample;
                hasher.update(&part.bytes[at..(at + SAMPLE_BYTES).min(part.bytes.len())]);
            }
            hasher.update(&part.bytes[last..]);
            let (changed, sample) = (changed.as_nanos().to_string(), format!("{:08x}", hasher.finalize()));
            Some(serde_json::json!({ "bytes": part.bytes.len(), "changed_ns": changed, "sample_crc32": sample }))
        });
        parts.collect::<Option<Vec<_>>>().map(serde_json::Value::from)
    }

    /// Fails if a file was changed since it was opened. What was read from a truncated file may be zeros.
    ///
    /// # Errors
    /// [`FileChanged`] names the file.
    pub fn check(&self) -> Result<(), FileChanged> {
        self.parts.iter().try_for_each(|part| part.bytes.check())
    }

    /// The size of all files together, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// The value of `general.architecture`, e.g. `qwen2`.
    ///
    /// # Errors
    /// [`GgufError`] when the key is missing or not a string.
    pub fn architecture(&self) -> Result<&str, GgufError> {
        self.required("general.architecture")
    }

    /// The metadata value of `key`, if present.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.find(key).map(|(_, value)| value)
    }

    /// All metadata, ordered by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let Part { path, bytes } = &self.parts[0];
        self.entries.iter().filter_map(move |&at| reader::value_at(bytes, path, at))
    }

    /// The value of `key` as `T`: `u32`, `u64`, `usize`, `i32`, `f32`, `bool`, `&str` or a `Vec` of these. `None` if
    /// absent.
    ///
    /// # Errors
    /// [`GgufError::WrongType`] when the value has another type.
    pub fn value<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, GgufError> {
        let Some((offset, value)) = self.find(key) else { return Ok(None) };
        match T::from_value(&value) {
            Some(wanted) => Ok(Some(wanted)),
            None => Err(GgufError::WrongType {
                file: self.path().to_owned(),
                key: shortened(key),
                offset: offset as u64,
                found: value.type_name(),
                wanted: T::WANTED.to_owned(),
            }),
        }
    }

    /// The value of `key` as `T`, as in [`Gguf::value`].
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], or [`GgufError::WrongType`] when the value has another type.
    pub fn required<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, GgufError> {
        self.value(key)?
            .ok_or_else(|| GgufError::MissingKey { file: self.path().to_owned(), key: shortened(key) })
    }

    /// The tensor table, in the order of the files.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if present.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let found =
            self.by_name.binary_search_by(|&index| self.tensors[index].name.as_str().cmp(name)).ok()?;
        Some(&self.tensors[self.by_name[found]])
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`] when there is none.
    pub fn required_tensor(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        self.tensor(name)
            .ok_or_else(|| GgufError::MissingTensor { file: self.path().to_owned(), tensor: shortened(name) })
    }

    /// The data of `tensor`, which must be one of [`Gguf::tensors`].
    ///
    /// # Errors
    /// [`GgufError::UnknownType`] when the size of the type is unknown.
    pub fn data(&self, tensor: &TensorInfo) -> Result<&[u8], GgufError> {
        let part = &self.parts[tensor.part];
        if GgmlType::from_id(tensor.ggml_type).is_none() {
            return Err(GgufError::UnknownType {
                file: part.path.clone(),
                tensor: shortened(&tensor.name),
                offset: tensor.offset,
                ggml_type: tensor.ggml_type,
            });
        }
        Ok(&part.bytes[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize])
    }

    /// Gives the memory of a tensor's mapped pages back to the system. Later reads are correct but slow.
    pub(crate) fn release(&self, tensor: &TensorInfo) {
        self.parts[tensor.part]
            .bytes
            .release(tensor.offset as usize..(tensor.offset + tensor.bytes) as usize);
    }

    fn find(&self, key: &str) -> Option<(usize, Value<'_>)> {
        let Part { path, bytes } = &self.parts[0];
        reader::find(bytes, path, &self.entries, key)
    }
}

fn open_part(path: &Path) -> Result<(Part, Header), GgufError> {
    let bytes = Bytes::map(path).map_err(|source| GgufError::Io { file: path.to_owned(), source })?;
    let header = reader::read(&bytes, path)?;
    Ok((Part { path: path.to_owned(), bytes }, header))
}

/// The file's place in a split, if its metadata gives one.
fn split_of(part: &Part, header: &Header) -> Result<Option<Split>, GgufError> {
    let number = |key| match reader::find(&part.bytes, &part.path, &header.entries, key) {
        None => Ok(None),
        Some((_, value)) => match u32::from_value(&value) {
            // File names have five digits.
            Some(number) if number <= 99_999 => Ok(Some(number)),
            _ => Err(split_error(
                &part.path,
                format!("metadata key `{key}` is not a number of parts: download the file again"),
            )),
        },
    };
    match (number("split.no")?, number("split.count")?) {
        (Some(index), Some(parts)) if index < parts => Ok(Some(Split { part: index, parts })),
        (Some(index), Some(parts)) if parts > 0 => Err(split_error(
            &part.path,
            format!("it says that it is part {} of {parts}: download the file again", index + 1),
        )),
        _ => Ok(None),
    }
}

fn split_error(file: &Path, problem: impl Into<String>) -> GgufError {
    GgufError::Split { file: file.to_owned(), problem: problem.into() }
}

fn missing_part(error: GgufError, index: usize, split: Split) -> GgufError {
    match error {
        GgufError::Io { file, source } => {
            let problem = format!(
                "part {} of {} can't be read ({source}): put it beside the other parts",
                index + 1,
                split.parts
            );
            GgufError::Split { file, problem }
        }
        other => other,
    }
}
