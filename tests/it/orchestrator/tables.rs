//! A map that fills a table: rows are read once for all columns, and what counts follows by rule.

use bandmaster::orchestrator::{Input, RunRequest, Status, StrategyName};
use serde_json::{Value, json};

use super::scripted::*;

const RANK: &str = "Which offer is the cheapest with at least 24 months of warranty?";

fn offers() -> Vec<Input> {
    let offer = |name: &str, text: &str| Input {
        name: format!("{}.md", name.to_lowercase()),
        text: format!("# Offer by {name}\n\n{text} Last year the price was EUR 5."),
    };
    vec![
        offer("Hale", "The price is EUR 1,250. The warranty is 36 months."),
        offer("Innes", "The price is EUR 990. The warranty is eleven months."),
        offer("Jarrow", "The price is EUR 1,100. The warranty is 24 months."),
        offer("Kember", "The price is on request. The warranty is 48 months."),
    ]
}

fn request(goal: &str) -> RunRequest {
    RunRequest { inputs: offers(), strategy: Some(StrategyName::Map), ..RunRequest::new(goal) }
}

fn plan(only_if: &Value, combine: &str, of: Option<&str>) -> String {
    json!({
        "columns": [
            {"name": "offer", "kind": "name"}, {"name": "price", "kind": "number"},
            {"name": "warranty in months", "kind": "number"},
        ],
        "only_if": only_if, "combine": [combine], "of": of, "limit": null,
    })
    .to_string()
}

/// The right row of each offer.
fn row(prompt: &str) -> Value {
    let rows = [
        ("Hale", Some(1250), 36),
        ("Innes", Some(990), 11),
        ("Jarrow", Some(1100), 24),
        ("Kember", None, 48),
    ];
    let (name, price, months) = rows.into_iter().find(|(name, ..)| prompt.contains(name)).unwrap();
    json!({"offer": name, "price": price, "warranty in months": months})
}

fn is_plan(prompt: &str) -> bool {
    prompt.contains("look up in every single text")
}

#[test]
fn the_best_is_chosen_by_rule_from_rows_that_meet_the_condition() {
    let only_if = json!([{"column": "warranty in months", "is": ">=", "value": 24}]);
    let written = plan(&only_if, "least", Some("price"));
    let planner = scripted("big", move |call, _| {
        say(if is_plan(last(call)) { written.clone() } else { row(last(call)).to_string() })
    });
    // The worker takes last year's price for the price, and finds one where there is none.
    let worker = scripted("small", |call, _| {
        let mut row = row(last(call));
        row["price"] = if last(call).contains("Jarrow") { row["price"].clone() } else { json!(5) };
        say(row.to_string())
    });
    let ran = play(&planner, &[worker], &request(RANK));
    let outcome = &ran.outcome;
    assert!(
        outcome.answer.starts_with("Jarrow has the lowest price: 1100 (warranty in months 24)."),
        "{outcome:#?}"
    );
    assert!(
        outcome.answer.contains("Chosen from the 3 of 4 with warranty in months at least 24."),
        "{outcome:#?}"
    );
    assert_eq!(outcome.missing, ["Kember (kember.md) does not say the price"], "{outcome:#?}");
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
}

#[test]
fn a_table_has_a_row_for_each_document_and_says_what_is_not_stated() {
    let written = plan(&json!([]), "list", None);
    let planner = scripted("big", move |call, _| {
        say(if is_plan(last(call)) { written.clone() } else { row(last(call)).to_string() })
    });
    let worker = scripted("small", |call, _| say(row(last(call)).to_string()));
    let goal = "Make a table of the offers: offer, price and warranty in months.";
    let ran = play(&planner, &[worker], &request(goal));
    let lines: Vec<&str> = ran.outcome.answer.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "| offer  | price | warranty in months |",
            "| ------ | ----- | ------------------ |",
            "| Hale   | 1250  | 36                 |",
            "| Innes  | 990   | 11                 |",
            "| Jarrow | 1100  | 24                 |",
            "| Kember | –     | 48                 |",
        ],
        "{:#?}",
        ran.outcome
    );
}

#[test]
fn a_cell_that_no_reading_bears_out_is_no_answer() {
    let only_if = json!([{"column": "warranty in months", "is": ">=", "value": 24}]);
    let written = plan(&only_if, "least", Some("price"));
    let invented = |prompt: &str| {
        let mut row = row(prompt);
        if prompt.contains("Jarrow") {
            row["price"] = json!(77);
        }
        row.to_string()
    };
    let planner = scripted("big", move |call, _| {
        say(if is_plan(last(call)) { written.clone() } else { invented(last(call)) })
    });
    let worker = scripted("small", move |call, _| say(invented(last(call))));
    let ran = play(&planner, &[worker], &request(RANK));
    let outcome = &ran.outcome;
    assert!(outcome.answer.starts_with("Hale has the lowest price: 1250"), "{outcome:#?}");
    assert!(
        outcome.missing.contains(&"the price of Jarrow (jarrow.md) could not be read".to_owned()),
        "{outcome:#?}"
    );
    assert_eq!(outcome.status, Status::Incomplete, "{outcome:#?}");
}
