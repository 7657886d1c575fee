//! Elements as markdown. Text is written from left to right, and white space and marks only when a word follows,
//! so that nothing has to be taken back.

mod tables;

use url::Url;

use super::{
    MAX_TEXT,
    article::Part,
    tree::{Id, Kind, Node, Tree},
};

/// Bytes of an address; longer ones carry data, not places.
const MAX_URL: usize = 2_048;

/// Markdown, and whether there was more.
pub(super) struct Written {
    pub(super) text: String,
    pub(super) is_cut: bool,
}

pub(super) fn write(tree: &Tree, part: Part, base: &Url) -> Written {
    let mut writer = Writer::new(tree, &part, base);
    writer.element(part.root);
    Written {
        text: writer.out.trim().to_owned(),
        is_cut: writer.is_full,
    }
}

/// What each line inside of an element begins with.
struct Prefix {
    /// Its first line, where that is another.
    first: Option<String>,
    rest: &'static str,
}

struct Writer<'a> {
    tree: &'a Tree,
    part: &'a Part,
    base: &'a Url,
    /// By node: whether there are blocks below it.
    has_blocks: Vec<bool>,
    out: String,
    prefixes: Vec<Prefix>,
    /// Line ends that are due before the next word.
    gap: usize,
    /// Whether a space is due before the next word.
    space: bool,
    /// Marks that open before the next word.
    opening: Vec<String>,
    /// Elements in which everything stands on one line: headings, cells.
    one_line: usize,
    is_full: bool,
}

impl<'a> Writer<'a> {
    fn new(tree: &'a Tree, part: &'a Part, base: &'a Url) -> Self {
        let nodes = tree.nodes();
        let mut has_blocks = vec![false; nodes.len()];
        for (id, node) in nodes.iter().enumerate().skip(1).rev() {
            let below = has_blocks.get(id).copied().unwrap_or(false);
            if (below || node.is_block())
                && let Some(slot) = has_blocks.get_mut(node.parent)
            {
                *slot = true;
            }
        }
        Self {
            tree,
            part,
            base,
            has_blocks,
            out: String::new(),
            prefixes: Vec::new(),
            gap: 0,
            space: false,
            opening: Vec::new(),
            one_line: 0,
            is_full: false,
        }
    }

    fn children(&mut self, id: Id) {
        let tree = self.tree;
        for child in tree.children(id) {
            if self.is_full {
                return;
            }
            self.element(*child);
        }
    }

    /// Writes a node. This recurses as deep as the tree is, which is bounded.
    fn element(&mut self, id: Id) {
        let Some(node) = self.tree.node(id).filter(|_| !self.part.leaves_out(id)) else {
            return;
        };
        if let Kind::Text(text) = &node.kind {
            self.words(text);
            return;
        }
        match node.name() {
            "strong" | "b" => self.marked(id, "**"),
            "em" | "i" => self.marked(id, "*"),
            "del" | "s" | "strike" => self.marked(id, "~~"),
            "code" | "kbd" | "samp" => self.marked(id, "`"),
            "q" => self.marked(id, "\""),
            "a" => self.link(id, node),
            "img" => self.image(node),
            "math" => self.formula(id, node),
            "br" => self.line_end(1),
            "hr" => self.rule(),
            "pre" | "xmp" => self.preformatted(id),
            "table" => self.table(id),
            "ul" | "ol" => self.list(id, node),
            "blockquote" => self.inside(
                id,
                2,
                Prefix {
                    first: None,
                    rest: "> ",
                },
            ),
            "dd" => self.inside(
                id,
                1,
                Prefix {
                    first: Some(": ".to_owned()),
                    rest: "  ",
                },
            ),
            "li" => self.inside(
                id,
                1,
                Prefix {
                    first: Some("- ".to_owned()),
                    rest: "  ",
                },
            ),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(id, node.name()),
            "dt" => {
                self.line_end(2);
                self.children(id);
                self.line_end(1);
            }
            "summary" | "figcaption" | "caption" | "p" => self.block(id, 2),
            "tr" | "td" | "th" => self.block(id, 1),
            _ if node.is_block() => self.block(id, 2),
            _ => self.children(id),
        }
    }

