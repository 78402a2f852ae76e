use super::{Format, Item, Sheet, sheets};

/// Rows as `line: cell|cell`, irregular lines as `line! problem`.
fn lines(sheet: &Sheet, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    sheet.visit(text, &mut |item| {
        lines.push(match item {
            Item::Row { line, cells } => format!("{line}: {}", cells.join("|")),
            Item::Irregular { line, problem } => format!("{line}! {problem}"),
        });
    });
    lines
}

fn one(file: &str, text: &str) -> Sheet {
    let mut found = sheets(file, text).unwrap();
    assert_eq!(found.len(), 1, "{file}: {found:?}");
    found.remove(0)
}

fn check(file: &str, text: &str, header: &[&str], expected: &[&str]) {
    let sheet = one(file, text);
    assert_eq!(sheet.header.clone().unwrap_or_default(), header, "{file}: {:?}", sheet.notes);
    assert_eq!(lines(&sheet, text), expected, "{file}");
}

#[test]
fn delimited_values_have_a_header_and_lines() {
    check(
        "a.csv",
        "id,name\n1,\"Farnaby, Zander & Co\"\n2,\"the \"\"blue\"\" one\"\n",
        &["id", "name"],
        &["2: 1|Farnaby, Zander & Co", "3: 2|the \"blue\" one"],
    );
    check(
        "a.csv",
        "\u{feff}day;n\r\n2025-01-01;1,5\r\n\r\n2025-01-02;2,5\r\n",
        &["day", "n"],
        &["2: 2025-01-01|1,5", "4: 2025-01-02|2,5"],
    );
    check("a.tsv", "a\tb\n1\tx y\n", &["a", "b"], &["2: 1|x y"]);
    check("a.csv", "a,b\n1,\"two\nlines\"\n2,x\n", &["a", "b"], &["2: 1|two\nlines", "4: 2|x"]);
    check("a.csv", "a|b\n1|2\n", &["a", "b"], &["2: 1|2"]);
    check("one.csv", "amount\n1\n2\n", &["amount"], &["2: 1", "3: 2"]);
    check("notes", "name,n\nab,1\ncd,2\nef,3\n", &["name", "n"], &["2: ab|1", "3: cd|2", "4: ef|3"]);
}

#[test]
fn irregular_lines_are_named() {
    check(
        "a.csv",
        "Report 2025\n\nid,n\n1,2\n3\n4,5,6\n7,8,,\n",
        &["id", "n"],
        &[
            "1! it stands before the table: \"Report 2025\"",
            "4: 1|2",
            "5! it has 1 values instead of 2",
            "6! it has 3 values instead of 2",
            "7: 7|8",
        ],
    );
    let open = format!("id,n\n1,\"open\n{}", "2,3\n".repeat(300));
    let sheet = one("a.csv", &open);
    let found = lines(&sheet, &open);
    assert!(
        found.iter().any(|line| line.contains("is not closed within") || line.contains("values instead")),
        "{found:?}"
    );
}

#[test]
fn a_first_row_of_values_is_no_header() {
    let sheet = one("a.csv", "1,x\n2,y\n");
    assert_eq!((sheet.header.as_ref(), sheet.width), (None, 2));
    assert!(sheet.notes[0].contains("c1, c2"), "{:?}", sheet.notes);
    assert_eq!(lines(&sheet, "1,x\n2,y\n"), ["1: 1|x", "2: 2|y"]);
    let recurs = one("a.csv", "north,open\nsouth,open\nnorth,closed\n");
    assert_eq!(recurs.header, None);
    let guessed = one("a.csv", "host,team\nnode-1,red\nnode-2,blue\n");
    assert!(
        guessed.header.is_some() && guessed.notes[0].contains("nothing proves it"),
        "{:?}",
        guessed.notes
    );
    assert!(one("a.csv", "region,2023,2024\nNorth,5,6\n").header.is_some());
}

#[test]
fn json_of_several_shapes_is_a_table() {
    check(
        "a.jsonl",
        "{\"a\": 1, \"b\": {\"c\": \"x\"}}\n\n{\"b\": {\"c\": null}, \"d\": [1]}\nnot json\n",
        &["a", "b.c", "d"],
        &["1: 1|x|", "3: ||[1]", "4! it is no JSON object"],
    );
    check(
        "a.json",
        "[\n {\"a\": \"x, }\"},\n {\"a\": \"\\\"\"},\n 5,\n {}, {}, {}, {}, {}, {}, {}, {}\n]",
        &["a"],
        &[
            "2: x, }",
            "3: \"",
            "4! it is no JSON object",
            "5: ",
            "5: ",
            "5: ",
            "5: ",
            "5: ",
            "5: ",
            "5: ",
            "5: ",
        ],
    );
    check(
        "rooms.json",
        "{\n \"Jarek\": {\n  \"room\": \"B3\"},\n \"Ana\": {\"room\": \"C1\"}}",
        &["key", "room"],
        &["2: Jarek|B3", "4: Ana|C1"],
    );
    check(
        "a.json",
        "{\"total\": 2, \"items\": [{\"a\": true}, {\"a\": false}]}",
        &["a"],
        &["1: true", "1: false"],
    );
    let error = sheets("a.json", "[{\"a\": 1},\n{\"a\" 2}]").unwrap_err();
    assert_eq!(error.to_string(), "a.json, line 2, column 6: expected `:`: correct the file");
}

