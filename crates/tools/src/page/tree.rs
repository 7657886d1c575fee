//! The elements of a page, as far as its text needs them.

use std::convert::Infallible;

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};
use url::Url;

/// Elements inside of each other; deeper ones become children of the last that counts. Pages that are
/// written by hand or by programs stay far below, and the writer may recurse.
const MAX_DEPTH: usize = 100;
/// Elements and texts of a page. What comes after is not read.
const MAX_NODES: usize = 300_000;
/// Bytes of an attribute.
const MAX_ATTRIBUTE: usize = 4_096;

/// The elements whose names are of interest, in the order of their names.
const NAMES: [&str; 89] = [
    "a",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "base",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "code",
    "col",
    "dd",
    "del",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frame",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "kbd",
    "li",
    "link",
    "main",
    "map",
    "math",
    "meta",
    "nav",
    "noscript",
    "object",
    "ol",
    "option",
    "p",
    "param",
    "picture",
    "pre",
    "progress",
    "q",
    "s",
    "samp",
    "script",
    "section",
    "select",
    "source",
    "strike",
    "strong",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "track",
    "ul",
    "video",
    "wbr",
    "xmp",
];

/// Elements without content.
const VOID: [&str; 15] = [
    "area", "base", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "param",
    "source", "track", "wbr",
];

/// Elements that stand on lines of their own.
const BLOCKS: [&str; 41] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "th",
    "tr",
    "ul",
    "xmp",
];

/// Attributes that are kept.
const ATTRIBUTES: [&str; 14] = [
    "alt",
    "aria-hidden",
    "class",
    "content",
    "hidden",
    "href",
    "id",
    "name",
    "property",
    "role",
    "src",
    "start",
    "style",
    "alttext",
];

/// The place of a node in its tree; children stand after their parents.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) enum Kind {
    /// An element; those of no interest have an empty name.
    Element {
        name: &'static str,
        attributes: Vec<(&'static str, String)>,
    },
    Text(String),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) parent: Id,
    pub(super) children: Vec<Id>,
}

impl Node {
    pub(super) fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Element { name, .. } => name,
            Kind::Text(_) => "",
        }
    }

    pub(super) fn attribute(&self, wanted: &str) -> Option<&str> {
        match &self.kind {
            Kind::Element { attributes, .. } => attributes
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.as_str()),
            Kind::Text(_) => None,
        }
    }

    pub(super) fn is_block(&self) -> bool {
        BLOCKS.contains(&self.name())
    }
}

/// A page's elements; the first is the page itself.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Whether the page has more than was read.
    pub(super) is_cut: bool,
}

impl Tree {
    pub(super) fn read(html: &str) -> Self {
        let mut builder = Builder::new();
        let emitter = |event: CallbackEvent<'_>, _: Span<()>| -> Option<Infallible> {
            builder.take(&event);
            None
        };
        let mut emitter = CallbackEmitter::new(emitter);
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        builder.finish()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn children(&self, id: Id) -> &[Id] {
        self.node(id).map_or(&[], |node| &node.children)
    }

    /// The first element of a name.
    pub(super) fn first(&self, name: &str) -> Option<Id> {
        self.nodes.iter().position(|node| node.name() == name)
    }

    /// The text below a node as it stands, spaces and all, up to so many bytes.
    pub(super) fn text_of(&self, id: Id, limit: usize) -> String {
        let mut text = String::new();
        let mut open = vec![id];
        while let Some(next) = open.pop() {
            let Some(node) = self.node(next) else {
                continue;
            };
            match &node.kind {
                Kind::Text(piece) => text.push_str(piece),
                Kind::Element { name: "br", .. } => text.push('\n'),
                Kind::Element { .. } => open.extend(node.children.iter().rev()),
            }
            if text.len() > limit {
                text.truncate(text.floor_char_boundary(limit));
                break;
            }
        }
        text
    }

    /// The page's title: as it names itself to others, else that of its window, else its first heading.
    pub(super) fn title(&self) -> Option<String> {
        let meta = self.nodes.iter().find_map(|node| {
            let is_title = node.name() == "meta" && node.attribute("property") == Some("og:title");
            is_title.then(|| node.attribute("content")).flatten()
        });
        let element = |name| self.first(name).map(|id| self.text_of(id, 2_000));
        let candidates = [meta.map(str::to_owned), element("title"), element("h1")];
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = |text: String| text.chars().take(300).collect::<String>();
        candidates
            .into_iter()
            .flatten()
            .map(one_line)
            .find(|text| !text.is_empty())
            .map(shown)
    }

    /// What links are relative to.
    pub(super) fn base(&self, url: &Url) -> Url {
        let base = self
            .first("base")
            .and_then(|id| self.node(id)?.attribute("href"));
        base.and_then(|href| url.join(href).ok())
            .unwrap_or_else(|| url.clone())
    }
}

/// Makes a tree of tokens.
struct Builder {
    nodes: Vec<Node>,
    /// The elements that are open, outermost first.
    open: Vec<Id>,
    is_cut: bool,
    /// The element whose opening tag is being read.
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    attribute: Option<&'static str>,
}

impl Builder {
    fn new() -> Self {
        let page = Node {
            kind: Kind::Element {
                name: "",
                attributes: Vec::new(),
            },
            parent: 0,
            children: Vec::new(),
        };
        Self {
            nodes: vec![page],
            open: vec![0],
            is_cut: false,
            name: "",
            attributes: Vec::new(),
            attribute: None,
        }
    }

