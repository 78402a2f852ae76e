//! The text of a PDF, page by page, with a form feed between pages.

#[cfg(feature = "pdf")]
use pdf_extract::{Document, Object, ObjectId, PlainTextOutput, output_doc_page};

/// How deep a page may lie in the tree of pages.
#[cfg(feature = "pdf")]
const PAGE_DEPTH_MAX: usize = 64;

/// The text, or why there is none. No page is left out silently.
#[cfg(feature = "pdf")]
pub(crate) fn text_of(bytes: &[u8]) -> Result<String, String> {
    let pdf = caught(|| Document::load_mem(bytes)).and_then(|read| read.map_err(|error| error.to_string()));
    let mut pdf = pdf.map_err(|why| format!("the PDF is damaged ({why}): try pdftotext"))?;
    if pdf.is_encrypted() && !matches!(caught(|| pdf.decrypt("")), Ok(Ok(()))) {
        return Err("the PDF is encrypted: remove its password first".into());
    }
    let mut pages = Vec::new();
    for (number, id) in pdf.get_pages() {
        let page =
            if is_in_tree(&pdf, id) { page(&pdf, number) } else { Err("its place is in a circle".into()) };
        pages
            .push(page.map_err(|why| format!("page {number} of the PDF is damaged ({why}): try pdftotext"))?);
    }
    if pages.iter().all(|page| page.trim().is_empty()) {
        return Err("the PDF has no text, only images: make a text of it with a program for OCR".into());
    }
    Ok(pages.join("\n\u{c}\n"))
}

#[cfg(feature = "pdf")]
fn page(pdf: &Document, number: u32) -> Result<String, String> {
    let mut text = String::new();
    let read = caught(|| output_doc_page(pdf, &mut PlainTextOutput::new(&mut text), number))?;
    read.map_err(|error| error.to_string())?;
    Ok(without_hyphens(text.trim()))
}

/// Whether the way from a page to the root ends, which the library takes for granted.
#[cfg(feature = "pdf")]
fn is_in_tree(pdf: &Document, page: ObjectId) -> bool {
    let mut at = page;
    for _ in 0..PAGE_DEPTH_MAX {
        let parent =
            pdf.get_dictionary(at).and_then(|page| page.get(b"Parent")).and_then(Object::as_reference);
        match parent {
            Ok(parent) => at = parent,
            Err(_) => return true,
        }
    }
    false
}

/// What the library makes of its input. It panics on some damaged files.
#[cfg(feature = "pdf")]
fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .map_err(|_| "it can't be understood".to_owned())
}

/// The text with words that were divided at line ends in one piece.
#[cfg(feature = "pdf")]
fn without_hyphens(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let divided = joined.strip_suffix("-\n").filter(|word| word.ends_with(char::is_lowercase));
        if let Some(before) = divided.map(str::len).filter(|_| line.starts_with(char::is_lowercase)) {
            joined.truncate(before);
        }
        joined.push_str(line);
    }
    joined
}

/// The reason why there is none.
#[cfg(not(feature = "pdf"))]
pub(crate) fn text_of(_: &[u8]) -> Result<String, String> {
    Err("this program was built without PDF: convert it first, for example with pdftotext".into())
}
