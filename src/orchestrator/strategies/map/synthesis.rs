//! Writes the answer from the findings. The planner words it, and rules check that it has every fact asked for and no
//! other number. If the planner fails at that, the facts are listed plainly.

use std::collections::HashSet;

use bandmaster_tools::calculator::{Aggregate, Decimal};

use super::finding::{Answer, Finding};
use super::reduce::Figures;
use super::slots::Slots;
use crate::band::Reply;
use crate::checks::{check_text, check_whole, mostly_in, numbers_in, words, written_numbers};
use crate::goal::PLANNER;
use crate::missing::sentences;
use crate::plan::{AnswerIs, Job, Task, TokenLimits};
use crate::prompts;
use crate::strategy::{Prompt, Verdict};

/// Most tokens of an answer, in addition to one for every byte of the facts, which is at least twice their tokens.
const ANSWER_TOKENS_MAX: u32 = 300;

/// Everything an answer may be based on.
pub(super) struct FactSheet<'a> {
    pub slots: &'a Slots,
    /// One for each input.
    pub findings: &'a [Finding],
    pub figures: &'a Figures,
}

/// The planner's call that words the answer. Without room for a whole answer, it fails before it begins.
pub(super) fn task(needs: Vec<String>, facts: &FactSheet<'_>) -> Task {
    let TokenLimits { max, min } = tokens(facts);
    Task {
        id: "synthesis".to_owned(),
        job: Job::Synthesis,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: "answer the goal from the results".to_owned(),
        needs,
        tokens_max: max,
        tokens_min: min,
        with_gaps: true,
        ..Task::default()
    }
}

pub(super) fn tokens(facts: &FactSheet<'_>) -> TokenLimits {
    let facts_bytes = u32::try_from(plain(facts).len()).unwrap_or(u32::MAX / 4);
    let max = ANSWER_TOKENS_MAX + facts_bytes;
    TokenLimits { max, min: max / 2 }
}

pub(super) fn check(goal: &str, facts: &FactSheet<'_>, reply: &Reply) -> Verdict {
    match check_whole(reply) {
        Ok(text) => Wanted::of(goal, facts).judge(&text),
        Err(why) => Verdict::reject(why),
    }
}

pub(super) fn prompt(goal: &str, facts: &FactSheet<'_>) -> Prompt {
    let results = plain(facts);
    prompts::MAP_SYNTHESIS.prompt(&[("find", &facts.slots.find), ("results", &results), ("goal", goal)])
}

/// The facts asked for, one line for each finding and figure. Findings behind figures are left out unless a list is
/// asked for: a small planner would pick among them again, and wrongly.
#[must_use]
pub(super) fn plain(facts: &FactSheet<'_>) -> String {
    let mut lines: Vec<String> = Vec::new();
    if facts.slots.wants_list() || facts.figures.figures.is_empty() {
        for finding in facts.findings.iter().filter(|finding| finding.answer != Answer::NotStated) {
            lines.push(format!("- {}: {}", finding.subject, finding.answer.told()));
        }
    }
    let date = facts.slots.answer_is == AnswerIs::Date;
    for figure in &facts.figures.figures {
        let name = match (figure.aggregate, date) {
            (Aggregate::Total, _) => "Total",
            (Aggregate::Most, false) => "Largest",
            (Aggregate::Most, true) => "Latest",
            (Aggregate::Least, false) => "Smallest",
            (Aggregate::Least, true) => "Earliest",
            (Aggregate::Average, _) => "Average",
            (Aggregate::Count, _) => "Count",
            (Aggregate::Difference, _) => "Difference between largest and smallest",
        };
        let of = if figure.subjects.is_empty() {
            String::new()
        } else {
            format!(" ({})", figure.subjects.join(", "))
        };
        lines.push(format!("{name}: {}{of}", figure.value));
    }
    lines.join("\n")
}

/// The answer if nothing was found. `unread` of the `inputs` were not fully read, and nothing else is said about those.
#[must_use]
pub(super) fn nothing_found(slots: &Slots, inputs: usize, unread: usize, missing: &[String]) -> String {
    let find = slots.find.trim();
    let read = inputs.saturating_sub(unread);
    let said = match (unread, read) {
        (0, _) => format!("None of the inputs gives the {find}."),
        (_, 0) => "No input was read to its end, so there is no answer.".to_owned(),
        (_, 1) => {
            format!("The one input that was read does not give the {find}, and {unread} were not read.")
        }
        _ => {
            format!("None of the {read} inputs that were read gives the {find}, and {unread} were not read.")
        }
    };
    format!("{said} {}", sentences(missing)).trim_end().to_owned()
}

/// What an answer must contain, and which numbers it may contain.
struct Wanted {
    /// Numbers that it must contain, each with the ways it may be written.
    numbers: Vec<Vec<Decimal>>,
    texts: Vec<String>,
    allowed: HashSet<Decimal>,
    /// Whether the goal asks for values, and not only "which".
    asks_for_values: bool,
    /// Whole numbers up to this are allowed, since they may count or number things.
    small_max: i64,
}

