use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bandmaster_models::gguf::{Gguf, Writer};
use proptest::prelude::*;
use tokenizers::models::bpe::BPE;
use tokenizers::{Model, PreTokenizedString, PreTokenizer as _};

use super::pretokenizers::{ALL, PreTokenizer, rules};
use super::*;

const MERGES: &[&str] =
    &["h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ Ġ", "ĠĠ ĠĠ", "a a", "aa aa", "Ã ¼", "1 2"];

static PRE_TOKENIZERS: LazyLock<Vec<(&str, PreTokenizer)>> =
    LazyLock::new(|| ALL.iter().map(|pre| (*pre, PreTokenizer::new(rules(pre).unwrap()))).collect());

fn words<'t>(pre: &str, text: &'t str) -> Vec<&'t str> {
    let (_, pre_tokenizer) = PRE_TOKENIZERS.iter().find(|(name, _)| *name == pre).unwrap();
    let mut words = Vec::new();
    pre_tokenizer.split(text, &mut |word| {
        words.push(word);
        true
    });
    words
}

#[test]
fn every_family_compiles_and_loses_nothing() {
    let text = "Hello, y'all! It's\t\t3.14159 \u{3000}我想在apple工作1314151天～\r\n\r\n   \n  Việt 'RE ''`` ĿÐ\u{1F63A}\u{200D} end  ";
    for pre in ALL {
        assert_eq!(words(pre, text).concat(), text, "{pre}");
        assert!(words(pre, "").is_empty());
    }
}

#[test]
fn white_space_leaves_its_last_character_to_the_word() {
    assert_eq!(words("gpt-2", "a   b"), ["a", "  ", " b"]);
    assert_eq!(words("gpt-2", "a\t\tb  "), ["a", "\t", "\t", "b", "  "]);
    assert_eq!(words("gpt-2", "\n\n b"), ["\n\n", " b"]);
    assert_eq!(words("qwen2", "a \n  b"), ["a", " \n", " ", " b"]);
    assert_eq!(words("qwen2", "a\t\tb"), ["a", "\t", "\tb"]);
    assert_eq!(words("llama-bpe", "\u{3000}\u{3000}x"), ["\u{3000}", "\u{3000}x"]);
}

#[test]
fn numbers_are_cut_as_each_family_does() {
    assert_eq!(words("llama-bpe", "12345 678"), ["123", "45", " ", "678"]);
    assert_eq!(words("qwen2", "123"), ["1", "2", "3"]);
    assert_eq!(words("gpt-2", "a 123½"), ["a", " 123½"]);
    assert_eq!(words("starcoder", "a 12"), ["a", " ", "1", "2"]);
    assert_eq!(words("falcon", " 12345"), [" ", "123", "45"]);
    assert_eq!(words("deepseek-v3", "x1234"), ["x", "123", "4"]);
    assert_eq!(words("deepseek-coder", "12"), ["1", "2"]);
}

#[test]
fn words_are_cut_by_case_script_and_contraction() {
    assert_eq!(words("gpt-4o", "HelloWorld's XMLFile"), ["Hello", "World's", " XMLFile"]);
    assert_eq!(words("tekken", "HelloWorld"), ["Hello", "World"]);
    assert_eq!(words("llama-bpe", "I'M it's"), ["I", "'M", " it", "'s"]);
    assert_eq!(words("gpt-2", "I'M"), ["I", "'", "M"]);
    assert_eq!(words("deepseek-v3", "我们abc"), ["我们", "abc"]);
    assert_eq!(words("deepseek-llm", "ab 我们, c"), ["ab", " ", "我们", ",", " c"]);
    assert_eq!(words("falcon", "a...b"), ["a", "...", "b"]);
    assert_eq!(words("qwen35", "कि"), ["कि"]);
    assert_eq!(words("qwen2", "कि"), ["क", "ि"]);
}

