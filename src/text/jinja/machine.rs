//! Evaluates expressions. The machine holds the state of one rendering: scopes, namespaces and the written text.

use std::collections::HashSet;

use super::args::Args;
use super::ast::{Arguments, Comparison, Const, Expr, Name, Postfix, Target};
use super::compare::{contains, equal, order};
use super::heap::{Buffer, Charge, Heap};
use super::value::{Callable, ScopeRef, Text, Value, shortened};
use super::{Error, Result, Template, builtins, ops};

/// Nesting depth of expressions and statements, including calls of macros. Python gives up at about the same depth.
const DEPTH_MAX: u32 = 2500;
/// Memory of a named argument, including its entry in the set of names.
const NAMED_BYTES: usize = size_of::<(Text, Value)>() + 32;

pub(super) struct Machine<'t> {
    pub(super) template: &'t Template,
    pub(super) heap: Heap,
    constants: Vec<Value>,
    pub(super) names: Vec<Text>,
    /// A stack of scopes. Each knows its enclosing scope, which need not be the one below it.
    pub(super) scopes: Vec<Scope>,
    pub(super) scope: usize,
    generation: u64,
    /// The fields of each namespace. Only these can change, so values refer to namespaces by index.
    pub(super) namespaces: Vec<Namespace>,
    /// The last values given to `loop.changed`, by the loop's number.
    pub(super) changed_values: Vec<(u64, Value)>,
    pub(super) loops: u64,
    pub(super) depth: u32,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Buffers for the written text; output goes to the last one.
    pub(super) out: Vec<Buffer>,
}

pub(super) struct Namespace {
    pub(super) fields: Vec<(Text, Value)>,
    /// A namespace exists until the end.
    pub(super) _charge: Charge,
}

pub(super) struct Scope {
    parent: Option<usize>,
    generation: u64,
    variables: Vec<(Name, Value)>,
}

impl<'t> Machine<'t> {
    pub(super) fn new(
        template: &'t Template,
        heap: Heap,
        now: u64,
        written_bytes_max: usize,
    ) -> Result<Self> {
        let constant = |constant: &Const| {
            Ok(match constant {
                Const::None => Value::None,
                Const::Bool(bool) => Value::Bool(*bool),
                Const::Int(int) => Value::Int(*int),
                Const::Float(float) => Value::Float(*float),
                Const::Str(text) => heap.str(text.clone())?,
            })
        };
        Ok(Self {
            template,
            constants: template.constants.iter().map(constant).collect::<Result<_>>()?,
            names: template.names.iter().map(|name| heap.text(name.clone())).collect::<Result<_>>()?,
            scopes: vec![Scope { parent: None, generation: 0, variables: Vec::new() }],
            scope: 0,
            generation: 0,
            namespaces: Vec::new(),
            changed_values: Vec::new(),
            loops: 0,
            depth: 0,
            now,
            out: vec![Buffer::of_at_most(written_bytes_max, &heap)?],
            heap,
        })
    }