#[test]
fn markdown_tables_inside_text_are_found() {
    let text = "# Parts\n\nSee a | b.\n\n| model | price |\n|---|--:|\n| AX\\|1 | **62** |\n| B |\n| C | 25 |\n\nEnd.\n\
                ## More\na | b\n--- | ---\n1 | 2\n```\n| x | y |\n|---|---|\n```\n";
    let found = sheets("parts.md", text).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(lines(&found[0], text), ["7: AX|1|62", "8! it has 1 cells instead of 2", "9: C|25"]);
    assert_eq!(
        (found[1].title.as_deref(), lines(&found[1], text)),
        (Some("More"), vec!["15: 1|2".to_owned()])
    );
}

#[test]
fn logs_with_a_regular_line_are_tables() {
    let text = "2025-03-01 14:52:07 INFO  node-28g retry req-1\n2025-03-05 11:13:07 ERROR node-28h cache miss req-2\n  at x\n\
                2025-03-06 11:13:07 WARN  node-28g slow query req-3\n2025-03-06 11:14:07 WARN  node-28h retry req-4\n\
                2025-03-06 11:15:07 WARN  node-28g retry req-5\n=== rotated ===\n";
    check(
        "service.log",
        text,
        &["time", "level", "source", "message"],
        &[
            "1: 2025-03-01 14:52:07|INFO|node-28g|node-28g retry req-1",
            "2: 2025-03-05 11:13:07|ERROR|node-28h|node-28h cache miss req-2\nat x",
            "4: 2025-03-06 11:13:07|WARN|node-28g|node-28g slow query req-3",
            "5: 2025-03-06 11:14:07|WARN|node-28h|node-28h retry req-4",
            "6: 2025-03-06 11:15:07|WARN|node-28g|node-28g retry req-5",
            "7! it has another form: \"=== rotated ===\"",
        ],
    );
    check(
        "a.log",
        "[2025-03-01T14:52:07.123Z] [worker-1] ERROR billing: took=35ms user=\"a b\" failed\n",
        &["time", "level", "source", "field1", "took", "user", "message"],
        &[
            "1: 2025-03-01T14:52:07.123Z|ERROR|billing|worker-1|35ms|a b|billing: took=35ms user=\"a b\" failed",
        ],
    );
    check(
        "x.log",
        "Mar  5 14:52:07 host sshd[12]: ok\n",
        &["time", "source", "message"],
        &["1: Mar  5 14:52:07|host|host sshd[12]: ok"],
    );
    check(
        "a.log",
        "2025-03-01 14:52:07,120 - billing - ERROR - no disk\n",
        &["time", "level", "source", "message"],
        &["1: 2025-03-01 14:52:07,120|ERROR|billing|no disk"],
    );
    check(
        "access",
        &"10.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] \"GET /a b HTTP/1.0\" 200 23 \"-\" \"curl\"\n"
            .repeat(3),
        super::log::ACCESS,
        &["1", "2", "3"]
            .map(|n| format!("{n}: 10.0.0.1|ann|10 Oct 2000 13:55:36 -0700|GET|/a b|200|23|-|curl"))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    check(
        "a.txt",
        "level=info msg=a\nlevel=warn msg=b\nlevel=info msg=c\n",
        &["level", "msg", "message"],
        &["1: info|a|level=info msg=a", "2: warn|b|level=warn msg=b", "3: info|c|level=info msg=c"],
    );
}

#[test]
fn prose_is_no_table() {
    let none = [
        "Zelda Eversley\nBrockwood\n\nApplication\n\nThe rest can wait, really. My experience: 4 years.\n",
        "First, do this.\nSecond, do that.\nThird, do more.\nFourth, stop.\n",
        "Dear Sir, \nplease, wait\nyours, Ann\nsoon, today\n",
        "2025-01-07T01:12:44Z cache01 agent[6224]: starting check\nINFO running version 1.8.7\nINFO load 3.19\nINFO disk\n",
        "",
        "   \n",
        "{\"a\": 1}",
        "5",
        "fn main() {\n    let a = (1, 2);\n    let b = (3, 4);\n    let c = (5, 6);\n}\n",
    ];
    // The name says log, but only the first line has a time.
    assert!(sheets("cache01.log", none[3]).is_err());
    for text in none {
        let found = sheets("a.txt", text);
        assert!(found.is_err(), "{text:?}: {found:?}");
    }
}

#[test]
fn confidence_is_the_share_of_fitting_lines() {
    let sheet = one("a.csv", "a,b\n1,2\n3\n4,5\n");
    assert_eq!((sheet.confidence, sheet.format), (0.75, Format::Delimited { delimiter: ',' }));
    assert!(one("notes", "name,n\nab,1\ncd,2\nef,3\n").confidence < 0.9);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(
        text in "[-a1 ,;|\\t\\n\"'{}\\[\\]:#=.\\\\é]{0,80}",
        file in proptest::sample::select(vec!["a.csv", "a.json", "a.jsonl", "a.md", "a.log", "a.txt"]),
    ) {
        if let Ok(found) = sheets(file, &text) {
            for sheet in found {
                for line in lines(&sheet, &text) {
                    proptest::prop_assert!(!line.is_empty());
                }
            }
        }
    }

    /// What was written as CSV is read again, and every line is a row or named.
    #[test]
    fn csv_is_read_back(rows in proptest::collection::vec(proptest::collection::vec("[a-z\",; \\n]{0,6}x", 3), 1..8)) {
        let mut text = String::from("c_a,c_b,c_c\n");
        for row in &rows {
            let cells: Vec<String> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            text.push_str(&(cells.join(",") + "\n"));
        }
        let sheet = one("a.csv", &text);
        let mut read = Vec::new();
        sheet.visit(&text, &mut |item| {
            if let Item::Row { cells, .. } = item {
                read.push(cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>());
            }
        });
        let trimmed: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.trim().to_owned()).collect()).collect();
        proptest::prop_assert_eq!(read, trimmed);
    }
}
