use super::super::marks::marks;
use super::*;

fn told(goal: &str) -> Vec<String> {
    let titles = ["Arrival", "Storage", "Contacts"];
    let scope = |scope: &Scope| match scope {
        Scope::One(section) => titles[*section].to_owned(),
        other => format!("{other:?}"),
    };
    let sign = |demand: &Demand| if demand.is_wanted { "" } else { "not " };
    let found = terms(&marks(goal, &titles));
    found.iter().map(|one| format!("{}{} in {}", sign(one), one.term.text, scope(&one.scope))).collect()
}

#[test]
fn words_that_must_occur_are_read_with_their_sections() {
    let three = ["badge in Arrival", "coordinator in Contacts", "freezer in Storage"];
    for goal in [
        "Mention in each the word given here: Arrival: \"badge\"; Storage: \"freezer\"; Contacts: \"coordinator\".",
        "and work in these words - Arrival: \"badge\"; Storage: \"freezer\"; Contacts: \"coordinator\"",
        "must mention Arrival: “badge”, Storage: “freezer”, Contacts: “coordinator”",
        "Keywords: Arrival - badge, Storage - freezer, Contacts - coordinator.",
        "Use \"badge\" in Arrival, \"freezer\" under Storage and \"coordinator\" in the section Contacts.",
        "Arrival must mention \"badge\", Storage \"freezer\", and Contacts \"coordinator\".",
        "Each has a word to use:\n- Arrival: badge\n- Storage: freezer\n- Contacts: coordinator\nThanks!",
        "- Arrival (mention the badge)\n- Storage (mention the freezer)\n- Contacts (mention the coordinator)",
        "Arrival should mention the badge. Storage must include the freezer. Contacts: say coordinator.",
        "Mention badge in the part Arrival; freezer in the part Storage; coordinator in the part Contacts.",
        "words: Arrival -> badge; Storage -> freezer; Contacts -> coordinator",
        "| heading | must contain |\n| --- | --- |\n| Arrival | badge |\n| Storage | freezer |\n| Contacts | coordinator |",
        "- Arrival (must contain: badge)\n- Storage (must contain: freezer)\n- Contacts (must contain: coordinator)",
        "three sections: Arrival (with badge), Storage (with freezer), Contacts (with coordinator)",
        "the one headed Arrival speaks of badge; Storage speaks of freezer; Contacts speaks of coordinator",
        "the word 'badge' has to appear under Arrival, 'freezer' under Storage, 'coordinator' under Contacts",
    ] {
        let mut found = told(goal);
        found.sort();
        assert_eq!(found, three, "{goal}");
    }
    assert_eq!(
        told("Arrival: \"badge\" and \"gate\"; max 50 words"),
        ["badge in Arrival", "gate in Arrival"]
    );
    assert_eq!(
        told("sections Arrival, Storage, Contacts. Do not use the word \"cheap\"."),
        ["not cheap in Whole"]
    );
    assert_eq!(
        told(
            "words have to appear, namely 'lamp' and 'lock' in the part 'Storage'; 'ramp' in the part 'Contacts'"
        ),
        ["lamp in Storage", "lock in Storage", "ramp in Contacts"]
    );
    for goal in [
        "Avoid these words entirely: nice, boring and sadly.",
        "Do not use the words nice, boring and sadly.",
        "The words nice, boring and sadly must not occur.",
    ] {
        assert_eq!(told(goal), ["not nice in Whole", "not boring in Whole", "not sadly in Whole"], "{goal}");
    }
    for (goal, expected) in [
        ("Do not mention mites in Storage.", "not mites in Storage"),
        ("Storage must not mention mites.", "not mites in Storage"),
        ("Mention neither wasps nor the word \"sting\".", "not sting in Whole"),
    ] {
        assert_eq!(told(goal), [expected], "{goal}");
    }
    assert_eq!(told("| Arrival | anything |\n| Storage | must contain soup |"), ["soup in Storage"]);
    assert_eq!(told("Every section must contain the word \"team\"."), ["team in Each"]);
    assert_eq!(told("sections Arrival, Storage and Contacts, and mention \"soup\""), ["soup in Whole"]);
    for goal in [
        "Write a leaflet \"Welcome\" with the sections Arrival, Storage, Contacts.",
        "Arrival: what to do on the first day; Storage: where things are; Contacts: whom to call",
        "Arrival (max 40 words), Storage (60 words), Contacts",
        "Storage should use plain language, and Contacts needs a table",
    ] {
        assert_eq!(told(goal), [""; 0], "{goal}");
    }
}

#[test]
fn words_that_must_not_occur_are_told_from_those_that_must() {
    assert_eq!(
        told("The word \"badge\" must appear in Arrival but not in Storage."),
        ["badge in Arrival", "not badge in Storage"]
    );
    assert_eq!(told("The word \"buzz\" must not occur."), ["not buzz in Whole"]);
    assert_eq!(told("The word \"badge\" must not be missing in Arrival."), ["badge in Whole"]);
    assert_eq!(
        told("Mention \"badge\" in Arrival, and \"freezer\" in Storage but not in Arrival or Contacts."),
        ["badge in Arrival", "freezer in Storage", "not freezer in Arrival", "not freezer in Contacts"]
    );
}
