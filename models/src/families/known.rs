//! The metadata keys of an architecture that are known, and their allowed values. A key that would change the
//! computation and is not supported is refused: ignoring it would give answers that are not the model's.
//!
//! The names are those of ggml's documentation of GGUF and of llama.cpp.

use super::keys::Keys;
use crate::gguf::{FromValue, Value};
use crate::spec::{Feature, SpecError};

/// How a key is treated.
enum Rule {
    /// Read elsewhere in this folder, where its value is checked.
    Used,
    /// Does not affect the computation.
    Harmless,
    /// Only these values are allowed; any other asks for the unsupported feature.
    Only(&'static [&'static str], Feature),
}

use Rule::{Harmless, Only, Used};

/// The values that mean "no", for each type.
const OFF: &[&str] = &["0", "false", ""];
/// Values that mean "no factor".
const NO_FACTOR: &[&str] = &["0", "1"];

/// Keys without the architecture's prefix. Others are refused unless their value is in [`OFF`].
const KEYS: &[(&str, Rule)] = &[
    ("attention.causal", Only(&["true"], Feature::Encoder)),
    ("attention.clamp_kqv", Only(OFF, Feature::AttentionShape)),
    ("attention.head_count", Used),
    ("attention.head_count_kv", Used),
    ("attention.key_length", Used),
    // For layers with a sliding window, which are not supported.
    ("attention.key_length_swa", Harmless),
    // For norms that subtract a mean. RMS norms have a key of their own, which is required.
    ("attention.layer_norm_epsilon", Harmless),
    ("attention.layer_norm_rms_epsilon", Used),
    ("attention.max_alibi_bias", Only(OFF, Feature::AttentionShape)),
    ("attention.output_scale", Only(NO_FACTOR, Feature::Scale)),
    ("attention.scale", Used),
    ("attention.sliding_window", Used),
    // Says which layers have the window.
    ("attention.sliding_window_pattern", Harmless),
    ("attention.value_length", Used),
    ("attention.value_length_swa", Harmless),
    ("attention.value_scale", Only(NO_FACTOR, Feature::Scale)),
    ("attn_logit_softcapping", Only(OFF, Feature::Softcap)),
    ("block_count", Used),
    ("context_length", Used),
    ("embedding_length", Used),
    ("embedding_scale", Only(NO_FACTOR, Feature::Scale)),
    ("expert_count", Only(OFF, Feature::Experts)),
    ("expert_used_count", Only(OFF, Feature::Experts)),
    ("feed_forward_length", Used),
    ("final_logit_softcapping", Only(OFF, Feature::Softcap)),
    ("hidden_activation", Only(&["silu"], Feature::LayerShape)),
    ("logit_scale", Only(NO_FACTOR, Feature::Scale)),
    ("nextn_predict_layers", Only(OFF, Feature::NextTokens)),
    ("pooling_type", Only(OFF, Feature::Encoder)),
    ("residual_scale", Only(NO_FACTOR, Feature::Scale)),
    ("rope.dimension_count", Used),
    ("rope.dimension_count_swa", Harmless),
    ("rope.dimension_sections", Only(OFF, Feature::PartialRope)),
    ("rope.freq_base", Used),
    ("rope.freq_base_swa", Harmless),
    ("rope.scale_linear", Used),
    ("rope.scaling.attn_factor", Only(&["1"], Feature::RopeScaling)),
    ("rope.scaling.factor", Used),
    // Whether the model was trained further after its context was extended.
    ("rope.scaling.finetuned", Harmless),
    ("rope.scaling.original_context_length", Used),
    ("rope.scaling.type", Used),
    ("rope.scaling.yarn_attn_factor", Only(&["1"], Feature::RopeScaling)),
    ("rope.scaling.yarn_beta_fast", Only(&["32"], Feature::RopeScaling)),
    ("rope.scaling.yarn_beta_slow", Only(&["1"], Feature::RopeScaling)),
    ("rope.scaling.yarn_ext_factor", Only(&["1"], Feature::RopeScaling)),
    ("rope.scaling.yarn_log_multiplier", Only(OFF, Feature::RopeScaling)),
    // Says where a checkpoint came from. The architecture decides how rows are ordered for rope.
    ("tensor_data_layout", Harmless),
    ("use_parallel_residual", Only(OFF, Feature::LayerShape)),
    // The number of embedding rows decides.
    ("vocab_size", Harmless),
];

/// Refuses a file that needs an unsupported feature.
pub(super) fn check(keys: &Keys<'_>) -> Result<(), SpecError> {
    let prefix = keys.full("");
    for (key, value) in keys.gguf.metadata() {
        let Some(suffix) = key.strip_prefix(&prefix) else { continue };
        let text = text_of(&value);
        match KEYS.iter().find(|(known, _)| *known == suffix).map(|(_, rule)| rule) {
            Some(Used | Harmless) => {}
            Some(Only(allowed, _)) if allowed.contains(&text.as_str()) => {}
            Some(Only(_, feature)) => return Err(keys.feature_error(suffix, text, *feature)),
            None if OFF.contains(&text.as_str()) => {}
            None => return Err(SpecError::UnknownKey { key: crate::gguf::shortened(key), value: text }),
        }
    }
    Ok(())
}

/// A value as shown in messages. An array whose elements are all off counts as off.
fn text_of(value: &Value<'_>) -> String {
    if let Value::Array(array) = value {
        let off = array.iter().all(|element| OFF.contains(&text_of(&element).as_str()));
        return if off { String::new() } else { value.type_name() };
    }
    let number = f32::from_value(value).map(|number| number.to_string());
    let whole = || i64::from_value(value).map(|number| number.to_string());
    let truth = || bool::from_value(value).map(|truth| truth.to_string());
    let string = || <&str>::from_value(value).map(crate::gguf::shortened);
    number.or_else(whole).or_else(truth).or_else(string).unwrap_or_else(|| value.type_name())
}
