//! SQL functions: sums and means of decimals that are exact, and functions of dates. None reads a clock.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use rusqlite::functions::{Aggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result};

use super::super::types::{days_between, months_between};
use super::exact::{decimal_of, number_of, rounded};
use crate::calculator::{CalculatorError, Decimal};

/// Row numbers that `source_rows` keeps of a group: the smallest.
pub(in super::super) const SOURCES_MAX: usize = 200;

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

pub(in super::super) fn add_functions(connection: &Connection) -> Result<()> {
    connection.create_window_function("sum", 1, FLAGS, Sum { gives: Gives::Sum })?;
    connection.create_window_function("total", 1, FLAGS, Sum { gives: Gives::Total })?;
    connection.create_window_function("avg", 1, FLAGS, Sum { gives: Gives::Mean })?;
    connection.create_aggregate_function("median", 1, FLAGS, Median)?;
    connection.create_aggregate_function("source_rows", 1, FLAGS, SourceRows)?;
    for arguments in [1, 2] {
        connection.create_scalar_function("round", arguments, FLAGS, round)?;
    }
    let unicode = |name, change: fn(&str) -> String| {
        connection
            .create_scalar_function(name, 1, FLAGS, move |context| Ok(text(context, 0)?.map(|t| change(&t))))
    };
    unicode("lower", str::to_lowercase)?;
    unicode("upper", str::to_uppercase)?;
    add_date_functions(connection)
}

fn add_date_functions(connection: &Connection) -> Result<()> {
    let of_moment = |name, compute: fn(DateTime) -> Value| {
        // With any number of arguments, since SQLite's own function of that name would read the clock.
        connection.create_scalar_function(name, -1, FLAGS, move |context| {
            expect_arguments(context, name, 1)?;
            Ok(moment(context, 0)?.map_or(Value::Null, compute))
        })
    };
    of_moment("date", |moment| Value::Text(moment.date().to_string()))?;
    of_moment("year", |moment| Value::Integer(moment.year().into()))?;
    of_moment("quarter", |moment| Value::Integer((i64::from(moment.month()) + 2) / 3))?;
    of_moment("month", |moment| Value::Integer(moment.month().into()))?;
    of_moment("day", |moment| Value::Integer(moment.day().into()))?;
    of_moment("hour", |moment| Value::Integer(moment.hour().into()))?;
    of_moment("weekday", |moment| Value::Text(moment.strftime("%A").to_string()))?;
    of_moment("julianday", |moment| {
        // Noon of 2000-01-01 is Julian day 2451545.
        let days = days_between(Date::constant(2000, 1, 1), moment.date());
        let seconds = moment.time().duration_since(jiff::civil::Time::midnight()).as_secs_f64();
        Value::Real(2_451_544.5 + days as f64 + seconds / 86_400.0)
    })?;
    let of_two = |name, compute: fn(Date, Date) -> i64| {
        connection.create_scalar_function(name, 2, FLAGS, move |context| {
            let from_to = moment(context, 0)?.zip(moment(context, 1)?);
            Ok(from_to.map(|(from, to)| compute(from.date(), to.date())))
        })
    };
    of_two("days_between", days_between)?;
    of_two("months_between", months_between)?;
    connection.create_scalar_function("strftime", -1, FLAGS, |context| {
        expect_arguments(context, "strftime", 2)?;
        let (Some(format), Some(moment)) = (text(context, 0)?, moment(context, 1)?) else { return Ok(None) };
        let formatted = jiff::fmt::strtime::format(format.as_bytes(), moment);
        formatted.map(Some).map_err(|error| failed(format!("strftime({format:?}): {error}")))
    })
}

fn expect_arguments(context: &Context<'_>, name: &str, count: usize) -> Result<()> {
    match context.len() {
        given if given == count => Ok(()),
        given => Err(failed(format!("{name} takes {count} arguments, not {given}: give the date alone"))),
    }
}

fn failed(problem: String) -> Error {
    Error::UserFunctionError(problem.into())
}

fn calculated(error: CalculatorError) -> Error {
    failed(error.to_string())
}

fn text(context: &Context<'_>, at: usize) -> Result<Option<String>> {
    Ok(match context.get_raw(at) {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(value.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
    })
}

/// A date or a date and time, written as the tables have them.
fn moment(context: &Context<'_>, at: usize) -> Result<Option<DateTime>> {
    let Some(text) = text(context, at)? else { return Ok(None) };
    let read = match text.len() {
        10 => text.parse::<Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight())),
        _ => text.parse::<DateTime>(),
    };
    read.map(Some).map_err(|_| {
        failed(format!("{text:?} is no date: write it as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'"))
    })
}

