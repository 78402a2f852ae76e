//! The part of a run's state that is about what it asks: questions of tasks, and the approval of the plan.

use serde_json::Value;

use super::{RunState, Stopped, TaskState};
use crate::cancel::StopReason;
use crate::outcome::Status;
use crate::parked::{Answer, Question, RequiredAction, TaskQuestion};
use crate::plan::Job;
use crate::request::StrategyName;

impl TaskState {
    /// The question that waits for an answer.
    #[must_use]
    pub fn open_question(&self) -> Option<&Question> {
        self.questions.last().filter(|question| question.answer.is_none())
    }

    /// Whether an attempt ended with a question.
    #[must_use]
    pub(crate) fn asked_in(&self, attempt: u32) -> bool {
        self.questions.iter().any(|question| question.attempt == attempt)
    }

    pub(super) fn ask(&mut self, attempt: u32, question: &str) {
        self.questions.push(Question { attempt, question: question.to_owned(), answer: None });
        self.status = Status::RequiresAction;
    }

    /// Takes the answer to the open question. The task goes on with it.
    pub(super) fn take_answer(&mut self, text: &str) {
        let Some(question) = self.questions.last_mut().filter(|question| question.answer.is_none()) else {
            return;
        };
        question.answer = Some(text.to_owned());
        if self.status == Status::RequiresAction {
            self.status = Status::InProgress;
        }
    }
}

impl RunState {
    /// Whether the run has ended because it needs the user.
    #[must_use]
    pub(crate) fn is_parked(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.status == Status::RequiresAction)
    }

    /// The questions of tasks that wait for an answer.
    #[must_use]
    pub(crate) fn open_questions(&self) -> Vec<TaskQuestion> {
        let waiting = self.tasks.iter().filter(|task| task.status == Status::RequiresAction);
        let open = waiting.filter_map(|task| {
            let question = task.open_question()?.question.clone();
            Some(TaskQuestion { task: task.id.clone(), question })
        });
        open.collect()
    }

    /// Takes what the user answered, before what else follows from taking up the run.
    pub(super) fn take_answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Text(text) => {
                self.answers.push((self.answer.clone(), text.clone()));
                if self.strategy == Some(StrategyName::Ask) {
                    // With the answer, the goal may be worked on in another way.
                    (self.strategy, self.strategy_why) = (None, None);
                }
            }
            Answer::Task { task, text } => {
                if let Some(task) = self.task_mut(task) {
                    task.take_answer(text);
                }
            }
            Answer::Approval { approve } => {
                self.approval.approved = *approve;
                if !approve {
                    let asked = self.required_action.as_ref().map(RequiredAction::declined);
                    self.approval.declined = Some(asked.unwrap_or_default());
                    self.stopped = Some(Stopped { reason: StopReason::Interrupted, limit: 0.0 });
                }
            }
            Answer::Plan { plan } => self.take_plan(plan),
        }
    }

    /// Takes a plan that the user has edited. It stands in for the planner's reply.
    pub(crate) fn take_plan(&mut self, plan: &Value) {
        self.approval.approved = true;
        self.approval.edited = Some(plan.clone());
        if let Some(task) = self.tasks.iter_mut().find(|task| task.task.job == Job::Plan) {
            task.output = plan.to_string();
            task.status = Status::Completed;
            (task.error, task.cut) = (None, false);
        }
    }
}
