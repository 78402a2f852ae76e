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
fn a_template_without_system_role_gets_it_in_the_first_user_message() {
    let refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    let drops = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    for source in [refuses, drops] {
        assert_eq!(rendered(source, &conversation()).unwrap(), "<user>Be brief.\n\nHello");
    }
    assert_eq!(rendered(refuses, &[Message::new(Role::System, "alone")]).unwrap(), "<user>alone");
}

fn by_turns(count: usize) -> Vec<Message> {
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    roles.take(count).map(|role| Message::new(role, "a")).collect()
}

#[test]
fn exceptions_reach_the_caller_in_the_templates_words() {
    let source = "{{ messages[0].content }}{% if messages|length > 2 %}{{ raise_exception('That is too much') }}{% endif %}";
    let error = rendered(source, &by_turns(3)).unwrap_err();
    assert!(error.ends_with("refuses the messages: That is too much"), "{error}");
}

#[test]
fn a_template_that_never_ends_runs_out_of_fuel() {
    let source = "{{ messages[0].content }}{% if messages|length > 3 %}{% for a in range(99999) %}{% for b in range(99999) %}\
         {% endfor %}{% endfor %}{% endif %}";
    let error = rendered(source, &by_turns(5)).unwrap_err();
    assert!(error.contains("it ran too long"), "{error}");
}

#[test]
fn a_template_that_nests_too_deep_is_refused_when_it_is_loaded() {
    let source = format!("{{{{ {}messages[0].content{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    let error = rendered(&source, &conversation()).unwrap_err();
    assert!(error.contains("does not parse: line 1: nesting deeper than 100 levels"), "{error}");
}

#[test]
fn a_template_that_reads_parts_gets_parts() {
    let parts_only = "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}\
         {% endfor %}{% endfor %}";
    assert_eq!(rendered(parts_only, &conversation()).unwrap(), "<system>Be brief.<user>Hello");
    let users_only = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'user' %}{{ m.content[0]['text'] }}{% else %}{{ m.content }}\
         {% endif %}{% endfor %}";
    assert_eq!(rendered(users_only, &conversation()).unwrap(), "<system>Be brief.<user>Hello");
    let both = "{% for m in messages %}<{{ m.role }}>{{ m.content if m.content is string else m.content[0].text ~ '!' }}{% endfor %}";
    assert_eq!(rendered(both, &conversation()).unwrap(), "<system>Be brief.<user>Hello");
    let answers = "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content[0].text }}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    let mut messages = conversation();
    messages.push(Message::new(Role::Assistant, " there."));
    assert_eq!(rendered(answers, &messages).unwrap(), "Be brief.Hello there.");
}

#[test]
fn a_template_that_shows_no_question_is_refused_when_it_is_loaded() {
    let silent = "{% for m in messages %}<{{ m.role }}>{{ m.text }}{% endfor %}";
    let error = rendered(silent, &conversation()).unwrap_err();
    assert!(error.contains("does not show what a user says"), "{error}");
    let error = rendered("{{ functions.x }}{{ messages[0].content }}", &conversation()).unwrap_err();
    assert!(error.contains("fails for a single question: 'functions' is undefined (line 1)"), "{error}");
}

fn public_templates() -> Vec<(String, String)> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/templates");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let templates = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    let named = templates.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    named.collect()
}

