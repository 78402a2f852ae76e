//! What the scripted models reply: something plausible for each prompt, or one of many kinds of trouble.

use serde_json::{Value, json};

use super::random::{Random, hash};
use super::world::{QUERIES, World, tokens};
use crate::advance::Planned;
use crate::band::{CallUsage, Finish};
use crate::event::{CallEnd, FailureClass};
use crate::goal::BandInfo;

/// How a call went.
pub(super) struct Replied {
    pub prompt: String,
    pub output: String,
    /// What had come of the reply when the call ended; more than `output` has if it failed.
    pub streamed: String,
    pub usage: CallUsage,
    pub end: CallEnd,
}

const WORDS: [&str; 12] = [
    "barley", "meadow", "tractor", "winter", "harvest", "river", "market", "fence", "orchard", "cattle",
    "honey", "straw",
];

/// The reply to a call. In a world that is not pure it depends on `calls`, the number of calls before it, as well.
pub(super) fn reply(world: &World, band: &BandInfo, planned: &Planned, calls: u64) -> Replied {
    let prompt: String = planned.call.messages.iter().map(|message| message.content.as_str()).collect();
    let calls = if world.is_pure { 0 } else { calls };
    let numbers = [u64::from(planned.attempt), planned.call.seed, calls];
    let mut random = Random::new(hash(world.seed, &[&planned.task, &prompt], &numbers));
    let info = band.get(&planned.worker);
    let room =
        info.is_some_and(|info| tokens(&prompt) + (planned.call.tokens_min as usize) < info.context_tokens);
    let bad = info.is_some_and(|info| random.below(100) < world.trouble(&info.model) as usize);
    let good = match planned.call.options.as_slice() {
        [] => plausible(world, &prompt, planned.call.schema.as_ref(), &mut random),
        options => likelihoods(options, &mut random),
    };
    let (output, end) = match info {
        None => failed(FailureClass::Resource, "there is no such worker"),
        Some(_) if !room => failed(FailureClass::Resource, "the prompt is too long"),
        Some(info) if world.is_dead(&info.model) => {
            failed(FailureClass::Stalled, "the model made no progress")
        }
        Some(info) if world.talks_nonsense(&info.model) => nonsense(&mut random),
        Some(_) if bad => trouble(&good, &mut random),
        Some(_) => (good.clone(), CallEnd::Reply(Finish::Stop)),
    };
    let streamed = match end {
        // It died before it began, or in the middle.
        CallEnd::Failed { .. } if room => half(&good),
        _ => output.clone(),
    };
    let completion_tokens = tokens(&output) as u64;
    let usage = CallUsage {
        prompt_tokens: tokens(&prompt) as u64,
        cached_tokens: random.below(tokens(&prompt)) as u64,
        completion_tokens,
        steps: completion_tokens + 1,
        batch_sum: (completion_tokens + 1) * (1 + random.below(4) as u64),
    };
    Replied { prompt, output, streamed, usage, end }
}

/// The end of a call of a run that was stopped, with as much of the reply as there was.
pub(super) fn stopped(mut replied: Replied) -> Replied {
    replied.output.truncate(replied.output.floor_char_boundary(replied.output.len() / 2));
    replied.end = CallEnd::Stopped;
    replied
}

fn failed(class: FailureClass, error: &str) -> (String, CallEnd) {
    (String::new(), CallEnd::Failed { class, error: error.to_owned() })
}

fn nonsense(random: &mut Random) -> (String, CallEnd) {
    let text = match random.below(5) {
        0 => "{\"nothing\": [of, this]".to_owned(),
        1 => String::new(),
        2 => "\u{0}\u{fffd} \u{202e}}}}{{ \"\\ \n\t".to_owned(),
        // Numbers that fit into nothing.
        3 => format!("{{\"subject\": \"\", \"answer\": {}}}", "9".repeat(60)),
        _ => "Answer: 1e999, or 99999999999999999999999999999999999999999".to_owned(),
    };
    (text, CallEnd::Reply(Finish::Stop))
}

fn half(text: &str) -> String {
    text[..text.floor_char_boundary(text.len() / 2)].to_owned()
}

fn trouble(good: &str, random: &mut Random) -> (String, CallEnd) {
    let half = half(good);
    let replied = |text: String, finish| (text, CallEnd::Reply(finish));
    let died = |class, error: &str| (half.clone(), CallEnd::Failed { class, error: error.to_owned() });
    match random.below(13) {
        0 | 1 => nonsense(random),
        2 => replied(half, Finish::Length),
        // The grammar closed the JSON, or the text ended just at the limit.
        3 => replied(good.to_owned(), Finish::Length),
        4 => replied(half, Finish::Deadline),
        5 | 6 => failed(FailureClass::Transient, "the queue is full"),
        7 => failed(FailureClass::Resource, "the prompt does not fit"),
        8 => failed(FailureClass::Stalled, "the model made no progress"),
        9 => replied("and on it goes as ever ".repeat(20), Finish::Length),
        // In the middle of the reply.
        10 => died(FailureClass::Stalled, "the model stopped unexpectedly"),
        11 => died(FailureClass::Transient, "the engine cancelled the call"),
        _ => replied(json!({"subject": "", "answer": null}).to_string(), Finish::Stop),
    }
}

