//! The parts that a goal names, such as the headings of a text to write.

use super::facts::{unquoted, words};

/// Nouns for the parts of a longer text.
pub(crate) const PART_NOUNS: &[&str] = &[
    "section",
    "sections",
    "part",
    "parts",
    "chapter",
    "chapters",
    "heading",
    "headings",
    "paragraph",
    "paragraphs",
    "aspect",
    "aspects",
    "viewpoint",
    "viewpoints",
    "perspective",
    "perspectives",
    "angle",
    "angles",
    "view",
    "terms",
];
/// The words around an enumeration that belong to none of its items.
struct Frame {
    /// Words that may stand before the first item.
    lead_ins: &'static [&'static str],
    /// Words that may follow the last item.
    trailers: &'static [&'static str],
    /// Whether the first item may have such words before it even behind a colon.
    leads_after_colon: bool,
}

const SECTIONS: Frame = Frame {
    lead_ins: &[
        "on",
        "of",
        "about",
        "for",
        "covering",
        "covers",
        "called",
        "named",
        "titled",
        "entitled",
        "under",
        "headings",
        "headed",
        "sections",
        "chapters",
        "parts",
        "terms",
        "from",
        "including",
        "in",
        "to",
    ],
    trailers: &["-", "–", "with", "each", "should", "under", "as", "in"],
    leads_after_colon: false,
};
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
/// What a line of a list begins with.
const BULLETS: &[char] = &['-', '*', '•', '–', '·'];
/// First words of a piece that says how the parts are to be written, and names no part.
const CONSTRAINTS: &[&str] = &[
    "all",
    "approximately",
    "at",
    "avoid",
    "both",
    "but",
    "each",
    "every",
    "exactly",
    "in",
    "include",
    "keep",
    "limit",
    "max",
    "maximum",
    "mention",
    "min",
    "minimum",
    "must",
    "never",
    "no",
    "none",
    "not",
    "per",
    "please",
    "roughly",
    "so",
    "up",
    "use",
    "using",
    "with",
    "without",
    "write",
    "written",
];
/// Words that count what a text is made of.
const UNITS: &[&str] =
    &["word", "words", "sentence", "sentences", "line", "lines", "character", "characters"];

/// Whether a goal mentions sections, parts or viewpoints.
pub(super) fn speaks_of_parts(goal: &str) -> bool {
    has_part_noun(&unquoted(goal))
}

fn has_part_noun(text: &str) -> bool {
    words(text).iter().any(|word| PART_NOUNS.contains(&word.as_str()))
}

/// The parts that a goal names: the lines of a list, or its longest enumeration of short items, without the words that
/// introduce it. One beside a word such as "headings" is preferred.
#[must_use]
pub(super) fn named_aspects(goal: &str) -> Vec<String> {
    let goal = goal.trim().trim_end_matches('.').trim_end_matches("please").trim_end_matches(", ");
    let goal = &without_grouping(goal);
    let sentences = sentences(goal).filter(|sentence| !is_denial(sentence));
    let found = sentences.map(|sentence| (has_part_noun(sentence), aspects_of_sentence(sentence)));
    let found = found
        .filter(|(_, aspects)| aspects.len() >= 2)
        .max_by_key(|(beside, aspects)| (*beside, aspects.len()));
    match found {
        // What is named beside "headings" is meant, whatever lists the goal has besides.
        Some((true, aspects)) => aspects,
        other => {
            let listed = [aspects_of_lines(goal), aspects_of_rows(goal), aspects_headed(goal)];
            let listed = listed.into_iter().find(|listed| is_list_of_parts(listed));
            listed.or(other.map(|(_, aspects)| aspects)).unwrap_or_default()
        }
    }
}

/// Whether a line says that parts of a text follow. "Spare parts" are none.
fn leads_to_parts(line: &str) -> bool {
    const PARTS: &[&str] = &["heading", "headings", "section", "sections", "chapter", "chapters"];
    let named = words(line).iter().any(|word| PARTS.contains(&word.as_str()));
    named || (line.ends_with(':') && has_part_noun(line))
}

