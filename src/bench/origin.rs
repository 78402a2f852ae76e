//! The origin of a result: machine, command and version, recorded before anything is measured.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use bandmaster_models::Cpu;
use bandmaster_models::gguf::Gguf;
use sha2::{Digest, Sha256};

use super::machine::Machine;

/// Part of every result.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Origin {
    pub machine: Machine,
    /// The command to repeat the measurement, quoted for a shell.
    pub command: String,
    /// Version of this program.
    pub version: String,
    #[serde(flatten)]
    pub build: Build,
}

/// Distinguishes builds and model files that version and names don't.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Build {
    /// Commit of a release build in hex; uncommitted changes don't show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// SHA-256 of this program's file in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_sha256: Option<String>,
    /// SHA-256 of each model file loaded in this process, by the model's name. For a split model the parts are hashed
    /// one after the other. A server's files are unknown.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models_sha256: BTreeMap<String, String>,
}

impl Build {
    /// The program that is running, built from `commit`.
    #[must_use]
    pub fn here(commit: Option<&str>) -> Self {
        let program = std::env::current_exe().and_then(|program| file_sha256(&program));
        Self {
            commit: commit.map(str::to_owned),
            binary_sha256: program.ok(),
            models_sha256: BTreeMap::new(),
        }
    }

    /// Adds the hash of a model's file or, for a split model, of all its parts in order. A folder has none.
    pub fn add_model(&mut self, name: &str, path: &Path) {
        let hash = match Gguf::open(path) {
            Ok(gguf) => files_sha256(&gguf.paths().collect::<Vec<_>>()),
            Err(_) => file_sha256(path),
        };
        if let Ok(hash) = hash {
            self.models_sha256.insert(name.to_owned(), hash);
        }
    }
}

/// SHA-256 of a file in hex.
///
/// # Errors
/// The system's error if the file can't be read.
pub(crate) fn file_sha256(path: &Path) -> io::Result<String> {
    files_sha256(&[path])
}

fn files_sha256(paths: &[impl AsRef<Path>]) -> io::Result<String> {
    let mut hasher = Sha256::new();
    for path in paths {
        io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hex.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Origin {
    /// The origin of a measurement that starts now, in this process.
    #[must_use]
    pub fn here(commit: Option<&str>) -> Self {
        let machine = Machine::here(Cpu::new(1).isa().name());
        let words = std::env::args_os().map(|word| quoted(&word.to_string_lossy()));
        let command = words.collect::<Vec<_>>().join(" ");
        Self { machine, command, version: env!("CARGO_PKG_VERSION").to_owned(), build: Build::here(commit) }
    }
}

/// Quotes a word for a POSIX shell if needed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_identified_by_its_own_file() {
        let build = Build::here(None);
        let program = std::env::current_exe().expect("a test is a program");
        assert_eq!(build.binary_sha256, file_sha256(&program).ok());
        assert_eq!(build.binary_sha256.map(|hash| hash.len()), Some(64));
    }

    #[test]
    fn a_split_model_is_identified_by_all_its_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |part: u16| folder.path().join(format!("m-0000{part}-of-00002.gguf"));
        let write = |part: u16, text: &str| {
            let mut writer = bandmaster_models::gguf::Writer::new();
            writer.set("general.architecture", "llama").set("general.name", text);
            writer.set("split.no", &(part - 1)).set("split.count", &2u16);
            std::fs::write(at(part), writer.finish()).expect("written");
        };
        let hash = || {
            let mut build = Build::here(None);
            build.add_model("m", &at(1));
            build.models_sha256.remove("m")
        };
        write(1, "a");
        write(2, "b");
        let first = hash().expect("all parts are there");
        write(2, "c");
        assert_ne!(hash(), Some(first), "the second part is another");
        let mut build = Build::here(None);
        build.add_model("one", &std::env::current_exe().expect("a program"));
        assert_eq!(build.models_sha256.get("one"), build.binary_sha256.as_ref(), "one file is its own hash");
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("--url=http://127.0.0.1:8080/v1", "--url=http://127.0.0.1:8080/v1");
        check("my goals.jsonl", "'my goals.jsonl'");
        check("it's", r"'it'\''s'");
        check("", "''");
    }
}
