//! Tool calls under a grammar: the parser must read back what was sampled.

use proptest::prelude::*;

use super::*;
use crate::tool_calls::{OutputParser, Part};

fn tool(name: &str, parameters: Value, strict: bool) -> Tool {
    Tool { name: name.into(), description: None, parameters, strict }
}

fn tools() -> Vec<Tool> {
    let place = json!({"type": "object", "properties": {"city": {"enum": ["ab", "abc"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["city", "days"]});
    let none = json!({"type": "object", "properties": {}, "additionalProperties": false});
    vec![tool("weather", place, true), tool("weather_now", none.clone(), false), tool("time", none, true)]
}

/// Vocabularies in which the marks of all families are control tokens, user-defined tokens, or plain text.
fn vocabularies() -> Vec<Arc<Tokenizer>> {
    let marks: Vec<&str> = ToolFormat::all().iter().flat_map(|format| format.syntax().marks()).collect();
    [Some(3), Some(4), None]
        .into_iter()
        .map(|kind| {
            let mut special: Vec<(&str, i32)> =
                kind.into_iter().flat_map(|kind| marks.iter().map(move |mark| (*mark, kind))).collect();
            special.sort_unstable();
            special.dedup();
            special.retain(|(mark, _)| *mark != "```" && *mark != "<function=");
            Arc::new(Tokenizer::from_gguf(&fixtures::byte_level_with("gpt-2", MERGES, &special)).unwrap())
        })
        .collect()
}

fn parsed(format: &ToolFormat, text: &str) -> (String, Vec<(String, String)>) {
    let mut parser = OutputParser::new(format, &tools(), false);
    let mut parts = parser.push(text);
    parts.extend(parser.finish());
    let (mut content, mut calls) = (String::new(), Vec::<(String, String)>::new());
    for part in parts {
        match part {
            Part::Content(text) => content.push_str(&text),
            Part::Reasoning(_) => {}
            Part::CallBegin { name, .. } => calls.push((name, String::new())),
            Part::CallArguments { index, text } => calls[index as usize].1.push_str(&text),
        }
    }
    (content, calls)
}

#[test]
fn what_must_be_a_call_is_one_and_fits_in_every_family() {
    for tokenizer in vocabularies() {
        let factory = GrammarFactory::new(tokenizer.clone()).unwrap();
        for format in ToolFormat::all() {
            for (choice, parallel) in [
                (ToolChoice::Required, false),
                (ToolChoice::Required, true),
                (ToolChoice::Named("weather".into()), false),
            ] {
                let constraint =
                    factory.tool_calls(&format, &tools(), &choice, parallel, None).unwrap().unwrap();
                let mut several = false;
                for seed in 1..12 {
                    let Some(text) = random_answer(constraint.snapshot(), &tokenizer, seed) else { continue };
                    let (content, calls) = parsed(&format, &text);
                    assert_eq!(content, "", "{}: {text}", format.name());
                    assert!(calls.len() == 1 || (parallel && calls.len() > 1), "{}: {text}", format.name());
                    several |= calls.len() > 1;
                    for (name, arguments) in calls {
                        let value: Value =
                            serde_json::from_str(&arguments).unwrap_or_else(|e| panic!("{e}: {text}"));
                        match name.as_str() {
                            "weather" => assert!(
                                value["city"].is_string() && value["days"].as_u64().unwrap() < 10,
                                "{text}"
                            ),
                            _ => assert_eq!(value, json!({}), "{text}"),
                        }
                        assert!(choice == ToolChoice::Required || name == "weather");
                    }
                }
                assert_eq!(several, parallel, "{}", format.name());
            }
        }
    }
}

/// Feeds `text` to a constraint, cut as the tokenizer cuts it, and returns whether all of it was allowed.
fn takes(constraint: &mut Box<dyn Constraint>, tokenizer: &Tokenizer, text: &str) -> bool {
    tokenizer
        .encode(text, true)
        .into_iter()
        .all(|token| allowed(constraint, tokenizer).contains(&token) && constraint.accept(token).is_ok())
}

#[test]
fn free_text_is_free_until_a_call_is_opened() {
    for tokenizer in vocabularies() {
        let factory = GrammarFactory::new(tokenizer.clone()).unwrap();
        let auto = |format: &ToolFormat| {
            factory.tool_calls(format, &tools(), &ToolChoice::Auto, false, None).unwrap().unwrap()
        };
        let check = |format: &ToolFormat, text: &str, expected: bool| {
            assert_eq!(takes(&mut auto(format), &tokenizer, text), expected, "{}: {text}", format.name());
        };
        let hermes = ToolFormat::new(None);
        check(&hermes, "Well, <tool is {\"name\": \"x\"} a <|im_start|> thing.\n<tool_ca<tool_cal", true);
        let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"ab\", \"days\": 3}}\n</tool_call>";
        check(&hermes, &format!("Look: {call}"), true);
        let mut called = auto(&hermes);
        assert!(takes(&mut called, &tokenizer, call) && called.finished());
        check(&hermes, "Look: <tool_call>\n{\"name\": \"other", false);
        check(&hermes, "Look: <tool_call> what", false);
        check(&hermes, "<think>\n<tool_call> what</think>\n\nwhat", true);
        check(&hermes, "<think>\n<tool_call> what</think>\n\n<tool_call> what", false);
        let llama = ToolFormat::all().into_iter().find(|format| format.name() == "llama3").unwrap();
        check(&llama, "{\"name\": \"Ada\", \"parameters\": 3}", true);
        check(&llama, "\n{\"name\": \"weather\", \"parameters\": {\"city\": \"abc\", \"days\": 3}}", true);
        check(&llama, "{\"name\": \"weather\", \"age\"", false);
        check(&llama, "{\"name\": \"weather_now\", \"parameters\": {}}", true);
        check(&llama, "So {\"name\": \"weather\", \"age\": 3}", true);
        let mut constraint = auto(&hermes);
        assert!(constraint.forced().is_empty() && !constraint.finished());
        assert!(takes(&mut constraint, &tokenizer, "<tool_call>"));
        let forced = constraint.forced();
        assert!(!forced.is_empty() && forced == tokenizer.encode("\n{\"name\": \"", false)[..forced.len()]);
    }
}

#[test]
fn thoughts_that_are_open_end_before_a_call_must_come() {
    let tokenizer = &vocabularies()[2];
    let factory = GrammarFactory::new(tokenizer.clone()).unwrap();
    let calls = factory
        .tool_calls(&ToolFormat::new(None), &tools(), &ToolChoice::Required, false, None)
        .unwrap()
        .unwrap();
    let mut constraint = factory.after_reasoning(calls);
    assert!(takes(&mut constraint, tokenizer, "Well, <tool_call> hm.</think>"));
    assert!(!takes(&mut constraint.snapshot(), tokenizer, "Well"));
    assert!(takes(
        &mut constraint,
        tokenizer,
        "<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>"
    ));
    assert!(constraint.finished());
}

#[test]
fn choices_and_parameters_that_cannot_be() {
    let (factory, _) = factory();
    let hermes = ToolFormat::new(None);
    let made = |tools: &[Tool], choice: ToolChoice| factory.tool_calls(&hermes, tools, &choice, false, None);
    assert!(made(&tools(), ToolChoice::None).unwrap().is_none());
    assert!(made(&[], ToolChoice::Required).unwrap().is_none());
    let error = made(&tools(), ToolChoice::Named("other".into())).err().unwrap().to_string();
    assert!(error.contains("`other` has to be called"), "{error}");
    let odd = json!({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}, "required": ["a"]});
    let error = made(&[tool("odd", odd.clone(), true)], ToolChoice::Auto).err().unwrap().to_string();
    assert!(error.contains("tool `odd`") && error.contains("uniqueItems"), "{error}");
    assert!(made(&[tool("odd", odd, false)], ToolChoice::Required).is_ok());
    for parameters in [
        json!(null),
        json!({}),
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}, "required": [], "description": "None."}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": null}),
        json!({"type": "object", "properties": {}, "additionalProperties": false}),
    ] {
        let mut constraint = made(&[tool("any", parameters, false)], ToolChoice::Required).unwrap().unwrap();
        let tokenizer = fixtures::byte_level(MERGES);
        let call = "<tool_call>\n{\"name\": \"any\", \"arguments\": {";
        assert!(takes(&mut constraint, &tokenizer, call));
        assert_eq!(allowed(&mut constraint, &tokenizer), [fixtures::byte_id(&tokenizer, b'}')], "{call}");
    }
    for parameters in
        [json!({"properties": {"a": {}}}), json!({"type": "object", "additionalProperties": true})]
    {
        let mut constraint = made(&[tool("any", parameters, false)], ToolChoice::Required).unwrap().unwrap();
        let tokenizer = fixtures::byte_level(MERGES);
        assert!(takes(&mut constraint, &tokenizer, "<tool_call>\n{\"name\": \"any\", \"arguments\": {"));
    }
    let error = made(&[tool("word", json!({"type": "string"}), true)], ToolChoice::Auto).err().unwrap();
    assert!(error.to_string().contains("always an object"));
    for strict in [true, false] {
        let error =
            made(&[tool("wrong", json!({"type": 3}), strict)], ToolChoice::Auto).err().unwrap().to_string();
        assert!(error.contains("tool `wrong`") && error.contains("#/type"), "never open: {error}");
    }
}

