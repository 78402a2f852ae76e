//! Checks how real models are shown tools, and what a grammar for calls costs with a large vocabulary. The models are
//! in the folder `BANDMASTER_TEST_MODELS`; without it these tests print a message and pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bandmaster::text::{
    ChatTemplate, GrammarFactory, Message, Role, Tokenizer, Tool, ToolCall, ToolChoice, ToolFormat,
};
use bandmaster_models::gguf::Gguf;
use serde_json::json;

fn model(file: &str) -> Option<(ChatTemplate, Arc<Tokenizer>)> {
    let gguf = Gguf::open(&bandmaster_test_support::model(file)?).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    Some((ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap(), Arc::new(tokenizer)))
}

fn tools() -> Vec<Tool> {
    vec![Tool {
        name: "weather".into(),
        description: Some("Tells it.".into()),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
        strict: true,
    }]
}

fn conversation() -> Vec<Message> {
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: json!({"city": "Bern"}) };
    vec![
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "Is it warm?"),
        Message { tool_calls: vec![call], ..Message::new(Role::Assistant, "") },
        Message { tool_call_id: Some("c1".into()), ..Message::new(Role::Tool, "19 degrees") },
    ]
}

const TOOL: &str = r#"{"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}"#;
const HISTORY: &str = "<|im_start|>user\nIs it warm?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call><|im_end|>\n\
     <|im_start|>user\n<tool_response>\n19 degrees\n</tool_response><|im_end|>\n<|im_start|>assistant\n";

#[test]
fn qwen_is_shown_tools_in_its_own_words() {
    let Some((template, tokenizer)) = model("qwen2.5-coder-0.5b.gguf") else { return };
    assert!(template.shows_tools());
    assert_eq!(ToolFormat::new(Some(&template)).name(), "hermes");
    let prompt = template.render(&conversation(), &tools(), true).unwrap();
    assert!(prompt.starts_with("<|im_start|>system\nBe brief.\n\n# Tools\n\n"), "{prompt}");
    assert!(prompt.contains(&format!("<tools>\n{TOOL}\n</tools>")), "{prompt}");
    assert!(prompt.ends_with(HISTORY), "{prompt}");
    assert!(ToolFormat::new(Some(&template)).visible_tokens(&tokenizer).is_empty(), "its tags are text");
}

#[test]
fn smollm_is_told_of_tools_in_hermes_form() {
    let Some((template, _)) = model("smollm2-135m.gguf") else { return };
    assert!(!template.shows_tools());
    let prompt = template.render(&conversation(), &tools(), true).unwrap();
    assert!(prompt.starts_with("<|im_start|>system\nBe brief.\n\nYou can call functions."), "{prompt}");
    assert!(prompt.contains(&format!("<tools>\n{TOOL}\n</tools>")), "{prompt}");
    assert!(prompt.ends_with(HISTORY), "{prompt}");
}

#[test]
fn free_text_costs_nothing_under_a_grammar_for_calls() {
    let Some((template, tokenizer)) = model("qwen2.5-coder-0.5b.gguf") else { return };
    let factory = GrammarFactory::new(tokenizer.clone()).unwrap();
    let format = ToolFormat::new(Some(&template));
    let start = Instant::now();
    let mut constraint =
        factory.tool_calls(&format, &tools(), &ToolChoice::Auto, true, None).unwrap().unwrap();
    eprintln!("made in {:?}", start.elapsed());
    let free = "Let me look. In 1 < 2 words, or `<b>`: it may take some time to find out.\n";
    let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>";
    let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
    let mut time = |text: &str| {
        let ids = tokenizer.encode(text, true);
        let mut slowest = Duration::ZERO;
        let start = Instant::now();
        for &id in &ids {
            let step = Instant::now();
            mask.fill(0);
            constraint.mask(&mut mask).unwrap();
            slowest = slowest.max(step.elapsed());
            assert!(mask[id as usize / 32] & (1 << (id % 32)) != 0, "token {id} of {text}");
            constraint.accept(id).unwrap();
        }
        let mean = start.elapsed() / ids.len() as u32;
        eprintln!("{mean:?} a token, {slowest:?} at most: {text:?}");
        mean
    };
    assert!(time(free) < Duration::from_millis(1));
    time(call);
    assert!(constraint.finished() || constraint.forced().is_empty());
}
