//! Jinja2 for chat templates, as `transformers` runs it: `ImmutableSandboxedEnvironment(trim_blocks=True,
//! lstrip_blocks=True)` with `loopcontrols`, `generation`, `tojson`, `raise_exception` and `strftime_now`.
//!
//! A template is a program from a file that nobody vouches for, and it reads what clients send. So what nests is limited
//! when it is parsed, values can't hold themselves, and a rendering has fuel, bytes and a stack that are known. What a
//! chat is and what a model reads is not known here.

mod args;
mod ast;
mod calls;
mod compare;
mod dict;
mod filter_syntax;
mod filters;
mod format;
mod heap;
mod known;
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

use super::Waited;
use ast::{Body, Const, For, Macro, Name};
use heap::Heap;
use machine::Machine;
use parser::Parser;

/// The largest template there is has some 50 kB.
pub(super) const SOURCE_BYTES_MAX: usize = 1 << 20;
/// Enough for the deepest template over the deepest value, with frames as they are without optimisation.
const STACK_BYTES: usize = 128 << 20;

/// Why a template can't be used, or not for this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not Jinja.
    #[error("line {line}: {what}")]
    Syntax {
        /// From 1.
        line: u32,
        /// In plain words.
        what: String,
    },
    /// Jinja that isn't known here.
    #[error("line {line}: {what} is not supported")]
    Unsupported {
        /// From 1.
        line: u32,
        /// The construct.
        what: String,
    },
    /// The template's own words.
    #[error("{0}")]
    Raised(String),
    /// What Python would raise.
    #[error("{what} (line {line})")]
    Failed {
        /// From 1.
        line: u32,
        /// In plain words.
        what: String,
    },
    /// It wants more than a rendering may take.
    #[error("{0}")]
    Limit(String),
    /// It writes more than was asked for at most.
    #[error("it writes too much")]
    TooLong,
    /// Nobody waits for the text any more.
    #[error("nobody waits for it any more")]
    Ended,
}

type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn failed(what: impl Into<String>) -> Self {
        Self::Failed { line: 0, what: what.into() }
    }

    /// The same with the line, where it has none yet.
    fn at(self, line: u32) -> Self {
        match self {
            Self::Failed { line: 0, what } => Self::Failed { line, what },
            other => other,
        }
    }
}

/// A template that was parsed. Share it between threads.
#[derive(Debug)]
pub(super) struct Template {
    body: Body,
    constants: Vec<Const>,
    names: Vec<Box<str>>,
    loops: Vec<For>,
    macros: Vec<Macro>,
    /// Where each name stands among `names`.
    places: HashMap<Box<str>, Name>,
    /// Names with a meaning of their own, where the template speaks of them.
    own: OwnNames,
}

#[derive(Debug, Clone, Copy)]
struct OwnNames {
    /// The variable `loop` of a `for`.
    loop_: Option<Name>,
    /// The function `caller` of a `call` block.
    caller: Option<Name>,
    /// The list `varargs` of a macro's further arguments.
    varargs: Option<Name>,
    /// The map `kwargs` of a macro's further named arguments.
    kwargs: Option<Name>,
}

/// What one rendering may take.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Steps of some 50 ns.
    pub(super) fuel: u64,
    /// Bytes that its values may have at a time.
    pub(super) bytes: usize,
    /// Bytes of the text that comes of it.
    pub(super) written_bytes: usize,
    /// It ends where it is when nobody waits for it.
    pub(super) waited: Waited,
}

impl Template {
    /// Parses. Call it from [`on_own_stack`], as [`Template::render`].
    pub(super) fn parse(source: &str) -> Result<Self> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(Error::Limit(format!("it has more than {} MiB", SOURCE_BYTES_MAX >> 20)));
        }
        let mut parser = Parser::new(lexer::tokens(source)?);
        let body = parser.template()?;
        let places = parser.name_indices;
        let place = |name: &str| places.get(name).copied();
        let own = OwnNames {
            loop_: place("loop"),
            caller: place("caller"),
            varargs: place("varargs"),
            kwargs: place("kwargs"),
        };
        Ok(Self {
            body,
            constants: parser.constants,
            names: parser.names,
            loops: parser.loops,
            macros: parser.macros,
            places,
            own,
        })
    }

    /// What the template writes with these variables at `now`, in seconds since 1970.
    pub(super) fn render(
        &self,
        variables: &[(&str, serde_json::Value)],
        now: u64,
        limits: &Limits,
    ) -> Result<String> {
        let heap = Heap::new(limits);
        let mut machine = Machine::new(self, heap.clone(), now, limits.written_bytes)?;
        for (name, value) in variables {
            if let Some(&at) = self.places.get(*name) {
                let value = heap.json(value)?;
                machine.set(at, value)?;
            }
        }
        machine.run(&self.body)?;
        Ok(machine.out.pop().map(heap::Buffer::into_string).unwrap_or_default())
    }
}

/// Does `f` on a thread whose stack is large enough for templates. A panic there is an error here.
pub(super) fn on_own_stack<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("template".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, f);
        let thread =
            thread.map_err(|error| Error::Limit(format!("no thread can be started for it: {error}")))?;
        thread
            .join()
            .map_err(|_| Error::Limit("a fault of this program, which a message above tells of".into()))
    })
}
