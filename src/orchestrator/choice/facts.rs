//! What can be counted about a goal and its inputs, without any model.

use bandmaster_tools::calculator::{arithmetic, evaluate};
use bandmaster_tools::links::follow;

use super::super::attached::tables_among;
use super::super::band::{Message, Role};
use super::super::blocking::Counts;
use super::super::checks::spelled_numbers;
use super::super::request::{Input, RunRequest};
use super::aspects::{named_aspects, speaks_of_parts};
use super::columns::speaks_of_table;
use super::why::{Attachment, Facts};
use super::words::{unquoted, words};

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
/// Words that refer to inputs one at a time.
const DISTRIBUTIVE: &[&str] =
    &["each", "every", "per", "all", "any", "which", "list", "compare", "average", "total", "count"];

#[must_use]
pub(super) fn gather(request: &RunRequest, counts: &Counts, context_tokens: usize) -> Facts {
    let RunRequest { goal, inputs, conversation, .. } = request;
    let (input_tokens, conversation_tokens) = (counts.inputs.iter().sum(), counts.conversation);
    let frames = 16 * inputs.len() + 8 * conversation.len();
    let needed = input_tokens + conversation_tokens + counts.goal + frames + ANSWER_TOKENS_RESERVED;
    let speaks_of_attachment = attachment(goal, conversation.is_empty());
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
        speaks_of_table: speaks_of_table(goal),
        speaks_of_steps: speaks_of_steps(goal),
        numbers: number_count(goal),
        arithmetic: arithmetic(goal).filter(|expression| inputs.is_empty() && evaluate(expression).is_ok()),
        speaks_of_contradiction: speaks_of_contradiction(goal),
        speaks_of_each: words(&unquoted(goal)).iter().any(|word| DISTRIBUTIVE.contains(&word.as_str())),
    }
}

/// Whether the goal has a word for contradictions.
fn speaks_of_contradiction(goal: &str) -> bool {
    const BEGINNINGS: &[&str] = &["contradict", "inconsisten", "discrepan", "disagree"];
    let begins = |word: &String| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning));
    words(&unquoted(goal)).iter().any(begins)
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

/// Whether the goal contains the text to work on: a block after a line break, code, a quotation, or
/// words after a colon.
fn carries_text(goal: &str) -> bool {
    let block = goal.split_once('\n').is_some_and(|(_, rest)| words(rest).len() >= 8);
    let after_colon = goal.split_once(": ").is_some_and(|(_, rest)| words(rest).len() >= 3);
    let quoted = words(goal).len() - words(&unquoted(goal)).len().min(words(goal).len()) >= 4;
    block || after_colon || quoted || goal.contains("```")
}

/// Whether a goal refers to something attached. `is_first` says that no messages came before it, in which "it" may stand.
fn attachment(goal: &str, is_first: bool) -> Attachment {
    let block = has_block(goal);
    let words = words(&unquoted(goal));
    let is_pronoun = works_on_pronoun(&words) && !carries_text(goal);
    if !block && (brought_along(&words) || (is_pronoun && is_first)) {
        return Attachment::Yes;
    }
    if is_pronoun {
        return Attachment::Perhaps;
    }
    let points = words.iter().enumerate().any(|(at, word)| {
        DOCUMENT_NOUNS.contains(&word.as_str())
            && words[at.saturating_sub(3)..at].iter().any(|before| POINTERS.contains(&before.as_str()))
    });
    if points && !carries_text(goal) { Attachment::Perhaps } else { Attachment::No }
}

/// Whether a goal begins with work on something that only a pronoun names, as in "Can you shorten it?".
fn works_on_pronoun(words: &[String]) -> bool {
    const WORK: &[&str] = &[
        "shorten",
        "translate",
        "summarise",
        "summarize",
        "rewrite",
        "rephrase",
        "reword",
        "proofread",
        "correct",
        "fix",
        "improve",
        "polish",
        "edit",
        "condense",
        "simplify",
        "paraphrase",
        "continue",
        "expand",
        "format",
        "debug",
        "refactor",
    ];
    const NAMED: &[&str] = &["it", "this", "that", "them", "these", "those"];
    // What the pronoun names may stand before the verb, and "this" may have a noun behind it.
    const BEHIND: &[&str] = &[
        "to", "into", "in", "for", "please", "by", "so", "a", "up", "and", "down", "like", "with", "as", "at",
    ];
    const POLITE: &[&str] = &[
        "can", "could", "would", "will", "you", "please", "pls", "i", "need", "to", "just", "now", "hey",
        "hi", "and",
    ];
    let begins = words.iter().take_while(|word| POLITE.contains(&word.as_str())).count();
    let [verb, object, ..] = &words[begins..] else { return false };
    let ends = words.get(begins + 2).is_none_or(|next| BEHIND.contains(&next.as_str()));
    WORK.contains(&verb.as_str()) && NAMED.contains(&object.as_str()) && ends
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
        // "The ones Karen sent over", but not "the letter that Napoleon sent to Josephine".
        "sent" | "forwarded" | "emailed" | "mailed" | "shared" => {
            pointed(i)
                && matches!(at(i + 1), "me" | "us" | "over" | "along" | "round" | "yesterday" | "today")
        }
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

fn speaks_of_steps(goal: &str) -> bool {
    const STEPS: &[&str] = &["then", "afterwards", "finally", "next", "lastly", "step", "steps", "stepwise"];
    const AFTER: &[&str] = &["that", "this", "which"];
    let words = words(&unquoted(goal));
    let after = words.windows(2).any(|pair| pair[0] == "after" && AFTER.contains(&pair[1].as_str()));
    after || words.iter().any(|word| STEPS.contains(&word.as_str()))
}

/// How many numbers a goal has. "One" and "dozen" are hardly ever numbers to calculate with.
fn number_count(goal: &str) -> usize {
    let digits = words(goal).iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).count();
    digits
        + spelled_numbers(goal).into_iter().filter(|number| ![1.into(), 12.into()].contains(number)).count()
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
            "can you shorten it to about half, same tone as last time",
            "Translate this into Spanish please.",
            "Book me in with whoever is best out of the ones Karen sent over yesterday.",
        ] {
            assert_eq!(attachment(goal, true), Attachment::Yes, "{goal}");
        }
        for goal in ["Proofread my essay.", "Shorten this text.", "Which clause of the contract is unusual?"]
        {
            assert_eq!(attachment(goal, true), Attachment::Perhaps, "{goal}");
        }
        for goal in [
            "How is the retina attached to the eye?",
            "What does 'see attached' mean?",
            "How do I attach a file to an e-mail?",
            "I sent my aunt flowers. Write a card.",
            "Write a poem and translate it into German.",
            "How do I debug this in Rust?",
            "Fix this sentence: He go to school.",
            "Proofread this text: He go to school every days.",
            "Who invented the telephone?",
        ] {
            assert_eq!(attachment(goal, true), Attachment::No, "{goal}");
        }
    }

    #[test]
    fn a_pronoun_may_name_what_was_said_before() {
        assert_eq!(attachment("Translate it into German.", true), Attachment::Yes);
        assert_eq!(attachment("Translate it into German.", false), Attachment::Perhaps);
    }

    #[test]
    fn numbers_are_counted_in_digits_and_in_words() {
        let goal = "Two boxes of twenty-five pens cost 36 euros; one is lost. What do three hundred cost?";
        assert_eq!(number_count(goal), 4);
        assert_eq!(number_count("Which one is the best?"), 0);
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
}
