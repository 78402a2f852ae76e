//! Flags of `serve` that choose the models to load at start, and extra names for them.

use clap::Args;

#[derive(Debug, Args)]
pub struct NameFlags {
    /// Load this model before the first request: a catalog name, a path to a GGUF file, or
    /// hf:OWNER/REPO[:QUANT|FILE][@REV]; may be repeated. Other models load when first asked for. If only one is given,
    /// it also answers requests for unknown model names
    #[arg(long = "model", value_name = "M")]
    pub models: Vec<String>,
    /// Extra name for the first --model, or with NAME=M for model M; may be repeated
    #[arg(long = "alias", value_name = "NAME[=M]")]
    pub aliases: Vec<String>,
}
