//! Asks servers: any OpenAI-compatible one by its URL, and the server of this home over its private socket. What is asked
//! and what the answers are used for is not known here.

#![warn(unreachable_pub)]

#[cfg(any(test, feature = "fixtures"))]
mod fake;
mod home_server;
mod openai;
mod sse;

#[cfg(any(test, feature = "fixtures"))]
pub use fake::{FakeServer, Script};
pub use home_server::{HomeServer, HomeServerError, SOCKET};
pub use openai::{Client, ClientError, Completion, CompletionRequest, Endpoint, Prompt, Usage};
pub use sse::SseParser;
