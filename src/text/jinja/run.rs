//! Runs statements.

use std::cell::Cell;
use std::rc::Rc;

use super::args::Args;
use super::ast::{Body, For, Statement, StatementKind, Target};
use super::heap::{Buffer, CountedVec};
use super::machine::Machine;
use super::show::write_text;
use super::value::{Callable, Loop, ScopeRef, Text, Value, shortened};
use super::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> Machine<'t> {
    pub(super) fn run(&mut self, body: &'t Body) -> Result<Flow> {
        for statement in body {
            let flow = self.deeper(|machine| machine.statement(statement));
            let flow = flow.map_err(|error| error.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &'t Statement) -> Result<Flow> {
        match &statement.kind {
            StatementKind::Text(text) => self.write(text)?,
            StatementKind::Print(value) => {
                let value = self.eval(value)?;
                self.print(&value)?;
            }
            StatementKind::If(cases, otherwise) => {
                for (condition, body) in cases {
                    if self.eval(condition)?.is_true() {
                        return self.run(body);
                    }
                }
                return self.run(otherwise);
            }
            StatementKind::For(at) => self.for_loop(*at)?,
            StatementKind::Set(target, value) => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock(target, filters, body) => {
                let text = self.captured(|machine| machine.inner(|machine| machine.run(body)))?;
                let value = self.heap.str(text)?;
                let value = self.postfix(value, filters)?;
                self.assign(target, value)?;
            }
            StatementKind::With(values, body) => return self.with(values, body),
            StatementKind::Scope(body) => return self.inner(|machine| machine.run(body)),
            StatementKind::Filter(filters, body) => {
                let text = self.captured(|machine| machine.inner(|machine| machine.run(body)))?;
                let value = self.heap.str(text)?;
                let value = self.postfix(value, filters)?;
                self.print(&value)?;
            }
            StatementKind::Macro(at) => {
                let value = self.heap.callable(Callable::Macro(*at, self.scope_ref()))?;
                self.set(self.template.macros[*at as usize].name, value)?;
            }
            StatementKind::Call { caller, call } => {
                let macro_ = self.heap.callable(Callable::Macro(*caller, self.scope_ref()))?;
                let value = self.call_with(call, macro_)?;
                self.print(&value)?;
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        match self.out.last_mut() {
            Some(out) => out.push_str(text),
            None => Ok(()),
        }
    }

    fn print(&mut self, value: &Value) -> Result<()> {
        if let (Value::Namespace(_), _) | (_, None) = (value, self.out.last()) {
            return Err(Error::failed("a namespace can't be printed"));
        }
        let heap = self.heap.clone();
        self.out.last_mut().map_or(Ok(()), |out| write_text(value, out, &heap))
    }

    /// The text that `f` writes.
    fn captured(&mut self, f: impl FnOnce(&mut Self) -> Result<Flow>) -> Result<String> {
        self.out.push(Buffer::new(&self.heap)?);
        let result = f(self);
        let out = self.out.pop();
        result?;
        Ok(out.map(Buffer::into_string).unwrap_or_default())
    }

    fn with(&mut self, values: &'t [(Target, super::ast::Expr)], body: &'t Body) -> Result<Flow> {
        let mut evaluated = Vec::with_capacity(values.len());
        for (_, value) in values {
            evaluated.push(self.eval(value)?);
        }
        self.inner(|machine| {
            for ((target, _), value) in values.iter().zip(evaluated) {
                machine.assign(target, value)?;
            }
            machine.run(body)
        })
    }

    fn call_with(&mut self, call: &'t super::ast::Expr, caller: Value) -> Result<Value> {
        let super::ast::Expr::Postfix(first, chain) = call else { return Ok(Value::None) };
        let Some((super::ast::Postfix::Call(arguments), before)) = chain.split_last() else {
            return Ok(Value::None);
        };
        let value = self.eval(first)?;
        let value = self.postfix(value, before)?;
        let mut args = self.arguments(arguments)?;
        args.named.push((self.heap.text("caller")?, caller));
        self.call(&value, args)
    }

    fn for_loop(&mut self, at: u32) -> Result<()> {
        let template = self.template;
        let items = self.eval(&template.loops[at as usize].items)?;
        let recursive = template.loops[at as usize].recursive;
        let scope = self.scope_ref();
        self.loop_over(at, &items, 0, recursive.then_some((at, scope)))
    }

    /// Runs loop `at` over `items` in the current scope.
    pub(super) fn loop_over(
        &mut self,
        at: u32,
        items: &Value,
        depth0: i128,
        recursive: Option<(u32, ScopeRef)>,
    ) -> Result<()> {
        let template = self.template;
        let For { target, filter, body, otherwise, .. } = &template.loops[at as usize];
        let mut items = items.iterate(&self.heap)?;
        if let Some(filter) = filter {
            let mut kept = CountedVec::new(&self.heap)?;
            for item in items {
                let keeps = self.inner(|machine| {
                    machine.assign(target, item.clone())?;
                    Ok(machine.eval(filter)?.is_true())
                })?;
                if keeps {
                    kept.push(item)?;
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.inner(|machine| machine.run(otherwise)).map(drop);
        }
        self.loops += 1;
        let (items, charge) = items.into_parts();
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        let state = Rc::new(Loop {
            number: self.loops,
            at: Cell::new(0),
            items,
            depth0,
            recursive,
            depth,
            _charge: charge,
        });
        let name = template.special.loop_;
        for place in 0..state.items.len() {
            state.at.set(place);
            let flow = self.inner(|machine| {
                if let Some(name) = name {
                    machine.set(name, Value::Loop(Rc::clone(&state)))?;
                }
                machine.assign(target, state.items[place].clone())?;
                machine.run(body)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        self.changed_values.retain(|(number, _)| *number != state.number);
        Ok(())
    }

    /// `loop(items)` of a recursive loop: the text that it writes for `items`.
    pub(super) fn recurse(&mut self, state: &Loop, items: &Value) -> Result<Value> {
        let Some((at, scope)) = state.recursive else {
            return Err(Error::failed("The loop must have the 'recursive' marker to be called recursively."));
        };
        let depth0 = state.depth0 + 1;
        let text = self.captured(|machine| {
            machine.scoped(scope, |machine| machine.loop_over(at, items, depth0, Some((at, scope))))?;
            Ok(Flow::Next)
        })?;
        self.heap.str(text)
    }

    pub(super) fn call_macro(&mut self, at: u32, scope: ScopeRef, args: Args) -> Result<Value> {
        let template = self.template;
        let definition = &template.macros[at as usize];
        let name = self.name(definition.name);
        let extras = definition.extras;
        let _counted = args.charges;
        // Each parameter is searched for among the names.
        self.heap.burn((args.named.len() * definition.parameters.len()) as u64)?;
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        let take = |named: &mut Vec<(Text, Value)>, wanted: &str| {
            let at = named.iter().position(|(name, _)| name.as_str() == wanted)?;
            Some(named.remove(at).1)
        };
        let mut given = Vec::with_capacity(definition.parameters.len());
        for (parameter, _) in &definition.parameters {
            let by_name = take(&mut named, self.name(*parameter));
            let by_place = positional.next();
            if by_name.is_some() && by_place.is_some() {
                let parameter = self.name(*parameter);
                return Err(Error::failed(format!("macro '{name}' got the argument '{parameter}' twice")));
            }
            given.push(by_place.or(by_name));
        }
        let caller = take(&mut named, "caller");
        let rest: Vec<Value> = positional.collect();
        if !rest.is_empty() && !extras.varargs {
            let most = definition.parameters.len();
            return Err(Error::failed(format!("macro '{name}' takes not more than {most} argument(s)")));
        }
        if let Some((unknown, _)) = named.first().filter(|_| !extras.kwargs) {
            let unknown = shortened(unknown);
            return Err(Error::failed(format!("macro '{name}' takes no keyword argument '{unknown}'")));
        }
        if caller.is_some() && !extras.caller {
            return Err(Error::failed(format!(
                "macro '{name}' was invoked with two values for the special caller argument"
            )));
        }
        let text = self.captured(|machine| {
            machine.scoped(scope, |machine| {
                for ((parameter, default), value) in definition.parameters.iter().zip(given) {
                    let value = match (value, default) {
                        (Some(value), _) => value,
                        (None, Some(default)) => machine.eval(default)?,
                        (None, None) => {
                            Value::Undefined("", Some(machine.names[*parameter as usize].clone()))
                        }
                    };
                    machine.set(*parameter, value)?;
                }
                machine.set_extras(at, caller, rest, named)?;
                machine.run(&definition.body)
            })
        })?;
        self.heap.str(text)
    }

    /// Sets `caller`, `varargs` and `kwargs` for a macro that uses them.
    fn set_extras(
        &mut self,
        at: u32,
        caller: Option<Value>,
        rest: Vec<Value>,
        named: Vec<(Text, Value)>,
    ) -> Result<()> {
        let extras = self.template.macros[at as usize].extras;
        let special = self.template.special;
        if let Some(name) = special.caller.filter(|_| extras.caller) {
            self.set(name, caller.unwrap_or(Value::Undefined("", None)))?;
        }
        if let Some(name) = special.varargs.filter(|_| extras.varargs) {
            let rest = self.heap.tuple(rest)?;
            self.set(name, rest)?;
        }
        if let Some(name) = special.kwargs.filter(|_| extras.kwargs) {
            let pairs: Vec<_> = named.into_iter().map(|(name, value)| (Value::Str(name), value)).collect();
            let named = self.heap.dict(pairs)?;
            self.set(name, named)?;
        }
        Ok(())
    }
}
