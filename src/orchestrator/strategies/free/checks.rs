//! Whether replies are results, and the numbers in them.

use bandmaster_tools::calculator::Decimal;

use super::items;
use super::registry::Figure;
use crate::band::{Finish, Reply};
use crate::checks::{check_text, check_whole, mostly_in, numbers_in, written_numbers};
use crate::goal::Goal;
use crate::partial::{closed, finished};
use crate::plan::{Job, Shape, Task};
use crate::state::{RunState, TaskState};
use crate::strategies::{asking, rounds};
use crate::strategy::Verdict;

/// Depth at which the items of a plan stand in the planner's JSON.
pub(super) const ITEMS_DEPTH: u32 = 2;

/// A plan needs one task that can be carried out; items that can't be are left out. If it was cut off, the items before
/// the last one count, and if tasks have followed from it already, it stands.
pub(super) fn plan(goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
    let whole = match reply.finish {
        Finish::Length => finished(&reply.text, ITEMS_DEPTH).map(closed).unwrap_or_default(),
        _ => reply.text.clone(),
    };
    if !rounds::added(state).is_empty() {
        return Verdict::Accept(whole);
    }
    match items::planned(goal, state, rounds::current(state), &whole) {
        Ok(planned) if !planned.tasks.is_empty() => Verdict::Accept(whole),
        Ok(planned) => Verdict::reject(format!("no task is left: {}", planned.left_out.join("; "))),
        Err(_) if reply.finish == Finish::Length => Verdict::reject("it was cut off at its limit"),
        Err(error) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
    }
}

/// A number must be the only one in the reply, and stand in the text that it was read from.
pub(super) fn task(task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
    let text = match check_text(&reply.text).map(|text| asking::check(task, goal, state, text)) {
        Ok(Verdict::Accept(text)) => text,
        Ok(asks) => return asks,
        Err(why) => return Verdict::reject(why),
    };
    if task.output != Shape::Number {
        return Verdict::Accept(text);
    }
    let number = match number_in(&text) {
        Ok(number) => number,
        Err(why) => return Verdict::reject(why),
    };
    let source = task.input.as_ref().and_then(|slice| goal.inputs.get(slice.index));
    match source.filter(|input| !numbers_in(&input.text).contains(&number)) {
        Some(input) => Verdict::reject(format!("the number {number} does not stand in {}", input.name)),
        None => Verdict::Accept(text),
    }
}

/// An answer that has nothing of the results was made up.
pub(super) fn answer(ends: &[&TaskState], reply: &Reply) -> Verdict {
    let tells = |text: &str| ends.iter().filter_map(|end| end.accepted()).any(|end| mostly_in(text, end));
    match check_whole(reply) {
        Ok(text) if tells(&text) => Verdict::Accept(text),
        Ok(_) => Verdict::reject("it tells none of the results"),
        Err(why) => Verdict::reject(why),
    }
}

/// The figure of the numbers that the needed tasks found.
pub(super) fn calculate(task: &Task, state: &RunState) -> Result<String, String> {
    let numbers = task.needs.iter().map(|need| {
        let result = state.result(need).ok_or_else(|| format!("{need} has no result"))?;
        number_in(result).map_err(|why| format!("{need}: {why}"))
    });
    let numbers = numbers.collect::<Result<Vec<Decimal>, String>>()?;
    let figure = match (task.job == Job::Calculate).then(|| Figure::named(&task.instruction)).flatten() {
        Some(Figure::Aggregate(aggregate)) => aggregate.of(&numbers),
        Some(Figure::Product) => numbers.iter().try_fold(Decimal::ONE, |product, by| product.times(*by)),
        None => return Err(format!("nothing is known of how to calculate {}", task.instruction)),
    };
    figure.map(|figure| figure.to_string()).map_err(|error| error.to_string())
}

/// The only number in a text.
fn number_in(text: &str) -> Result<Decimal, String> {
    let mut found: Vec<Decimal> = Vec::new();
    // Of the ways to read a number, the English one comes first.
    let written = written_numbers(text).into_iter().filter_map(|readings| readings.first().copied());
    for number in written {
        if !found.contains(&number) {
            found.push(number);
        }
    }
    if found.is_empty() {
        found.extend(numbers_in(text));
    }
    match found[..] {
        [number] => Ok(number),
        [] => Err("there is no number in the result".to_owned()),
        _ => Err("there are several numbers in the result".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::number_in;

    #[test]
    fn a_number_is_read_if_it_is_the_only_one() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(number_in(text).ok().map(|number| number.to_string()).as_deref(), expected, "{text}");
        };
        check("40", Some("40"));
        check("It keeps 1,234.5 tons.", Some("1234.5"));
        check("There are 40 sheep, which is 40.", Some("40"));
        check("Twelve.", Some("12"));
        check("40 in 1987", None);
        check("none", None);
    }
}