/// How likely each of a few replies is.
fn likelihoods(options: &[String], random: &mut Random) -> String {
    let nats = options.iter().map(|_| -(random.below(1000) as f64) / 100.0);
    json!(nats.collect::<Vec<f64>>()).to_string()
}

/// A good reply to a prompt of any strategy.
fn plausible(world: &World, prompt: &str, schema: Option<&Value>, random: &mut Random) -> String {
    let Some(schema) = schema else {
        return queried(world, prompt).unwrap_or_else(|| text(prompt, random));
    };
    // The slots of a map are one of two kinds.
    let fields = &schema.pointer("/anyOf/0").unwrap_or(schema)["properties"];
    let has = |field: &str| fields.get(field).is_some();
    if prompt.contains("fill in these fields") {
        row(prompt, fields)
    } else if has("tasks") {
        super::graph_plan::plan(schema, prompt, random)
    } else if prompt.starts_with("Write only the question") {
        json!({"question": "How many sheep does the farm keep?"}).to_string()
    } else if prompt.starts_with("Parts of a longer text") {
        quote(prompt)
    } else if let Some((_, sentence)) =
        prompt.split_once("\n\nSentence: \"").filter(|_| prompt.contains("with words of the sentence"))
    {
        json!({"answer": sentence.trim_end_matches(['"', '\n'])}).to_string()
    } else if has("quote") {
        let found = json!({"quote": "Do all pieces", "answer": "Do all pieces now"});
        if random.one_in(2) { found.to_string() } else { json!({"quote": "", "answer": ""}).to_string() }
    } else if has("way") {
        json!({"because": "the note says so", "way": random.pick(&["A", "B"])}).to_string()
    } else if prompt.contains("Each names what the next one is about.") {
        let barn = if prompt.contains("B-12") { "B-12" } else { "B-11" };
        json!({"answer": format!("The keeper works in barn {barn}.")}).to_string()
    } else if has("columns") || has("work") {
        world.slots().to_owned()
    } else if has("label") {
        json!({"label": if prompt.contains("keeps 10 sheep") { "small" } else { "large" }}).to_string()
    } else if has("facts") {
        let text = prompt.split("\"\"\"").nth(1).unwrap_or_default();
        let stated = text.split(". ").filter(|sentence| sentence.contains("keeps ")).map(|sentence| {
            let value = sentence.split("keeps ").nth(1).unwrap_or_default();
            json!({"words": sentence, "value": value, "topic": "what the farm keeps"})
        });
        json!({"facts": stated.collect::<Vec<_>>()}).to_string()
    } else if has("answer") {
        reading(prompt, &fields["answer"])
    } else if has("sections") {
        let section =
            |title: &str| json!({"title": title, "instruction": format!("about {title} of the farm")});
        let sections = ["Animals", "Machines", "Harvest"].map(section);
        json!({"sections": sections}).to_string()
    } else {
        let steps =
            ["Find out which farm keeps the most sheep.", "Say who owns the farm.", "Say what it grows."];
        let steps = &steps[..2 + random.below(2)];
        json!({"steps": steps}).to_string()
    }
}

/// What a good reader finds in the text of its prompt. The kind of the answer shows in the schema.
fn reading(prompt: &str, answer: &Value) -> String {
    let text = prompt.split("\"\"\"").nth(1).unwrap_or_default();
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let word = |mark: &str| after(mark).and_then(|rest| rest.split([' ', '.']).next());
    let kind = &answer["anyOf"][0];
    let found = if answer["type"] == "array" {
        json!(after("keeps ").map_or(vec![], |_| vec!["sheep", "geese"]))
    } else if answer.get("enum").is_some() {
        if after("grows barley").is_some() { json!("yes") } else { Value::Null }
    } else if kind["type"] == "number" {
        word("keeps ").and_then(|word| word.parse::<u64>().ok()).map_or(Value::Null, |number| json!(number))
    } else if kind.get("pattern").is_some() {
        json!(word("founded on "))
    } else if prompt.contains("owner of the farm") {
        json!(after("owner is ").map(|_| "Ada Brown"))
    } else {
        json!(after("The farm keeps ").map(|_| "The farm keeps sheep and grows barley."))
    };
    let subject = after("Farm number ")
        .map_or(String::new(), |rest| format!("Farm number {}", rest.split(' ').next().unwrap_or_default()));
    json!({"subject": subject, "answer": found}).to_string()
}

