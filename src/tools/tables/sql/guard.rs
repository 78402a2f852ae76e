//! Keeps a statement to reading: SQLite's authorizer allows SELECT, the tables' own columns and a list of functions,
//! and nothing else; limits bound its size, its steps and its time.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};

/// What one statement may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of SQLite's virtual machine, besides 300 for each row of all tables.
    pub steps: u64,
    pub time_ms: u64,
    /// Rows of a result. More are left out, and the result says so.
    pub rows: usize,
    /// Bytes of a result's values. More are left out, and the result says so.
    pub bytes: usize,
}

/// Enough to read, sort, group and join each row some times.
pub(in super::super) const STEPS_PER_ROW: u64 = 300;
/// Bytes of a statement.
pub(in super::super) const STATEMENT_BYTES_MAX: usize = 16 << 10;
/// Bytes that a value or a row may always have; twice the longest row if that is more. It bounds the memory that a
/// statement can fill within its steps.
const ROW_BYTES_MIN: usize = 16 << 10;
/// Instructions between two looks at the clock.
const STEPS_AT_ONCE: u16 = 1000;

const FUNCTIONS: &[&str] = &[
    "abs",
    "avg",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "date",
    "day",
    "days_between",
    "dense_rank",
    "first_value",
    "glob",
    "group_concat",
    "hour",
    "ifnull",
    "iif",
    "instr",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "median",
    "min",
    "month",
    "months_between",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "quarter",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "source_rows",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "total",
    "trim",
    "typeof",
    "upper",
    "weekday",
    "year",
];

const RUNNING: u8 = 0;
const OUT_OF_STEPS: u8 = 1;
const OUT_OF_TIME: u8 = 2;

/// Watches the statement that runs.
#[derive(Clone)]
pub(in super::super) struct Guard {
    shared: Arc<Shared>,
}

struct Shared {
    steps: AtomicU64,
    steps_max: AtomicU64,
    began: Mutex<Instant>,
    time_max: Duration,
    ended_by: AtomicU8,
    /// What the authorizer refused last.
    refused: Mutex<Option<String>>,
}

/// Why a statement was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Interruption {
    Steps { most: u64 },
    Time { most_ms: u64 },
}

/// A poisoned lock holds no half-made value here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    pub(in super::super) fn new(limits: &Limits) -> Self {
        let shared = Shared {
            steps: AtomicU64::new(0),
            steps_max: AtomicU64::new(limits.steps),
            began: Mutex::new(Instant::now()),
            time_max: Duration::from_millis(limits.time_ms),
            ended_by: AtomicU8::new(RUNNING),
            refused: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins to count for a new statement.
    pub(in super::super) fn begin(&self) {
        self.shared.steps.store(0, Ordering::Relaxed);
        self.shared.ended_by.store(RUNNING, Ordering::Relaxed);
        *locked(&self.shared.began) = Instant::now();
        *locked(&self.shared.refused) = None;
    }

    pub(in super::super) fn interruption(&self) -> Option<Interruption> {
        match self.shared.ended_by.load(Ordering::Relaxed) {
            OUT_OF_STEPS => Some(Interruption::Steps { most: self.shared.steps_max.load(Ordering::Relaxed) }),
            OUT_OF_TIME => {
                let most_ms = u64::try_from(self.shared.time_max.as_millis()).unwrap_or(u64::MAX);
                Some(Interruption::Time { most_ms })
            }
            _ => None,
        }
    }

    pub(in super::super) fn refused(&self) -> Option<String> {
        locked(&self.shared.refused).clone()
    }

    /// Whether the statement has to end.
    fn is_over(&self) -> bool {
        let steps = self.shared.steps.fetch_add(STEPS_AT_ONCE.into(), Ordering::Relaxed);
        let why = if steps >= self.shared.steps_max.load(Ordering::Relaxed) {
            OUT_OF_STEPS
        } else if locked(&self.shared.began).elapsed() >= self.shared.time_max {
            OUT_OF_TIME
        } else {
            return false;
        };
        self.shared.ended_by.store(why, Ordering::Relaxed);
        true
    }

    fn authorize(&self, action: &AuthAction<'_>, tables: &[String]) -> Authorization {
        let refused = match action {
            AuthAction::Select => return Authorization::Allow,
            AuthAction::Read { table_name, .. } if tables.iter().any(|table| table == table_name) => {
                return Authorization::Allow;
            }
            AuthAction::Function { function_name } => {
                if FUNCTIONS.iter().any(|name| name.eq_ignore_ascii_case(function_name)) {
                    return Authorization::Allow;
                }
                format!("the function {function_name} is not available")
            }
            AuthAction::Read { table_name, .. } => format!("it reads {table_name}"),
            AuthAction::Recursive => "it is recursive".into(),
            AuthAction::Attach { .. } => "it opens a file".into(),
            AuthAction::Pragma { .. } => "it has a pragma".into(),
            _ => "it does something else than reading".into(),
        };
        *locked(&self.shared.refused) = Some(refused);
        Authorization::Deny
    }
}

/// Sets the limits and installs the authorizer for `tables`. Call it again when there are other tables, after
/// [`unprotect`]ing the connection to load them.
pub(in super::super) fn protect(
    connection: &mut Connection,
    guard: &Guard,
    limits: &Limits,
    tables: Vec<String>,
    rows: usize,
    row_bytes_max: usize,
) -> Result<usize> {
    // Sorting stays in memory, and a name in double quotes is never taken for a text.
    connection
        .execute_batch("PRAGMA temp_store = MEMORY; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    let length = ROW_BYTES_MIN.max(row_bytes_max * 2);
    let limit = |limit, most: usize| connection.set_limit(limit, i32::try_from(most).unwrap_or(i32::MAX));
    limit(Limit::SQLITE_LIMIT_LENGTH, length)?;
    limit(Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX)?;
    limit(Limit::SQLITE_LIMIT_COLUMN, 500)?;
    limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, 100)?;
    limit(Limit::SQLITE_LIMIT_COMPOUND_SELECT, 10)?;
    limit(Limit::SQLITE_LIMIT_VDBE_OP, 50_000)?;
    limit(Limit::SQLITE_LIMIT_FUNCTION_ARG, 20)?;
    limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)?;
    limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    guard.shared.steps_max.store(limits.steps + STEPS_PER_ROW * rows as u64, Ordering::Relaxed);
    let watching = guard.clone();
    connection.progress_handler(STEPS_AT_ONCE.into(), Some(move || watching.is_over()))?;
    let authorizing = guard.clone();
    connection
        .authorizer(Some(move |context: AuthContext<'_>| authorizing.authorize(&context.action, &tables)))?;
    Ok(length)
}

/// Takes the authorizer and the limits away, so that a table can be added.
pub(in super::super) fn unprotect(connection: &mut Connection, length: usize) -> Result<()> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(length).unwrap_or(i32::MAX))?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20)?;
    connection.execute_batch("PRAGMA query_only = OFF;")
}
