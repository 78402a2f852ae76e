use super::*;

/// The chains of a trail: the sentence that each begins with, and `file:line` of each record.
fn trail(goal: &str, files: &[(&str, &str)]) -> Option<Vec<String>> {
    let told = |chain: &Chain| {
        let begins = chain.begins.iter().map(|sentence| sentence.text.clone());
        let links = chain.links.iter().map(|link| format!("{}:{}", files[link.file].0, link.record.line));
        begins.chain(links).collect::<Vec<_>>().join(" > ")
    };
    Some(follow(goal, files)?.chains.iter().map(told).collect())
}

fn check(goal: &str, files: &[(&str, &str)], expected: &[&str]) {
    let found = trail(goal, files).unwrap_or_else(|| panic!("{goal}: no trail"));
    assert_eq!(found, expected, "{goal}");
}

const LOANS: &str =
    "date,copy,reader\n2026-01-03,cp-88x,R17b\n2026-01-05,cp-12k,R40a\n2026-01-09,cp-51d,R22c\n";
const READERS: &str = "R17b: Ada Thorne\nR22c: Milo Brandt\nR40a: Ines Varga\nR55d: Ada Brandt\n";
const PHONES: &str = r#"{"Ines Varga": {"phone": "4410"}, "Milo Brandt": {"phone": "4413"}, "Ada Brandt": {"phone": "4415"}, "Ada Thorne": {"phone": "4419"}}"#;

#[test]
fn a_code_leads_from_file_to_file() {
    let files = [("loans.csv", LOANS), ("readers.txt", READERS), ("phones.json", PHONES)];
    check(
        "Who has CP-12K, and which number can I call?",
        &files,
        &["loans.csv:3 > readers.txt:3 > phones.json:1"],
    );
}

#[test]
fn namesakes_are_not_followed() {
    // Milo Brandt shares his family name with Ada Brandt.
    let files = [("loans.csv", LOANS), ("readers.txt", READERS), ("phones.json", PHONES)];
    check(
        "phone number for the reader who took cp-51d",
        &files,
        &["loans.csv:4 > readers.txt:2 > phones.json:1"],
    );
}

#[test]
fn prose_is_the_beginning_of_a_trail() {
    let note = "Hello Ada,\n\nthe pump in Hall 3B is dripping again. It was fine on Monday.\n\nBest\nMilo\n";
    let halls = "[Hall 1A]\npump = QX-200\nyear = 2011\n\n[Hall 3B]\npump = QX-310\nyear = 2014\n\n[Hall 4C]\npump = QX-200\nyear = 2019\n";
    let parts = "| pump | seal |\n|---|---|\n| QX-200 | S14 |\n| QX-310 | S19 |\n| QX-400 | S22 |\n";
    let files = [("note.txt", note), ("halls.ini", halls), ("parts.md", parts)];
    let found = follow("Which seal do we need for the pump that drips?", &files).unwrap();
    assert_eq!(found.prose, [0]);
    check(
        "Which seal do we need?",
        &files,
        &["the pump in Hall 3B is dripping again. > halls.ini:5 > parts.md:4"],
    );
}

#[test]
fn a_way_that_is_about_somebody_else_is_none() {
    let staff = "# On call\n\n* Ines Varga, cook, mobile 0783 192981\n* Milo Brandt, cook, mobile 0713 550680\n\
                 * Ada Thorne, driver, mobile 0729 635430\n* Rosa Norbeck, cook, mobile 0769 342107\n* Nadia Abbot, nurse, nights\n";
    let mail = "From: Ines Varga <ines@example.org>\nTo: Milo Brandt\n\nNadia swaps with Rosa on Friday.\n";
    let files = [("staff.md", staff), ("mail.txt", mail)];
    assert_eq!(trail("What is the mobile number of Nadia Abbot?", &files), None);
}

#[test]
fn columns_between_spaces_are_records_too() {
    let owners = "# path owner\nsrc/io_read.c @petra\nsrc/io_write.c @juno\nsrc/net_dial.c @oskar\n";
    let desks = "person,handle,desk\nPetra Lund,petra,D4\nJuno Weiss,juno,D9\nOskar Falk,oskar,D2\n";
    let files = [("OWNERS", owners), ("desks.csv", desks)];
    check("At which desk sits the owner of src/net_dial.c?", &files, &["OWNERS:4 > desks.csv:4"]);
}

