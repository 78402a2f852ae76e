//! Cuts a text into the pieces that read by themselves: paragraphs, list items, cells of a table and the lines of a
//! form or a configuration. Each knows the name that its line gives to a value, and the headings above it.

use std::ops::Range;

/// A key of more words is a sentence with a colon in it.
const KEY_WORDS_MAX: usize = 5;
/// What follows the colon of a form is short. A longer text is prose that a few words lead in.
const FORM_WORDS_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// What is searched for values.
    pub bytes: Range<usize>,
    /// The line or the row that it stands in, for quoting; the same as `bytes` in prose.
    pub line: Range<usize>,
    /// What the text calls the value: the key of a line, or the names of a cell's row and column. Empty in prose.
    pub key: String,
    /// The text's first heading and the last one above it.
    pub heading: String,
    pub is_heading: bool,
}

/// The lines of a mail's head name people and days that the mail is not about.
const MAIL_FIELDS: [&str; 8] = ["from", "to", "cc", "bcc", "date", "sent", "subject", "reply-to"];

/// The pieces of a text, in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut reader = Reader::default();
    let mut start = 0;
    let head = mail_head(text);
    for line in text.split_inclusive('\n') {
        let range = start..start + line.trim_end().len();
        start += line.len();
        if range.start >= head {
            reader.line(text, range);
        }
    }
    reader.end_paragraph();
    reader.blocks
}

/// Where the text of a mail begins: after the lines that say who wrote it to whom. 0 for a text that is no mail.
fn mail_head(text: &str) -> usize {
    let (mut end, mut fields) = (0, 0);
    for line in text.split_inclusive('\n') {
        let name = line.split_once(':').map(|(name, _)| name.trim().to_lowercase());
        if !name.is_some_and(|name| MAIL_FIELDS.contains(&name.as_str())) {
            break;
        }
        (end, fields) = (end + line.len(), fields + 1);
    }
    if fields >= 2 { end } else { 0 }
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    title: String,
    heading: String,
    paragraph: Option<Range<usize>>,
    /// Names of the columns of the table that is being read.
    columns: Option<Vec<String>>,
}

impl Reader {
    fn line(&mut self, text: &str, line: Range<usize>) {
        let content = trimmed(text, line.clone());
        let inner = &text[content.clone()];
        if !is_row(inner) {
            self.columns = None;
        }
        if inner.is_empty() || inner.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | '{' | '}' | ',')) {
            self.end_paragraph();
        } else if is_row(inner) {
            self.end_paragraph();
            self.row(text, content);
        } else if let Some(heading) = heading(inner) {
            self.end_paragraph();
            self.under(heading);
            self.push(content.clone(), content, String::new());
            self.blocks.iter_mut().last().into_iter().for_each(|block| block.is_heading = true);
        } else {
            let item = after_marker(text, content.clone());
            if item.start > content.start {
                self.end_paragraph();
            }
            self.item(text, item);
        }
    }

    fn item(&mut self, text: &str, item: Range<usize>) {
        match keyed(text, item.clone()) {
            Some((key, value)) if value.is_empty() => {
                self.end_paragraph();
                self.under(&key);
            }
            Some((key, value)) => {
                self.end_paragraph();
                self.push(value, item, key);
            }
            None => match &mut self.paragraph {
                Some(open) => open.end = item.end,
                None => self.paragraph = Some(item),
            },
        }
    }

    fn row(&mut self, text: &str, line: Range<usize>) {
        let cells = cells(text, line.clone());
        let named = |cell: &Range<usize>| text[cell.clone()].to_owned();
        if cells.iter().all(|cell| text[cell.clone()].chars().all(|c| matches!(c, '-' | ':' | ' '))) {
            return;
        }
        let Some(columns) = self.columns.clone() else {
            self.columns = Some(cells.iter().map(named).collect());
            return;
        };
        let Some(first) = cells.first() else { return };
        for (at, cell) in cells.iter().enumerate().skip(1) {
            // With two columns, the names above them say what a form is.
            let column = if cells.len() > 2 { columns.get(at).map_or("", String::as_str) } else { "" };
            let key = format!("{} {column}", named(first));
            self.push(cell.clone(), line.clone(), key.trim().to_owned());
        }
    }

    fn end_paragraph(&mut self) {
        if let Some(open) = self.paragraph.take() {
            self.push(open.clone(), open, String::new());
        }
    }

    fn under(&mut self, heading: &str) {
        heading.clone_into(&mut self.heading);
        if self.title.is_empty() {
            heading.clone_into(&mut self.title);
        }
    }

    fn push(&mut self, bytes: Range<usize>, line: Range<usize>, key: String) {
        let title = if self.title == self.heading { "" } else { &self.title };
        let heading = format!("{title} {}", self.heading).trim().to_owned();
        self.blocks.push(Block { bytes, line, key, heading, is_heading: false });
    }
}

fn is_row(line: &str) -> bool {
    line.starts_with('|') && line.len() > 2
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..(start + part.trim().len())
}

