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
