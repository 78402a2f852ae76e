//! Models that follow a script, and helpers that run a whole goal with them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::journal::{AsyncJournal, Event, Journal};
use bandmaster::orchestrator::{
    Band, BoxFuture, Call, CallError, CallErrorKind, CallUsage, Cancel, Embed, EventKind, Finish, Input, Llm,
    Message, Outcome, Progress, Reply, RunEvent, RunRequest, RunStart, StrategyName, Worker, run,
};
use serde_json::{Value, json};

/// What a scripted model does with a call.
pub enum Act {
    Say(String),
    /// Waits before any of the prompt is computed.
    Queued(Duration, String),
    SayAfter(Duration, String),
    /// Waits before each word.
    SayWords(Duration, String),
    Fail(CallErrorKind),
    Stall,
    Panic,
    /// Generates words until it is dropped or its limit is reached.
    Babble,
    /// A reply that was cut off at its limit.
    Cut(String),
}

pub fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into())
}

pub type Script = dyn Fn(&Call, usize) -> Act + Send + Sync;

pub struct Scripted {
    pub name: String,
    pub context_tokens: usize,
    pub script: Box<Script>,
    pub calls: AtomicUsize,
    pub seen: Mutex<Vec<Call>>,
    /// Texts whose tokens were counted, and the threads on which they were.
    pub counted: Mutex<Vec<(String, std::thread::ThreadId)>>,
}

pub fn scripted(name: &str, script: impl Fn(&Call, usize) -> Act + Send + Sync + 'static) -> Arc<Scripted> {
    Arc::new(Scripted {
        name: name.to_owned(),
        context_tokens: 8192,
        script: Box::new(script),
        calls: AtomicUsize::new(0),
        seen: Mutex::new(Vec::new()),
        counted: Mutex::default(),
    })
}

pub fn last(call: &Call) -> &str {
    &call.messages.last().unwrap().content
}

pub fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

impl Llm for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.counted.lock().unwrap().push((text.to_owned(), std::thread::current().id()));
        count(text)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        messages.iter().map(|message| count(&message.content) + 4).sum()
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap().push(call.clone());
        let act = (self.script)(call, number);
        Box::pin(async move {
            let rendered: Vec<&str> = call.messages.iter().map(|message| message.content.as_str()).collect();
            progress(Progress::Prompt(&rendered.join("\n")));
            if let Act::Queued(wait, _) = act {
                tokio::time::sleep(wait).await;
            }
            let prompt_tokens = self.prompt_tokens(&call.messages) as u32;
            if self.context_tokens <= prompt_tokens as usize + call.tokens_min as usize {
                let message = format!("{} reads at most {} tokens", self.name, self.context_tokens);
                return Err(CallError { kind: CallErrorKind::Resource, message });
            }
            progress(Progress::Prefill { computed: prompt_tokens, cached: 0, total: prompt_tokens });
            let mut finish = Finish::Stop;
            let mut word_wait = Duration::ZERO;
            let text = match act {
                Act::SayWords(wait, text) => {
                    word_wait = wait;
                    text
                }
                Act::Say(text) | Act::Queued(_, text) => text,
                Act::SayAfter(wait, text) => {
                    tokio::time::sleep(wait).await;
                    text
                }
                Act::Cut(text) => {
                    finish = Finish::Length;
                    text
                }
                Act::Fail(kind) => return Err(CallError { kind, message: "the forward failed".to_owned() }),
                Act::Stall => std::future::pending().await,
                Act::Panic => panic!("scripted"),
                Act::Babble => {
                    let mut text = String::new();
                    for n in 0..call.tokens_max {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        progress(Progress::Text(&format!("word{n} ")));
                        text.push_str(&format!("word{n} "));
                    }
                    finish = Finish::Length;
                    text
                }
            };
            for piece in text.split_inclusive(' ').filter(|_| finish == Finish::Stop) {
                if !word_wait.is_zero() {
                    tokio::time::sleep(word_wait).await;
                }
                progress(Progress::Text(piece));
            }
            let completion_tokens = count(&text) as u64;
            let usage = CallUsage {
                prompt_tokens: u64::from(prompt_tokens),
                cached_tokens: 0,
                completion_tokens,
                steps: completion_tokens + 1,
                batch_sum: 2 * (completion_tokens + 1),
            };
            Ok(Reply { text, finish, usage })
        })
    }
}

pub struct Ran {
    pub outcome: Outcome,
    /// The events that have a number of their own; those of the last time, if the run went on.
    pub events: Vec<Value>,
    /// The text of the answer as somebody has it who follows the run.
    pub streamed: String,
    pub journal: Journal,
    pub folder: tempfile::TempDir,
}

impl Ran {
    /// Goes on with the run, as `start` says.
    pub fn go_on(self, planner: &Arc<Scripted>, workers: &[Arc<Scripted>], start: RunStart) -> Self {
        let Self { journal, folder, .. } = self;
        drop(journal);
        go_on(folder, planner, workers, start)
    }

    /// The file of its record.
    pub fn record(&self) -> std::path::PathBuf {
        record(&self.folder)
    }

