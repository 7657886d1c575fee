//! What a docstring says about a function and its parameters: in Google's style, NumPy's, or Sphinx's.

use std::collections::HashMap;

/// A docstring, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Docstring {
    /// What stands before the first section, with the examples behind it.
    pub description: String,
    /// What is said about each parameter, or attribute of a class.
    pub entries: HashMap<String, String>,
}

/// A section that we tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// The text before all sections.
    Description,
    /// Parameters or attributes, one entry each.
    Entries,
    /// Examples, which models should see.
    Examples,
    /// What is of no use to a model: returns, raises, notes.
    Other,
}

/// The names of sections, in lower case.
const SECTIONS: [(&str, Section); 36] = [
    ("args", Section::Entries),
    ("arg", Section::Entries),
    ("arguments", Section::Entries),
    ("parameters", Section::Entries),
    ("parameter", Section::Entries),
    ("params", Section::Entries),
    ("param", Section::Entries),
    ("other parameters", Section::Entries),
    ("keyword args", Section::Entries),
    ("keyword arguments", Section::Entries),
    ("attributes", Section::Entries),
    ("attribute", Section::Entries),
    ("fields", Section::Entries),
    ("inputs", Section::Entries),
    ("example", Section::Examples),
    ("examples", Section::Examples),
    ("return", Section::Other),
    ("returns", Section::Other),
    ("yield", Section::Other),
    ("yields", Section::Other),
    ("receives", Section::Other),
    ("raise", Section::Other),
    ("raises", Section::Other),
    ("except", Section::Other),
    ("exceptions", Section::Other),
    ("warn", Section::Other),
    ("warns", Section::Other),
    ("note", Section::Other),
    ("notes", Section::Other),
    ("see also", Section::Other),
    ("references", Section::Other),
    ("todo", Section::Other),
    ("todos", Section::Other),
    ("methods", Section::Other),
    ("outputs", Section::Other),
    ("usage", Section::Examples),
];

fn section(name: &str) -> Option<Section> {
    let name = name.trim().to_lowercase();
    SECTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, section)| *section)
}

/// Takes a docstring apart.
pub fn parse(text: &str) -> Docstring {
    let lines = clean(text);
    let mut out = Docstring::default();
    let mut description: Vec<&str> = Vec::new();
    let mut examples: Vec<&str> = Vec::new();
    let mut entries: Vec<&str> = Vec::new();
    let mut current = Section::Description;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if let Some((next, used)) = header(&lines, at) {
            out.take_entries(&entries);
            entries.clear();
            current = next;
            at += used;
            continue;
        }
        if is_field(line) {
            at += out.take_field(&lines, at);
            continue;
        }
        match current {
            Section::Description => description.push(line),
            Section::Entries => entries.push(line),
            Section::Examples => examples.push(line),
            Section::Other => {}
        }
        at += 1;
    }
    out.take_entries(&entries);
    out.description = joined(&description);
    let examples = joined(&dedented(&examples));
    if !examples.is_empty() {
        if !out.description.is_empty() {
            out.description.push_str("\n\n");
        }
        out.description.push_str("Examples:\n");
        out.description.push_str(&examples);
    }
    out
}

/// A docstring's lines without the indentation that it has for standing in code, as `inspect.cleandoc` does.
fn clean(text: &str) -> Vec<String> {
    let text = text.replace('\t', "        ");
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().trim().to_owned();
    let rest: Vec<&str> = lines.map(str::trim_end).collect();
    let mut out = vec![first];
    out.extend(dedented(&rest).into_iter().map(str::to_owned));
    out
}

fn dedented<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let margin = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| indent(line))
        .min()
        .unwrap_or(0);
    // The margin is made of spaces, so it is a boundary of characters in each line that has it.
    lines
        .iter()
        .map(|line| line.get(margin..).unwrap_or_default())
        .collect()
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

fn joined(lines: &[&str]) -> String {
    lines.join("\n").trim().to_owned()
}