/// Whether these may be the parts of a text: not too many, and each only once.
fn is_list_of_parts(named: &[String]) -> bool {
    const PARTS_MAX: usize = 12;
    let mut seen = std::collections::HashSet::new();
    (2..=PARTS_MAX).contains(&named.len()) && named.iter().all(|item| seen.insert(words(item)))
}

/// The sentences and lines of a goal. A question mark within quotation marks ends none.
fn sentences(goal: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| matches!(c, '\n' | '!' | ';');
    goal.split(ends).flat_map(|line| line.split(". ")).flat_map(|line| line.split("? "))
}

/// The text without the commas of numbers: "1,000 words" is no enumeration.
fn without_grouping(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let kept = chars
        .iter()
        .enumerate()
        .filter(|(at, c)| **c != ',' || !(is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))));
    kept.map(|(_, c)| *c).collect()
}

/// The beginnings of lines such as "- Parking: mention the barrier" and "2) Breakfast (max 40 words)". Another text
/// between them ends the list.
fn aspects_of_lines(goal: &str) -> Vec<String> {
    let lines: Vec<&str> = goal.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.iter().position(|line| list_item(line).is_some()) else { return Vec::new() };
    if !lines[first.saturating_sub(1)..first].iter().any(|line| leads_to_parts(line)) {
        return Vec::new();
    }
    let items = lines[first..].iter().map(|line| list_item(line));
    let named = items.map_while(|item| item).map(|item| {
        let end =
            item.find([':', '(', ',', ';', '=']).into_iter().chain(item.find(" - ")).chain(item.find(" – "));
        let title = &item[..end.min().unwrap_or(item.len())];
        title.trim().trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
    });
    let named: Vec<String> = named.collect();
    if named.iter().all(|item| is_short(item)) { named } else { Vec::new() }
}

/// The first cells of a table, and the beginnings of lines such as "Budget: grant, fence" that follow one another.
fn aspects_of_rows(goal: &str) -> Vec<String> {
    let cell = |line: &str| {
        let row = line.strip_prefix('|').map(|row| row.split('|').next().unwrap_or_default());
        row.or_else(|| line.split_once(": ").map(|(title, _)| title)).map(|title| title.trim().to_owned())
    };
    // The line under the head of a table has no letters.
    let is_rule = |line: &str| line.contains('|') && !line.contains(char::is_alphanumeric);
    let is_table = goal.lines().any(is_rule);
    let lines: Vec<&str> =
        goal.lines().map(str::trim).filter(|line| !line.is_empty() && !is_rule(line)).collect();
    let is_cell = |line: &&str| cell(line).is_some_and(|title| is_short(&title));
    let mut longest = 0..0;
    let mut from = 0;
    for at in 0..=lines.len() {
        if !lines.get(at).is_some_and(is_cell) {
            longest = if at - from > longest.len() { from..at } else { longest };
            from = at + 1;
        }
    }
    // The lines belong to what stands before them, or to the head of the table.
    let intro = &lines[longest.start.saturating_sub(1)..(longest.start + 1).min(lines.len())];
    if !intro.iter().any(|line| leads_to_parts(line)) {
        return Vec::new();
    }
    let named: Vec<String> = lines[longest].iter().filter_map(|line| cell(line)).collect();
    if is_table { named.into_iter().skip(1).collect() } else { named }
}

/// The titles in "the one headed 'Risks' ...; the one headed 'Budget' ...".
fn aspects_headed(goal: &str) -> Vec<String> {
    const MARKS: &[char] = &['"', '“', '”', '\'', '‘', '’'];
    let behind = ["one headed ", "section headed ", "part headed "];
    let named = behind
        .iter()
        .map(|lead| goal.split(lead).skip(1).collect::<Vec<_>>())
        .find(|found| !found.is_empty());
    let named = named.unwrap_or_default().into_iter().map(|rest| match rest.strip_prefix(MARKS) {
        Some(quoted) => quoted.split(MARKS).next().unwrap_or_default().to_owned(),
        None => {
            let title = rest.split_whitespace().take_while(|word| word.starts_with(char::is_uppercase));
            title.collect::<Vec<_>>().join(" ")
        }
    });
    let named: Vec<String> =
        named.map(|title| title.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()).collect();
    if named.iter().all(|item| is_short(item)) { named } else { Vec::new() }
}

