//! How likely a real model finds replies that it doesn't write.

use bandmaster::orchestrator::{Call, Llm, Message, Progress, Reply, Role, SessionLlm};

use super::free_plans::model;

fn call(question: &str, options: &[&str]) -> Call {
    Call {
        messages: vec![Message::new(Role::User, question.to_owned())],
        schema: None,
        grammar: None,
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        tokens_max: 12,
        tokens_min: 1,
        temperature: 0.0,
        seed: 0,
        run: 1,
        critical_path_tokens: 0,
        deadline: None,
    }
}

async fn reply(model: &SessionLlm, call: &Call) -> Reply {
    model.generate(call, &mut |_: Progress<'_>| {}).await.unwrap()
}

async fn likely(model: &SessionLlm, question: &str, options: &[&str]) -> Vec<f64> {
    let reply = reply(model, &call(question, options)).await;
    assert_eq!(reply.usage.completion_tokens, 0, "nothing is written");
    serde_json::from_str(&reply.text).unwrap()
}

#[test]
fn what_a_model_would_write_is_likelier_than_other_replies_and_the_same_in_any_company() {
    let Some(path) = bandmaster_test_support::model("smollm2-135m.gguf") else { return };
    let model = model(&path);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for question in ["What is the capital of France?", "Name a colour.", "Say hello in one word."] {
            let own = reply(&model, &call(question, &[])).await.text;
            let rest = own.split_once(' ').map_or("", |(_, rest)| rest);
            let other = format!("Xylophone {rest}");
            let together = likely(&model, question, &[&own, &other]).await;
            assert!(together[0] > together[1] && together[0] < 0.0, "{own}: {together:?}");
            for (option, nats) in [&own, &other].into_iter().zip(&together) {
                assert_eq!(likely(&model, question, &[option]).await, [*nats], "{option}");
            }
        }
    });
}
