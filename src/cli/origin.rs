//! Where a result comes from: the machine, the command and the version, looked at before anything is measured.

use bandmaster_models::Cpu;

use super::inputs;
use crate::bench::machine::Machine;

/// Goes into every result.
#[derive(Debug, Clone)]
pub struct Origin {
    /// This one.
    pub machine: Machine,
    /// As a shell would take it again.
    pub command: String,
    /// Of this program.
    pub version: String,
}

impl Origin {
    /// Here and now; warns when the machine is busy with something else.
    pub fn here() -> Self {
        let machine = Machine::here(Cpu::new(1).isa().name());
        if let Some(warning) = machine.busy_warning() {
            inputs::warn(&warning);
        }
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
