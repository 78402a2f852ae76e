//! Free plans that a real model writes at temperature 1: each is a graph that can be carried out, and its run ends. The
//! tasks are done by scripted workers. `BANDMASTER_FREE_PLANS` is their number.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bandmaster::band::{LoadSettings, Loader};
use bandmaster::engine::EngineConfig;
use bandmaster::hub::{LocalModel, Role};
use bandmaster::journal::AsyncJournal;
use bandmaster::orchestrator::{
    Band, BoxFuture, Call, CallEnd, CallError, Cancel, EventKind, Llm, Message, Progress, Reply, RunRequest,
    RunStart, SessionLlm, StrategyName, Worker, run,
};
use bandmaster_models::KvType;
use serde_json::Value;

use super::scripted::*;

/// Runs at the same time, whose plans share batches.
const AT_A_TIME: usize = 16;
const WORKERS: [&str; 6] = ["ada", "ben", "cleo", "dora", "emil", "fay"];

/// A planner whose plans come from a real model at temperature 1, and everything else from a script.
struct Drawn {
    model: SessionLlm,
    script: Arc<Scripted>,
}

impl Llm for Drawn {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn context_tokens(&self) -> usize {
        self.model.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        self.model.prompt_tokens(messages)
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        if call.schema.is_none() {
            return self.script.generate(call, progress);
        }
        Box::pin(async move {
            let drawn = Call { temperature: 1.0, ..call.clone() };
            self.model.generate(&drawn, progress).await
        })
    }
}

pub(super) fn model(path: &std::path::Path) -> SessionLlm {
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().min(4));
    let settings = LoadSettings { threads, context_tokens: 4096, keep_packed: false, kv_type: KvType::F16 };
    let config = EngineConfig { cache_bytes_max: 512 << 20, ..EngineConfig::with_memory_bytes(2 << 30) };
    let loader = Loader::start(config, settings).unwrap();
    let (name, path) = ("smollm2-135m".to_owned(), path.to_owned());
    let local = LocalModel { name, role: Role::Worker, path, bytes: 0, memory_bytes: 1 << 30 };
    SessionLlm::new(loader.model(&local, None).unwrap())
}

fn script(name: &str) -> Arc<Scripted> {
    scripted(name, |call, _| {
        let prompt = last(call);
        if prompt.contains("with one number and nothing else") {
            return say(if prompt.contains(" sheep in winter") {
                sheep(call).to_string()
            } else {
                "7".to_owned()
            });
        }
        match prompt.split_once("Results:\n") {
            Some((_, results)) => say(results.split("\n\nAnswer the goal").next().unwrap()),
            None => say("The farm keeps sheep by the river."),
        }
    })
}

