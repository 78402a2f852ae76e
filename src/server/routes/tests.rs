//! Tests that involve several routes.

mod clients;
mod damage;
mod going_on;
mod openapi;
mod owners;
