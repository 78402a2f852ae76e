//! Parses the metrics line by line and checks them strictly against the format.

use std::collections::{BTreeMap, BTreeSet};

use bandmaster_text::EngineModelStats;

use super::*;

/// The value of every sample by its name and labels.
type Samples = BTreeMap<String, f64>;

const SUFFIXES: [(&str, &[&str]); 3] =
    [("counter", &["_total"]), ("gauge", &[""]), ("histogram", &["_bucket", "_sum", "_count"])];

/// Parses OpenMetrics text; panics if it breaks the format's rules.
fn read(text: &str) -> (Samples, BTreeSet<String>) {
    let body = text.strip_suffix("# EOF\n").expect("it ends with the mark of its end");
    let (mut samples, mut counters, mut families) = (Samples::new(), BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').unwrap();
            let (name, value) = rest.split_once(' ').unwrap();
            match word {
                "HELP" => {
                    assert!(families.insert(name.to_owned()), "{name} stands twice");
                    assert!(value.ends_with('.') && value.len() > 8, "{line}");
                    assert!(name.starts_with("bandmaster_"), "{line}");
                    family = name.to_owned();
                }
                "TYPE" => kind = value.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                other => panic!("{other}: {line}"),
            }
            assert_eq!(name, family, "metadata stands together");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let name = series.split('{').next().unwrap();
        let labels = &series[name.len()..];
        assert!(labels.is_empty() || (labels.starts_with('{') && labels.ends_with("\"}")), "{line}");
        let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} outside {family}"));
        let (_, allowed) = SUFFIXES.iter().find(|(known, _)| *known == kind).unwrap();
        assert!(allowed.contains(&suffix), "{kind}: {line}");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        if kind != "gauge" {
            counters.insert(series.to_owned());
        }
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} stands twice");
    }
    (samples, counters)
}

fn stats(scale: u64) -> EngineStats {
    let mut stats = EngineStats::default();
    stats.steps = 10 * scale;
    stats.batch_sum = 25 * scale;
    stats.prefill_tokens = 100 * scale;
    stats.run_us = 1_500_000 * scale;
    stats.kv_bytes_resident = 4096;
    stats.waiting = 3;
    let name = "a \"quoted\" name".to_owned();
    let mut model =
        EngineModelStats { name, steps: 7 * scale, resident: true, ..EngineModelStats::default() };
    model.blocks.held = 5;
    model.blocks.block_bytes = 512;
    stats.models = vec![model];
    stats
}

fn answer_one(metrics: &Metrics) {
    metrics.request_began();
    let model = metrics.model("m");
    model.queued(Duration::from_millis(3));
    model.first_token(Duration::from_millis(40));
    model.next_token(Duration::from_millis(20));
    let usage = Usage { prompt_tokens: 12, cached_tokens: 8, completion_tokens: 3, ..Usage::default() };
    model.ended(Duration::from_millis(90), usage);
    metrics.request_ended("POST", "/v1/chat/completions", 200, Duration::from_millis(100));
}

#[test]
fn text_is_open_metrics_and_holds_what_was_counted() {
    let metrics = Metrics::new();
    read(&metrics.render(&EngineStats::default()));
    answer_one(&metrics);
    metrics.error("m", "model_failed");
    metrics.cancelled("m");
    let (samples, _) = read(&metrics.render(&stats(1)));
    let check = |series: &str, expected: f64| {
        assert_eq!(samples.get(series), Some(&expected), "{series}: {samples:#?}");
    };
    let post = "method=\"POST\",route=\"/v1/chat/completions\"";
    check(&format!("bandmaster_http_requests_total{{{post},status=\"200\"}}"), 1.0);
    check("bandmaster_http_requests_in_flight", 0.0);
    check("bandmaster_time_to_first_token_seconds_sum{model=\"m\"}", 0.04);
    check("bandmaster_time_to_first_token_seconds_bucket{le=\"0.025\",model=\"m\"}", 0.0);
    check("bandmaster_time_to_first_token_seconds_bucket{le=\"0.05\",model=\"m\"}", 1.0);
    check("bandmaster_time_between_tokens_seconds_bucket{le=\"+Inf\",model=\"m\"}", 1.0);
    check("bandmaster_request_duration_seconds_count{model=\"m\"}", 1.0);
    check("bandmaster_queue_time_seconds_sum{model=\"m\"}", 0.003);
    check("bandmaster_prompt_tokens_total{model=\"m\"}", 12.0);
    check("bandmaster_cached_prompt_tokens_total{model=\"m\"}", 8.0);
    check("bandmaster_completion_tokens_total{model=\"m\"}", 3.0);
    check("bandmaster_errors_total{model=\"m\",kind=\"model_failed\"}", 1.0);
    check("bandmaster_cancelled_requests_total{model=\"m\"}", 1.0);
    check("bandmaster_engine_steps_total", 10.0);
    check("bandmaster_engine_mean_batch_sequences", 2.5);
    check("bandmaster_engine_run_seconds_total", 1.5);
    check("bandmaster_engine_prefill_tokens_total", 100.0);
    check("bandmaster_engine_cache_resident_bytes", 4096.0);
    check("bandmaster_engine_waiting_sequences", 3.0);
    let model = "model=\"a \\\"quoted\\\" name\"";
    check(&format!("bandmaster_model_steps_total{{{model}}}"), 7.0);
    check(&format!("bandmaster_model_resident{{{model}}}"), 1.0);
    check(&format!("bandmaster_model_cache_blocks{{{model},state=\"held\"}}"), 5.0);
    check(&format!("bandmaster_model_cache_block_bytes{{{model}}}"), 512.0);
}

#[test]
fn counters_only_grow() {
    let metrics = Metrics::new();
    answer_one(&metrics);
    let (mut before, counters) = read(&metrics.render(&stats(1)));
    assert!(counters.len() > 80, "{}", counters.len());
    for round in 2..6 {
        answer_one(&metrics);
        metrics.error("", "invalid_request_error");
        let (after, _) = read(&metrics.render(&stats(round)));
        let grown = counters.iter().filter(|series| {
            assert!(after[*series] >= before[*series], "{series} fell");
            after[*series] > before[*series]
        });
        assert!(grown.count() > 40);
        before = after;
    }
}
