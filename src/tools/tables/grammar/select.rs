//! The statements: rows as they are, aggregates over all rows, and aggregates over groups.

use super::super::schema::Table;
use super::super::types::Kind;
use super::joins::Joins;
use super::predicates::{Inner, Literals, conditions, names, simple};
use super::scope::{Named, Scope, scopes};
use super::{Chars, Grammar, Node, Rules, all, maybe, repeat, text, words};

pub(super) fn grammar(tables: &[Table], joins: &Joins) -> Grammar {
    let mut rules = Rules::default();
    // The start comes first; its ways are known at the end.
    rules.add("start", Node::All(Vec::new()));
    let literals = Literals::new(&mut rules, tables);
    let scopes = scopes(tables, joins);
    let parts: Vec<Parts> =
        scopes.iter().enumerate().map(|(at, scope)| Parts::new(&mut rules, at, scope, &literals)).collect();
    let inner = inner(&mut rules, tables, &parts);
    let limit =
        all([Node::Chars(Chars::Digits('1', '9')), repeat(Node::Chars(Chars::Digits('0', '9')), 0, 2)]);
    let limit = rules.terminal("limit", limit);
    let mut ways = Vec::new();
    for (at, (scope, parts)) in scopes.iter().zip(&parts).enumerate() {
        let prefix = format!("s{at}");
        let own = (scope, &parts.simple);
        let amount = parts.amount.as_ref();
        let conditions = conditions(&mut rules, &prefix, own, (tables, joins, &inner), (amount, &literals));
        let statement =
            Statement { prefix, scope, parts, conditions, limit: limit.clone(), literals: &literals };
        ways.extend(statement.ways(&mut rules));
    }
    rules.rules[0].node = all([text("SELECT "), Node::One(ways)]);
    Grammar { rules: rules.rules }
}

/// Expressions of a scope that several rules use.
struct Parts {
    any: Node,
    /// A number of a row; `None` if there are no columns of numbers or dates.
    amount: Option<Node>,
    simple: Node,
}

impl Parts {
    fn new(rules: &mut Rules, at: usize, scope: &Scope<'_>, literals: &Literals) -> Self {
        let prefix = format!("s{at}");
        let columns: Vec<&Named<'_>> = scope.columns.iter().collect();
        let any = names(rules, &format!("{prefix}_column"), &columns).unwrap_or(text("NULL"));
        let amount = amount(rules, &prefix, scope, literals);
        let simple = simple(rules, &prefix, scope, literals, amount.as_ref());
        Self { any, amount, simple }
    }
}

/// A column of numbers, or two computed with each other. Without CAST, SQLite would divide integers without a rest.
fn amount(rules: &mut Rules, prefix: &str, scope: &Scope<'_>, literals: &Literals) -> Option<Node> {
    let numbers = scope.of(&[Kind::Integer, Kind::Decimal]);
    let number = names(rules, &format!("{prefix}_number"), &numbers)?;
    let other = Node::One(vec![number.clone(), literals.number.clone()]);
    let ways = vec![
        number.clone(),
        all([number.clone(), words(&[" + ", " - ", " * "]), other]),
        all([text("CAST("), number.clone(), text(" AS REAL) / "), number]),
    ];
    Some(rules.add(&format!("{prefix}_amount"), Node::One(ways)))
}

/// What conditions may ask of each table alone. The tables' own scopes come first.
fn inner(rules: &mut Rules, tables: &[Table], parts: &[Parts]) -> Inner {
    let filters: Vec<Node> = (0..tables.len())
        .map(|at| {
            let simple = parts[at].simple.clone();
            let filter = all([text(" WHERE "), simple.clone(), repeat(all([text(" AND "), simple]), 0, 2)]);
            rules.add(&format!("filter_{at}"), filter)
        })
        .collect();
    let selects: Vec<Node> = tables
        .iter()
        .enumerate()
        .filter_map(|(at, table)| {
            let amount = parts[at].amount.clone()?;
            let function = words(&["(SELECT MAX(", "(SELECT MIN(", "(SELECT AVG(", "(SELECT SUM("]);
            Some(all([
                function,
                amount,
                text(format!(") FROM {}", table.name)),
                maybe(filters[at].clone()),
                text(")"),
            ]))
        })
        .collect();
    let number = (!selects.is_empty()).then(|| rules.add("inner_number", Node::One(selects)));
    Inner { number, filters }
}

struct Statement<'s> {
    prefix: String,
    scope: &'s Scope<'s>,
    parts: &'s Parts,
    conditions: Node,
    limit: Node,
    literals: &'s Literals,
}

