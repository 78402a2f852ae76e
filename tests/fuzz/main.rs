//! Feeds damaged inputs to everything that reads data from outside: model files, clients' requests, streams of other
//! servers, the journal of runs, and settings. A reader must return a value or an error, never panic, and never take
//! long. The reader of GGUF files has its own target in `models/tests/gguf_fuzz.rs`.

mod bodies;
mod harness;
mod model_files;
mod records;
