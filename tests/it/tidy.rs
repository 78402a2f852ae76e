//! The project's rules, checked by reading the source: which crate may depend on which, where `unsafe` is allowed, how
//! long functions and files may be, and what must not be left behind.

use std::fs;
use std::path::{Path, PathBuf};

/// Functions longer than 70 lines. The list may only shrink.
const LONG_FUNCTIONS: &[&str] = &[];
/// Files longer than 600 lines. The list may only shrink.
const LONG_FILES: &[&str] = &[];

/// The crates from the bottom up. A crate may depend on those of lower rows only.
const ROWS: &[&[&str]] = &[
    &["kernels"],
    &["models"],
    &["engine"],
    &["text", "journal", "tools"],
    &["orchestrator", "hub"],
    &["client", "band"],
    &["server", "bench"],
];

const RUSQLITE: &str =
    "SQL is known to the journal, which records runs, and to the tools, whose tables are in SQLite";

/// Crates and names that a room must not use, with the reason.
const MUST_NOT_NAME: &[(&str, &[&str], &str)] = &[
    (
        "src/engine",
        &["candle", "serde", "serde_json", "tokenizers", "tokio", "std::env", "println!"],
        "plain integers",
    ),
    ("src", &["candle_core", "candle_nn", "candle_transformers"], "tensors stay below the scheduler"),
    (
        "src/server",
        &["rusqlite", "Journal::open", "Journal::in_memory"],
        "SQLite is asked through an `AsyncJournal`, which waits on threads of its own",
    ),
    (
        "src/tools",
        &["Connection::open", "bandmaster_journal", "std::env"],
        "tables are in memory; SQLite opens files only for the journal",
    ),
    ("src/tools/tables", &["std::fs"], "tables come out of texts"),
    ("src/tools/calculator", &["std::fs"], "a calculation is its own input"),
    ("src/tools/retrieval/cut", &["std::fs"], "a text is cut in memory; only `cache.rs` knows the disk"),
    (
        "src/tools/retrieval/lexical",
        &["std::fs"],
        "words are indexed in memory; only `cache.rs` knows the disk",
    ),
    ("src/tools/retrieval/read", &["std::fs"], "a document is bytes; only `cache.rs` knows the disk"),
    ("src/server/routes", &["Viewer::everybody"], "a route sees what its asker may see"),
    ("src/orchestrator", &["Journal::open", "Journal::in_memory"], "a run waits for no disk"),
    ("src/hub", &["rusqlite"], RUSQLITE),
    ("src/text", &["rusqlite"], RUSQLITE),
    ("src/band", &["rusqlite"], RUSQLITE),
    ("src/bench", &["rusqlite"], RUSQLITE),
    ("src/client", &["rusqlite"], RUSQLITE),
    ("src/cli", &["rusqlite"], RUSQLITE),
    ("src/orchestrator", &["rusqlite", "axum", "reqwest", "ureq", "bandmaster_kernels"], "no SQL, no HTTP"),
    ("models/src", &["tokio", "axum", "clap", "tokenizers"], "a model computes rows, nothing else"),
    (
        "kernels/src",
        &["bandmaster_models", "std::env", "std::fs", "sequence", "prompt"],
        "slices in, slices out",
    ),
];

struct Source {
    /// Relative to the repository, with `/` as separator.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(under: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for dir in under {
        collect(&root().join(dir), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no sources under {under:?}");
    paths
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"),
        })
        .collect()
}

const SHIPPED: &[&str] = &["src", "kernels/src", "models/src"];

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("/fixtures.rs")
        || path.contains("/tests/")
        || path.contains("/simulation")
        || path.starts_with("tests/")
}

/// The part of a file before its `#[cfg(test)]` module.
fn shipped_part(source: &Source) -> &str {
    if is_test_file(&source.path) {
        return "";
    }
    source.text.split("#[cfg(test)]\nmod ").next().unwrap_or("")
}

/// A line without comments and without the contents of string literals.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut previous = ' ';
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if !in_string && c == '/' && chars.peek() == Some(&'/') {
            break;
        }
        if c == '"' && previous != '\\' && previous != '\'' {
            in_string = !in_string;
            code.push('"');
        } else if !in_string {
            code.push(c);
        }
        previous = if previous == '\\' { ' ' } else { c };
    }
    code
}

/// A text without comments and string contents. Line numbers stay the same.
fn code_lines(text: &str) -> String {
    text.lines().map(|line| code_of(line) + "\n").collect()
}

