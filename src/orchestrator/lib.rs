//! Runs a goal: chooses a strategy, carries out the tasks, and writes the answer. The only module that knows what a
//! planner, a worker, a plan and a strategy are. The engine, HTTP and SQL are not known here.

mod again;
mod aside;
mod attempt;
mod band;
mod cancel;
mod checks;
mod direct;
mod dispatch;
mod event;
mod map;
mod missing;
mod outcome;
mod own_words;
mod parallel;
mod plan;
mod planner;
mod registry;
mod request;
mod run;
mod sequence;
mod strategy;
mod vote;
mod worker;

pub use again::{AgainError, answer, resume};
pub use band::{
    Band, BoxFuture, Call, CallError, CallErrorKind, CallUsage, Embed, Finish, Llm, Message, Progress, Reply,
    Role, Skill, Worker, WorkerKind,
};
pub use cancel::{Cancel, StopReason};
pub use direct::prompt as direct_prompt;
pub use event::{Asked, EventKind, FailureClass, InputInfo, RunEvent};
pub use outcome::{Outcome, PromptTokensDetails, RunUsage, Status, TaskReport, TokenUsage};
pub use plan::{AnswerIs, Plan, PlanError, Shape, Slice, Task};
pub use request::{Budget, Input, RunRequest, Strategy, StrategyError};
pub use run::{choose, run};
pub use strategy::why::{Attachment, Facts, Nearest, StrategyWhy};
pub use worker::SessionLlm;
