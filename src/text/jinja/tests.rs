use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::strftime::strftime;
use super::*;

/// 2025-07-06 14:05:09, the time in the expected texts.
const NOW: u64 = 1_751_810_709;

fn limits() -> Limits {
    Limits {
        fuel: 2_000_000,
        bytes: 32 << 20,
        written_bytes: usize::MAX,
        cancellation: Cancellation::default(),
    }
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/templates").join(name)
}

fn read(name: &str) -> Json {
    serde_json::from_str(&fs::read_to_string(data(name)).unwrap()).unwrap()
}

fn rendered(source: &str, variables: &Json) -> Result<String> {
    let fields: &Map<String, Json> = variables.as_object().unwrap();
    let variables: Vec<(&str, Json)> = fields.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    on_own_stack(|| Template::parse(source)?.render(&variables, NOW, &limits()))?
}

/// How a result differs from Jinja2's.
fn difference(made: &Result<String>, expected: &Json) -> Option<String> {
    let fits = match (made, expected) {
        (Ok(text), Json::String(expected)) => text == expected,
        (Err(Error::Raised(words)), expected) => expected["raised"] == words.as_str(),
        (Err(_), expected) => expected["error"].is_string(),
        _ => false,
    };
    (!fits).then(|| format!("expected {expected}\nmade     {made:?}"))
}

