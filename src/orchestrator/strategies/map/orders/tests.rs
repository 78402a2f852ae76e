use super::*;

fn relation(goal: &str, find: &str) -> Vec<Relation> {
    let field = Field::of(find);
    orders(goal).iter().map(|order| order.relation(&field, AnswerIs::Number)).collect()
}

#[test]
fn an_order_belongs_to_the_field_that_its_goal_names() {
    use Relation::{Applies, Other, Unknown};
    let other = |name: &str| Other(name.to_owned());
    for (goal, find, expected) in [
        ("Which offer has the longest warranty?", "warranty of the offer", vec![Applies(MOST)]),
        ("Which offer has the longest warranty?", "price of the offer", vec![other("warranty")]),
        ("Which contract has the longest notice period?", "rent of the flat", vec![other("notice period")]),
        ("Which museum employs the most people?", "number of people the museum employs", vec![Applies(MOST)]),
        ("Which museum employs the most people?", "price of the ticket", vec![other("number of people")]),
        (
            "Which village has the largest number of sheep?",
            "number of sheep in the village",
            vec![Applies(MOST)],
        ),
        ("Who had the most visitors?", "number of the visitors", vec![Applies(MOST)]),
        ("Which is the highest fine?", "amount of the fine", vec![Applies(MOST)]),
        ("Which has the longest warranty?", "length of the warranty of the offer", vec![Applies(MOST)]),
        ("Which ship is the longest?", "length of the ship", vec![Applies(MOST)]),
        ("Which is the longest ship?", "number of sailors on the ship", vec![other("length")]),
        ("What warranty has the cheapest offer?", "warranty of the offer", vec![other("price")]),
        ("Which runner was fastest?", "time of the runner", vec![Applies(LEAST)]),
        ("Which car is the fastest?", "speed of the car", vec![Applies(MOST)]),
        ("Which horse is the oldest?", "age of the horse", vec![Applies(MOST)]),
        ("Which house is the oldest?", "year in which it was built", vec![Applies(LEAST)]),
        ("Which is the smallest?", "number of pupils", vec![Applies(LEAST)]),
        ("Whose warranty is the longest?", "warranty of the offer", vec![Applies(MOST)]),
        ("Give the price and say which lasts longest.", "price of the offer", vec![other("length")]),
        ("Name the largest museum.", "number of visitors of the museum", vec![Unknown]),
        ("At least 24 months in most cases, most of them; the minimum wage", "wage", vec![]),
        ("Which is the most expensive offer?", "price of the offer", vec![Applies(MOST)]),
        ("Which is the least expensive one?", "price of the offer", vec![Applies(LEAST)]),
        (
            "Which has the most sheep, and which the fewest?",
            "number of sheep",
            vec![Applies(MOST), Applies(LEAST)],
        ),
    ] {
        assert_eq!(relation(goal, find), expected, "{goal}: {find}");
    }
}

#[test]
fn dates_are_ordered_by_words_for_dates_alone() {
    let field = Field::of("opening date of the museum");
    let relation = |goal: &str| orders(goal)[0].relation(&field, AnswerIs::Date);
    assert_eq!(relation("Which museum is the oldest?"), Relation::Applies(LEAST));
    assert_eq!(relation("Which museum opened latest?"), Relation::Applies(MOST));
    assert_eq!(relation("Which museum has been open longest?"), Relation::Other("length".to_owned()));
}

#[test]
fn other_languages_are_read_by_clauses() {
    for (goal, find, expected) in [
        ("Welches Angebot hat die längste Garantie?", "Preis des Angebots", false),
        ("Welches Angebot hat die längste Garantie?", "Garantie des Angebots", true),
        ("Welches Angebot hat die längste Garantie?", "warranty of the offer", true),
        ("Welches Angebot hat die längste Garantie?", "price of the offer", false),
        ("Welches Museum hat die meisten Besucher?", "number of visitors of the museum", true),
        ("Welche Halle ist am größten?", "floor area of the hall", true),
        ("Nenne alle Preise und sage, wer die längste Garantie gibt.", "Preis", false),
        ("Quelle offre a la garantie la plus longue ?", "prix de l'offre", false),
        ("Quelle offre a la garantie la plus longue ?", "garantie de l'offre", true),
        ("哪个报价的保修期最长？", "报价的价格", false),
        ("哪个报价的保修期最长？", "报价的保修期", true),
        ("Welches Schiff ist am längsten?", "Länge des Schiffs", true),
    ] {
        let field = Field::of(find);
        assert_eq!(may_order(goal, find, &field), expected, "{goal}: {find}");
    }
}
