//! Keeps the text of every `--help`, and that the flags of settings are those of the table.

use std::collections::BTreeSet;
use std::fs;

use bandmaster_test_support::check_made;
use clap::{Command, CommandFactory};

use super::Cli;
use crate::cli::settings::ALL;

const FOLDER: &str = "tests/data/help";

fn built() -> Command {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    cli
}

#[test]
fn help_of_every_command_is_as_kept() {
    fn check(command: &mut Command, name: &str, files: &mut BTreeSet<String>) {
        let file = format!("{name}.txt");
        check_made(&format!("{FOLDER}/{file}"), &command.render_long_help().to_string());
        files.insert(file);
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let name = format!("{name}-{}", inner.get_name());
            check(inner, &name, files);
        }
    }
    let mut files = BTreeSet::new();
    check(&mut built(), "bandmaster", &mut files);
    let kept = fs::read_dir(FOLDER).unwrap();
    let kept: BTreeSet<String> =
        kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kept, files, "a file for each command, and no others");
}

#[test]
fn every_flag_of_serve_is_a_setting_with_its_help() {
    let cli = built();
    let serve = cli.find_subcommand("serve").unwrap();
    let mut flags: BTreeSet<&str> = serve.get_arguments().filter_map(|flag| flag.get_long()).collect();
    for about in ALL {
        let Some(name) = about.flag else { continue };
        assert!(flags.remove(name), "{}: serve has no --{name}", about.name);
        let flag = serve.get_arguments().find(|flag| flag.get_long() == Some(name)).unwrap();
        assert_eq!(flag.get_help().unwrap().to_string(), about.help(), "--{name}");
    }
    let others: Vec<&str> = flags.into_iter().collect();
    assert_eq!(others, ["band", "help", "verbose", "version"], "these are for one call, not kept");
}