/// The cells of a row, without the bars.
fn cells(text: &str, line: Range<usize>) -> Vec<Range<usize>> {
    let part = &text[line.clone()];
    let mut bars: Vec<usize> = part.match_indices('|').map(|(at, _)| line.start + at).collect();
    if !part.ends_with('|') {
        bars.push(line.end);
    }
    bars.windows(2).map(|pair| trimmed(text, pair[0] + 1..pair[1])).collect()
}

/// The heading of a Markdown text or the section of a configuration.
fn heading(line: &str) -> Option<&str> {
    let section = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let heading = line.strip_prefix('#').or_else(|| line.strip_prefix(';'));
    section.or(heading.map(|rest| rest.trim_start_matches('#').trim_start()))
}

/// The range without the mark of a list item or a quotation.
fn after_marker(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let mark = match part.as_bytes() {
        [b'-' | b'*' | b'+' | b'>', b' ', ..] => 2,
        _ if part.starts_with("• ") => "• ".len(),
        _ if (1..=2).contains(&digits) && part[digits..].starts_with([' ', '.', ')']) => {
            let after = part[digits..].strip_prefix(['.', ')']).filter(|rest| rest.starts_with(' '));
            after.map_or(0, |rest| part.len() - rest.len())
        }
        _ => 0,
    };
    trimmed(text, range.start + mark..range.end)
}

/// The key and the value of a line such as `pool_max = 31`, `**Hall**: B348` or `"port": 5544,`. The value of a line
/// that only opens a section is empty.
fn keyed(text: &str, line: Range<usize>) -> Option<(String, Range<usize>)> {
    let part = &text[line.clone()];
    let is_end = |at: usize| part[at + 1..].is_empty() || part[at + 1..].starts_with([' ', '*', '\t', '"']);
    let colon = part.match_indices(':').map(|(at, _)| at).find(|at| is_end(*at));
    let at = match (part.find('='), colon) {
        (Some(equals), Some(colon)) => equals.min(colon),
        (equals, colon) => equals.or(colon)?,
    };
    let bare = |c: char| c.is_whitespace() || matches!(c, '*' | '"' | '\'' | '`' | '_');
    let key = part[..at].trim_matches(bare);
    let words = key.split_whitespace().count();
    // "The 20 guests: see below" states something before its colon.
    let states = words > 1 && key.contains(|c: char| c.is_ascii_digit());
    if states
        || !(1..=KEY_WORDS_MAX).contains(&words)
        || key.contains(['.', ',', ';', '(', '!', '?']) && words > 1
    {
        return None;
    }
    let rest = &part[at + 1..];
    let value =
        trimmed(text, line.start + at + 1 + (rest.len() - rest.trim_start_matches(bare).len())..line.end);
    let shown = text[value.clone()].trim_end_matches([',', '{', '[', '"', '\'', '*', '`', ' ']);
    let value = value.start..value.start + shown.len();
    (shown.split_whitespace().count() <= FORM_WORDS_MAX).then(|| (key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        let found: Vec<(String, String, String)> = blocks(text)
            .into_iter()
            .map(|block| (block.heading, block.key, text[block.bytes].to_owned()))
            .collect();
        let found: Vec<(&str, &str, &str)> = found
            .iter()
            .map(|(heading, key, bytes)| (heading.as_str(), key.as_str(), bytes.as_str()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lines_of_forms_have_keys_and_prose_has_none() {
        check("# A\n## B\nc", &[("A", "", "# A"), ("A B", "", "## B"), ("A B", "", "c")]);
        check("[backup]\nkeep_days = 60\n", &[("backup", "", "[backup]"), ("backup", "keep_days", "60")]);
        check(
            "# Rooms\n\nWe need 26\nrooms.\n\nMore.",
            &[("Rooms", "", "# Rooms"), ("Rooms", "", "We need 26\nrooms."), ("Rooms", "", "More.")],
        );
        check("- **Hall**: B348\n- 64 guests", &[("", "Hall", "B348"), ("", "", "64 guests")]);
        check("{\n  \"pool\": {\n    \"max\": 31,\n  }\n}", &[("pool", "max", "31")]);
        check(
            "1. Budget. The budget of 8,450 euros was approved.",
            &[("", "", "Budget. The budget of 8,450 euros was approved.")],
        );
        check("Brunn keeps 10 sheep: all white.", &[("", "", "Brunn keeps 10 sheep: all white.")]);
        check("open at 9:30, curl localhost:80/x", &[("", "", "open at 9:30, curl localhost:80/x")]);
    }

    #[test]
    fn a_cell_has_the_names_of_its_row_and_column() {
        check("| item | value |\n|---|---|\n| units | 322 |", &[("", "units", "322")]);
        check(
            "| ship | sails | crew |\n|---|---|---|\n| Ida | 3 May | 9 |",
            &[("", "Ida sails", "3 May"), ("", "Ida crew", "9")],
        );
    }

    #[test]
    fn the_head_of_a_mail_is_not_part_of_its_text() {
        check(
            "From: Ada <a@b.org>\nDate: Tue, 15 Apr 2025 14:38\nSubject: Hall\n\nHall 9.",
            &[("", "", "Hall 9.")],
        );
        check("Date: 15 Apr 2025\nHall: 9", &[("", "Date", "15 Apr 2025"), ("", "Hall", "9")]);
    }
}
