//! Tests that involve several routes.

mod clients;
mod damage;
mod openapi;
mod owners;
