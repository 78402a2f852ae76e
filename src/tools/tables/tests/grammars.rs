//! Statements drawn from the grammar: all of them are valid, and llguidance's reading of it agrees.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory};
use toktrie::{ApproximateTokEnv, InferenceCapabilities};

use super::super::grammar::{Chars, Grammar, Node};
use super::super::{TableError, Tables};
use super::{LIMITS, all_tables, tables};

/// Statements drawn from each set of tables. `BANDMASTER_TABLE_DRAWS` sets another number.
const DRAWS: usize = 25_000;

/// A generator of random numbers with a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

fn draw(grammar: &Grammar, node: &Node, random: &mut Random, text: &mut String) {
    match node {
        Node::Text(own) => text.push_str(own),
        Node::Rule(number) => draw(grammar, &grammar.rules[*number].node, random, text),
        Node::All(nodes) => nodes.iter().for_each(|node| draw(grammar, node, random, text)),
        Node::One(nodes) => draw(grammar, &nodes[random.below(nodes.len())], random, text),
        Node::Repeat { node, least, most } => {
            let times = *least as usize + random.below((most - least) as usize + 1);
            (0..times).for_each(|_| draw(grammar, node, random, text));
        }
        Node::Chars(Chars::Digits(first, last)) => {
            let digits: Vec<char> = (*first..=*last).collect();
            text.push(digits[random.below(digits.len())]);
        }
        Node::Chars(chars) => {
            let allowed: Vec<char> = match chars {
                Chars::Pattern => "aZ é漢\"\\;-/*(".chars().collect(),
                _ => "aZ é漢\"\\;-/*(%_".chars().collect(),
            };
            text.push(allowed[random.below(allowed.len())]);
        }
    }
}

fn drawn(grammar: &Grammar, random: &mut Random) -> String {
    let mut text = String::new();
    draw(grammar, &grammar.rules[0].node, random, &mut text);
    text
}

/// Tables of random shape with random names, kinds and values.
fn random_tables(random: &mut Random) -> Tables {
    const NAMES: &[&str] = &[
        "order",
        "Größe (cm)",
        "customer id",
        "id",
        "from",
        "a-b",
        "1st",
        "day",
        "count",
        "sum",
        "x'y",
        "date",
        "table",
        "plan",
        "key",
        "no",
        "first",
        "last",
        "row",
        "view",
        "action",
        "query",
        "before",
        "after",
        "each",
        "fail",
    ];
    let mut tables = Tables::new(LIMITS).unwrap();
    for table in 0..1 + random.below(4) {
        let kinds: Vec<usize> = (0..1 + random.below(7)).map(|_| random.below(7)).collect();
        let mut text =
            kinds.iter().map(|_| NAMES[random.below(NAMES.len())]).collect::<Vec<_>>().join("\t") + "\n";
        for _ in 0..1 + random.below(40) {
            let cell = |kind: &usize, random: &mut Random| match kind {
                0 => random.below(50).to_string(),
                1 => format!("{}.{:02}", random.below(500), random.below(100)),
                2 => format!("2025-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28)),
                3 => format!("2025-01-{:02} {:02}:30:00", 1 + random.below(28), random.below(24)),
                4 => ["yes", "no"][random.below(2)].to_owned(),
                5 => ["it's", "é|\"x", "paid", "50%", "/a\\b"][random.below(5)].to_owned(),
                _ => format!("C{}", random.below(200)),
            };
            let cells: Vec<String> = kinds.iter().map(|kind| cell(kind, random)).collect();
            text.push_str(&(cells.join("\t") + "\n"));
        }
        let text = text.replace("é|\"x", "é|x");
        tables.add(&format!("{} {table}.tsv", NAMES[random.below(NAMES.len())]), &text).unwrap();
    }
    tables
}

fn draws() -> usize {
    std::env::var("BANDMASTER_TABLE_DRAWS").ok().and_then(|draws| draws.parse().ok()).unwrap_or(DRAWS)
}

fn check_drawn(tables: &Tables, random: &mut Random, draws: usize) {
    let grammar = tables.grammar().unwrap();
    for _ in 0..draws {
        let sql = drawn(&grammar, random);
        if let Err(error) = tables.check(&sql) {
            panic!("{sql}\n{error}\n{}", tables.describe());
        }
    }
}

#[test]
fn every_drawn_statement_is_valid() {
    let mut random = Random(7);
    check_drawn(&all_tables(), &mut random, draws());
    for _ in 0..30 {
        let tables = random_tables(&mut random);
        check_drawn(&tables, &mut random, draws() / 10);
    }
}

#[test]
fn drawn_statements_run_and_following_their_sources_changes_nothing() {
    let mut random = Random(11);
    let tables = all_tables();
    let grammar = tables.grammar().unwrap();
    let (mut followed, mut with_rows) = (0, 0);
    for _ in 0..1500 {
        let sql = drawn(&grammar, &mut random);
        let plain = match tables.run(&sql, false) {
            Ok(plain) => plain,
            Err(TableError::TooManySteps { .. } | TableError::TooWide { .. }) => continue,
            Err(TableError::Failed { problem }) if problem.contains("digits") => continue,
            Err(error) => panic!("{sql}\n{error}"),
        };
        let answer = tables.run(&sql, true).unwrap_or_else(|error| panic!("{sql}\n{error}"));
        let values = |answer: &super::super::Answer| {
            answer.rows.iter().map(|row| row.values.clone()).collect::<Vec<_>>()
        };
        let is_ordered = sql.contains(" ORDER BY ") || !sql.contains(" LIMIT ");
        if is_ordered && !sql.contains(" LIMIT ") {
            let sorted = |answer| {
                let mut lines: Vec<String> = values(answer).iter().map(|row| format!("{row:?}")).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&answer), sorted(&plain), "{sql}");
        }
        assert_eq!(answer.rows.len(), plain.rows.len(), "{sql}");
        followed += usize::from(answer.has_sources);
        with_rows += usize::from(answer.rows.iter().any(|row| !row.sources.is_empty()));
        assert!(answer.has_sources || sql.contains("DISTINCT "), "{sql}");
    }
    assert!(followed > 1000 && with_rows > 300, "{followed} {with_rows}");
}

