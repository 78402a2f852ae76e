//! Runs a goal: chooses a strategy, carries out the tasks, and writes the answer. The only module that knows what a
//! planner, a worker, a plan and a strategy are. The engine, HTTP and SQL are not known here.

#![warn(unreachable_pub)]

mod advance;
mod approval;
mod attached;
mod attempt;
mod band;
mod blocking;
mod budget;
mod cancel;
mod checks;
mod choice;
mod clarify;
mod event;
mod fork_settings;
mod goal;
mod inputs;
mod labels;
mod ladder;
mod limits;
mod missing;
mod outcome;
mod parked;
mod partial;
mod plan;
mod prompts;
mod recorder;
mod replay;
mod report;
mod request;
mod run;
mod runaway;
#[cfg(test)]
mod simulation;
mod start;
mod state;
mod strategies;
mod strategy;
mod template;
mod topic;
mod worker;

pub use approval::PlanRefused;
pub use band::{
    Band, BoxFuture, Call, CallError, CallErrorKind, CallUsage, Embed, Finish, Llm, Message, Progress, Reply,
    Role, Skill, Worker, WorkerKind,
};
pub use cancel::{Cancel, StopReason};
pub use choice::why::{Attachment, Facts, Nearest, StrategyWhy};
pub use event::{Asked, CallEnd, ChangedInput, EventKind, FailureClass, InputInfo, RunEvent, Split};
pub use goal::{BandInfo, Goal, PLANNER, WorkerInfo};
pub use labels::{FailureMode, Label, labels};
pub use limits::limit_in_words;
pub use outcome::{Outcome, PromptTokensDetails, RunUsage, Status, TaskReport, TokenUsage};
pub use parked::{ActionKind, Answer, Approval, Question, RequiredAction, TaskQuestion};
pub use plan::{AnswerIs, Draw, Job, Plan, PlanError, Shape, Slice, Task, TokenLimits};
pub use recorder::Observer;
pub use replay::{ChangedPrompt, Difference, OutputDifference, Replayed, Verified, replay, verify};
pub use request::{Budget, FileStamp, Input, ModelFiles, RunRequest, StrategyError, StrategyName};
pub use run::{choose, decline, run, run_with};
pub use start::{
    RunStart, StartError, StartKind, answer, answer_with, fork, recorded, resume, state, states,
};
pub use state::{Attempt, Replan, RunState, TaskState};
pub use strategies::direct_prompt;
pub use strategy::{Ended, Move, Prompt, SplitAsked, Strategy, Verdict};
pub use template::{Template, TemplateError};
pub use worker::SessionLlm;
