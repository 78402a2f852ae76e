//! Asks servers: any OpenAI-compatible one by its URL, and the server of this home over its private socket. What is asked
//! and what the answers are used for is not known here.

#[cfg(any(test, feature = "fixtures"))]
pub mod fake;
mod joined;
mod openai;
mod sse;

pub use joined::{JoinError, Joined, SOCKET};
pub use openai::{Answered, Ask, Client, ClientError, Counts, Endpoint, Prompt};
pub use sse::{Frames, TooLong};
