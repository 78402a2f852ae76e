//! What can be counted about a goal and its inputs, without any model.

use bandmaster_tools::calculator::{arithmetic, evaluate};
use bandmaster_tools::links::follow;

use super::super::attached::tables_among;
use super::super::band::{Message, Role};
use super::super::blocking::Counts;
use super::super::request::{Input, RunRequest};
use super::why::{Attachment, Facts};

/// Tokens that a direct call keeps free for the chat template and the answer.
pub(crate) const ANSWER_TOKENS_RESERVED: usize = 1024;

/// Nouns for what people attach.
const DOCUMENT_NOUNS: &[&str] = &[
    "article",
    "articles",
    "attachment",
    "attachments",
    "chart",
    "code",
    "contract",
    "contracts",
    "csv",
    "cv",
    "data",
    "dataset",
    "diagram",
    "document",
    "documents",
    "draft",
    "e-mail",
    "e-mails",
    "email",
    "emails",
    "essay",
    "essays",
    "excerpt",
    "file",
    "files",
    "folder",
    "function",
    "image",
    "images",
    "invoice",
    "invoices",
    "letter",
    "letters",
    "list",
    "log",
    "logs",
    "manuscript",
    "memo",
    "message",
    "minutes",
    "notes",
    "offer",
    "offers",
    "page",
    "pages",
    "paper",
    "papers",
    "paragraph",
    "pdf",
    "photo",
    "photos",
    "picture",
    "pictures",
    "poem",
    "presentation",
    "proposal",
    "receipt",
    "receipts",
    "recording",
    "report",
    "reports",
    "resume",
    "résumé",
    "scan",
    "screenshot",
    "script",
    "sheet",
    "slides",
    "spreadsheet",
    "spreadsheets",
    "statement",
    "statements",
    "story",
    "survey",
    "table",
    "text",
    "texts",
    "thesis",
    "transcript",
    "transcripts",
    "translation",
];
/// Words that make a noun refer to a particular thing, as in "this report".
const POINTERS: &[&str] =
    &["the", "this", "these", "those", "my", "our", "that", "following", "both", "each", "every", "all"];
/// Verbs for sending or attaching a text.
const BROUGHT: &[&str] = &[
    "attached",
    "enclosed",
    "forwarded",
    "gave",
    "included",
    "mailed",
    "pasted",
    "posted",
    "provided",
    "sent",
    "shared",
    "submitted",
    "supplied",
    "uploaded",
];
/// Nouns for the parts of a longer text.
const PART_NOUNS: &[&str] = &[
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
/// Words that refer to inputs one at a time.
const DISTRIBUTIVE: &[&str] =
    &["each", "every", "per", "all", "any", "which", "list", "compare", "average", "total", "count"];

#[must_use]
pub(super) fn gather(request: &RunRequest, counts: &Counts, context_tokens: usize) -> Facts {
    let RunRequest { goal, inputs, conversation, .. } = request;
    let (input_tokens, conversation_tokens) = (counts.inputs.iter().sum(), counts.conversation);
    let frames = 16 * inputs.len() + 8 * conversation.len();
    let needed = input_tokens + conversation_tokens + counts.goal + frames + ANSWER_TOKENS_RESERVED;
    let speaks_of_attachment = attachment(goal);
    Facts {
        inputs: inputs.len(),
        input_tokens,
        conversation_tokens,
        conversation_has_it: has_it(conversation, speaks_of_attachment),
        tables: tables_among(inputs),
        inputs_fit_together: needed <= context_tokens,
        inputs_lead_on: lead_on(goal, inputs),
        speaks_of_attachment,
        named_aspects: named_aspects(goal),
        speaks_of_parts: speaks_of_parts(goal),
        numbers: number_count(goal),
        arithmetic: arithmetic(goal).filter(|expression| inputs.is_empty() && evaluate(expression).is_ok()),
        speaks_of_each: words(&unquoted(goal)).iter().any(|word| DISTRIBUTIVE.contains(&word.as_str())),
    }
}

/// Whether the goal leads from one input to another. Long inputs are searched instead.
fn lead_on(goal: &str, inputs: &[Input]) -> bool {
    const BYTES_MAX: usize = 1 << 20;
    let bytes: usize = inputs.iter().map(|input| input.text.len()).sum();
    let files: Vec<(&str, &str)> = inputs.iter().map(|input| (input.name.as_str(), &*input.text)).collect();
    inputs.len() > 1 && bytes <= BYTES_MAX && follow(goal, &files).is_some()
}

/// Whether the conversation may contain the text that the goal refers to. "The text" may be any message. What was
/// "attached" or "sent" comes from the user, a tool, or the system prompt.
fn has_it(conversation: &[Message], spoken_of: Attachment) -> bool {
    conversation.iter().any(|message| {
        let text = message.content.as_str();
        match (spoken_of, message.role) {
            (Attachment::Yes, Role::User) => brings_text(text),
            (Attachment::Yes | Attachment::Perhaps, Role::System) => has_block(text),
            (_, Role::System) => false,
            (Attachment::Yes, Role::Assistant) => false,
            _ => !text.trim().is_empty(),
        }
    })
}

/// Whether a text has code, or a block of words after its first line.
fn has_block(text: &str) -> bool {
    text.contains("```") || text.split_once('\n').is_some_and(|(_, rest)| words(rest).len() >= 20)
}

/// Whether a message has a text to work on, and is not just a question or a greeting.
fn brings_text(text: &str) -> bool {
    const SENTENCE_WORDS_MIN: usize = 8;
    let length = words(text).len();
    // Scripts without spaces write a sentence as one word.
    let long = length >= SENTENCE_WORDS_MIN || (length > 0 && text.chars().count() >= 10 * length.max(2));
    has_block(text) || carries_text(text) || (long && !text.trim_end().ends_with(['?', '？']))
}

/// Lower-case words; a word keeps its inner apostrophes and hyphens.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '-')))
        .map(|word| word.trim_matches(['\'', '’', '-']).replace('’', "'").to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The text without anything in quotation marks or back-ticks, which is only talked about.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut closing: Option<char> = None;
    let mut previous = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match closing {
            Some(end) if c == end && !(c == '\'' && next.is_alphanumeric()) => closing = None,
            Some(_) => {}
            None => {
                closing = match c {
                    '"' => Some('"'),
                    '`' => Some('`'),
                    '“' => Some('”'),
                    '\'' if !previous.is_alphanumeric() && next.is_alphanumeric() => Some('\''),
                    _ => None,
                };
                out.push(if closing.is_some() { ' ' } else { c });
            }
        }
        previous = c;
    }
    // A mark that is never closed, such as an apostrophe, would remove the rest.
    if closing.is_some() { text.to_owned() } else { out }
}

