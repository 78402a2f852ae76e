//! A document: its name, its text, and how the text is laid out. HTML and PDF become text first. What is cut, found and
//! cited later is this text, so whoever shows a span must show it in `Document::text`.

use super::error::RetrievalError;
use super::read;

/// Bytes of one document. Offsets and line numbers stay small, and an index fits into memory.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 20;

/// How a text is laid out, which decides where it may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    Markdown,
    /// Paragraphs with an empty line between them. Form feeds separate pages.
    Prose,
    /// Lines whose indentation says what they belong to.
    Code,
    /// Records with a header: CSV, TSV and the like.
    Records,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The file's name or path, shown in results. Its words count in the search.
    pub name: String,
    pub text: String,
    pub layout: Layout,
}

impl Document {
    /// A document from a text that was read already. Only HTML is changed: its text is taken out of the tags.
    ///
    /// # Errors
    /// [`RetrievalError::TooLarge`].
    pub fn from_text(name: &str, text: &str) -> Result<Self, RetrievalError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let (document, bytes) = (name.to_owned(), text.len());
            return Err(RetrievalError::TooLarge { document, bytes, most: DOCUMENT_BYTES_MAX });
        }
        let extension = extension(name);
        if is_html(&extension, text) {
            // The text is written in the form of Markdown, so that headings and tables are kept.
            return Ok(Self { name: name.into(), text: read::html::text_of(text), layout: Layout::Markdown });
        }
        Ok(Self { name: name.into(), text: text.into(), layout: layout(&extension) })
    }

    /// A document from a file's bytes: UTF-8 text, or a PDF if the crate is built with the feature `pdf`.
    ///
    /// # Errors
    /// [`RetrievalError::Unreadable`] with the reason, and [`RetrievalError::TooLarge`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, RetrievalError> {
        let unreadable = |why: String| RetrievalError::Unreadable { document: name.into(), why };
        if bytes.starts_with(b"%PDF-") {
            let text = read::pdf::text_of(bytes).map_err(unreadable)?;
            return Ok(Self { name: name.into(), text, layout: Layout::Prose });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            unreadable(format!("it is not UTF-8 text (at byte {at}): convert it to UTF-8 first"))
        })?;
        Self::from_text(name, text)
    }
}

fn extension(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

fn is_html(extension: &str, text: &str) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |with: &str| start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    match extension {
        "html" | "htm" | "xhtml" => true,
        "" | "txt" | "asp" | "aspx" | "jsp" => begins("<!doctype html") || begins("<html"),
        _ => false,
    }
}

fn layout(extension: &str) -> Layout {
    match extension {
        "md" | "markdown" | "mdx" | "mkd" | "qmd" | "rmd" => Layout::Markdown,
        "csv" | "tsv" | "tab" | "psv" => Layout::Records,
        "rs" | "py" | "pyi" | "js" | "mjs" | "cjs" | "ts" | "tsx" | "jsx" | "java" | "c" | "h" | "cpp"
        | "hpp" | "cc" | "hh" | "cu" | "cs" | "go" | "rb" | "php" | "swift" | "kt" | "kts" | "scala"
        | "sh" | "bash" | "zsh" | "fish" | "ps1" | "sql" | "lua" | "pl" | "pm" | "r" | "jl" | "hs" | "ml"
        | "mli" | "fs" | "ex" | "exs" | "erl" | "clj" | "dart" | "zig" | "nim" | "vue" | "svelte" | "css"
        | "scss" | "less" | "yaml" | "yml" | "toml" | "json" | "ini" | "cfg" | "conf" | "xml" | "proto"
        | "tf" | "nix" | "log" | "jsonl" | "ndjson" | "cmake" | "gradle" | "groovy" | "vb" | "asm" | "s" => {
            Layout::Code
        }
        _ => Layout::Prose,
    }
}
