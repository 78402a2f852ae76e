use std::sync::Arc;

use super::super::tests::{allowed, factory, random_answer};
use super::*;
use crate::Tokenizer;

/// Whether `text` is a complete answer under a grammar.
fn fits(factory: &GrammarFactory, tokenizer: &Tokenizer, grammar: &ClientGrammar, text: &str) -> bool {
    let mut constraint =
        factory.client_grammar(grammar).unwrap_or_else(|error| panic!("{grammar:?}: {error}"));
    for token in tokenizer.encode(text, false) {
        if !allowed(&mut constraint, tokenizer).contains(&token) || constraint.accept(token).is_err() {
            return false;
        }
    }
    constraint.finished()
        || allowed(&mut constraint, tokenizer).iter().any(|id| tokenizer.end_of_generation().contains(id))
}

fn check(grammar: &ClientGrammar, good: &[&str], bad: &[&str]) {
    let (factory, tokenizer): (GrammarFactory, Arc<Tokenizer>) = factory();
    for text in good {
        assert!(fits(&factory, &tokenizer, grammar, text), "{grammar:?} refuses {text:?}");
    }
    for text in bad {
        assert!(!fits(&factory, &tokenizer, grammar, text), "{grammar:?} takes {text:?}");
    }
}

fn gbnf(text: &str) -> ClientGrammar {
    let grammar = ClientGrammar::detect(text.to_owned());
    assert!(matches!(grammar, ClientGrammar::Gbnf(_)));
    grammar
}

#[test]
fn regular_expressions_hold_for_the_whole_answer() {
    let check =
        |regex: &str, good: &[&str], bad: &[&str]| check(&ClientGrammar::Regex(regex.into()), good, bad);
    check(r"[0-9]{3}-[a-z]+", &["123-a", "000-xyz"], &["123-", "12-a", "123-a "]);
    check(r"^\d{4}$", &["2024"], &["202", "20245"]);
    check(r"^a\$", &["a$"], &["a"]);
    check(r"(yes|no)", &["yes", "no"], &["maybe", ""]);
    check(r"a/b", &["a/b"], &["ab"]);
    check(r"a*", &["a", "aaa"], &["b"]);
}

#[test]
fn choices_are_exactly_one_of_them() {
    let choices = ["positive", "negative", "a \"quoted\" one", "ü\n"].map(str::to_owned).to_vec();
    check(
        &ClientGrammar::Choice(choices),
        &["positive", "a \"quoted\" one", "ü\n"],
        &["positiv", "neutral", "positivenegative"],
    );
}

#[test]
fn lark_is_taken_as_it_is() {
    let lark = ClientGrammar::detect(
        "start: greeting \" \" NAME\ngreeting: \"Hello\" | \"Bye\"\nNAME: /[A-Z][a-z]+/\n".into(),
    );
    assert!(matches!(lark, ClientGrammar::Lark(_)));
    check(&lark, &["Hello Ada", "Bye Bob"], &["Hello ada", "Hi Ada"]);
}

#[test]
fn gbnf_without_recursion_is_exact() {
    check(&gbnf("root ::= \"yes\" | \"no\""), &["yes", "no"], &["y", "yesno"]);
    check(&gbnf("root ::= [a-z]+ \"!\"?"), &["abc", "abc!"], &["", "ABC", "abc!!"]);
    check(
        &gbnf("root ::= digit{3} (\"-\" digit{1,2})*\ndigit ::= [0-9]"),
        &["123", "123-4-56"],
        &["12", "123-456"],
    );
    check(&gbnf("root ::= [^\\n\"]+ \"\\n\""), &["a b\n"], &["a\"b\n", "a"]);
    check(&gbnf("root ::= \"\\x41\\u00fc\\U0001F601\""), &["Aü😁"], &["A"]);
    check(&gbnf("root ::= [+\\-*/] [-a] [\\]x]"), &["+-]", "/ax", "-ax"], &["a-]"]);
    check(&gbnf("root ::= (\n  \"a\" | # one\n  \"b\"\n) \"c\"\n# the end"), &["ac", "bc"], &["a"]);
    check(&gbnf("root ::=\n  one |\n  two\none ::= \"1\"\ntwo ::= \"2\""), &["1", "2"], &["12"]);
    check(&gbnf("root ::= \"a\"\n  | \"b\"\n"), &["a", "b"], &["ab"]);
    check(&gbnf("root ::= . \"a\""), &["xa", "\na"], &["a"]);
    // A lexer that always takes the longest word would fail here.
    check(&gbnf("root ::= word \"ab\"\nword ::= [a-z]*"), &["ab", "xab", "abab"], &["a", "abx"]);
}