/// Whether the goal contains the text to work on: a block after a line break, code, a quotation, or
/// words after a colon.
fn carries_text(goal: &str) -> bool {
    let block = goal.split_once('\n').is_some_and(|(_, rest)| words(rest).len() >= 8);
    let after_colon = goal.split_once(": ").is_some_and(|(_, rest)| words(rest).len() >= 3);
    let quoted = words(goal).len() - words(&unquoted(goal)).len().min(words(goal).len()) >= 4;
    block || after_colon || quoted || goal.contains("```")
}

fn attachment(goal: &str) -> Attachment {
    let block = has_block(goal);
    let words = words(&unquoted(goal));
    if !block && brought_along(&words) {
        return Attachment::Yes;
    }
    let points = words.iter().enumerate().any(|(at, word)| {
        DOCUMENT_NOUNS.contains(&word.as_str())
            && words[at.saturating_sub(3)..at].iter().any(|before| POINTERS.contains(&before.as_str()))
    });
    if points && !carries_text(goal) { Attachment::Perhaps } else { Attachment::No }
}

/// As in "the attached letter", "the file I sent you", "what you got from me", "see attached".
fn brought_along(words: &[String]) -> bool {
    let at = |index: usize| words.get(index).map_or("", String::as_str);
    let pointed =
        |index: usize| words[index.saturating_sub(4)..index].iter().any(|w| POINTERS.contains(&w.as_str()));
    (0..words.len()).any(|i| match at(i) {
        "attached" | "enclosed" if at(i + 1) == "to" => matches!(at(i + 2), "this" | "my") && pointed(i),
        "attached" | "enclosed" => {
            // But not "how is a sail attached?".
            pointed(i)
                || matches!(at(i + 1), "is" | "are" | "you" | "please" | "find")
                || i == 0
                || at(i - 1) == "see"
        }
        "uploaded" | "forwarded" | "pasted" if pointed(i) && DOCUMENT_NOUNS.contains(&at(i + 1)) => true,
        "attachment" | "attachments" => pointed(i),
        "me" => i > 1 && at(i - 1) == "from" && matches!(at(i - 2), "received" | "got" | "have"),
        "i" | "we" | "i've" | "we've" | "i'm" => {
            let verb = (i + 1..i + 4)
                .find(|j| BROUGHT.contains(&at(*j)) || at(*j) == "sending" || at(*j) == "attaching");
            let thing_before = pointed(i) || (i > 0 && at(i - 1) == "what");
            verb.is_some_and(|v| {
                thing_before || matches!(at(v), "attached" | "attaching" | "uploaded" | "enclosed")
            })
        }
        _ => false,
    })
}

/// How many words of the goal begin with a digit.
fn number_count(goal: &str) -> usize {
    words(goal).iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).count()
}

fn speaks_of_parts(goal: &str) -> bool {
    words(&unquoted(goal)).iter().any(|word| PART_NOUNS.contains(&word.as_str()))
}

