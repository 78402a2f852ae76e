//! Tests of units, settings and inputs: tables of what is typed and what must result.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::config::{Config, Origin};
use super::error::CliError;
use super::flags::{BandFlags, BenchCommand, Cli, Command, Global, ServeFlags};
use super::inputs::{INPUT_BYTES_MAX, Inputs, PipedStdin, read};
use super::machine::Machine;
use super::units::{parse_age, parse_bytes};
use crate::hub::format_memory_size;
use harness::{Target, fuzz};

#[path = "../../tests/fuzz/harness.rs"]
mod harness;

#[test]
fn flags_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_load_is_eight_calls_at_a_time_unless_said_otherwise() {
    let words = ["bandmaster", "bench", "serve", "--url", "http://127.0.0.1:1", "--model", "m"];
    let Command::Bench(BenchCommand::Serve(flags)) = Cli::try_parse_from(words).unwrap().command else {
        panic!("`bench serve` is another command")
    };
    assert_eq!(flags.concurrency, 8);
}

#[test]
fn sizes_and_ages_are_read_with_their_units() {
    let sizes = [
        ("8GiB", 8 << 30),
        ("8g", 8 << 30),
        ("512 MiB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("8GB", 8_000_000_000),
        ("4096", 4096),
    ];
    for (text, bytes) in sizes {
        assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
    }
    for text in ["", "GiB", "8 apples", "-1GiB", "1e9", "0", "99999999999999999999TiB", "8GiBx"] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
    let ages = [("30d", 30 * 86_400), ("12h", 43_200), ("2w", 1_209_600), ("15m", 900), ("90s", 90)];
    for (text, seconds) in ages {
        assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "30", "d", "30 years", "-1d", "1e300d", "99999999999999999999999999d"] {
        assert!(parse_age(text).is_err(), "{text}");
    }
    assert_eq!(
        (format_memory_size(512 << 20), format_memory_size(12 << 30)),
        ("512 MiB".to_owned(), "12.0 GiB".to_owned())
    );
}

#[test]
fn a_table_has_columns_two_spaces_apart() {
    let check = |rows: &[&[&str]], expected: &str| {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(super::table(&rows), expected);
    };
    check(&[&["NAME", "SIZE", "NOTE"], &["größe", "1", ""]], "NAME   SIZE  NOTE\ngröße  1\n");
    check(&[&["  settings", "on"], &["a", ""], &["b"]], "  settings  on\na\nb\n");
    check(&[&["漢字", "1"], &["ascii", "2"]], "漢字   1\nascii  2\n");
    check(&[], "");
}

#[test]
fn a_long_text_is_cut_to_one_line() {
    assert_eq!(super::one_line(" two\n lines ", 9), "two lines");
    assert_eq!(super::one_line("two lines", 8), "two lin…");
    assert_eq!(super::one_line("äöü", 3), "äöü");
}

fn inputs_of(files: &[&Path], piped: Option<&[u8]>, stdin: &[u8]) -> Result<Inputs, String> {
    let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
    read(
        &files,
        piped.map_or(PipedStdin::Nothing, |bytes| PipedStdin::Bytes(bytes.to_vec())),
        &mut Cursor::new(stdin),
    )
    .map_err(|error| match error {
        CliError::Usage(message) => message,
        other => panic!("{other:?}"),
    })
}

fn names(inputs: &Inputs) -> Vec<&str> {
    inputs.inputs.iter().map(|input| input.name.as_str()).collect()
}

#[test]
fn folder_is_read_sorted_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub/.hidden")).unwrap();
    for (name, bytes) in [
        ("b.md", b"two".as_slice()),
        ("a.txt", b"\xef\xbb\xbfone"),
        ("sub/c.md", b"three"),
        ("sub/.hidden/d.md", b"hidden"),
        ("picture.png", b"\x89PNG\r\n"),
        ("empty.txt", b" \n"),
        ("wide.txt", b"\xff\xfeh\0i\0"),
    ] {
        fs::write(at(name), bytes).unwrap();
    }
    let inputs = inputs_of(&[dir.path()], None, b"").unwrap();
    assert_eq!(names(&inputs), ["a.txt", "b.md", "sub/c.md", "wide.txt"]);
    assert_eq!(inputs.inputs[0].text, "one", "the byte order mark is no text");
    assert_eq!(inputs.inputs[3].text, "hi");
    let left_out: Vec<_> = inputs.left_out.iter().map(|(path, _)| path.file_name().unwrap()).collect();
    assert_eq!(left_out, ["empty.txt", "picture.png"]);
}

