//! Which part of a page is what people come for: its menus, banners and the like are left out.
//!
//! The idea of scoring elements by the paragraphs in them is that of the readability bookmarklet (arc90, 2009).
//! Here the main part is the smallest element that holds most of the page's running text; recall counts
//! more than neatness, as the reader is a model.

use super::tree::{Id, Kind, Tree};

/// Characters from which on a text counts as a paragraph.
const PARAGRAPH: usize = 25;
/// The share of the running text that the main part must hold, in hundredths.
const MOST: usize = 75;
/// The share of all text below which the main part is not believed, in hundredths.
const TOO_LITTLE: usize = 25;
/// What looks like boilerplate by its name but holds more of the text than this is kept, in hundredths.
const TOO_MUCH: usize = 30;

/// Elements that are never shown as text.
const UNSHOWN: [&str; 22] = [
    "audio", "button", "canvas", "dialog", "embed", "frame", "iframe", "input", "link", "map",
    "meta", "noscript", "object", "option", "progress", "script", "select", "style", "svg",
    "template", "textarea", "title",
];

/// Roles of what stands around the content (WAI-ARIA landmarks and dialogs).
const ROLES: [&str; 10] = [
    "alert",
    "alertdialog",
    "banner",
    "complementary",
    "contentinfo",
    "dialog",
    "menu",
    "menubar",
    "navigation",
    "search",
];

/// Words in the class or id of what stands around the content.
const WORDS: [&str; 33] = [
    "ad",
    "ads",
    "advert",
    "advertisement",
    "banner",
    "breadcrumb",
    "breadcrumbs",
    "consent",
    "cookie",
    "cookies",
    "editsection",
    "footer",
    "menu",
    "modal",
    "nav",
    "navbar",
    "navbox",
    "navigation",
    "newsletter",
    "noprint",
    "paywall",
    "popup",
    "promo",
    "related",
    "share",
    "sharing",
    "sidebar",
    "skip",
    "social",
    "sponsor",
    "sponsored",
    "subscribe",
    "toolbar",
];

/// A part of a page.
pub(super) struct Part {
    pub(super) root: Id,
    dropped: Vec<bool>,
}

impl Part {
    /// Whether a node is left out.
    pub(super) fn leaves_out(&self, id: Id) -> bool {
        self.dropped.get(id).copied().unwrap_or(true)
    }
}

/// Everything of a page that can be shown.
pub(super) fn whole(tree: &Tree) -> Part {
    let nodes = tree.nodes().iter();
    Part {
        root: 0,
        dropped: nodes.map(|node| UNSHOWN.contains(&node.name())).collect(),
    }
}

/// The main part of a page.
pub(super) fn main_part(tree: &Tree) -> Part {
    let shown = whole(tree);
    let measures = Measures::of(tree, &shown.dropped);
    let total = measures.text(0);
    let mut dropped = shown.dropped;
    for (id, node) in tree.nodes().iter().enumerate() {
        let is_most = measures.text(id) * 100 > total * TOO_MUCH;
        let drops = dropped.get(node.parent).copied().unwrap_or(false)
            || is_hidden(tree, id)
            || !is_most && is_around(tree, id);
        if drops && let Some(slot) = dropped.get_mut(id).filter(|_| id != 0) {
            *slot = true;
        }
    }
    let root = root(tree, &Measures::of(tree, &dropped));
    Part { root, dropped }
}

fn is_hidden(tree: &Tree, id: Id) -> bool {
    let Some(node) = tree.node(id) else {
        return true;
    };
    let style = node.attribute("style").unwrap_or_default();
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
    node.attribute("hidden").is_some()
        || node.attribute("aria-hidden") == Some("true")
        || style.to_ascii_lowercase().contains("display:none")
}

/// Whether an element stands around the content, by its name, its role or what its authors call it.
fn is_around(tree: &Tree, id: Id) -> bool {
    let Some(node) = tree.node(id) else {
        return false;
    };
    if matches!(node.name(), "nav" | "footer" | "aside") {
        return true;
    }
    if matches!(
        node.name(),
        "html" | "body" | "main" | "article" | "a" | "h1" | "h2" | "h3"
    ) {
        return false;
    }
    if node
        .attribute("role")
        .is_some_and(|role| ROLES.contains(&role))
    {
        return true;
    }
    let named = [node.attribute("class"), node.attribute("id")];
    named.into_iter().flatten().any(|names| {
        names
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word.to_ascii_lowercase().as_str()))
    })
}