/// Line number of a byte offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// `(line, name)` of each name directly below `parent`, in paths and in braces: for `parent::{a::{b, c}, d}` these are
/// `a` and `d`. A glob is reported as `*`.
fn names_taken(code: &str, parent: &str) -> Vec<(usize, String)> {
    let path = format!("{parent}::");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&path) {
        let whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if whole_word {
            first_names(code, at + path.len(), &mut names);
        }
    }
    names
}

/// Collects the first names of the path or braces at `from`; returns the offset after them.
fn first_names(code: &str, from: usize, names: &mut Vec<(usize, String)>) -> usize {
    let begin = from + code[from..].len() - code[from..].trim_start().len();
    if !code[begin..].starts_with('{') {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
        let name: String = code[begin..].chars().take_while(|c| is_part(*c)).collect();
        let end = begin + name.len();
        names.extend((!name.is_empty()).then(|| (line_of(code, begin), name)));
        return end;
    }
    let mut at = begin + 1;
    loop {
        at = end_of_item(code, first_names(code, at, names));
        match code[at..].chars().next() {
            Some(',') => at += 1,
            Some(_) => return at + 1,
            None => return at,
        }
    }
}

/// Offset of the `,` or `}` that ends the item of a brace list in which `from` lies.
fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0usize;
    for (at, c) in code[from..].char_indices() {
        match c {
            ',' | '}' if depth == 0 => return from + at,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn every_name_in_braces_is_seen() {
    let taken = |code: &str| names_taken(&code_lines(code), "house");
    let expect = |code: &str, names: &[(usize, &str)]| {
        let names: Vec<(usize, String)> =
            names.iter().map(|(line, name)| (*line, (*name).to_owned())).collect();
        assert_eq!(taken(code), names, "{code}");
    };
    expect("use house::cellar;", &[(1, "cellar")]);
    expect("let a = house::cellar::wine() + house::roof();", &[(1, "cellar"), (1, "roof")]);
    expect("use house::{cellar, roof as top};", &[(1, "cellar"), (1, "roof")]);
    expect("use house::{cellar::{wine, beer::{dark}}, roof};", &[(1, "cellar"), (1, "roof")]);
    expect("use house::{{cellar, attic::dust}, roof};", &[(1, "cellar"), (1, "attic"), (1, "roof")]);
    expect("use house::{\n    cellar, // house::none\n    roof,\n};\n", &[(2, "cellar"), (3, "roof")]);
    expect("pub use house::*;\nuse house::{self};", &[(1, "*"), (2, "self")]);
    expect("use lighthouse::lamp; use other::{cellar, roof}; // house::none", &[]);
    expect("use {house::{cellar, roof}, other::lamp};", &[(1, "cellar"), (1, "roof")]);
}

fn check(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// Crates of ours that a manifest names in a section.
fn crates_named(manifest: &str, section: &str) -> Vec<String> {
    let (_, rest) = manifest.split_once(&format!("\n[{section}]\n")).unwrap_or_default();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.strip_prefix("bandmaster-"));
    names.map(|name| name.split(['.', ' ']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn no_crate_depends_on_one_above_it() {
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    let mut broken = Vec::new();
    for name in ROWS.iter().copied().flatten() {
        let beside = root().join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(beside)
            .or_else(|_| fs::read_to_string(root().join("src").join(name).join("Cargo.toml")))
            .unwrap();
        for other in crates_named(&manifest, "dependencies") {
            if row(&other) >= row(name) || row(&other).is_none() {
                broken.push(format!("`{name}` depends on `{other}`"));
            }
        }
    }
    check(broken);
    let engine = fs::read_to_string(root().join("src/engine/Cargo.toml")).unwrap();
    let (_, dependencies) = engine.split_once("\n[dependencies]\n").unwrap();
    let dependencies: Vec<&str> = dependencies.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(dependencies, ["bandmaster-models.workspace = true", "thiserror.workspace = true"]);
}

#[test]
fn rooms_do_not_name_what_they_must_not_know() {
    let mut broken = Vec::new();
    for (room, words, reason) in MUST_NOT_NAME {
        for source in sources(&[room]) {
            for (number, line) in shipped_part(&source).lines().enumerate() {
                let code = code_of(line);
                for word in *words {
                    let named = code.match_indices(word).any(|(at, _)| {
                        let before = code[..at].chars().next_back();
                        let after = code[at + word.len()..].chars().next();
                        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                        !part(before) && !part(after)
                    });
                    if named {
                        broken.push(format!("{}:{}: names `{word}` ({reason})", source.path, number + 1));
                    }
                }
            }
        }
    }
    check(broken);
}

#[test]
fn text_knows_of_models_only_files_and_the_loader() {
    let allowed =
        ["gguf", "load", "load_gguf", "LoadOptions", "Embedder", "embedder", "Model", "ModelInfo", "Cpu"];
    let mut broken = Vec::new();
    for source in sources(&["src/text", "src/hub"]) {
        let code = code_lines(shipped_part(&source));
        for (line, name) in names_taken(&code, "bandmaster_models") {
            if !allowed.contains(&name.as_str()) {
                broken.push(format!("{}:{line}: bandmaster_models::{name}", source.path));
            }
        }
    }
    check(broken);
}

#[test]
fn unsafe_stands_where_it_may_and_says_why() {
    let may_hold_unsafe = |path: &str| path.starts_with("kernels/") || path.starts_with("models/");
    let mut broken = Vec::new();
    for source in sources(SHIPPED) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = code_of(line);
            let block = code.contains("unsafe {") || code.contains("unsafe impl");
            if !block && !code.contains("unsafe fn") {
                continue;
            }
            if !may_hold_unsafe(&source.path) {
                broken.push(format!("{}:{}: unsafe outside kernels and models", source.path, number + 1));
            }
            let from = number.saturating_sub(6);
            if block && !lines[from..=number].iter().any(|line| line.contains("SAFETY")) {
                broken.push(format!("{}:{}: unsafe without its SAFETY line", source.path, number + 1));
            }
        }
    }
    check(broken);
}

/// `(name, first line, number of lines)` of every function, found by indentation: rustfmt puts the closing brace in the
/// column of the `fn` line.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let is_fn = trimmed
            .split_once("fn ")
            .is_some_and(|(before, _)| before.split_whitespace().all(|word| word.starts_with(is_qualifier)));
        if !is_fn || trimmed.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - trimmed.len()]);
        let length = lines[first..].iter().position(|line| *line == close).unwrap_or(0);
        let name = trimmed.split_once("fn ").unwrap().1;
        let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        found.push((name.to_owned(), first + 1, length + 1));
    }
    found
}