#[test]
fn small_templates_give_what_jinja2_gives() {
    let variables = read("variables.json");
    let cases = read("semantics.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 600);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let source = case[0].as_str().unwrap();
            let problem = difference(&rendered(source, &variables), &case[1])?;
            Some(format!("{source}\n{problem}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn public_templates_give_what_transformers_gives() {
    let conversations = read("conversations.json");
    let mut checked = 0;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(data("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    for path in &paths {
        let source = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = read(&format!("expected/{name}.json"));
        for (case, variables) in conversations.as_object().unwrap() {
            let made = rendered(&source, variables);
            // Jinja2 has no such filter, and here it works.
            if made.is_ok() && source.contains("from_json") && expected[case].is_object() {
                continue;
            }
            let problem = difference(&made, &expected[case]);
            assert_eq!(problem, None, "{name}, {case}");
            checked += 1;
        }
    }
    assert!(paths.len() >= 40 && checked > 450, "{} templates, {checked} cases", paths.len());
}

fn nested(open: &str, middle: &str, close: &str, levels: usize) -> String {
    format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
}

/// Every form of nesting in Jinja's grammar, and every kind of chain.
fn shapes(levels: usize) -> Vec<String> {
    let expressions = [
        ("(", ")"),
        ("[", "]"),
        ("{1: ", "}"),
        ("not ", ""),
        ("-", ""),
        ("+", ""),
        ("(1 + ", ")"),
        ("f(", ")"),
        ("f(a=", ")"),
        ("f(*", ")"),
        ("x[", "]"),
        ("x[1:", "]"),
        ("1|default(", ")"),
        ("1 is eq(", ")"),
        ("1 is eq [", "]"),
        ("1 if (", ") else 2"),
        ("(1, ", ")"),
        ("1 + ", ""),
        ("1 ~ ", ""),
        ("1 * ", ""),
        ("1 ** ", ""),
        ("1 and ", ""),
        ("1 or ", ""),
        ("1 < ", ""),
        ("1 in ", ""),
        ("1 if 0 else ", ""),
        ("", ".a"),
        ("", "[0]"),
        ("", "()"),
        ("", "|string"),
        ("", " is defined"),
        ("", " is eq 1"),
        ("'a' ", ""),
    ];
    let blocks = [
        ("{% if 1 %}", "{% endif %}"),
        ("{% if 0 %}{% elif 1 %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% for i in [] %}{% else %}", "{% endfor %}"),
        ("{% macro m() %}", "{% endmacro %}"),
        ("{% call m() %}", "{% endcall %}"),
        ("{% set a %}", "{% endset %}"),
        ("{% with %}", "{% endwith %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% generation %}", "{% endgeneration %}"),
        ("{% raw %}", "{% endraw %}"),
        ("{#", "#}"),
    ];
    let mut all = Vec::new();
    for (open, close) in expressions {
        let whole = nested(open, "1", close, levels);
        all.push(format!("{{{{ {whole} }}}}"));
        all.push(format!("{{% if {whole} %}}{{% endif %}}"));
        // A template that turns out to be wrong after half of it was parsed. The parsed half must be dropped.
        all.push(format!("{{{{ {whole} ; }}}}"));
        all.push(format!("{{{{ {}", open.repeat(levels)));
    }
    for (open, close) in blocks {
        all.push(nested(open, "x", close, levels));
        all.push(open.repeat(levels));
    }
    for (open, close) in [("{% set ", " = 1 %}"), ("{% for ", " in x %}{% endfor %}")] {
        all.push(format!("{open}{}{close}", nested("(", "a", ")", levels)));
        all.push(format!("{open}a{}{close}", ", a".repeat(levels)));
    }
    all.push(format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(levels)));
    all
}

#[test]
fn no_nesting_ends_the_process() {
    for levels in [3, 30, 99, 20_000] {
        for source in shapes(levels) {
            let made = rendered(&source, &json!({"x": 1}));
            let fault = matches!(&made, Err(Error::Limit(what)) if what.contains("internal error"));
            assert!(!fault, "{made:?} of {}", &source[..source.len().min(80)]);
        }
    }
}

/// Templates that would use up all memory, all time or the whole stack.
const GREEDY: &[&str] = &[
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(x) %}{% for i in [1] %}{% if 1 %}{{ f(x)|upper }}{% endif %}{% endfor %}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{% call f() %}{% endcall %}{{ caller }}{% endmacro %}{{ f() }}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns|tojson }}",
    "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a }}",
    "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}",
    "{% set ns = namespace(a={}) %}{% for i in range(9999) %}{% set ns.a = {1: ns.a} %}{% endfor %}",
    "{% set ns = namespace(a=()) %}{% for i in range(9999) %}{% set ns.a = (ns.a, 1) %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = dict(a=ns.a).items() %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = cycler(ns.a) %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = joiner(ns.a) %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = [ns.a]|batch(1) %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = [ns.a].copy %}{% endfor %}{{ 1 // 0 }}",
    "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% for j in [ns.a] %}{% set ns.a = loop %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(a=[]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a=[]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|tojson }}",
    "{% set ns = namespace(a=[]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{% set ns.b = [] %}\
     {% for i in range(99) %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
    "{% set ns = namespace(a=()) %}{% for i in range(99) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1} }}",
    "{{ range(10**9) }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ [1] * 10**9 }}",
    "{{ 10**38 * 10 }}",
    "{{ '%1000000000s' % 1 }}",
    "{{ '%*d' % (10**10, 1) }}",
    "{{ '%.1000000000f' % 1.5 }}",
    "{{ '%.1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**10) }}",
    "{{ '\\t'.expandtabs(10**10) }}",
    "{{ 'a'|indent(10**10, true) }}",
    "{{ [1]|tojson(indent=10**10) }}",
    "{{ [1]|batch(10**10, 1)|list }}",
    "{{ [1]|slice(10**10)|list }}",
    "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "{{ ('a' * 99999)|replace('', 'b' * 99999) }}",
    "{{ ('b' * 99999).join('a' * 99999) }}",
    "{{ range(99999)|join('a' * 99999) }}",
    "{{ ('a\\n' * 99999)|indent('b' * 99999) }}",
    "{% set ns = namespace(a='a') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "{% set ns = namespace(a='a') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "{% set a = 'a' * 10**6 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
    "{% set a = 'a' * 10**6 %}{% for i in range(99999) %}{% if a + 'b' in a %}{% endif %}{% endfor %}",
    "{% set a = 'a' * 10**7 %}{{ a|list }}",
    "{% set a = 'a b ' * 10**7 %}{{ a.split() }}",
    "{% set s = 'é' * 10**6 %}{% for i in range(99999) %}{{ s[i] }}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99) %}{% set x = namespace(a=i) %}{% endfor %}{% endfor %}",
    "{{ (range(99999)|list * 99)|sort }}",
    "{{ (range(99999)|list * 99)|unique|list }}",
    "{{ strftime_now('%c' * 10**7) }}",
    "{{ '%c' % 10**10 }}",
];

#[test]
fn what_wants_too_much_is_refused_in_a_moment() {
    for source in GREEDY {
        let started = Instant::now();
        let made = rendered(source, &json!({}));
        assert!(made.is_err(), "{source} gives {:?}", made.map(|text| text.len()));
        assert!(started.elapsed() < Duration::from_secs(20), "{source} takes {:?}", started.elapsed());
    }
}

#[test]
fn numbers_at_their_ends_are_no_fault() {
    for source in [
        "{{ -(-(2**126) - 2**126) }}",
        "{{ (-(2**126) - 2**126)|abs }}",
        "{{ (-(2**126) - 2**126) // -1 }}",
        "{{ (-(2**126) - 2**126) % -1 }}",
        "{{ 2**126 in range(-5, 5) }}",
        "{{ 'abc'[-(2**126):2**126:2**126] }}{{ 'abc'[::-(2**126)] }}{{ [1][2**126] }}",
        "{{ range(0, 9223372036854775807, 9223372036854775806)|list }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{{ 5|round(-(2**126)) }}{{ 1.5|round(2**126) }}{{ 1e300|int }}{{ (1e308 * 10)|int }}",
        "{{ 'x'|truncate(2**126) }}{{ 'a'.find('a', -(2**126), 2**126) }}{{ [1].index(1, -(2**126)) }}",
    ] {
        let made = rendered(source, &json!({}));
        assert!(
            !matches!(&made, Err(Error::Limit(what)) if what.contains("internal error")),
            "{source}: {made:?}"
        );
    }
}

/// A random generator: the same seed gives the same templates.
struct Seed(u64);

impl Seed {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words[self.below(words.len())]
    }
}