/// How much text there is in each node and below it, in characters that are no spaces.
struct Measures {
    /// All of it.
    texts: Vec<usize>,
    /// That of paragraphs, without what is linked.
    running: Vec<usize>,
}

impl Measures {
    fn of(tree: &Tree, dropped: &[bool]) -> Self {
        let nodes = tree.nodes();
        let mut measures = Self {
            texts: vec![0; nodes.len()],
            running: vec![0; nodes.len()],
        };
        let mut blocks: Vec<Id> = vec![0; nodes.len()];
        let mut linked = vec![false; nodes.len()];
        let mut gone = vec![false; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            let above = |flags: &[bool]| flags.get(node.parent).copied().unwrap_or(false);
            let is_gone = above(&gone) || dropped.get(id).copied().unwrap_or(false);
            let is_linked = above(&linked) || node.name() == "a";
            set(&mut gone, id, is_gone);
            set(&mut linked, id, is_linked);
            let block = if node.is_block() {
                id
            } else {
                blocks.get(node.parent).copied().unwrap_or(0)
            };
            set(&mut blocks, id, block);
            if let Kind::Text(text) = &node.kind
                && !is_gone
            {
                let count = text.chars().filter(|c| !c.is_whitespace()).count();
                add(&mut measures.texts, id, count);
                if !is_linked {
                    add(&mut measures.running, block, count);
                }
            }
        }
        for count in &mut measures.running {
            *count = if *count < PARAGRAPH { 0 } else { *count };
        }
        for (id, node) in nodes.iter().enumerate().skip(1).rev() {
            let (text, running) = (measures.text(id), measures.running(id));
            add(&mut measures.texts, node.parent, text);
            add(&mut measures.running, node.parent, running);
        }
        measures
    }

    fn text(&self, id: Id) -> usize {
        self.texts.get(id).copied().unwrap_or(0)
    }

    fn running(&self, id: Id) -> usize {
        self.running.get(id).copied().unwrap_or(0)
    }
}

fn set<T>(values: &mut [T], at: Id, value: T) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

fn add(values: &mut [usize], at: Id, more: usize) {
    if let Some(slot) = values.get_mut(at) {
        *slot += more;
    }
}

/// The smallest element that holds most of the running text.
fn root(tree: &Tree, measures: &Measures) -> Id {
    let (all, total) = (measures.text(0), measures.running(0));
    let mut path = vec![0];
    let mut at = 0;
    loop {
        let holds_most =
            |id: &&Id| measures.running(**id) * 100 >= total * MOST && is_container(tree, **id);
        let Some(next) = tree
            .children(at)
            .iter()
            .find(holds_most)
            .filter(|_| total > 0)
        else {
            break;
        };
        at = *next;
        path.push(at);
    }
    let named = |name: &str| {
        let is_named = |id: &&Id| {
            let node = tree.node(**id);
            node.is_some_and(|node| node.name() == name || node.attribute("role") == Some(name))
        };
        path.iter().rev().find(is_named).copied()
    };
    let root = named("article")
        .or_else(|| named("main"))
        .unwrap_or_else(|| with_heading(tree, measures, &path));
    if measures.text(root) * 100 < all * TOO_LITTLE {
        return 0;
    }
    root
}

/// The last of a path, or the one above it with the page's heading, if that brings not much else.
fn with_heading(tree: &Tree, measures: &Measures, path: &[Id]) -> Id {
    let last = path.last().copied().unwrap_or(0);
    let mut above = Vec::new();
    let mut at = tree.first("h1").unwrap_or(0);
    while at != 0 {
        at = tree.node(at).map_or(0, |node| node.parent);
        above.push(at);
    }
    let shared = path.iter().rev().find(|id| above.contains(id));
    let is_small = |id: &&Id| measures.text(**id) * 2 <= measures.text(last) * 3;
    shared.filter(is_small).copied().unwrap_or(last)
}

fn is_container(tree: &Tree, id: Id) -> bool {
    const CONTAINERS: [&str; 12] = [
        "", "article", "body", "div", "form", "html", "main", "section", "table", "tbody", "td",
        "tr",
    ];
    tree.node(id).is_some_and(|node| {
        matches!(node.kind, Kind::Element { .. }) && CONTAINERS.contains(&node.name())
    })
}
