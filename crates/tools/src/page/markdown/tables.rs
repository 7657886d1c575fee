//! Tables: those of data as markdown, those that only place things as what is in them.

use super::{Id, Writer};

/// Rows and columns of a table that is written as one.
const MAX_CELLS: usize = 20_000;
const MAX_COLUMNS: usize = 40;

impl Writer<'_> {
    pub(super) fn table(&mut self, id: Id) {
        let rows = self.rows(id);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let is_one = (2..=MAX_COLUMNS).contains(&columns)
            && rows.len() > 1
            && rows.len() * columns <= MAX_CELLS
            && self.one_line == 0
            && !self.places_things(id, &rows);
        self.line_end(2);
        if !is_one {
            self.children(id);
            return self.line_end(2);
        }
        let tree = self.tree;
        let captions = tree.children(id).iter();
        for caption in captions.filter(|child| {
            tree.node(**child)
                .is_some_and(|node| node.name() == "caption")
        }) {
            self.element(*caption);
        }
        self.line_end(2);
        for (number, row) in rows.iter().enumerate() {
            self.row(row, columns);
            if number == 0 {
                self.gap = 1;
                self.word(&format!("|{}", " --- |".repeat(columns)));
            }
        }
        self.line_end(2);
    }

    fn row(&mut self, cells: &[Id], columns: usize) {
        let mut line = "|".to_owned();
        for at in 0..columns {
            let text = cells
                .get(at)
                .map(|cell| self.cell(*cell))
                .unwrap_or_default();
            line.push(' ');
            line.push_str(&text);
            line.push_str(" |");
        }
        self.gap = self.gap.max(1);
        self.word(&line);
    }

    /// What is in a cell, on one line.
    fn cell(&mut self, id: Id) -> String {
        let out = std::mem::take(&mut self.out);
        let opening = std::mem::take(&mut self.opening);
        let (gap, space) = (self.gap, self.space);
        (self.gap, self.space) = (0, false);
        let prefixes = std::mem::take(&mut self.prefixes);
        self.one_line += 1;
        self.children(id);
        self.one_line -= 1;
        self.prefixes = prefixes;
        (self.gap, self.space) = (gap, space);
        self.opening = opening;
        let written = std::mem::replace(&mut self.out, out);
        written.trim().replace('|', "\\|").replace('\n', " ")
    }

    /// The cells of a table, by row.
    fn rows(&self, id: Id) -> Vec<Vec<Id>> {
        let named = |id: Id, names: &[&str]| {
            self.tree
                .node(id)
                .is_some_and(|node| names.contains(&node.name()))
        };
        let mut rows = Vec::new();
        for child in self.tree.children(id).iter().copied() {
            if named(child, &["tr"]) {
                rows.push(child);
            } else if named(child, &["thead", "tbody", "tfoot"]) {
                let inner = self.tree.children(child).iter().copied();
                rows.extend(inner.filter(|row| named(*row, &["tr"])));
            }
        }
        rows.retain(|row| !self.part.leaves_out(*row));
        let cells = |row: Id| {
            let cells = self.tree.children(row).iter().copied();
            cells.filter(|cell| named(*cell, &["td", "th"])).collect()
        };
        rows.into_iter().map(cells).collect()
    }

    /// Whether a table is there for its layout: it says so, or its cells hold headings, lists or tables.
    fn places_things(&self, id: Id, rows: &[Vec<Id>]) -> bool {
        let role = self.tree.node(id).and_then(|node| node.attribute("role"));
        if matches!(role, Some("presentation" | "none")) {
            return true;
        }
        let holds_more = |cell: &Id| {
            let mut open = vec![*cell];
            while let Some(next) = open.pop() {
                let children = self.tree.children(next);
                let is_large = |child: &Id| {
                    let node = self.tree.node(*child);
                    node.is_some_and(|node| {
                        matches!(
                            node.name(),
                            "table"
                                | "ul"
                                | "ol"
                                | "pre"
                                | "blockquote"
                                | "h1"
                                | "h2"
                                | "h3"
                                | "article"
                        )
                    })
                };
                if children.iter().any(is_large) {
                    return true;
                }
                open.extend(children);
            }
            false
        };
        rows.iter().flatten().any(holds_more)
    }
}
