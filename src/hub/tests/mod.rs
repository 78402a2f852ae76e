//! Tests of the hub. A small local server answers for the hub, and a script that copies from a folder acts as pip.

mod catalog;
mod file_names;
mod files;
mod pull;
mod server;
mod sizes;
mod unchanged;
