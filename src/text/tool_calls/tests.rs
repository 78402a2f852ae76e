use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::template::Tool;

fn tool(name: &str, parameters: serde_json::Value) -> Tool {
    Tool { name: name.into(), description: None, parameters, strict: false }
}

fn tools() -> Vec<Tool> {
    let place =
        json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    vec![tool("weather", place), tool("weather_now", json!({})), tool("time", json!({}))]
}

fn format(syntax: &'static Syntax) -> ToolFormat {
    ToolFormat { syntax }
}

/// Joins neighboring parts of one kind, because their boundaries depend on how the text was cut.
fn joined(parts: impl IntoIterator<Item = Part>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for part in parts {
        let (mark, text) = match part {
            Part::Content(text) => ("say ".to_owned(), text),
            Part::Reasoning(text) => ("think ".to_owned(), text),
            Part::CallBegin { index, name } => (format!("call {index} "), name),
            Part::CallArguments { index, text } => (format!("args {index} "), text),
        };
        assert!(!text.is_empty());
        match out.last_mut().filter(|last| last.starts_with(&mark) && !mark.starts_with("call")) {
            Some(last) => last.push_str(&text),
            None => out.push(mark + &text),
        }
    }
    out
}

fn parsed(format: ToolFormat, tools: &[Tool], open: bool, pieces: &[&str]) -> Vec<String> {
    let mut parser = OutputParser::new(&format, tools, open);
    let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    parts.extend(parser.finish());
    joined(parts)
}

fn chars(text: &str) -> Vec<&str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect()
}

fn check_in(syntax: &'static Syntax, text: &str, expected: &[&str]) {
    assert_eq!(parsed(format(syntax), &tools(), false, &[text]), expected, "{text}");
    assert_eq!(parsed(format(syntax), &tools(), false, &chars(text)), expected, "by characters: {text}");
}

fn check(text: &str, expected: &[&str]) {
    check_in(&HERMES, text, expected);
}

const CALL: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>";

#[test]
fn calls_between_tags_are_calls() {
    let args = "args 0 {\"city\": \"Bern\"}";
    check(CALL, &["call 0 weather", args]);
    check(&format!("I'll look.\n{CALL}"), &["say I'll look.\n", "call 0 weather", args]);
    check(&format!("\n\n{CALL}\n"), &["call 0 weather", args]);
    check(
        &format!("{CALL}\n{}", CALL.replace("weather", "time")),
        &["call 0 weather", args, "call 1 time", "args 1 {\"city\": \"Bern\"}"],
    );
    check("<tool_call>{\"name\":\"time\"}</tool_call>", &["call 0 time", "args 0 {}"]);
    check("<tools>\n{\"name\": \"time\", \"arguments\": {}}\n</tools>", &["call 0 time", "args 0 {}"]);
    check(
        "<tool_call>[{\"name\": \"time\", \"arguments\": {}}, {\"name\": \"weather\", \"arguments\": {\"a\": [{}]}}]</tool_call>",
        &["call 0 time", "args 0 {}", "call 1 weather", "args 1 {\"a\": [{}]}"],
    );
    check(&format!("{CALL} and then"), &["call 0 weather", args, "say  and then"]);
}

#[test]
fn arguments_are_found_wherever_they_stand() {
    let expected: &[&str] = &["call 0 time", "args 0 {\"zone\": \"</tool_call>}\\\"\"}"];
    for body in [
        r#"{"name": "time", "arguments": {"zone": "</tool_call>}\""}}"#,
        r#"{"arguments": {"zone": "</tool_call>}\""}, "name": "time"}"#,
        r#"{"id": "c1", "type": "function", "name": "time", "arguments": {"zone": "</tool_call>}\""}, "x": [1, {}]}"#,
        r#"{"name": "time", "arguments": "{\"zone\": \"</tool_call>}\\\"\"}"}"#,
        r#"{"name": "time", "note": 1.5e3, "done": false, "parameters": {"zone": "</tool_call>}\""}}"#,
    ] {
        check(&format!("<tool_call>{body}</tool_call>"), expected);
    }
}

