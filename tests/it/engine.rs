//! The engine from outside: seeded simulations, properties of the schedule, and the thread with its handles.

mod alone;
mod fake;
mod grammar;
mod plans;
mod same_bits;
mod simulation;
mod steps;
mod thread;
mod waits;