impl Wanted {
    fn of(goal: &str, facts: &FactSheet<'_>) -> Self {
        let mut wanted = Self {
            numbers: Vec::new(),
            texts: Vec::new(),
            allowed: numbers_in(goal),
            asks_for_values: words(goal)
                .iter()
                .any(|word| matches!(word.as_str(), "how" | "what" | "number" | "figure")),
            small_max: facts.findings.len() as i64,
        };
        wanted.allowed.extend(numbers_in(&facts.slots.find));
        for finding in facts.findings.iter().filter(|finding| finding.answer != Answer::NotStated) {
            let told = finding.answer.told();
            wanted.allowed.extend(numbers_in(&format!("{} {told}", finding.subject)));
            if facts.slots.wants_list() {
                wanted.texts.push(finding.subject.clone());
                wanted.want(&told);
            }
        }
        for figure in &facts.figures.figures {
            let extreme = matches!(figure.aggregate, Aggregate::Most | Aggregate::Least);
            if extreme {
                wanted.texts.extend(figure.subjects.iter().cloned());
            }
            wanted.allowed.extend(numbers_in(&figure.value));
            if !extreme || wanted.asks_for_values {
                wanted.want(&figure.value);
            }
        }
        wanted
    }

    /// Requires a value in the answer. A long decimal may be rounded.
    fn want(&mut self, value: &str) {
        let Ok(number) = value.parse::<Decimal>() else {
            // A date or a text may be reworded, a name may not.
            if words(value).len() <= 4 && value.parse::<Decimal>().is_err() && !looks_like_date(value) {
                self.texts.push(value.to_owned());
            }
            return;
        };
        let rounded = (0..4).filter_map(|decimals| number.rounded(decimals).ok());
        let ways: Vec<Decimal> = std::iter::once(number).chain(rounded).collect();
        self.allowed.extend(&ways);
        self.numbers.push(ways);
    }

    fn judge(&self, answer: &str) -> Verdict {
        let answer = match check_text(answer) {
            Ok(answer) => answer,
            Err(why) => return Verdict::reject(why),
        };
        let numbers = numbers_in(&answer);
        if let Some(ways) = self.numbers.iter().find(|ways| !ways.iter().any(|way| numbers.contains(way))) {
            return Verdict::reject(format!("{} is missing", ways[0]));
        }
        if let Some(text) = self.texts.iter().find(|text| !mostly_in(&answer, text)) {
            return Verdict::reject(format!("{text} is missing"));
        }
        let small = |number: &Decimal| (0..=self.small_max).any(|small| *number == Decimal::from(small));
        let known = |number: &Decimal| self.allowed.contains(number) || small(number);
        let invented = written_numbers(&answer).into_iter().find(|readings| !readings.iter().any(known));
        match invented.as_deref().and_then(<[Decimal]>::first) {
            Some(number) if !self.texts_hold_dates() => {
                Verdict::reject(format!("{number} is not among the results"))
            }
            _ => Verdict::Accept(answer),
        }
    }

    /// If no number is required, a number in the answer is part of a reworded date or name.
    fn texts_hold_dates(&self) -> bool {
        self.numbers.is_empty()
    }
}

fn looks_like_date(value: &str) -> bool {
    value.len() == 10 && value.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::super::reduce::Figure;
    use super::super::slots::Combine;
    use super::*;

    fn verdict(answer: &str) -> Verdict {
        let finding = |input, subject: &str, number: i64| Finding {
            input,
            subject: subject.to_owned(),
            quote: String::new(),
            answer: Answer::Number(Decimal::from(number)),
            failed: false,
        };
        let findings = [finding(0, "Museum of Kelso", 94), finding(1, "Museum of Arlen", 41)];
        let total = Aggregate::Total;
        let slots = Slots {
            find: "number of people".to_owned(),
            answer_is: AnswerIs::Number,
            combine: vec![Combine::List, Combine::Figure(total)],
            table: None,
        };
        let figures =
            Figures { figures: vec![Figure { aggregate: total, value: "135".to_owned(), subjects: vec![] }] };
        let facts = FactSheet { slots: &slots, findings: &findings, figures: &figures };
        Wanted::of("List the people and the total.", &facts).judge(answer)
    }

    #[test]
    fn an_answer_must_hold_every_fact_and_no_invented_number() {
        let good =
            "Kelso museum employed 94 people and Arlen's museum 41, which makes 135 for the two museums.";
        assert_eq!(verdict(good), Verdict::Accept(good.to_owned()));
        for (answer, why) in [
            ("Museum of Kelso 94, Museum of Arlen 41.", "135 is missing"),
            ("Museum of Kelso 94, total 135.", "41 is missing"),
            ("Museum of Kelso 94, Museum of Arlen 41, total 135, in 1997.", "1997 is not"),
            ("", "empty"),
        ] {
            match verdict(answer) {
                Verdict::Reject { why: error, .. } => assert!(error.contains(why), "{answer:?}: {error}"),
                other => panic!("{answer:?}: {other:?}"),
            }
        }
    }
}