#[test]
fn what_is_no_call_is_content_as_it_was_written() {
    for text in [
        "<tool_call>\n{\"name\": \"unknown\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"name\": 'weather'}\n</tool_call>",
        "<tool_call> of the wild </tool_call>",
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": [1]}",
        "<tool_call>\n{\"name\": \"weather\", ",
        "<tool_call>",
        "a <tool_ca",
        "a < b and <b>c</b> <too",
        "{\"city\": \"Bern\"}",
        "{\"name\": \"Ada\", \"arguments\": {}}",
        "{\"name\": \"weather\"}",
        "{\"name\": \"weather\", \"colour\": \"red\", \"arguments\": {}}",
        "{\"na",
        "[1, 2]",
        "[",
        "```rust\nlet a = 1;\n```",
        "```json\n{\"a\": 1}\n```",
        "```json",
        "``",
        " \n",
        "",
        "Use {\"name\": \"weather\", \"arguments\": {}} for that.",
        "<function=unknown>{}</function>",
        "<think",
        "A <think>tag</think>.",
    ] {
        let expected = if text.is_empty() { vec![] } else { vec![format!("say {text}")] };
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(text, &expected);
    }
    check(
        &format!("<tool_call>oh <tool_call>no {CALL}"),
        &["say <tool_call>oh <tool_call>no ", "call 0 weather", "args 0 {\"city\": \"Bern\"}"],
    );
    assert_eq!(
        parsed(ToolFormat::new(None), &[], false, &chars(CALL)),
        [format!("say {CALL}")],
        "without tools"
    );
}

#[test]
fn an_answer_that_is_all_json_is_a_call() {
    let expected: &[&str] = &["call 0 weather", "args 0 {\"city\": \"Bern\"}"];
    let object = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}";
    check(object, expected);
    check(&format!(" \n{object}\n"), expected);
    check(&format!("```json\n{object}\n```"), expected);
    check(&format!("```\n{object}\n```\n"), expected);
    check(&format!("[{object}]"), expected);
    check(&format!("```json\n[\n  {object}\n]\n```"), expected);
    check(&object.replace("arguments", "parameters"), expected);
    let two: &[&str] = &[expected[0], expected[1], "call 1 weather", "args 1 {\"city\": \"Bern\"}"];
    check(&format!("[{object}, {object}]"), two);
    check(&format!("{object}\n{object}"), two);
    check_in(&LLAMA3, &format!("{object}; {object}"), two);
    check_in(&LLAMA3, &format!("<|python_tag|>{object}"), expected);
    check(&format!("{object}\nThat was it."), &[expected[0], expected[1], "say \nThat was it."]);
    check(
        &format!("[{object}, {{\"name\": \"unknown\", \"arguments\": {{}}}}]"),
        &[expected[0], expected[1], "say , {\"name\": \"unknown\", \"arguments\": {}}]"],
    );
}

#[test]
fn families_are_read_as_they_write() {
    let two: &[&str] = &["call 0 weather", "args 0 {\"city\": \"Bern\"}", "call 1 time", "args 1 {}"];
    for syntax in [
        &HERMES,
        &LLAMA3,
        &MISTRAL_LIST,
        &MISTRAL_NAMED,
        &PHI4,
        &GRANITE3,
        &DEEPSEEK3,
        &DEEPSEEK31,
        &COMMAND_R,
    ] {
        let CallLayout { begin, before_name, before_arguments, after_arguments, between, end } =
            &syntax.layout;
        let call =
            |name, arguments| format!("{before_name}{name}{before_arguments}{arguments}{after_arguments}");
        let calls = [call("weather", "{\"city\": \"Bern\"}"), call("time", "{}")].join(between);
        check_in(syntax, &format!("{begin}{calls}{end}"), two);
        check_in(syntax, &format!("{begin}{}{end}", call("time", "{}")), &["call 0 time", "args 0 {}"]);
    }
    check_in(
        &MISTRAL_LIST,
        "[TOOL_CALLS] [{\"name\": \"time\", \"arguments\": {}}]",
        &["call 0 time", "args 0 {}"],
    );
    check_in(&MISTRAL_NAMED, "[TOOL_CALLS]time[CALL_ID]123456789[ARGS]{}", &["call 0 time", "args 0 {}"]);
    check_in(&MISTRAL_NAMED, "[TOOL_CALLS]weather_now[ARGS]{}", &["call 0 weather_now", "args 0 {}"]);
    check_in(&MISTRAL_NAMED, "[TOOL_CALLS]none[ARGS]{}", &["say [TOOL_CALLS]none[ARGS]{}"]);
}

#[test]
fn parameters_between_tags_become_json() {
    let written = |body: &str| format!("<tool_call>\n<function=weather>\n{body}</function>\n</tool_call>");
    check(
        &written("<parameter=city>\n\"Bern\", \nCH\n</parameter>\n<parameter=days>\n3\n</parameter>\n"),
        &["call 0 weather", "args 0 {\"city\": \"\\\"Bern\\\", \\nCH\", \"days\": 3}"],
    );
    check(&written("<parameter=city>12</parameter>"), &["call 0 weather", "args 0 {\"city\": \"12\"}"]);
    check(&written(""), &["call 0 weather", "args 0 {}"]);
    check("<function=time>{\"zone\": 1}</function>", &["call 0 time", "args 0 {\"zone\": 1}"]);
}

