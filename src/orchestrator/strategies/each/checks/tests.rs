use super::super::slots::{Slots, Together, Work};
use super::*;
use crate::strategies::limit::{Limit, Unit};

fn slots(work: Work) -> Slots {
    Slots { work, together: Together::Sections, ..Slots::fallback("Do this to the text.") }
}

fn into(language: &str) -> Slots {
    Slots { language: Some(language.to_owned()), ..slots(Work::Translate) }
}

/// A result passes its checks, or fails with a reason that has these words.
fn check(slots: &Slots, source: &str, result: &str, expected: Result<(), &str>) {
    let found = fault(slots, source, result);
    match expected {
        Ok(()) => assert_eq!(found, None, "{result:?}"),
        Err(why) => {
            assert!(found.as_ref().is_some_and(|fault| fault.why.contains(why)), "{result:?}: {found:?}")
        }
    }
}

const GAUGE: &str = "The gauge at the weir, type PX-40, is read by Mrs Olsen at 9:00 every day. In 1998 it showed 1,240 litres a second.";

#[test]
fn a_translation_is_in_its_language_and_keeps_numbers_codes_and_names() {
    let german = into("German");
    let good = "Der Pegel am Wehr, Typ PX-40, wird jeden Tag um 9 Uhr von Frau Olsen abgelesen. 1998 zeigte er 1.240 Liter \
                pro Sekunde.";
    check(&german, GAUGE, good, Ok(()));
    check(&german, GAUGE, &good.replace("um 9 Uhr", "um neun Uhr"), Ok(()));
    check(&german, GAUGE, GAUGE, Err("not in German"));
    check(
        &german,
        GAUGE,
        &format!("{good} It is still in use and is read by a clerk every single day."),
        Err("a part"),
    );
    check(&german, GAUGE, &good.replace("1.240", "1.420"), Err("1240"));
    check(&german, GAUGE, &good.replace("PX-40", "PX40"), Err("40"));
    check(&german, GAUGE, &good.replace("Olsen", "Ohlsson"), Err("Olsen"));
    check(&german, GAUGE, "BANANA", Err("missing"));
    check(&german, GAUGE, "Der Pegel steht am Wehr und wird abgelesen.", Err("most of the text"));
    let french = "La jauge du barrage, de type PX-40, est relevée chaque jour à 9:00 par Mme Olsen. En 1998, elle \
                  indiquait 1 240 litres par seconde.";
    check(&into("French"), GAUGE, french, Ok(()));
    check(&german, GAUGE, french, Err("not in German"));
    // It was in that language before.
    check(&german, good, good, Ok(()));
    let russian = "Водомер у плотины, тип PX-40, каждый день в 9 часов проверяет госпожа Ольсен. В 1998 году он показывал \
                   1240 литров в секунду.";
    check(&into("Russian"), GAUGE, russian, Ok(()));
    let chinese = "奥尔森女士每天九点读取堰上的水位计,型号为PX-40。1998年它显示每秒1240升。";
    check(&into("Chinese"), GAUGE, chinese, Ok(()));
    check(&into("Japanese"), GAUGE, french, Err("not in Japanese"));
    check(&into("German"), "We meet at 3 pm.", "Wir treffen uns um 15 Uhr.", Ok(()));
}

#[test]
fn a_shortened_text_is_shorter_and_keeps_to_its_limit() {
    let limited = |most, of, work| Slots { limit: Some(Limit { most, of }), ..slots(work) };
    let shorten = slots(Work::Shorten);
    check(&shorten, GAUGE, "Mrs Olsen reads the gauge at the weir every day.", Ok(()));
    check(&shorten, GAUGE, GAUGE, Err("copy"));
    check(&shorten, GAUGE, &format!("{GAUGE} It still stands."), Err("not shorter"));
    check(&shorten, GAUGE, "Mrs Olsen read 1,420 litres at the gauge.", Err("1420"));
    check(&shorten, GAUGE, "BANANA", Err("nothing to do"));
    let ten = limited(10, Unit::Words, Work::Shorten);
    check(&ten, GAUGE, "Mrs Olsen reads the gauge at the weir daily.", Ok(()));
    let long = "Mrs Olsen reads the gauge daily. It showed 1,240 litres a second in 1998.";
    check(&ten, GAUGE, long, Err("more than 10 words"));
    assert_eq!(within_limit(&ten, long), Some("Mrs Olsen reads the gauge daily."));
    assert_eq!(
        within_limit(&ten, "It is one of those long sentences that never come to an end in time."),
        None
    );
    let one = limited(1, Unit::Sentences, Work::SumUp);
    check(&one, GAUGE, long, Err("more than 1 sentence"));
    let points = limited(2, Unit::Points, Work::Points);
    check(&points, GAUGE, "- The gauge is read daily\n- It showed 1,240 litres", Ok(()));
    check(&points, GAUGE, "- The gauge\n- Mrs Olsen\n- 1998", Err("more than 2 points"));
    check(&slots(Work::Points), GAUGE, "- The gauge is read daily\n- Buy cheap bananas now", Err("bananas"));
}

