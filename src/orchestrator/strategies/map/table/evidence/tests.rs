use super::*;
use serde_json::json;

#[test]
fn a_comma_that_groups_digits_is_no_point() {
    let whole = |text: &str, value: Value| {
        let column = [Column { name: "price".to_owned(), kind: AnswerIs::Number }];
        Sought::of(&column, 0).whole(text, &value)
    };
    assert_eq!(whole("It can be had for 9,250 euros.", json!(9.25)), json!(9250));
    assert_eq!(whole("Preis: 9,250 kg, dazu 3,5 kg", json!(9.25)), json!(9.25));
    assert_eq!(whole("A 2.5 litre engine, tows 2,500 kg.", json!(2.5)), json!(2.5));
    assert_eq!(whole("It costs 9.25 euros.", json!(9.25)), json!(9.25));
}

#[test]
fn a_time_of_day_stands_in_digits_or_words() {
    let told = |text: &str, time: &str| {
        let column = [Column { name: "opens".to_owned(), kind: AnswerIs::Date }];
        matches!(Sought::of(&column, 0).evidence(text, &json!(time)), Evidence::Told(_))
    };
    assert!(told("It opens at 08:30. It seats 365 people.", "08:30"));
    assert!(told("It opens at 2.30 pm.", "14:30"));
    assert!(told("It opens at half past eleven in the morning.", "11:30"));
    assert!(told("It opens from eight o'clock.", "08:00"));
    assert!(!told("It opens at 08:30 and closes at 18:00.", "18:00"));
    assert!(!told("It has 9 tables. It opens at 08:30.", "09:00"));
    assert!(!told("It opens at 08:30.", "09:30"));
}