/// Whether a sentence says which words must not occur.
fn is_denial(sentence: &str) -> bool {
    let said = words(sentence);
    let has = |list: &[&str]| said.iter().any(|word| list.contains(&word.as_str()));
    let denies = has(&["avoid", "not", "never", "don't", "without"]);
    let names_parts = said.iter().any(|word| PART_NOUNS.contains(&word.as_str()) && word != "terms");
    denies && has(&["word", "words", "term", "terms", "phrase", "phrases"]) && !names_parts
}

/// A line of a list without its bullet or number; `None` if it has neither.
pub(crate) fn list_item(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = match numbered.len() < line.len() {
        true => numbered.strip_prefix(['.', ')', ':'])?,
        false => line.strip_prefix(BULLETS)?,
    };
    rest.starts_with(' ').then(|| rest.trim())
}

fn is_short(item: &str) -> bool {
    (1..=5).contains(&words(item).len())
}

/// Whether a piece of an enumeration says how the parts are to be written. One with a capital letter names a part.
fn is_constraint(piece: &str) -> bool {
    let said = words(piece);
    let counts = said.iter().any(|word| UNITS.contains(&word.as_str()));
    let begins = said.first().is_some_and(|word| CONSTRAINTS.contains(&word.as_str()));
    let is_named =
        piece.trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '“' | '\'' | '‘'));
    let is_of_rows = matches!(&said[..], [one, row, ..] if one == "one" && row.starts_with("row"))
        || said.last().is_some_and(|word| word == "row");
    counts || is_of_rows || (begins && !is_named)
}

fn aspects_of_sentence(sentence: &str) -> Vec<String> {
    enumerated(sentence, &SECTIONS)
}

/// The columns of a table that a goal asks for, as in "a table with name, town and age, one row for each".
pub(crate) fn named_columns(goal: &str) -> Vec<String> {
    if !speaks_of_table(goal) {
        return Vec::new();
    }
    let goal = &without_grouping(goal);
    let found = sentences(goal).map(|sentence| {
        let sentence = sentence.trim_end_matches('.');
        let behind =
            ["columns ", "column "].iter().find_map(|noun| sentence.split_once(noun)).map(|(_, rest)| rest);
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

/// The items of an enumeration in a sentence.
fn enumerated(sentence: &str, frame: &Frame) -> Vec<String> {
    let several = |list: &&str| list.contains(',') || list.contains(" and ");
    let listed = sentence.rsplit_once(": ").map(|(_, rest)| rest).filter(several);
    let after_noun = after_part_noun(listed.unwrap_or(sentence)).filter(several);
    let (list, introduced) =
        (after_noun.or(listed).unwrap_or(sentence), after_noun.is_some() || listed.is_some());
    // The parts may stand in brackets. What stands in brackets behind each of them says what belongs in it.
    let inside = bracketed(list).filter(|inside| several(inside) || inside.contains('|'));
    let outside = without_brackets(list);
    let is_only = list.matches(['(', '[']).count() == 1;
    let list = inside.filter(|_| is_only || !several(&outside.as_str())).unwrap_or(&outside);
    let mut pieces: Vec<&str> = list.split([',', '|']).collect();
    let named = pieces.iter().skip(1).take_while(|piece| !is_constraint(piece)).count();
    pieces.truncate(1 + named);
    let last = pieces.pop().unwrap_or_default();
    // "a, b and c", "a, b, and c": the last piece may hold two items.
    let last = last.trim().strip_prefix("and ").unwrap_or(last);
    match last.split_once(" and ") {
        Some((a, b)) => pieces.extend([a, b]),
        None => pieces.push(last),
    }
    if pieces.len() < if introduced { 2 } else { 3 } {
        return Vec::new();
    }
    let count = pieces.len();
    let items: Vec<String> = pieces
        .into_iter()
        .enumerate()
        .map(|(at, piece)| {
            let is_first = at == 0 && (!introduced || frame.leads_after_colon);
            trim_item(piece, is_first, at + 1 == count, frame)
        })
        .collect();
    if items.iter().all(|item| is_short(item)) { items } else { Vec::new() }
}

/// What stands in the first brackets of a text.
fn bracketed(text: &str) -> Option<&str> {
    let (_, inside) = text.split_once(['(', '['])?;
    Some(inside.split_once([')', ']']).map_or(inside, |(inside, _)| inside))
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ if depth <= 0 => outside.push(c),
            _ => {}
        }
    }
    outside
}

/// The text after "with sections on" or "a chapter about each of". The enumeration begins there,
/// even after earlier commas.
fn after_part_noun(sentence: &str) -> Option<&str> {
    const JOINTS: [&str; 13] = [
        "on", "of", "about", "for", "covering", "called", "named", "titled", "entitled", "each", "headed",
        "with", "the",
    ];
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut rest = sentence;
    loop {
        let (word, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        if !PART_NOUNS.contains(&bare(word).as_str()) || word.ends_with(',') {
            continue;
        }
        let joints = rest.split(' ').take_while(|word| JOINTS.contains(word));
        let joined: usize = joints.map(|word| word.len() + 1).sum();
        let names = rest.trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '“'));
        if joined > 0 || names {
            return rest.get(joined..);
        }
    }
}

