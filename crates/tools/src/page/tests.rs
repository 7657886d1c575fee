use super::*;

fn page_of(source: &Source<'_>) -> Page {
    read(source).expect("the page is read")
}

fn html(bytes: &[u8]) -> Page {
    let url = Url::parse("https://example.org/news/today.html?x=1").unwrap();
    page_of(&Source {
        url: &url,
        media_type: "text/html",
        charset: None,
        bytes,
    })
}

fn markdown_of(body: &str) -> String {
    html(body.as_bytes()).text
}

const LOREM: &str = "The harbour of Bergen is old, and its wooden houses, which burned down more than once, were always \
    built again. ";

#[test]
fn elements_become_markdown() {
    for (body, expected) in [
        ("<h1>A  <em>b</em></h1><p>c<br>d", "# A *b*\n\nc\nd"),
        ("<p>a <b> b </b>c</p>", "a **b** c"),
        ("<p>x<b></b>y", "xy"),
        (
            "<ul><li>a<li>b<ul><li>c</ul></ul><p>d",
            "- a\n- b\n  - c\n\nd",
        ),
        (
            "<ol start=3><li>a<li><p>b</p><p>c</p></ol>",
            "3. a\n4. b\n\n   c",
        ),
        (
            "<blockquote><p>a</p><p>b</p></blockquote>c",
            "> a\n>\n> b\n\nc",
        ),
        (
            "<pre><code class='x language-rust'>fn a() {\n\n    b();\n}\n</code></pre>",
            "```rust\nfn a() {\n\n    b();\n}\n```",
        ),
        (
            "<p>use <code>a</code>, not <code>b</code>.",
            "use `a`, not `b`.",
        ),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\n: b\n\nc\n: d"),
        (
            "<table><tr><th>a<th>b<tr><td>1<td><p>x|y</p><p>z</p></table>",
            "| a | b |\n| --- | --- |\n| 1 | x\\|y z |",
        ),
        (
            "<table><tr><td><ul><li>a</ul><td>b<tr><td>c<td>d</table>",
            "- a\n\nb\nc\nd",
        ),
        (
            "a<hr>b<script>c()</script><style>d{}</style><!-- e -->",
            "a\n\n---\n\nb",
        ),
        ("<p>1 &lt; 2 &amp;&nbsp;3&hellip;", "1 < 2 & 3…"),
        ("<p>a<p>b<div>c</div>d", "a\n\nb\n\nc\n\nd"),
        ("<b><p>a</p><p>b</p></b>", "a\n\nb"),
        (
            "<a href=/x><h3>Card</h3><p>Text</p></a>",
            "### Card\n\nText\n\n<https://example.org/x>",
        ),
        (
            "<img src=a.png alt='a  boat'><img src=b.png>",
            "![a boat](https://example.org/news/a.png)",
        ),
        ("<math alttext='x^2'><mi>x</mi></math>", "$x^2$"),
    ] {
        assert_eq!(markdown_of(body), expected, "{body}");
    }
}

#[test]
fn links_are_absolute_and_lead_to_places_only() {
    for (base, href, expected) in [
        ("", "/a b", "[x](https://example.org/a%20b)"),
        ("", "../c?d=(e)", "[x](https://example.org/c?d=%28e%29)"),
        ("", "//other.org", "[x](https://other.org/)"),
        (
            "<base href='https://base.org/deep/'>",
            "f",
            "[x](https://base.org/deep/f)",
        ),
        ("", "mailto:a@b.c", "[x](mailto:a@b.c)"),
        ("", "javascript:alert(1)", "x"),
        ("", "data:text/html,y", "x"),
        ("", "#part", "x"),
        ("", "", "x"),
    ] {
        let body = format!("{base}<p><a href=\"{href}\">x</a></p>");
        assert_eq!(markdown_of(&body), expected, "{href}");
    }
}