fn is_qualifier(c: char) -> bool {
    // Beginnings of pub, const, async, unsafe, extern and of "C".
    matches!(c, 'p' | 'c' | 'a' | 'u' | 'e' | '"')
}

#[test]
fn functions_and_files_stay_readable() {
    let mut broken = Vec::new();
    for source in sources(&["src", "kernels/src", "models/src", "benches", "tests"]) {
        let lines = source.text.lines().count();
        let engine = source.path.starts_with("src/engine/");
        if engine && lines > 400 {
            broken.push(format!("{}: {lines} lines (at most 400 in this room)", source.path));
        }
        if lines > 600 && !LONG_FILES.contains(&source.path.as_str()) {
            broken.push(format!("{}: {lines} lines (at most 600)", source.path));
        }
        for (name, first, length) in functions(&source.text) {
            let id = format!("{}::{name}", source.path);
            if length > 70 && !LONG_FUNCTIONS.contains(&id.as_str()) {
                broken.push(format!("{}:{first}: `{name}` has {length} lines (at most 70)", source.path));
            }
        }
        if source.path.ends_with("/utils.rs") {
            broken.push(format!("{}: name the file by what it holds", source.path));
        }
    }
    check(broken);
}

/// Every new feature is tempted to add a field to the sequence, so their number is limited.
#[test]
fn a_sequence_stays_small() {
    let sources = sources(&["src/engine"]);
    let source = sources.iter().find(|source| source.path.ends_with("/sequence.rs")).expect("it is there");
    let (_, body) = source.text.split_once("struct Sequence {").expect("it is there");
    let (body, _) = body.split_once("\n}").expect("it ends");
    let fields =
        body.lines().map(str::trim).filter(|line| !line.starts_with("//") && line.ends_with(',')).count();
    assert!((5..=15).contains(&fields), "{fields} fields (at most 15)");
}

/// Most lines of a file of a strategy. Whoever writes one reads another first.
const STRATEGY_LINES_MAX: usize = 300;
/// A table of words, which is looked up and not read.
const STRATEGY_TABLES: &[&str] = &["src/orchestrator/strategies/map/orders.rs"];