    fn take(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.name = known(name, &NAMES);
                self.attributes.clear();
                self.attribute = None;
            }
            CallbackEvent::AttributeName { name } => {
                let name = known_attribute(name);
                let is_new = !self.attributes.iter().any(|(known, _)| *known == name);
                self.attribute = Some(name).filter(|name| !name.is_empty() && is_new);
                if let Some(name) = self.attribute {
                    self.attributes.push((name, String::new()));
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if self.attribute.take().is_some()
                    && let Some((_, kept)) = self.attributes.last_mut()
                {
                    let value = value.get(..MAX_ATTRIBUTE).unwrap_or(value);
                    kept.push_str(&String::from_utf8_lossy(value));
                }
            }
            CallbackEvent::CloseStartTag { .. } => self.start(),
            CallbackEvent::EndTag { name } => self.end(known(name, &NAMES)),
            CallbackEvent::String { value } => self.text(value),
            _ => {}
        }
    }

    fn start(&mut self) {
        let name = self.name;
        self.end_implied(name);
        let attributes = std::mem::take(&mut self.attributes);
        let Some(id) = self.add(Kind::Element { name, attributes }) else {
            return;
        };
        if !VOID.contains(&name) && self.open.len() < MAX_DEPTH {
            self.open.push(id);
        }
    }

    /// Ends the elements whose end may be left out before a tag of that name.
    fn end_implied(&mut self, name: &str) {
        match name {
            "li" => self.end_up_to(&["li"], &["ul", "ol"]),
            "dt" | "dd" => self.end_up_to(&["dt", "dd"], &["dl"]),
            "tr" => self.end_up_to(&["tr"], &["table"]),
            "td" | "th" => self.end_up_to(&["td", "th"], &["tr", "table"]),
            "thead" | "tbody" | "tfoot" => {
                self.end_up_to(&["thead", "tbody", "tfoot"], &["table"]);
            }
            "option" => self.end_up_to(&["option"], &["select"]),
            "a" => self.end_up_to(&["a"], &["td", "th", "table"]),
            "body" => self.end_up_to(&["head"], &[]),
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.end_up_to(&["p"], &["td", "th", "table", "button", "li"]);
        }
    }

    /// Ends the innermost open element of these names, unless one of the others stands between.
    fn end_up_to(&mut self, names: &[&str], but_not_past: &[&str]) {
        for (at, id) in self.open.iter().enumerate().skip(1).rev() {
            let open = self.nodes.get(*id).map_or("", Node::name);
            if names.contains(&open) {
                self.open.truncate(at);
                return;
            }
            if but_not_past.contains(&open) {
                return;
            }
        }
    }

    fn end(&mut self, name: &'static str) {
        if name.is_empty() {
            // Elements of no interest end with what they stand in, so that no end is taken for another's.
            if self.innermost().is_empty() && self.open.len() > 1 {
                self.open.pop();
            }
            return;
        }
        if name == "p"
            && !self
                .open
                .iter()
                .any(|id| self.nodes.get(*id).is_some_and(|n| n.name() == "p"))
        {
            return;
        }
        let in_cell: &[&str] = if matches!(
            name,
            "table" | "tr" | "td" | "th" | "tbody" | "thead" | "tfoot"
        ) {
            &[]
        } else {
            &["td", "th", "table"]
        };
        self.end_up_to(&[name], in_cell);
    }

    fn innermost(&self) -> &'static str {
        self.open
            .last()
            .and_then(|id| self.nodes.get(*id))
            .map_or("", Node::name)
    }

    fn text(&mut self, value: &[u8]) {
        if matches!(self.innermost(), "script" | "style") {
            return;
        }
        let text = String::from_utf8_lossy(value);
        let parent = self.open.last().copied().unwrap_or(0);
        let last = self.nodes.get(parent).and_then(|node| node.children.last());
        if let Some(last) = last.copied()
            && let Some(Node {
                kind: Kind::Text(known),
                ..
            }) = self.nodes.get_mut(last)
        {
            known.push_str(&text);
            return;
        }
        self.add(Kind::Text(text.into_owned()));
    }

    fn add(&mut self, kind: Kind) -> Option<Id> {
        if self.nodes.len() >= MAX_NODES {
            self.is_cut = true;
            return None;
        }
        let (id, parent) = (self.nodes.len(), self.open.last().copied().unwrap_or(0));
        self.nodes.push(Node {
            kind,
            parent,
            children: Vec::new(),
        });
        self.nodes.get_mut(parent)?.children.push(id);
        Some(id)
    }

    fn finish(self) -> Tree {
        Tree {
            nodes: self.nodes,
            is_cut: self.is_cut,
        }
    }
}

/// The name from a list in order; empty where it is not there.
fn known(name: &[u8], names: &[&'static str]) -> &'static str {
    let found = names.binary_search_by(|known| known.as_bytes().cmp(name));
    found
        .ok()
        .and_then(|at| names.get(at))
        .copied()
        .unwrap_or_default()
}

fn known_attribute(name: &[u8]) -> &'static str {
    let mut known = ATTRIBUTES.iter().filter(|known| known.as_bytes() == name);
    known.next().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order_as_they_are_searched_by_halves() {
        assert!(NAMES.is_sorted());
        for name in BLOCKS.iter().chain(&VOID) {
            assert_eq!(known(name.as_bytes(), &NAMES), *name);
        }
    }
}
