//! Corrects a planner's slots, so that they are consistent and match the words of the goal. If the words don't say what
//! a figure would be calculated from, none is.

use bandmaster_tools::calculator::Aggregate;

use super::orders::{Field, Order, Relation, is_order_word, may_order, mentions, orders};
use super::slots::{Combine, Slots};
use crate::checks::words;
use crate::plan::AnswerIs;

/// Words of a goal that ask for a figure. The largest and the smallest are found by [`orders`].
const CUES: [(Aggregate, &[&str]); 3] = [
    (
        Aggregate::Total,
        &["total", "totals", "sum", "altogether", "together", "combined", "overall", "add", "all"],
    ),
    (Aggregate::Average, &["average", "mean"]),
    (Aggregate::Difference, &["difference", "exceed", "exceeds", "gap", "range", "spread", "differ", "much"]),
];

/// Cues that allow a figure without asking for it.
const ALLOW: [&str; 3] = ["all", "much", "add"];
/// Phrases with "add" that ask for a total. One may also add a column to a table.
const ADDING: [&str; 7] = ["dd up", "dd them", "dd it", "dd these", "dd those", "dd all", "dd everything"];

/// Corrects the errors of small planners. They add figures nobody asked for, so a total, an average or a
/// difference needs a word in the goal. They forget figures. And they order by what they looked up where the goal
/// orders by something else.
pub(super) fn settle(mut slots: Slots, goal: &str) -> Slots {
    slots.find = about_one(&slots.find, goal);
    settle_figures(&mut slots, goal);
    settle_orders(&mut slots, goal);
    let ordered = matches!(slots.answer_is, AnswerIs::Number | AnswerIs::Date);
    // Counting numbers or dates would only count the inputs.
    slots.combine.retain(|combine| *combine != Combine::Figure(Aggregate::Count) || !ordered);
    let mut seen = Vec::new();
    slots.combine.retain(|combine| {
        let first = !seen.contains(combine);
        seen.push(*combine);
        first
    });
    if slots.combine.is_empty() {
        slots.combine.push(Combine::List);
    }
    slots
}

/// What a goal orders by, if the slots don't look it up.
pub(super) fn misses(slots: &Slots, goal: &str) -> Option<String> {
    if !matches!(slots.answer_is, AnswerIs::Number | AnswerIs::Date) {
        return None;
    }
    let field = Field::of(&slots.find);
    let mut other = None;
    for order in orders(goal) {
        match order.relation(&field, slots.answer_is) {
            Relation::Applies(_) => return None,
            Relation::Other(name) => other = other.or(Some(name)),
            Relation::Unknown => {}
        }
    }
    let foreign = || slots.aggregates().any(is_order) && !may_order(goal, &slots.find, &field);
    other.or_else(|| foreign().then(|| "something else".to_owned()))
}

fn is_order(aggregate: Aggregate) -> bool {
    matches!(aggregate, Aggregate::Most | Aggregate::Least)
}

fn settle_figures(slots: &mut Slots, goal: &str) {
    let number = slots.answer_is == AnswerIs::Number;
    figures_said(&mut slots.combine, goal, &slots.find, number);
}

/// Leaves the figures that the goal has a word for, and adds those that it asks for. `number` says whether they can be
/// calculated.
pub(super) fn figures_said(combine: &mut Vec<Combine>, goal: &str, find: &str, number: bool) {
    for (aggregate, cues) in CUES {
        let said = number && is_said(goal, cues, find);
        let figure = Combine::Figure(aggregate);
        // "all", "much" and "add" allow a figure but do not ask for one, nor do the words for a difference.
        let asks = |word: &String| cues.contains(&word.as_str()) && !ALLOW.contains(&word.as_str());
        let adds = aggregate == Aggregate::Total && ADDING.iter().any(|phrase| goal.contains(phrase));
        let asked = aggregate != Aggregate::Difference && (adds || words(goal).iter().any(asks));
        if !said {
            combine.retain(|combine| *combine != figure);
        } else if asked && !combine.contains(&figure) {
            combine.push(figure);
        }
    }
}

/// Whether a cue occurs in the goal and belongs to no other field: "the total price" asks for no total of warranties,
/// and "the highest average rating" is a rating.
fn is_said(goal: &str, cues: &[&str], find: &str) -> bool {
    let field = Field::of(find);
    let named_apart = field.is_in(goal);
    mentions(goal, cues).into_iter().any(|mention| {
        let elsewhere = !mention.nouns.is_empty() && !field.meets(&mention.nouns);
        !(is_order_word(&mention.before) || (named_apart && elsewhere))
    })
}