#[test]
fn an_unknown_pre_tokenizer_or_model_is_refused_by_name() {
    let error = Tokenizer::from_gguf(&fixtures::byte_level_gguf("klingon", MERGES)).unwrap_err().to_string();
    assert!(error.contains("`klingon`"), "{error}");
    let mut writer = Writer::new();
    writer.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.tokens", &["a", "b"][..]);
    writer.set("tokenizer.ggml.merges", &["a b"][..]);
    let silent = Gguf::from_bytes(writer.finish()).unwrap();
    let error = Tokenizer::from_gguf(&silent).unwrap_err().to_string();
    assert!(error.contains("`tokenizer.ggml.pre`") && error.contains("newer conversion"), "{error}");
    let mut writer = Writer::new();
    writer.set("tokenizer.ggml.model", "rwkv");
    let gguf = Gguf::from_bytes(writer.finish()).unwrap();
    assert!(Tokenizer::from_gguf(&gguf).unwrap_err().to_string().contains("`rwkv`"));
}

#[test]
fn tables_that_disagree_are_damage_not_panics() {
    let with = |kinds: &[i32], merges: &[&str]| {
        let mut writer = Writer::new();
        writer
            .set("tokenizer.ggml.model", "gpt2")
            .set("tokenizer.ggml.pre", "default")
            .set("tokenizer.ggml.tokens", &["a", "b", ""][..])
            .set("tokenizer.ggml.token_type", kinds)
            .set("tokenizer.ggml.merges", merges)
            .set("tokenizer.ggml.eos_token_id", &77u32);
        Tokenizer::from_gguf(&Gguf::from_bytes(writer.finish()).unwrap())
    };
    assert!(with(&[1, 1], &[]).unwrap_err().to_string().contains("3 tokens have 2 types"));
    assert!(with(&[1, 1, 1], &["ab"]).unwrap_err().to_string().contains("not a pair"));
    let sound = with(&[1, 3, 4], &["a c"]).unwrap();
    assert_eq!((sound.eos(), sound.encode("abc", true)), (None, vec![0, 1]));
    assert_eq!(sound.decode_bytes(99), b"");
}

#[test]
fn special_tokens_are_parsed_only_when_asked() {
    let tokenizer = fixtures::byte_level(MERGES);
    let text = "<|im_start|>hello<|im_end|>";
    let ids = tokenizer.encode(text, true);
    assert_eq!(ids.len(), 3);
    assert!(tokenizer.is_control(ids[0]) && !tokenizer.is_control(ids[1]));
    assert_eq!(tokenizer.decode(&ids), "hello");
    let plain = tokenizer.encode(text, false);
    assert!(plain.iter().all(|&id| !tokenizer.is_control(id)));
    assert_eq!(tokenizer.decode(&plain), text);
    assert_eq!(tokenizer.end_of_generation(), [ids[2]]);
    assert_eq!(tokenizer.special_token("<|im_end|>"), Some(ids[2]));
    assert_eq!(tokenizer.special_token("<|im_end|"), None);
}

#[test]
fn a_character_that_is_a_token_of_its_own_is_not_taken_for_its_spelled_bytes() {
    let mut writer = Writer::new();
    writer
        .set("tokenizer.ggml.model", "gpt2")
        .set("tokenizer.ggml.pre", "default")
        .set("tokenizer.ggml.tokens", &["\u{200d}", "â", "Ģ", "į", "âĢ", "âĢį"][..])
        .set("tokenizer.ggml.merges", &["â Ģ", "âĢ į"][..]);
    let tokenizer = Tokenizer::from_gguf(&Gguf::from_bytes(writer.finish()).unwrap()).unwrap();
    assert_eq!(tokenizer.encode("\u{200d}", false), [5]);
}

/// A small vocabulary. Scores as llama.cpp reads them: higher ones merge first.
fn sentencepiece() -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    let pieces = ["▁", "h", "e", "l", "o", "▁h", "he", "ll", "hell", "hello", "▁hello"];
    tokens.extend(pieces.map(String::from));
    let mut kinds = vec![2i32, 3, 3];
    kinds.resize(3 + 256, 6);
    kinds.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len()).map(|id| id as f32 - 300.0).collect();
    let mut writer = Writer::new();
    writer
        .set("tokenizer.ggml.model", "llama")
        .set("tokenizer.ggml.tokens", &tokens[..])
        .set("tokenizer.ggml.token_type", &kinds[..])
        .set("tokenizer.ggml.scores", &scores[..])
        .set("tokenizer.ggml.bos_token_id", &1u32)
        .set("tokenizer.ggml.eos_token_id", &2u32);
    Tokenizer::from_gguf(&Gguf::from_bytes(writer.finish()).unwrap()).unwrap()
}

