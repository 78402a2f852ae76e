use super::*;

#[test]
fn named_parts_are_read_from_an_enumeration() {
    for (goal, expected) in [
        (
            "Write a guide to hens with a section on each of: feed, coop, eggs. Start with headings.",
            "feed|coop|eggs",
        ),
        ("Describe Chile with sections for history, food, and climate.", "history|food|climate"),
        ("An overview: one part about cost, one about range, one about charging.", "cost|range|charging"),
        (
            "Discuss the advantages, the disadvantages and the risks of dams",
            "advantages|disadvantages|risks of dams",
        ),
        (
            "Write a brochure for a museum, with sections on history, opening hours, the climb, the cafe.",
            "history|opening hours|climb|cafe",
        ),
        ("For beginners, and in plain words: a chapter about knots and one about sails.", "knots|sails"),
        ("Who wrote Hamlet?", ""),
        ("Compare tea and coffee.", ""),
    ] {
        assert_eq!(named_aspects(goal).join("|"), expected, "{goal}");
    }
}

#[test]
fn what_a_goal_demands_of_parts_is_none_of_them() {
    for (goal, expected) in [
        (
            "Write a handout. It should have exactly the four headings Arrival, Storage, Hygiene; no section longer \
             than 100 words.",
            "Arrival|Storage|Hygiene",
        ),
        ("Structure: Need, Site, Costs, each as a heading, at most 60 words below each.", "Need|Site|Costs"),
        ("Four headed sections (Setup, Code, Meetings), each up to 60 words.", "Setup|Code|Meetings"),
        (
            "A guide for cats, dogs, hens, goats and bees. sections = Keys, Waste, Heating",
            "Keys|Waste|Heating",
        ),
        (
            "draft a plan. headings Boxes, Desks and Risks, max 80 words per section, and work in: Boxes: \"tape\"",
            "Boxes|Desks|Risks",
        ),
        (
            "Write a leaflet with these sections:\n- Getting here (max 40 words)\n- Parking: mention the barrier\n\
             - Breakfast\nKeep it friendly.",
            "Getting here|Parking|Breakfast",
        ),
        (
            "Use the headings \"How to get here\", \"On the day\" and \"Afterwards\".",
            "How to get here|On the day|Afterwards",
        ),
        ("secions = [Keys | Waste | Heating]. words: Keys -> box; Waste -> bin", "Keys|Waste|Heating"),
        (
            "Draft an invitation. It has 3 sections: Programme (with torch and tram), Please Bring, Thanks (with brass).",
            "Programme|Please Bring|Thanks",
        ),
        (
            "A page with these sections. Avoid these words: cheap, nice and free.\n| heading | must contain |\n| --- | --- |\n\
             | Timeline | boxes, alarm |\n| Damage | anything |\n| Cause | shelves |",
            "Timeline|Damage|Cause",
        ),
        (
            "Below are the headings and the words.\nPartners: (free)\nRisks: blog, harvest\nGoal: voles\nAt most 30 words.",
            "Partners|Risks|Goal",
        ),
        (
            "Divide it into 3 sections: the one headed 'Risks' speaks of voles; the one headed 'Budget' is up to you; the \
             one headed Goals Now needs 'fence'.",
            "Risks|Budget|Goals Now",
        ),
        (
            "Write a report with sections Summary, Causes and Outlook. Base it on these notes:\n- The pump failed\n- Bob called\n\
             - We restarted it",
            "Summary|Causes|Outlook",
        ),
        (
            "Write a letter with sections Offer, Terms and Contact.\nCustomer: Anna Smith\nDate: 3 May\nPrice: 300 euros",
            "Offer|Terms|Contact",
        ),
    ] {
        assert_eq!(named_aspects(goal).join("|"), expected, "{goal}");
    }
}

#[test]
fn lists_of_something_else_are_no_parts() {
    for (goal, expected) in [
        ("Answer this mail about the spare parts.\nFrom: Ada\nTo: Bo\nSubject: pump", ""),
        (
            "Write chapters on how Anna headed North and Bob headed South.",
            "how Anna headed North|Bob headed South",
        ),
        (
            "A page with sections Price, Delivery and Warranty. Avoid the terms cheap, nice and free.",
            "Price|Delivery|Warranty",
        ),
        ("Write a text for \"Blue Barn Café\" with the sections Menu, Prices and Hours", "Menu|Prices|Hours"),
        ("Sections Arrival, Storage and Contacts, please.", "Arrival|Storage|Contacts"),
        ("Headings Sun and Rain, each up to 10 words.", "Sun|Rain"),
        ("Sections Sun, Rain and Wind, about 1,000 words overall.", "Sun|Rain|Wind"),
        ("Who wrote Hamlet?", ""),
        ("Compare tea and coffee.", ""),
    ] {
        assert_eq!(named_aspects(goal).join("|"), expected, "{goal}");
    }
}
