//! Where a result comes from: the machine, the command and the version, looked at before anything is measured.

use bandmaster_models::Cpu;

use super::machine::Machine;

/// Goes into every result.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// Where it was measured.
    pub machine: Machine,
    /// The command that makes it again, as a shell takes it.
    pub command: String,
    /// Version of this program.
    pub version: String,
}

impl Origin {
    /// Here and now.
    #[must_use]
    pub fn here() -> Self {
        let machine = Machine::here(Cpu::new(1).isa().name());
        let words = std::env::args_os().map(|word| quoted(&word.to_string_lossy()));
        let command = words.collect::<Vec<_>>().join(" ");
        Self { machine, command, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A word as a POSIX shell reads it.
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
    fn a_command_can_be_typed_again() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("--url=http://127.0.0.1:8080/v1", "--url=http://127.0.0.1:8080/v1");
        check("my goals.jsonl", "'my goals.jsonl'");
        check("it's", r"'it'\''s'");
        check("", "''");
    }
}