/// The section that begins at a line, and how many lines say so.
fn header(lines: &[String], at: usize) -> Option<(Section, usize)> {
    let line = lines.get(at)?;
    if indent(line) > 0 {
        return None;
    }
    if let Some(name) = line.trim_end().strip_suffix(':') {
        return section(name).map(|found| (found, 1));
    }
    let under = lines.get(at + 1)?.trim();
    let underlined = under.len() >= 3 && under.bytes().all(|byte| byte == b'-' || byte == b'=');
    // A section of NumPy's style that we do not know ends the one before it all the same.
    underlined.then(|| (section(line).unwrap_or(Section::Other), 2))
}

/// Whether a line is a field of Sphinx's or Epydoc's style.
fn is_field(line: &str) -> bool {
    field(line).is_some()
}

/// The words of a field, and its text: `:param int a: first`.
fn field(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix(':').or_else(|| line.strip_prefix('@'))?;
    let (words, text) = rest.split_once(':')?;
    let kind = words.split_whitespace().next()?;
    const KINDS: [&str; 22] = [
        "param",
        "parameter",
        "arg",
        "argument",
        "key",
        "keyword",
        "type",
        "return",
        "returns",
        "rtype",
        "raise",
        "raises",
        "except",
        "exception",
        "yield",
        "yields",
        "ytype",
        "var",
        "ivar",
        "cvar",
        "vartype",
        "meta",
    ];
    KINDS.contains(&kind).then_some((words, text))
}

impl Docstring {
    /// Takes the field at a line with the lines that continue it. Returns how many those are.
    fn take_field(&mut self, lines: &[String], at: usize) -> usize {
        let Some(line) = lines.get(at) else {
            return 1;
        };
        let margin = indent(line);
        let continued: Vec<&str> = lines
            .iter()
            .skip(at + 1)
            .take_while(|line| !line.trim().is_empty() && indent(line) > margin && !is_field(line))
            .map(String::as_str)
            .collect();
        let used = continued.len() + 1;
        let Some((words, text)) = field(line) else {
            return used;
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        let about = matches!(
            words.first().copied(),
            Some(
                "param"
                    | "parameter"
                    | "arg"
                    | "argument"
                    | "key"
                    | "keyword"
                    | "var"
                    | "ivar"
                    | "cvar"
            )
        );
        if let (true, Some(name)) = (about && words.len() > 1, words.last()) {
            let mut whole = vec![text];
            whole.extend(continued);
            self.add(name, &whole);
        }
        used
    }

    /// Takes the entries of a section: those of Google's style (`name (type): text`), or NumPy's
    /// (`name : type`, the text indented below). The section ends where a line stands further left.
    fn take_entries(&mut self, lines: &[&str]) {
        let full = |line: &&&str| !line.trim().is_empty();
        let margin = lines.iter().find(full).map_or(0, |line| indent(line));
        let mut open: Option<Entry<'_>> = None;
        for line in lines {
            let blank = line.trim().is_empty();
            if !blank && indent(line) < margin {
                break;
            }
            if blank || indent(line) > margin {
                if let Some(entry) = &mut open {
                    entry.text.push(line);
                }
                continue;
            }
            self.take_entry(open.take());
            open = Entry::begin(line.trim());
        }
        self.take_entry(open);
    }

    fn take_entry(&mut self, entry: Option<Entry<'_>>) {
        if let Some(entry) = entry {
            let filled = self.add(entry.names, &entry.text);
            // `name : text`, where nothing is said below, is a loose form of Google's style.
            if !filled && !entry.kind.is_empty() {
                self.add(entry.names, &[entry.kind]);
            }
        }
    }

    /// Keeps what is said about a parameter, or about several with commas between them.
    /// `false` when nothing is said.
    fn add(&mut self, names: &str, text: &[&str]) -> bool {
        let words: Vec<&str> = text
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty())
            .collect();
        if words.is_empty() {
            return false;
        }
        for name in names.split(',') {
            let name = name.trim().trim_start_matches('*').trim_matches('`');
            if !name.is_empty() {
                self.entries.insert(name.to_owned(), words.join(" "));
            }
        }
        true
    }
}