#[test]
fn an_answer_does_not_end_too_soon() {
    let (factory, tokenizer) = factory();
    let ends = tokenizer.end_of_generation().to_vec();
    let a = fixtures::byte_id(&tokenizer, b'a');
    let may_end = |constraint: &mut Box<dyn Constraint>| {
        ends.iter().all(|end| allowed(constraint, &tokenizer).contains(end))
    };
    let mut free = min_tokens(2, ends.clone(), None);
    for expected in [false, false, true] {
        assert_eq!(may_end(&mut free), expected);
        assert!(allowed(&mut free, &tokenizer).contains(&a));
        free.accept(a).unwrap();
    }
    let inner = factory.json_schema(&json!({"type": "integer", "minimum": 1, "maximum": 9})).unwrap();
    let mut bound = min_tokens(5, ends.clone(), Some(inner));
    assert!(!may_end(&mut bound));
    bound.accept(fixtures::byte_id(&tokenizer, b'7')).unwrap();
    assert!(bound.finished() || may_end(&mut bound), "nothing else is allowed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn free_text_that_opens_no_call_is_never_refused(picked in prop::collection::vec(0..7usize, 0..12)) {
        let texts = ["<tool_cal", "<", "tool", "<too l", "{\"name\": \"", "\n", "<think"];
        let text: String = picked.iter().map(|&at| texts[at]).collect();
        prop_assume!(!text.contains("<tool_call>"));
        let (factory, tokenizer) = factory();
        let mut constraint = factory.tool_calls(&ToolFormat::new(None), &tools(), &ToolChoice::Auto, true, None).unwrap().unwrap();
        prop_assert!(takes(&mut constraint, &tokenizer, &text), "{}", text);
    }
}

