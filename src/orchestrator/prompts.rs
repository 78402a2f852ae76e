//! What the strategies ask, as templates in files. A prompt that changes needs a new version here: a test compares the
//! prompts of sample runs and the list of versions with those in `tests/data/prompts`.

use super::template::Template;

#[cfg(test)]
mod tests;

macro_rules! templates {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $version:literal;)*) => {
        $($(#[$doc])*
        pub(crate) const $constant: Template =
            Template::new($name, $version, include_str!(concat!("prompts/", $name, ".txt")));)*

        #[cfg(test)]
        const ALL: &[Template] = &[$($constant),*];
    };
}

templates! {
    /// One reading for all that a text states.
    COMPARE_READ = "compare.read", 2;
    /// Whether two statements with different values contradict each other.
    COMPARE_SAME = "compare.same", 2;
    /// Whether two values are for the same thing.
    COMPARE_VALUES = "compare.values", 1;
    /// The goal as it was typed, after the inputs.
    DIRECT_ANSWER = "direct.answer", 1;
    /// The work on one text. The text cannot give instructions: what is to be done stands before and after it.
    EACH_DO = "each.do", 1;
    /// The same where the result is one of several labels.
    EACH_LABEL = "each.label", 1;
    EACH_MERGE = "each.merge", 1;
    EACH_PLAN = "each.plan", 1;
    /// The sentence comes last, here and in the next two, so that the rest is computed once for all sentences.
    FIND_ANSWER = "find.answer", 2;
    /// Whether a sentence says that an answer is the answer.
    FIND_FITS = "find.fits", 1;
    /// Whether a sentence is about what was asked.
    FIND_JUDGE = "find.judge", 3;
    /// The question alone. Two worked examples, because without them small models keep what stands around it.
    FIND_QUESTION = "find.question", 1;
    FIND_READ = "find.read", 3;
    /// Lines of several files, and the question that they answer.
    FOLLOW_ANSWER = "follow.answer", 2;
    /// The ways through several files, of which one is meant.
    FOLLOW_CHOOSE = "follow.choose", 1;
    FREE_PLAN = "free.plan", 1;
    /// After tasks of an earlier plan.
    FREE_PLAN_AGAIN = "free.plan-again", 2;
    FREE_READ = "free.read", 1;
    FREE_STEP = "free.step", 1;
    FREE_WRITE = "free.write", 1;
    FREE_SYNTHESIS = "free.synthesis", 1;
    MAP_PLAN = "map.plan", 2;
    MAP_READ = "map.read", 1;
    /// For a question whose answer is yes or no.
    MAP_READ_WHETHER = "map.read-whether", 1;
    /// Several facts of one text.
    MAP_ROW = "map.row", 2;
    MAP_SYNTHESIS = "map.synthesis", 1;
    PARALLEL_PLAN = "parallel.plan", 1;
    /// What all sections share comes first, so that it is computed once.
    PARALLEL_SECTION = "parallel.section", 2;
    /// Which column holds what is measured.
    QUERY_COLUMN = "query.column", 2;
    QUERY_PLAN = "query.plan", 2;
    /// The planner looks for the answer to a worker's question.
    QUESTION_ANSWER = "question.answer", 1;
    SEQUENCE_PLAN = "sequence.plan", 1;
    /// After steps of an earlier plan.
    SEQUENCE_PLAN_AGAIN = "sequence.plan-again", 1;
    /// The texts come first: they are the same in every step and are computed once.
    SEQUENCE_STEP = "sequence.step", 1;
    /// For a step that needs steps with results.
    SEQUENCE_LATER_STEP = "sequence.later-step", 1;
    SEQUENCE_SYNTHESIS = "sequence.synthesis", 1;
    VOTE_BALLOT = "vote.ballot", 1;
}
