//! A plan is data: tasks with ids, workers, needs and the shape of their results. A task needs only earlier tasks, so a
//! plan cannot contain a cycle.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// Tasks, each after those it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Plan {
    tasks: Vec<Task>,
}

/// A plan as it is serialised, not yet checked.
#[derive(Deserialize)]
struct Written {
    tasks: Vec<Task>,
}

impl TryFrom<Written> for Plan {
    type Error = PlanError;

    fn try_from(written: Written) -> Result<Self, PlanError> {
        Self::new(written.tasks)
    }
}

/// Everything about a task. Its prompt, its schema and the check of its result follow from it, the goal and the results
/// it needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// `t1`, `t2` …; `plan`, `synthesis` and such as `t1.question1` for the planner's own calls. Unique in a run.
    pub id: String,
    /// What kind of work it is.
    #[serde(default)]
    pub job: Job,
    /// Name of the worker that gets it first.
    pub worker: String,
    /// The workers that try it, in order. One that stands there twice tries twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<String>,
    /// What is to be done, in words for people.
    pub instruction: String,
    /// The input that it reads, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Slice>,
    /// The columns of a table of which it reads a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Ids of earlier tasks whose results it uses.
    pub needs: Vec<String>,
    pub output: Shape,
    /// Most tokens to generate in one attempt.
    pub tokens_max: u32,
    /// The task fails if the model has room for fewer tokens than this.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_min: u32,
    /// How its first attempt is sampled.
    #[serde(default, skip_serializing_if = "Draw::is_most_likely")]
    pub draw: Draw,
    /// Whether it begins although a task that it needs has no result.
    #[serde(default, skip_serializing_if = "is_false")]
    pub with_gaps: bool,
    /// Depth in its JSON reply at which finished parts are recorded while the model still writes: 1 for the fields of
    /// an object, 2 for the items of a list in it, 0 to record none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partial_depth: u32,
    /// Whether its text is shown as part of the answer while it is written.
    #[serde(default, skip_serializing_if = "is_false")]
    pub streams_answer: bool,
}

/// How long a reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    /// Most tokens to generate.
    pub max: u32,
    /// The call fails if the model has room for fewer.
    pub min: u32,
}

impl Task {
    /// The limits that were set when the task was added.
    #[must_use]
    pub fn tokens(&self) -> TokenLimits {
        TokenLimits { max: self.tokens_max, min: self.tokens_min }
    }

    /// A task for models, with at most 512 tokens for its result. `ladder` names the workers that try it, in order.
    #[must_use]
    pub fn new(id: impl Into<String>, job: Job, ladder: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let ladder: Vec<String> = ladder.into_iter().map(Into::into).collect();
        let worker = ladder.first().cloned().unwrap_or_default();
        Self { id: id.into(), job, worker, ladder, tokens_max: 512, ..Self::default() }
    }

    /// Whether it counts against the budgets of tasks and depth: those of the plan that a model works on.
    #[must_use]
    pub(super) fn counts(&self) -> bool {
        !self.job.is_planners() && self.job != Job::Calculate
    }

    /// Whether the text of an input is part of the task's prompt.
    #[must_use]
    pub fn reads(&self, input: usize) -> bool {
        match &self.job {
            Job::Read => self.input.as_ref().is_some_and(|slice| slice.index == input),
            Job::Answer => self.input.as_ref().is_none_or(|slice| slice.index == input),
            Job::Find { passages } => passages.iter().any(|passage| passage.input == input),
            Job::Extract { passage } | Job::Judge { passage, .. } => passage.input == input,
            Job::Clarify { .. } | Job::Write { .. } | Job::Step | Job::Ballot { .. } => true,
            Job::Plan | Job::Synthesis | Job::Calculate | Job::Unrecorded => false,
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A kind of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// Records of earlier versions don't say what a task's job was.
    #[default]
    Unrecorded,
    /// The planner makes the plan.
    Plan,
    /// The planner words the answer from the results.
    Synthesis,
    /// The planner looks for the answer to another task's question.
    Clarify { task: String, question: String },
    /// The whole goal in one call, from all inputs or from the one that the task reads.
    Answer,
    /// An input is read for what the plan asks of each.
    Read,
    /// Passages of the inputs are read together for the answer to the goal.
    Find { passages: Vec<Passage> },
    /// A short answer to the goal is taken from a passage.
    Extract { passage: Passage },
    /// A passage is judged: does it answer the goal? `wording` says which question is asked about it, from 0.
    Judge { passage: Passage, wording: u32 },
    /// A section is written.
    Write { title: String, about: String },
    /// An instruction is carried out with the results of the tasks that it needs.
    Step,
    /// An answer to the goal that is compared with others.
    Ballot { number: u32 },
    /// Arithmetic without a model.
    Calculate,
}

impl Job {
    /// Whether it is one of the planner's own calls, which are not tasks of the plan.
    #[must_use]
    pub fn is_planners(&self) -> bool {
        matches!(self, Self::Plan | Self::Synthesis | Self::Clarify { .. })
    }
}

/// How the tokens of a task's first attempt are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// At temperature 0.
    #[default]
    MostLikely,
    /// At a higher temperature, with a different seed for each number.
    Varied(u64),
}

impl Draw {
    fn is_most_likely(&self) -> bool {
        *self == Self::MostLikely
    }
}

/// An input, or a part of one that is too long to read at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Index of the input.
    pub index: usize,
    /// Name of the input.
    pub name: String,
    /// Number of the part, from 0.
    pub part: usize,
    /// How many parts the input has.
    pub parts: usize,
    /// Byte range of the part in the input's text.
    pub bytes: std::ops::Range<usize>,
}

