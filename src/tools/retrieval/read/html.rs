//! HTML to text in the form of Markdown: headings, lists, tables and code keep their shape, and nothing of scripts and
//! styles is kept. `html5gum` finds the tags, as browsers do.

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Elements whose content no reader sees.
const UNSEEN: &[&[u8]] =
    &[b"script", b"style", b"template", b"noscript", b"svg", b"iframe", b"object", b"canvas", b"datalist"];
/// Lists within lists that are indented further.
const LIST_DEPTH_MAX: usize = 8;
/// Elements that stand on lines of their own.
const BLOCKS: &[&[u8]] = &[
    b"p",
    b"div",
    b"section",
    b"article",
    b"header",
    b"footer",
    b"main",
    b"nav",
    b"aside",
    b"ul",
    b"ol",
    b"dl",
    b"figure",
    b"figcaption",
    b"blockquote",
    b"form",
    b"fieldset",
    b"hr",
    b"address",
    b"details",
    b"summary",
    b"body",
    b"head",
    b"html",
    b"caption",
    b"legend",
];
/// Elements that begin a line within a block.
const LINES: &[&[u8]] = &[b"br", b"dt", b"dd", b"option"];

pub(crate) fn text_of(html: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    // So that a script's content isn't read as tags.
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    for token in Tokenizer::new_with_emitter(html, emitter).flatten() {
        match token {
            Token::StartTag(tag) if writer.unseen.is_none() => {
                let name = tag.name.as_slice();
                if UNSEEN.contains(&name) {
                    // A tag that closes itself has no content.
                    writer.unseen = (!tag.self_closing).then(|| (name.to_vec(), 1));
                    continue;
                }
                writer.open(name);
                if let Some(text) = tag.attributes.get(b"alt".as_slice()).filter(|_| name == b"img") {
                    writer.text(&String::from_utf8_lossy(text));
                }
            }
            Token::StartTag(tag) if !tag.self_closing => writer.nest(&tag.name, 1),
            Token::EndTag(tag) if writer.unseen.is_some() => writer.nest(&tag.name, -1),
            Token::EndTag(tag) => writer.close(&tag.name),
            Token::String(text) if writer.unseen.is_none() => writer.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    out: String,
    /// The element whose content is not kept, and how many of its name are open.
    unseen: Option<(Vec<u8>, i32)>,
    /// White space was read since the last word.
    has_space: bool,
    /// Line ends that come before the next word.
    breaks: usize,
    is_verbatim: bool,
    /// How many lists are not closed yet.
    lists: usize,
    /// Open tables, the innermost last.
    tables: Vec<Table>,
    /// Tables with an open cell.
    cells: usize,
}

#[derive(Default)]
struct Table {
    /// How many rows are closed.
    rows: usize,
    /// Cells of the open row.
    cells: usize,
}

impl Writer {
    fn nest(&mut self, name: &[u8], by: i32) {
        if let Some((unseen, depth)) = &mut self.unseen {
            if unseen == name {
                *depth += by;
            }
            if *depth == 0 {
                self.unseen = None;
            }
        }
    }

    fn open(&mut self, name: &[u8]) {
        match name {
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => {
                self.new_block();
                if !self.in_cell() {
                    self.mark(&format!("{} ", "#".repeat(usize::from(name[1] - b'0'))));
                }
            }
            b"title" => {
                self.new_block();
                self.mark("# ");
            }
            b"ul" | b"ol" => {
                self.lists += 1;
                self.new_block();
            }
            b"li" => self.item(),
            b"pre" if !self.in_cell() => {
                self.new_block();
                self.mark("```\n");
                self.is_verbatim = true;
            }
            b"table" => {
                self.new_block();
                self.tables.push(Table::default());
            }
            b"tr" => self.row(),
            b"td" | b"th" => self.cell(),
            _ if BLOCKS.contains(&name) => self.new_block(),
            _ if LINES.contains(&name) => self.new_lines(1),
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        match name {
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"title" => self.new_block(),
            b"ul" | b"ol" => {
                self.lists = self.lists.saturating_sub(1);
                self.new_block();
            }
            b"li" => self.new_lines(1),
            b"pre" if self.is_verbatim => {
                self.is_verbatim = false;
                let end = if self.out.ends_with('\n') { "```" } else { "\n```" };
                self.out.push_str(end);
                self.new_block();
            }
            b"tr" => self.row_end(),
            b"table" => {
                self.row_end();
                self.tables.pop();
                self.new_block();
            }
            _ if BLOCKS.contains(&name) => self.new_block(),
            _ => {}
        }
    }

    fn in_cell(&self) -> bool {
        self.cells > 0
    }

    fn new_block(&mut self) {
        self.new_lines(2);
    }

    /// Ends the line. A table's row stays on one line, so there it is only a space.
    fn new_lines(&mut self, count: usize) {
        if self.is_verbatim {
            self.out.push('\n');
        } else if self.in_cell() {
            self.has_space = true;
        } else {
            self.breaks = self.breaks.max(count);
        }
    }

    fn item(&mut self) {
        self.new_lines(1);
        if !self.in_cell() {
            let depth = self.lists.saturating_sub(1).min(LIST_DEPTH_MAX);
            self.mark(&format!("{}- ", "  ".repeat(depth)));
        }
    }

    fn row(&mut self) {
        self.row_end();
        // A table within a cell of another one stays on that one's line.
        if !self.in_cell() {
            self.new_lines(1);
        }
    }

    fn cell(&mut self) {
        let Some(table) = self.tables.last_mut() else { return self.new_lines(1) };
        table.cells += 1;
        if table.cells == 1 {
            self.cells += 1;
        }
        self.has_space = true;
        self.mark("| ");
    }

    /// Ends a row. The first one is the header, under which Markdown wants a line of dashes.
    fn row_end(&mut self) {
        let is_outer = self.tables.len() == 1;
        let Some(table) = self.tables.last_mut().filter(|table| table.cells > 0) else { return };
        let cells = std::mem::take(&mut table.cells);
        table.rows += 1;
        let is_first = table.rows == 1;
        self.cells -= 1;
        if !is_outer {
            return;
        }
        let rule = if is_first { format!("\n|{}", "---|".repeat(cells)) } else { String::new() };
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push_str(" |");
        self.out.push_str(&rule);
        self.has_space = false;
        self.breaks = 1;
    }

    /// Writes a mark of Markdown. No space is due after it.
    fn mark(&mut self, mark: &str) {
        self.flush();
        self.out.push_str(mark);
    }

    /// Writes the line ends or the space that are due.
    fn flush(&mut self) {
        let written = self.out.trim_end_matches(' ').len();
        if self.breaks > 0 {
            self.out.truncate(written);
            let ends = self.out.bytes().rev().take_while(|byte| *byte == b'\n').count();
            let due = if self.out.is_empty() { 0 } else { self.breaks.saturating_sub(ends) };
            self.out.push_str(&"\n".repeat(due));
        } else if self.has_space && !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
        (self.breaks, self.has_space) = (0, false);
    }

    fn text(&mut self, text: &str) {
        if self.is_verbatim {
            // The line end right after the tag is no part of the content.
            let after_tag = self.out.ends_with("```\n");
            self.out.push_str(if after_tag { text.strip_prefix('\n').unwrap_or(text) } else { text });
            return;
        }
        for (at, word) in text.split(char::is_whitespace).enumerate() {
            self.has_space |= at > 0;
            if !word.is_empty() {
                self.flush();
                self.out.push_str(&if self.in_cell() { word.replace('|', "\\|") } else { word.to_owned() });
            }
        }
    }

    fn finish(mut self) -> String {
        if self.is_verbatim {
            self.out.push_str("\n```");
        }
        self.row_end();
        self.out.truncate(self.out.trim_end().len());
        self.out.push('\n');
        self.out
    }
}
