//! The map strategy: every input is asked the same question, all at once. Figures such as a total are calculated by
//! rule, and the planner words the answer from both.

mod fill;
mod finding;
mod orders;
mod reduce;
mod settle;
mod slots;
mod split;
mod synthesis;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::aside::{Counts, aside};
use super::attempt::Context;
use super::band::Skill;
use super::dispatch::{Build, Done, Draw, ModelWork, Results, Work, dispatch};
use super::event::EventKind;
use super::missing::with_missing;
use super::outcome::{Ended, Status};
use super::plan::{AnswerIs, Plan, Shape, Slice, Task};
use super::registry::{Player, Registry};
use super::request::RunRequest;

use finding::{Answer, Finding};
use reduce::Source;
use slots::Slots;

/// Most tokens of one finding, which is a subject and an answer. This is more than either needs, so a finding that
/// comes near it was cut off.
const FINDING_TOKENS_MAX: u32 = 160;
/// The same if the answer is a text or a list. A reading that is cut off is repeated with twice as many.
const LONG_FINDING_TOKENS_MAX: u32 = 480;
/// Tokens of a worker's context kept free for the question, the chat template and the reason of a rejection.
const FRAME_TOKENS: usize = 700;

/// An input, or a part of one, and the model that reads it.
struct Reading {
    slice: Slice,
    player: Player,
}

pub async fn run(
    context: &Context,
    registry: &Registry,
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
) -> Ended {
    let mut ended = Ended::default();
    let (slots, planned) = fill::ask_planner(context, registry, request).await;
    ended.planner_tasks.push(planned);
    let readings = assign(registry, request, counts, &slots).await;
    let (plan, builds) = lay_out(registry, request, &slots, readings);
    context.send(EventKind::PlanAccepted { plan: plan.clone() });
    let done = dispatch(context, &plan, builds).await;
    let (findings, missing, unread) = gather(request, &plan, &slots, &done);
    let figures =
        done.last().filter(|last| last.report.model == "rule").and_then(|last| last.accepted.clone());
    let figures = figures.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    ended.failed_tasks = done.iter().filter(|one| one.accepted.is_none() || one.cut).count();
    ended.tasks = done.into_iter().map(|one| one.report).collect();
    ended.missing = missing;
    let facts = synthesis::FactSheet { slots: &slots, findings: &findings, figures: &figures };
    if findings.iter().all(|finding| finding.answer == Answer::NotStated) {
        ended.answer = synthesis::nothing_found(&slots, request.inputs.len(), unread, &ended.missing);
        return ended;
    }
    let (answer, report) = synthesis::answer(context, registry, &request.goal, &facts).await;
    ended.planner_tasks.extend(report);
    ended.answer = with_missing(answer, &ended.missing);
    ended
}

/// Chooses a reader for each input, and splits inputs that are too long for theirs.
async fn assign(
    registry: &Registry,
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
    slots: &Slots,
) -> Vec<Reading> {
    let (planner, answer_tokens) = (registry.planner().llm, 2 * tokens_max(slots) as usize);
    let players: Vec<Player> = request.inputs.iter().map(|_| registry.assign(skill(slots))).collect();
    let (request, counts) = (Arc::clone(request), Arc::clone(counts));
    aside(move || {
        let mut readings = Vec::new();
        for (index, (input, player)) in request.inputs.iter().zip(players).enumerate() {
            let room = player.llm.context_tokens().saturating_sub(FRAME_TOKENS + answer_tokens).max(64);
            // The counts are by the planner's tokenizer, and another model's may differ.
            let whole = Arc::ptr_eq(&player.llm, &planner).then(|| counts.inputs[index]);
            let parts = split::parts(&input.text, room, whole, |text| player.llm.count_tokens(text));
            let count = parts.len();
            readings.extend(parts.into_iter().enumerate().map(|(part, bytes)| Reading {
                slice: Slice { index, name: input.name.clone(), part, parts: count, bytes },
                player: player.clone(),
            }));
        }
        readings
    })
    .await
}

/// A number can be checked against the text. What can't be checked needs a model that reads well.
fn skill(slots: &Slots) -> Skill {
    if slots.answer_is == AnswerIs::Number { Skill::Find } else { Skill::Read }
}