impl Slice {
    /// Whether it is a shorter part of the text that another one covers.
    #[must_use]
    pub fn is_part_of(&self, whole: &Self) -> bool {
        let within = whole.bytes.start <= self.bytes.start && self.bytes.end <= whole.bytes.end;
        self.index == whole.index && within && self.bytes != whole.bytes
    }
}

/// A passage of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Index of the input.
    pub input: usize,
    /// Byte range in the input's text.
    pub bytes: std::ops::Range<usize>,
}

/// What a task's result looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    #[default]
    Text,
    /// One fact that was read in a text.
    Finding(AnswerIs),
    /// A row of a table that was read in a text, as the task's columns say.
    Row,
    /// A text with one number in it.
    Number,
    /// Figures calculated by rule.
    Figures,
}

/// A column of a table that is filled from texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its heading, in the words of the goal.
    pub name: String,
    pub kind: AnswerIs,
}

/// The kind of answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerIs {
    Number,
    /// A day, written `YYYY-MM-DD`.
    Date,
    /// Name of a person, a thing or a place.
    Name,
    YesNo,
    /// One or two sentences.
    Text,
    List,
}

impl AnswerIs {
    /// All kinds that a planner may choose from.
    pub const ALL: [Self; 6] = [Self::Number, Self::Date, Self::Name, Self::YesNo, Self::Text, Self::List];

    /// The name in plans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::Name => "name",
            Self::YesNo => "yes_no",
            Self::Text => "text",
            Self::List => "list",
        }
    }
}

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("it has no tasks")]
    Empty,
    #[error("the plan has two tasks {id}")]
    Twice { id: String },
    #[error("task {id} needs {need}, which is not an earlier task")]
    Need { id: String, need: String },
}

impl Plan {
    /// Makes a plan of tasks in order.
    ///
    /// # Errors
    /// When an id occurs twice or a need is not the id of an earlier task.
    pub fn new(tasks: Vec<Task>) -> Result<Self, PlanError> {
        let mut seen: HashSet<&str> = HashSet::new();
        for task in &tasks {
            if let Some(need) = task.needs.iter().find(|need| !seen.contains(need.as_str())) {
                return Err(PlanError::Need { id: task.id.clone(), need: need.clone() });
            }
            if !seen.insert(&task.id) {
                return Err(PlanError::Twice { id: task.id.clone() });
            }
        }
        Ok(Self { tasks })
    }

    /// The plan that some tasks of a run make. Needs that are not among the tasks before them are left out.
    #[must_use]
    pub(super) fn of(mut tasks: Vec<Task>) -> Self {
        let mut seen: HashSet<String> = HashSet::new();
        for task in &mut tasks {
            task.needs.retain(|need| seen.contains(need));
            seen.insert(task.id.clone());
        }
        Self { tasks }
    }

    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// For each task, the token limits summed over the longest path of tasks that wait for it.
    #[must_use]
    pub fn critical_path_tokens(&self) -> Vec<u32> {
        let index: HashMap<&str, usize> =
            self.tasks.iter().enumerate().map(|(at, task)| (task.id.as_str(), at)).collect();
        let mut behind = vec![0_u32; self.tasks.len()];
        for (at, task) in self.tasks.iter().enumerate().rev() {
            let through = behind[at].saturating_add(task.tokens_max);
            for need in &task.needs {
                let need = index[need.as_str()];
                behind[need] = behind[need].max(through);
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, needs: &[&str], tokens_max: u32) -> Task {
        Task {
            id: id.to_owned(),
            worker: "w".to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            tokens_max,
            ..Task::default()
        }
    }

    #[test]
    fn needs_must_be_earlier_tasks() {
        assert!(Plan::new(vec![task("a", &[], 1), task("b", &["a"], 1)]).is_ok());
        assert!(matches!(
            Plan::new(vec![task("a", &["b"], 1), task("b", &[], 1)]),
            Err(PlanError::Need { .. })
        ));
        assert!(matches!(Plan::new(vec![task("a", &["a"], 1)]), Err(PlanError::Need { .. })));
        assert!(matches!(
            Plan::new(vec![task("a", &[], 1), task("a", &[], 1)]),
            Err(PlanError::Twice { .. })
        ));
    }

    #[test]
    fn a_plan_that_is_read_back_is_checked_like_a_new_one() {
        let plan = Plan::new(vec![task("a", &[], 1), task("b", &["a"], 1)]).unwrap();
        let written = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&written).unwrap(), plan);
        let cycle = written.replace(r#""needs":[]"#, r#""needs":["b"]"#);
        let error = serde_json::from_str::<Plan>(&cycle).expect_err("a cycle");
        assert!(error.to_string().contains("task a needs b"), "{error}");
    }

    #[test]
    fn the_critical_path_is_the_longest_one_behind_a_task() {
        let plan = Plan::new(vec![
            task("a", &[], 5),
            task("b", &["a"], 10),
            task("c", &["a"], 30),
            task("d", &["b", "c"], 7),
        ]);
        assert_eq!(plan.unwrap().critical_path_tokens(), [37, 7, 7, 0]);
    }
}