    fn block(&mut self, id: Id, gap: usize) {
        self.line_end(gap);
        self.children(id);
        self.line_end(gap);
    }

    /// A block whose lines begin with something.
    fn inside(&mut self, id: Id, gap: usize, prefix: Prefix) {
        self.line_end(gap);
        if self.one_line > 0 {
            self.children(id);
        } else {
            self.prefixes.push(prefix);
            self.children(id);
            self.prefixes.pop();
        }
        self.line_end(gap);
    }

    fn heading(&mut self, id: Id, name: &str) {
        let level = name.trim_start_matches('h').parse().unwrap_or(1);
        self.line_end(2);
        if self.one_line == 0 {
            self.opening.push(format!("{} ", "#".repeat(level)));
        }
        self.one_line += 1;
        let opened = self.opening.len();
        self.children(id);
        self.one_line -= 1;
        if self.one_line == 0 && self.opening.len() == opened {
            self.opening.pop();
        }
        self.line_end(2);
    }

    fn list(&mut self, id: Id, node: &Node) {
        let is_inner = self
            .prefixes
            .last()
            .is_some_and(|prefix| prefix.rest != "> ");
        let gap = if is_inner { 1 } else { 2 };
        let mut number = node
            .attribute("start")
            .and_then(|start| start.parse::<i32>().ok())
            .unwrap_or(1);
        self.line_end(gap);
        let tree = self.tree;
        for child in tree.children(id) {
            let is_item = tree.node(*child).is_some_and(|item| item.name() == "li");
            if is_item && node.name() == "ol" && !self.part.leaves_out(*child) {
                let first = Some(format!("{number}. "));
                self.inside(*child, 1, Prefix { first, rest: "   " });
                number = number.saturating_add(1);
            } else {
                self.element(*child);
            }
        }
        self.line_end(gap);
    }

    /// Text between two marks, unless it is a block, which they can't enclose.
    fn marked(&mut self, id: Id, mark: &str) {
        if self.has_blocks.get(id).copied().unwrap_or(false) {
            return self.children(id);
        }
        self.enclosed(id, mark.to_owned(), mark);
    }

    /// Text with something before and after it; nothing where there is no text.
    fn enclosed(&mut self, id: Id, before: String, after: &str) {
        let opened = self.opening.len();
        self.opening.push(before);
        self.children(id);
        if self.opening.len() > opened {
            self.opening.truncate(opened);
        } else {
            // Spaces that are due come after the mark.
            self.out.push_str(after);
        }
    }

    fn link(&mut self, id: Id, node: &Node) {
        let href = node.attribute("href").unwrap_or_default().trim();
        let leads_away = !href.is_empty() && !href.starts_with('#');
        let Some(url) = leads_away.then(|| self.absolute(href)).flatten() else {
            return self.children(id);
        };
        if self.has_blocks.get(id).copied().unwrap_or(false) && self.one_line == 0 {
            self.children(id);
            self.line_end(1);
            return self.word(&format!("<{url}>"));
        }
        self.enclosed(id, "[".to_owned(), &format!("]({url})"));
    }

    fn image(&mut self, node: &Node) {
        let alt = node.attribute("alt").unwrap_or_default();
        let alt = alt.split_whitespace().collect::<Vec<_>>().join(" ");
        if alt.is_empty() {
            return;
        }
        match node.attribute("src").and_then(|src| self.absolute(src)) {
            Some(url) => self.word(&format!("![{alt}]({url})")),
            None => self.word(&alt),
        }
    }

    fn formula(&mut self, id: Id, node: &Node) {
        match node.attribute("alttext") {
            Some(text) => self.word(&format!("${}$", text.trim())),
            None => self.children(id),
        }
    }

