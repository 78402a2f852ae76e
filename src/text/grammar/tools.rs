//! Makes constraints for answers that call tools. A grammar of calls is written in Lark: the marks and names in the
//! syntax of the model's family, and each tool's parameters as a JSON schema inside. If the model may answer without a
//! call, free text comes first, and the grammar takes over where a call begins.

use std::sync::Arc;

use bandmaster_engine::Constraint;
use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Value, json};

use super::free_text::{FreeText, Trigger};
use super::{Grammar, GrammarError, GrammarFactory, SearchHints, for_llguidance, messages, schema};
use crate::template::Tool;
use crate::tool_calls::{REASONING_MARKS, Syntax, ToolChoice};

/// Keywords besides `type`, `properties` and `required` that restrict arguments.
const RESTRICTING: &[&str] = &[
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "if",
    "maxProperties",
    "minProperties",
    "not",
    "oneOf",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
];

/// How strictly arguments must match a tool's parameters.
#[derive(Clone, Copy, PartialEq)]
enum Strictness {
    Exact,
    /// Keywords that can't be enforced are dropped.
    Lenient,
}

pub(super) fn constraint(
    factory: &GrammarFactory,
    syntax: &Syntax,
    tools: &[Tool],
    choice: &ToolChoice,
    parallel: bool,
    otherwise: Option<&Value>,
) -> Result<Option<Box<dyn Constraint>>, GrammarError> {
    if *choice == ToolChoice::None || tools.is_empty() {
        return Ok(None);
    }
    let mut tools: Vec<&Tool> = tools.iter().collect();
    if let ToolChoice::Named(name) = choice {
        tools.retain(|tool| tool.name == *name);
        if tools.is_empty() {
            return Err(GrammarError::UnknownTool(name.clone()));
        }
    }
    let otherwise = otherwise.filter(|_| *choice == ToolChoice::Auto);
    let otherwise = otherwise.map(|schema| for_llguidance(schema, false)).transpose()?;
    let calls = calls(factory, syntax, &tools, parallel, otherwise.as_ref())?;
    if *choice != ToolChoice::Auto || otherwise.is_some() {
        return Ok(Some(Box::new(calls)));
    }
    let triggers = || call_triggers(factory, syntax, &tools, &calls);
    let mut first = triggers();
    let after_reasoning = after_reasoning(factory, Box::new(free_text(factory, triggers())));
    first.extend(REASONING_MARKS.iter().map(|(open, _)| Trigger {
        text: open.as_bytes().to_vec(),
        token: control_token(factory, open),
        first: true,
        follows: b"\n\n".to_vec(),
        next: after_reasoning.snapshot(),
    }));
    Ok(Some(Box::new(free_text(factory, first))))
}

/// Free text until the reasoning ends, then `inner`.
pub(super) fn after_reasoning(factory: &GrammarFactory, inner: Box<dyn Constraint>) -> Box<dyn Constraint> {
    let ends = REASONING_MARKS.iter().map(|(_, close)| Trigger {
        text: close.as_bytes().to_vec(),
        token: control_token(factory, close),
        first: false,
        follows: Vec::new(),
        next: inner.snapshot(),
    });
    Box::new(free_text(factory, ends.collect()))
}

fn free_text(factory: &GrammarFactory, triggers: Vec<Trigger>) -> FreeText {
    FreeText::new(factory.parsers.tok_env().clone(), Arc::clone(&factory.tokenizer), triggers)
}

fn control_token(factory: &GrammarFactory, text: &str) -> Option<u32> {
    factory.tokenizer.special_token(text).filter(|&id| factory.tokenizer.is_control(id))
}

/// The texts and tokens that begin a call in free text.
fn call_triggers(
    factory: &GrammarFactory,
    syntax: &Syntax,
    tools: &[&Tool],
    calls: &Grammar,
) -> Vec<Trigger> {
    let layout = &syntax.layout;
    let open = syntax.opens[0];
    let begin = [layout.begin, layout.before_name].concat();
    if begin.starts_with(open) {
        return Trigger::call(factory, open, false, calls).into_iter().collect();
    }
    // This family's calls begin with plain JSON, so only an answer that begins with a tool's complete name is a call.
    let names = tools.iter().map(|tool| format!("{begin}{}", quoted_end(&tool.name)));
    let mut triggers: Vec<Trigger> =
        names.filter_map(|text| Trigger::call(factory, &text, true, calls)).collect();
    if let Some(token) = control_token(factory, open) {
        let next = Box::new(calls.clone());
        let text = open.as_bytes().to_vec();
        triggers.push(Trigger { text, token: Some(token), first: false, follows: Vec::new(), next });
    }
    triggers
}

/// A name as it is written in a JSON string, with the closing quote.
fn quoted_end(name: &str) -> String {
    Value::from(name).to_string()[1..].to_owned()
}

impl Trigger {
    /// A trigger that switches to `calls` after `text`; `None` if calls can't begin with `text`.
    fn call(factory: &GrammarFactory, text: &str, first: bool, calls: &Grammar) -> Option<Self> {
        let mut next = calls.clone();
        let token = control_token(factory, text);
        let trie = factory.parsers.tok_env().tok_trie();
        let tokens = token.map_or_else(|| trie.greedy_tokenize(text.as_bytes()), |token| vec![token]);
        tokens.into_iter().try_for_each(|token| next.accept(token)).ok()?;
        let follows = next.clone().matcher.compute_ff_bytes();
        Some(Self { text: text.as_bytes().to_vec(), token, first, follows, next: Box::new(next) })
    }
}

