//! Makes bounds, multiples and constants exact in doubles, in which llguidance enforces them. A bound between two
//! doubles becomes the next one inwards, so that nothing passes that the schema forbids. Called by `keywords` for each
//! part of a schema.

use serde_json::{Map, Number, Value};

/// Numbers with bounds are enforced up to here: the largest double below 2⁶³.
const LIMIT: f64 = 9_223_372_036_854_774_784.0;
/// 2⁵³. Above it, not every whole number is a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Largest `multipleOf`, in units of its last decimal place: each remainder takes a state.
pub(super) const MULTIPLE_MAX: u32 = 1000;
/// Decimal places of a `multipleOf`.
const PLACES_MAX: u32 = 8;
/// How many doubles around the nearest one are tried to find one with the right count of decimal places.
const ULPS_MAX: i64 = 16;
/// The most multiples between bounds that are listed one by one.
const LISTED_MAX: i128 = 256;
/// The same for multiples that can't be enforced in any other way.
const LISTED_ALONE_MAX: i128 = 4096;

/// Digits of a multiple without other bounds.
const DIGITS_MAX: i32 = 15;

/// One end of a range and whether it is exclusive.
type Bound = Option<(f64, bool)>;
type Refusal = (&'static str, String);

/// Makes the bounds in `node` exact. They are numbers or, in draft 4, flags. `given` is the original node.
///
/// # Errors
/// The keyword that no number satisfies, and why.
pub(super) fn narrow(node: &mut Map<String, Value>, given: &Map<String, Value>) -> Result<(), Refusal> {
    let mut given = given.clone();
    if let Some((digits, places)) = given.get("multipleOf").and_then(Value::as_f64).and_then(decimal_form)
        && node.contains_key("multipleOf")
        && is_integer(node)
    {
        // The whole numbers among the multiples of 2.5 are the multiples of 5.
        let step = 10u32.checked_pow(places).map_or(digits, |unit| digits / greatest_divisor(digits, unit));
        given.insert("multipleOf".into(), step.into());
        match step {
            1 => node.shift_remove("multipleOf"),
            step => node.insert("multipleOf".into(), step.into()),
        };
    }
    let given = &given;
    bounds(node, given)?;
    let of = given.get("multipleOf").and_then(Value::as_f64).filter(|_| node.contains_key("multipleOf"));
    match (of, node.get("multipleOf").and_then(Value::as_f64).and_then(decimal)) {
        (Some(of), counted) if counted != decimal_form(of) => {
            let why = format!(
                "multiples of {of} can be enforced only between bounds that leave {LISTED_ALONE_MAX} or fewer"
            );
            Err(("multipleOf", why))
        }
        _ => Ok(()),
    }
}

fn bounds(node: &mut Map<String, Value>, given: &Map<String, Value>) -> Result<(), Refusal> {
    let has = |key: &str| given.contains_key(key);
    let counted = node.get("multipleOf").and_then(Value::as_f64).and_then(decimal);
    let bounded = ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"].into_iter().any(has);
    if !bounded && counted.is_none() {
        return Ok(());
    }
    let least = tightest_bound(node, "minimum", "exclusiveMinimum", 1.0)?;
    let most = tightest_bound(node, "maximum", "exclusiveMaximum", -1.0)?;
    // With more digits, a reader that uses doubles can't tell whether a number is a multiple.
    let limit = counted.map(|(_, places)| 10f64.powi(DIGITS_MAX - places as i32));
    let limit = limit.filter(|limit| {
        least.is_none_or(|(least, _)| least < *limit) && most.is_none_or(|(most, _)| most > -limit)
    });
    let least = least.or(limit.map(|limit| (-limit, false)));
    let most = most.or(limit.map(|limit| (limit, false)));
    // Without the other bound, numbers could have more digits than are counted.
    let far = |bound: &Bound| bound.is_some_and(|(bound, _)| bound.abs() > EXACT_MAX);
    let most = if far(&least) && most.is_none() { Some((LIMIT, false)) } else { most };
    let least = if far(&most) && least.is_none() { Some((-LIMIT, false)) } else { least };
    let (least, most) = if is_integer(node) { (least, most) } else { without_exclusive_ends(least, most) };
    let (least, most) = match multiples_within(node, given, least, most)? {
        MultiplesWithin::Bounds(least, most) => (least, most),
        MultiplesWithin::Values(values) => {
            for key in ["multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
                node.shift_remove(key);
            }
            node.insert("enum".into(), values.into());
            return Ok(());
        }
    };
    for (bound, key, exclusive) in
        [(least, "minimum", "exclusiveMinimum"), (most, "maximum", "exclusiveMaximum")]
    {
        node.shift_remove(key);
        node.shift_remove(exclusive);
        if let Some((bound, is_exclusive)) = bound {
            node.insert(if is_exclusive { exclusive } else { key }.into(), number(bound));
        }
    }
    if let (Some((least, open)), Some((most, open_too))) = (least, most)
        && (least > most || (least == most && (open || open_too)))
        && numbers_only(node)
    {
        let key = if open { "exclusiveMinimum" } else { "minimum" };
        return Err((
            key,
            format!(
                "no number is {} and {}",
                bound_text(least, "least", open),
                bound_text(most, "most", open_too)
            ),
        ));
    }
    Ok(())
}

enum MultiplesWithin {
    /// The multiples between a first and a last one.
    Bounds(Bound, Bound),
    Values(Vec<Value>),
}

/// Narrows bounds beside `multipleOf` to the first and the last multiple between them: the pattern for other bounds has
/// more decimal places, which no multiple matches. If the multiples are few, they are listed.
fn multiples_within(
    node: &Map<String, Value>,
    given: &Map<String, Value>,
    least: Bound,
    most: Bound,
) -> Result<MultiplesWithin, Refusal> {
    let of = given.get("multipleOf").and_then(Value::as_f64).filter(|_| node.contains_key("multipleOf"));
    let Some((of, (digits, places))) = of.and_then(|of| Some((of, decimal_form(of)?))) else {
        return Ok(MultiplesWithin::Bounds(least, most));
    };
    let is_counted =
        node.get("multipleOf").and_then(Value::as_f64).and_then(decimal) == Some((digits, places));
    // The double that a reader would parse.
    let multiple =
        |count: i128| format!("{}e-{places}", count * i128::from(digits)).parse().unwrap_or(f64::NAN);
    let near = |bound: f64| (bound / of).abs() < EXACT_MAX;
    let first = least.filter(|(bound, _)| near(*bound)).map(|(bound, is_exclusive)| {
        let fits = |count: i128| multiple(count) > bound || (!is_exclusive && multiple(count) == bound);
        let from = (bound / of).floor() as i128 - 2;
        (from..from + 6).find(|count| fits(*count)).unwrap_or(from)
    });
    let last = most.filter(|(bound, _)| near(*bound)).map(|(bound, is_exclusive)| {
        let fits = |count: i128| multiple(count) < bound || (!is_exclusive && multiple(count) == bound);
        let from = (bound / of).ceil() as i128 + 2;
        (from - 6..=from).rev().find(|count| fits(*count)).unwrap_or(from)
    });
    let whole = |value: &f64| !is_integer(node) || value.fract() == 0.0;
    if let (Some(first), Some(last)) = (first, last)
        && last - first < if is_counted { LISTED_MAX } else { LISTED_ALONE_MAX }
        && numbers_only(node)
        && !node.contains_key("enum")
        && !node.contains_key("const")
    {
        let values: Vec<Value> = (first..=last).map(multiple).filter(whole).map(number).collect();
        return match (values.is_empty(), least, most) {
            (true, Some((least, open)), Some((most, open_too))) => Err((
                "multipleOf",
                format!(
                    "no multiple of {of} is {} and {}",
                    bound_text(least, "least", open),
                    bound_text(most, "most", open_too)
                ),
            )),
            _ => Ok(MultiplesWithin::Values(values)),
        };
    }
    let bound = |count: Option<i128>, given: Bound| count.map(|count| (multiple(count), false)).or(given);
    Ok(MultiplesWithin::Bounds(bound(first, least), bound(last, most)))
}

/// Narrows a range of at most 1 with an exclusive whole bound by a part in a million, because llguidance's pattern
/// would accept that bound.
fn without_exclusive_ends(least: Bound, most: Bound) -> (Bound, Bound) {
    let (Some((low, low_open)), Some((high, high_open))) = (least, most) else { return (least, most) };
    let part = (high - low) * 1e-6;
    let near = part > 0.0 && high - low <= 1.0;
    let moved = |bound: f64, is_open: bool, by: f64| match is_open
        && near
        && bound.fract() == 0.0
        && bound + by != bound
    {
        true => Some((bound + by, false)),
        false => Some((bound, is_open)),
    };
    (moved(low, low_open, part), moved(high, high_open, -part))
}

fn bound_text(bound: f64, end: &str, is_exclusive: bool) -> String {
    match (is_exclusive, end) {
        (true, "least") => format!("above {bound}"),
        (true, _) => format!("below {bound}"),
        (false, end) => format!("at {end} {bound}"),
    }
}

fn is_integer(node: &Map<String, Value>) -> bool {
    node.get("type") == Some(&Value::from("integer"))
}

fn numbers_only(node: &Map<String, Value>) -> bool {
    is_integer(node) || node.get("type") == Some(&Value::from("number"))
}

/// One end of the range. `inwards` is 1 for the lower end and -1 for the upper.
fn tightest_bound(
    node: &Map<String, Value>,
    plain: &'static str,
    exclusive: &'static str,
    inwards: f64,
) -> Result<Bound, Refusal> {
    let plain_bound = node.get(plain).and_then(Value::as_number).map(|number| (number, plain, false));
    let bounds = match node.get(exclusive) {
        Some(Value::Bool(true)) => [plain_bound.map(|(number, key, _)| (number, key, true)), None],
        Some(Value::Number(number)) => [plain_bound, Some((number, exclusive, true))],
        _ => [plain_bound, None],
    };
    let mut tightest: Bound = None;
    for (number, key, is_exclusive) in bounds.into_iter().flatten() {
        let (bound, is_exclusive) = inward(number, is_exclusive, inwards);
        if bound * inwards > LIMIT {
            return Err((key, format!("it is {number}, but bounds beyond ±{LIMIT} can't be enforced")));
        }
        let (bound, is_exclusive) =
            if bound.abs() > LIMIT { (-inwards * LIMIT, false) } else { (bound, is_exclusive) };
        let tighter = |(other, open): (f64, bool)| {
            bound * inwards > other * inwards || (bound == other && is_exclusive && !open)
        };
        if tightest.is_none_or(tighter) {
            tightest = Some((bound, is_exclusive));
        }
    }
    Ok(tightest)
}

/// The next double inwards that is at least as strict. Bounds above 2⁵³ are never exclusive.
fn inward(number: &Number, is_exclusive: bool, inwards: f64) -> (f64, bool) {
    let next = |from: f64| if inwards > 0.0 { from.next_up() } else { from.next_down() };
    let (bound, exact) = match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => double(whole.into(), inwards),
        (None, Some(whole)) => double(whole.into(), inwards),
        (None, None) => (number.as_f64().unwrap_or(f64::INFINITY * -inwards), true),
    };
    match is_exclusive && bound.abs() >= EXACT_MAX {
        true if exact => (next(bound), false),
        true => (bound, false),
        // Minus zero becomes zero.
        false => (bound + 0.0, is_exclusive),
    }
}

