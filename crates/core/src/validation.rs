//! What names and handles may look like. Messages say what is wrong and what to do.

/// Characters of an agent's name at the most.
const MAX_NAME: usize = 255;

/// Characters of a block's label or a tag at the most.
const MAX_LABEL: usize = 255;

/// A value that is not valid; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Checks an agent's name: letters of any script, digits, spaces, `-`, `_` and `'`.
///
/// # Errors
/// It is empty, too long, or has another character.
pub fn agent_name(name: &str) -> Result<(), Invalid> {
    if name.trim().is_empty() {
        return Err(Invalid("an agent's name must not be empty; leave it out to get one".to_owned()));
    }
    if name.chars().count() > MAX_NAME {
        return Err(Invalid(format!("an agent's name may have at most {MAX_NAME} characters")));
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '\'');
    match name.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(wrong) => Err(Invalid(format!(
            "the agent's name '{name}' holds {wrong:?}; letters, digits, spaces, hyphens, underscores \
             and apostrophes are allowed"
        ))),
    }
}

/// Checks a block's label.
///
/// # Errors
/// It is empty or too long.
pub fn block_label(label: &str) -> Result<(), Invalid> {
    bounded("a block's label", label)
}

/// Checks a tag.
///
/// # Errors
/// It is empty or too long.
pub fn tag(tag: &str) -> Result<(), Invalid> {
    bounded("a tag", tag)
}

fn bounded(what: &str, text: &str) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid(format!("{what} must not be empty")));
    }
    if text.chars().count() > MAX_LABEL {
        return Err(Invalid(format!("{what} may have at most {MAX_LABEL} characters")));
    }
    Ok(())
}

/// Splits a model handle at its first slash into provider and model.
///
/// # Errors
/// It has no slash, or one side is empty.
pub fn model_handle(handle: &str) -> Result<(&str, &str), Invalid> {
    match handle.split_once('/') {
        Some((provider, model)) if !provider.is_empty() && !model.is_empty() => Ok((provider, model)),
        _ => Err(Invalid(format!(
            "'{handle}' is not a model handle: write provider/model, such as openai/gpt-4o-mini"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_allowed_and_separators_are_not() {
        for name in ["Ada's agent", "日本語 1", "a-b_c"] {
            assert_eq!(agent_name(name), Ok(()), "{name}");
        }
        for name in ["", "  ", "a/b", "a:b", "a*", "a\nb"] {
            assert!(agent_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn handles_are_split_at_the_first_slash() {
        assert_eq!(model_handle("a/b/c"), Ok(("a", "b/c")));
        assert!(model_handle("gpt-4o").is_err() && model_handle("/x").is_err());
    }
}