const WORDS: &[&str] = &[
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    " -%}",
    "{#",
    "#}",
    "if ",
    "elif ",
    "else",
    "endif",
    "for ",
    "in ",
    "endfor",
    "set ",
    "endset",
    "macro ",
    "endmacro",
    "call ",
    "endcall",
    "with ",
    "endwith",
    "filter ",
    "endfilter",
    "raw",
    "endraw",
    "break",
    "continue",
    "recursive",
    "x",
    "m",
    "ns",
    "loop",
    "caller",
    "x.y",
    "1",
    "0",
    "-1",
    "2.5",
    "'a'",
    "'%s'",
    "'{}'",
    "\"b\n\"",
    "true",
    "none",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ".",
    "|",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "==",
    "<",
    "=",
    " is ",
    " not ",
    " and ",
    " or ",
    "defined",
    "iterable",
    "upper",
    "length",
    "list",
    "map",
    "join",
    "tojson",
    "sort",
    "groupby",
    "batch",
    "namespace",
    "range",
    "cycler",
    ".items()",
    ".split",
    ".format",
    "\\",
    "'",
    "\u{e9}",
    "\n",
    " ",
];

#[test]
fn no_soup_of_words_is_a_fault() {
    let mut seed = Seed(1);
    for _ in 0..3_000 {
        let words = 1 + seed.below(40);
        let source: String = (0..words).map(|_| seed.pick(WORDS)).collect();
        let made = rendered(&source, &json!({"x": [1, "a", {"y": null}], "m": {"y": [2]}}));
        assert!(
            !matches!(&made, Err(Error::Limit(what)) if what.contains("internal error")),
            "{source}: {made:?}"
        );
    }
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    for (source, name) in [
        ("a\n{% include 'x' %}", "line 2: the statement `include`"),
        ("{% extends 'x' %}", "`extends`"),
        ("{% block a %}{% endblock %}", "`block`"),
        ("{{ 1 }}\n\n{{ x|nosuch }}", "line 3: the filter `nosuch`"),
        ("{% if false %}{{ x|pprint }}{% endif %}", "`pprint`"),
        ("{{ x is nosuch }}", "the test `nosuch`"),
        ("{{ x|map('nosuch')|list }}", "the filter `nosuch`"),
        ("{{ x|selectattr('a', 'nosuch')|list }}", "the test `nosuch`"),
        ("{{ x.encode('utf-8') }}", "the method `encode`"),
        ("{{ x.__class__ }}", "`__class__`"),
        ("{{ '\\N{DASH}' }}", "by their names"),
        ("{{ lipsum() }}", "`lipsum`"),
    ] {
        let error = rendered(source, &json!({"x": []})).unwrap_err().to_string();
        assert!(error.contains(name), "{source}: {error}");
    }
}

#[test]
fn a_fault_is_an_error_of_who_asked() {
    let error = on_own_stack(|| -> () { panic!("on purpose") }).unwrap_err().to_string();
    assert!(error.contains("internal error"), "{error}");
}