/// A whole number as the next double inwards, and whether the double is exact.
fn double(whole: i128, inwards: f64) -> (f64, bool) {
    let near = whole as f64;
    let weaker = if inwards > 0.0 { (near as i128) < whole } else { near as i128 > whole };
    let bound = match weaker {
        false => near,
        true if inwards > 0.0 => near.next_up(),
        true => near.next_down(),
    };
    (bound, bound as i128 == whole)
}

/// A bound in JSON: whole numbers without a decimal point.
fn number(bound: f64) -> Value {
    if bound.fract() == 0.0 && bound.abs() <= LIMIT { Value::from(bound as i64) } else { Value::from(bound) }
}

/// A constant in the form in which it is written.
///
/// # Errors
/// When a double can't hold it.
pub(super) fn constant(given: &Number) -> Result<Value, String> {
    let float = given.as_f64().unwrap_or(f64::INFINITY);
    let whole = given.as_i64().map(i128::from).or_else(|| given.as_u64().map(i128::from));
    let exact = match whole {
        Some(whole) => float as i128 == whole && float.abs() <= LIMIT,
        None => float.abs() < EXACT_MAX,
    };
    if exact {
        Ok(number(float + 0.0))
    } else {
        Err(format!("{given} has more digits than are enforced exactly (15)"))
    }
}

