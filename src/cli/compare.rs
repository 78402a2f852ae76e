//! `bench compare`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::error::CliError;
use super::flags::{CompareFlags, FailIf};
use super::{inputs, print, print_json, table};
use crate::bench::compare::{CompareError, Comparison, Row, Side, Verdict, compare};

/// Compares two results and prints the verdicts. The HTML page, if asked for, is written first.
pub fn bench_compare(flags: &CompareFlags) -> Result<ExitCode, CliError> {
    let text = text_of(&flags.a)?;
    let a = read(&flags.a, &text)?;
    let b = match &flags.b {
        Some(b) => read(b, &text_of(b)?)?,
        None => Side::against(&flags.a.display().to_string(), &text).map_err(usage)?,
    };
    let change_min = flags.min_change / 100.0;
    if !(0.0..=10.0).contains(&change_min) {
        return Err(CliError::usage(format!(
            "--min-change {}: give a percentage from 0 to 1000",
            flags.min_change
        )));
    }
    let comparison = compare(a, b, flags.partial, change_min);
    let comparison = comparison.map_err(usage)?;
    if let Some(output) = &flags.output {
        write_page(flags, output, &comparison)?;
    }
    let is_decided = comparison.rows.iter().any(|row| row.p.is_some());
    if flags.fail_if.contains(&FailIf::Worse) && !is_decided {
        let message = "--fail-if worse: these results have too few rounds to decide anything; measure both with --repeat 5";
        return Err(CliError::usage(message));
    }
    let printed = if flags.json { print_json(&comparison) } else { print(&as_text(&comparison)) }?;
    let failing = |row: &&Row| flags.fail_if.iter().any(|fails| fails.verdict() == row.verdict);
    match comparison.rows.iter().find(failing) {
        None => Ok(printed),
        Some(row) => {
            inputs::warn(&format!("B is {} in {} (--fail-if)", row.verdict.name(), row.label()));
            Ok(ExitCode::FAILURE)
        }
    }
}

impl FailIf {
    fn verdict(self) -> Verdict {
        match self {
            Self::Worse => Verdict::Worse,
            Self::Undecided => Verdict::Undecided,
            Self::Refused => Verdict::Refused,
        }
    }
}

fn text_of(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("{} can't be read: {error}", path.display())))
}

fn read(path: &Path, text: &str) -> Result<Side, CliError> {
    Side::parse(&path.display().to_string(), text).map_err(usage)
}

fn usage(error: CompareError) -> CliError {
    CliError::usage(error.to_string())
}

fn write_page(flags: &CompareFlags, output: &Path, comparison: &Comparison) -> Result<(), CliError> {
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    let input = [Some(&flags.a), flags.b.as_ref()].into_iter().flatten().find(|input| {
        canonical(output).is_some_and(|output| canonical(input).is_some_and(|input| input == output))
    });
    if input.is_some() {
        let output = output.display();
        return Err(CliError::usage(format!("--output {output} is one of the results: name another file")));
    }
    let page = comparison.html();
    Ok(fs::write(output, page).with_context(|| format!("{} can't be written", output.display()))?)
}

fn as_text(comparison: &Comparison) -> String {
    let mut text = comparison.head() + "\n";
    text.push_str(&table(&comparison.setting_lines()));
    text.push('\n');
    text.push_str(&table(&comparison.cells()));
    text.push('\n');
    for remark in comparison.remarks() {
        text.push_str(&remark);
        text.push('\n');
    }
    text
}
