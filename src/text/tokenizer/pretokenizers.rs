//! How text is cut into words before byte-pair merges, for each family named in `tokenizer.ggml.pre`.
//!
//! Each family's tokenizer was trained with one or more regular expressions, each applied to the pieces that the one
//! before left. Text between matches is a word of its own. All end in `\s+(?!\S)|\s+`, a look-ahead that a linear-time
//! engine doesn't have: white space before a word leaves its last character to the word. So `\s+` stands alone here,
//! and that character is taken off afterwards, without backtracking and however long the run is.

use regex_automata::meta::Regex;
use regex_automata::{Input, PatternID};

/// A whole run of white space; `Stage::next` takes off the last character if a word follows.
const SPACES: &str = r"\s+";

#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Applied in order. Each is a list of alternatives; earlier ones are preferred.
    stages: &'static [&'static [&'static str]],
    /// A word that is itself a token becomes that token, whatever merges would make of it.
    pub(super) ignore_merges: bool,
    /// Whether a sequence begins with the `bos` token if the file doesn't say.
    pub(super) add_bos: bool,
}

const fn rules_of(stages: &'static [&'static [&'static str]]) -> Rules {
    Rules { stages, ignore_merges: false, add_bos: false }
}

const GPT2: &[&str] = &[r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+", SPACES];

/// Contractions in either case, as in patterns that descend from `cl100k`.
macro_rules! contraction {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}

macro_rules! cl100k {
    ($number:literal) => {
        &[
            concat!(
                contraction!(),
                r"|[^\r\n\p{L}\p{N}]?\p{L}+|",
                $number,
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            ),
            SPACES,
        ]
    };
}

const LLAMA3: &[&str] = cl100k!(r"\p{N}{1,3}");
const QWEN2: &[&str] = cl100k!(r"\p{N}");
const QWEN35: &[&str] = &[
    concat!(
        contraction!(),
        r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
    ),
    SPACES,
];

/// Words by case, as in `o200k`: `upper* lower+`, then `upper+ lower*`, each followed by `$after`.
macro_rules! o200k {
    ($after:expr, $number:literal) => {
        &[
            concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                $after,
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                $after,
                "|",
                $number,
                r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
            ),
            SPACES,
        ]
    };
}

const GPT4O: &[&str] = o200k!(concat!("(?:", contraction!(), ")?"), r"\p{N}{1,3}");
const TEKKEN: &[&str] = o200k!("", r"\p{N}");

const DIGIT: &[&str] = &[r"\p{N}"];
const THREE_DIGITS: &[&str] = &["[0-9][0-9][0-9]"];
const NEWLINE: &[&str] = &[r"[\r\n]"];
/// Chinese and what DeepSeek's first tokenizers put with it, from U+0800 to the end of Hangul.
const CJK_WIDE: &[&str] = &[r"[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+"];
/// Chinese and kana.
const CJK: &[&str] = &[r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+"];
/// Letters with case, as DeepSeek LLM lists them: not all there are.
const DEEPSEEK_LETTERS: &[&str] = &[concat!(
    r"\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}",
    r"\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}",
    r"\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}",
    r"\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}",
    r"\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}",
    r"\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}",
    r"\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}",
    r"\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}",
    r"\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}",
    r"\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}",
    r"\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}",
    r"\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+"
)];
const DEEPSEEK_PUNCTUATION: &[&str] =
    &[r"\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+"];
const DEEPSEEK3_WORDS: &[&str] = &[
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const SEED_CODER: &[&str] =
    &[concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+"), SPACES];
const BAILING: &[&str] = &[
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]",
    SPACES,
];

/// The rules of the pre-tokenizer `pre`; `None` for an unknown name.
pub(super) fn rules(pre: &str) -> Option<Rules> {
    Some(match pre {
        "default" => rules_of(&[&[r"[\p{P}$+<=>^~|]+"], GPT2, &[r"\p{N}+"], THREE_DIGITS]),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
            Rules { stages: &[LLAMA3], ignore_merges: true, add_bos: true }
        }
        "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => rules_of(&[LLAMA3]),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "stablelm2" | "hunyuan" | "solar-open"
        | "megrez" | "grok-2" => rules_of(&[QWEN2]),
        "qwen35" => rules_of(&[QWEN35]),
        "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "exaone4"
        | "gigachat" | "a.x-4.0" | "mellum" => rules_of(&[GPT2]),
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => rules_of(&[DIGIT, GPT2]),
        "falcon" => rules_of(&[&[r"[\p{P}$+<=>^~|`]+"], GPT2, THREE_DIGITS]),
        "deepseek-llm" => {
            rules_of(&[NEWLINE, DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, &[r"\s+$"], CJK_WIDE, &[r"\p{N}+"]])
        }
        "deepseek-coder" => rules_of(&[NEWLINE, &[r"\s?\p{L}+"], &[r"\s?\p{P}+"], CJK_WIDE, DIGIT]),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
            rules_of(&[&[r"\p{N}{1,3}"], CJK, DEEPSEEK3_WORDS])
        }
        "gpt-4o" | "llama4" | "kanana2" | "minimax-m2" | "talkie" => rules_of(&[GPT4O]),
        "tekken" => Rules { stages: &[TEKKEN], ignore_merges: true, add_bos: true },
        "seed-coder" => rules_of(&[SEED_CODER]),
        "bailingmoe" | "bailingmoe2" | "llada-moe" => rules_of(&[BAILING]),
        _ => return None,
    })
}

#[derive(Debug)]
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    regex: Regex,
    /// The index of the alternative [`SPACES`].
    spaces: Option<PatternID>,
}

impl PreTokenizer {
    pub(super) fn new(rules: Rules) -> Self {
        let stages = rules.stages.iter().map(|alternatives| Stage {
            regex: Regex::new_many(alternatives)
                .expect("every family's expressions compile: a test builds them all"),
            spaces: alternatives.iter().position(|&alternative| alternative == SPACES).map(PatternID::must),
        });
        Self { stages: stages.collect() }
    }

    /// Calls `on_word` with every word of `text`, in order and without gaps, until it returns `false`.
    pub(super) fn split<'t>(&self, text: &'t str, on_word: &mut dyn FnMut(&'t str) -> bool) {
        split_by(&self.stages, text, on_word);
    }
}

/// Returns `false` once `on_word` did.
fn split_by<'t>(stages: &[Stage], text: &'t str, on_word: &mut dyn FnMut(&'t str) -> bool) -> bool {
    let Some((stage, later)) = stages.split_first() else { return on_word(text) };
    let mut at = 0;
    while let Some(word) = stage.next(text, at) {
        if at < word.start && !split_by(later, &text[at..word.start], on_word) {
            return false;
        }
        at = word.end;
        if !split_by(later, &text[word], on_word) {
            return false;
        }
    }
    at == text.len() || split_by(later, &text[at..], on_word)
}

impl Stage {
    fn next(&self, text: &str, at: usize) -> Option<std::ops::Range<usize>> {
        if at == text.len() {
            return None;
        }
        let found = self.regex.search(&Input::new(text).range(at..))?;
        let mut word = found.range();
        if Some(found.pattern()) == self.spaces && word.end < text.len() {
            let last = text[word.clone()].chars().next_back().map_or(0, char::len_utf8);
            // A single character has nothing to leave behind.
            if last < word.len() {
                word.end -= last;
            }
        }
        Some(word)
    }
}

#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    "default",
    "llama-bpe",
    "dbrx",
    "qwen2",
    "qwen35",
    "gpt-2",
    "starcoder",
    "falcon",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "gpt-4o",
    "tekken",
    "seed-coder",
    "bailingmoe",
];
