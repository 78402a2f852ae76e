use bandmaster_tools::calculator::Aggregate;
use serde_json::{Value, json};

use super::cells::{Basis, Row};
use super::conditions::Comparison;
use super::evidence::{Evidence, Sought};
use super::limits::limits;
use super::*;
use crate::band::{CallUsage, Finish, Reply};
use crate::plan::AnswerIs;
use crate::strategy::Verdict;

fn columns(of: &[(&str, AnswerIs)]) -> Vec<Column> {
    of.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect()
}

fn offers() -> Vec<Column> {
    columns(&[
        ("offer", AnswerIs::Name),
        ("price", AnswerIs::Number),
        ("warranty in months", AnswerIs::Number),
    ])
}

fn table(plan: Value) -> Table {
    serde_json::from_value(plan).unwrap()
}

const OFFER: &str = "# Offer by Hale Pumps\n\nThe price is EUR 1,250. Last year it was EUR 990. We grant eighteen months \
    of warranty, and our competitor grants 12.\n";

#[test]
fn a_value_must_stand_in_a_sentence_that_speaks_of_its_column() {
    let told = |place: usize, value: Value| match Sought::of(&offers(), place).evidence(OFFER, &value) {
        Evidence::Told(_) => "told",
        Evidence::Stands(_) => "stands",
        Evidence::Absent(_) => "absent",
    };
    for (place, value, expected) in [
        (0, json!("Hale Pumps"), "told"),
        (0, json!("Napoleon"), "absent"),
        (1, json!(1250), "told"),
        // The decoy stands in the text, but not beside the price.
        (1, json!(990), "stands"),
        (1, json!(1300), "absent"),
        (2, json!(18), "told"),
        (2, json!(12), "stands"),
    ] {
        assert_eq!(told(place, value.clone()), expected, "{place} {value}");
    }
}

#[test]
fn columns_in_one_sentence_are_told_apart_by_its_clauses() {
    let asked = columns(&[("experience in years", AnswerIs::Number), ("day rate", AnswerIs::Number)]);
    let text = "About Ada Gorse: experience 5 years, day rate EUR 305.";
    let evidence = |place, value: i64| Sought::of(&asked, place).evidence(text, &json!(value));
    assert!(matches!(evidence(0, 5), Evidence::Told(_)));
    assert!(matches!(evidence(1, 305), Evidence::Told(_)));
    assert!(matches!(evidence(0, 305), Evidence::Stands(_)));
}

fn reply(json: &Value) -> Reply {
    Reply { text: json.to_string(), finish: Finish::Stop, usage: CallUsage::default() }
}

fn bases(verdict: &Verdict) -> Vec<(String, Basis)> {
    let (Verdict::Accept(json) | Verdict::Doubt(json) | Verdict::Reject { kept: Some(json), .. }) = verdict
    else {
        panic!("{verdict:?}")
    };
    let row: Row = serde_json::from_str(json).unwrap();
    row.cells.into_iter().map(|cell| (cell.value.to_string(), cell.basis)).collect()
}

#[test]
fn what_one_reading_leaves_open_a_second_one_settles() {
    let good = json!({"offer": "Hale Pumps", "price": 1250, "warranty in months": 18});
    assert!(matches!(check(&offers(), OFFER, &reply(&good), &[], false), Verdict::Accept(_)));
    let decoy = json!({"offer": "Hale Pumps", "price": 1250, "warranty in months": 12});
    let first = check(&offers(), OFFER, &reply(&decoy), &[], false);
    assert!(matches!(first, Verdict::Doubt(_)), "{first:?}");
    let second = check(&offers(), OFFER, &reply(&good), &[&decoy.to_string()], false);
    assert!(matches!(second, Verdict::Accept(_)), "{second:?}");
    // A number that the text does not hold is no value, and what the first reading was sure of stays.
    let wrong = json!({"offer": "Hale Pumps", "price": 1300, "warranty in months": null});
    let third = check(&offers(), OFFER, &reply(&wrong), &[&good.to_string()], false);
    assert_eq!(bases(&third)[1], ("1250".to_owned(), Basis::Quote));
    let alone = check(&offers(), OFFER, &reply(&wrong), &[], false);
    assert_eq!(bases(&alone)[1], ("null".to_owned(), Basis::Failed));
    // Two readings that find nothing agree.
    let nothing = json!({"offer": "Hale Pumps", "price": 1250, "warranty in months": null});
    let both = check(&offers(), OFFER, &reply(&nothing), &[&nothing.to_string()], false);
    assert_eq!(bases(&both)[2], ("null".to_owned(), Basis::Agreed));
    // A reply that reached its limit may be half there.
    let cut = Reply { finish: Finish::Length, ..reply(&good) };
    assert!(matches!(check(&offers(), OFFER, &cut, &[], false), Verdict::Reject { kept: None, .. }));
}

#[test]
fn the_name_of_a_row_fills_no_other_cell() {
    let column = |name: &str| Column { name: name.to_owned(), kind: AnswerIs::Name };
    let columns = [column("dog"), column("carer")];
    let text = "Pilot came to us in May. Hedwig Rautio is the carer of Pilot.";
    let reading = |dog: &str, carer: &str| json!({"dog": dog, "carer": carer});
    let once = check(&columns, text, &reply(&reading("Pilot", "Pilot")), &[], false);
    assert_eq!(bases(&once)[1], ("null".to_owned(), Basis::Failed));
    // The cells of two readings meet in one row.
    let earlier = reading("Hedwig Rautio", "Pilot").to_string();
    let twice = check(&columns, text, &reply(&reading("Pilot", "Nobody")), &[&earlier], true);
    assert_ne!(bases(&twice)[1].0, "\"Pilot\"", "{twice:?}");
}

