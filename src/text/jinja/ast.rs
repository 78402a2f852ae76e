//! The syntax tree of a template. Chains (`a + b + c`, `x.y.z`, `elif`) are lists and not trees, so that only real
//! nesting makes the tree deep, and the parser limits that.

/// Index into [`super::Template::names`].
pub(super) type Name = u32;

#[derive(Debug)]
pub(super) enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Box<str>),
}

#[derive(Debug)]
pub(super) enum Expr {
    /// Index into [`super::Template::constants`].
    Const(u32),
    Name(Name),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Box<Expr>, Vec<(Binary, Expr)>),
    Concat(Vec<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// As Python chains comparisons: each operand with the next, until one comparison is false.
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// `(value, condition)` in order, then the value of the last `else`.
    Conditional(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// Applied from left to right.
    Postfix(Box<Expr>, Vec<Postfix>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Debug)]
pub(super) enum Postfix {
    Attribute(Name),
    Item(Expr),
    Slice([Option<Expr>; 3]),
    Call(Arguments),
    Filter(Name, Arguments),
    Test { name: Name, negated: bool, arguments: Arguments },
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Name, Expr)>,
    pub(super) rest: Option<Box<Expr>>,
    pub(super) named_rest: Option<Box<Expr>>,
}

/// The target of an assignment.
#[derive(Debug)]
pub(super) enum Target {
    Name(Name),
    Attribute(Name, Name),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: StatementKind,
}

pub(super) type Body = Vec<Statement>;

#[derive(Debug)]
pub(super) enum StatementKind {
    Text(Box<str>),
    Print(Expr),
    /// `(condition, body)` in order, then the body of `else`.
    If(Vec<(Expr, Body)>, Body),
    /// Index into [`super::Template::loops`].
    For(u32),
    Set(Target, Expr),
    SetBlock(Target, Filters, Body),
    With(Vec<(Target, Expr)>, Body),
    /// A body with its own scope: `generation`.
    Scope(Body),
    Filter(Filters, Body),
    /// Indices into [`super::Template::macros`].
    Macro(u32),
    Call {
        caller: u32,
        call: Expr,
    },
    Break,
    Continue,
}

pub(super) type Filters = Vec<Postfix>;

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Body,
    pub(super) otherwise: Body,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Name,
    /// Each with its default value.
    pub(super) parameters: Vec<(Name, Option<Expr>)>,
    /// Whether the body uses `varargs`, `kwargs` and `caller`. Without that, the macro does not accept them.
    pub(super) extras: MacroExtras,
    pub(super) body: Body,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MacroExtras {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}
