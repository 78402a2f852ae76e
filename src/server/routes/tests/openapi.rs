//! The OpenAPI document is compared with a file, so that every change of a name, a type or a description is seen.

use bandmaster_test_support::check_made;
use serde_json::Value;

use crate::fixtures::running;

#[tokio::test]
async fn description_is_the_file_in_the_repository() {
    let api = running("Hello!").call(200, "GET", "/openapi.json", Value::Null).await;
    let text = serde_json::to_string_pretty(&api).unwrap() + "\n";
    check_made("tests/data/openapi.json", &text);
}
