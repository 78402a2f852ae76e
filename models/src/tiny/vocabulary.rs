//! A byte-level BPE vocabulary small enough to read, with ChatML's special tokens and template.

use crate::gguf::Writer;

/// Pairs to merge, in order of priority. The merged strings are tokens after the 256 bytes. `Ġ` stands for a space.
const MERGES: [&str; 25] = [
    "t h", "i n", "Ġ a", "h e", "r e", "o n", "th e", "Ġ t", "e r", "a n", "Ġt he", "i s", "a t", "o r",
    "e n", "in g", "an d", "Ġ s", "o u", "e s", "l l", "Ġa n", "Ġan d", "s t", "1 0",
];
const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// The ids in use; those beyond are padding.
pub(super) const TOKENS: usize = 256 + MERGES.len() + SPECIALS.len();

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + \
                      '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Writes the vocabulary, padded to `vocab` ids, and the chat template.
pub(super) fn write(file: &mut Writer, pre: &str, vocab: usize) {
    let mut tokens: Vec<String> = (0..=255).map(|byte| letter(byte).to_string()).collect();
    tokens.extend(MERGES.iter().map(|pair| pair.replace(' ', "")));
    let mut kinds = vec![NORMAL; tokens.len()];
    let first_special = tokens.len() as u32;
    tokens.extend(SPECIALS.map(str::to_owned));
    kinds.resize(tokens.len(), CONTROL);
    tokens.extend((tokens.len()..vocab).map(|id| format!("<|unused_{id}|>")));
    kinds.resize(tokens.len(), UNUSED);
    file.set("tokenizer.ggml.model", "gpt2")
        .set("tokenizer.ggml.pre", pre)
        .set("tokenizer.ggml.tokens", &tokens)
        .set("tokenizer.ggml.token_type", &kinds)
        .set("tokenizer.ggml.merges", &MERGES)
        .set("tokenizer.ggml.bos_token_id", &first_special)
        .set("tokenizer.ggml.padding_token_id", &first_special)
        .set("tokenizer.ggml.eos_token_id", &(first_special + 2))
        .set("tokenizer.ggml.add_bos_token", &false)
        .set("tokenizer.chat_template", CHATML);
}

/// The character for a byte in byte-level BPE: itself if printable Latin-1, else the next one from U+0100 on. Source:
/// GPT-2's `bytes_to_unicode`.
fn letter(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|&earlier| !printable(earlier)).count() as u32;
    char::from_u32(0x100 + place).expect("at most 68 bytes are not printable")
}