#[test]
fn files_that_share_nothing_make_no_trail() {
    let prices = "item,price\nlamp,12\nchair,40\ndesk,90\n";
    let towns = "town,people\nArle,300\nBorne,410\nCadby,990\n";
    assert_eq!(trail("How much is the lamp?", &[("prices.csv", prices), ("towns.csv", towns)]), None);
    assert_eq!(trail("How many people live in Borne?", &[("towns.csv", towns)]), None);
    assert_eq!(trail("What is the total?", &[("prices.csv", prices)]), None);
    let prose = "The lamp was bought in Arle. Nobody remembers the price.";
    assert_eq!(trail("Who bought the lamp?", &[("a.txt", prose), ("b.txt", prose)]), None);
}

#[test]
fn a_selection_from_a_table_is_no_trail() {
    let mut orders = String::from("order,customer\n");
    (0..40).for_each(|n| orders += &format!("O{n}x,C{n}y\n"));
    let mut customers = String::from("customer,region\n");
    (0..40).for_each(|n| customers += &format!("C{n}y,Area{n}z\n"));
    let goal: String = (0..20).map(|n| format!("O{n}x ")).collect();
    assert_eq!(trail(&goal, &[("orders.csv", &orders), ("customers.csv", &customers)]), None);
}

#[test]
fn what_two_sentences_name_makes_two_chains() {
    let note = "Since May Ann Shaw keeps the sheep. Last year it was Dan Ley; Tom Ripley helped.";
    let barns = "keeper,barn\nDan Ley,B-11\nAnn Shaw,B-12\nEve Moor,B-14\n";
    let keys = "B-11: key 7\nB-12: key 9\nB-14: key 31\n";
    let files = [("note.txt", note), ("barns.csv", barns), ("keys.txt", keys)];
    let (ann, dan) = ("Since May Ann Shaw keeps the sheep.", "Last year it was Dan Ley; Tom Ripley helped.");
    let chains = [format!("{ann} > barns.csv:3 > keys.txt:2"), format!("{dan} > barns.csv:2 > keys.txt:1")];
    let mut found = trail("Which key opens the keeper's barn?", &files).unwrap();
    found.sort_by_key(|chain| std::cmp::Reverse(chain.clone()));
    assert_eq!(found, chains);
    // What the goal names needs no sentence.
    check("Which key opens the barn of Dan Ley?", &files[1..], &["barns.csv:2 > keys.txt:1"]);
}

#[test]
fn a_code_may_have_its_letters_behind_a_hyphen() {
    let scans = "2026-01-02 08:00:01 INFO v71 loaded 5567-K\n2026-01-02 08:04:01 INFO v72 loaded 5568-K\n\
                 2026-01-02 09:00:01 INFO v73 loaded 9567-K\n";
    let vans = "van,driver\nv71,Ada Thorne\nv72,Milo Brandt\nv73,Ines Varga\n";
    check(
        "Who has parcel 5567-k?",
        &[("scans.log", scans), ("vans.csv", vans)],
        &["scans.log:1 > vans.csv:2"],
    );
}

#[test]
fn sentences_are_links_where_lists_alone_are_no_chain() {
    let samples = "sample\tbox\ttaken\nL494-0\tblue\t2024-10-28\nL136-1\tviolet\t2024-06-21\nL299-2\tcoral\t2024-10-19\n";
    let moves = "After the spring clean\n\nIt took all day. Igloo now holds the coral box. The violet box has been moved to \
                 Yeti. The blue box has been moved to Polaris. Frost is gone.\n";
    let freezers = "| Freezer | Room | Key holder |\n|---|---|---|\n| Yeti | C012 | Ursula Ashdown |\n| Polaris | B207 | \
                    Ramona Gallacher |\n| Igloo | D220 | Kwame Quill |\n";
    let files = [("samples.tsv", samples), ("moves.txt", moves), ("freezers.md", freezers)];
    check(
        "Right, key holder for sample L494-0? Thanks!",
        &files,
        &["samples.tsv:2 > moves.txt:3 > freezers.md:4"],
    );
}

#[test]
fn a_time_in_the_goal_tells_two_ways_apart() {
    let times = "departs,to,ship\n07:30,Mellan,Lady Maud\n08:45,Tarbin,Otter\n20:45,Tarbin,Solveig\n";
    let crew = "Notice\n\nLiesel Whitcombe commands the Solveig. Zdenka Rautio commands the Otter. Jackets are counted daily.\n";
    let phones = "Whitcombe, Liesel ... 8306\nDombrowski, Nikhil ... 4759\nRautio, Zdenka ... 4295\n";
    let files = [("times.csv", times), ("crew.txt", crew), ("phones.txt", phones)];
    let goal = "What is the extension of the captain who takes the 8:45 am to Tarbin?";
    check(goal, &files, &["times.csv:3 > crew.txt:3 > phones.txt:3"]);
    let evening = "What is the extension of the captain who takes the 8:45 pm to Tarbin?";
    check(evening, &files, &["times.csv:4 > crew.txt:3 > phones.txt:1"]);
}
