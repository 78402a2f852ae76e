//! Extracts from an answer what can be compared: its number, its code, or its normalized text.

/// The number that an answer gives: the last one on the line after the last `####`, else the last one in the last
/// `\boxed{}`, else the last one of all.
#[must_use]
pub(super) fn number_in_answer(answer: &str) -> Option<String> {
    let marked = answer.rsplit_once("####").map(|(_, rest)| rest.lines().next().unwrap_or(""));
    let in_part = |part: Option<&str>| part.and_then(|part| numbers(part).pop());
    in_part(marked).or_else(|| in_part(last_boxed(answer))).or_else(|| numbers(answer).pop())
}

/// The content of the last `\boxed{}`.
fn last_boxed(answer: &str) -> Option<&str> {
    let (_, rest) = answer.rsplit_once("\\boxed{")?;
    let mut depth = 1usize;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&rest[..at]);
        }
    }
    None
}

/// All numbers of a text in canonical spelling: no commas, no leading or trailing zeros, a sign only if negative. Two
/// numbers are equal exactly if their spellings are.
fn numbers(text: &str) -> Vec<String> {
    // TeX writes thousands with `{,}`.
    let text: Vec<char> = text.replace("{,}", ",").replace('−', "-").chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let is_number_start = text[at].is_ascii_digit()
            || (text[at] == '.' && text.get(at + 1).is_some_and(char::is_ascii_digit));
        if !is_number_start {
            at += 1;
            continue;
        }
        let (spelling, end) = number_at(&text, at);
        found.push(if is_negative(&text[..at]) && spelling != "0" {
            format!("-{spelling}")
        } else {
            spelling
        });
        at = end;
    }
    found
}

/// The number that begins at `from`, and where it ends. A comma belongs to it only before three digits.
fn number_at(text: &[char], from: usize) -> (String, usize) {
    let is_digit = |at: usize| text.get(at).is_some_and(char::is_ascii_digit);
    let (mut whole, mut fraction) = (String::new(), String::new());
    let mut at = from;
    loop {
        match text.get(at) {
            Some(digit) if digit.is_ascii_digit() => whole.push(*digit),
            Some(',') if (1..=3).all(|next| is_digit(at + next)) && !is_digit(at + 4) && at > from => {}
            _ => break,
        }
        at += 1;
    }
    if text.get(at) == Some(&'.') && is_digit(at + 1) {
        at += 1;
        while is_digit(at) {
            fraction.push(text[at]);
            at += 1;
        }
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    match fraction.trim_end_matches('0') {
        "" => (whole.to_owned(), at),
        fraction => (format!("{whole}.{fraction}"), at),
    }
}

/// Whether the text before a number makes it negative: a minus sign that is neither a hyphen nor a difference, possibly
/// with a currency sign.
fn is_negative(before: &[char]) -> bool {
    let is_currency = |c: &char| matches!(c, '$' | '€' | '£' | '¥');
    let without = |before: &[char]| before.len() - usize::from(before.last().is_some_and(is_currency));
    let mut before = &before[..without(before)];
    if before.last() != Some(&'-') {
        return false;
    }
    before = &before[..before.len() - 1];
    before = &before[..without(before)];
    !before.last().is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '-'))
}

/// Whether an answer equals the expected text, ignoring case, spaces and punctuation. Numbers are compared as numbers,
/// because there a sign or a point matters.
#[must_use]
pub(super) fn is_same_text(expected: &str, answer: &str) -> bool {
    match whole_number(expected) {
        Some(number) => whole_number(answer).is_some_and(|other| other == number),
        None => normalized(expected) == normalized(answer),
    }
}

/// The number, if the text is a number and nothing else.
fn whole_number(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('.');
    let is_part = |c: char| c.is_ascii_digit() || ",.-+−$€£¥% *".contains(c);
    let mut all = if text.chars().all(is_part) { numbers(text) } else { Vec::new() };
    all.pop().filter(|_| all.is_empty())
}

/// Lower case, single spaces, no punctuation. A text of punctuation only is kept as it is.
fn normalized(text: &str) -> String {
    // So that C++ and C# differ from C.
    let keeps = |c: &char| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '+' | '#');
    let kept: String = text.chars().filter(keeps).collect();
    let words = kept.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    if words.is_empty() { text.trim().to_owned() } else { words }
}

/// The code of an answer: its Python code blocks joined, or the whole answer if there are none.
#[must_use]
pub(super) fn python_code(answer: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in answer.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take().and_then(|(is_python, block)| is_python.then_some(block)));
            }
            (None, Some(language)) => {
                let is_python =
                    ["", "python", "python3", "py"].contains(&language.trim().to_lowercase().as_str());
                open = Some((is_python, String::new()));
            }
            (None, None) => {}
        }
    }
    // The answer was cut off, or it forgot to close the block.
    if blocks.is_empty() {
        blocks.extend(open.and_then(|(is_python, block)| is_python.then_some(block)));
    }
    if blocks.is_empty() { answer.to_owned() } else { blocks.join("\n") }
}

