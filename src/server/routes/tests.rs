//! What crosses several routes.

mod clients;
mod owners;