/// The parts that a goal names: its longest enumeration of short items, without the words that introduce it.
#[must_use]
pub(super) fn named_aspects(goal: &str) -> Vec<String> {
    let goal = goal.trim().trim_end_matches('.').trim_end_matches("please").trim_end_matches(", ");
    let sentences = goal.split(['\n', '?', '!', ';']).flat_map(|line| line.split(". "));
    sentences
        .map(aspects_of_sentence)
        .max_by_key(Vec::len)
        .filter(|aspects| aspects.len() >= 2)
        .unwrap_or_default()
}

fn aspects_of_sentence(sentence: &str) -> Vec<String> {
    let several = |list: &&str| list.contains(',') || list.contains(" and ");
    let listed = sentence.rsplit_once(": ").map(|(_, rest)| rest).filter(several);
    let after_noun = after_part_noun(listed.unwrap_or(sentence)).filter(several);
    let (list, introduced) =
        (after_noun.or(listed).unwrap_or(sentence), after_noun.is_some() || listed.is_some());
    let mut pieces: Vec<&str> = list.split(',').collect();
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
        .map(|(at, piece)| trim_item(piece, at == 0 && !introduced, at + 1 == count))
        .collect();
    let short = |item: &String| (1..=5).contains(&words(item).len());
    if items.iter().all(short) { items } else { Vec::new() }
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
        if joined > 0 {
            return rest.get(joined..);
        }
    }
}

/// An item without its lead-in ("with sections on soil" → "soil"), article, or trailing remark ("..., each in a section").
fn trim_item(piece: &str, first: bool, last: bool) -> String {
    const LEAD_INS: &[&str] = &[
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
    ];
    let mut item: Vec<&str> = piece.split_whitespace().collect();
    if first || item.first() == Some(&"one") || item.first() == Some(&"another") {
        let lead_in = item.iter().rposition(|word| LEAD_INS.contains(word));
        // "Discuss the advantages": the article ends the lead-in.
        let article = || item.iter().position(|word| *word == "the").filter(|_| first);
        if let Some(at) = lead_in.or_else(article) {
            item.drain(..=at);
        }
    }
    if last {
        const TRAILERS: &[&str] = &["-", "–", "with", "each", "should", "under", "in"];
        if let Some(at) = item.iter().position(|word| TRAILERS.contains(word)).filter(|at| *at > 0) {
            item.truncate(at);
        }
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
    fn what_is_spoken_of_as_attached_is_told_from_what_is_only_mentioned() {
        for goal in [
            "Summarise the attached minutes.",
            "Fix the typos in the brochure I sent you.",
            "Attached are two offers; which is better?",
            "What does the letter you received from me say?",
            "Look at what I uploaded and describe it.",
            "See attached. Is it correct?",
        ] {
            assert_eq!(attachment(goal), Attachment::Yes, "{goal}");
        }
        for goal in ["Proofread my essay.", "Shorten this text.", "Which clause of the contract is unusual?"]
        {
            assert_eq!(attachment(goal), Attachment::Perhaps, "{goal}");
        }
        for goal in [
            "How is the retina attached to the eye?",
            "What does 'see attached' mean?",
            "How do I attach a file to an e-mail?",
            "I sent my aunt flowers. Write a card.",
            "Proofread this text: He go to school every days.",
            "Who invented the telephone?",
        ] {
            assert_eq!(attachment(goal), Attachment::No, "{goal}");
        }
    }

    #[test]
    fn a_conversation_may_hold_what_the_goal_speaks_of() {
        let poem = "The leaves turn red and gold, and the swallows leave the barn.";
        let letter = "Dear Mr Brock, the heater in flat 4 has not worked since Monday.";
        let (user, model, tool, system) = (Role::User, Role::Assistant, Role::Tool, Role::System);
        let page = "Answer from this page.\n\n".to_owned() + &"The mill was built in 1887. ".repeat(5);
        for (role, said, yes, perhaps) in [
            (model, poem, false, true),
            (user, letter, true, true),
            (tool, "42", true, true),
            (user, "Hi!", false, true),
            (user, "Who in the world was it that wrote the play Hamlet?", false, true),
            (user, "```\nfn main() {}\n```", true, true),
            (user, "今天早上我在公园里看到了一只非常漂亮的红色小鸟，它在唱歌。", true, true),
            (
                system,
                "You are a helpful assistant who answers in short and friendly sentences.",
                false,
                false,
            ),
            (system, page.as_str(), true, true),
            (model, " ", false, false),
        ] {
            let conversation = [Message::new(role, said)];
            assert_eq!(has_it(&conversation, Attachment::Yes), yes, "{said}");
            assert_eq!(has_it(&conversation, Attachment::Perhaps), perhaps, "{said}");
        }
        assert!(!has_it(&[], Attachment::Perhaps));
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
            ("Who wrote Hamlet?", ""),
            ("Compare tea and coffee.", ""),
        ] {
            assert_eq!(named_aspects(goal).join("|"), expected, "{goal}");
        }
    }
}