#[test]
fn the_goal_says_how_a_number_limits() {
    for (goal, expected) in [
        ("the cheapest with at least 24 months of warranty", Some(Comparison::AtLeast)),
        ("among those with seven years of experience or more", Some(Comparison::AtLeast)),
        ("with a minimum of 24 months", Some(Comparison::AtLeast)),
        ("not less than 24 months", Some(Comparison::AtLeast)),
        ("for no more than EUR 600 a day", Some(Comparison::AtMost)),
        ("up to 600 euros", Some(Comparison::AtMost)),
        ("within 12 minutes' walk", Some(Comparison::AtMost)),
        ("for EUR 600 or less", Some(Comparison::AtMost)),
        ("with more than 3 residents", Some(Comparison::Above)),
        ("with fewer than 300 pupils", Some(Comparison::Below)),
        ("the 3 cheapest offers", None),
    ] {
        let found = limits(goal);
        assert_eq!(found.iter().map(|limit| limit.is).collect::<Vec<_>>(), [expected], "{goal}");
    }
    assert_eq!(limits("one row each for the Falcon-200"), []);
}

#[test]
fn a_plan_is_made_to_agree_with_the_goal() {
    let settled = |goal: &str, plan: Value| settle(table(plan), goal).table.unwrap();
    let rank = "Which offer is the cheapest with at least 24 months of warranty?";
    let wanted = json!({
        "columns": [{"name": "offer", "kind": "name"}, {"name": "price", "kind": "number"}, {"name": "warranty", "kind": "number"}],
        "only_if": [{"column": "warranty", "is": ">", "value": 24}, {"column": "price", "is": "<", "value": 500}],
        "combine": ["most"], "of": "warranty", "limit": null,
    });
    let plan = settled(rank, wanted);
    let is = |condition: &Condition| (condition.column.clone(), condition.is);
    // The goal says "at least", and nothing of 500.
    assert_eq!(
        plan.only_if.iter().map(is).collect::<Vec<_>>(),
        [("warranty".to_owned(), Comparison::AtLeast)]
    );
    assert_eq!(
        (plan.of.as_deref(), &plan.combine[..]),
        (Some("price"), &[Combine::Figure(Aggregate::Least)][..])
    );
    assert_eq!(misses(&plan, rank, 20), None);
    let without = Table { only_if: Vec::new(), ..plan };
    assert_eq!(misses(&without, rank, 20).as_deref(), Some("the number 24"));
    // As many texts as there are limit nothing.
    assert_eq!(misses(&without, "Which of the 20 offers is the cheapest?", 20), None);
}

#[test]
fn what_a_sentence_tells_better_than_a_cell_is_a_single_fact() {
    let plan = json!({
        "columns": [{"name": "farm", "kind": "name"}, {"name": "what the farm does", "kind": "text"}],
        "only_if": [], "combine": ["summary"], "of": null, "limit": null,
    });
    let slots = settle(table(plan), "Sum up what each farm does.");
    assert_eq!(
        (slots.find.as_str(), slots.answer_is, slots.table),
        ("what the farm does", AnswerIs::Text, None)
    );
    assert_eq!(slots.combine, [Combine::Summary]);
    let plan = json!({
        "columns": [{"name": "farm", "kind": "name"}, {"name": "sheep", "kind": "number"}],
        "only_if": [], "combine": ["list", "most"], "of": "sheep", "limit": 3,
    });
    // Nobody asked for the most, and there is no three in the goal.
    let plan = settle(table(plan), "List how many sheep each farm keeps, and the total.").table.unwrap();
    assert_eq!(
        (plan.limit, &plan.combine[..]),
        (None, &[Combine::List, Combine::Figure(Aggregate::Total)][..])
    );
}

#[test]
fn codes_are_names_and_sentences_are_none() {
    let kinds = |names: &[&str]| {
        let columns: Vec<Value> = names.iter().map(|name| json!({"name": name, "kind": "number"})).collect();
        let plan = table(json!({"columns": columns, "only_if": [], "combine": ["list"]}));
        let settled = settle(plan, "Look at the reports.").table.unwrap();
        settled.columns.iter().map(|column| column.kind == AnswerIs::Name).collect::<Vec<_>>()
    };
    let names = ["version", "invoice number", "number of rooms", "phone", "price", "years of experience"];
    assert_eq!(kinds(&names), [true, true, false, true, false, false]);
    let text =
        "# Vesper Tools\n\nParking behind the building is limited on Thursdays. The price is EUR 1,250.\n";
    let offers = offers();
    let row = |name: &str| {
        let reply = Reply {
            text: json!({"offer": name, "price": 1250, "warranty in months": null}).to_string(),
            finish: Finish::Stop,
            usage: CallUsage::default(),
        };
        match check(&offers, text, &reply, &[], true) {
            Verdict::Accept(json) | Verdict::Doubt(json) => serde_json::from_str::<Row>(&json).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(row("Vesper Tools").cells[0].value, json!("Vesper Tools"));
    let sentence = row("Parking behind the building is limited on Thursdays");
    assert_eq!((&sentence.cells[0].value, sentence.cells[0].basis), (&Value::Null, Basis::Failed));
    let made_up = row("Free parking on Thursdays");
    assert_eq!((&made_up.cells[0].value, made_up.cells[0].basis), (&Value::Null, Basis::Failed));
}
