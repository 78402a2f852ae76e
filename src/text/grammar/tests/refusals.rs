//! Error messages are in our own words, name the place or the offending text, and come before any expensive work.

use std::time::Instant;

use super::super::client_grammar::ClientGrammar;
use super::*;

/// Words that only the libraries use.
const FOREIGN: &[&str] = &[
    "coerce_one_of",
    "NoExtension",
    "regex parse error",
    "error:",
    "lookaround",
    "Look(",
    "Unsatisfiable",
    "(And",
    "SearchRegex",
    "fuel",
    "lexer",
    "lexeme",
    "Expected token",
    "intersection",
    "Enable",
    "not implemented",
    "anyhow",
    "\n",
    "^^",
    "parser",
    "stop",
];

fn said(error: Option<GrammarError>, what: &dyn std::fmt::Debug, pieces: &[&str]) {
    let error = error.unwrap_or_else(|| panic!("taken: {what:?}")).to_string();
    for word in FOREIGN {
        assert!(!error.contains(word), "{what:?}: {error:?} has {word:?}");
    }
    for piece in pieces {
        assert!(error.contains(piece), "{what:?}: {error:?} lacks {piece:?}");
    }
}

#[test]
fn schemas_are_refused_in_our_own_words() {
    let (factory, _) = factory();
    let check = |schema: Value, pieces: &[&str]| said(factory.json_schema(&schema).err(), &schema, pieces);
    let pattern = |pattern: &str| json!({"type": "object", "properties": {"p": {"type": "string", "pattern": pattern}}});
    check(pattern("("), &["#/properties/p/pattern", "`(`", "character 1", "not closed"]);
    check(pattern("ab)c"), &["#/properties/p/pattern", "character 3"]);
    check(pattern("a[b"), &["character 2", "bracket"]);
    check(pattern("é(?!b)"), &["`(?!`", "character 2", "look-around"]);
    check(pattern("(?<=a)b"), &["character 1"]);
    check(pattern("(a)\\1"), &["`\\1`", "back-references"]);
    check(pattern("*a"), &["nothing to repeat"]);
    check(pattern("a{3,1}"), &["{3,1}"]);
    check(pattern("[z-a]"), &["backwards"]);
    check(pattern("\\q"), &["`\\q`", "escape"]);
    check(pattern("a\\b"), &["word boundaries"]);
    check(pattern("a^b"), &["`^` and `$`"]);
    check(pattern("\\p{Nonsense}"), &["unknown"]);
    check(
        json!({"type": "object", "patternProperties": {"(": {"type": "string"}}}),
        &["#/patternProperties", "not closed"],
    );
    check(
        json!({"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {"type": "null"}}}]}),
        &["`oneOf`", "`anyOf`"],
    );
    check(json!({"type": "string", "minLength": 5, "maxLength": 3}), &["`minLength`", "`maxLength`"]);
    check(json!({"type": "string", "pattern": "^a{3}$", "maxLength": 2}), &["`pattern`", "lengths"]);
    check(
        json!({"type": "string", "pattern": "^(a|b)*a(a|b){400}$", "minLength": 300}),
        &["`pattern`", "simplify"],
    );
    check(json!({"type": "string", "allOf": [{"pattern": "^a$"}, {"pattern": "^b$"}]}), &["fits"]);
    check(json!({"allOf": [{"type": "integer"}, {"type": "string"}]}), &["no value fits"]);
    check(
        json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 3, "maxLength": 1}}, "required": ["a"]}),
        &["`a`"],
    );
    check(json!({"type": "array", "items": {}, "minItems": 3, "maxItems": 2}), &["`minItems`"]);
    check(
        json!({"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1, "maxProperties": 1}),
        &["minProperties"],
    );
    check(
        json!({"type": "object", "patternProperties": {"^a": {"type": "string"}, "b$": {"type": "integer"}}}),
        &["`patternProperties`", "same name"],
    );
    check(
        json!({"$defs": {"t": {"type": "object", "properties": {"k": {"$ref": "#/$defs/t", "type": "object"}}}}, "$ref": "#/$defs/t"}),
        &["`$ref`", "itself"],
    );
    check(
        json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
        &[],
    );
}

#[test]
fn grammars_are_refused_in_our_own_words() {
    let (factory, _) = factory();
    let check = |grammar: ClientGrammar, pieces: &[&str]| {
        said(factory.client_grammar(&grammar).err(), &grammar, pieces)
    };
    let lark = |text: &str| ClientGrammar::Lark(text.to_owned());
    check(ClientGrammar::Regex("(ab".into()), &["`(`", "character 1", "not closed"]);
    check(ClientGrammar::Regex("a(?=b)".into()), &["character 2"]);
    check(ClientGrammar::Regex("a\\bc".into()), &["word boundaries"]);
    check(ClientGrammar::Regex("[^\\s\\S]".into()), &[]);
    check(lark("start: nothing"), &["`nothing`"]);
    check(lark("start: \"a\" |\nfoo ("), &["line 2"]);
    check(lark("start: NAME\nNAME: /(/"), &["line 2", "not closed"]);
    check(lark("start: \"a\" )"), &["line 1"]);
    check(lark("begin: \"a\""), &["`start`"]);
    check(lark("start: A\nA: B\nB: A"), &["`A`"]);
    check(lark("start: \"a\"\nstart: \"b\""), &["`start`", "twice"]);
    check(lark("start: <nothing>"), &[]);
    check(lark("%import common.NOTHING\nstart: NOTHING"), &[]);
    check(lark("start: \"abc"), &[]);
    check(ClientGrammar::Gbnf("root ::= root \"a\"".into()), &[]);
}

#[test]
fn limits_are_said_before_the_work() {
    let (factory, _) = factory();
    let words = |count: usize| -> Vec<String> { (0..count).map(|at| format!("w{at}")).collect() };
    let begun = Instant::now();
    for count in [15_000, 40_000] {
        let list = json!({"enum": words(count)});
        said(factory.json_schema(&list).err(), &count, &[&count.to_string(), "10000", "`enum`"]);
        let inside = json!({"type": "object", "properties": {"a": list}});
        said(factory.json_schema(&inside).err(), &count, &[&count.to_string(), "10000", "`enum`"]);
        let choices = ClientGrammar::Choice(words(count));
        said(factory.client_grammar(&choices).err(), &count, &[&count.to_string(), "10000", "choices"]);
    }
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let two = json!({"type": "array", "prefixItems": [{"enum": words(6000)}, {"enum": words(6000)}], "minItems": 2});
    assert!(schema::enforceable(&two, false).is_ok());
    // A debug build may take too long, but the number of choices is allowed.
    let choices = factory.client_grammar(&ClientGrammar::Choice(words(2100)));
    assert!(choices.err().is_none_or(|error| error.to_string().contains("seconds")));
}

#[test]
fn chains_of_references_are_followed_and_circles_are_called_so() {
    let (factory, tokenizer) = factory();
    let chain = |length: usize, end: Value, more: Value| {
        let mut defs = serde_json::Map::new();
        for at in 0..length {
            let mut part = more.clone();
            part["$ref"] = json!(format!("#/$defs/d{}", at + 1));
            defs.insert(format!("d{at}"), part);
        }
        defs.insert(format!("d{length}"), end);
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    };
    for more in [json!({}), json!({"description": "one of many"})] {
        for length in [1, 63, 64, 65, 100, 900] {
            let schema = chain(length, json!({"const": "yes"}), more.clone());
            assert_eq!(sampled(&factory, &tokenizer, &schema, 1).unwrap(), "\"yes\"", "{length}");
            let circle = chain(length, json!({"$ref": "#/$defs/d0"}), more.clone());
            said(factory.json_schema(&circle).err(), &length, &["refers to itself"]);
        }
        let long = chain(1500, json!({"const": "yes"}), more);
        said(factory.json_schema(&long).err(), &"1500", &["1000 references"]);
    }
}

#[test]
fn values_that_look_like_schemas_are_values() {
    let (factory, _) = factory();
    let pattern =
        |at: u8| json!({"pattern": format!("[{}-z]", (b'a' + at) as char), "multipleOf": 99_999_989});
    let many: Vec<Value> = (0..9).map(pattern).collect();
    for schema in [json!({"enum": many}), json!({"const": {"allOf": many}})] {
        assert!(factory.json_schema(&schema).is_ok(), "{schema}");
    }
}

#[test]
fn what_may_be_empty_is_repeated_no_billions_of_times() {
    let (factory, tokenizer) = factory();
    for pattern in [
        "^(|a){3000000000}$",
        "^((|b)*){4000000000}x$",
        "^(a?){2000000000,}$",
        "^((a{1,1000}){1,1000}b){1,1000}((.{1,100}a){50}|(.{1,90}b){60}){900}$",
    ] {
        let begun = Instant::now();
        // A refusal is fine as well.
        if let Ok(mut constraint) = factory.json_schema(&json!({"type": "string", "pattern": pattern})) {
            constraint.limit(20);
            let quote = tokenizer.encode("\"", false)[0];
            let _ = constraint.replace_sampled(quote);
        }
        assert!(begun.elapsed().as_secs() < 5, "{pattern}: {:?}", begun.elapsed());
    }
}

#[test]
fn names_like_keywords_hide_nothing() {
    let (factory, _) = factory();
    let many: serde_json::Map<String, Value> =
        (0..450).map(|at| (format!("k{at}"), json!({"type": "null"}))).collect();
    for name in ["const", "enum", "default", "examples"] {
        let inner = json!({"type": "object", "properties": many});
        let schema = json!({"type": "object", "properties": {name: inner}});
        said(factory.json_schema(&schema).err(), &name, &["450", "optional"]);
        let anchored = json!({"properties": {name: {"$anchor": "here", "const": "yes"}, "b": {"$ref": "#here"}}, "required": ["b"]});
        assert!(factory.json_schema(&anchored).is_ok(), "{name}");
    }
}

#[test]
fn classes_that_engines_read_differently_are_narrowed() {
    let exact = |pattern: &str| regexes::exact_regex(pattern).unwrap();
    assert_eq!(exact("a.b"), r"a[^\n\r\u{2028}\u{2029}]b");
    assert_eq!(exact(r"\s[\s\d]\.[.]"), r"[\t\n\x0B\f\r ][[\t\n\x0B\f\r ]\d]\.[.]");
    assert_eq!(exact(r"é\S+"), r"é[^\s\x1C-\x1F\u{FEFF}]+");
    assert_eq!(exact("(?s).*"), "(?s).*");
    assert_eq!(exact("(?:.)"), r"(?:[^\n\r\u{2028}\u{2029}])");
    let begun = Instant::now();
    assert_eq!(exact(&".".repeat(100_000)).len(), 100_000 * exact(".").len());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn long_chains_are_followed_once() {
    let (factory, _) = factory();
    let mut defs: serde_json::Map<String, Value> =
        (0..900).map(|at| (format!("d{at}"), json!({"$ref": format!("#/$defs/d{}", at + 1)}))).collect();
    defs.insert("d900".into(), json!({"const": "yes"}));
    let schema = json!({"$defs": defs, "anyOf": vec![json!({"$ref": "#/$defs/d0"}); 4000]});
    let begun = Instant::now();
    let _ = factory.json_schema(&schema);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
