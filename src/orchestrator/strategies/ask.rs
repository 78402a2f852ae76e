//! The ask strategy: asks the user for something that the goal mentions and that was not attached.

use crate::goal::Goal;
use crate::outcome::Status;
use crate::plan::Task;
use crate::request::StrategyName;
use crate::state::RunState;
use crate::strategy::{Ended, Move, Prompt, Strategy};

pub(super) struct Ask;

impl Strategy for Ask {
    fn name(&self) -> StrategyName {
        StrategyName::Ask
    }

    fn next(&self, _: &Goal, _: &RunState) -> Move {
        Move::Answer(Ended {
            answer: "Which text do you mean? The goal speaks of something attached or sent, but nothing came with it. \
Please attach the file (on the command line: -f FILE) or put its text into the goal."
                .to_owned(),
            status: Some(Status::RequiresAction),
            ..Ended::default()
        })
    }

    fn prompt(&self, _: &Task, _: &Goal, _: &RunState) -> Prompt {
        Prompt::default()
    }
}