    pub fn types(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["type"].as_str()).collect()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.types().iter().filter(|name| **name == kind).count()
    }
}

pub fn play(planner: &Arc<Scripted>, workers: &[Arc<Scripted>], request: &RunRequest) -> Ran {
    play_with(planner, workers, None, request, &Cancel::new(), |_| {})
}

pub fn play_with(
    planner: &Arc<Scripted>,
    workers: &[Arc<Scripted>],
    embed: Option<Arc<dyn Embed>>,
    request: &RunRequest,
    cancel: &Cancel,
    look: impl FnMut(&RunEvent) + Send,
) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    do_work(folder, (planner, workers, embed), RunStart::new(request.clone()), cancel, look)
}

/// Goes on with a run whose record is in a folder.
pub fn go_on(
    folder: tempfile::TempDir,
    planner: &Arc<Scripted>,
    workers: &[Arc<Scripted>],
    start: RunStart,
) -> Ran {
    do_work(folder, (planner, workers, None), start, &Cancel::new(), |_| {})
}

/// A record with a run of which only the first events are there, as after a kill. Returns the run's id.
pub fn killed_after(events: &[Event], inputs: &[Input]) -> (tempfile::TempDir, Journal, String) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&record(&folder)).unwrap();
    let id = journal.create_run().unwrap().id;
    for (at, input) in inputs.iter().enumerate() {
        journal.keep_input(&id, at, &input.name, &input.text).unwrap();
    }
    for Event { kind, ms, body, .. } in events {
        journal.append(&id, kind, *ms, body).unwrap();
    }
    (folder, journal, id)
}

/// The record of runs in a folder.
pub fn record(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("runs.sqlite")
}

/// A planner, its workers, and an embedder.
type ScriptedBand<'a> = (&'a Arc<Scripted>, &'a [Arc<Scripted>], Option<Arc<dyn Embed>>);

fn do_work(
    folder: tempfile::TempDir,
    (planner, workers, embed): ScriptedBand<'_>,
    start: RunStart,
    cancel: &Cancel,
    mut look: impl FnMut(&RunEvent) + Send,
) -> Ran {
    let workers = workers.iter().map(|worker| Worker::explicit(Arc::clone(worker) as Arc<dyn Llm>)).collect();
    let band = Band { planner: Arc::clone(planner) as Arc<dyn Llm>, workers, embed };
    let journal = AsyncJournal::open(&record(&folder)).unwrap();
    let before = start.state().last_seq;
    let (mut events, mut streamed) = (Vec::new(), String::new());
    let mut observer = |event: &RunEvent| {
        look(event);
        match &event.kind {
            EventKind::AnswerDelta { text } => streamed.push_str(text),
            EventKind::TaskRetried { .. } => streamed.clear(),
            _ => {}
        }
        if event.kind.is_transient() {
            assert_eq!(event.seq, before + events.len() as u64, "it has the number of the event before it");
        } else {
            events.push(serde_json::to_value(event).unwrap());
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(run(&band, start, &journal, &mut observer, cancel)).unwrap();
    let journal = Journal::open(&record(&folder)).unwrap();
    runtime.shutdown_background();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (before + 1..=before + seqs.len() as u64).collect();
    assert_eq!(seqs, expected, "events are numbered without gaps");
    assert_eq!(journal.events(&outcome.id, before).unwrap().len(), events.len(), "every event is recorded");
    Ran { outcome, events, streamed, journal, folder }
}

pub fn farms(count: usize) -> Vec<Input> {
    (0..count)
        .map(|n| Input {
            name: format!("farm{n}.md"),
            text: format!("Farm number {n} lies by the river.\n\nIt keeps {} sheep in winter.", 10 * (n + 1)),
        })
        .collect()
}

pub const GOAL: &str = "Each file is about one farm. List how many sheep each keeps, and the total.";

pub fn map_request(count: usize) -> RunRequest {
    RunRequest { inputs: farms(count), strategy: Some(StrategyName::Map), ..RunRequest::new(GOAL) }
}

pub fn slots() -> String {
    json!({"find": "number of sheep the farm keeps", "answer_is": "number", "combine": ["list", "total"]})
        .to_string()
}

/// The number of sheep in the text of a reader's prompt.
pub fn sheep(call: &Call) -> u64 {
    let text = &call.messages[0].content;
    let before = text.split(" sheep in winter").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

pub fn reading(call: &Call) -> Act {
    let sheep = sheep(call);
    say(json!({"subject": format!("Farm number {}", sheep / 10 - 1), "answer": sheep}).to_string())
}

/// A planner that fills slots correctly and answers with the results as they were given.
pub fn obedient_planner() -> Arc<Scripted> {
    scripted("big", |call, _| {
        if call.schema.is_some() {
            return if last(call).contains("look up in every single text") {
                say(slots())
            } else {
                reading(call)
            };
        }
        let lines = last(call).lines().filter(|line| line.starts_with("- ") || line.starts_with("Total"));
        say(lines.collect::<Vec<_>>().join("\n"))
    })
}
