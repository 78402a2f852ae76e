use proptest::prelude::*;

use super::*;

#[test]
fn control_characters_are_escaped() {
    let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected, "{text:?}");
    check("plain, größer 漢字 🎉 e\u{301}\tand\nlines", "plain, größer 漢字 🎉 e\u{301}\tand\nlines");
    check("\u{1b}[2Jgone", "\\u001b[2Jgone");
    check("\u{1b}]8;;https://a.example\u{1b}\\link", "\\u001b]8;;https://a.example\\u001b\\link");
    check("\u{1b}]52;c;cm0gLXJm\u{7}", "\\u001b]52;c;cm0gLXJm\\u0007");
    check("\u{9b}31m \u{90}q \u{7f}\u{8}\0", "\\u009b31m \\u0090q \\u007f\\u0008\\u0000");
    check("a\u{202e}cba\u{2066}\u{2069}\u{200f}\u{61c}", "a\\u202ecba\\u2066\\u2069\\u200f\\u061c");
    check("over\rwritten", "over\\u000dwritten");
    check("two\r\nlines\r\n", "two\nlines\n");
}

#[test]
fn bytes_that_are_not_utf_8_are_escaped() {
    // A single-byte control character, the beginning of a character, and the end of one.
    let lossy = String::from_utf8_lossy(b"a\x9b31m\xe2\x82 \x80");
    assert!(!escaped(&lossy).contains(is_terminal_control));
}

proptest! {
    #[test]
    fn control_characters_are_escaped_and_nothing_else_changes(text in "(\\PC|[\u{0}-\u{a0}\u{2000}-\u{2070}\u{61c}]|\r\n){0,60}") {
        let result = escaped(&text);
        prop_assert!(!result.contains(is_terminal_control), "{result:?}");
        if !text.contains(is_terminal_control) {
            prop_assert_eq!(&*result, text.as_str());
        } else {
            let kept: String = text.chars().filter(|c| !is_terminal_control(*c)).collect();
            let mut left = result.chars();
            prop_assert!(kept.chars().all(|c| left.any(|other| other == c)), "{text:?} lost something: {result:?}");
        }
    }

    #[test]
    fn json_stays_what_it_was(text in any::<String>(), more in "[\u{0}-\u{a0}\u{2000}-\u{2070}]{0,20}") {
        let value = serde_json::json!({"text": text, "more": more});
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let read: serde_json::Value = serde_json::from_str(&escaped(&json)).unwrap();
            prop_assert_eq!(&read, &value);
        }
    }
}