/// A strategy is a pure function of the goal and the state, so it waits for nothing and records nothing.
#[test]
fn strategies_stay_small_and_pure() {
    let mut broken = Vec::new();
    let sources = sources(&["src/orchestrator/strategies"]);
    assert!(sources.len() > 10, "{} files", sources.len());
    for source in &sources {
        let lines = source.text.lines().count();
        if lines > STRATEGY_LINES_MAX && !STRATEGY_TABLES.contains(&source.path.as_str()) {
            broken.push(format!("{}: {lines} lines (at most {STRATEGY_LINES_MAX})", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let code = code_of(line);
            for word in ["tokio", "bandmaster_journal", "async ", "std::time", "std::fs", "std::thread"] {
                if code.contains(word) {
                    broken.push(format!("{}:{}: names `{word}`", source.path, number + 1));
                }
            }
        }
    }
    check(broken);
}

#[test]
fn nothing_is_left_behind() {
    let words = [".unwrap()", "todo!(", "unimplemented!(", "dbg!("];
    let mut broken = Vec::new();
    for source in sources(SHIPPED) {
        for (number, line) in shipped_part(&source).lines().enumerate() {
            let code = code_of(line);
            for word in words {
                if code.contains(word) {
                    broken.push(format!("{}:{}: {word}", source.path, number + 1));
                }
            }
            let raw = ["io::stdout", "io::stderr"];
            if source.path != "src/cli/terminal.rs" && raw.iter().any(|word| code.contains(word)) {
                broken.push(format!("{}:{}: writes past src/cli/terminal.rs", source.path, number + 1));
            }
            let prints = ["println!(", "eprintln!(", "print!(", "eprint!("];
            let may_print = source.path.starts_with("src/cli/") || source.path == "src/main.rs";
            if !may_print && prints.iter().any(|word| code.contains(word)) {
                broken.push(format!("{}:{}: prints; return the text instead", source.path, number + 1));
            }
        }
    }
    check(broken);
}

#[test]
fn main_stays_a_door() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 60, "src/main.rs: parse, dispatch, exit code");
}

#[test]
fn readme_commands_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let head: String = readme.lines().take(25).collect::<Vec<_>>().join("\n");
    for command in ["cargo run --release -- run", "cargo test --release --workspace"] {
        assert!(head.contains(command), "README's first 25 lines lack `{command}`");
    }
    let flags = sources(&["src/cli"]).iter().map(|source| source.text.clone()).collect::<String>();
    let mut broken = Vec::new();
    for line in readme.lines().filter(|line| line.trim_start().starts_with("bandmaster ")) {
        for word in line.split_whitespace().filter(|word| word.starts_with("--")) {
            let name = word.trim_start_matches("--").split('=').next().unwrap_or("").replace('-', "_");
            if !flags.contains(&name) && !flags.contains(&name.replace('_', "-")) {
                broken.push(format!("README: `{word}` is no flag"));
            }
        }
    }
    check(broken);
}

/// The documents, relative to the repository, with their text.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .into();
    paths.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let folders = ["src/", "models/", "kernels/", "tests/", "benches/", "examples/", "docs/", ".ci/"];
    let code = sources(&["src", "models/src", "kernels/src", "tests"]);
    let mut broken = Vec::new();
    for (document, text) in documents().iter().filter(|(document, _)| document != "CHANGELOG.md") {
        // Odd pieces between backticks are code; a command begins with its file.
        for span in text.split('`').skip(1).step_by(2) {
            let path = span.split_whitespace().next().unwrap_or("");
            let is_path = folders.iter().any(|folder| path.starts_with(folder)) || path.ends_with(".rs");
            let in_folder = || code.iter().any(|source| source.path.ends_with(&format!("/{path}")));
            if is_path && !path.contains('*') && !root().join(path).exists() && !in_folder() {
                broken.push(format!("{document}: there is no `{path}`"));
            }
        }
    }
    check(broken);
}

/// A command of a document that was joined to another one as if it were prose can't be copied.
#[test]
fn documents_keep_their_lines() {
    let mut broken = Vec::new();
    for (document, text) in documents() {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{document}:{}", number + 1);
            if line.chars().count() > 120 && !line.starts_with('|') {
                broken.push(format!("{place}: more than 120 characters"));
            }
            let command = line.split('#').next().unwrap_or("");
            if command.starts_with("    ") && command.matches(" bandmaster ").count() > 1 {
                broken.push(format!("{place}: two commands on one line"));
            }
        }
    }
    check(broken);
}