fn round(context: &Context<'_>) -> Result<ToSqlOutput<'static>> {
    let decimals = if context.len() > 1 { context.get::<Option<i64>>(1)? } else { Some(0) };
    let value = match (context.get_raw(0), decimals) {
        (ValueRef::Null, _) | (_, None) => Value::Null,
        (ValueRef::Integer(value), Some(0..)) => Value::Integer(value),
        (value, Some(decimals)) => Value::Real(rounded(number(value)?, decimals).map_err(calculated)?),
    };
    Ok(ToSqlOutput::Owned(value))
}

fn number(value: ValueRef<'_>) -> Result<f64> {
    match value {
        ValueRef::Integer(value) => Ok(value as f64),
        ValueRef::Real(value) => Ok(value),
        _ => Err(no_number(value)),
    }
}

fn no_number(value: ValueRef<'_>) -> Error {
    let text = value.as_str().unwrap_or("a blob");
    failed(format!("{:?} is no number", text.chars().take(40).collect::<String>()))
}

fn decimal(value: ValueRef<'_>) -> Result<Decimal> {
    match value {
        ValueRef::Integer(value) => Ok(Decimal::from(value)),
        ValueRef::Real(value) if value.is_finite() => decimal_of(value).map_err(calculated),
        _ => Err(no_number(value)),
    }
}

#[derive(Clone, Copy)]
enum Gives {
    /// An integer for integers, else a decimal; NULL for no values.
    Sum,
    /// Zero for no values.
    Total,
    Mean,
}

/// SQLite's `sum`, `total` and `avg`, but exact, and refusing texts instead of counting them as zero.
struct Sum {
    gives: Gives,
}

struct Summed {
    sum: Decimal,
    values: i64,
    decimals: i64,
}

impl Sum {
    fn change(
        context: &Context<'_>,
        state: &mut Summed,
        sign: i64,
        add: fn(Decimal, Decimal) -> std::result::Result<Decimal, CalculatorError>,
    ) -> Result<()> {
        let value = context.get_raw(0);
        if value != ValueRef::Null {
            state.sum = add(state.sum, decimal(value)?).map_err(calculated)?;
            state.values += sign;
            state.decimals += if matches!(value, ValueRef::Real(_)) { sign } else { 0 };
        }
        Ok(())
    }

    fn result(&self, state: Option<&Summed>) -> Result<Value> {
        let Some(state) = state.filter(|state| state.values > 0) else {
            return Ok(if matches!(self.gives, Gives::Total) { Value::Integer(0) } else { Value::Null });
        };
        match self.gives {
            Gives::Mean => Ok(Value::Real(number_of(state.sum) / state.values as f64)),
            _ if state.decimals > 0 => Ok(Value::Real(number_of(state.sum))),
            _ => {
                let whole = state.sum.to_string().parse();
                whole.map(Value::Integer).map_err(|_| failed("the sum has too many digits".into()))
            }
        }
    }
}

impl Aggregate<Summed, Value> for Sum {
    fn init(&self, _: &mut Context<'_>) -> Result<Summed> {
        Ok(Summed { sum: Decimal::ZERO, values: 0, decimals: 0 })
    }

    fn step(&self, context: &mut Context<'_>, state: &mut Summed) -> Result<()> {
        Self::change(context, state, 1, Decimal::plus)
    }

    fn finalize(&self, _: &mut Context<'_>, state: Option<Summed>) -> Result<Value> {
        self.result(state.as_ref())
    }
}

impl WindowAggregate<Summed, Value> for Sum {
    fn value(&self, state: Option<&mut Summed>) -> Result<Value> {
        self.result(state.as_deref())
    }

    fn inverse(&self, context: &mut Context<'_>, state: &mut Summed) -> Result<()> {
        Self::change(context, state, -1, Decimal::minus)
    }
}

/// The middle value, or the mean of the two in the middle.
struct Median;

impl Aggregate<Vec<f64>, Value> for Median {
    fn init(&self, _: &mut Context<'_>) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, values: &mut Vec<f64>) -> Result<()> {
        let value = context.get_raw(0);
        if value != ValueRef::Null {
            values.push(number(value)?);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, values: Option<Vec<f64>>) -> Result<Value> {
        let mut values = values.unwrap_or_default();
        values.sort_by(f64::total_cmp);
        let Some(upper) = values.get(values.len() / 2) else { return Ok(Value::Null) };
        let middle =
            if values.len() % 2 == 1 { *upper } else { (values[values.len() / 2 - 1] + upper) / 2.0 };
        Ok(Value::Real(middle))
    }
}

/// The different row numbers of a group, as `1,2,5`, with a final `,` if there are more than [`SOURCES_MAX`].
struct SourceRows;

impl Aggregate<BTreeSet<i64>, String> for SourceRows {
    fn init(&self, _: &mut Context<'_>) -> Result<BTreeSet<i64>> {
        Ok(BTreeSet::new())
    }

    fn step(&self, context: &mut Context<'_>, rows: &mut BTreeSet<i64>) -> Result<()> {
        if let ValueRef::Integer(row) = context.get_raw(0) {
            rows.insert(row);
            if rows.len() > SOURCES_MAX + 1 {
                rows.pop_last();
            }
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, rows: Option<BTreeSet<i64>>) -> Result<String> {
        let rows = rows.unwrap_or_default();
        let more = if rows.len() > SOURCES_MAX { "," } else { "" };
        let named: Vec<String> = rows.iter().take(SOURCES_MAX).map(i64::to_string).collect();
        Ok(named.join(",") + more)
    }
}