#[test]
fn gbnf_with_recursion_stays_a_grammar() {
    let sums = gbnf(
        "root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" ws expr \")\" ws\nnum ::= [0-9]+ ws\nws ::= [ \\t\\n]*\n",
    );
    check(&sums, &["1", "1+2*(3-4)", "( 1 +2 ) *3"], &["", "1+", "(1", "1)"]);
    let json = gbnf(
        r#"root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}"#,
    );
    check(
        &json,
        &["{}", r#"{"a": [1, -2.5, "x\n", {"b": null}], "c": true}"#, "{ \"a\":{}}"],
        &["[]", "{", r#"{"a"}"#, r#"{"a": tru}"#],
    );
    let nested = gbnf("root ::= \"a\" root \"b\" | \"ab\"");
    check(&nested, &["ab", "aaabbb"], &["aab", "abb"]);
    let left = gbnf("root ::= root \",\" item | item\nitem ::= [a-z]+");
    check(&left, &["a", "a,bc,d"], &["a,", ",a"]);
}

#[test]
fn random_answers_under_gbnf_fit_it() {
    let (factory, tokenizer) = factory();
    let list = gbnf("root ::= (\"- \" item){1,4}\nitem ::= [a-z]{1,8} \"\\n\"");
    for seed in 1..20 {
        let text = random_answer(factory.client_grammar(&list).unwrap(), &tokenizer, seed).expect("it ends");
        let lines: Vec<&str> = text.lines().collect();
        assert!((1..=4).contains(&lines.len()), "{text:?}");
        assert!(lines.iter().all(|line| line.starts_with("- ") && line.len() <= 10), "{text:?}");
    }
}

#[test]
fn tokens_stand_for_themselves() {
    let (factory, tokenizer) = factory();
    let id = tokenizer.special_token("<|im_start|>").unwrap();
    for text in ["root ::= \"a\" <|im_start|>".to_owned(), format!("root ::= \"a\" <[{id}]>")] {
        let mut constraint = factory.client_grammar(&gbnf(&text)).unwrap();
        constraint.accept(tokenizer.encode("a", false)[0]).unwrap();
        assert_eq!(allowed(&mut constraint, &tokenizer), [id], "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let (factory, _) = factory();
    let check = |grammar: ClientGrammar, says: &str| {
        let error = factory.client_grammar(&grammar).err().unwrap_or_else(|| panic!("{grammar:?} is taken"));
        assert!(matches!(error, GrammarError::ClientGrammar(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{grammar:?}: {error}");
    };
    check(gbnf("rot ::= \"a\""), "`root`");
    check(gbnf("root ::= a b\na ::= \"x\""), "rule b");
    check(gbnf("root ::= \"a\"\nroot ::= \"b\""), "twice");
    check(gbnf("x ::= \"a\"\nroot ::= \"b"), "line 2");
    check(gbnf("root ::= [a-"), "ends too early");
    check(gbnf("root ::= [a"), "bracket");
    check(gbnf("root ::= []"), "empty");
    check(gbnf("root ::= [z-a]"), "after");
    check(gbnf("root ::= \"a\"{3,1}"), "below");
    check(gbnf("root ::= \"a\"{1,99999}"), "2000");
    check(gbnf("root ::= (\"a\""), "`)`");
    check(gbnf("root ::= \"\\q\""), "escape");
    check(gbnf("root ::= <nothing>"), "not a token");
    check(gbnf(&format!("root ::= {}\"a\"{}", "(".repeat(5000), ")".repeat(5000))), "parentheses");
    check(ClientGrammar::Lark("start: nothing".into()), "nothing");
    check(ClientGrammar::Regex("(".into()), "");
    check(ClientGrammar::Regex(String::new()), "empty");
    check(ClientGrammar::Choice(vec![String::new()]), "empty");
    check(ClientGrammar::Regex("a".repeat(300_000)), "bytes");
}

#[test]
fn long_chains_and_doublings_stay_small() {
    let (factory, tokenizer) = factory();
    let mut doubled = String::from("root ::= r0\n");
    for at in 0..40 {
        doubled += &format!("r{at} ::= r{} r{}\n", at + 1, at + 1);
    }
    doubled += "r40 ::= \"a\"\n";
    let lark = gbnf::to_lark(&doubled, &|_| None).unwrap();
    assert!(lark.len() < 200_000, "{}", lark.len());
    let chain: String = (0..3000).map(|at| format!("r{at} ::= r{}\n", at + 1)).collect();
    let chain = format!("root ::= r0\n{chain}r3000 ::= \"a\"\n");
    assert!(gbnf::to_lark(&chain, &|_| None).unwrap().len() < 1 << 20);
    assert!(fits(&factory, &tokenizer, &gbnf("root ::= a a\na ::= \"x\""), "xx"));
}

#[test]
fn repetitions_of_repetitions_are_refused_before_they_nest() {
    for behind in ["*", "+", "?", "{2}"] {
        let grammar = format!("root ::= \"a\"{}", behind.repeat(50_000));
        let error =
            factory().0.client_grammar(&ClientGrammar::Gbnf(grammar)).err().expect("refused").to_string();
        assert!(error.contains("repetitions"), "{error}");
    }
}

#[test]
fn long_runs_of_digits_are_left_alone_where_the_answer_is_no_json() {
    let (factory, tokenizer) = factory();
    let mut constraint = factory.client_grammar(&ClientGrammar::Regex("[01]{64}".into())).expect("a grammar");
    let one = tokenizer.encode("1", false)[0];
    for _ in 0..60 {
        assert_eq!(constraint.replace_sampled(one), one, "no number of JSON is ended here");
        constraint.accept(one).expect("it is allowed");
    }
}
