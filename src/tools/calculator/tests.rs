use proptest::prelude::*;

use super::*;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn check(expression: &str, expected: &str) {
    let value = evaluate(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    assert_eq!(value.to_string(), expected, "{expression}");
}

#[test]
fn expressions_have_their_exact_values() {
    for (expression, expected) in [
        ("0.1 + 0.2", "0.3"),
        ("1.10 * 3", "3.3"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("-2 ^ 2", "-4"),
        ("2 ^ -2", "0.25"),
        ("2 ^ 3 ^ 2", "512"),
        ("1 / 8", "0.125"),
        ("2 / 3", "0.666666666667"),
        ("-2 / 3", "-0.666666666667"),
        ("7 % 4", "3"),
        ("10 - 3 - 2", "5"),
        ("sum(23, 68, 49, 29)", "169"),
        ("max(-5, -7.5)", "-5"),
        ("min(3, 2, 9)", "2"),
        ("mean(1, 2, 4)", "2.333333333333"),
        ("count(4, 4, 4)", "3"),
        ("round(2.5)", "2"),
        ("round(-3.5)", "-4"),
        ("round(1.005, 2)", "1"),
        ("abs(-1.50)", "1.5"),
        ("1_000 * 55 ÷ 2", "27500"),
        ("99999999999999999999 + 0.00001", "99999999999999999999.00001"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn what_cannot_be_calculated_says_why() {
    for (expression, part) in [
        ("1 / 0", "division by zero"),
        ("1 / (2 - 2)", "division by zero"),
        ("", "a number"),
        ("2 +", "a number"),
        ("2 3", "an operator"),
        ("(2", "closing bracket"),
        ("import(1)", "sum, max"),
        ("x", "opening bracket"),
        ("max()", "no values"),
        ("9 ^ 99", "digits"),
        ("(-85070591730234615865843651857942052864 * 2) / -1", "digits"),
        ("-85070591730234615865843651857942052864 - 85070591730234615865843651857942052864", "digits"),
        ("1.2.3", "not a number"),
    ] {
        let error = evaluate(expression).unwrap_err().to_string();
        assert!(error.contains(part), "{expression}: {error}");
    }
    assert!(evaluate(&"(".repeat(100_000)).is_err());
    assert!(evaluate(&"-".repeat(100_000)).is_err());
}

#[test]
fn numbers_are_read_and_written_without_loss() {
    for (text, expected) in [
        ("007", "7"),
        ("-0", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("12.50", "12.5"),
        ("1.5e-3", "0.0015"),
        ("0.000", "0"),
        ("-0.05", "-0.05"),
    ] {
        assert_eq!(number(text).to_string(), expected);
    }
    for wrong in ["", "-", ".", "1,000", "0x10", "ten", "1e", "--1", "1e999999999999"] {
        assert!(wrong.parse::<Decimal>().is_err(), "{wrong}");
    }
}

#[test]
fn order_is_by_value_even_where_scales_are_far_apart() {
    let large = number("99999999999999999999999999999999999999");
    let small = number("0.000000000000000000000000000001");
    let mut mixed = [large, small, large.negated(), Decimal::ZERO];
    mixed.sort_unstable();
    assert_eq!(mixed, [large.negated(), Decimal::ZERO, small, large]);
    assert_eq!(number("1.0"), number("1"));
}

proptest! {
    #[test]
    fn whole_numbers_agree_with_machine_arithmetic(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
        let (x, y) = (Decimal::from(a), Decimal::from(b));
        prop_assert_eq!(x.plus(y).unwrap(), Decimal::from(a + b));
        prop_assert_eq!(x.minus(y).unwrap(), Decimal::from(a - b));
        prop_assert_eq!(x.times(y).unwrap(), Decimal::from(a * b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        if b != 0 {
            let back = x.divided_by(y).unwrap().times(y).unwrap().minus(x).unwrap().magnitude();
            prop_assert!(back <= number("0.000001"), "{} / {}", a, b);
        }
    }

    #[test]
    fn no_text_panics(text in "[-+*/%^(),. 0-9a-z]{0,60}") {
        let _ = evaluate(&text);
    }

    #[test]
    fn a_number_survives_being_written(units in any::<i64>(), places in 0_u32..12) {
        let text = format!("{units}e-{places}");
        let value = number(&text);
        prop_assert_eq!(number(&value.to_string()), value);
    }
}