/// The enforceable value of `multipleOf`.
///
/// # Errors
/// When it is not a positive number, or would take too many states.
pub(super) fn multiple(value: &Value) -> Result<Value, String> {
    let float = value.as_f64().filter(|float| *float > 0.0 && float.is_finite());
    let float = float.ok_or_else(|| "it must be a number above zero".to_owned())?;
    let (digits, places) =
        decimal_form(float).ok_or_else(|| format!("{value} has too many digits to be enforced"))?;
    if digits > MULTIPLE_MAX || places > PLACES_MAX {
        return Err(format!(
            "multiples of {value} take too many states: at most {MULTIPLE_MAX} are allowed, counted in its last decimal place, and at most {PLACES_MAX} decimal places"
        ));
    }
    // A value that can't be counted exactly may still be listed if there are bounds.
    Ok(number(counted_as(digits, places).unwrap_or(float)))
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// A number as `digits · 10^-places`, by its shortest decimal form.
fn decimal_form(float: f64) -> Option<(u32, u32)> {
    let text = float.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    Some((format!("{whole}{part}").parse().ok()?, part.len() as u32))
}

/// The double nearest to `digits · 10^-places` that llguidance counts as exactly that. 0.007 itself is not counted so,
/// since multiplying it by ten three times gives no whole number in doubles.
fn counted_as(digits: u32, places: u32) -> Option<f64> {
    let nearest: f64 = format!("{digits}e-{places}").parse().ok()?;
    let beside = |away: i64| f64::from_bits((nearest.to_bits() as i64 + away) as u64);
    (0..=ULPS_MAX)
        .flat_map(|away| [beside(away), beside(-away)])
        .find(|it| decimal(*it) == Some((digits, places)))
}

/// A number as `digits · 10^-places`, computed as llguidance computes it for `multipleOf`.
pub(crate) fn decimal(float: f64) -> Option<(u32, u32)> {
    let (mut scaled, mut places) = (float, 0);
    while scaled.fract() != 0.0 {
        scaled *= 10.0;
        places += 1;
    }
    (scaled <= f64::from(u32::MAX)).then_some((scaled as u32, places))
}
