//! Conditions: a column compared with literals of its type, with another column, or with what another SELECT finds.

use std::collections::HashMap;

use super::super::schema::{Column, Table};
use super::super::types::Kind;
use super::joins::Joins;
use super::scope::{Named, Scope};
use super::{Chars, Node, Rules, all, maybe, repeat, text, words};

const VALUE_CHARS_MAX: usize = 60;

/// Literals that all conditions share.
pub(super) struct Literals {
    pub(super) number: Node,
    pub(super) whole: Node,
    date: Node,
    datetime: Node,
    month: Node,
    year: Node,
    text: Node,
    pattern: Node,
    compare: Node,
    /// The values of text columns that have few, by table and column.
    values: HashMap<(usize, usize), Node>,
}

fn digits(least: u32, most: u32) -> Node {
    repeat(Node::Chars(Chars::Digits('0', '9')), least, most)
}

fn digit(first: char, last: char) -> Node {
    Node::Chars(Chars::Digits(first, last))
}

fn quoted(inner: Node) -> Node {
    all([text("'"), inner, text("'")])
}

/// Days that every year has, and 29 February of leap years.
fn day() -> Node {
    let first_to_28 = || {
        Node::One(vec![
            all([text("0"), digit('1', '9')]),
            all([text("1"), digit('0', '9')]),
            all([text("2"), digit('0', '8')]),
        ])
    };
    let century = || all([words(&["19", "20"])]);
    let year = all([century(), digits(2, 2)]);
    let leap_end = Node::One(vec![
        all([text("0"), words(&["4", "8"])]),
        all([words(&["2", "4", "6", "8"]), words(&["0", "4", "8"])]),
        all([words(&["1", "3", "5", "7", "9"]), words(&["2", "6"])]),
    ]);
    let month_with_30 = words(&["01", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"]);
    let month_with_31 = words(&["01", "03", "05", "07", "08", "10", "12"]);
    Node::One(vec![
        all([year.clone(), text("-"), month(), text("-"), first_to_28()]),
        all([year.clone(), text("-"), month_with_30, text("-"), words(&["29", "30"])]),
        all([year, text("-"), month_with_31, text("-31")]),
        all([century(), leap_end, text("-02-29")]),
    ])
}

fn month() -> Node {
    Node::One(vec![all([text("0"), digit('1', '9')]), words(&["10", "11", "12"])])
}

impl Literals {
    pub(super) fn new(rules: &mut Rules, tables: &[Table]) -> Self {
        let year = || all([words(&["19", "20"]), digits(2, 2)]);
        let hour =
            Node::One(vec![all([digit('0', '1'), digit('0', '9')]), all([text("2"), digit('0', '3')])]);
        let sixty = || all([digit('0', '5'), digit('0', '9')]);
        let clock = all([text(" "), hour, text(":"), sixty(), text(":"), sixty()]);
        let number = all([maybe(text("-")), digits(1, 12), maybe(all([text("."), digits(1, 6)]))]);
        let quote = || text("''");
        let chars = |chars| repeat(Node::One(vec![Node::Chars(chars), quote()]), 1, 60);
        let mut values = HashMap::new();
        for (number, table) in tables.iter().enumerate() {
            for (at, column) in table.columns.iter().enumerate().filter(|(_, column)| is_closed(column)) {
                let literal = |value: &String| text(format!("'{}'", value.replace('\'', "''")));
                let node = Node::One(column.values.iter().map(literal).collect());
                values.insert((number, at), rules.terminal(&format!("value_{number}_{at}"), node));
            }
        }
        Self {
            number: rules.terminal("number", number),
            whole: rules.terminal("whole", digits(1, 6)),
            date: rules.terminal("date", quoted(day())),
            datetime: rules.terminal("datetime", quoted(all([day(), clock]))),
            month: rules.terminal("month", quoted(all([year(), text("-"), month()]))),
            year: rules.terminal("year", year()),
            text: rules.terminal("text", quoted(chars(Chars::Literal))),
            pattern: rules.terminal("pattern", quoted(all([text("%"), chars(Chars::Pattern), text("%")]))),
            compare: rules.add("compare", words(&[" = ", " <> ", " < ", " <= ", " > ", " >= "])),
            values,
        }
    }

    /// A literal of a text column.
    fn of_text(&self, named: &Named<'_>) -> Node {
        self.values.get(&named.at).unwrap_or(&self.text).clone()
    }
}

/// Whether all values of a text column are known and can be written as literals.
fn is_closed(column: &Column) -> bool {
    let fits =
        |value: &String| value.chars().count() <= VALUE_CHARS_MAX && !value.chars().any(char::is_control);
    column.kind == Kind::Text
        && !column.has_more_values
        && !column.values.is_empty()
        && column.values.iter().all(fits)
}

/// The names of columns as a rule; `None` if there are none.
pub(super) fn names(rules: &mut Rules, name: &str, columns: &[&Named<'_>]) -> Option<Node> {
    let nodes: Vec<Node> = columns.iter().map(|named| text(named.name.as_str())).collect();
    (!nodes.is_empty()).then(|| rules.add(name, Node::One(nodes)))
}

/// Conditions over a scope's own columns.
pub(super) fn simple(
    rules: &mut Rules,
    prefix: &str,
    scope: &Scope<'_>,
    literals: &Literals,
    amount: Option<&Node>,
) -> Node {
    let mut ways = Vec::new();
    if let Some(amount) = amount {
        numbers(&mut ways, amount, literals);
    }
    for named in scope.of(&[Kind::Text]) {
        ways.push(texts(named, literals));
    }
    if let Some(flag) = names(rules, &format!("{prefix}_flag"), &scope.of(&[Kind::Boolean])) {
        ways.push(all([flag, words(&[" = TRUE", " = FALSE"])]));
    }
    if let Some(day) = names(rules, &format!("{prefix}_day"), &scope.of(&[Kind::Date])) {
        days(&mut ways, &day, &day, literals);
    }
    if let Some(moment) = names(rules, &format!("{prefix}_moment"), &scope.of(&[Kind::DateTime])) {
        days(&mut ways, &all([text("date("), moment.clone(), text(")")]), &moment, literals);
        ways.push(all([moment.clone(), literals.compare.clone(), literals.datetime.clone()]));
        ways.push(all([text("hour("), moment, text(")"), literals.compare.clone(), literals.whole.clone()]));
    }
    let columns: Vec<&Named<'_>> = scope.columns.iter().collect();
    if let Some(any) = names(rules, &format!("{prefix}_any"), &columns) {
        ways.push(all([any, words(&[" IS NULL", " IS NOT NULL"])]));
    }
    rules.add(&format!("{prefix}_simple"), Node::One(ways))
}

fn numbers(ways: &mut Vec<Node>, amount: &Node, literals: &Literals) {
    let number = || literals.number.clone();
    let compared = Node::One(vec![number(), amount.clone()]);
    ways.push(all([amount.clone(), literals.compare.clone(), compared]));
    ways.push(all([amount.clone(), text(" BETWEEN "), number(), text(" AND "), number()]));
}

fn texts(named: &Named<'_>, literals: &Literals) -> Node {
    let literal = || literals.of_text(named);
    let list = all([literal(), repeat(all([text(", "), literal()]), 0, 5), text(")")]);
    let tails = vec![
        all([words(&[" = ", " <> "]), literal()]),
        all([words(&[" IN (", " NOT IN ("]), list]),
        all([words(&[" LIKE ", " NOT LIKE "]), literals.pattern.clone()]),
    ];
    all([text(named.name.as_str()), Node::One(tails)])
}

/// Conditions on days. `moment` is the column itself, `day` its day.
fn days(ways: &mut Vec<Node>, day: &Node, moment: &Node, literals: &Literals) {
    let date = || literals.date.clone();
    let of = |function: &str| all([text(format!("{function}(")), moment.clone(), text(")")]);
    let compare = || literals.compare.clone();
    ways.push(all([day.clone(), compare(), Node::One(vec![date(), day.clone()])]));
    ways.push(all([day.clone(), text(" BETWEEN "), date(), text(" AND "), date()]));
    ways.push(all([of("year"), compare(), literals.year.clone()]));
    ways.push(all([
        of("month"),
        compare(),
        words(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]),
    ]));
    ways.push(all([of("quarter"), compare(), words(&["1", "2", "3", "4"])]));
    let weekdays =
        ["'Monday'", "'Tuesday'", "'Wednesday'", "'Thursday'", "'Friday'", "'Saturday'", "'Sunday'"];
    ways.push(all([of("weekday"), words(&[" = ", " <> "]), words(&weekdays)]));
    let month = all([text("strftime('%Y-%m', "), moment.clone(), text(")")]);
    ways.push(all([month, compare(), literals.month.clone()]));
    let other = Node::One(vec![date(), moment.clone()]);
    let between = all([text("days_between("), moment.clone(), text(", "), other, text(")")]);
    ways.push(all([between, compare(), literals.whole.clone()]));
}

/// Conditions that look into another table, or into the same one as a whole.
pub(super) struct Inner {
    /// `(SELECT MAX(amount) FROM orders WHERE …)`
    pub(super) number: Option<Node>,
    /// `WHERE …` of each table.
    pub(super) filters: Vec<Node>,
}

pub(super) fn conditions(
    rules: &mut Rules,
    prefix: &str,
    (scope, simple): (&Scope<'_>, &Node),
    (tables, joins, inner): (&[Table], &Joins, &Inner),
    (amount, compare): (Option<&Node>, &Literals),
) -> Node {
    let mut ways = vec![simple.clone()];
    if let (Some(amount), Some(number)) = (amount, &inner.number) {
        ways.push(all([amount.clone(), compare.compare.clone(), number.clone()]));
    }
    for join in &joins.all {
        let ends = [
            (join.left, &join.left_column, join.right, &join.right_column),
            (join.right, &join.right_column, join.left, &join.left_column),
        ];
        for (own, own_column, other, other_column) in ends {
            if !scope.tables.contains(&own) {
                continue;
            }
            let own_column = if scope.tables.len() == 1 { bare(own_column) } else { own_column };
            let (other, column) = (other, bare(other_column));
            let select = format!("SELECT {column} FROM {}", tables[other].name);
            let filter = maybe(inner.filters[other].clone());
            let known = format!("{select} WHERE {column} IS NOT NULL)");
            let is_in = all([text(" IN ("), text(select), filter, text(")")]);
            let is_not_in = all([text(" NOT IN ("), text(known)]);
            ways.push(all([text(own_column), Node::One(vec![is_in, is_not_in])]));
        }
    }
    let one = rules.add(&format!("{prefix}_condition"), Node::One(ways));
    let either = all([text("("), one.clone(), repeat(all([text(" OR "), one.clone()]), 1, 3), text(")")]);
    let term = rules.add(&format!("{prefix}_term"), Node::One(vec![one, either]));
    rules.add(&format!("{prefix}_conditions"), all([term.clone(), repeat(all([text(" AND "), term]), 0, 4)]))
}

fn bare(column: &str) -> &str {
    column.split_once('.').map_or(column, |(_, column)| column)
}
