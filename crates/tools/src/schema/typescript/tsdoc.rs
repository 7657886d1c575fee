//! What a TSDoc comment says.

use crate::schema::docstring::Docstring;

/// Takes a comment apart: `/** Adds. @param a - the first */`.
pub fn parse(comment: &str) -> Docstring {
    let inner = comment
        .strip_prefix("/**")
        .unwrap_or(comment)
        .trim_end_matches('/')
        .trim_end_matches('*');
    let mut out = Docstring::default();
    let mut block = String::from("@description");
    for line in inner.lines() {
        let line = line.trim();
        let line = line.strip_prefix('*').map_or(line, str::trim);
        if line.starts_with('@') {
            take(&mut out, &block);
            block.clear();
            block.push_str(line);
        } else {
            block.push('\n');
            block.push_str(line);
        }
    }
    take(&mut out, &block);
    out
}

/// Takes a block: a tag and what stands behind it.
fn take(out: &mut Docstring, block: &str) {
    let (tag, text) = block.split_once(char::is_whitespace).unwrap_or((block, ""));
    let text = text.trim();
    match tag {
        "@description" | "@remarks" | "@summary" => add(&mut out.description, text),
        "@example" if !text.is_empty() => add(&mut out.description, &format!("Examples:\n{text}")),
        "@param" | "@arg" | "@argument" | "@property" => {
            // `@param {string} name - text`
            let text = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((_, rest)) => rest.trim(),
                None => text,
            };
            let (name, said) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            // `[name=default]` is how JSDoc says that it may be left out.
            let name = name.trim_matches(|c| c == '[' || c == ']');
            let name = name.split('=').next().unwrap_or(name);
            let said = said.trim().trim_start_matches(['-', ':']).trim();
            if !said.is_empty() {
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                out.entries.insert(name.to_owned(), said);
            }
        }
        _ => {}
    }
}

fn add(description: &mut String, text: &str) {
    if !text.is_empty() && !description.is_empty() {
        description.push_str("\n\n");
    }
    description.push_str(text);
}