    /// Runs `f` one level deeper.
    pub(super) fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_MAX {
            return Err(Error::Limit("it calls itself too deeply".into()));
        }
        self.heap.burn(1)?;
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    pub(super) fn name(&self, name: Name) -> &'t str {
        &self.template.names[name as usize]
    }

    pub(super) fn scope_ref(&self) -> ScopeRef {
        ScopeRef { index: self.scope, generation: self.scopes[self.scope].generation }
    }

    /// Runs `f` in a new scope inside `parent`.
    pub(super) fn scoped<T>(
        &mut self,
        parent: ScopeRef,
        f: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let lives = self.scopes.get(parent.index).is_some_and(|scope| scope.generation == parent.generation);
        if !lives {
            return Err(Error::failed("a macro is called after the block that defines it has ended"));
        }
        let before = self.scope;
        self.generation += 1;
        let (len, generation) = (self.scopes.len(), self.generation);
        self.scopes.push(Scope { parent: Some(parent.index), generation, variables: Vec::new() });
        self.scope = len;
        let result = f(self);
        self.scopes.truncate(len);
        self.scope = before;
        result
    }

    pub(super) fn inner<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.scoped(self.scope_ref(), f)
    }

    pub(super) fn set(&mut self, name: Name, value: Value) -> Result<()> {
        let variables = &mut self.scopes[self.scope].variables;
        self.heap.touch(variables.len())?;
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    fn lookup(&self, name: Name) -> Result<Value> {
        let mut at = Some(self.scope);
        while let Some(scope) = at {
            let scope = &self.scopes[scope];
            self.heap.touch(scope.variables.len())?;
            if let Some((_, value)) = scope.variables.iter().find(|(known, _)| *known == name) {
                return Ok(value.clone());
            }
            at = scope.parent;
        }
        let text = self.name(name);
        match builtins::GLOBALS.iter().find(|global| **global == text) {
            Some(global) => self.heap.callable(Callable::Global(global)),
            None => Ok(Value::Undefined("", Some(self.names[name as usize].clone()))),
        }
    }

    pub(super) fn assign(&mut self, target: &'t Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.set(*name, value)?,
            Target::Attribute(name, attribute) => {
                let Value::Namespace(at) = self.lookup(*name)? else {
                    return Err(Error::failed("cannot assign attribute on non-namespace object"));
                };
                self.set_field(at, self.names[*attribute as usize].clone(), value)?;
            }
            Target::Tuple(targets) => {
                value.defined()?;
                let values = value.iterate(&self.heap)?;
                if values.len() != targets.len() {
                    let (wanted, given) = (targets.len(), values.len());
                    return Err(Error::failed(format!(
                        "{given} values can't be unpacked into {wanted} names"
                    )));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn set_field(&mut self, namespace: usize, name: Text, value: Value) -> Result<()> {
        let fields = &mut self.namespaces[namespace].fields;
        self.heap.burn(fields.len() as u64)?;
        match fields.iter_mut().find(|(known, _)| known.as_str() == name.as_str()) {
            Some((_, old)) => *old = value,
            None => fields.push((name, value)),
        }
        Ok(())
    }

    fn field(&self, namespace: usize, name: &str) -> Result<Option<Value>> {
        let fields = &self.namespaces[namespace].fields;
        self.heap.burn(fields.len() as u64)?;
        Ok(fields.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value.clone()))
    }

    pub(super) fn eval(&mut self, expr: &'t Expr) -> Result<Value> {
        match expr {
            Expr::Const(at) => Ok(self.constants[*at as usize].clone()),
            Expr::Name(name) => self.lookup(*name),
            other => self.deeper(|machine| machine.eval_inner(other)),
        }
    }

    fn eval_inner(&mut self, expr: &'t Expr) -> Result<Value> {
        match expr {
            Expr::Const(_) | Expr::Name(_) => self.eval(expr),
            Expr::Tuple(items) => {
                let items = self.eval_all(items)?;
                self.heap.tuple(items)
            }
            Expr::List(items) => {
                let items = self.eval_all(items)?;
                self.heap.list(items)
            }
            Expr::Dict(entries) => self.eval_dict(entries),
            Expr::Not(inner) => Ok(Value::Bool(!self.eval(inner)?.is_true())),
            Expr::Negative(inner) => ops::negative(&self.eval(inner)?),
            Expr::Positive(inner) => ops::positive(&self.eval(inner)?),
            Expr::Binary(first, rest) => {
                let mut value = self.eval(first)?;
                for (operator, operand) in rest {
                    let operand = self.eval(operand)?;
                    self.heap.burn(1)?;
                    value = ops::binary(*operator, &value, &operand, &self.heap)?;
                }
                Ok(value)
            }
            Expr::Concat(parts) => {
                let parts = self.eval_all(parts)?;
                ops::concat(&parts, &self.heap)
            }
            Expr::And(parts) => self.eval_until(parts, false),
            Expr::Or(parts) => self.eval_until(parts, true),
            Expr::Compare(first, rest) => self.eval_comparison(first, rest),
            Expr::Conditional(cases, otherwise) => {
                for (value, condition) in cases {
                    if self.eval(condition)?.is_true() {
                        return self.eval(value);
                    }
                }
                otherwise.as_ref().map_or(Ok(Value::Undefined("", None)), |value| self.eval(value))
            }
            Expr::Postfix(first, chain) => {
                let value = self.eval(first)?;
                self.postfix(value, chain)
            }
        }
    }

    fn eval_all(&mut self, items: &'t [Expr]) -> Result<Vec<Value>> {
        items.iter().map(|item| self.eval(item)).collect()
    }

    fn eval_dict(&mut self, entries: &'t [(Expr, Expr)]) -> Result<Value> {
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            pairs.push((self.eval(key)?, self.eval(value)?));
        }
        self.heap.dict(pairs)
    }

    /// The first value whose truth is `wanted`, or the last value.
    fn eval_until(&mut self, parts: &'t [Expr], wanted: bool) -> Result<Value> {
        let mut last = Value::None;
        for part in parts {
            last = self.eval(part)?;
            if last.is_true() == wanted {
                break;
            }
        }
        Ok(last)
    }

    fn eval_comparison(&mut self, first: &'t Expr, rest: &'t [(Comparison, Expr)]) -> Result<Value> {
        let mut left = self.eval(first)?;
        for (comparison, right) in rest {
            let right = self.eval(right)?;
            if !self.compare(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    pub(super) fn compare(&self, comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let heap = &self.heap;
        let ordered = |wanted: &[std::cmp::Ordering]| {
            Ok(order(left, right, heap)?.is_some_and(|order| wanted.contains(&order)))
        };
        match comparison {
            Comparison::Equal => equal(left, right, heap),
            Comparison::NotEqual => Ok(!equal(left, right, heap)?),
            Comparison::Less => ordered(&[Less]),
            Comparison::LessOrEqual => ordered(&[Less, Equal]),
            Comparison::Greater => ordered(&[Greater]),
            Comparison::GreaterOrEqual => ordered(&[Greater, Equal]),
            Comparison::In => contains(right, left, heap),
            Comparison::NotIn => Ok(!contains(right, left, heap)?),
        }
    }

    pub(super) fn postfix(&mut self, mut value: Value, chain: &'t [Postfix]) -> Result<Value> {
        for part in chain {
            self.heap.burn(1)?;
            value = match part {
                Postfix::Attribute(name) => {
                    let name = self.names[*name as usize].clone();
                    self.attribute(&value, &name)?
                }
                Postfix::Item(key) => {
                    let key = self.eval(key)?;
                    self.item(&value, &key)?
                }
                Postfix::Slice(bounds) => {
                    let mut evaluated = [None, None, None];
                    for (bound, expr) in evaluated.iter_mut().zip(bounds) {
                        *bound = expr.as_ref().map(|expr| self.eval(expr)).transpose()?;
                    }
                    ops::slice(&value, evaluated, &self.heap)?
                }
                Postfix::Call(arguments) => {
                    let args = self.arguments(arguments)?;
                    self.call(&value, args)?
                }
                Postfix::Filter(name, arguments) => {
                    let args = self.arguments(arguments)?;
                    self.filter(self.name(*name), value, args)?
                }
                Postfix::Test { name, negated, arguments } => {
                    let args = self.arguments(arguments)?;
                    Value::Bool(self.test(self.name(*name), &value, args)? != *negated)
                }
            };
        }
        Ok(value)
    }

    pub(super) fn attribute(&self, value: &Value, name: &Text) -> Result<Value> {
        if let Value::Namespace(at) = value {
            let found = self.field(*at, name)?;
            return Ok(found.unwrap_or_else(|| Value::Undefined("Namespace", Some(name.clone()))));
        }
        if let Value::Callable(callable) = value
            && let Callable::Macro(at, _) = callable.callable()
            && name.as_str() == "name"
        {
            let name = self.template.macros[*at as usize].name;
            return Ok(Value::Str(self.names[name as usize].clone()));
        }
        ops::attribute(value, name, &self.heap)
    }

    pub(super) fn item(&self, value: &Value, key: &Value) -> Result<Value> {
        match (value, key) {
            (Value::Namespace(_), Value::Str(name)) => self.attribute(value, name),
            _ => ops::item(value, key, &self.heap),
        }
    }

    pub(super) fn arguments(&mut self, arguments: &'t Arguments) -> Result<Args> {
        let mut args = Args::of(self.eval_all(&arguments.positional)?);
        for (name, value) in &arguments.named {
            let value = self.eval(value)?;
            args.named.push((self.names[*name as usize].clone(), value));
        }
        if let Some(rest) = &arguments.rest {
            let rest = self.eval(rest)?;
            rest.defined()?;
            let (items, charge) = rest.iterate(&self.heap)?.into_parts();
            args.positional.extend(items);
            args.charges.push(charge);
        }
        if let Some(rest) = &arguments.named_rest {
            let Value::Dict(dict) = self.eval(rest)? else {
                return Err(Error::failed("argument after ** must be a mapping"));
            };
            let mut given: HashSet<&str> = args.named.iter().map(|(name, _)| name.as_str()).collect();
            args.charges.push(self.heap.charge(dict.entries.len() * NAMED_BYTES)?);
            let mut more = Vec::with_capacity(dict.entries.len());
            for (key, value) in &dict.entries {
                let Value::Str(name) = key else { return Err(Error::failed("keywords must be strings")) };
                if !given.insert(name.as_str()) {
                    let name = shortened(name);
                    return Err(Error::failed(format!("the argument '{name}' is given twice")));
                }
                more.push((name.clone(), value.clone()));
            }
            args.named.extend(more);
        }
        Ok(args)
    }
}
