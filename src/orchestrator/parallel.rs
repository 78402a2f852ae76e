//! The parallel strategy: the sections that the goal names or the planner lists are written at the same time and joined
//! in order, by rule, under their headings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::aside::topic;
use super::attempt::Context;
use super::band::{Finish, Reply, Skill};
use super::checks::{before_repetition, check_text, mostly_in, words};
use super::dispatch::{Build, Draw, ModelWork, Results, Verdict, Work, dispatch};
use super::event::EventKind;
use super::outcome::Ended;
use super::outcome::TaskReport;
use super::own_words::{Foreign, Topic};
use super::plan::{Plan, Shape, Task};
use super::planner::{Question, ask};
use super::registry::Registry;
use super::request::RunRequest;
use super::strategy::why::Facts;

const SECTION_TOKENS_MAX: u32 = 280;
const OUTLINE_TOKENS_MAX: u32 = 480;
/// Most times the planner is asked for an outline.
const DRAWS: usize = 3;
/// Words that are typical of the worked example in the prompt.
const EXAMPLES_OWN: &[&str] = &["tides", "sea"];
/// Most sections that the planner may list. The goal may name more.
const SECTIONS_MAX: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    pub title: String,
    /// What the section is to say.
    pub instruction: String,
}

#[derive(Serialize, Deserialize)]
struct Outline {
    sections: Vec<Section>,
}

pub async fn run(context: &Context, registry: &Registry, request: &Arc<RunRequest>, facts: &Facts) -> Ended {
    let mut ended = Ended::default();
    let sections = if facts.named_aspects.len() >= 2 && facts.speaks_of_parts {
        sections_named(&facts.named_aspects)
    } else {
        let (sections, report) = outline(context, registry, request, &facts.named_aspects).await;
        ended.planner_tasks.push(report);
        sections
    };
    if sections.is_empty() {
        ended.error =
            Some("the planner could not name the parts of the answer; try --strategy direct".to_owned());
        return ended;
    }
    let slots = Outline { sections: sections.clone() };
    context.send(EventKind::PlanProposed { slots: serde_json::to_value(&slots).unwrap_or_default() });
    let (plan, builds) = lay_out(registry, request, &sections);
    context.send(EventKind::PlanAccepted { plan: plan.clone() });
    let done = dispatch(context, &plan, builds).await;
    let mut parts = Vec::new();
    for (section, one) in sections.iter().zip(&done) {
        match &one.accepted {
            Some(text) => {
                parts.push(format!("## {}\n\n{}", heading(&section.title), body(text, &section.title)));
                if one.cut {
                    ended.missing.push(format!("the section \"{}\" was cut off at its limit", section.title));
                }
            }
            None => ended.missing.push(format!(
                "the section \"{}\": {}",
                section.title,
                one.report.error.as_deref().unwrap_or("not written")
            )),
        }
    }
    ended.failed_tasks = ended.missing.len();
    ended.answer = super::missing::with_missing(parts.join("\n\n"), &ended.missing);
    if parts.is_empty() {
        ended.answer.clear();
    }
    ended.tasks = done.into_iter().map(|one| one.report).collect();
    ended
}

/// The heading as the goal names it, with a capital letter.
fn heading(title: &str) -> String {
    let mut chars = title.trim().chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The section without a heading that the model wrote.
fn body<'a>(text: &'a str, title: &str) -> &'a str {
    let text = text.trim();
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let is_heading = first.trim_start().starts_with('#') || words(first) == words(title);
    if is_heading && !rest.trim().is_empty() { rest.trim() } else { text }
}

fn lay_out(registry: &Registry, request: &RunRequest, sections: &[Section]) -> (Plan, Vec<Build>) {
    let titles: Vec<&str> = sections.iter().map(|section| section.title.as_str()).collect();
    let titles = titles.join(", ");
    let mut tasks = Vec::new();
    let mut builds: Vec<Build> = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        let player = registry.assign(Skill::Write);
        tasks.push(Task {
            id: format!("t{}", at + 1),
            worker: player.worker.clone(),
            instruction: format!("{}: {}", section.title, section.instruction),
            input: None,
            needs: Vec::new(),
            output: Shape::Text,
            tokens_max: SECTION_TOKENS_MAX,
        });
        let work = ModelWork {
            messages: request.messages(section_prompt(request, &titles, section)),
            schema: None,
            ladder: registry.ladder(&player, Skill::Write),
            check: Arc::new(check_section),
            // At temperature 0 a small model tends to loop.
            draw: Draw::Varied(at as u64),
            streams_answer: false,
        };
        builds.push(Box::new(move |_: &Results| Work::Model(work)));
    }
    (Plan::new(tasks).expect("sections need nothing of each other"), builds)
}

/// The prompt of a section. What all sections share comes first, so that it is computed once.
fn section_prompt(request: &RunRequest, titles: &str, section: &Section) -> String {
    let inputs: String = request
        .inputs
        .iter()
        .map(|input| format!("Text ({}):\n{}\n\n", input.name, input.text.trim()))
        .collect();
    format!(
        "{inputs}This is being written by several helpers, one section each ({titles}):\n{}\n\n\
Write only the section \"{}\", {}: three to six plain sentences, without a heading, without a list, and \
without speaking of the other sections.",
        request.goal, section.title, section.instruction
    )
}

