//! The engine from outside: seeded simulations, sharing, fairness, and the thread with its handles.

mod alone;
mod fake;
mod grammar;
mod simulation;