#[test]
fn thoughts_are_split_off() {
    check("<think>\nWell.\n\nYes.\n</think>\n\nHello", &["think Well.\n\nYes.", "say Hello"]);
    check("<think>\n\n</think>\n\nHello", &["say Hello"]);
    check("<think>Well", &["think Well"]);
    check(
        &format!("<think>a <tool_call> it is</think>\n{CALL}"),
        &["think a <tool_call> it is", "call 0 weather", "args 0 {\"city\": \"Bern\"}"],
    );
    check("[THINK]Well[/THINK]Hello", &["think Well", "say Hello"]);
    let open = |text| parsed(ToolFormat::new(None), &[], true, &chars(text));
    assert_eq!(open("Well.\n</think>\nHello"), ["think Well.", "say Hello"]);
    assert_eq!(open("Well </thi"), ["think Well </thi"]);
    assert!(reasoning_open("<|im_start|>assistant\n<think>\n") && !reasoning_open("<think></think>\n"));
}

#[test]
fn nothing_is_held_longer_than_it_takes() {
    let seen = |texts: &[&str]| {
        let mut parser = OutputParser::new(&ToolFormat::new(None), &tools(), false);
        texts.iter().map(|text| joined(parser.push(text)).join(", ")).collect::<Vec<_>>()
    };
    assert_eq!(seen(&["Hel", "lo <", "b> <tool", "s"]), ["say Hel", "say lo ", "say <b> ", ""]);
    assert_eq!(seen(&["{\"", "city"]), ["", ""], "a key that may still be a call's");
    assert_eq!(seen(&["{\"city", "\": 1"]), ["", "say {\"city\": 1"]);
    assert_eq!(
        seen(&["{\"name\": \"time\"", ", \"arguments\": {", "\"a\": ", "1}", "}"]),
        ["", "call 0 time, args 0 {", "args 0 \"a\": ", "args 0 1}", ""]
    );
    assert_eq!(seen(&["```py", "thon"]), ["say ```py", "say thon"]);
}

#[test]
fn a_broken_call_that_has_begun_ends_at_its_tag() {
    check(
        "<tool_call>{\"name\": \"time\", \"arguments\": {\"a\": [1}\n</tool_call>\nWell",
        &["call 0 time", "args 0 {\"a\": [1}\n", "say \nWell"],
    );
    check(
        "<tool_call>{\"name\": \"time\", \"arguments\": {\"a\": \"b",
        &["call 0 time", "args 0 {\"a\": \"b"],
    );
    check("<tool_call>{\"name\": \"time\", \"arguments\": {}</tool_call>", &["call 0 time", "args 0 {}"]);
}

const FRAGMENTS: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<function=",
    "weather",
    ">",
    "<parameter=city>",
    "</parameter>",
    "</function>",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "\n",
    "\"name\": ",
    "\"weather\"",
    "\"arguments\": ",
    "{\"city\": \"Bern\"}",
    "```",
    "json",
    "é<",
    "<think>",
    "</think>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "time",
    "\"",
    "\\",
    "null",
    ";",
    "<｜tool▁sep｜>",
    "function",
    "<｜tool▁call▁begin｜>",
    "\"x\": 1",
    "a",
    "{\"name\": \"time\", \"arguments\": {",
    "{\"name\": \"weather\", ",
];

proptest! {
    #[test]
    fn the_parts_do_not_depend_on_how_the_text_was_cut(
        picked in prop::collection::vec(0..FRAGMENTS.len(), 0..14),
        cuts in prop::collection::vec(0..120usize, 0..8),
        family in 0..FAMILIES.len(),
        open: bool,
    ) {
        let text: String = picked.iter().map(|&at| FRAGMENTS[at]).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&at| text.is_char_boundary(at)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        let format = format(FAMILIES[family].1);
        let whole = parsed(format, &tools(), open, &[&text]);
        prop_assert_eq!(&parsed(format, &tools(), open, &pieces), &whole);
        prop_assert_eq!(&parsed(format, &tools(), open, &chars(&text)), &whole);
        if !whole.iter().any(|part| part.starts_with("call") || part.starts_with("think")) && !open && !text.contains("think>") {
            // White space in front of an incomplete call may be lost.
            let told = whole.iter().map(|part| &part[4..]).collect::<String>();
            prop_assert_eq!(told.trim_start(), text.trim_start(), "content is what was written");
        }
    }
}