impl Statement<'_> {
    fn ways(&self, rules: &mut Rules) -> Vec<Node> {
        let from =
            rules.add(&format!("{}_from", self.prefix), all([text(" FROM "), self.scope.from.clone()]));
        let filter = all([text(" WHERE "), self.conditions.clone()]);
        let from = rules.add(&format!("{}_rows", self.prefix), all([from, maybe(filter)]));
        let limit = maybe(all([text(" LIMIT "), self.limit.clone()]));
        let measure = self.measure(rules);
        let aggregate = self.result(rules, &measure);
        let aggregates = |most| repeat(all([text(", "), aggregate.clone()]), 0, most);
        let key = self.key(rules);
        let having = all([text(" HAVING "), measure, self.compare_number()]);
        let direction = || maybe(words(&[" ASC", " DESC"]));
        let order = all([text(" ORDER BY "), Node::One(vec![aggregate.clone(), text("1")]), direction()]);
        let tail =
            rules.add(&format!("{}_tail", self.prefix), all([maybe(having), maybe(order), limit.clone()]));
        let grouped = |keys: Node, group: &str| {
            all([keys, text(", "), aggregate.clone(), aggregates(2), from.clone(), text(group), tail.clone()])
        };
        let two = all([key.clone(), text(", "), key.clone()]);
        vec![
            self.plain(rules, &from, limit),
            all([aggregate.clone(), aggregates(3), from.clone()]),
            grouped(key, " GROUP BY 1"),
            grouped(two, " GROUP BY 1, 2"),
        ]
    }

    fn plain(&self, rules: &mut Rules, from: &Node, limit: Node) -> Node {
        let any = || self.parts.any.clone();
        let value = match &self.parts.amount {
            Some(amount) => Node::One(vec![any(), amount.clone()]),
            None => any(),
        };
        let value = rules.add(&format!("{}_value", self.prefix), value);
        let listed =
            |node: &Node, most| all([node.clone(), repeat(all([text(", "), node.clone()]), 0, most)]);
        let lists = vec![text("*"), listed(&value, 6), all([text("DISTINCT "), listed(&any(), 2)])];
        let direction = maybe(words(&[" ASC", " DESC"]));
        let item = rules.add(&format!("{}_order", self.prefix), all([value, direction]));
        let order = maybe(all([text(" ORDER BY "), listed(&item, 1)]));
        all([Node::One(lists), from.clone(), order, limit])
    }

    fn compare_number(&self) -> Node {
        all([words(&[" = ", " <> ", " < ", " <= ", " > ", " >= "]), self.literals.number.clone()])
    }

    /// What groups are made of.
    fn key(&self, rules: &mut Rules) -> Node {
        let mut ways = vec![self.parts.any.clone()];
        let moments = self.scope.of(&[Kind::Date, Kind::DateTime]);
        if let Some(moment) = names(rules, &format!("{}_when", self.prefix), &moments) {
            let function = words(&["date(", "year(", "quarter(", "month(", "weekday(", "strftime('%Y-%m', "]);
            ways.push(all([function, moment, text(")")]));
        }
        rules.add(&format!("{}_key", self.prefix), Node::One(ways))
    }

    /// A number computed from all rows or from those of a group.
    fn measure(&self, rules: &mut Rules) -> Node {
        let any = || self.parts.any.clone();
        let otherwise = || text(" ELSE 0 END)");
        let mut ways = vec![
            text("COUNT(*)"),
            all([text("COUNT(DISTINCT "), any(), text(")")]),
            all([
                text("SUM("),
                text("CASE WHEN "),
                self.parts.simple.clone(),
                text(" THEN "),
                text("1"),
                otherwise(),
            ]),
        ];
        if let Some(amount) = &self.parts.amount {
            let function = words(&["SUM(", "AVG(", "MIN(", "MAX("]);
            ways.push(all([function, amount.clone(), text(")")]));
            ways.push(all([text("ROUND(AVG("), amount.clone(), text("), "), self.digit(), text(")")]));
            let when = all([text("SUM("), text("CASE WHEN "), self.parts.simple.clone(), text(" THEN ")]);
            ways.push(all([when, amount.clone(), otherwise()]));
        }
        let one = rules.add(&format!("{}_aggregate", self.prefix), Node::One(ways));
        let computed = vec![
            one.clone(),
            all([one.clone(), text(" - "), one.clone()]),
            all([words(&["1.0 * ", "100.0 * "]), one.clone(), text(" / "), one]),
        ];
        rules.add(&format!("{}_measure", self.prefix), Node::One(computed))
    }

    /// A measure, or the first or last of texts or dates, with which nothing is computed.
    fn result(&self, rules: &mut Rules, measure: &Node) -> Node {
        let sortable = self.scope.of(&[Kind::Date, Kind::DateTime, Kind::Text]);
        let Some(sortable) = names(rules, &format!("{}_sortable", self.prefix), &sortable) else {
            return measure.clone();
        };
        let end = all([words(&["MIN(", "MAX("]), sortable, text(")")]);
        rules.add(&format!("{}_result", self.prefix), Node::One(vec![measure.clone(), end]))
    }

    fn digit(&self) -> Node {
        Node::Chars(Chars::Digits('0', '4'))
    }
}