#[test]
fn sentencepiece_merges_by_score_and_falls_back_to_bytes() {
    let tokenizer = sentencepiece();
    let pieces = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text, false);
        ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.decode_bytes(id)).into_owned()).collect()
    };
    assert_eq!(pieces("hello"), [" hello"]);
    assert_eq!(pieces("hellhe"), [" ", "hell", "he"]);
    assert_eq!(pieces("x"), [" ", "x"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode("hello ü hello", false)), "hello ü hello");
    assert!(tokenizer.encode("</s>", false).iter().all(|&id| id != 2), "text can't end a sequence");
    assert_eq!(tokenizer.encode_prompt("<s>hello")[0], 1);
    assert_eq!(tokenizer.encode_prompt("<s>hello"), tokenizer.encode_prompt("hello"));
}

/// The same vocabulary in Hugging Face's `tokenizers` crate.
fn peer() -> BPE {
    let ours = fixtures::byte_level_gguf("gpt-2", MERGES);
    let tokens: Vec<&str> = ours.required("tokenizer.ggml.tokens").unwrap();
    let vocabulary: Vec<(String, u32)> = tokens.iter().map(|text| text.to_string()).zip(0..).collect();
    let merges = MERGES.iter().map(|merge| merge.split_once(' ').unwrap());
    let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    BPE::builder()
        .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .build()
        .unwrap()
}

fn peer_ids(peer: &BPE, text: &str) -> Vec<u32> {
    let byte_level = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, true, true);
    let mut cut = PreTokenizedString::from(text);
    byte_level.pre_tokenize(&mut cut).unwrap();
    cut.tokenize(|word| peer.tokenize(word.get())).unwrap();
    let encoding = cut.into_encoding(None, 0, tokenizers::OffsetType::Byte).unwrap();
    encoding.get_ids().to_vec()
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ helo\n\tau1'2ü!]{0,40}", "(hello| |  |aa|ü|12|'s|\n){0,30}"]
}

proptest! {
    #[test]
    fn byte_level_bpe_loses_nothing(text in texts(), parse_special: bool) {
        let tokenizer = fixtures::byte_level(MERGES);
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, parse_special)), text);
    }

    #[test]
    fn sentencepiece_loses_nothing(text in texts().prop_filter("a space to it", |text| !text.contains('▁'))) {
        let tokenizer = sentencepiece();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false)), text);
    }

    #[test]
    fn ids_equal_those_of_the_tokenizers_crate(text in texts()) {
        let tokenizer = fixtures::byte_level(MERGES);
        prop_assert_eq!(tokenizer.encode(&text, false), peer_ids(&peer(), &text));
    }

    #[test]
    fn special_tokens_are_found_as_a_look_at_every_place_finds_them(
        tokens in prop::collection::vec("[abü]{1,6}", 1..12),
        text in "[abüc]{0,60}",
    ) {
        let numbered: Vec<(u32, &str)> = (0..).zip(tokens.iter().map(String::as_str)).collect();
        let found: Vec<_> = matcher::Matcher::new(&numbered).unwrap().find_all(&text).collect();
        prop_assert_eq!(found, found_naively(&numbered, &text));
    }

    #[test]
    fn no_family_loses_text(text in texts()) {
        for pre in ALL {
            prop_assert_eq!(words(pre, &text).concat(), text.as_str());
        }
    }
}

/// Anything quadratic in the length of a run would take minutes.
#[test]
fn long_runs_take_no_longer_than_other_text() {
    let runs = [" ", "a", "\n", "\t \n", "!", "1", "ü", "'", "我", " a", "aA"];
    let tokenizers = [fixtures::byte_level(MERGES), sentencepiece()];
    for run in runs {
        let text = run.repeat(200_000 / run.len()) + "x";
        let start = Instant::now();
        for tokenizer in &tokenizers {
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text, true)), text);
        }
        for (_, pre_tokenizer) in PRE_TOKENIZERS.iter() {
            let mut bytes = 0;
            pre_tokenizer.split(&text, &mut |word| {
                bytes += word.len();
                true
            });
            assert_eq!(bytes, text.len());
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{run:?}: {:?}", start.elapsed());
    }
}