fn settle_orders(slots: &mut Slots, goal: &str) {
    let drop_orders = |slots: &mut Slots| {
        slots.combine.retain(|combine| !matches!(combine, Combine::Figure(figure) if is_order(*figure)));
    };
    if !matches!(slots.answer_is, AnswerIs::Number | AnswerIs::Date) {
        return drop_orders(slots);
    }
    let asked = orders(goal);
    let field = Field::of(&slots.find);
    if asked.is_empty() {
        if slots.aggregates().any(is_order) && !may_order(goal, &slots.find, &field) {
            *slots = Slots::fallback(goal);
        }
        return first_is_earliest(slots, goal);
    }
    let relations: Vec<Relation> =
        asked.iter().map(|order| order.relation(&field, slots.answer_is)).collect();
    let other = relations.iter().zip(&asked).find_map(|(relation, order)| match relation {
        Relation::Other(name) => Some((name.clone(), order)),
        _ => None,
    });
    let applying: Vec<Aggregate> = relations
        .iter()
        .filter_map(|relation| match relation {
            Relation::Applies(aggregate) => Some(*aggregate),
            _ => None,
        })
        .collect();
    // A superlative in the field itself, as in "highest score", orders nothing between the inputs.
    let of_each = words(&slots.find).iter().any(|word| is_order_word(word));
    if of_each || relations.contains(&Relation::Unknown) {
        return;
    }
    drop_orders(slots);
    match other {
        Some((name, order)) if slots.answer_is == AnswerIs::Number => {
            look_up_too(slots, goal, &name, order, applying.is_empty());
        }
        Some(_) => {}
        None => slots.combine.extend(applying.into_iter().map(Combine::Figure)),
    }
}

/// The goal orders by what the slots don't look up. If the goal doesn't mention the slots' field at all, that is
/// replaced. Otherwise both fields are read as text, and nothing is ordered by rule.
fn look_up_too(slots: &mut Slots, goal: &str, name: &str, order: &Order, alone: bool) {
    let field = Field::of(&slots.find);
    if alone && !field.is_in(goal) {
        let rest = if field.owner_is_in(goal) { field.rest } else { "" };
        slots.find = format!("{name}{rest}");
        slots.combine.push(Combine::Figure(order.aggregate()));
        return;
    }
    slots.find = format!("{}, and the {name}", slots.find);
    slots.answer_is = AnswerIs::Text;
    slots.combine = vec![Combine::List];
}

/// The first of several dates is the earliest, whatever the planner chose.
fn first_is_earliest(slots: &mut Slots, goal: &str) {
    let first = slots.answer_is == AnswerIs::Date && words(goal).iter().any(|word| word == "first");
    let (from, to) = (Combine::Figure(Aggregate::Most), Combine::Figure(Aggregate::Least));
    for combine in slots.combine.iter_mut().filter(|combine| first && **combine == from) {
        *combine = to;
    }
}