/// What a good reader quotes from parts of a text.
fn quote(prompt: &str) -> String {
    let parts = prompt.split("\"\"\"").nth(1).unwrap_or_default();
    let about = [("sheep", "keeps"), ("owner", "owner is"), ("founded", "founded on")];
    let wanted = about.iter().find(|(word, _)| prompt.contains(word));
    let sentence = wanted.and_then(|(_, mark)| parts.split(". ").find(|sentence| sentence.contains(mark)));
    json!({"quote": sentence}).to_string()
}

/// A row of the text of a prompt, with a field for each column of the schema.
fn row(prompt: &str, fields: &Value) -> String {
    let text = prompt.split("\"\"\"").nth(1).unwrap_or_default();
    let word = |mark: &str| text.split_once(mark).and_then(|(_, rest)| rest.split([' ', '.']).next());
    let cell = |name: &String| {
        let value = match name.as_str() {
            "farm" | "about" => word("Farm number ").map(|number| json!(format!("Farm number {number}"))),
            "sheep" => word("keeps ").and_then(|word| word.parse::<u64>().ok()).map(|number| json!(number)),
            "founded" => word("founded on ").map(|day| json!(day)),
            _ => word("owner is ").map(|_| json!("Ada Brown")),
        };
        (name.clone(), value.unwrap_or_default())
    };
    let cells: serde_json::Map<String, Value> =
        fields.as_object().into_iter().flatten().map(|(name, _)| cell(name)).collect();
    Value::Object(cells).to_string()
}

/// What a good writer makes of a text.
fn worked_on(text: &str, prompt: &str) -> String {
    let sentences: Vec<&str> = text.split(". ").map(str::trim).collect();
    if prompt.contains("into German") {
        let numbers = text.split_whitespace().filter(|word| word.contains(|c: char| c.is_ascii_digit()));
        let numbers: Vec<&str> = numbers.collect();
        let about = (0..sentences.len()).map(|at| WORDS[at % WORDS.len()]);
        let told =
            about.map(|word| format!("Der Hof mit {word} liegt am Fluss, und seine Leute bauen Hafer an. "));
        return format!("{}{} stehen in dem Text.", told.collect::<String>(), numbers.join(" "));
    }
    if prompt.contains("for children") {
        return format!("{text} So it is on a farm.");
    }
    sentences[..sentences.len().min(2)].join(". ")
}

/// A statement, or the name of a column.
fn queried(world: &World, prompt: &str) -> Option<String> {
    if prompt.contains("Which column holds") {
        return Some(if prompt.contains("wool") { "farms.wool_kg" } else { "none" }.to_owned());
    }
    let found = QUERIES.iter().find(|(goal, _)| prompt.contains("SELECT") && *goal == world.request.goal);
    found.map(|(_, statement)| (*statement).to_owned())
}

/// A text for a prompt without a schema.
fn text(prompt: &str, random: &mut Random) -> String {
    if let Some((_, framed)) = prompt.split_once("\n-----\n") {
        return worked_on(framed.split("\n-----\n").next().unwrap_or_default(), prompt);
    }
    if let Some((_, merged)) = prompt.split_once("belong together:\n") {
        return merged.split("\n\nMerge them").next().unwrap_or_default().to_owned();
    }
    // Results that are to be worded are repeated.
    if let Some((_, results)) = prompt.split_once("Found in each text: ") {
        let told = results.split("\n\nAnswer the goal").next().unwrap_or_default();
        return told.lines().skip(1).collect::<Vec<_>>().join("\n");
    }
    if let Some((_, results)) = prompt.split_once("Results:\n") {
        return results.split("\n\nAnswer the goal").next().unwrap_or_default().to_owned();
    }
    if prompt.contains("with one number and nothing else") {
        let number = prompt.split_once("keeps ").and_then(|(_, rest)| rest.split(' ').next());
        return number.map_or_else(|| random.below(90).to_string(), str::to_owned);
    }
    if prompt.contains("End with a line \"Answer:\"") {
        let boxes = 360 + random.below(2);
        return format!("6 * 55 is 330, and 90 / 3 is 30.\nAnswer: {boxes}");
    }
    let sentences = 1 + random.below(3);
    let mut told = String::new();
    for number in 0..sentences {
        let (first, second) = (random.pick(&WORDS), random.pick(&WORDS));
        told.push_str(&format!("Point {} is the {first} next to the {second}. ", number + random.below(900)));
    }
    told.trim_end().to_owned()
}