#[test]
fn the_article_is_read_and_what_stands_around_it_is_not() {
    let text = format!("<p>{}</p>", LOREM.repeat(4));
    let around =
        "<header><a href=/>Home</a> <a href=/x>Login</a></header><nav><ul><li>Menu one</ul></nav>";
    let beside = "<aside>Beside it all</aside><div class='cookie-consent'><p>We value your privacy and 812 partners, \
                  who value it as well.</p></div>";
    let below =
        "<footer><p>All rights are reserved, by the people who reserve all rights.</p></footer>";
    for inside in [
        format!("<main><h1>Bergen</h1>{text}{text}</main>"),
        format!("<article><h1>Bergen</h1>{text}{text}</article>"),
        format!("<div role=main><h1>Bergen</h1>{text}{text}</div>"),
        format!("<div class=c1><h1>Bergen</h1><div class=c2>{text}{text}</div></div>"),
        format!("<table role=presentation><tr><td><h1>Bergen</h1><div>{text}{text}</div></table>"),
    ] {
        let body = format!(
            "<html><head><title>T</title></head><body>{around}{inside}{beside}{below}</body></html>"
        );
        let text = markdown_of(&body);
        assert!(
            text.starts_with("# Bergen\n\nThe harbour"),
            "{inside}: {text}"
        );
        for left_out in ["Login", "Menu one", "Beside", "privacy", "rights"] {
            assert!(!text.contains(left_out), "{inside}: {left_out} in {text}");
        }
    }
}

#[test]
fn a_page_of_links_is_read_as_a_whole() {
    let stories: String = (0..30)
        .map(|n| format!("<tr><td>{n}.<td><a href=/s/{n}>A story that somebody found worth a look, number {n}</a>"))
        .collect();
    let body = format!(
        "<body><table>{stories}</table><p>Guidelines and more of the small print are down here.</p>"
    );
    let text = markdown_of(&body);
    assert!(
        text.contains("number 0](https://example.org/s/0)"),
        "{text}"
    );
    assert!(text.contains("number 29]"), "{text}");
}

#[test]
fn a_page_that_is_all_menu_is_still_read() {
    let text = markdown_of("<body><nav><a href=/a>One</a> <a href=/b>Two</a></nav>");
    assert_eq!(
        text,
        "[One](https://example.org/a) [Two](https://example.org/b)"
    );
}

#[test]
fn hidden_text_is_not_read() {
    let text = markdown_of(
        "<p>seen</p><p hidden>a</p><p style='display: NONE'>b</p><p aria-hidden=true>c</p>",
    );
    assert_eq!(text, "seen");
}

#[test]
fn the_title_is_the_one_that_the_page_gives_itself() {
    for (head, expected) in [
        ("<title> A\n page </title>", Some("A page")),
        (
            "<title>A | Site</title><meta property=og:title content='A'>",
            Some("A"),
        ),
        ("<title></title><h1>B</h1>", Some("B")),
        ("<p>c", None),
    ] {
        assert_eq!(html(head.as_bytes()).title.as_deref(), expected, "{head}");
    }
}

#[test]
fn the_encoding_is_that_of_the_server_or_the_page() {
    let url = Url::parse("https://example.org/").unwrap();
    let table: [(Option<&str>, &[u8], &str); 6] = [
        (None, "<p>Bø".as_bytes(), "Bø"),
        (Some("iso-8859-1"), b"<p>B\xf8", "Bø"),
        (
            None,
            b"<meta charset=\"windows-1251\"><p>\xc1\xe5\xf0\xe3\xe5\xed",
            "Берген",
        ),
        (
            None,
            b"<meta http-equiv=Content-Type content='text/html; charset=Shift_JIS'><p>\x83x",
            "ベ",
        ),
        (None, b"<p>B\xf8", "Bø"),
        (Some("utf-8"), b"\xff\xfe<\0p\0>\0x\0", "x"),
    ];
    for (charset, bytes, expected) in table {
        let page = page_of(&Source {
            url: &url,
            media_type: "text/html",
            charset,
            bytes,
        });
        assert_eq!(page.text, expected);
    }
}

