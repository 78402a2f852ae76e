//! What a row must meet to count: a column, a comparison and a value.

use std::cmp::Ordering;

use bandmaster_tools::calculator::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::{stands_in, words};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Condition {
    /// Name of the column.
    pub column: String,
    pub is: Comparison,
    /// A number, or a text for a date, a name or yes and no.
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Comparison {
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">")]
    Above,
    #[serde(rename = "<")]
    Below,
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    Unequal,
}

impl Comparison {
    pub(super) const SIGNS: [&'static str; 6] = [">=", "<=", ">", "<", "=", "!="];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::AtLeast => "at least ",
            Self::AtMost => "at most ",
            Self::Above => "more than ",
            Self::Below => "less than ",
            Self::Equal => "",
            Self::Unequal => "not ",
        }
    }
}

impl Condition {
    /// The number that it compares with, if it does.
    #[must_use]
    pub(super) fn number(&self) -> Option<Decimal> {
        number(&self.value)
    }

    /// Whether a value that was read meets the condition; `None` if nothing was read.
    #[must_use]
    pub(super) fn holds(&self, read: &Value) -> Option<bool> {
        if read.is_null() {
            return None;
        }
        let order = match (number(read), self.number()) {
            (Some(read), Some(wanted)) => read.cmp(&wanted),
            _ => {
                let (read, wanted) = (plain(read), plain(&self.value));
                if matches!(self.is, Comparison::Equal | Comparison::Unequal) && stands_in(&read, &wanted) {
                    Ordering::Equal
                } else {
                    words(&read).join(" ").cmp(&words(&wanted).join(" "))
                }
            }
        };
        Some(self.is.holds(order))
    }

    /// Such as "warranty at least 24".
    #[must_use]
    pub(super) fn in_words(&self) -> String {
        format!("{} {}{}", self.column, self.is.in_words(), plain(&self.value))
    }
}

/// The number that a value is; a numeral in a text counts.
#[must_use]
pub(super) fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A value as it is shown.
#[must_use]
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        other => number(other).map_or_else(|| other.to_string(), |number| number.to_string()),
    }
}