#[test]
fn values_give_their_memory_back() {
    // A hundred times the memory limit in total, but never at the same time.
    let source = "{% for i in range(1000) %}{% set a = 'a' * 3000000 %}{% endfor %}done";
    let limits = Limits { fuel: 1_000_000_000, ..limits() };
    let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
    assert_eq!(made.unwrap(), "done");
}

/// Makes far more of a text or list within the limits than the limits allow.
const GROWING: &[&str] = &[
    "{{ ('\\n' * 8000000).splitlines()|length }}",
    "{{ ('\\n' * 8000000)|wordwrap }}",
    "{{ ('a ' * 4000000)|wordwrap(1) }}",
    "{{ ('a' * 8000000)|wordwrap(1) }}",
    "{{ ('\\n' * 8000000)|indent }}",
    "{{ ('a,' * 4000000).split(',')|length }}",
    "{{ ('a,' * 4000000).rsplit(',')|length }}",
    "{{ ('a ' * 4000000).split()|length }}",
    "{{ ('a' * 8000000)|list|length }}",
    "{{ ('a' * 8000000)|reverse|list|length }}",
    "{% for c in 'a' * 8000000 %}{% endfor %}",
    "{{ ','.join('a' * 8000000) }}",
    "{{ ('[' ~ ('[],' * 2700000) ~ '1]')|from_json|length }}",
    "{{ ('{' ~ ('\"a\":{\"b\":1},' * 500000) ~ '\"a\":1}')|from_json|length }}",
    "{{ ('\"' * 8000000)|tojson|length }}",
    "{{ ('<' * 8000000)|e|length }}",
    "{{ ('<' * 8000000)|safe + ('<' * 8000000) }}",
    "{{ ([1] * 400000)|map('string')|list|length }}",
    "{{ ([1] * 400000)|map(attribute='real')|list|length }}",
    "{{ ([1] * 400000)|sort|length }}",
    "{{ ([1] * 400000)|groupby('real')|length }}",
    "{{ ([1] * 400000)|unique|list|length }}",
    "{{ ([1] * 400000)|batch(1)|list|length }}",
    "{{ ([1] * 400000)|select|list|length }}",
    "{{ (['a'] * 400000)|map(attribute='upper')|list|length }}",
    "{{ dict([('a', 1)] * 400000)|length }}",
    "{{ ([1] * 400000) + ([1] * 400000) }}",
    "{{ ([1] * 400000)[::-1] + ([1] * 400000)[:] }}",
    "{{ ('%s' * 4000000) % (1,) }}",
    "{{ 'x'|attr('a.' * 4000000) }}{{ [1]|map(attribute='a.' * 4000000)|list }}",
    "{{ ('%c' * 800000) }}{{ strftime_now('%c' * 800000) }}",
];

/// Operations that take long on a text of some megabytes.
const SLOW: &[&str] = &[
    "{{ ('a' * 4000000).strip('b' * 4000000 ~ 'a')|length }}",
    "{{ ('\u{e9}' * 4000000).casefold()|length }}",
    "{{ ('a' * 8000000).isalnum() }}",
    "{{ ('\u{e9}' * 4000000).isprintable() }}",
    "{{ ('a ' * 4000000)|title|length }}",
    "{{ ('a ' * 4000000)|wordcount }}",
    "{% set a = 'a' * 4000000 %}{% for i in range(99999) %}{% if a.startswith((a, a, a, a)) %}{% endif %}{% endfor %}",
    "{{ strftime_now('%j' * 1000000) }}",
];

/// Nested lists as arguments: all of them exist at the same time.
fn nested_arguments() -> String {
    let mut call = "'x'".to_owned();
    for _ in 0..12 {
        call = format!("'{{}}'.format(*b, **dict(a={call}))");
    }
    format!("{{% set b = [1] * 400000 %}}{{{{ {call} }}}}")
}

const IN_LITTLE_MEMORY: &str = "BANDMASTER_TEST_TEMPLATES_IN_LITTLE_MEMORY";

