mod ended;

use std::sync::Arc;

use super::compose::statements;
use super::literals::fitted;
use super::reading::read;
use crate::advance::{Core, Planned};
use crate::attached::Attached;
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::EventKind;
use crate::goal::{BandInfo, Goal, PLANNER, RULE, WorkerInfo};
use crate::outcome::{Outcome, Status};
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{play, says};
use crate::state::RunState;

const TRIPS: &str = "\
trip_id,boat_no,sailed,harbour,state,tons,fare_eur
T-1,B1,2025-03-04,Hafn,landed,12,100.50
T-2,B2,2025-07-15,Skagen,landed,30,80
T-3,B1,16.07.2025,Hafn,lost,8,20.25
T-4,B3,2025-11-30,Skagen,open,5,10
T-5,B2,2025-12-01,Hafn,open,7,70
";
const BOATS: &str = "\
boat_no,name,owner_town,flag
B1,\"Sea Hawk, Old\",Bergen,Norway
B2,Morning Star,Oslo,Norway
B3,Ember,Kiel,Germany
B4,Idle Hour,Kiel,Germany
";

fn inputs(files: &[(&str, &str)]) -> Vec<Input> {
    files.iter().map(|(name, text)| Input { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

fn both() -> Vec<Input> {
    inputs(&[("trips.csv", TRIPS), ("boats.csv", BOATS)])
}

/// The statement that rules read in a goal, and whether they have doubts.
#[track_caller]
fn check(goal: &str, expected: &str) {
    let attached = Attached::read(&both());
    let read = read(goal, &attached, None);
    let reading = read.reading.as_ref().unwrap_or_else(|| panic!("{goal}: {read:?}"));
    let written = statements(reading, &attached);
    assert_eq!(written.first().map(String::as_str), Some(expected), "{goal}: {reading:?}");
    assert_eq!(reading.doubts, [""; 0], "{goal}");
    assert!(attached.query(expected).is_ok_and(|answer| !answer.rows.is_empty()), "{expected}");
}

#[test]
fn a_total_has_the_conditions_that_the_goal_names() {
    check(
        "My boss wants to know by noon: how many tons did boats from Bergen land altogether (state landed only)?",
        "SELECT SUM(trips.tons) FROM trips WHERE trips.boat_no IN (SELECT boats.boat_no FROM boats WHERE \
         boats.owner_town = 'Bergen') AND trips.state = 'landed'",
    );
    check(
        "What is the total fare of all trips from Hafn after 15 July 2025 (that day not included)? Thanks!",
        "SELECT SUM(trips.fare_eur) FROM trips WHERE trips.harbour = 'Hafn' AND trips.sailed >= '2025-07-16'",
    );
    check(
        "total tons of Morning Star in July?",
        "SELECT SUM(trips.tons) FROM trips WHERE trips.boat_no IN (SELECT boats.boat_no FROM boats WHERE boats.name = \
         'Morning Star') AND trips.sailed BETWEEN '2025-07-01' AND '2025-07-31'",
    );
}

#[test]
fn rows_are_counted_without_what_is_left_out() {
    check(
        "Count the tirps of Norway boats, without the lost ones.",
        "SELECT COUNT(*) FROM trips WHERE trips.boat_no IN (SELECT boats.boat_no FROM boats WHERE boats.flag = \
         'Norway') AND trips.state <> 'lost'",
    );
    check(
        "How many trips were there from March to July 2025, both included?",
        "SELECT COUNT(*) FROM trips WHERE trips.sailed BETWEEN '2025-03-01' AND '2025-07-31'",
    );
    check(
        "How many different boats have open trips?",
        "SELECT COUNT(DISTINCT trips.boat_no) FROM trips WHERE trips.state = 'open'",
    );
    check("How many trips have more than 7 tons?", "SELECT COUNT(*) FROM trips WHERE trips.tons > 7");
}

#[test]
fn the_most_is_asked_of_groups_or_of_rows() {
    check(
        "Which boat carried the most tons overall if we leave out lost trips, and how much was it?",
        "SELECT boats.name, SUM(trips.tons) FROM trips JOIN boats ON trips.boat_no = boats.boat_no WHERE trips.state \
         <> 'lost' GROUP BY boats.name ORDER BY 2 DESC LIMIT 1",
    );
    check(
        "Which boat sailed for the largest total fare?",
        "SELECT boats.name, SUM(trips.fare_eur) FROM trips JOIN boats ON trips.boat_no = boats.boat_no GROUP BY \
         boats.name ORDER BY 2 DESC LIMIT 1",
    );
    check("numebr of trips to Hafn", "SELECT COUNT(*) FROM trips WHERE trips.harbour = 'Hafn'");
    check(
        "Which harbour had the fewest trips?",
        "SELECT trips.harbour, COUNT(*) FROM trips GROUP BY trips.harbour ORDER BY 2 ASC LIMIT 1",
    );
    check(
        "Which trip had the highest fare?",
        "SELECT trips.trip_id, trips.fare_eur FROM trips WHERE trips.fare_eur IS NOT NULL ORDER BY trips.fare_eur DESC \
         LIMIT 1",
    );
    check("What was the largest fare?", "SELECT MAX(trips.fare_eur) FROM trips");
}

#[test]
fn groups_means_shares_and_rows_without_others() {
    check(
        "Give me the average fare per harbour.",
        "SELECT trips.harbour, AVG(trips.fare_eur) FROM trips GROUP BY trips.harbour ORDER BY trips.harbour",
    );
    check(
        "What percentage of the trips from Hafn are open?",
        "SELECT 100.0 * SUM(CASE WHEN trips.state = 'open' THEN 1 ELSE 0 END) / COUNT(*) FROM trips WHERE \
         trips.harbour = 'Hafn'",
    );
    check(
        "Which boats have no trips?",
        "SELECT DISTINCT boats.name FROM boats WHERE boats.boat_no NOT IN (SELECT boat_no FROM trips WHERE boat_no IS \
         NOT NULL)",
    );
    check("What is the flag of Ember?", "SELECT DISTINCT boats.flag FROM boats WHERE boats.name = 'Ember'");
}

#[test]
fn a_column_that_numbers_the_rows_is_no_measure() {
    let loans = "loan,item,play\n7000,mask,A1\n7001,rope,A1\n7002,lamp,B2\n";
    let plays = "code,title,director\nA1,Ember,Ada Lune\nB2,Tides,Bo Finch\n";
    let attached = Attached::read(&inputs(&[("loans.csv", loans), ("plays.csv", plays)]));
    let read = read("Which director's plays have taken out the most loans?", &attached, None);
    let written = statements(&read.reading.expect("a reading"), &attached);
    let expected = "SELECT plays.director, COUNT(*) FROM loans JOIN plays ON loans.play = plays.code GROUP BY \
                    plays.director ORDER BY 2 DESC LIMIT 1";
    assert_eq!(written, [expected]);
}

#[test]
fn what_the_tables_do_not_have_is_told() {
    let attached = Attached::read(&both());
    let told = |goal: &str| read(goal, &attached, None);
    assert_eq!(
        told("What is the total temperature of trips from Hafn?").unnamed.as_deref(),
        Some("temperature")
    );
    assert_eq!(told("How many trips did the Zorbana make?").strangers, ["Zorbana"]);
    assert_eq!(told("How many rows in Trips.CSV are from Hafn?").strangers, [""; 0]);
    let voyages = Attached::read(&inputs(&[("Voyages-Zorbana.csv", TRIPS)]));
    let goal = "How many rows in Voyages-Zorbana.csv are from Hafn?";
    assert_eq!(read(goal, &voyages, None).strangers, [""; 0]);
    let unknown = told("How many trips were refunded?").reading.expect("a reading").unknown;
    assert_eq!(unknown, ["refunded"]);
    assert!(!told("How many trips were there last month?").reading.expect("a reading").doubts.is_empty());
}

#[test]
fn texts_of_a_statement_become_those_of_their_columns() {
    let attached = Attached::read(&both());
    let fits = |sql: &str| fitted(sql, &attached);
    assert_eq!(
        fits("SELECT COUNT(*) FROM trips t WHERE t.state IN ('Landed', 'opne') AND harbour = \"hafn\""),
        Ok("SELECT COUNT(*) FROM trips t WHERE t.state IN ('landed', 'open') AND harbour = 'Hafn'"
            .to_owned())
    );
    assert_eq!(
        fits("SELECT * FROM boats WHERE name = 'Sea Hawk' OR lower(name) LIKE '%star%'"),
        Ok("SELECT * FROM boats WHERE name = 'Sea Hawk, Old' OR lower(name) LIKE '%star%'".to_owned())
    );
    assert_eq!(
        fits("SELECT 1 FROM trips WHERE state = 'refunded'"),
        Err("no row of trips.state has 'refunded'".to_owned())
    );
}

/// The outcome of a run, and the prompts of its calls.
fn work(goal: &str, inputs: Vec<Input>, mut reply: impl FnMut(&Planned) -> String) -> (Outcome, Vec<String>) {
    let mut request = RunRequest::new(goal);
    request.inputs = inputs;
    let info = |worker: &str, model: &str| WorkerInfo {
        worker: worker.to_owned(),
        model: model.to_owned(),
        context_tokens: 4096,
        skills: Vec::new(),
    };
    let band = BandInfo { planner: info(PLANNER, "large"), workers: vec![info("calculator", RULE)] };
    let goal = Arc::new(Goal::new(&request, Facts::default(), band));
    let mut state = RunState::new("run", 0);
    let chosen = EventKind::StrategyChosen { strategy: StrategyName::Query, why: StrategyWhy::default() };
    state.apply(1, 0, &chosen);
    let mut prompts = Vec::new();
    let (_, state) = play(Core::new(goal, state, None), |planned| {
        prompts.push(planned.call.messages[0].content.clone());
        says(reply(planned))
    });
    (*state.outcome.expect("the run has ended"), prompts)
}

#[test]
fn a_statement_that_the_rules_agree_with_is_the_answer() {
    let goal = "How many tons did boats from Norway take in total?";
    let (outcome, prompts) = work(goal, both(), |planned| match planned.attempt {
        1 => "```sql\nSELECT SUM(tons) FROM trips;\n```".to_owned(),
        _ => "SELECT SUM(t.tons) FROM trips t JOIN boats b ON t.boat_no = b.boat_no WHERE b.flag = 'norway';"
            .to_owned(),
    });
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert!(
        outcome.answer.starts_with("57 (sum of tons)\n\nStatement: `SELECT SUM(trips.tons)"),
        "{}",
        outcome.answer
    );
    assert!(outcome.answer.contains("trips.csv, lines 2, 3, 4, 6"), "{}", outcome.answer);
    assert_eq!(prompts.len(), 2);
    assert!(prompts[0].contains("- boats.flag = 'Norway'"), "{}", prompts[0]);
}

#[test]
fn an_answer_that_no_statement_agrees_with_is_unchecked() {
    let (outcome, prompts) =
        work("How many trips went to Hafn?", both(), |_| "SELECT COUNT(*) FROM trips".to_owned());
    assert_eq!((outcome.status, prompts.len()), (Status::Incomplete, 4), "{outcome:#?}");
    assert!(outcome.answer.starts_with("3 (count of rows of trips.csv)"), "{}", outcome.answer);
}

#[test]
fn the_planner_names_the_column_that_no_word_fits() {
    let goal = "What is the total weight of the trips from Skagen?";
    let reply = |planned: &Planned| match planned.task.as_str() {
        "column" => "trips.tons".to_owned(),
        _ => "SELECT SUM(tons) FROM trips WHERE harbour = 'Skagen'".to_owned(),
    };
    let (outcome, _) = work(goal, both(), reply);
    assert_eq!(
        (outcome.status, outcome.answer.starts_with("35 ")),
        (Status::Completed, true),
        "{outcome:#?}"
    );
    let (outcome, _) = work("What is the total age of the boats?", both(), |_| "none".to_owned());
    assert!(outcome.answer.starts_with("No column of trips.csv, boats.csv holds \"age\"."), "{outcome:#?}");
}

#[test]
fn a_key_stands_for_the_name_of_its_row() {
    let (outcome, prompts) = work("Which boat had the most trips to Hafn, and how many?", both(), |_| {
        "SELECT boat_no, COUNT(*) FROM trips WHERE harbour = 'Hafn' GROUP BY boat_no ORDER BY 2 DESC LIMIT 1"
            .to_owned()
    });
    assert_eq!((outcome.status, prompts.len()), (Status::Completed, 1), "{outcome:#?}");
    assert!(outcome.answer.starts_with("Sea Hawk, Old: 2 (count"), "{}", outcome.answer);
}

#[test]
fn rows_that_are_tied_are_shown() {
    let (outcome, _) = work("Which flag has the most boats?", both(), |_| {
        "SELECT flag, COUNT(*) FROM boats GROUP BY flag ORDER BY 2 DESC LIMIT 1".to_owned()
    });
    assert!(outcome.answer.contains("Germany") && outcome.answer.contains("Norway"), "{outcome:#?}");
}