/// Tells how many bytes of a statement the grammar accepts, and whether the statement may end there.
fn matcher(tables: &Tables) -> impl Fn(&str) -> (usize, bool) + use<> {
    let environment = ApproximateTokEnv::single_byte_env();
    let slices = SlicedBiasComputer::json_slices();
    let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices).unwrap();
    factory.quiet();
    let factory = Arc::new(factory);
    let lark = tables.grammar().unwrap().lark();
    let parser = factory
        .create_parser(TopLevelGrammar::from_lark(lark.clone()))
        .unwrap_or_else(|e| panic!("{lark}\n{e}"));
    let matcher = Matcher::new(Ok(parser));
    move |sql| {
        let mut matcher = matcher.deep_clone();
        let tokens = environment.tok_trie().greedy_tokenize(sql.as_bytes());
        let taken = matcher.try_consume_tokens(&tokens).unwrap();
        (taken, taken == sql.len() && matcher.is_accepting().unwrap())
    }
}

#[test]
fn llguidance_accepts_what_is_drawn() {
    let mut random = Random(13);
    let all = [
        all_tables(),
        random_tables(&mut random),
        random_tables(&mut random),
        tables(&[("a.csv", "n\n1\n2\n")]),
    ];
    for tables in all {
        let grammar = tables.grammar().unwrap();
        let accepts = matcher(&tables);
        for _ in 0..400 {
            let sql = drawn(&grammar, &mut random);
            let (taken, is_whole) = accepts(&sql);
            assert!(is_whole, "{} HERE {}", &sql[..taken], &sql[taken..]);
        }
    }
}

#[test]
fn the_grammar_holds_what_people_ask_and_nothing_else() {
    let accepts = matcher(&all_tables());
    for sql in [
        "SELECT SUM(amount) FROM orders WHERE status = 'paid'",
        "SELECT customer_id, SUM(amount) FROM orders GROUP BY 1 ORDER BY SUM(amount) DESC LIMIT 1",
        "SELECT customers.name, SUM(orders.amount) FROM orders JOIN customers ON orders.customer_id = customers.customer_id \
         WHERE orders.status <> 'open' AND year(orders.order_date) = 2025 GROUP BY 1 HAVING SUM(orders.amount) > 10.5",
        "SELECT strftime('%Y-%m', order_date), COUNT(*) FROM orders GROUP BY 1 ORDER BY 1",
        "SELECT COUNT(*) FROM orders WHERE order_date > '2025-07-15' AND order_date <= '2024-02-29'",
        "SELECT order_id FROM orders WHERE amount = (SELECT MAX(amount) FROM orders WHERE status = 'paid')",
        "SELECT name FROM customers WHERE customer_id NOT IN (SELECT customer_id FROM orders WHERE customer_id IS NOT NULL)",
        "SELECT source, COUNT(*) FROM service WHERE level = 'ERROR' AND date(time) = '2025-03-05' GROUP BY 1",
        "SELECT hosts.team_lead FROM service JOIN hosts ON service.source = hosts.host WHERE service.message LIKE '%req-2%'",
        "SELECT 100.0 * SUM(CASE WHEN active = TRUE THEN 1 ELSE 0 END) / COUNT(*) FROM customers",
    ] {
        assert!(accepts(sql).1, "{sql}");
    }
    for sql in [
        "SELECT amont FROM orders",
        "SELECT name FROM orders",
        "SELECT SUM(status) FROM orders",
        "SELECT COUNT(*) FROM orders WHERE status = 'payed'",
        "SELECT COUNT(*) FROM orders WHERE order_date > '2025-02-30'",
        "SELECT COUNT(*) FROM orders WHERE order_date > 5",
        "SELECT * FROM orders JOIN hosts ON orders.order_id = hosts.host",
        "SELECT * FROM orders; DROP TABLE orders",
        "DELETE FROM orders",
        "SELECT * FROM sqlite_master",
        "SELECT load_extension('x')",
        "SELECT ",
        "",
    ] {
        assert!(!accepts(sql).1, "{sql}");
    }
}
