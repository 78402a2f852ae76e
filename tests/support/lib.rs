//! Where tests find real models and test data, how a test says that it was skipped, and how files that are made from the
//! code are kept.
//!
//! | variable | meaning |
//! |---|---|
//! | `BANDMASTER_TEST_MODELS` | folder with `NAME.gguf` and `minilm-l6-v2/` of the default band |
//! | `BANDMASTER_TEST_MODELS_REQUIRED` | with `1`, a test that lacks a model fails instead of being skipped |
//! | `BANDMASTER_TEST_SKIPS` | file to which each skipped test appends a line |
//! | `BANDMASTER_BLESS` | with `1`, tests write the files that are made from the code instead of comparing them |
//! | `BANDMASTER_SHARED` | folder of the larger test data; `../shared` beside the checkout by default |

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Says that the test on this thread is skipped, and why. The line is also appended to the file that
/// `BANDMASTER_TEST_SKIPS` names, because the test runner hides what passing tests print.
pub fn skip(why: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped: {why}");
    if let Some(file) = std::env::var_os("BANDMASTER_TEST_SKIPS") {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        // One write a line, so that lines of several processes don't mix.
        let written = opened.and_then(|mut file| file.write_all(format!("{test}: {why}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("{} can't be written: {error}", file.display()));
    }
}

/// The folder of real models. Without one the test is skipped.
///
/// # Panics
/// When models are required and there is no folder.
#[must_use]
pub fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("BANDMASTER_TEST_MODELS").map(PathBuf::from).filter(|dir| dir.is_dir());
    if folder.is_none() {
        lacking("BANDMASTER_TEST_MODELS names no folder of models");
    }
    folder
}

/// A model in that folder: a file such as `smollm2-135m.gguf`, or a folder such as `minilm-l6-v2`. Without it the test is
/// skipped.
///
/// # Panics
/// When models are required and this one is missing.
#[must_use]
pub fn model(file: &str) -> Option<PathBuf> {
    let path = models()?.join(file);
    if path.exists() {
        return Some(path);
    }
    lacking(format!("no {}", path.display()));
    None
}

/// A file or folder of the larger test data. Without it the test is skipped.
#[must_use]
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("BANDMASTER_SHARED").map_or(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    skip(format!("no {}", path.display()));
    None
}

/// Compares a file of the repository, by its path there, with the text that the code makes of it. With
/// `BANDMASTER_BLESS=1` the file is written.
///
/// # Panics
/// When they differ.
pub fn check_made(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var("BANDMASTER_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{path} can't be written: {error}"));
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).find(|(kept, made)| kept != made);
    assert!(
        kept == text,
        "{path} is not what the code makes; BANDMASTER_BLESS=1 rewrites it. First: {differs:?}"
    );
}

fn lacking(why: impl Display) {
    let required = std::env::var("BANDMASTER_TEST_MODELS_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "{why}, and BANDMASTER_TEST_MODELS_REQUIRED=1 asks for it");
    skip(why);
}
