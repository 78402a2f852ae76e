//! Flags of `serve` about the models that are asked for, and the names they answer to.

use clap::Args;

/// Which models are there from the start, and under which names.
#[derive(Debug, Args)]
pub struct NameFlags {
    /// Load this model before the first request; may be repeated. Others are loaded when they are asked for. A single one
    /// also answers under any name that no model here has
    #[arg(long = "model", value_name = "M")]
    pub models: Vec<String>,
    /// Another name for the first --model, or for the one named behind `=`; may be repeated
    #[arg(long = "alias", value_name = "NAME[=M]")]
    pub aliases: Vec<String>,
}