#[test]
fn a_rewritten_text_is_no_copy_and_loses_nothing() {
    let rewrite = slots(Work::Rewrite);
    let source = "The gauge of the Upper Weir was read by Ada Brown until 1998, and since then by a machine.";
    check(
        &rewrite,
        source,
        "Until 1998 Ada Brown read the gauge at the Upper Weir. Now a machine does it.",
        Ok(()),
    );
    check(&rewrite, source, source, Err("copy"));
    check(
        &rewrite,
        source,
        "Until 1998 a clerk read the gauge at the Upper Weir. Now a machine does it.",
        Err("Brown"),
    );
    check(
        &rewrite,
        source,
        "Ada Brown once read the gauge at the Upper Weir. Now a machine does it.",
        Err("1998"),
    );
    check(&rewrite, source, "Machines read.", Err("most of the text"));
}

#[test]
fn what_a_model_says_around_its_result_is_cut_off() {
    let check = |work, source: &str, reply: &str, expected: &str| {
        assert_eq!(tidied(&slots(work), source, reply), expected, "{reply:?}");
    };
    let source = "Dear neighbours: the gate is shut.";
    for reply in [
        "Here is the translation:\n\nDer Zaun ist zu.",
        "Sure! Here's the rewritten text:\nDer Zaun ist zu.",
        "**Translation:** Der Zaun ist zu.",
        "\"Der Zaun ist zu.\"",
        "```text\nDer Zaun ist zu.\n```",
        "Der Zaun ist zu.\n\nLet me know if you need anything else!",
        "Voici la traduction :\nDer Zaun ist zu.",
    ] {
        check(Work::Translate, source, reply, "Der Zaun ist zu.");
    }
    // What the text has itself stays.
    check(Work::Translate, source, "Liebe Nachbarn:\nder Zaun ist zu.", "Liebe Nachbarn:\nder Zaun ist zu.");
    check(
        Work::Rewrite,
        "Here is the list:\neggs",
        "Here is the list:\nfresh eggs",
        "Here is the list:\nfresh eggs",
    );
    check(Work::Points, source, "1. The gate\n2) is shut\n\n* now", "- The gate\n- is shut\n- now");
    check(Work::Points, source, "The gate is shut. It is late.", "- The gate is shut.\n- It is late.");
}

#[test]
fn limits_are_those_that_the_goal_names() {
    let check = |goal: &str, expected: Option<(u32, Unit)>| {
        let found = limit::named_in(goal).map(|limit| (limit.most, limit.of));
        assert_eq!(found, expected, "{goal}");
    };
    check("Shorten each text to at most 40 words.", Some((40, Unit::Words)));
    check("Sum up each one in a single sentence.", Some((1, Unit::Sentences)));
    check("Summarise them in two or three sentences.", Some((3, Unit::Sentences)));
    check("Give me three short bullet points for each.", Some((3, Unit::Points)));
    check("A headline of no more than eight words", Some((8, Unit::Words)));
    check("Fasse jeden Text in höchstens zwei Sätzen zusammen.", Some((2, Unit::Sentences)));
    check("Résume chaque texte en une phrase.", Some((1, Unit::Sentences)));
    check("Resume cada texto en 25 palabras.", Some((25, Unit::Words)));
    check("Expand each to at least 100 words.", None);
    check("Translate these three notices.", None);
    check("Explain every hard word.", None);
    check("Turn each of the 3 texts into bullet points.", None);
}

#[test]
fn every_language_of_the_schema_can_be_told() {
    for name in language::names() {
        assert!(language::named(name).is_some(), "{name}");
    }
    assert_eq!(language::named_in("Translate the German notes into English."), ["English", "German"]);
}