/// The grammar of one call or several. Tools that aren't strict are tried exactly first, then leniently.
fn calls(
    factory: &GrammarFactory,
    syntax: &Syntax,
    tools: &[&Tool],
    parallel: bool,
    otherwise: Option<&Value>,
) -> Result<Grammar, GrammarError> {
    let mut problem = String::new();
    for strictness in [Strictness::Exact, Strictness::Lenient] {
        let made = lark(factory, syntax, tools, parallel, strictness).and_then(
            |(mut lark, mut is_expensive, mut hints)| {
                if let Some(schema) = otherwise {
                    lark = format!(
                        "start: calls | otherwise\notherwise: %json {schema}\n{}",
                        lark.replacen("start:", "calls:", 1)
                    );
                    is_expensive |= !schema::is_cheap(schema);
                    hints.extend(SearchHints::of(schema));
                }
                factory.compile(
                    TopLevelGrammar::from_lark(lark),
                    is_expensive,
                    Some(hints),
                    messages::for_schema,
                )
            },
        );
        match made {
            Ok(grammar) => return Ok(grammar),
            Err(error @ (GrammarError::Busy | GrammarError::TimedOut | GrammarError::Cancelled)) => {
                return Err(error);
            }
            Err(GrammarError::Schema(reason)) if problem.is_empty() => problem = reason,
            Err(_) => {}
        }
    }
    // Find the tool whose parameters are the problem.
    for tool in tools {
        let strictness = if tool.strict { Strictness::Exact } else { Strictness::Lenient };
        let alone = parameters(tool, strictness).and_then(|schema| {
            factory.compile(
                TopLevelGrammar::from_json_schema(schema),
                true,
                Some(SearchHints::default()),
                messages::for_schema,
            )
        });
        match alone {
            Ok(_) => {}
            Err(GrammarError::Schema(problem)) => {
                return Err(GrammarError::Tool { tool: tool.name.clone(), problem });
            }
            Err(error) => return Err(error),
        }
    }
    Err(GrammarError::Schema(problem))
}

/// The grammar of calls in llguidance's dialect of Lark, whether it is expensive to compile, and its schemas' hints.
fn lark(
    factory: &GrammarFactory,
    syntax: &Syntax,
    tools: &[&Tool],
    parallel: bool,
    strictness: Strictness,
) -> Result<(String, bool, SearchHints), GrammarError> {
    let layout = &syntax.layout;
    let literal = |text: &str| literal(factory, syntax, text);
    let names: Vec<String> = (0..tools.len()).map(|at| format!("tool_{at}")).collect();
    let more = if parallel { format!("({} call)*", literal(layout.between)) } else { String::new() };
    let (mut is_expensive, mut hints) = (false, SearchHints::default());
    let mut out = format!(
        "start: {} call {more} {}\ncall: {} ( {} ) {}\n",
        literal(layout.begin),
        literal(layout.end),
        literal(layout.before_name),
        names.join(" | "),
        literal(layout.after_arguments),
    );
    for (tool, rule) in tools.iter().zip(&names) {
        let in_json = layout.before_name.ends_with('"');
        let name =
            if in_json { quoted_end(&tool.name).trim_end_matches('"').to_owned() } else { tool.name.clone() };
        let head = literal(&[&name, layout.before_arguments].concat());
        let strictness = if tool.strict { Strictness::Exact } else { strictness };
        factory.time_left()?;
        let parameters = parameters(tool, strictness)?;
        is_expensive |= !schema::is_cheap(&parameters);
        hints.extend(SearchHints::of(&parameters));
        out.push_str(&format!("{rule}: {head} {rule}_arguments\n{rule}_arguments: %json {parameters}\n"));
    }
    Ok((out, is_expensive, hints))
}

/// The schema of a tool's arguments: always an object, and an empty one if no parameters are described.
fn parameters(tool: &Tool, strictness: Strictness) -> Result<Value, GrammarError> {
    let none = || json!({"type": "object", "properties": {}, "additionalProperties": false});
    let mut schema = match &tool.parameters {
        Value::Null => none(),
        Value::Object(fields) if has_no_parameters(fields) => none(),
        given => given.clone(),
    };
    if let Some(fields) = schema.as_object_mut() {
        let says = ["type", "$ref", "allOf", "anyOf", "oneOf"].iter().any(|key| fields.contains_key(*key));
        if !says {
            fields.insert("type".into(), json!("object"));
        }
        let kind = fields.get("type");
        if kind.is_some_and(|kind| *kind != json!("object") && *kind != json!(["object"])) {
            return Err(GrammarError::Schema(
                "#/type: arguments are always an object, but it names another type".into(),
            ));
        }
    }
    for_llguidance(&schema, strictness == Strictness::Lenient)
}

/// Whether a schema neither lists parameters nor restricts unlisted ones.
fn has_no_parameters(fields: &Map<String, Value>) -> bool {
    fields.iter().all(|(key, value)| match key.as_str() {
        "type" => *value == json!("object"),
        "properties" => *value == json!({}) || value.is_null(),
        "required" => *value == json!([]) || value.is_null(),
        key => !RESTRICTING.contains(&key),
    })
}

/// A text in Lark: control tokens by their ids, the rest as strings.
fn literal(factory: &GrammarFactory, syntax: &Syntax, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let string = |text: &str| if text.is_empty() { String::new() } else { format!("{} ", Value::from(text)) };
    let marks: Vec<(&str, u32)> =
        syntax.marks().filter_map(|mark| Some((mark, control_token(factory, mark)?))).collect();
    while let Some((at, mark, id)) =
        marks.iter().filter_map(|&(mark, id)| Some((rest.find(mark)?, mark, id))).min()
    {
        out.push_str(&string(&rest[..at]));
        out.push_str(&format!("<[{id}]> "));
        rest = &rest[at + mark.len()..];
    }
    out + &string(rest)
}
