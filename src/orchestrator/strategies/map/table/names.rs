//! Names as a text has them. A small reader often gives a part of one: "Foxley" of "Foxley Road 64".

use crate::checks::sentences;

/// The name in full, if each sentence with the part has it within the same longer name.
pub(super) fn whole_name(text: &str, part: &str) -> String {
    let mut found = sentences(text).into_iter().filter_map(|sentence| within(sentence, part));
    match found.next() {
        Some(first) if found.all(|other| other == first) => first.to_owned(),
        _ => part.to_owned(),
    }
}

/// The name in a sentence that a part belongs to: the words with capitals or digits before and after it. The first word
/// of a sentence has a capital anyway, so beside it nothing is known.
fn within<'a>(sentence: &'a str, part: &str) -> Option<&'a str> {
    // A reader may write a part in small letters: "attic" of "Miller's Attic".
    let at = sentence.find(part).or_else(|| sentence.to_ascii_lowercase().find(&part.to_ascii_lowercase()));
    let at = at.filter(|_| !part.is_empty())?;
    let is_edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    let (before, after) = (&sentence[..at], &sentence[at + part.len()..]);
    if !is_edge(before.chars().next_back()) || !is_edge(after.chars().next()) {
        return None;
    }
    let named = |word: &str| word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    let ends = |word: &str| word.ends_with(|c: char| !c.is_alphanumeric());
    let (mut start, mut end) = (at, at + part.len());
    while let Some(word) = sentence[..start].strip_suffix(' ').and_then(|rest| rest.rsplit(' ').next()) {
        if !named(word) || ends(word) {
            break;
        }
        if start == word.len() + 1 {
            return None;
        }
        start -= word.len() + 1;
    }
    while let Some(word) = sentence[end..].strip_prefix(' ').and_then(|rest| rest.split(' ').next()) {
        let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        if !named(bare) {
            break;
        }
        end += bare.len() + 1;
        if bare.len() < word.len() {
            break;
        }
    }
    Some(&sentence[start..end])
}

#[cfg(test)]
mod tests {
    use super::whole_name;

    #[test]
    fn a_part_of_a_name_is_completed_where_the_text_has_one_name_with_it() {
        for (text, part, expected) in [
            ("# Minutes: course Fencing 333\n\n1. It is raining.", "Fencing", "Fencing 333"),
            (
                "This is about the vineyard Domaine Kestrel. Domaine Kestrel is old.",
                "Kestrel",
                "Domaine Kestrel",
            ),
            ("The flat in Foxley Road 64, which is old.", "Foxley", "Foxley Road 64"),
            ("The owner is Ada Gorse.", "Ada Gorse", "Ada Gorse"),
            // Two names share the word.
            ("From: Ada Gorse\nTo: Ada Innes", "Ada", "Ada"),
            ("Her home port is Foxley. The price is 5.", "Foxley", "Foxley"),
            ("Contact Ada Gorse.", "Ada Gorse", "Ada Gorse"),
            ("Nothing of it.", "Ada", "Ada"),
            ("A word about Miller's Attic. It smells of varnish.", "attic", "Miller's Attic"),
        ] {
            assert_eq!(whole_name(text, part), expected, "{part} in {text}");
        }
    }
}