#[test]
fn text_is_read_in_utf_32_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wide.txt");
    for bytes in [&b"\xff\xfe\0\0h\0\0\0i\0\0\0"[..], b"\0\0\xfe\xff\0\0\0h\0\0\0i"] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(inputs_of(&[&file], None, b"").unwrap().inputs[0].text, "hi");
        assert_eq!(inputs_of(&[], Some(bytes), b"").unwrap().inputs[0].text, "hi");
    }
}

#[cfg(unix)]
#[test]
fn what_a_folder_holds_besides_is_named() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.md"), "one").unwrap();
    symlink("nowhere.md", at("dangling.md")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let inputs = inputs_of(&[dir.path()], None, b"").unwrap();
    assert_eq!(names(&inputs), ["a.md"]);
    let warnings = inputs.warnings().join("\n");
    assert!(
        warnings.contains("nowhere.md, which does not exist") && warnings.contains("a socket"),
        "{warnings}"
    );
    let again = inputs_of(&[&at("a.md"), &dir.path().join("./a.md")], None, b"").unwrap();
    assert!(again.warnings()[0].contains("given twice"), "{:?}", again.warnings());
    let again = inputs_of(&[dir.path(), &at("a.md")], None, b"").unwrap();
    assert!(again.warnings().iter().any(|one| one.contains("a.md is given twice")), "{:?}", again.warnings());
    assert!(inputs_of(&[&at("socket")], None, b"").unwrap_err().contains("a socket"));
    assert!(inputs_of(&[&at("dangling.md")], None, b"").unwrap_err().contains("no such file"));
    assert!(inputs_of(&[Path::new("/dev/null")], None, b"").unwrap_err().contains("empty"));
    assert!(inputs_of(&[Path::new("/dev/zero")], None, b"").unwrap_err().contains("8 MiB"));
    for n in 0..30 {
        fs::write(at(&format!("{n}.png")), b"\x89PNG....").unwrap();
    }
    let warnings = inputs_of(&[dir.path()], None, b"").unwrap().warnings();
    assert!(warnings.len() == 21 && warnings[20].contains("12 more"), "{warnings:?}");
}

#[cfg(unix)]
#[test]
fn pipe_that_is_named_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        return bandmaster_test_support::skip("mkfifo is not installed");
    }
    let writer = pipe.clone();
    let written = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        fs::write(writer, "late").unwrap();
    });
    let inputs = inputs_of(&[&pipe], None, b"").unwrap();
    written.join().unwrap();
    assert_eq!((names(&inputs), inputs.inputs[0].text.as_str()), (vec!["pipe"], "late"));
}

#[cfg(unix)]
#[test]
fn what_may_not_be_opened_is_left_out_of_a_folder_and_said() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.md"), "one").unwrap();
    fs::write(at("secret.md"), "two").unwrap();
    fs::create_dir(at("closed")).unwrap();
    let close = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    close("secret.md", 0);
    close("closed", 0);
    let may_anyway = fs::read(at("secret.md")).is_ok();
    let inputs = inputs_of(&[dir.path()], None, b"");
    close("closed", 0o700);
    if may_anyway {
        return bandmaster_test_support::skip("this user may read everything");
    }
    let inputs = inputs.unwrap();
    assert_eq!(names(&inputs), ["a.md"]);
    let warnings = inputs.warnings().join("\n");
    assert_eq!(warnings.matches("permission denied").count(), 2, "{warnings}");
}

