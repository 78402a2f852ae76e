//! Tells the program which commit it is built from. Only release builds are told: the others are made too often for every
//! commit to compile the program again.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    // A source archive without its repository may lie inside somebody else's: that one's commit would be wrong.
    let top = git(&["rev-parse", "--show-toplevel"]);
    let here = std::env::var("CARGO_MANIFEST_DIR").ok();
    let same =
        |top: &String, here: &String| std::fs::canonicalize(top).ok() == std::fs::canonicalize(here).ok();
    if !top.zip(here).is_some_and(|(top, here)| same(&top, &here)) {
        return;
    }
    let reference = git(&["symbolic-ref", "-q", "HEAD"]).unwrap_or_else(|| "HEAD".to_owned());
    for name in ["HEAD", &reference, "packed-refs"] {
        if let Some(path) =
            git(&["rev-parse", "--git-path", name]).filter(|path| std::path::Path::new(path).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=BANDMASTER_COMMIT={commit}");
    }
}