/// The Python module for a prompt and its answer: the answer's code after what the prompt has before its function, or,
/// if the answer doesn't define the function, the prompt continued by the answer.
#[must_use]
pub(super) fn python_module(prompt: &str, entry_point: &str, answer: &str) -> String {
    let code = python_code(answer);
    let head = format!("def {entry_point}(");
    if code.lines().any(|line| line.trim_start().starts_with(&head)) {
        let before = prompt.find(&head).map_or("", |at| &prompt[..at]);
        return format!("{before}\n{code}");
    }
    format!("{}\n{}", prompt.trim_end_matches(['\n', ' ']), body(&code))
}

/// A function's body with indentation: models often omit the spaces of the first line, or of all lines. If the first
/// line is indented, the body ends at the first line that is not.
fn body(code: &str) -> String {
    let indented = |line: &str| line.starts_with([' ', '\t']) || line.trim().is_empty();
    let mut lines = code.lines().skip_while(|line| line.trim().is_empty());
    let first = lines.next().unwrap_or("");
    if indented(first) {
        let rest: Vec<&str> = lines.take_while(|line| indented(line)).collect();
        return format!("{first}\n{}\n", rest.join("\n"));
    }
    let rest: Vec<&str> = lines.collect();
    let margin = if rest.iter().all(|line| indented(line)) { "" } else { "    " };
    let rest: Vec<String> = rest.iter().map(|line| format!("{margin}{line}")).collect();
    format!("    {first}\n{}\n", rest.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (answer, number) in [
            ("1,234.50", "1234.5"),
            ("It costs $5.", "5"),
            ("-3", "-3"),
            ("5 apples", "5"),
            ("so 10 - 3 = 7", "7"),
            ("10-3", "3"),
            ("a loss of -$20", "-20"),
            ("a loss of $-20", "-20"),
            ("−4 degrees", "-4"),
            ("25%", "25"),
            ("18.0", "18"),
            ("007", "7"),
            ("-0", "0"),
            (".5", "0.5"),
            ("1,234,567", "1234567"),
            ("on 3,4 and 5", "5"),
            ("one of 12,3", "3"),
            ("**42**.", "42"),
            ("for 7 days it is 18.\n#### 18\nOver 7 days", "18"),
            ("#### 1,000 dollars", "1000"),
            ("#### the answer: 12", "12"),
            ("it is 12\n####", "12"),
            ("thus \\boxed{1{,}250} of 3", "1250"),
            ("thus \\boxed{18\\text{ dollars}} of 3", "18"),
            ("\\boxed{5", "5"),
            ("9999999999999999999999.10", "9999999999999999999999.1"),
        ] {
            assert_eq!(number_in_answer(answer).as_deref(), Some(number), "{answer}");
        }
        assert_eq!(number_in_answer("no idea"), None);
    }

    #[test]
    fn texts_are_compared_without_case_space_and_punctuation() {
        for (expected, answer, same) in [
            ("Paris", "paris.", true),
            ("New  York", "new york!", true),
            ("Washington, D.C.", "Washington DC", true),
            ("Paris", "It is Paris", false),
            ("C", "C++", false),
            ("+", "+", true),
            ("+", "-", false),
            ("42", "42.0", true),
            ("1,000", "1000.", true),
            ("-3", "3", false),
            ("1.5", "15", false),
            ("42", "The answer is 42", false),
            ("Zürich", "ZÜRICH", true),
        ] {
            assert_eq!(is_same_text(expected, answer), same, "{expected} / {answer}");
        }
    }

    #[test]
    fn code_is_taken_from_code_blocks() {
        for (answer, expected) in [
            ("def f(): pass", "def f(): pass"),
            ("Here:\n```python\na = 1\n```\nand\n```\nb = 2\n```\ndone", "a = 1\n\nb = 2\n"),
            ("```bash\npip install x\n```\nthen\n```py\na = 1\n```", "a = 1\n"),
            ("1. so:\n   ```python\nx = 1\n   ```", "x = 1\n"),
            ("```python\na = 1", "a = 1\n"),
            ("```python\na = 1\n```\n```python\nb = ", "a = 1\n"),
        ] {
            assert_eq!(python_code(answer), expected, "{answer}");
        }
    }

    #[test]
    fn answer_with_the_function_stands_alone_and_one_without_continues_the_prompt() {
        let prompt = "import math\n\ndef helper():\n    return 1\n\ndef f(x):\n    \"\"\"Doubles.\"\"\"\n";
        let whole = python_module(prompt, "f", "```python\ndef f(x):\n    return helper() * 2 * x\n```");
        assert_eq!(
            whole,
            "import math\n\ndef helper():\n    return 1\n\n\ndef f(x):\n    return helper() * 2 * x\n"
        );
        let head = "import math\n\ndef helper():\n    return 1\n\ndef f(x):\n    \"\"\"Doubles.\"\"\"\n";
        for (answer, body) in [
            ("    y = x\n    return y\n\nprint(f(1))\n", "    y = x\n    return y\n\n"),
            ("y = x\n    return y", "    y = x\n    return y\n"),
            ("y = x\nreturn y", "    y = x\n    return y\n"),
            ("return 2 * x", "    return 2 * x\n\n"),
        ] {
            assert_eq!(python_module(prompt, "f", answer), format!("{head}{body}"), "{answer}");
        }
    }
}
