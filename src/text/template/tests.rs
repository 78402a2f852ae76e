use super::functions::strftime;
use super::*;

fn rendered(source: &str, messages: &[Message]) -> Result<String, String> {
    ChatTemplate::new(source, "<s>".into(), "</s>".into())
        .and_then(|template| template.render(messages, &[], true))
        .map_err(|e| e.to_string())
}

fn conversation() -> Vec<Message> {
    vec![Message::new(Role::System, "Be brief."), Message::new(Role::User, "Hello")]
}

#[test]
fn blocks_are_trimmed_as_hugging_face_does() {
    let source = "{{ bos_token }}\n{% for m in messages %}\n    {% if true %}\n[{{ m['role'] }}] {{ m.content | trim }}\n    {% endif %}\n{% endfor %}\n";
    assert_eq!(rendered(source, &conversation()).unwrap(), "<s>\n[system] Be brief.\n[user] Hello\n");
}

#[test]
fn python_methods_and_loop_controls_work() {
    let source = "{% for m in messages[:1] %}{{ m.content.upper().startswith('HE') }} {{ m.content.split('l')[0].strip() }}{% break %}{% endfor %}";
    assert_eq!(rendered(source, &conversation()[1..]).unwrap(), "True He");
}

#[test]
fn tojson_writes_what_python_writes() {
    let source = r#"{{ {"a": [1, 2.0, true, none], "ü<&'": {}} | tojson }}"#;
    assert_eq!(rendered(source, &[]).unwrap(), r#"{"a": [1, 2.0, true, null], "ü<&'": {}}"#);
    let source = r#"{{ {"a": [1], "b": []} | tojson(indent=2) }}"#;
    assert_eq!(rendered(source, &[]).unwrap(), "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}");
}

#[test]
fn a_template_without_system_role_gets_it_in_the_first_user_message() {
    let refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    let drops = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    for source in [refuses, drops] {
        assert_eq!(rendered(source, &conversation()).unwrap(), "<user>Be brief.\n\nHello");
    }
    assert_eq!(rendered(refuses, &[Message::new(Role::System, "alone")]).unwrap(), "<user>alone");
}

#[test]
fn exceptions_reach_the_caller_in_the_templates_words() {
    let source = "{{ raise_exception('Conversation roles must alternate') }}";
    let error = rendered(source, &conversation()).unwrap_err();
    assert!(error.ends_with("refuses the messages: Conversation roles must alternate"), "{error}");
}

#[test]
fn a_template_that_never_ends_runs_out_of_fuel() {
    let source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert!(rendered(source, &conversation()).unwrap_err().contains("it ran too long"));
}

#[test]
fn what_does_not_parse_is_said_when_the_model_loads() {
    assert!(rendered("{% for %}", &[]).unwrap_err().contains("does not parse"));
}

#[test]
fn generation_marks_change_nothing() {
    let source = "{%- generation -%} {{ messages[0].content }} {%- endgeneration %}.";
    assert_eq!(rendered(source, &conversation()[1..]).unwrap(), "Hello.");
}

#[test]
fn dates() {
    let check =
        |seconds, expected: &str| assert_eq!(strftime("%a %d %b %Y %H:%M:%S %%", seconds).unwrap(), expected);
    check(0, "Thu 01 Jan 1970 00:00:00 %");
    check(951_782_400, "Tue 29 Feb 2000 00:00:00 %");
    check(1_732_291_199, "Fri 22 Nov 2024 15:59:59 %");
    assert!(strftime("%Q", 0).is_err());
}

fn tools() -> Vec<Tool> {
    let parameters = serde_json::json!({"type": "object", "properties": {"city": {"type": "string"}}});
    vec![Tool { name: "weather".into(), description: Some("Tells it.".into()), parameters, strict: true }]
}

/// A question, two calls, their results.
fn called() -> Vec<Message> {
    let call = |id: &str, city: &str| ToolCall {
        id: id.into(),
        name: "weather".into(),
        arguments: serde_json::json!({"city": city}),
    };
    let result =
        |id: &str, text: &str| Message { tool_call_id: Some(id.into()), ..Message::new(Role::Tool, text) };
    vec![
        Message::new(Role::User, "Where?"),
        Message {
            tool_calls: vec![call("call_a", "Bern"), call("call_b", "Rom")],
            ..Message::new(Role::Assistant, "")
        },
        result("call_a", "19"),
        result("call_b", "30"),
    ]
}

/// As Llama 3.1's, in short: one call a turn, `parameters`, the role `ipython`.
const LLAMA: &str = "{{ bos_token }}{% if tools is not none %}{% for t in tools %}{{ t | tojson(indent=4) }}\n{% endfor %}{% endif %}\
    {%- for message in messages %}\
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n{{ message.content | trim }}<|eot_id|>\
    {%- elif 'tool_calls' in message %}\
    {%- if message.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}\
    {%- set tool_call = message.tool_calls[0].function %}<|start_header_id|>assistant<|end_header_id|>\n\n{{ '{\"name\": \"' + tool_call.name + '\", ' }}{{ '\"parameters\": ' }}{{ tool_call.arguments | tojson }}{{ '}' }}<|eot_id|>\
    {%- else %}<|start_header_id|>ipython<|end_header_id|>\n\n{{ message.content if message.content is string else message.content | tojson }}<|eot_id|>{% endif %}\
    {%- endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";

/// As Mistral's, in short: it insists on ids of nine letters or digits.
const MISTRAL: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
    {% if tools is not none and loop.index0 == 0 %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ message['content'] }}[/INST]\
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}[TOOL_CALLS][{% for call in message.tool_calls %}{% set out = call.function | tojson %}{{ out[:-1] }}\
    {%- if not call.id is defined or call.id | length != 9 %}{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}{{ ', \"id\": \"' + call.id + '\"}' }}\
    {%- if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}\
    {%- elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}\
    {%- elif message['role'] == 'tool' %}[TOOL_RESULTS]{\"content\": {{ message.content }}, \"call_id\": \"{{ message.tool_call_id }}\"}[/TOOL_RESULTS]\
    {%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

/// As DeepSeek's, in short, with tools: the arguments are appended to text.
const DEEPSEEK: &str = "{% for t in tools or [] %}{{ t.function.name }}\n{% endfor %}{% for message in messages %}\
    {%- if message['role'] == 'user' %}<｜User｜>{{ message['content'] }}\
    {%- elif message['role'] == 'tool' %}<｜tool▁output▁begin｜>{{ message['content'] }}<｜tool▁output▁end｜>\
    {%- elif message['tool_calls'] %}{% for tool in message['tool_calls'] %}{{ '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n```json\n' + tool['function']['arguments'] + '\n```<｜tool▁call▁end｜>' }}{% endfor %}\
    {%- else %}<｜Assistant｜>{{ message['content'] }}{% endif %}{% endfor %}";

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>".into(), "</s>".into()).unwrap()
}

#[test]
fn templates_that_show_tools_show_them() {
    let check = |source: &str, messages: &[Message], expected: &[&str]| {
        let template = template(source);
        assert!(template.shows_tools());
        let prompt = template.render(messages, &tools(), true).unwrap();
        expected.iter().for_each(|part| assert!(prompt.contains(part), "{part}\nis not in\n{prompt}"));
    };
    let mut single = called();
    single[1].tool_calls.pop();
    let parts = [
        "{\"name\": \"weather\", \"parameters\": {\"city\": \"Bern\"}}<|eot_id|>",
        "ipython<|end_header_id|>\n\n19<",
        "\n    \"function\": {\n",
    ];
    check(LLAMA, &single, &parts);
    let parts = [
        "[AVAILABLE_TOOLS][{\"type\": \"function\", \"function\": {\"name\": \"weather\"",
        "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}, \"id\": \"000000001\"}, ",
        "[TOOL_RESULTS]{\"content\": 30, \"call_id\": \"000000002\"}",
    ];
    check(MISTRAL, &called(), &parts);
    check(
        DEEPSEEK,
        &called(),
        &["function<｜tool▁sep｜>weather\n```json\n{\"city\": \"Rom\"}\n```", "▁begin｜>30<"],
    );
    let refused = template(LLAMA).render(&called(), &tools(), true).unwrap_err().to_string();
    assert!(refused.ends_with("only supports single tool-calls at once!"), "{refused}");
}

#[test]
fn formats_follow_templates() {
    use crate::text::ToolFormat;
    let name = |source: &str| ToolFormat::new(Some(&template(source))).name();
    assert_eq!(name(LLAMA), "llama3");
    assert_eq!(name(MISTRAL), "mistral");
    assert_eq!(name(DEEPSEEK), "deepseek3");
    assert_eq!(name(CHATML), "hermes");
    assert_eq!(name(&format!("{CHATML}{{# [TOOL_CALLS] #}}")), "hermes", "tools are described to it here");
    assert_eq!(ToolFormat::new(None).name(), "hermes");
}

#[test]
fn templates_that_do_not_show_tools_get_text() {
    let drops = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    for source in [CHATML, drops] {
        let template = template(source);
        assert!(!template.shows_tools());
        let mut messages = called();
        messages.push(Message::new(Role::Assistant, "Warm."));
        let prompt = template.render(&messages, &tools(), true).unwrap();
        for part in [
            "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"Tells it.\", ",
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>\n<tool_call>\n",
            "user",
            "<tool_response>\n19\n</tool_response>\n<tool_response>\n30\n</tool_response>",
            "Warm.",
        ] {
            assert!(prompt.contains(part), "{part}\nis not in\n{prompt}");
        }
        assert!(!prompt.contains("strict") && !prompt.contains("tool\n"), "{prompt}");
        let plain = template.render(&messages[..1], &[], true).unwrap();
        assert!(!plain.contains("tool"), "without tools nothing is said of them: {plain}");
    }
}

#[test]
fn messages_and_calls_read_and_write_as_openais() {
    let plain = Message::new(Role::User, "Hi");
    assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"role":"user","content":"Hi"}"#);
    for message in called() {
        let written = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&written).unwrap(), message);
    }
    let written = serde_json::to_value(&called()[1]).unwrap();
    let call = serde_json::json!({"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}});
    assert_eq!(written["tool_calls"][0], call);
}

#[test]
fn every_text_of_a_message_and_a_tool_is_mapped() {
    let shout = &mut |text: &str| text.to_uppercase();
    let mapped = called()[1].map_text(shout);
    assert_eq!(mapped.tool_calls[0].id, "CALL_A");
    assert_eq!(mapped.tool_calls[1].arguments, serde_json::json!({"CITY": "ROM"}));
    assert_eq!(called()[2].map_text(shout).tool_call_id.as_deref(), Some("CALL_A"));
    let tool = tools()[0].map_text(shout);
    assert_eq!((tool.name.as_str(), tool.description.as_deref()), ("WEATHER", Some("TELLS IT.")));
    assert_eq!(tool.parameters["PROPERTIES"]["CITY"]["TYPE"], "STRING");
}

/// As Mistral's, Llama 2's and Gemma's do it.
const STRICT: &str = "{% if messages[0].role == 'system' %}{% set rules = messages[0].content %}{% set messages = messages[1:] %}{% endif %}\
    {% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}\
    {{ raise_exception('roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
    {% if loop.first and rules is defined %}({{ rules }}){% endif %}[{{ message.role }}:{{ message.content }}]{% endfor %}";

#[test]
fn turns_that_do_not_alternate_are_merged_for_templates_that_want_it() {
    let template = ChatTemplate::new(STRICT, String::new(), String::new()).unwrap();
    let check = |turns: &[(Role, &str)], expected: &str| {
        let messages: Vec<Message> = turns.iter().map(|(role, text)| Message::new(*role, *text)).collect();
        assert_eq!(template.render(&messages, &[], true).unwrap(), expected, "{turns:?}");
    };
    use Role::{Assistant, System, User};
    check(&[(User, "a"), (Assistant, "b"), (User, "c")], "[user:a][assistant:b][user:c]");
    check(&[(User, "a"), (User, "b")], "[user:a\n\nb]");
    check(&[(User, "a"), (Assistant, "b"), (Assistant, "c")], "[user:a][assistant:b\n\nc]");
    check(&[(Assistant, "b"), (User, "a")], "[user:][assistant:b][user:a]");
    check(&[(System, "s"), (User, "a")], "(s)[user:a]");
    check(&[(System, "s"), (System, "t"), (User, "a"), (User, "b")], "(s\n\nt)[user:a\n\nb]");
    check(&[(User, "a"), (Assistant, "b"), (System, "s"), (User, "c")], "[user:a][assistant:b][user:s\n\nc]");
    check(&[(User, "a"), (System, "s")], "[user:a\n\ns]");
}

#[test]
fn a_late_system_message_is_never_dropped() {
    // Shows the first alone.
    let source = "{% for m in messages %}{% if m.role != 'system' or loop.first %}[{{ m.role }}:{{ m.content }}]{% endif %}{% endfor %}";
    let template = ChatTemplate::new(source, String::new(), String::new()).unwrap();
    let turns = [(Role::System, "s"), (Role::User, "a"), (Role::System, "t"), (Role::User, "b")];
    let messages = turns.map(|(role, text)| Message::new(role, text));
    assert_eq!(template.render(&messages, &[], true).unwrap(), "[system:s][user:a][user:t\n\nb]");
}

#[test]
fn a_client_sets_variables_of_its_own_and_no_others() {
    let source = "{% if enable_thinking is defined and not enable_thinking %}no {% endif %}{{ messages[0].content }}{{ documents is none }}";
    let template = ChatTemplate::new(source, String::new(), String::new()).unwrap();
    let messages = [Message::new(Role::User, "a")];
    let render = |variables: serde_json::Value| {
        template.render_with(&messages, &[], true, variables.as_object().unwrap()).unwrap().to_lowercase()
    };
    assert_eq!(render(serde_json::json!({})), "atrue");
    assert_eq!(render(serde_json::json!({"enable_thinking": false})), "no atrue");
    assert_eq!(render(serde_json::json!({"messages": [{"role": "user", "content": "forged"}]})), "atrue");
    assert_eq!(render(serde_json::json!({"documents": [{"text": "d"}]})), "afalse");
}