/// The longest token at each position, from left to right.
fn found_naively(tokens: &[(u32, &str)], text: &str) -> Vec<(Range<usize>, u32)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let here = tokens.iter().filter(|(_, token)| text.as_bytes()[at..].starts_with(token.as_bytes()));
        match here.rev().max_by_key(|(_, token)| token.len()) {
            Some(&(id, token)) => {
                found.push((at..at + token.len(), id));
                at += token.len();
            }
            None => at += 1,
        }
    }
    found
}

/// The tokens share long beginnings and ends, and the texts are full of such beginnings.
#[test]
fn long_special_tokens_take_no_longer_than_short_ones() {
    let long = "a".repeat(4_000);
    let mut texts: Vec<String> = (1..1_000).map(|bytes| format!("{}b", &long[..bytes * 4])).collect();
    // The one that is found, each time after a search for the longer ones.
    texts.push("a".into());
    texts.extend((0..500).map(|number| format!("<|{}{number}|>", "reserved_".repeat(40))));
    let special: Vec<(&str, i32)> = texts.iter().map(|text| (text.as_str(), 3)).collect();
    let gguf = fixtures::byte_level_with("gpt-2", MERGES, &special);
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    for run in ["a", "ab", "aaaaaaac", "<|reserved_", "<", "aaaaaaaaaaaaaaab "] {
        let text = run.repeat(500_000 / run.len());
        let start = Instant::now();
        let ids = tokenizer.encode(&text, true);
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.decode_bytes(id)).copied().collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        assert_eq!(
            tokenizer
                .encode_guarded(&tokenizer.guard(&text, '\u{F0000}'), '\u{F0000}', &Cancellation::default())
                .unwrap(),
            tokenizer.encode(&text, false)
        );
        assert!(start.elapsed() < Duration::from_secs(10), "{run:?}: {:?}", start.elapsed());
    }
}

#[test]
fn tokens_that_are_too_long_are_refused() {
    let refused = |texts: &[String]| {
        let special: Vec<(&str, i32)> = texts.iter().map(|text| (text.as_str(), 3)).collect();
        let gguf = fixtures::byte_level_with("gpt-2", MERGES, &special);
        Tokenizer::from_gguf(&gguf).unwrap_err().to_string()
    };
    let error = refused(&["x".repeat(5_000)]);
    assert!(error.contains("has 5000 bytes, more than 4096"), "{error}");
    let many: Vec<String> = (0..2_000).map(|number| format!("{number:04000}")).collect();
    let error = refused(&many);
    assert!(error.contains("its special tokens have more than 4194304 bytes together"), "{error}");
}

/// Tokens of all lengths, each one character longer than the one before, so that every step looks at the whole run.
#[test]
fn nested_pieces_take_no_longer_than_other_text() {
    let merges: Vec<String> = (1..200).map(|length| format!("{} a", "a".repeat(length))).collect();
    let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
    let tokenizer = fixtures::byte_level(&merges);
    let start = Instant::now();
    for text in ["a".repeat(1_000_000), "ab".repeat(500_000), "a ".repeat(500_000)] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text, true)), text);
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_long_word_is_left_in_its_middle_when_the_work_is_cancelled() {
    let word = "a".repeat(1 << 20);
    let gguf = fixtures::byte_level_gguf("gpt-2", &["a a", "aa aa"]);
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let start = Instant::now();
    assert!(tokenizer.encode_cancellable(&word, false, &Cancellation::default()).is_some());
    let whole = start.elapsed();
    let cancelled = Cancellation::default();
    cancelled.cancel();
    let start = Instant::now();
    assert!(
        tokenizer.encode_around(&word, std::iter::empty(), &cancelled).is_empty(),
        "it ends within the word"
    );
    assert!(start.elapsed() < whole / 4, "{:?} of {whole:?}", start.elapsed());
    assert_eq!(tokenizer.encode_cancellable(&word, false, &cancelled), None);
    assert_eq!(tokenizer.encode_guarded(&word, '\u{F0000}', &cancelled), None);
}
