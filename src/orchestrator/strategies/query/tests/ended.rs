use super::*;

#[test]
fn what_the_first_statement_asks_for_in_vain_is_not_there() {
    let (outcome, _) =
        work("Tell me the harbour of the lantern please", both(), |planned| match planned.attempt {
            1 => "SELECT harbour FROM trips WHERE boat_no = 'lantern'".to_owned(),
            _ => "SELECT harbour FROM trips WHERE boat_no = 'B3'".to_owned(),
        });
    assert!(outcome.answer.ends_with("has the boat_no \"lantern\"."), "{}", outcome.answer);
    assert_eq!(outcome.missing.len(), 1);
    let (outcome, _) = work("mileage of boat B2?", both(), |planned| match planned.attempt {
        1 => "SELECT mileage FROM boats WHERE boat_no = 'B2'".to_owned(),
        _ => "SELECT flag FROM boats WHERE boat_no = 'B2'".to_owned(),
    });
    assert!(outcome.answer.contains("holds \"mileage\""), "{}", outcome.answer);
}

#[test]
fn a_column_is_asked_of_the_table_that_has_it() {
    let goal = "How many tons did boats from Norway take in total?";
    let (outcome, prompts) = work(goal, both(), |_| {
        "SELECT SUM(T2.tons) FROM trips AS T1 JOIN boats T2 ON T1.boat_no = T2.boat_no WHERE T1.flag = 'Norway'".to_owned()
    });
    assert_eq!((outcome.status, prompts.len()), (Status::Completed, 1), "{outcome:#?}");
    assert!(outcome.answer.starts_with("57 "), "{}", outcome.answer);
}

#[test]
fn a_doubtful_reading_answers_if_no_statement_can_be_run() {
    let goal = "How many trips were refunded to boats from Norway?";
    let (outcome, _) = work(goal, both(), |_| "SELECT nothing FROM nowhere".to_owned());
    assert_eq!(outcome.status, Status::Incomplete);
    assert!(outcome.unchecked.iter().any(|one| one.contains("refunded")), "{outcome:#?}");
    assert!(outcome.answer.contains("COUNT(*)"), "{}", outcome.answer);
}

#[test]
fn a_statement_with_more_rows_than_the_rules_have_read_leaves_a_doubt() {
    let (outcome, _) = work("Which boat had the most trips?", both(), |_| {
        "SELECT name, COUNT(*) FROM trips JOIN boats USING (boat_no) GROUP BY name ORDER BY 2 DESC LIMIT 3"
            .to_owned()
    });
    assert_eq!(outcome.unchecked, ["whether 1 or 3 rows are asked for"]);
}