/// Ends a section where it begins to repeat itself. If it was cut off at its limit, the whole sentences are kept.
fn check_section(reply: &Reply) -> Verdict {
    const WORDS_MIN: usize = 25;
    let whole = reply.text.trim();
    let text = before_repetition(whole);
    if text.len() < whole.len() && words(text).len() >= WORDS_MIN {
        return Verdict::Accept(text.to_owned());
    }
    match check_text(whole) {
        // It is written again with more room. If that is cut off too, the answer says so.
        Ok(text) if reply.finish == Finish::Length => {
            let end = text.char_indices().rfind(|(_, c)| matches!(c, '.' | '!' | '?' | '。'));
            let kept = end.map(|(at, c)| text[..at + c.len_utf8()].to_owned());
            Verdict::Redraw { why: "the section was cut off at its limit".to_owned(), kept }
        }
        Ok(text) => Verdict::Accept(text),
        Err(why) => Verdict::Reject(why),
    }
}

fn outline_schema(sections_max: usize) -> Value {
    let section = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 2},
            "instruction": {"type": "string", "minLength": 4},
        },
        "required": ["title", "instruction"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"sections": {"type": "array", "items": section, "minItems": 2, "maxItems": sections_max}},
        "required": ["sections"],
        "additionalProperties": false,
    })
}

async fn outline(
    context: &Context,
    registry: &Registry,
    request: &Arc<RunRequest>,
    aspects: &[String],
) -> (Vec<Section>, TaskReport) {
    let prompt = format!(
        "List the sections of what the goal asks for, in order: those the goal names, under the names it gives them, or \
else three or four good ones. The instruction says in a few words what belongs in the section.\n\
Goal: Explain tides, covering causes and uses.\n\
{{\"sections\": [{{\"title\": \"Causes\", \"instruction\": \"why the sea rises and falls\"}}, \
{{\"title\": \"Uses\", \"instruction\": \"what people use tides for\"}}]}}\n\n\
Goal: {}",
        request.goal
    );
    let named = aspects.to_vec();
    let topic = topic(request, EXAMPLES_OWN).await;
    let question = Question {
        id: "plan",
        purpose: "list the sections",
        messages: request.messages(prompt),
        schema: Some(outline_schema(SECTIONS_MAX.max(aspects.len()))),
        tokens_max: OUTLINE_TOKENS_MAX,
        critical_path_tokens: SECTION_TOKENS_MAX,
        check: Arc::new(move |reply: &Reply| match reply.finish {
            Finish::Length => Verdict::Redraw { why: "it was cut off at its limit".to_owned(), kept: None },
            Finish::Stop | Finish::Deadline => check_outline(&reply.text, &named, &topic),
        }),
        tries: DRAWS,
    };
    let done = ask(context, registry, question).await;
    let outline = done.accepted.as_deref().and_then(|json| serde_json::from_str::<Outline>(json).ok());
    (outline.map_or_else(|| sections_named(aspects), |outline| outline.sections), done.report)
}

fn sections_named(aspects: &[String]) -> Vec<Section> {
    let section = |aspect: &String| Section { title: aspect.clone(), instruction: format!("about {aspect}") };
    aspects.iter().map(section).collect()
}

/// An outline must have two sections or more, each only once, and all of `named`, which the goal asks for.
fn check_outline(text: &str, named: &[String], topic: &Topic) -> Verdict {
    let outline = match serde_json::from_str::<Outline>(text) {
        Ok(outline) => outline,
        Err(e) => return Verdict::Reject(format!("not the JSON that was asked for: {e}")),
    };
    let mut seen = std::collections::HashSet::new();
    let twice = outline.sections.iter().find(|section| !seen.insert(words(&section.title)));
    let told: String =
        outline.sections.iter().map(|one| format!("{} {} ", one.title, one.instruction)).collect();
    if topic.foreign(&told) == Some(Foreign::Example) {
        let why = "a section comes from the worked example, not from the goal".to_owned();
        return Verdict::Redraw { why, kept: None };
    }
    let left_out = named.iter().find(|aspect| !mostly_in(&told, aspect));
    match twice {
        _ if left_out.is_some() => {
            Verdict::Reject(format!("the goal asks for {} too", left_out.map_or("more", String::as_str)))
        }
        Some(section) => Verdict::Reject(format!("the section {} comes twice", section.title)),
        None if outline.sections.len() < 2 => {
            Verdict::Reject("there must be two sections or more".to_owned())
        }
        None => Verdict::Accept(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_keeps_one_heading_and_ends_with_a_sentence() {
        assert_eq!(body("## Price\n\nIt is cheap.", "price"), "It is cheap.");
        assert_eq!(body("Price:\nIt is cheap.", "price"), "It is cheap.");
        assert_eq!(body("It is cheap.\nVery.", "price"), "It is cheap.\nVery.");
        assert_eq!(heading("état"), "État");
        let reply = |text: &str, finish| Reply {
            text: text.to_owned(),
            finish,
            usage: super::super::band::CallUsage::default(),
        };
        assert_eq!(
            check_section(&reply("One thing is so. Another is n", Finish::Length)),
            Verdict::Redraw {
                why: "the section was cut off at its limit".to_owned(),
                kept: Some("One thing is so.".to_owned())
            }
        );
        assert!(matches!(check_section(&reply("", Finish::Stop)), Verdict::Reject(_)));
    }

    #[test]
    fn an_outline_has_two_sections_of_different_names() {
        let topic = RunRequest::new("Explain roses.").topic(EXAMPLES_OWN);
        let ok = r#"{"sections":[{"title":"A b","instruction":"x"},{"title":"C","instruction":"y"}]}"#;
        assert!(matches!(check_outline(ok, &["c".to_owned()], &topic), Verdict::Accept(_)));
        assert!(
            matches!(check_outline(ok, &["price".to_owned()], &topic), Verdict::Reject(why) if why.contains("price"))
        );
        let twice = r#"{"sections":[{"title":"A","instruction":"x"},{"title":"a","instruction":"y"}]}"#;
        assert!(matches!(check_outline(twice, &[], &topic), Verdict::Reject(_)));
        assert!(matches!(check_outline("{", &[], &topic), Verdict::Reject(_)));
    }
}
