//! Names that come near one that does not exist.

/// How many names are suggested.
const SUGGESTIONS: usize = 5;

/// The nearest of the `(name, handle)` pairs, or what there is.
pub(crate) fn suggest(wanted: &str, known: &[(&str, String)]) -> String {
    let mut near: Vec<(usize, &str, &str)> = known
        .iter()
        .map(|(name, handle)| (distance(wanted, name), *name, handle.as_str()))
        .collect();
    near.sort();
    let handles: Vec<&str> = near
        .iter()
        .take(SUGGESTIONS)
        .map(|(_, _, handle)| *handle)
        .collect();
    match handles.as_slice() {
        [] => "it has none at all".to_owned(),
        _ if near.len() <= SUGGESTIONS => format!("it has {}", handles.join(", ")),
        _ => format!("near it are {}", handles.join(", ")),
    }
}

/// How far apart two names are: Levenshtein's distance, and little for one inside the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    if a.contains(&b) || b.contains(&a) {
        return 1;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let change = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0) + 1
}