/// An entry of a section.
struct Entry<'a> {
    names: &'a str,
    /// The type, where it stands where NumPy's style has it.
    kind: &'a str,
    text: Vec<&'a str>,
}

impl<'a> Entry<'a> {
    /// The entry that begins with a line, if one does.
    fn begin(line: &'a str) -> Option<Self> {
        let colon = outer_colon(line);
        let (head, text) = match colon {
            Some(at) => (line.get(..at)?, line.get(at + 1..)?),
            None => (line, ""),
        };
        let names = head.split('(').next().unwrap_or(head).trim();
        let is_name = |name: &str| {
            let name = name.trim().trim_start_matches('*').trim_matches('`');
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        if !names.split(',').all(is_name) {
            return None;
        }
        // NumPy's style puts spaces around the colon and a type behind it.
        let (kind, text) = if head.ends_with(' ') {
            (text.trim(), Vec::new())
        } else {
            ("", vec![text])
        };
        Some(Self { names, kind, text })
    }
}

/// The first colon that does not stand in brackets, as types may have colons.
fn outer_colon(line: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b':' if depth <= 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parsed: &Docstring, name: &str) -> String {
        parsed.entries.get(name).cloned().unwrap_or_default()
    }

    #[test]
    fn googles_style_is_read() {
        let parsed = parse(
            "Add numbers.\n\n    More about it.\n\n    Args:\n        a (int, optional): first,\n            on two lines\n        b (Dict[str, int]): second: with a colon\n        **rest: others\n\n    Returns:\n        int: the sum\n\n    Examples:\n        >>> add(1, 2)\n        3\n    ",
        );
        assert_eq!(
            parsed.description,
            "Add numbers.\n\nMore about it.\n\nExamples:\n>>> add(1, 2)\n3"
        );
        assert_eq!(of(&parsed, "a"), "first, on two lines");
        assert_eq!(of(&parsed, "b"), "second: with a colon");
        assert_eq!(of(&parsed, "rest"), "others");
        assert_eq!(parsed.entries.len(), 3);
    }

    #[test]
    fn numpys_style_is_read() {
        let parsed = parse(
            "Add numbers.\n\n    Parameters\n    ----------\n    a : int\n        First.\n    b, c : float, optional\n        Others,\n        on two lines.\n    d\n        Without a type.\n\n    Returns\n    -------\n    int\n        The sum.\n    ",
        );
        assert_eq!(parsed.description, "Add numbers.");
        assert_eq!(of(&parsed, "a"), "First.");
        assert_eq!(of(&parsed, "b"), "Others, on two lines.");
        assert_eq!(of(&parsed, "c"), of(&parsed, "b"));
        assert_eq!(of(&parsed, "d"), "Without a type.");
        assert_eq!(parsed.entries.len(), 4);
    }

    #[test]
    fn sphinxs_style_is_read() {
        let parsed = parse(
            "Add numbers.\n\n    :param a: first\n    :param int b: second,\n        on two lines\n    :type a: int\n    :returns: the sum\n    :rtype: int\n    ",
        );
        assert_eq!(parsed.description, "Add numbers.");
        assert_eq!(of(&parsed, "a"), "first");
        assert_eq!(of(&parsed, "b"), "second, on two lines");
        assert_eq!(parsed.entries.len(), 2);
    }

    #[test]
    fn loose_forms_are_read() {
        let parsed = parse(
            "Add.\n\nArgs:\n    a : first\n\n    b:\n        second\n\nText behind the section.",
        );
        assert_eq!(of(&parsed, "a"), "first");
        assert_eq!(of(&parsed, "b"), "second");
        assert_eq!(parsed.entries.len(), 2);
        let flat = parse("Add.\n\nArgs:\na: first\nb: second");
        assert_eq!(of(&flat, "b"), "second");
    }

    #[test]
    fn text_that_only_looks_like_a_section_stays_text() {
        let parsed = parse("Note: this adds.\n\nThe ratio is 3:4, and args: are text here.");
        assert!(parsed.description.contains("Note: this adds."));
        assert!(parsed.description.ends_with("text here."));
        assert!(parsed.entries.is_empty());
    }
}
