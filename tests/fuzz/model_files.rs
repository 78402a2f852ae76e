//! Fuzzes what comes with a model: its chat template and its vocabulary.

use std::sync::LazyLock;

use bandmaster::text::{ChatTemplate, Message, Role, Tokenizer};
use bandmaster_models::gguf::{Gguf, Writer};

use crate::harness::{Target, fuzz};

const TEMPLATES: &[&str] = &[
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- set ns = namespace(first=true, text='') %}{%- for message in messages if message.role != 'tool' %}{%- if loop.first and message.role == 'system' %}{%- set ns.text = message.content %}{%- elif (message.role == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('roles') if false else '' }}{%- endif %}{{ ns.text ~ bos_token ~ message.content[:500] | trim }}{%- endfor %}{{ eos_token }}",
    "{% macro show(x, depth=0) %}{{ x | tojson(indent=2) if x is mapping else x | string | replace('a', 'b') }}{% endmacro %}{% for m in messages[::-1] %}{{ show(m) }}{{ show(m.content.split(' ')[-1].strip()) }}{% endfor %}{{ tools | length if tools is defined and tools is not none else 0 }}",
];
const TEMPLATE_WORDS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-%}",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    ".",
    ",",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "==",
    "not ",
    "and ",
    "or ",
    "in ",
    "is ",
    "if ",
    "else ",
    "endif",
    "for ",
    "endfor",
    "set ",
    "macro ",
    "endmacro",
    "call ",
    "endcall",
    "filter ",
    "include ",
    "import ",
    "extends ",
    "block ",
    "tojson",
    "messages",
    "message",
    "loop",
    "namespace()",
    "range(9)",
    "range(99999999)",
    "none",
    "true",
    "'a' * 9999999",
    "raise_exception('x')",
    "strftime_now('%Y')",
    "recursive",
    "loop(messages)",
    "self",
    "caller()",
    "joiner()",
];

#[test]
fn chat_templates() {
    fuzz(&Target {
        name: "chat template",
        seeds: TEMPLATES,
        words: TEMPLATE_WORDS,
        read: &|bytes| {
            let source = String::from_utf8_lossy(bytes);
            let Ok(template) = ChatTemplate::new(&source, "<s>".to_owned(), "</s>".to_owned()) else {
                return false;
            };
            let messages = [
                Message::new(Role::System, "Be brief."),
                Message::new(Role::User, "Hello there, what is 2 + 2?"),
                Message::new(Role::Assistant, "4"),
                Message::new(Role::User, "And 3 + 3?"),
            ];
            template.render(&messages, &[], true).is_ok()
        },
    });
}

/// A byte-level vocabulary with a few merges and control tokens.
static VOCABULARY: LazyLock<Tokenizer> = LazyLock::new(|| {
    let tokens: Vec<String> = (0..=255u8).map(|byte| spelled(byte).to_string()).collect();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "a a", "aa aa", "Ã ¤"];
    let merged = merges.iter().map(|merge| merge.replace(' ', ""));
    let tokens: Vec<String> = tokens.into_iter().chain(merged).collect();
    let gguf = vocabulary(&tokens, &merges);
    Tokenizer::from_gguf(&gguf).expect("a sound vocabulary")
});

fn vocabulary(tokens: &[String], merges: &[&str]) -> Gguf {
    let special = ["<|im_start|>", "<|im_end|>", "<tool>"];
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).chain(special).collect();
    let kinds: Vec<i32> = tokens.iter().map(|token| if special.contains(token) { 3 } else { 1 }).collect();
    let mut writer = Writer::new();
    writer
        .set("tokenizer.ggml.model", "gpt2")
        .set("tokenizer.ggml.pre", "qwen2")
        .set("tokenizer.ggml.tokens", &tokens[..])
        .set("tokenizer.ggml.token_type", &kinds[..])
        .set("tokenizer.ggml.merges", merges)
        .set("tokenizer.ggml.eos_token_id", &(tokens.len() as u32 - 2));
    Gguf::from_bytes(writer.finish()).expect("what the writer writes can be read")
}

/// GPT-2's spelling of a byte.
fn spelled(byte: u8) -> char {
    let shown = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shift = (0..byte).filter(|b| !matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)).count() as u32;
    let code = if shown { u32::from(byte) } else { 256 + shift };
    char::from_u32(code).expect("below the surrogates")
}

#[test]
fn texts_to_tokens() {
    fuzz(&Target {
        name: "tokenizer",
        seeds: &[
            "Hello world, hello  welt äöü\n\n\tdef f(x): return x**2  # 12345 \u{1f469}\u{200d}\u{1f692}",
            "<|im_start|>user\nHi<|im_end|>\n<tool>aaaaaaaaaaaaaaaaaaaaaaaaaaaa</tool> 漢字かな交じり文 e\u{301}",
        ],
        words: &[
            "<|im_start|>",
            "<|im_",
            "<tool>",
            "hello",
            "aaaa",
            "Ã",
            "ä",
            "'s",
            "\r\n",
            "\u{3000}",
            "١٢٣",
            "\u{0}",
        ],
        read: &|bytes| {
            let text = String::from_utf8_lossy(bytes);
            for special in [false, true] {
                let ids = VOCABULARY.encode(&text, special);
                let bytes: Vec<u8> =
                    ids.iter().flat_map(|id| VOCABULARY.decode_bytes(*id)).copied().collect();
                assert_eq!(String::from_utf8_lossy(&bytes), text, "every text comes back");
            }
            std::str::from_utf8(bytes).is_ok()
        },
    });
}

/// Each line of the input is a token of a vocabulary, and each line with a space is also a merge.
#[test]
fn vocabularies() {
    fuzz(&Target {
        name: "vocabulary",
        seeds: &["a\nb\nc\na b\nab c\nabc d\nĠ\nĠ a\n<0x0A>\n▁the\n<unk>\n</s>"],
        words: &["a", "b", " ", "\n", "a b", "Ġ", "▁", "<0xFF>", "<unk>", "<s>", "", "ab"],
        read: &|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let tokens: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
            let merges: Vec<&str> = text.lines().filter(|line| line.contains(' ')).collect();
            let Ok(tokenizer) = Tokenizer::from_gguf(&vocabulary(&tokens, &merges)) else { return false };
            let ids = tokenizer.encode("abc abd the cab<|im_end|>\n", true);
            assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
            std::hint::black_box(tokenizer.decode(&ids));
            true
        },
    });
}
