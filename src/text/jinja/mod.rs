//! Jinja2 for chat templates, as `transformers` runs it: `ImmutableSandboxedEnvironment(trim_blocks=True,
//! lstrip_blocks=True)` with `loopcontrols`, `generation`, `tojson`, `raise_exception` and `strftime_now`.
//!
//! A template is an untrusted program from a file, and it reads what clients send. So nesting is limited when it is
//! parsed, values can't contain themselves, and a rendering has limited fuel, memory and stack. What a chat is and what
//! a model reads is not known here.

mod args;
mod ast;
mod builtins;
mod calls;
mod compare;
mod dict;
mod filter_syntax;
mod filters;
mod format;
mod heap;
mod lexer;
mod machine;
mod ops;
mod parser;
mod run;
mod sequences;
mod show;
mod statements;
mod strftime;
mod strings;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::thread;

use super::Cancellation;
use ast::{Body, Const, For, Macro, Name};
use heap::Heap;
use machine::Machine;
use parser::Parser;

/// The largest known template has some 50 kB.
pub(super) const SOURCE_BYTES_MAX: usize = 1 << 20;
/// Enough for the deepest template over the deepest value, even with the stack frames of an unoptimized build.
const STACK_BYTES: usize = 128 << 20;

/// Why a template can't be used, or not with these variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("line {line}: {what}")]
    Syntax { line: u32, what: String },
    /// The template uses Jinja that is not supported.
    #[error("line {line}: {what} is not supported")]
    Unsupported { line: u32, what: String },
    /// The message that the template passed to `raise_exception`.
    #[error("{0}")]
    Raised(String),
    /// An error that Python would raise.
    #[error("{what} (line {line})")]
    Failed {
        /// From 1; 0 while it is unknown.
        line: u32,
        what: String,
    },
    /// A limit on size, depth, fuel or memory was exceeded.
    #[error("{0}")]
    Limit(String),
    #[error("its output is too long")]
    TooLong,
    #[error("the request was cancelled")]
    Cancelled,
}

type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn failed(what: impl Into<String>) -> Self {
        Self::Failed { line: 0, what: what.into() }
    }

    /// Sets the line if it has none yet.
    fn at(self, line: u32) -> Self {
        match self {
            Self::Failed { line: 0, what } => Self::Failed { line, what },
            other => other,
        }
    }
}

/// A parsed template, which threads can share.
#[derive(Debug)]
pub(super) struct Template {
    body: Body,
    constants: Vec<Const>,
    names: Vec<Box<str>>,
    loops: Vec<For>,
    macros: Vec<Macro>,
    /// The index of each name in `names`.
    name_indices: HashMap<Box<str>, Name>,
    /// Names with a special meaning, if the template uses them.
    special: SpecialNames,
}

#[derive(Debug, Clone, Copy)]
struct SpecialNames {
    /// The variable `loop` of a `for`.
    loop_: Option<Name>,
    /// The function `caller` of a `call` block.
    caller: Option<Name>,
    /// The list `varargs` of a macro's extra positional arguments.
    varargs: Option<Name>,
    /// The map `kwargs` of a macro's extra named arguments.
    kwargs: Option<Name>,
}

/// The limits of one rendering.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Steps of some 50 ns.
    pub(super) fuel: u64,
    /// Bytes of all values that exist at the same time.
    pub(super) bytes: usize,
    /// Bytes of the written text.
    pub(super) written_bytes: usize,
    /// Tells when nobody waits for the text any more.
    pub(super) cancellation: Cancellation,
}

impl Template {
    /// Parses a template. Call this and [`Template::render`] from [`on_own_stack`].
    pub(super) fn parse(source: &str) -> Result<Self> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(Error::Limit(format!("it has more than {} MiB", SOURCE_BYTES_MAX >> 20)));
        }
        let mut parser = Parser::new(lexer::tokens(source)?);
        let body = parser.template()?;
        let name_indices = parser.name_indices;
        let index = |name: &str| name_indices.get(name).copied();
        let special = SpecialNames {
            loop_: index("loop"),
            caller: index("caller"),
            varargs: index("varargs"),
            kwargs: index("kwargs"),
        };
        Ok(Self {
            body,
            constants: parser.constants,
            names: parser.names,
            loops: parser.loops,
            macros: parser.macros,
            name_indices,
            special,
        })
    }

    /// Renders the template with these variables. `now` is the time in seconds since 1970.
    pub(super) fn render(
        &self,
        variables: &[(&str, serde_json::Value)],
        now: u64,
        limits: &Limits,
    ) -> Result<String> {
        let heap = Heap::new(limits);
        let mut machine = Machine::new(self, heap.clone(), now, limits.written_bytes)?;
        for (name, value) in variables {
            if let Some(&at) = self.name_indices.get(*name) {
                let value = heap.json(value)?;
                machine.set(at, value)?;
            }
        }
        machine.run(&self.body)?;
        Ok(machine.out.pop().map(heap::Buffer::into_string).unwrap_or_default())
    }
}

/// Runs `f` on a thread whose stack is large enough for templates. A panic in `f` becomes an error.
pub(super) fn on_own_stack<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("template".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, f);
        let thread = thread.map_err(|error| Error::Limit(format!("can't start a thread for it: {error}")))?;
        thread.join().map_err(|_| Error::Limit("internal error; see the log".into()))
    })
}
