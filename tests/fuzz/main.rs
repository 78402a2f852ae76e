//! Throws damaged inputs at everything that reads what others wrote: a model's file, a client, a server that is asked, the
//! record of runs, a person's settings. A reader answers with a value or an error, never with a panic and never late.
//! The reader of GGUF files has its own target in `models/tests/gguf_fuzz.rs`.

mod bodies;
mod harness;
mod model_files;
mod records;