#[test]
fn public_templates_show_what_is_said() {
    let templates = public_templates();
    assert!(templates.len() >= 40);
    let mut wrong = Vec::new();
    for (name, source) in templates {
        let mut messages = conversation();
        messages.push(Message::new(Role::Assistant, "Hi there"));
        messages.push(Message::new(Role::User, "And again"));
        match rendered(&source, &messages) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(prompt) => {
                let missing = messages.iter().filter(|message| !prompt.contains(&message.content));
                wrong.extend(missing.map(|message| format!("{name} drops {:?}", message.content)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// A short version of Llama 3.1's template: one call a turn, `parameters`, the role `ipython`.
const LLAMA: &str = "{{ bos_token }}{% if tools is not none %}{% for t in tools %}{{ t | tojson(indent=4) }}\n{% endfor %}{% endif %}\
    {%- for message in messages %}\
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n{{ message.content | trim }}<|eot_id|>\
    {%- elif 'tool_calls' in message %}\
    {%- if message.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}\
    {%- set tool_call = message.tool_calls[0].function %}<|start_header_id|>assistant<|end_header_id|>\n\n{{ '{\"name\": \"' + tool_call.name + '\", ' }}{{ '\"parameters\": ' }}{{ tool_call.arguments | tojson }}{{ '}' }}<|eot_id|>\
    {%- else %}<|start_header_id|>ipython<|end_header_id|>\n\n{{ message.content if message.content is string else message.content | tojson }}<|eot_id|>{% endif %}\
    {%- endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";

/// A short version of Mistral's template, which insists on ids of nine letters or digits.
const MISTRAL: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
    {% if tools is not none and loop.index0 == 0 %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ message['content'] }}[/INST]\
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}[TOOL_CALLS][{% for call in message.tool_calls %}{% set out = call.function | tojson %}{{ out[:-1] }}\
    {%- if not call.id is defined or call.id | length != 9 %}{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}{{ ', \"id\": \"' + call.id + '\"}' }}\
    {%- if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}\
    {%- elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}\
    {%- elif message['role'] == 'tool' %}[TOOL_RESULTS]{\"content\": {{ message.content }}, \"call_id\": \"{{ message.tool_call_id }}\"}[/TOOL_RESULTS]\
    {%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

/// A short version of DeepSeek's template with tools: arguments are appended to text.
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
    use crate::ToolFormat;
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

/// As in the templates of Mistral, Llama 2 and Gemma.
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
    // Shows only the first system message.
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
        template
            .render_with(&messages, &[], true, variables.as_object().unwrap(), &RenderLimits::none())
            .unwrap()
            .to_lowercase()
    };
    assert_eq!(render(serde_json::json!({})), "atrue");
    assert_eq!(render(serde_json::json!({"enable_thinking": false})), "no atrue");
    assert_eq!(render(serde_json::json!({"messages": [{"role": "user", "content": "forged"}]})), "atrue");
    assert_eq!(render(serde_json::json!({"documents": [{"text": "d"}]})), "afalse");
}

#[test]
fn a_prompt_that_is_too_long_is_refused_while_it_is_written() {
    let source = "{{ messages[0].content }}{% if messages|length > 3 %}{% for i in range(100000) %}{{ 'x' * 600 }}{% endfor %}{% endif %}";
    let template = template(source);
    let limits = RenderLimits { bytes_max: 1 << 20, ..RenderLimits::none() };
    let render = |count| template.render_with(&by_turns(count), &[], true, &Variables::new(), &limits);
    assert!(render(1).is_ok());
    let error = render(5).unwrap_err();
    assert!(matches!(error, TemplateError::TooLong { bytes_max: 1_048_576 }), "{error}");
}

#[test]
fn what_takes_too_much_is_not_tried_again_in_another_order() {
    // Two user messages in a row would be merged for a second try.
    let source = "{{ messages[0].content }}{% if messages|length > 1 %}{% for a in range(99999) %}{% for b in range(99999) %}\
         {% endfor %}{% endfor %}{% endif %}";
    let template = template(source);
    let messages = [Message::new(Role::User, "a"), Message::new(Role::User, "b")];
    let error = template.render(&messages, &[], true).unwrap_err();
    assert!(matches!(&error, TemplateError::LimitExceeded(what) if what == "it ran too long"), "{error}");
}

#[test]
fn a_template_that_is_too_large_is_said_to_be_so() {
    let source = "{{ messages[0].content }}".to_owned() + &" ".repeat(jinja::SOURCE_BYTES_MAX);
    let error = rendered(&source, &conversation()).unwrap_err();
    assert_eq!(error, "the model's chat template does not parse: it has more than 1 MiB");
}