#[test]
fn where_no_call_need_be_the_answer_may_be_held_to_a_schema_of_its_own() {
    let (factory, tokenizer) = factory();
    let answer = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false});
    let hermes = ToolFormat::new(None);
    let mut constraint =
        factory.tool_calls(&hermes, &tools(), &ToolChoice::Auto, false, Some(&answer)).unwrap().unwrap();
    let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
    constraint.mask(&mut mask).unwrap();
    let allows = |byte: u8| {
        let id = fixtures::byte_id(&tokenizer, byte);
        mask[id as usize / 32] & (1 << (id % 32)) != 0
    };
    assert!(allows(b'<') && allows(b'{') && !allows(b'a'));
}

#[test]
fn all_that_one_request_asks_for_has_one_deadline_and_ends_with_it() {
    let (factory, _) = factory();
    let call = |factory: &GrammarFactory| {
        factory.tool_calls(&ToolFormat::new(None), &tools(), &ToolChoice::Required, false, None)
    };
    let cancellation = Cancellation::default();
    let mut request_factory = factory.for_request(&cancellation);
    assert!(call(&request_factory).is_ok());
    request_factory.deadline = Some(Instant::now());
    assert!(matches!(call(&request_factory), Err(GrammarError::TimedOut)));
    let request_factory = factory.for_request(&cancellation);
    cancellation.cancel();
    assert!(matches!(call(&request_factory), Err(GrammarError::Cancelled)));
    assert!(call(&factory).is_ok(), "others go on");
}
