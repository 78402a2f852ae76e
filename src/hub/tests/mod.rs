//! The hub's paths are served by a small server of our own, pip by a script that copies from a folder.

mod catalog;
mod files;
mod inside;
mod pull;
mod server;
mod sizes;
mod unchanged;