#[test]
fn what_cannot_be_read_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    let check = |path: &Path, expected: &str| {
        let message = inputs_of(&[path], None, b"").map(|_| ()).unwrap_err();
        assert!(message.contains(expected) && message.contains(path.to_str().unwrap()), "{message}");
    };
    check(&dir.path().join("missing.md"), "no such file");
    let pdf = if cfg!(feature = "pdf") { "damaged" } else { "convert it to text" };
    check(&written("paper.pdf", b"%PDF-1.7 ..."), pdf);
    check(&written("doc.docx", b"PK\x03\x04..."), "pandoc");
    check(&written("data.bin", b"abc\0def"), "binary");
    check(&written("latin.txt", b"caf\xe9"), "iconv");
    check(&written("large.txt", &vec![b'a'; INPUT_BYTES_MAX as usize + 1]), "8 MiB");
    check(written("pictures/one.png", b"\x89PNG....").parent().unwrap(), "no readable text");
    fs::create_dir(dir.path().join("nothing")).unwrap();
    check(&dir.path().join("nothing"), "no readable text");
}

#[test]
fn stdin_is_an_input_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.txt");
    fs::write(&file, "file").unwrap();
    let dash = Path::new("-");
    assert_eq!(names(&inputs_of(&[dash, &file], None, b"typed").unwrap()), ["stdin", "a.txt"]);
    assert_eq!(
        names(&inputs_of(&[&file, &file], Some(b"piped"), b"").unwrap()),
        ["a.txt", "a.txt (2)", "stdin"]
    );
    assert!(inputs_of(&[], Some(b" \n"), b"").unwrap().inputs.is_empty(), "an empty pipe is no input");
    assert!(inputs_of(&[dash, dash], None, b"typed").unwrap_err().contains("once"));
    assert!(inputs_of(&[], Some(b"\0\0"), b"").unwrap_err().contains("stdin"));
}

#[test]
fn global_flags_stand_anywhere() {
    let offline = |typed: &[&str]| Cli::try_parse_from(typed).unwrap().global.offline;
    assert!(offline(&["bandmaster", "--offline", "models", "list"]));
    assert!(offline(&["bandmaster", "models", "list", "--offline"]));
    let none = (Global::default(), BandFlags::default(), ServeFlags::default());
    let default = Config::resolve(&none.0, &none.1, &none.2, &|_| None).unwrap();
    assert_eq!(default.home.origin, Origin::Default);
}

#[test]
fn settings_survive_damage() {
    let machine = Machine {
        cores_physical: 2,
        cores_logical: 2,
        memory_bytes: 8 << 30,
        memory_available_bytes: 4 << 30,
    };
    fuzz(&Target {
        name: "config.toml",
        seeds: &[
            "offline = true\nthreads = 2\nmemory = \"4GiB\"\ncontext-tokens = 4096\nkv-type = \"q8\"\ndevice = \"cpu\"\nkeep-packed = false\nplanner = \"p\"\nworkers = [\"a\", \"b\"]\nembeddings = \"minilm-l6-v2\"\n",
            "[serve]\nhost = \"::1\"\nport = 8081\nmodels = [\"m\"]\naliases = [\"gpt-4o\", \"small=n\"]\napi-key-file = \"keys\"\nkeep-responses = \"12h\"\nallow-hosts = [\"box.lan\"]\nlog = \"json\"\n",
        ],
        words: &[
            "=", "\n", "\"", "[", "]", "memory", "GiB", "MiB", "k", "threads", "kv-type", "f16", "q8",
            "auto", "workers", "#", "[serve]", "serve.", "port", "aliases", "forever", "*",
        ],
        read: &|bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return false };
            let environment = |name: &str| (name == "BANDMASTER_HOME").then(|| "/nowhere".to_owned());
            match Config::resolve_from(
                &Global::default(),
                &BandFlags::default(),
                &ServeFlags::default(),
                &environment,
                text,
                machine.clone(),
            ) {
                Ok(config) => {
                    assert!(config.threads.value > 0 && config.memory_bytes.value > 0);
                    assert!(!config.effective().is_empty());
                    true
                }
                Err(CliError::Usage(message)) => {
                    assert!(message.contains("config.toml"), "{message}");
                    false
                }
                Err(error) => panic!("settings can only be wrong: {error:?}"),
            }
        },
    });
}