/// Checks a plan without the code that made its schema. Returns its form: the jobs, and who needs whom.
fn form(json: &str, inputs: usize) -> Result<String, String> {
    let plan: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let tasks = plan["tasks"].as_array().filter(|tasks| !tasks.is_empty()).ok_or("it has no tasks")?;
    let mut known: HashSet<&str> = HashSet::new();
    let mut form = String::new();
    for (at, item) in tasks.iter().enumerate() {
        let (id, task) = (item["id"].as_str().unwrap_or_default(), &item["task"]);
        let needs: Vec<&str> =
            item["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let job = task["job"].as_str().unwrap_or_default();
        let has_worker =
            task["worker"].as_str().is_some_and(|name| name == "planner" || WORKERS.contains(&name));
        let says = task["do"].as_str().is_some_and(|text| text.chars().count() >= 4);
        let reads =
            task["input"].as_str().is_some_and(|name| (0..inputs).any(|n| name == format!("farm{n}.md")));
        let is_right = match job {
            "read" => has_worker && says && reads,
            "step" | "write" => has_worker && says,
            "calculate" => task["figure"].is_string() && !needs.is_empty(),
            _ => false,
        };
        if id != format!("t{}", at + 1) || !is_right || needs.iter().any(|need| !known.contains(need)) {
            return Err(format!("task {} can't be carried out: {item}", at + 1));
        }
        known.insert(id);
        form.push_str(&format!("{job} {needs:?}; "));
    }
    Ok(form)
}

#[derive(Default)]
struct Sum {
    plans: usize,
    invalid: Vec<String>,
    forms: HashSet<String>,
    tasks: usize,
    statuses: BTreeMap<String, usize>,
    partials: usize,
    replans: usize,
    rejected: usize,
}

async fn draw(number: u64, band: &Band, journal: &AsyncJournal, sum: &Mutex<Sum>) {
    let inputs = 3;
    let request = RunRequest {
        inputs: farms(inputs),
        strategy: Some(StrategyName::Free),
        // Seeds of later attempts are the next ones.
        seed: 10 * number,
        ..RunRequest::new(
            "Find out how many sheep each farm keeps, add them up, and write a note on the farms.",
        )
    };
    let mut seen = Vec::new();
    let mut observer = |event: &bandmaster::orchestrator::RunEvent| seen.push(event.kind.clone());
    let outcome = run(band, RunStart::new(request), journal, &mut observer, &Cancel::new()).await.unwrap();
    let mut sum = sum.lock().unwrap();
    let mut has_plan = false;
    for event in &seen {
        match event {
            // A call that the machine was too slow for gives no plan, and is made again.
            EventKind::TaskOutput { task, output, end: CallEnd::Reply(_), .. }
                if task == "plan" && !has_plan =>
            {
                has_plan = true;
                sum.plans += 1;
                match form(output, inputs) {
                    Ok(form) => drop(sum.forms.insert(form)),
                    Err(why) => sum.invalid.push(format!("plan {number}: {why}\n{output}")),
                }
            }
            EventKind::TaskFailed { task, .. } if task == "plan" => sum.rejected += 1,
            EventKind::TaskPartial { .. } => sum.partials += 1,
            EventKind::ReplanStarted { .. } => sum.replans += 1,
            _ => {}
        }
    }
    assert!(!outcome.answer.trim().is_empty() && outcome.error.is_none(), "plan {number}: {outcome:#?}");
    sum.tasks += outcome.tasks.len();
    *sum.statuses.entry(outcome.status.to_string()).or_default() += 1;
}

#[test]
fn every_plan_that_a_small_model_draws_is_valid_and_is_carried_out() {
    let Some(path) = bandmaster_test_support::model("smollm2-135m.gguf") else { return };
    let count = std::env::var("BANDMASTER_FREE_PLANS").ok().and_then(|count| count.parse().ok()).unwrap_or(8);
    let planner = Arc::new(Drawn { model: model(&path), script: script("big") });
    let workers = WORKERS.map(|name| Worker::explicit(script(name) as Arc<dyn Llm>)).to_vec();
    let band = Arc::new(Band { planner, workers, embed: None });
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(AsyncJournal::open(&record(&folder)).unwrap());
    let (sum, next) = (Arc::new(Mutex::new(Sum::default())), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (band, journal) = (Arc::clone(&band), Arc::clone(&journal));
            let (sum, next) = (Arc::clone(&sum), Arc::clone(&next));
            runs.spawn(async move {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    draw(number, &band, &journal, &sum).await;
                }
            });
        }
        while let Some(ended) = runs.join_next().await {
            ended.unwrap();
        }
    });
    let sum = sum.lock().unwrap();
    eprintln!(
        "{} plans, {} forms, {} tasks, {} parts taken while the planner wrote, {} plans rejected by content, \
{} new plans, {:?}",
        sum.plans,
        sum.forms.len(),
        sum.tasks,
        sum.partials,
        sum.rejected,
        sum.replans,
        sum.statuses
    );
    assert!(sum.invalid.is_empty(), "{} invalid: {}", sum.invalid.len(), sum.invalid.join("\n"));
    assert_eq!(sum.plans as u64, count);
    assert!(sum.forms.len() as u64 >= count / 5, "{} forms of {count} plans", sum.forms.len());
}