/// Runs in a process with little memory: allocations that are not counted abort it.
#[cfg(target_os = "linux")]
#[test]
fn what_grows_is_counted_while_it_grows() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    if std::env::var_os(IN_LITTLE_MEMORY).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "text::jinja::tests::what_grows_is_counted_while_it_grows";
        let ended = std::process::Command::new(this)
            .args(["--exact", name, "--test-threads=1"])
            .env(IN_LITTLE_MEMORY, "1")
            // Otherwise each thread reserves much address space.
            .env("MALLOC_ARENA_MAX", "1")
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let most = Some((size << 10) + STACK_BYTES as u64 + (112 << 20));
    setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    let nested = nested_arguments();
    for source in GROWING.iter().copied().chain([nested.as_str()]) {
        let limits = Limits { fuel: 20_000_000, bytes: 16 << 20, ..limits() };
        let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
        assert!(!matches!(made, Err(Error::Syntax { .. } | Error::Unsupported { .. })), "{source}: {made:?}");
    }
}

#[test]
fn no_operation_on_a_long_text_is_free() {
    for source in SLOW {
        let started = Instant::now();
        let limits = Limits { fuel: 20_000_000, bytes: 64 << 20, ..limits() };
        let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{source} takes {:?}: {:?}",
            started.elapsed(),
            made.is_ok()
        );
    }
}

#[test]
fn a_text_that_is_too_long_ends_its_rendering() {
    let source = "{% for i in range(100000) %}{{ 'x' * 600 }}{% endfor %}";
    let limits = Limits { fuel: 20_000_000, bytes: 64 << 20, written_bytes: 1 << 20, ..limits() };
    let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
    assert_eq!(made, Err(Error::TooLong));
    // Captured text that is not printed does not count.
    let source = "{% set a %}{{ 'x' * 2000000 }}{% endset %}{{ a|length }}";
    let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
    assert_eq!(made.unwrap(), "2000000");
}

#[test]
fn a_rendering_ends_when_nobody_waits_for_it() {
    let source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let cancellation = Cancellation::default();
    let limits = Limits { fuel: u64::MAX, cancellation: cancellation.clone(), ..limits() };
    let leaves = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        cancellation.cancel();
    });
    let started = Instant::now();
    let made = on_own_stack(|| Template::parse(source)?.render(&[], NOW, &limits)).unwrap();
    assert_eq!(made, Err(Error::Cancelled));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    leaves.join().unwrap();
}

#[test]
fn arguments_and_names_by_the_thousand_take_no_long_time() {
    let names: String = (0..8_000).map(|n| format!("{{% set n{n} = 1 %}}")).collect();
    let macros = "{% macro f() %}{{ kwargs|length }}{{ varargs|length }}{% endmacro %}";
    let calls = "{% for i in range(100000) %}{{ f() }}{% endfor %}{{ f(**many) }}";
    let source = format!("{macros}{names}{calls}");
    let many: Map<String, Json> = (0..5000).map(|n| (format!("k{n}"), json!(1))).collect();
    let started = Instant::now();
    let limits = Limits { fuel: 400_000_000, bytes: 256 << 20, ..limits() };
    let variables = [("many", Json::from(many))];
    let made = on_own_stack(|| Template::parse(&source)?.render(&variables, NOW, &limits)).unwrap();
    assert!(made.as_ref().is_ok_and(|text| text.ends_with("50000")), "{made:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn what_a_template_raises_is_cut() {
    let source = "{{ raise_exception('no ' * 400000) }}";
    let Err(Error::Raised(words)) = rendered(source, &json!({})) else { panic!("it raises") };
    assert!(words.chars().count() <= 501 && words.ends_with('…'), "{} bytes", words.len());
}

#[test]
fn dates() {
    let check = |seconds, expected: &str| {
        assert_eq!(strftime("%a %d %b %Y %H:%M:%S %% %-d %j %F %u %w", seconds).unwrap(), expected);
    };
    check(0, "Thu 01 Jan 1970 00:00:00 % 1 001 1970-01-01 4 4");
    check(951_868_799, "Tue 29 Feb 2000 23:59:59 % 29 060 2000-02-29 2 2");
    check(978_220_800, "Sun 31 Dec 2000 00:00:00 % 31 366 2000-12-31 7 0");
    check(1_709_251_200, "Fri 01 Mar 2024 00:00:00 % 1 061 2024-03-01 5 5");
    check(951_782_400, "Tue 29 Feb 2000 00:00:00 % 29 060 2000-02-29 2 2");
    check(1_732_291_199, "Fri 22 Nov 2024 15:59:59 % 22 327 2024-11-22 5 5");
    assert!(strftime("%Q", 0).is_err());
}
