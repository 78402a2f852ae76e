//! Finds the finished parts of a JSON text that is still being written. A part is finished when the text goes on to the
//! next one. The last part has ended only when the whole text has.

/// Looks for commas at one depth of a JSON text, which comes in pieces.
#[derive(Debug)]
pub(crate) struct Parts {
    depth: u32,
    /// Closing brackets of what is open, outermost first.
    open: Vec<char>,
    in_string: bool,
    escaped: bool,
}

impl Parts {
    /// At depth 1 the parts are the fields of the outer object or the items of the outer list.
    pub(crate) fn at_depth(depth: u32) -> Self {
        Self { depth, open: Vec::new(), in_string: false, escaped: false }
    }

    /// Takes the next piece of the text. Returns the places in it where parts end.
    pub(crate) fn take(&mut self, piece: &str) -> Vec<usize> {
        let mut ends = Vec::new();
        for (at, c) in piece.char_indices() {
            if self.in_string {
                let quote = c == '"' && !self.escaped;
                self.escaped = c == '\\' && !self.escaped;
                self.in_string = !quote;
                continue;
            }
            match c {
                '"' => self.in_string = true,
                '{' => self.open.push('}'),
                '[' => self.open.push(']'),
                '}' | ']' => drop(self.open.pop()),
                ',' if self.open.len() == self.depth as usize => ends.push(at),
                _ => {}
            }
        }
        ends
    }
}

/// A whole JSON text of the finished parts, `partial` being the text up to the end of one.
#[must_use]
pub(crate) fn closed(partial: &str) -> String {
    let mut parts = Parts::at_depth(0);
    parts.take(partial);
    partial.chars().chain(parts.open.into_iter().rev()).collect()
}

/// The text up to the end of its last finished part; `None` if there is none.
#[must_use]
pub(crate) fn finished(text: &str, depth: u32) -> Option<&str> {
    let end = Parts::at_depth(depth).take(text).pop()?;
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_end_at_commas_of_their_depth_alone() {
        let text = r#"{"tasks": [{"do": "a, \"b\", [c", "needs": ["x", "y"]}, {"do": "d"}, {"do"#;
        let ends = Parts::at_depth(2).take(text);
        assert_eq!(ends.len(), 2);
        assert_eq!(closed(&text[..ends[0]]), format!("{}]}}", &text[..ends[0]]));
        let read: serde_json::Value = serde_json::from_str(&closed(finished(text, 2).unwrap())).unwrap();
        assert_eq!(read["tasks"][1]["do"], "d");
        assert_eq!(finished(r#"{"find": "a, b", "answer_is": "x"#, 1), Some(r#"{"find": "a, b""#));
        assert_eq!(finished(r#"{"tasks": [{"do": "a"}]}"#, 2), None);
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_a_text_comes_do_not_matter(text in r#"[\[\]{},"\\aé ]{0,60}"#, size in 1_usize..5) {
            let whole: Vec<usize> = Parts::at_depth(2).take(&text);
            let mut parts = Parts::at_depth(2);
            let (mut found, mut start) = (Vec::new(), 0);
            let chars: Vec<char> = text.chars().collect();
            for piece in chars.chunks(size) {
                let piece: String = piece.iter().collect();
                found.extend(parts.take(&piece).into_iter().map(|at| start + at));
                start += piece.len();
            }
            prop_assert_eq!(found, whole);
        }
    }
}