    /// An address as it is from anywhere; none for scripts and data.
    fn absolute(&self, href: &str) -> Option<String> {
        if href.len() > MAX_URL {
            return None;
        }
        let url = self.base.join(href.trim()).ok()?;
        let is_place = matches!(url.scheme(), "http" | "https" | "mailto" | "tel" | "ftp");
        let text = String::from(url);
        // Brackets would end the link.
        is_place.then(|| text.replace('(', "%28").replace(')', "%29"))
    }

    fn rule(&mut self) {
        self.line_end(2);
        if !self.out.is_empty() && self.one_line == 0 {
            self.word("---");
        }
        self.line_end(2);
    }

    fn preformatted(&mut self, id: Id) {
        let text = self.tree.text_of(id, MAX_TEXT);
        let text = text.trim_matches('\n').trim_end();
        if text.trim().is_empty() {
            return;
        }
        if self.one_line > 0 {
            return self.words(text);
        }
        let mut fence = "```".to_owned();
        while text.contains(&fence) && fence.len() < 12 {
            fence.push('`');
        }
        self.line_end(2);
        self.word(&format!("{fence}{}", self.language(id)));
        for line in text.lines() {
            self.gap = 1;
            // An empty line has no word that would bring its line end.
            self.word(line.trim_end());
        }
        self.gap = 1;
        self.word(&fence);
        self.line_end(2);
    }

    /// The language of a listing, as its class says it.
    fn language(&self, id: Id) -> String {
        let inner = self
            .tree
            .children(id)
            .iter()
            .filter_map(|child| self.tree.node(*child));
        let classes = self.tree.node(id).into_iter().chain(inner);
        let named = classes
            .filter_map(|node| node.attribute("class"))
            .find_map(|class| {
                let mut words = class.split_whitespace();
                words.find_map(|word| {
                    word.strip_prefix("language-")
                        .or_else(|| word.strip_prefix("lang-"))
                })
            });
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-');
        named
            .unwrap_or_default()
            .chars()
            .take_while(is_plain)
            .take(20)
            .collect()
    }

    /// So many line ends are due before the next word.
    fn line_end(&mut self, count: usize) {
        self.space = self.space || self.one_line > 0;
        // A block that begins an item stands on the item's line.
        let begins_item = self
            .prefixes
            .last()
            .is_some_and(|prefix| prefix.first.is_some());
        if self.one_line == 0 && !begins_item {
            self.gap = self.gap.max(count);
        }
    }

    /// Running text, in which all white space is the same.
    fn words(&mut self, text: &str) {
        let mut is_first = true;
        for word in text.split_whitespace() {
            self.space |= !is_first || text.starts_with(char::is_whitespace);
            is_first = false;
            self.word(word);
            if self.is_full {
                return;
            }
        }
        self.space |= text.ends_with(char::is_whitespace);
    }

    /// Writes a word, with all that is due before it.
    fn word(&mut self, word: &str) {
        if self.out.len() > MAX_TEXT {
            self.is_full = true;
            return;
        }
        if self.out.is_empty() || self.gap > 0 {
            self.begin_line();
        } else if self.space {
            self.out.push(' ');
        }
        self.gap = 0;
        self.space = false;
        for mark in self.opening.drain(..) {
            self.out.push_str(&mark);
        }
        self.out.push_str(word);
    }

    fn begin_line(&mut self) {
        if !self.out.is_empty() {
            for _ in 1..self.gap {
                self.out.push('\n');
                let begun = self
                    .prefixes
                    .iter()
                    .take_while(|prefix| prefix.first.is_none());
                for prefix in begun {
                    self.out.push_str(prefix.rest);
                }
                self.out.truncate(self.out.trim_end_matches(' ').len());
            }
            self.out.push('\n');
        }
        for prefix in &mut self.prefixes {
            match prefix.first.take() {
                Some(first) => self.out.push_str(&first),
                None => self.out.push_str(prefix.rest),
            }
        }
    }
}
