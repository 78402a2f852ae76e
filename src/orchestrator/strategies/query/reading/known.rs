//! The words of a goal that have no meaning for the tables. Where there are any, a reading may miss something.

use super::marked::Marked;
use super::ops::Op;
use super::words::{is_glue, is_typo};

/// Words that change nothing about which rows are meant: they say that something happened to them, or how to answer.
const NEUTRAL: &str = "\
action advance afternoon amount amounts answer answers appear asked attach attached belong best boss bought \
brief briefly bring brings brought buy call came cash charge charged cheers come comes cost costs counting csv \
data dataset day days dear dollars earn earned entries entry eur euro euros exact exactly exist explanation \
figure figures file following gave generate generated grateful happen happened inclusive info information item \
items kept kind kindly long looking made meeting minute money month months morning noon note occur occurred paid \
pay place placed pounds produce produced put quarter raised received record recorded records regards report \
reported reports result row rows run sell sells sentence sheet sold spend spends spent spreadsheet stand stands \
staring summed team thank thanks that there took turn value values visit wants was week weeks went were \
wondering work worked works write year years";

/// Words in the clauses that ask something which are neither glue nor have a meaning for the tables.
pub(super) fn unknown(marked: &Marked<'_>) -> Vec<String> {
    let is_unknown = |at: &usize| !has_meaning(marked, *at) && !is_neutral(marked.word(*at));
    asked(marked).into_iter().filter(is_unknown).map(|at| written(marked, at)).collect()
}

/// Names in the middle of a clause that asks something which stand in no table.
pub(super) fn strangers(marked: &Marked<'_>) -> Vec<String> {
    let is_name = |at: &usize| {
        let word = &marked.words[*at];
        let begins = *at == 0 || marked.words[at - 1].ends;
        word.is_upper && !begins && word.text.len() > 2 && !is_neutral(&word.text)
    };
    let is_stranger = |at: &usize| is_name(at) && !has_meaning(marked, *at);
    asked(marked).into_iter().filter(is_stranger).map(|at| written(marked, at)).collect()
}

/// The words of the clauses that name a value or ask for something.
fn asked(marked: &Marked<'_>) -> Vec<usize> {
    let mut asked = Vec::new();
    let mut begin = 0;
    for end in (0..marked.words.len()).filter(|at| marked.words[*at].ends || at + 1 == marked.words.len()) {
        let clause = begin..end + 1;
        let asks = |at: usize| {
            let operation = marked.operation_at(at).is_some_and(|said| said.op != Op::By);
            operation || marked.mention_at(at).is_some() || marked.is_time(at)
        };
        if clause.clone().any(asks) {
            asked.extend(clause);
        }
        begin = end + 1;
    }
    asked
}

fn has_meaning(marked: &Marked<'_>, at: usize) -> bool {
    marked.mention_at(at).is_some()
        || marked.is_time(at)
        || marked.operation_at(at).is_some()
        || marked.name_at(at).is_some()
}

fn written(marked: &Marked<'_>, at: usize) -> String {
    marked.text[marked.words[at].from..marked.words[at].to].to_owned()
}

fn is_neutral(word: &str) -> bool {
    let is_same = |neutral: &str| neutral == word || is_typo(word, neutral);
    is_glue(word)
        || NEUTRAL.split_whitespace().any(is_same)
        || super::ops::small_number(word).is_some()
        || word.chars().all(|c| c.is_ascii_digit())
        || word.len() < 2
}
