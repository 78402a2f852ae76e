//! Arithmetic as people type it: "What is 17 times 23?" is `17 * 23`. Only text that is arithmetic from end to end is
//! read. With one other word in it, it is a question for a model.

/// Words that may come before the arithmetic.
const ASKING: [&str; 15] = [
    "please",
    "what",
    "whats",
    "is",
    "how",
    "much",
    "calculate",
    "compute",
    "evaluate",
    "solve",
    "work",
    "out",
    "the",
    "value",
    "of",
];

/// Operators in words, longest first.
const OPERATORS: [(&[&str], &str); 14] = [
    (&["to", "the", "power", "of"], "^"),
    (&["multiplied", "by"], "*"),
    (&["divided", "by"], "/"),
    (&["percent", "of"], "/ 100 *"),
    (&["%", "of"], "/ 100 *"),
    (&["plus"], "+"),
    (&["minus"], "-"),
    (&["times"], "*"),
    (&["x"], "*"),
    (&["over"], "/"),
    (&["modulo"], "%"),
    (&["mod"], "%"),
    (&["squared"], "^ 2"),
    (&["cubed"], "^ 3"),
];

/// The expression that a text asks for, in the calculator's notation; `None` when the text is not just arithmetic.
/// [`super::evaluate`] decides whether the expression has a value.
#[must_use]
pub fn arithmetic(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(['?', '.', '!', '=', ' ']);
    if looks_like_a_name(text) {
        return None;
    }
    let tokens = tokens(text)?;
    let asked = tokens.iter().take_while(|token| ASKING.contains(&token.as_str())).count();
    let mut rest = &tokens[asked..];
    let mut parts: Vec<&str> = Vec::new();
    let (mut numbers, mut operators) = (0, 0);
    while let Some(token) = rest.first() {
        let spelled =
            OPERATORS.iter().find(|(words, _)| rest.len() >= words.len() && rest[..words.len()] == **words);
        let taken = match spelled {
            Some((words, operator)) => {
                parts.push(operator);
                operators += 1;
                words.len()
            }
            None if token.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                parts.push(token);
                numbers += 1;
                1
            }
            None if token.chars().all(|c| "()+-*/%^×÷".contains(c)) => {
                parts.push(token);
                operators += usize::from(token != "(" && token != ")");
                1
            }
            None => return None,
        };
        rest = &rest[taken..];
    }
    (numbers > 0 && operators > 0).then(|| parts.join(" "))
}

/// "9/11", "24/7" and "2026-11-22" are names and dates unless there is other arithmetic with them; "1200/7" is neither.
fn looks_like_a_name(text: &str) -> bool {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or(text);
    let before = &text[..text.len() - last.len()];
    let joined = last.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'/' | b'-'));
    let fraction = last.split_once('/').is_some_and(|(over, under)| {
        !under.contains(['/', '-']) && !over.contains('-') && over.len().max(under.len()) > 2
    });
    joined && !fraction && last.contains(['/', '-']) && !before.contains(|c: char| c.is_ascii_digit())
}

/// Numbers without grouping commas, words in lower case, and single marks; `None` if there is anything else.
fn tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
        let end = |inside: &dyn Fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if is_digit(first) {
            let number = rest[..end(&is_digit)].trim_end_matches(',');
            if number.is_empty() {
                return None;
            }
            tokens.push(ungrouped(number)?);
            number.len()
        } else if first.is_alphabetic() {
            let word = &rest[..end(&|c| c.is_alphabetic() || matches!(c, '\'' | '’'))];
            tokens.push(word.to_lowercase().replace(['\'', '’'], ""));
            word.len()
        } else if "()+-*/%^×÷−·".contains(first) {
            tokens.push(match first {
                '−' => "-".to_owned(),
                '·' => "*".to_owned(),
                mark => mark.to_string(),
            });
            first.len_utf8()
        } else {
            return None;
        };
        rest = &rest[taken..];
    }
    Some(tokens)
}

/// "1,234.5" is 1234.5. "1,5" is refused, since it may mean one and a half.
fn ungrouped(number: &str) -> Option<String> {
    let whole = number.split('.').next().unwrap_or(number);
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = !whole.contains(',') || (1..=3).contains(&first.len());
    let commas_right = groups.all(|group| group.len() == 3) && !number[whole.len()..].contains(',');
    (grouped && commas_right).then(|| number.replace(',', ""))
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::*;

    #[test]
    fn arithmetic_in_words_and_marks_is_read() {
        for (text, value) in [
            ("What is 17 times 23?", "391"),
            ("what's 1,250 / 4", "312.5"),
            ("Calculate (2 + 3) * 4 - 1.5", "18.5"),
            ("How much is 15% of 80?", "12"),
            ("what is 15 percent of 80", "12"),
            ("12x12", "144"),
            ("What is 2 to the power of 10?", "1024"),
            ("Please compute 9 squared minus 1.", "80"),
            ("7 divided by 2 =", "3.5"),
            ("What is 9 / 11 + 2/11?", "1"),
            ("-3 plus 5", "2"),
            ("48 mod 7", "6"),
            ("What is 1200/8?", "150"),
        ] {
            let read = arithmetic(text).unwrap_or_else(|| panic!("{text} is not read"));
            assert_eq!(evaluate(&read).unwrap().to_string(), value, "{text}: {read}");
        }
    }

    #[test]
    fn what_is_no_arithmetic_alone_is_left_to_a_model() {
        for text in [
            "What is the capital of France?",
            "What is 9/11?",
            "What is 24/7?",
            "What is 11/9/2001?",
            "What is 2026-11-22?",
            "What is 42?",
            "What is 1,5 times 2?",
            "17 apples plus 23 pears",
            "Write 3 + 4 in words",
            "What is x?",
            "What is the sum of all primes below 10?",
            "",
        ] {
            assert_eq!(arithmetic(text), None, "{text}");
        }
    }
}
