//! The columns of a table that a goal asks for.

use super::enumeration::{Frame, enumerated, is_list_of_parts, sentences, without_grouping};
use super::words::words;

const COLUMNS: Frame = Frame {
    lead_ins: &[
        "with",
        "columns",
        "column",
        "fields",
        "be",
        "are",
        "me",
        "see",
        "have",
        "having",
        "of",
        "for",
        "table",
        "list",
        "show",
        "showing",
        "containing",
        "contains",
        "including",
        "give",
        "need",
        "want",
        "by",
        "under",
        "pls",
        "please",
    ],
    trailers: &["-", "–", "each", "should", "as"],
    leads_after_colon: true,
};

/// The columns of a table that a goal asks for, as in "a table with name, town and age, one row for each".
pub(crate) fn named_columns(goal: &str) -> Vec<String> {
    if !speaks_of_table(goal) {
        return Vec::new();
    }
    let goal = &with_commas(&without_grouping(goal));
    let found = sentences(goal).map(|sentence| {
        let sentence = sentence.trim_end_matches('.');
        let behind = ["columns: ", "Columns: ", "column: ", "columns ", "column "]
            .iter()
            .find_map(|noun| sentence.split_once(noun))
            .map(|(_, rest)| rest);
        let named = behind.map(|rest| enumerated(rest, &COLUMNS)).filter(|named| named.len() >= 2);
        (speaks_of_table(sentence), named.unwrap_or_else(|| enumerated(sentence, &COLUMNS)))
    });
    // A condition is no column.
    let is_column = |item: &String| {
        const VERBS: &[&str] =
            &["is", "are", "has", "sort", "sorted", "order", "ordered", "give", "thanks", "under", "over"];
        !item.contains(|c: char| c.is_ascii_digit())
            && !words(item).iter().any(|word| VERBS.contains(&word.as_str()))
    };
    let found = found.filter(|(_, named)| is_list_of_parts(named) && named.iter().all(is_column));
    let best = found.max_by_key(|(here, named)| (*here, named.len()));
    best.map(|(_, named)| named).unwrap_or_default()
}

/// The goal with commas between columns that are named as in "columns: name | price" or "columns name; price".
fn with_commas(goal: &str) -> String {
    let goal = &goal.replace("should read ", "should be ");
    let Some(at) = goal.find("column").or_else(|| goal.find("Column")) else { return goal.clone() };
    let (before, behind) = goal.split_at(at);
    let end =
        [". ", "\n", "? ", "! "].iter().filter_map(|end| behind.find(end)).min().unwrap_or(behind.len());
    let (named, after) = behind.split_at(end);
    let named = named.replace(" | ", ", ").replace("; ", ", ").replace(" / ", ", ");
    format!("{before}{named}{after}")
}

/// Whether a goal asks for a table: "in a table", "one row each", but not "the oak table".
pub(crate) fn speaks_of_table(goal: &str) -> bool {
    const TABLE: &[&str] = &["table", "spreadsheet", "matrix", "grid", "overview"];
    const ONE: &[&str] = &["a", "an", "one", "as", "into", "in", "markdown", "of"];
    let said = words(goal);
    let is = |at: usize, list: &[&str]| said.get(at).is_some_and(|word| list.contains(&word.as_str()));
    let has = |list: &[&str]| (0..said.len()).any(|at| is(at, list));
    let wanted = |at: usize| {
        let before = at.checked_sub(1).is_some_and(|before| is(before, ONE));
        is(at, TABLE) && (before || at == 0 || is(at + 1, &["pls", "please", "with", "of"]))
    };
    has(&["columns", "column", "tabular", "tabulate"])
        || (0..said.len()).any(wanted)
        || said.windows(2).any(|pair| pair[0] == "one" && pair[1] == "row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_from_a_goal_that_asks_for_a_table() {
        for (goal, expected) in [
            (
                "I need an overview: a table with name, town and years of experience, one row each.",
                "name|town|years of experience",
            ),
            (
                "summarise them in a table. The columns should be host, version and free disk space.",
                "host|version|free disk space",
            ),
            (
                "a table of the minutes with three columns: meeting date, chair and number of people present.",
                "meeting date|chair|number of people present",
            ),
            (
                "something I can paste in a spreadsheet: invoice number, supplier and amount, one row for each.",
                "invoice number|supplier|amount",
            ),
            (
                "put these sheets into one table, columns product, price and warranty in months",
                "product|price|warranty in months",
            ),
            (
                "Summarise the ads in a Markdown table with car, colour and price as columns.",
                "car|colour|price",
            ),
            (
                "Fill a table (house, year built, rooms and city) with one row for every house.",
                "house|year built|rooms|city",
            ),
            (
                "For each supplier give me supplier, contact, delivery time, warranty - as a table.",
                "supplier|contact|delivery time|warranty",
            ),
            (
                "Turn these descriptions into one table. What I want to see: boat, berths, weekly rent.",
                "boat|berths|weekly rent",
            ),
            ("table pls. columns: Name | Price | Opens. one row a file", "Name|Price|Opens"),
            (
                "Make a table with the columns Name; Height; Range, one row per lighthouse. Many thanks.",
                "Name|Height|Range",
            ),
            (
                "table pls. columns: Name, State, Fitter and Last service. one row a file",
                "Name|State|Fitter|Last service",
            ),
            (
                "Fill in a table for me. The head should read Name, Last service, Hours.",
                "Name|Last service|Hours",
            ),
            ("A table please, one row for each. Columns: Name | Price | Opens.", "Name|Price|Opens"),
            ("Make a table of the offers.", ""),
            ("Make a table of all suppliers whose price is under 500, sort it by price, rating and name", ""),
            ("Please put everything in a table. Thanks, Anna and Bob", ""),
            ("Which of the houses in the table is the cheapest, has a garden, and is near a school?", ""),
            ("Which of the three is the cheapest, and what does it cost?", ""),
        ] {
            assert_eq!(named_columns(goal).join("|"), expected, "{goal}");
        }
    }
}