/// What stands in quotation marks at the end of a piece.
fn quotation(piece: &str) -> Option<&str> {
    let (_, inside) = piece.split_once(['"', '“'])?;
    let (title, rest) = inside.split_once(['"', '”'])?;
    (!title.trim().is_empty() && words(rest).is_empty()).then_some(title)
}

/// An item without its lead-in ("with sections on soil" → "soil"), article, or trailing remark ("..., each in a section").
fn trim_item(piece: &str, first: bool, last: bool, frame: &Frame) -> String {
    if let Some(title) = quotation(piece) {
        return title.trim().to_owned();
    }
    let mut item: Vec<&str> = piece.split_whitespace().collect();
    if first || item.first() == Some(&"one") || item.first() == Some(&"another") {
        let lead_in = item.iter().rposition(|word| frame.lead_ins.contains(&word.to_lowercase().as_str()));
        // "Discuss the advantages": the article ends the lead-in.
        let article = || item.iter().position(|word| *word == "the").filter(|_| first);
        if let Some(at) = lead_in.or_else(article) {
            item.drain(..=at);
        }
    }
    if last && let Some(at) = item.iter().position(|word| frame.trailers.contains(word)).filter(|at| *at > 0)
    {
        item.truncate(at);
    }
    if item.first().is_some_and(|word| ["a", "an", "the", "its", "their"].contains(word)) {
        item.remove(0);
    }
    item.join(" ").trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
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
            ("Make a table of the offers.", ""),
            ("Make a table of all suppliers whose price is under 500, sort it by price, rating and name", ""),
            ("Please put everything in a table. Thanks, Anna and Bob", ""),
            ("Which of the houses in the table is the cheapest, has a garden, and is near a school?", ""),
            ("Which of the three is the cheapest, and what does it cost?", ""),
        ] {
            assert_eq!(named_columns(goal).join("|"), expected, "{goal}");
        }
    }

    #[test]
    fn named_parts_are_read_from_an_enumeration() {
        for (goal, expected) in [
            (
                "Write a guide to hens with a section on each of: feed, coop, eggs. Start with headings.",
                "feed|coop|eggs",
            ),
            ("Describe Chile with sections for history, food, and climate.", "history|food|climate"),
            ("An overview: one part about cost, one about range, one about charging.", "cost|range|charging"),
            (
                "Discuss the advantages, the disadvantages and the risks of dams",
                "advantages|disadvantages|risks of dams",
            ),
            (
                "Write a brochure for a museum, with sections on history, opening hours, the climb, the cafe.",
                "history|opening hours|climb|cafe",
            ),
            ("For beginners, and in plain words: a chapter about knots and one about sails.", "knots|sails"),
            (
                "Write a handout. It should have exactly the four headings Arrival, Storage, Hygiene; no section longer \
                 than 100 words.",
                "Arrival|Storage|Hygiene",
            ),
            (
                "Structure: Need, Site, Costs, each as a heading, at most 60 words below each.",
                "Need|Site|Costs",
            ),
            ("Four headed sections (Setup, Code, Meetings), each up to 60 words.", "Setup|Code|Meetings"),
            (
                "A guide for cats, dogs, hens, goats and bees. sections = Keys, Waste, Heating",
                "Keys|Waste|Heating",
            ),
            (
                "draft a plan. headings Boxes, Desks and Risks, max 80 words per section, and work in: Boxes: \"tape\"",
                "Boxes|Desks|Risks",
            ),
            (
                "Write a leaflet with these sections:\n- Getting here (max 40 words)\n- Parking: mention the barrier\n\
                 - Breakfast\nKeep it friendly.",
                "Getting here|Parking|Breakfast",
            ),
            (
                "Use the headings \"How to get here\", \"On the day\" and \"Afterwards\".",
                "How to get here|On the day|Afterwards",
            ),
            ("secions = [Keys | Waste | Heating]. words: Keys -> box; Waste -> bin", "Keys|Waste|Heating"),
            (
                "Draft an invitation. It has 3 sections: Programme (with torch and tram), Please Bring, Thanks (with brass).",
                "Programme|Please Bring|Thanks",
            ),
            (
                "A page with these sections. Avoid these words: cheap, nice and free.\n| heading | must contain |\n| --- | --- |\n\
                 | Timeline | boxes, alarm |\n| Damage | anything |\n| Cause | shelves |",
                "Timeline|Damage|Cause",
            ),
            (
                "Below are the headings and the words.\nPartners: (free)\nRisks: blog, harvest\nGoal: voles\nAt most 30 words.",
                "Partners|Risks|Goal",
            ),
            (
                "Divide it into 3 sections: the one headed 'Risks' speaks of voles; the one headed 'Budget' is up to you; the \
                 one headed Goals Now needs 'fence'.",
                "Risks|Budget|Goals Now",
            ),
            (
                "Write a report with sections Summary, Causes and Outlook. Base it on these notes:\n- The pump failed\n- Bob called\n\
                 - We restarted it",
                "Summary|Causes|Outlook",
            ),
            (
                "Write a letter with sections Offer, Terms and Contact.\nCustomer: Anna Smith\nDate: 3 May\nPrice: 300 euros",
                "Offer|Terms|Contact",
            ),
            ("Answer this mail about the spare parts.\nFrom: Ada\nTo: Bo\nSubject: pump", ""),
            (
                "Write chapters on how Anna headed North and Bob headed South.",
                "how Anna headed North|Bob headed South",
            ),
            (
                "A page with sections Price, Delivery and Warranty. Avoid the terms cheap, nice and free.",
                "Price|Delivery|Warranty",
            ),
            (
                "Write a text for \"Blue Barn Café\" with the sections Menu, Prices and Hours",
                "Menu|Prices|Hours",
            ),
            ("Sections Arrival, Storage and Contacts, please.", "Arrival|Storage|Contacts"),
            ("Headings Sun and Rain, each up to 10 words.", "Sun|Rain"),
            ("Sections Sun, Rain and Wind, about 1,000 words overall.", "Sun|Rain|Wind"),
            ("Who wrote Hamlet?", ""),
            ("Compare tea and coffee.", ""),
        ] {
            assert_eq!(named_aspects(goal).join("|"), expected, "{goal}");
        }
    }
}