#[test]
fn texts_are_read_as_they_are_and_files_are_refused_with_their_type() {
    let url = Url::parse("https://example.org/").unwrap();
    let read_as = |media_type: &str, bytes: &[u8]| {
        let source = Source {
            url: &url,
            media_type,
            charset: None,
            bytes,
        };
        read(&source).map(|page| page.text)
    };
    let same = "# A <b>\n{\"a\": 1}";
    for kind in [
        "text/plain",
        "text/markdown",
        "application/json",
        "application/feed+json",
        "application/rss+xml",
    ] {
        assert_eq!(
            read_as(kind, same.as_bytes()),
            Ok(same.to_owned()),
            "{kind}"
        );
    }
    assert_eq!(read_as("", b"<!DOCTYPE html><p>a"), Ok("a".to_owned()));
    assert_eq!(read_as("", b"a < b"), Ok("a < b".to_owned()));
    for (kind, named) in [
        ("application/pdf", "application/pdf"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/octet-stream", "application/octet-stream"),
        ("", "unknown"),
    ] {
        let error = read_as(kind, b"%PDF-1.7\0").unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// Reads a page on a thread with a small stack, as a test's own may be large.
fn read_in_little_room(body: String) -> Page {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let reading = thread.spawn(move || html(body.as_bytes())).unwrap();
    reading.join().expect("no panic and no overflow")
}

/// What somebody may send to harm the reader.
fn hostile_pages() -> Vec<(&'static str, String)> {
    let many = 100_000;
    let unclosed = |tag: &str| tag.repeat(many);
    let mut pages = deep_pages(many);
    pages.extend([
        (
            "formatting that a browser would open again in every paragraph",
            format!(
                "{}{}deep",
                (0..many)
                    .map(|n| format!("<font x={n}>"))
                    .collect::<String>(),
                unclosed("<p>a")
            ),
        ),
        (
            "ends without beginnings",
            format!("{}deep", unclosed("</div></p></b>")),
        ),
        (
            "a huge attribute",
            format!(
                "<p title='{}' class='{}'>deep",
                "x".repeat(5_000_000),
                "ad ".repeat(1_000_000)
            ),
        ),
        (
            "many attributes",
            format!(
                "<p {}>deep",
                (0..many).map(|n| format!("a{n}=1 ")).collect::<String>()
            ),
        ),
        (
            "a huge address",
            format!("<a href='/{}'>deep</a>", "x".repeat(3_000_000)),
        ),
        (
            "wide tables",
            format!(
                "<table><tr>{}<tr>{}</table>deep",
                unclosed("<td>a"),
                unclosed("<td>b")
            ),
        ),
        (
            "no end of a comment",
            format!("deep<!-- {}", unclosed("<p>")),
        ),
        (
            "entities",
            format!("{}deep", unclosed("&amp;&#x41;&unknown;&")),
        ),
    ]);
    pages
}

fn deep_pages(many: usize) -> Vec<(&'static str, String)> {
    let unclosed = |tag: &str| tag.repeat(many);
    vec![
        ("deep divs", format!("{}deep", unclosed("<div>"))),
        (
            "deep divs that end",
            format!("{}deep{}", unclosed("<div>"), unclosed("</div>")),
        ),
        ("deep spans", format!("{}deep", unclosed("<span>"))),
        ("deep quotes", format!("{}deep", unclosed("<blockquote>x"))),
        ("deep lists", format!("{}deep", unclosed("<ul><li>"))),
        (
            "deep tables",
            format!("{}deep", unclosed("<table><tr><td>")),
        ),
        ("deep bold", format!("{}deep", unclosed("<b>"))),
    ]
}

#[test]
fn hostile_pages_are_read_in_bounded_time_and_room() {
    for (what, body) in hostile_pages() {
        let begun = std::time::Instant::now();
        let page = read_in_little_room(body);
        assert!(page.text.contains("deep") || page.is_cut, "{what}");
        assert!(
            page.text.len() <= MAX_TEXT + 1_000,
            "{what}: {}",
            page.text.len()
        );
        assert!(
            begun.elapsed().as_secs() < 20,
            "{what}: {:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn a_page_with_too_many_elements_says_that_it_is_cut() {
    let page = read_in_little_room("<p>a".repeat(400_000));
    assert!(page.is_cut);
    assert!(page.text.starts_with("a\n\na\n\na"));
}

proptest::proptest! {
    #[test]
    fn no_page_makes_the_reader_panic(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "<p>", "</p>", "<div class=nav>", "</div>", "<table>", "<tr>", "<td>", "</table>", "<ul>", "<li>",
                "<a href=x>", "</a>", "<b>", "</b>", "<pre>", "</pre>", "<h2>", "</h2>", "text ", "\u{e9}\n", "<br>",
                "<!--", "-->", "<script>", "</script>", "<title>", "</title>", "<", "&", "<article>", "<ol start=x>",
                "<blockquote>", "<dd>", "<main>", "<math>", "<svg>", "</svg>", "<img alt=a src=b>", "\0",
            ]),
            0..60,
        ),
    ) {
        html(pieces.concat().as_bytes());
    }
}
