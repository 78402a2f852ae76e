use super::html;

fn check(html: &str, expected: &str) {
    assert_eq!(html::text_of(html), format!("{expected}\n"), "{html}");
}

#[test]
fn html_keeps_headings_lists_and_words() {
    check("<h1>Rent</h1><p>900&nbsp;euros <b>a</b>\n month.</p>", "# Rent\n\n900 euros a month.");
    check("one<br>two<div>three<div>four</div></div>five", "one\ntwo\n\nthree\n\nfour\n\nfive");
    check("<ul><li>a<li>b<ul><li>c</ul></ul><p>d", "- a\n- b\n\n  - c\n\nd");
    check("<p>a<img alt='a cat'>b &lt;c&gt; &eacute;", "aa catb <c> é");
    check("<title>T</title><body>x", "# T\n\nx");
    check("<p>a</p>\n\n\n<p>  </p><p>b</p>", "a\n\nb");
}

#[test]
fn nothing_of_scripts_and_styles_is_kept() {
    check("a<script>if (a < b) { '<p>x</p>' }</script>b", "ab");
    check("a<style>p > a {}</style><template><p>x</template> b<svg><svg>y</svg>z</svg>c", "a bc");
    check("a<!-- <p>x -->b<noscript>x", "ab");
}

#[test]
fn tables_become_tables_of_markdown() {
    let rows = "<tr><th>name<th>price</tr><tr><td>a | b</td><td><p>1</p><p>2</p></td></tr>";
    check(&format!("x<table>{rows}</table>y"), "x\n\n| name | price |\n|---|---|\n| a \\| b | 1 2 |\n\ny");
    check("<table><tr><td>a<table><tr><td>b<td>c</table>d</table>e", "| a | b | c d |\n|---|\n\ne");
}

#[test]
fn html_that_is_nested_deeply_is_read_in_reasonable_time() {
    for piece in [
        "<table><tr><td>a",
        "<ul><li>a",
        "<div>a",
        "<table>",
        "<pre>a",
        "<svg>",
        "<td>a",
        "</ul></td></tr></table>a",
    ] {
        let text = html::text_of(&piece.repeat(50_000));
        assert!(text.len() < 50_000 * 40, "{piece}: {} bytes", text.len());
    }
}

#[test]
fn preformatted_text_keeps_its_lines() {
    check("a<pre>\nfn f() {\n    g();\n}\n</pre>b", "a\n\n```\nfn f() {\n    g();\n}\n```\n\nb");
    check("<pre>a", "```\na\n```");
}

/// Two pages that groff made, with ligatures, kerning and a divided word.
#[cfg(feature = "pdf")]
const TERMS: &[u8] = include_bytes!("../tests/terms.pdf");

#[cfg(feature = "pdf")]
#[test]
fn a_pdf_has_its_words_and_pages() {
    let document = crate::retrieval::Document::from_bytes("terms.pdf", TERMS).unwrap();
    for words in ["Five offices handle the flow", "The costs of 12.50 euros are shared."] {
        assert!(document.text.contains(words), "{}", document.text);
    }
    let parts = crate::retrieval::cut(&document);
    let of =
        |words: &str| parts.iter().find(|part| document.text[part.span.clone()].contains(words)).unwrap();
    assert_eq!((of("Five offices").page, of("12.50").page), (Some(1), Some(1)), "short pages share a part");
}

#[cfg(feature = "pdf")]
#[test]
fn a_damaged_pdf_is_an_error_or_a_text() {
    use super::pdf::text_of;
    for at in (0..TERMS.len()).step_by(97) {
        let mut bytes = TERMS.to_vec();
        bytes[at] ^= 0x55;
        text_of(&bytes).unwrap_or_default();
        text_of(&TERMS[..at]).unwrap_err();
    }
}
