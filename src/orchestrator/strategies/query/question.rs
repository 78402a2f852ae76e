//! The goal without what stands around the question.

use super::reading::{read, row_word, stem};
use crate::attached::Attached;
use crate::checks::words;
use crate::goal::Goal;
use crate::state::RunState;

/// The question as the planner has taken it out of the goal, if rules find all the conditions of the goal in it and every
/// word of the goal for a column or a table; or else the goal.
pub(super) fn question<'a>(goal: &'a Goal, state: &'a RunState) -> &'a str {
    let taken = state.task("question").and_then(|task| task.accepted());
    taken.filter(|question| keeps_conditions(goal, question)).unwrap_or(&goal.text)
}

fn keeps_conditions(goal: &Goal, question: &str) -> bool {
    let kept = read(question, goal.attached(), None).hints;
    read(&goal.text, goal.attached(), None).hints.iter().all(|hint| kept.contains(hint))
        && keeps_names(goal.attached(), &goal.text, question)
}

/// Whether a question has each word of a goal that is the name of a column or stands for the rows of a table.
fn keeps_names(attached: &Attached, goal: &str, question: &str) -> bool {
    let stems = |text: &str| words(text).iter().map(|word| stem(word)).collect::<Vec<String>>();
    let tables = attached.tables.iter().map(|table| row_word(&table.name));
    let columns = attached.tables.iter().flat_map(|table| &table.columns).map(|column| column.title.clone());
    let names: Vec<String> = tables.chain(columns).map(|name| stem(&name)).collect();
    let kept = stems(question);
    stems(goal).iter().all(|word| !names.contains(word) || kept.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Input;

    #[test]
    fn a_question_keeps_the_words_for_columns() {
        let text = "code,title,director\nA1,Ember,Ada Lune\n".to_owned();
        let attached = Attached::read(&[Input { name: "plays.csv".to_owned(), text }]);
        let goal = "Hello! Compare the directors: whose plays borrowed most often from us? Name only.";
        assert!(!keeps_names(&attached, goal, "Who borrowed most often from us?"));
        assert!(keeps_names(&attached, goal, "Which director's plays borrowed most often from us?"));
    }
}
