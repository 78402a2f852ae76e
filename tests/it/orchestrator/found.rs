//! The strategy `find`: the inputs are searched once, with the embedder, and what was found is in the record.

use std::sync::Arc;

use bandmaster::orchestrator::{
    Call, Cancel, Input, RunRequest, Status, StrategyName, recorded, replay, resume,
};
use serde_json::json;

use super::WordEmbed;
use super::scripted::{Act, Scripted, killed_after, last, play_with, say, scripted};

const ANSWER: &str = "The second organ of Malm has 31 stops.";

fn request() -> RunRequest {
    let paragraph = |at: usize| match at {
        40 => format!("The first organ of Malm had 12 stops and burned. {ANSWER} It is tuned in May.\n\n"),
        _ => format!(
            "In year {at} the council met {at} times about the bridge and the lamps of house {at}.\n\n"
        ),
    };
    let mut request = RunRequest::new("Please: how many stops has the second organ?");
    request.inputs = vec![Input { name: "malm.md".to_owned(), text: (0..90).map(paragraph).collect() }];
    request.strategy = Some(StrategyName::Find);
    request
}

fn judge(call: &Call) -> Act {
    let is = last(call).contains(ANSWER);
    say(if call.options.is_empty() {
        json!({"answer": "31 stops"}).to_string()
    } else {
        json!(if is { [-0.2, -1.8] } else { [-4.0, -0.1] }).to_string()
    })
}

fn planner() -> Arc<Scripted> {
    scripted("big", |call, _| judge(call))
}

#[test]
fn a_run_that_goes_on_without_an_embedder_uses_what_was_found_with_it() {
    let ran = play_with(&planner(), &[], Some(Arc::new(WordEmbed)), &request(), &Cancel::new(), |_| {});
    assert_eq!(ran.outcome.status, Status::Completed, "{:#?}", ran.outcome);
    assert!(ran.outcome.answer.starts_with("31 stops\n\n\""), "{}", ran.outcome.answer);
    let [cited] = ran.outcome.citations.as_slice() else { panic!("{:?}", ran.outcome.citations) };
    let text = &request().inputs[0].text;
    assert_eq!(&text[cited.bytes[0]..cited.bytes[1]], cited.quote);
    assert!(cited.quote.contains(ANSWER) && cited.lines == [81, 81], "{cited:?}");
    let searches: Vec<_> = ran.events.iter().filter(|event| event["type"] == "inputs.searched").collect();
    assert_eq!((searches.len(), &searches[0]["by_meaning"]), (1, &json!(true)));
    let (run, start) = recorded(&ran.journal, &ran.outcome.id).unwrap();
    let replayed = replay(&run, &start, None);
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
    let searched = run.events.iter().position(|event| event.kind == "inputs.searched").unwrap();
    for events in [searched + 1, searched + 4] {
        let (folder, journal, id) = killed_after(&run.events[..events], &request().inputs);
        let start = resume(&journal, &id).unwrap();
        drop(journal);
        let again = super::scripted::go_on(folder, &planner(), &[], start);
        assert_eq!(again.outcome.answer, ran.outcome.answer);
        assert_eq!(again.count("inputs.searched"), 0);
    }
}
