//! Models split into several files, `NAME-00001-of-0000N.gguf` and so on: which files belong together.

use std::path::{Path, PathBuf};

use super::error::GgufError;

/// A file's place in its split, from its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Index of this file, from 0.
    pub(super) part: u32,
    /// Number of files in the split.
    pub(super) parts: u32,
}

/// The paths of all parts of the split that `path` belongs to, in order.
pub(super) fn paths(path: &Path, split: Split) -> Result<Vec<PathBuf>, GgufError> {
    let suffix = suffix(split.part, split.parts);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(prefix) = name.strip_suffix(&suffix) else {
        let problem = format!(
            "it is part {} of a model split into {} files, and its name does not end in `{suffix}`: rename the parts so that they can be found",
            split.part + 1,
            split.parts
        );
        return Err(GgufError::Split { file: path.to_owned(), problem });
    };
    Ok((0..split.parts)
        .map(|part| path.with_file_name(format!("{prefix}{}", self::suffix(part, split.parts))))
        .collect())
}

fn suffix(part: u32, parts: u32) -> String {
    format!("-{:05}-of-{parts:05}.gguf", part + 1)
}