/// Rewords a field for the reader of a single text: "total number of people in each museum" becomes "number of people
/// in the museum". In "the highest average rating" the average stays.
fn about_one(find: &str, goal: &str) -> String {
    const OF_MANY: [&str; 5] = ["total", "average", "mean", "combined", "overall"];
    let words: Vec<&str> = find.split_whitespace().filter(|word| *word != "all").collect();
    let first = words.first().copied().unwrap_or_default();
    let of_each = mentions(goal, &[first]).iter().any(|mention| is_order_word(&mention.before));
    let start = usize::from(words.len() > 2 && OF_MANY.contains(&first) && !of_each);
    let one = words[start..].iter().map(|word| match *word {
        "each" | "every" | "these" | "all" => "the",
        other => other,
    });
    one.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Combine = Combine::Figure(Aggregate::Total);
    const AVERAGE: Combine = Combine::Figure(Aggregate::Average);
    const MOST: Combine = Combine::Figure(Aggregate::Most);
    const LEAST: Combine = Combine::Figure(Aggregate::Least);

    fn settled(
        goal: &str,
        find: &str,
        answer_is: AnswerIs,
        combine: &[Combine],
    ) -> (String, AnswerIs, Vec<Combine>) {
        let slots =
            settle(Slots { find: find.to_owned(), answer_is, combine: combine.to_vec(), table: None }, goal);
        (slots.find, slots.answer_is, slots.combine)
    }

    fn combined(goal: &str, find: &str, answer_is: AnswerIs, combine: &[Combine]) -> Vec<Combine> {
        settled(goal, find, answer_is, combine).2
    }

    #[test]
    fn slots_are_made_to_agree_with_themselves_and_the_goal() {
        let list = Combine::List;
        let age = "age of each horse";
        let (find, _, combine) =
            settled("List them and give the total.", age, AnswerIs::Number, &[list, list]);
        assert_eq!((find.as_str(), &combine[..]), ("age of the horse", &[list, TOTAL][..]));
        // A figure nobody asked for, and one the planner forgot.
        let people = "number of people in the museum";
        let most = combined("Which museum employs the most people?", people, AnswerIs::Number, &[TOTAL]);
        assert_eq!(most, [MOST]);
        let count = Combine::Figure(Aggregate::Count);
        assert_eq!(combined("How many are late?", age, AnswerIs::YesNo, &[count]), [count]);
        assert_eq!(combined("How many are over forty?", age, AnswerIs::Number, &[count]), [list]);
        // Names cannot be added up.
        assert_eq!(combined("Who?", age, AnswerIs::Name, &[TOTAL]), [list]);
        let date = "opening date";
        assert_eq!(combined("Which is latest?", date, AnswerIs::Date, &[MOST]), [MOST]);
        assert_eq!(combined("Which is the oldest?", date, AnswerIs::Date, &[MOST]), [LEAST]);
        assert_eq!(combined("Which opened first?", date, AnswerIs::Date, &[MOST]), [LEAST]);
        assert_eq!(combined("Which has been open longest?", date, AnswerIs::Date, &[MOST]), [list]);
        assert_eq!(
            about_one("total number of visitors of all the museums", "How many in total?"),
            "number of visitors of the museums"
        );
    }

    #[test]
    fn figures_are_made_of_the_field_that_the_goal_means_alone() {
        let number = AnswerIs::Number;
        for (goal, find, given, expected) in [
            (
                "Give the warranty of each offer and the total price.",
                "warranty of the offer",
                &[Combine::List, TOTAL][..],
                &[Combine::List][..],
            ),
            (
                "Give the price of each offer and the total price.",
                "price of the offer",
                &[Combine::List],
                &[Combine::List, TOTAL],
            ),
            ("What is the combined headcount of the departments?", "number of employees", &[TOTAL], &[TOTAL]),
            ("What is the total of the invoices?", "amount due on the invoice", &[], &[TOTAL]),
            (
                "How much was that altogether?",
                "sales of the branch",
                &[Combine::List],
                &[Combine::List, TOTAL],
            ),
            ("Add up the mileage.", "mileage of the trip", &[], &[TOTAL]),
            (
                "Which hotel has the highest average rating?",
                "average rating of the hotel",
                &[AVERAGE],
                &[MOST],
            ),
            ("What is the average height of the towers?", "height of the tower", &[AVERAGE], &[AVERAGE]),
            ("Which is the cheapest offer?", "price of the offer", &[MOST], &[LEAST]),
            (
                "Name the largest museum.",
                "number of visitors of the museum",
                &[Combine::List],
                &[Combine::List],
            ),
            ("Who comes out best?", "punctuality rating", &[MOST], &[MOST]),
        ] {
            assert_eq!(combined(goal, find, number, given), expected, "{goal}");
        }
    }

    #[test]
    fn what_a_goal_orders_is_looked_up_where_its_slots_forget_it() {
        let price = "price of the offer";
        let given = &[Combine::List];
        let (find, is, combine) =
            settled("Which offer has the longest warranty?", price, AnswerIs::Number, given);
        assert_eq!((find.as_str(), is), ("warranty of the offer", AnswerIs::Number));
        assert_eq!(combine, [Combine::List, MOST]);
        let both = "Give each offer's price, and the one with the longest warranty.";
        let (find, is, combine) = settled(both, price, AnswerIs::Number, given);
        assert_eq!((find.as_str(), is), ("price of the offer, and the warranty", AnswerIs::Text));
        assert_eq!(combine, [Combine::List]);
    }
}
