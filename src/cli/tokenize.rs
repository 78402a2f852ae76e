//! `models tokenize`.

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::config::Config;
use super::error::CliError;
use super::flags::TokenizeFlags;
use super::{print, print_json};
use crate::hub::check_unchanged;
use crate::text::Tokenizer;

/// Prints the token ids of a text, separated by spaces. No beginning- or end-of-sequence tokens are added.
pub fn tokenize(config: &Config, flags: &TokenizeFlags) -> Result<ExitCode, CliError> {
    let path = config.hub().find_text_model(&flags.model)?.path;
    check_unchanged(&path)?;
    let text = text_of(flags)?;
    let tokenizer = Tokenizer::open(&path).with_context(|| format!("{}: its tokenizer", flags.model))?;
    let ids = tokenizer.encode(&text, flags.special);
    if flags.json {
        let piece = |id: &u32| String::from_utf8_lossy(tokenizer.decode_bytes(*id)).into_owned();
        let pieces: Vec<String> = ids.iter().map(piece).collect();
        return print_json(&json!({"model": flags.model, "tokens": ids, "pieces": pieces}));
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    print(&format!("{}\n", ids.join(" ")))
}

fn text_of(flags: &TokenizeFlags) -> Result<String, CliError> {
    let named = match (&flags.text, &flags.file) {
        (Some(text), _) => return Ok(text.clone()),
        (None, Some(path)) if path.as_os_str() != "-" => Some(path),
        _ => None,
    };
    let mut bytes = Vec::new();
    match named {
        Some(path) => {
            bytes = std::fs::read(path)
                .map_err(|error| CliError::usage(format!("-f {}: {error}", path.display())))?;
        }
        None => {
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| CliError::usage(format!("stdin can't be read: {error}")))?;
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| CliError::usage("the text is not UTF-8: convert it, e.g. with iconv -t UTF-8"))
}
