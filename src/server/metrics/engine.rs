//! The engine's totals, encoded when the metrics are read. The engine counts them.

use std::fmt;

use bandmaster_text::{EngineModelStats, EngineStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A snapshot of the engine's statistics.
#[derive(Debug)]
pub(super) struct EngineCollector(pub(super) EngineStats);

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        totals(&self.0, &mut encoder)?;
        seconds(&self.0, &mut encoder)?;
        state(&self.0, &mut encoder)?;
        models(&self.0, &mut encoder)
    }
}

fn totals(stats: &EngineStats, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let tokens = || Some(Unit::Other("tokens".to_owned()));
    let totals = [
        ("engine_steps", None, stats.steps, "Steps that ran a model."),
        ("engine_failed_steps", None, stats.steps_failed, "Steps whose forward pass failed."),
        ("engine_batched_sequences", None, stats.batch_sum, "Sequences in the batch, summed over all steps."),
        ("engine_preemptions", None, stats.preemptions, "Times a sequence lost its cache blocks."),
        ("engine_loads", None, stats.loads, "Times a model was loaded, the first time included."),
        ("engine_requests", None, stats.requests, "Requests that the engine accepted."),
        ("engine_failed_requests", None, stats.requests_failed, "Requests that failed in the engine."),
        ("engine_job_turns", None, stats.job_turns, "Times that embedding work ran between steps."),
        ("engine_prefill", tokens(), stats.prefill_tokens, "Prompt tokens computed."),
        ("engine_decode", tokens(), stats.decode_tokens, "Tokens computed in decode steps."),
        ("engine_recomputed", tokens(), stats.recomputed_tokens, "Tokens computed again after preemption."),
        ("engine_cached", tokens(), stats.cached_tokens, "Prompt tokens found in the prefix cache."),
        ("engine_drafted", tokens(), stats.drafted_tokens, "Draft tokens proposed by speculative decoding."),
        ("engine_accepted", tokens(), stats.accepted_tokens, "Draft tokens that were accepted."),
    ];
    for (name, unit, value, help) in totals {
        let metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)?;
    }
    Ok(())
}

fn seconds(stats: &EngineStats, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let times = [
        ("engine_schedule", stats.schedule_us, "Time spent scheduling."),
        ("engine_run", stats.run_us, "Time spent running models, including sampling."),
        ("engine_commit", stats.commit_us, "Time spent committing results."),
        ("engine_jobs", stats.jobs_us, "Time spent computing embeddings."),
    ];
    for (name, us, help) in times {
        let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(us as f64 / 1e6).encode(metric)?;
    }
    Ok(())
}

fn state(stats: &EngineStats, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let bytes = [
        ("engine_cache_resident", stats.kv_bytes_resident, "Memory allocated to cache blocks."),
        ("engine_cache_held", stats.kv_bytes_held, "Memory of cache blocks that sequences hold."),
        (
            "engine_cache_max",
            stats.kv_bytes_max,
            "Memory that cache blocks may take: what the weights leave.",
        ),
        ("engine_weights", stats.weight_bytes, "Memory of the weights of loaded models."),
    ];
    for (name, value, help) in bytes {
        let metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)?;
    }
    let sequences = [
        ("engine_running_sequences", stats.running, "Sequences that hold cache blocks."),
        ("engine_waiting_sequences", stats.waiting, "Sequences that wait for cache blocks."),
        ("engine_jobs_underway", stats.jobs, "Embedding jobs that wait or are running."),
    ];
    for (name, value, help) in sequences {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)?;
    }
    let help = "Mean number of sequences in a step since the start.";
    let metric = encoder.encode_descriptor("engine_mean_batch_sequences", help, None, MetricType::Gauge)?;
    ConstGauge::new(stats.mean_batch()).encode(metric)
}

fn models(stats: &EngineStats, encoder: &mut DescriptorEncoder) -> fmt::Result {
    type Row = (&'static str, fn(&EngineModelStats) -> f64, &'static str);
    if stats.models.is_empty() {
        // A metric family must have at least one sample.
        return Ok(());
    }
    let totals: [Row; 3] = [
        ("model_steps", |model| model.steps as f64, "Steps that ran the model."),
        (
            "model_batched_sequences",
            |model| model.batch_sum as f64,
            "Sequences in the batch, summed over the model's steps.",
        ),
        ("model_loads", |model| model.loads as f64, "Times the model was loaded, the first time included."),
    ];
    let states: [Row; 2] = [
        ("model_resident", |model| f64::from(model.resident), "1 while the model's weights are in memory."),
        ("model_sequences", |model| model.sequences as f64, "Sequences of the model, running or waiting."),
    ];
    let per_model = |encoder: &mut DescriptorEncoder, (name, read, help): Row, unit, kind| {
        let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
        for model in &stats.models {
            let labels = [("model", model.name.as_str())];
            let metric = metric.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(read(model)).encode(metric)?,
                _ => ConstGauge::new(read(model)).encode(metric)?,
            }
        }
        Ok(())
    };
    for row in totals {
        per_model(encoder, row, None, MetricType::Counter)?;
    }
    let run: Row = ("model_run", |model| model.run_us as f64 / 1e6, "Time spent running the model.");
    per_model(encoder, run, Some(&Unit::Seconds), MetricType::Counter)?;
    for row in states {
        per_model(encoder, row, None, MetricType::Gauge)?;
    }
    let size: Row = ("model_cache_block", |model| model.blocks.block_bytes as f64, "Size of a cache block.");
    per_model(encoder, size, Some(&Unit::Bytes), MetricType::Gauge)?;
    blocks(stats, encoder)
}

fn blocks(stats: &EngineStats, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Cache blocks: held by sequences, cached for reuse, or empty.";
    let mut metric = encoder.encode_descriptor("model_cache_blocks", help, None, MetricType::Gauge)?;
    for model in &stats.models {
        let blocks = &model.blocks;
        for (state, count) in [("held", blocks.held), ("cached", blocks.cached), ("empty", blocks.empty)] {
            let labels = [("model", model.name.as_str()), ("state", state)];
            ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
