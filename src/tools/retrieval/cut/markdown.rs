//! Markdown, as `pulldown-cmark` reads it. Only the blocks matter here, not what stands in them.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::code;
use super::outline::Outline;
use super::split::Border;

/// What a block at the top level is.
enum Kind {
    Heading(usize),
    Table,
    Code,
    /// Paragraphs, lists, quotes.
    Prose,
}

struct Block {
    kind: Kind,
    span: Range<usize>,
    /// Offsets at which rows, list items or inner paragraphs begin, with the border before each.
    starts: Vec<(usize, Border)>,
    title: String,
}

pub(super) fn outline(text: &str) -> Outline<'_> {
    let mut outline = Outline::new(text);
    let mut end = 0;
    for block in blocks(text) {
        // What is no block, such as the target of a link, is kept as text.
        outline.prose(end..block.span.start.max(end), Border::Paragraph);
        end = block.span.end.max(end);
        add(&mut outline, text, block);
    }
    outline.prose(end..text.len(), Border::Paragraph);
    outline
}

fn blocks(text: &str) -> Vec<Block> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    // A byte-order mark would hide a heading in the first line.
    let skipped = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth = 0;
    for (event, span) in Parser::new_ext(&text[skipped..], options).into_offset_iter() {
        let span = span.start + skipped..span.end + skipped;
        match event {
            Event::Start(tag) if depth == 0 => {
                depth = 1;
                blocks.push(Block { kind: kind(&tag), span, starts: Vec::new(), title: String::new() });
            }
            Event::Start(tag) => {
                depth += 1;
                let border = match tag {
                    Tag::Item | Tag::TableRow => Border::Line,
                    Tag::Paragraph | Tag::CodeBlock(_) | Tag::BlockQuote(_) => Border::Paragraph,
                    _ => continue,
                };
                blocks.last_mut().into_iter().for_each(|block| block.starts.push((span.start, border)));
            }
            Event::End(TagEnd::Heading(_)) | Event::End(_) => depth -= 1,
            Event::Text(words) | Event::Code(words) => {
                blocks.last_mut().into_iter().for_each(|block| block.title.push_str(&words));
            }
            Event::SoftBreak | Event::HardBreak => {
                blocks.last_mut().into_iter().for_each(|block| block.title.push(' '));
            }
            _ => {}
        }
    }
    blocks
}

fn kind(tag: &Tag<'_>) -> Kind {
    match tag {
        Tag::Heading { level, .. } => Kind::Heading(*level as usize),
        Tag::Table(_) => Kind::Table,
        Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::MetadataBlock(_) => Kind::Code,
        _ => Kind::Prose,
    }
}

fn add(outline: &mut Outline<'_>, text: &str, block: Block) {
    match block.kind {
        Kind::Heading(level) => outline.heading(level, &block.title, block.span),
        Kind::Code => code::add(outline, text, block.span, Border::Paragraph),
        Kind::Table => {
            let first = block.starts.first().map_or(block.span.end, |(at, _)| *at);
            let header = text[block.span.start..first].lines().next().unwrap_or_default().len();
            let head = block.span.start..block.span.start + header;
            let parent = outline.piece(head.clone(), Border::Paragraph, None);
            // The line of dashes.
            outline.piece(head.end..first, Border::Wrap, None);
            for (row, border) in pieces(&block.starts, first..block.span.end) {
                outline.piece(row, border, parent);
            }
        }
        Kind::Prose => {
            for (piece, border) in pieces(&block.starts, block.span) {
                outline.prose(piece, border);
            }
        }
    }
}

/// The pieces of a block that begin at `starts`, with the border before each.
fn pieces(starts: &[(usize, Border)], span: Range<usize>) -> Vec<(Range<usize>, Border)> {
    let mut pieces: Vec<(Range<usize>, Border)> = vec![(span.clone(), Border::Paragraph)];
    for &(at, border) in starts.iter().filter(|(at, _)| span.contains(at)) {
        let last = pieces.len() - 1;
        // An item and its first paragraph begin at the same place or nearly: the mark stands between them.
        if at > pieces[last].0.start + 8 || border == Border::Line {
            pieces[last].0.end = at;
            pieces.push((at..span.end, border));
        }
    }
    pieces.retain(|(piece, _)| !piece.is_empty());
    pieces
}
