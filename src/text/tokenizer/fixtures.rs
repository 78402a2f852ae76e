//! Small vocabularies for tests, made in memory.

use bandmaster_models::gguf::{Gguf, Writer};

#[cfg(test)]
use super::Tokenizer;

/// GPT-2's spelling of a byte.
fn spelled(byte: u8) -> char {
    let code = u32::from(byte);
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0..=0x20 => 0x100 + code,
        0x7f..=0xa0 => 0x121 + code - 0x7f,
        0xad => 0x143,
    };
    char::from_u32(code).expect("all are characters")
}

/// Byte-level BPE: the 256 bytes, the given merges (`"h e"`), then `<|im_start|>`, `<|im_end|>` as control tokens.
#[cfg(test)]
pub(crate) fn byte_level(merges: &[&str]) -> Tokenizer {
    Tokenizer::from_gguf(&byte_level_gguf("gpt-2", merges)).expect("a sound vocabulary")
}

#[cfg(test)]
pub(crate) fn byte_level_gguf(pre: &str, merges: &[&str]) -> Gguf {
    byte_level_with(pre, merges, &[])
}

/// Adds tokens of the given kinds (3: control, 4: user-defined) in front of the last two.
pub(crate) fn byte_level_with(pre: &str, merges: &[&str], special: &[(&str, i32)]) -> Gguf {
    let mut tokens: Vec<String> = (0..=255).map(|byte| spelled(byte).to_string()).collect();
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut kinds = vec![1i32; tokens.len()];
    tokens.extend(special.iter().map(|(text, _)| text.to_string()));
    kinds.extend(special.iter().map(|(_, kind)| kind));
    tokens.extend(["<|im_start|>".to_string(), "<|im_end|>".to_string()]);
    kinds.extend([3, 3]);
    let mut writer = Writer::new();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    writer
        .set("tokenizer.ggml.model", "gpt2")
        .set("tokenizer.ggml.pre", pre)
        .set("tokenizer.ggml.tokens", &tokens[..])
        .set("tokenizer.ggml.token_type", &kinds[..])
        .set("tokenizer.ggml.merges", merges)
        .set("tokenizer.ggml.eos_token_id", &(tokens.len() as u32 - 1));
    Gguf::from_bytes(writer.finish()).expect("what the writer writes can be read")
}

#[cfg(test)]
pub(crate) fn byte_id(tokenizer: &Tokenizer, byte: u8) -> u32 {
    (0..256).find(|&id| tokenizer.decode_bytes(id) == [byte]).expect("all bytes are there")
}
