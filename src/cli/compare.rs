//! `bench compare`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::error::CliError;
use super::flags::CompareFlags;
use super::{print, print_json, table};
use crate::bench::compare::read::Side;
use crate::bench::compare::{Comparison, compare};

/// Compares and prints; the page, if one is wanted, is written first.
pub fn bench_compare(flags: &CompareFlags) -> Result<ExitCode, CliError> {
    let (a, b) = (read(&flags.a)?, read(&flags.b)?);
    let comparison = compare(a, b, flags.partial).map_err(|error| CliError::usage(error.to_string()))?;
    if let Some(output) = &flags.output {
        write_page(flags, output, &comparison)?;
    }
    if flags.json { print_json(&comparison) } else { print(&as_text(&comparison)) }
}

fn read(path: &Path) -> Result<Side, CliError> {
    let file = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("{file} can't be read: {error}")))?;
    Side::parse(&file.to_string(), &text).map_err(|error| CliError::usage(error.to_string()))
}

fn write_page(flags: &CompareFlags, output: &Path, comparison: &Comparison) -> Result<(), CliError> {
    let place = |path: &Path| fs::canonicalize(path).ok();
    let input = [&flags.a, &flags.b]
        .into_iter()
        .find(|input| place(output).is_some_and(|output| place(input).is_some_and(|input| input == output)));
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
