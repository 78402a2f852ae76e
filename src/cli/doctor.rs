//! `doctor`: reports the machine, the settings and what to improve.

use std::fmt::Write as _;
use std::process::ExitCode;

use bandmaster_models::Cpu;
use serde_json::{Value, json};

use super::config::{Config, ShownSetting};
use super::error::CliError;
use super::machine::{Machine, instruction_sets};
use super::{print, print_json, table};
use crate::bench::throughput::MachineLimits;
use crate::hub::{Band, Catalog, Hub, LocalModel, disk_available, format_file_size, format_memory_size};

struct Findings<'a> {
    config: &'a Config,
    machine: &'a Machine,
    instruction_sets: Vec<&'static str>,
    limits: MachineLimits,
    /// Instruction set that the kernels use.
    kernels: &'static str,
    disk_available_bytes: Option<u64>,
    band: Band,
    /// Models of the band that are installed.
    found: Vec<LocalModel>,
    missing: Vec<String>,
    installed: usize,
}

pub fn doctor(config: &Config, json: bool) -> Result<ExitCode, CliError> {
    let hub = config.hub();
    let findings = look(config, &hub)?;
    if json { print_json(&as_json(&findings, &hub)) } else { print(&as_text(&findings)) }
}

fn look<'a>(config: &'a Config, hub: &Hub) -> Result<Findings<'a>, CliError> {
    let band = config.band(hub);
    let missing: Vec<String> = hub.missing(&band.models())?.into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    for name in band.models().into_iter().filter(|name| !missing.iter().any(|other| other == name)) {
        found.push(hub.find(name)?);
    }
    let cpu = Cpu::new(config.threads.value);
    Ok(Findings {
        config,
        machine: &config.machine,
        instruction_sets: instruction_sets(),
        limits: MachineLimits::measure(&cpu),
        kernels: cpu.isa().name(),
        disk_available_bytes: disk_available(&config.home.value.models_dir),
        band,
        found,
        missing,
        installed: hub.installed().len(),
    })
}

impl Findings<'_> {
    /// Problems and slow settings, each with what to do.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let needed: u64 = self.found.iter().map(|model| model.memory_bytes).sum();
        let free = self.machine.memory_available_bytes;
        if !self.missing.is_empty() {
            advice.push(format!(
                "the band lacks {}: `bandmaster models pull {}` fetches it",
                self.missing.join(", "),
                self.missing.join(" ")
            ));
        }
        if needed > self.config.memory_bytes.value {
            let allowed = format_memory_size(self.config.memory_bytes.value);
            advice.push(format!(
                "the band needs about {}, but --memory allows {allowed}",
                format_memory_size(needed)
            ));
        } else if needed > free {
            advice.push(format!(
                "the band needs about {}, but {} are free now",
                format_memory_size(needed),
                format_memory_size(free)
            ));
        }
        if self.limits.int8_macs_per_s.is_none() {
            let why = "there are no kernels for this processor yet (x86-64 with AVX2 or better has them)";
            advice.push(format!("{why}: portable code is used, which is about ten times slower"));
        }
        advice
    }

    /// Upper bound on decoding speed of a single sequence, in tokens per second: each token reads every weight once.
    /// `None` for embedding models, which don't decode.
    fn decode_limit(&self, model: &LocalModel) -> Option<f64> {
        let decodes = self.band.embeddings.as_deref() != Some(&model.name);
        decodes.then(|| self.limits.memory_bytes_per_s / model.bytes as f64)
    }
}

fn as_json(findings: &Findings, hub: &Hub) -> Value {
    let machine = findings.machine;
    let settings = findings.config.effective();
    let setting = |shown: &ShownSetting| json!({"name": shown.about.name, "value": shown.value, "origin": shown.origin.to_string()});
    let limit = |model: &LocalModel| {
        json!({"name": model.name, "bytes": model.bytes, "memory_bytes": model.memory_bytes,
               "decode_limit_tokens_per_s": findings.decode_limit(model)})
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": {
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "cores_physical": machine.cores_physical,
            "cores_logical": machine.cores_logical,
            "instruction_sets": findings.instruction_sets,
            "memory_bytes": machine.memory_bytes,
            "memory_available_bytes": machine.memory_available_bytes,
        },
        "measured": {"memory_read_bytes_per_s": findings.limits.memory_bytes_per_s.round(),
                     "int8_macs_per_s": findings.limits.int8_macs_per_s.map(f64::round)},
        "kernels": findings.kernels,
        "disk": {"path": findings.config.home.value.models_dir, "available_bytes": findings.disk_available_bytes},
        "devices": ["cpu"],
        "models": hub.list().into_iter().filter(|model| model.installed).collect::<Vec<_>>(),
        "band": findings.band,
        "band_models": findings.found.iter().map(limit).collect::<Vec<Value>>(),
        "missing": findings.missing,
        "settings": settings.iter().map(setting).collect::<Vec<Value>>(),
        "advice": findings.advice(),
    })
}

fn as_text(findings: &Findings) -> String {
    let machine = findings.machine;
    let disk = findings
        .disk_available_bytes
        .map_or_else(|| "unknown".to_owned(), |bytes| format_file_size(bytes) + " free");
    let cores = format!("{} physical, {} logical", machine.cores_physical, machine.cores_logical);
    let memory = format!(
        "{}, {} free now",
        format_memory_size(machine.memory_bytes),
        format_memory_size(machine.memory_available_bytes)
    );
    let rate = format!(
        "{:.1} GB/s with {} threads",
        findings.limits.memory_bytes_per_s / 1e9,
        findings.config.threads.value
    );
    let kernels = match findings.limits.int8_macs_per_s {
        Some(rate) => {
            let threads = findings.config.threads.value;
            format!("{}: {:.0} GMAC/s (int8) with {threads} threads at best", findings.kernels, rate / 1e9)
        }
        None => findings.kernels.to_owned(),
    };
    let sets = match findings.instruction_sets.as_slice() {
        [] => "none that the kernels use".to_owned(),
        sets => sets.join(" "),
    };
    let installed =
        format!("{} installed of {} in the catalog", findings.installed, Catalog::builtin().entries.len());
    let mut rows: Vec<Vec<String>> = [
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("cores", cores),
        ("instructions", sets),
        ("memory", memory),
        ("memory reads", rate),
        ("kernels", kernels),
        ("disk", disk),
        ("device", "cpu".to_owned()),
        ("models", installed),
        ("planner", findings.band.planner.clone()),
        ("workers", findings.band.workers.join(", ")),
        ("embeddings", findings.band.embeddings.clone().unwrap_or_else(|| "none".to_owned())),
    ]
    .into_iter()
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    rows.extend(findings.found.iter().map(|model| {
        let limit = findings.decode_limit(model);
        let limit =
            limit.map(|limit| format!(", {limit:.0} tokens/s at most for one sequence (memory reads)"));
        vec![format!("  {}", model.name), format_memory_size(model.memory_bytes) + &limit.unwrap_or_default()]
    }));
    let mut text = table(&rows);
    text.push_str("\nsettings\n");
    let settings = findings.config.effective().into_iter().map(|shown| {
        let value = shown.value.unwrap_or_else(|| shown.about.default.to_owned());
        vec![format!("  {}", shown.about.name), value, shown.origin.to_string()]
    });
    text.push_str(&table(&settings.collect::<Vec<_>>()));
    for advice in findings.advice() {
        let _ = write!(text, "\n! {advice}\n");
    }
    text
}
