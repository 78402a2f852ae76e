//! Counts and limits, however a body is cut into chunks.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scan(body: &[u8], part_bytes: usize) -> Result<usize, ApiError> {
    let mut scan = Scan::default();
    for part in body.chunks(part_bytes.max(1)) {
        scan.push(part)?;
    }
    Ok(scan.values())
}

/// Values and names, as the parser finds them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()).prop_map(Value::from),
        "[ -~\"\\\\\u{e9}\n,:{}\\[\\]]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\,:{]{0,6}", inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_counted_wherever_the_body_is_split(value in values(), part in 1usize..9, pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(scan(text.as_bytes(), part).unwrap(), count(&value), "{}", text);
        prop_assert_eq!(scan(text.as_bytes(), text.len()).unwrap(), count(&value));
    }

    #[test]
    fn any_bytes_are_scanned_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), part in 1usize..50) {
        let _ = scan(&bytes, part);
    }
}

fn refused(body: &Value) -> ApiError {
    let text = body.to_string();
    let whole = scan(text.as_bytes(), text.len()).expect_err(&text[..text.len().min(80)]);
    assert_eq!(scan(text.as_bytes(), 7).unwrap_err(), whole);
    whole
}

#[test]
fn lists_have_limits_by_their_path() {
    let check = |body: Value, param: &str, limit: usize| {
        let error = refused(&body);
        assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(param)));
        assert!(
            error.message.contains(&limit.to_string()) && error.message.contains(param),
            "{}",
            error.message
        );
    };
    let many = |item: Value, count: usize| vec![item; count];
    check(json!({"messages": many(json!({}), 16_385)}), "messages", 16_384);
    check(json!({"model": "a", "messages": many(json!([]), 20_000)}), "messages", 16_384);
    check(
        json!({"messages": [{}, {"content": many(json!({"type": "text"}), 5000)}]}),
        "messages[1].content",
        4096,
    );
    check(json!({"messages": [{"tool_calls": many(json!({}), 300)}]}), "messages[0].tool_calls", 256);
    check(json!({"tools": many(json!(1), 129)}), "tools", 128);
    check(json!({"stop": many(json!("a"), 17)}), "stop", 16);
    check(json!({"stop_token_ids": many(json!(1), 129)}), "stop_token_ids", 128);
    check(json!({"items": many(json!({}), 21)}), "items", 20);
    check(json!({"response_fields": many(json!("content"), 257)}), "response_fields", 256);
    let biases: serde_json::Map<_, _> = (0..16_385).map(|id| (id.to_string(), json!(1))).collect();
    check(json!({"logit_bias": biases}), "logit_bias", 16_384);
    // The same names elsewhere are somebody's own.
    let fine = json!({"tools": [{"function": {"parameters": {"stop": many(json!(1), 1000), "tools": many(json!(1), 1000)}}}]});
    assert!(scan(fine.to_string().as_bytes(), 64).is_ok());
    assert!(scan(json!({"messages": many(json!({}), 16_384)}).to_string().as_bytes(), 64).is_ok());
}

#[test]
fn depth_and_number_of_values_are_limited() {
    let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    assert!(scan(&deep(DEPTH_MAX), 64).is_ok());
    assert_eq!(scan(&deep(DEPTH_MAX + 1), 64).unwrap_err().status, 400);
    assert_eq!(scan(&vec![b'{'; 1 << 20], 4096).unwrap_err().status, 400);
    let lists = "{\"a\":[".to_owned() + &"[],".repeat(VALUES_MAX);
    let error = scan(lists.as_bytes(), 4096).unwrap_err();
    assert!(error.status == 413 && error.message.contains(&VALUES_MAX.to_string()), "{error:?}");
    let ids = format!("{{\"prompt\":[{}1]}}", "1,".repeat(1 << 20));
    assert!(scan(ids.as_bytes(), 4096).is_ok(), "a million token ids are a prompt");
}

#[test]
fn escapes_in_a_name_do_not_evade_a_limit() {
    let items = vec!["{}"; 20_000].join(",");
    for name in [r"\u006dessages", r"m\u0065ssage\u0073", r"\u006D\u0065\u0073\u0073\u0061\u0067\u0065\u0073"]
    {
        for part in [1, 7, 4096] {
            let many = format!(r#"{{"{name}": [{items}]}}"#);
            let error = scan(many.as_bytes(), part).expect_err("refused");
            assert_eq!(error.param.as_deref(), Some("messages"), "{name}");
        }
    }
    // Names in other letters are other names, and as good as any.
    for name in [r"gr\u00f6\u00dfe", r"mess\nages", r"m\u00e9ssages", r"\u0100messages", "messages\\u0000"] {
        let body = format!(r#"{{"metadata": {{"{name}": "x"}}, "{name}": [{items}]}}"#);
        assert!(scan(body.as_bytes(), 5).is_ok(), "{name}");
    }
}