fn tokens_max(slots: &Slots) -> u32 {
    if slots.is_long() { LONG_FINDING_TOKENS_MAX } else { FINDING_TOKENS_MAX }
}

/// One task for each reading, and one for the calculator over all of them if figures are wanted.
fn lay_out(
    registry: &Registry,
    request: &RunRequest,
    slots: &Slots,
    readings: Vec<Reading>,
) -> (Plan, Vec<Build>) {
    let mut tasks = Vec::new();
    let mut builds: Vec<Build> = Vec::new();
    for (at, reading) in readings.into_iter().enumerate() {
        let text: Arc<str> = request.inputs[reading.slice.index].text[reading.slice.bytes.clone()].into();
        tasks.push(Task {
            id: format!("t{}", at + 1),
            worker: reading.player.worker.clone(),
            instruction: slots.find.clone(),
            input: Some(reading.slice.clone()),
            needs: Vec::new(),
            output: Shape::Finding(slots.answer_is),
            tokens_max: tokens_max(slots),
        });
        let work = ModelWork {
            messages: finding::prompt(slots, &reading.slice, &text),
            schema: Some(finding::schema(slots.answer_is)),
            ladder: registry.ladder(&reading.player, skill(slots)),
            check: finding::check(slots, text),
            draw: Draw::MostLikely,
            streams_answer: false,
        };
        builds.push(Box::new(move |_: &Results| Work::Model(work)));
    }
    if slots.wants_figures() {
        let needs: Vec<String> = tasks.iter().map(|task| task.id.clone()).collect();
        let slices: Vec<Slice> = tasks.iter().filter_map(|task| task.input.clone()).collect();
        tasks.push(Task {
            id: format!("t{}", tasks.len() + 1),
            worker: registry.calculator().to_owned(),
            instruction: slots.aggregates_named().join(", "),
            input: None,
            needs: needs.clone(),
            output: Shape::Figures,
            tokens_max: 0,
        });
        let (slots, worker) = (slots.clone(), registry.calculator().to_owned());
        let sources: Vec<Source> = request.inputs.iter().map(Source::of).collect();
        builds.push(Box::new(move |results: &Results| {
            let outputs = needs.iter().map(|need| results.get(need).cloned().flatten());
            let findings = reduce::merge(slots.answer_is, &sources, slices.iter().zip(outputs));
            let result = reduce::calculate(&slots, &findings);
            let result =
                result.map(|figures| serde_json::to_string(&figures).expect("figures are plain strings"));
            Work::Rule { worker, result }
        }));
    }
    (Plan::new(tasks).expect("only the last task has needs, the earlier ones"), builds)
}

/// One finding for each input, what is missing, and how many inputs were not fully read. An input that was not read is
/// reported differently from one that was read and does not contain the answer.
fn gather(
    request: &RunRequest,
    plan: &Plan,
    slots: &Slots,
    done: &[Done],
) -> (Vec<Finding>, Vec<String>, usize) {
    let readings = plan.tasks().iter().zip(done).filter_map(|(task, one)| Some((task.input.as_ref()?, one)));
    let (mut slices, mut missing) = (Vec::new(), Vec::new());
    for (slice, one) in readings {
        slices.push((slice, one.accepted.clone()));
        let part = if slice.parts > 1 {
            format!(", part {} of {}", slice.part + 1, slice.parts)
        } else {
            String::new()
        };
        match (&one.accepted, &one.report.error) {
            (None, Some(why)) if one.report.status == Status::Cancelled => {
                missing.push(format!("{}{part} was not read: {why}", slice.name));
            }
            (None, Some(error)) => missing.push(format!("{}{part} could not be read: {error}", slice.name)),
            (Some(_), _) if one.cut => {
                missing.push(format!("what {}{part} gives was cut off at its limit", slice.name));
            }
            _ => {}
        }
    }
    let sources: Vec<Source> = request.inputs.iter().map(Source::of).collect();
    let findings = reduce::merge(slots.answer_is, &sources, slices.into_iter());
    for finding in findings.iter().filter(|finding| finding.answer == Answer::NotStated && !finding.failed) {
        missing.push(format!("{} does not say", request.inputs[finding.input].name));
    }
    let unread = findings.iter().filter(|finding| finding.failed).count();
    (findings, missing, unread)
}
