//! Whether a chat template adds lists. The engine of templates puts sums of lists off, and works out a deep
//! one at once: thirty-two lines that double a list would take all memory, and nothing counts that. Templates
//! of conversations add texts; one that may add lists is refused.
//!
//! It is read as text, not understood: a sum is one of texts or numbers when one of its terms surely is, since
//! nothing else can be added to these.

use std::sync::LazyLock;

use regex::Regex;

/// What parts expressions that have nothing to do with each other.
static PARTS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[,:~=<>!]|\b(?:if|else|and|or|not|in|is|set|with|for)\b").ok());

/// A term that is a text or a number. A text stands as one quote in what is matched.
static TEXT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let named = r#"^(?:"|[\d.]+|[be]os_token|loop\.(?:rev)?index0?|loop\.length)$"#;
    let filtered =
        r"\|\s*(?:trim|string|upper|lower|title|tojson|length|count|int|join|replace)\s*(?:\(\))?$";
    let called = r"\.(?:l?strip|rstrip|upper|lower|title|replace|join)\(\)$";
    Regex::new(&format!("{named}|{filtered}|{called}")).ok()
});

/// Whether a template may add lists.
pub(super) fn may_be_in(template: &str) -> bool {
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        rest = rest.get(at + 1..).unwrap_or_default();
        let end = match rest.chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => {
                rest = rest.split_once("#}").map_or("", |(_, behind)| behind);
                continue;
            }
            _ => continue,
        };
        let (code, behind) = code(rest.get(1..).unwrap_or_default(), end);
        // What is only shown is kept nowhere.
        if adds_lists(code.trim_matches(['-', '+']), end == "}}") {
            return true;
        }
        rest = behind;
    }
    false
}

/// The code up to its end, each text in it as one quote, and what comes behind.
fn code<'a>(text: &'a str, end: &str) -> (String, &'a str) {
    let mut code = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let here = text.get(at..).unwrap_or_default();
        if let Some(behind) = here.strip_prefix(end) {
            return (code, behind);
        }
        if matches!(c, '"' | '\'') {
            while let Some((_, inside)) = chars.next() {
                if inside == '\\' {
                    chars.next();
                } else if inside == c {
                    break;
                }
            }
            code.push('"');
        } else {
            code.push(c);
        }
    }
    (code, "")
}

/// Whether an expression adds lists, or one in its brackets does.
fn adds_lists(code: &str, is_shown: bool) -> bool {
    let mut open = vec![String::new()];
    for c in code.chars() {
        match c {
            '(' | '[' | '{' => open.push(c.to_string()),
            ')' | ']' | '}' if open.len() > 1 => {
                let inside = open.pop().unwrap_or_default();
                let bracket = inside.chars().next();
                let inside = inside.get(1..).unwrap_or_default();
                if has_list_sum(inside) {
                    return true;
                }
                let Some(outside) = open.last_mut() else {
                    return false;
                };
                let is_call = outside
                    .trim_end()
                    .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | ']'));
                let is_text = bracket == Some('(') && !is_call && is_text(inside);
                outside.push_str(match bracket {
                    _ if is_text => "\"",
                    Some('(') => "()",
                    _ => "[]",
                });
            }
            c => {
                if let Some(last) = open.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    !is_shown && open.iter().any(|code| has_list_sum(code))
}

fn parts(code: &str) -> Vec<&str> {
    PARTS
        .as_ref()
        .map_or_else(|| vec![code], |parts| parts.split(code).collect())
}

fn has_text_term(sum: &str) -> bool {
    let is_text = |term: &str| TEXT.as_ref().is_some_and(|text| text.is_match(term.trim()));
    sum.split('+').any(is_text)
}

/// Whether a sum in it may be one of lists.
fn has_list_sum(code: &str) -> bool {
    let parts = parts(code);
    let mut sums = parts.iter().filter(|part| part.contains('+'));
    sums.any(|sum| !has_text_term(sum))
}

/// Whether an expression is surely a text or a number: a sum with such a term, or a choice between two.
fn is_text(code: &str) -> bool {
    let parts = parts(code);
    let ends = [parts.first(), parts.last()];
    ends.into_iter().flatten().all(|end| has_text_term(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_conversations_add_texts() {
        for template in [
            "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}",
            "{%- set index = (messages|length - 1) - loop.index0 %}{%- set ns.last = index + 1 %}",
            "{% set content = '<|start|>' + m['role'] + '<|end|>\\n\\n'+ m['content'] | trim + '<|eot|>' %}\
             {% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}",
            "{%- set content = (message.content.split('</think>')|last).lstrip('\\n') %}\
             {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thoughts.strip('\\n') + content }}",
            "{{ bos_token + content }}{{ role + content }}",
            "{% set x = ('a' if y else 'b') + z %}{% set x = ('a' + y) + z %}{# x + x #}",
            "{%+ set text = 'x + x' %}",
        ] {
            assert!(!may_be_in(template), "{template}");
        }
    }

    #[test]
    fn what_may_add_lists_is_found_wherever_it_stands() {
        for template in [
            "{% set ns.s = ns.s + ns.s %}",
            "{%- set a = b+b -%}",
            "{% set a = b + b if true else 'text' %}",
            "{% set a = 1 * b + b %}",
            "{% set a = 'text' ~ (b + b) %}",
            "{% for x in [a + a] %}{% endfor %}",
            "{% with a = b + b %}{% endwith %}",
            "{{ f(a + a) }}",
            "{{ loop([x + x]) }}",
            "{% set a = {'key': b + b} %}",
            "{% set a = '}}' %}{% set a = '%}' %}{% set b = b + [1] %}",
            "{% set a = (b + b) + (b + b) %}",
        ] {
            assert!(may_be_in(template), "{template}");
        }
    }
}
