//! What a run asks its user before it can go on, and what the user answers. A run that waits for an answer is parked:
//! it has ended with the status `requires_action`, and nothing of it stays in memory.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the user has to do before the run goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequiredAction {
    pub kind: ActionKind,
    /// The question to the user, in words.
    pub question: String,
    /// The plan that waits for approval, in the form of the planner's reply, so that it can be edited. Absent if it can
    /// only be approved or declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    /// What the fields of `plan` mean, a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_fields: Option<String>,
    /// The task that asks, if exactly one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The questions of all tasks that ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<TaskQuestion>,
}

/// What kind of action is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Say whether the plan is to be carried out.
    ApprovePlan,
    AnswerQuestion,
}

/// A question that a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskQuestion {
    pub task: String,
    pub question: String,
}

impl RequiredAction {
    /// A question of the run itself, such as for a text that is missing.
    #[must_use]
    pub(crate) fn ask(question: &str) -> Self {
        Self {
            kind: ActionKind::AnswerQuestion,
            question: question.to_owned(),
            plan: None,
            plan_fields: None,
            task: None,
            questions: Vec::new(),
        }
    }

    /// The questions of tasks; `None` if there are none.
    #[must_use]
    pub(crate) fn of_tasks(questions: Vec<TaskQuestion>) -> Option<Self> {
        let question = match &questions[..] {
            [] => return None,
            [one] => one.question.clone(),
            all => {
                let lines = all.iter().map(|one| format!("{}: {}", one.task, one.question));
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        let task = if let [one] = &questions[..] { Some(one.task.clone()) } else { None };
        Some(Self { task, questions, ..Self::ask(&question) })
    }

    /// What the record says if the user declines.
    #[must_use]
    pub(crate) fn declined(&self) -> String {
        match self.kind {
            ActionKind::ApprovePlan => {
                let tasks = self.question.lines().filter_map(|line| line.strip_prefix("- "));
                format!("everything: the plan was declined: {}", tasks.collect::<Vec<_>>().join("; "))
            }
            ActionKind::AnswerQuestion => {
                format!("the rest: the question was not answered: {}", self.question.replace('\n', "; "))
            }
        }
    }
}

/// What the user answers a parked run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To the run's question.
    Text(String),
    /// To the question of a task.
    Task { task: String, text: String },
    /// Whether the plan is to be carried out. `false` ends a run that asks something else, too.
    Approval { approve: bool },
    /// The plan that is to be carried out instead of the planner's, in the form of the planner's reply.
    Plan { plan: Value },
}

/// A question of a task, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The attempt that asked.
    pub attempt: u32,
    pub question: String,
    /// `None` as long as the question is open.
    pub answer: Option<String>,
}

/// How far the approval of the plan is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Approval {
    /// The planner's part of the plan, as it was last shown.
    pub proposed: Option<Value>,
    /// Whether the user has approved the plan.
    pub approved: bool,
    /// The plan as the user has written it, in the form of the planner's reply.
    pub edited: Option<Value>,
    /// What the run asked when the user declined.
    pub declined: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_is_written() {
        for (answer, written) in [
            (Answer::Text("blue".to_owned()), r#""blue""#),
            (
                Answer::Task { task: "t3".to_owned(), text: "blue".to_owned() },
                r#"{"task":"t3","text":"blue"}"#,
            ),
            (Answer::Approval { approve: false }, r#"{"approve":false}"#),
            (Answer::Plan { plan: serde_json::json!({"steps": []}) }, r#"{"plan":{"steps":[]}}"#),
        ] {
            assert_eq!(serde_json::to_string(&answer).unwrap(), written);
            assert_eq!(serde_json::from_str::<Answer>(written).unwrap(), answer);
        }
    }
}
