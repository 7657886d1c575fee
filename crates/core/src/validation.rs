//! What names, labels, tags and handles may look like. Messages say what is wrong and what to do.

use unicode_normalization::char::is_combining_mark;

/// Characters of an agent's name at the most.
const MAX_NAME: usize = 255;

/// Characters of a block's label or a tag at the most.
const MAX_LABEL: usize = 255;

/// Characters of an identity's key at the most. It is indexed, and PostgreSQL's indexes take 2,700 bytes.
const MAX_IDENTITY_KEY: usize = 255;

/// Characters of an identity's name at the most.
const MAX_IDENTITY_NAME: usize = 1_000;

/// Characters of an identity's project at the most; it is indexed with the key.
const MAX_IDENTITY_PROJECT: usize = 100;

/// Characters of a refused text that a message quotes.
const MAX_QUOTED: usize = 100;

/// A value that is not valid; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Checks an agent's name: letters of any script, digits, spaces, `-`, `_` and `'` (V1 contract, section
/// 1.7). Many scripts write part of a letter as a combining mark, so these are letters too.
///
/// # Errors
/// It is empty, too long, or has another character.
pub fn agent_name(name: &str) -> Result<(), Invalid> {
    bounded("an agent's name", name, MAX_NAME)?;
    let allowed = |c: char| {
        c.is_alphanumeric() || is_combining_mark(c) || matches!(c, ' ' | '-' | '_' | '\'')
    };
    match name.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(wrong) => Err(Invalid(format!(
            "the agent's name '{}' contains invalid characters, such as {wrong:?}: only letters (of \
             any language), digits, spaces, hyphens, underscores and apostrophes are allowed",
            quoted(name)
        ))),
    }
}

/// Checks a block's label. It becomes the name of a tag in the prompt, so it can hold neither angle
/// brackets nor line breaks.
///
/// # Errors
/// It is empty, too long, or has one of these characters.
pub fn block_label(label: &str) -> Result<(), Invalid> {
    bounded("a block's label", label, MAX_LABEL)?;
    match label
        .chars()
        .find(|c| c.is_control() || matches!(c, '<' | '>'))
    {
        None => Ok(()),
        Some(wrong) => Err(Invalid(format!(
            "the block's label '{}' must not contain {wrong:?}: use letters, digits and signs such as \
             '_', '-' or '/'",
            quoted(label)
        ))),
    }
}

/// Checks a tag.
///
/// # Errors
/// It is empty or too long, or contains U+0000.
pub fn tag(tag: &str) -> Result<(), Invalid> {
    bounded("a tag", tag, MAX_LABEL)?;
    // PostgreSQL cannot look into a JSON list of which a text has it.
    if tag.contains('\0') {
        return Err(Invalid(
            "a tag must not contain the character U+0000".to_owned(),
        ));
    }
    Ok(())
}

/// Checks what an identity is found by.
///
/// # Errors
/// Its key is empty, or the key or the project is too long.
pub fn identity_key(key: &str, project: Option<&str>) -> Result<(), Invalid> {
    bounded("identifier_key", key, MAX_IDENTITY_KEY)?;
    project.map_or(Ok(()), |project| {
        bounded("an identity's project_id", project, MAX_IDENTITY_PROJECT)
    })
}

/// Checks the id of an end user, which may have so many bytes. It is otherwise taken as it is.
///
/// # Errors
/// It is empty or too long, has control characters, or is a part of a path that clients fold: what is asked of `/users/..` would
/// be done to the agent.
pub fn user_id(id: &str, bytes: usize) -> Result<(), Invalid> {
    let wrong = if id.is_empty() {
        "must not be empty".to_owned()
    } else if id.len() > bytes {
        format!("may have at most {bytes} bytes; this one has {}", id.len())
    } else if id.chars().any(char::is_control) {
        "must not have control characters".to_owned()
    } else if id == "." || id == ".." {
        "must not be . or ..".to_owned()
    } else {
        return Ok(());
    };
    Err(Invalid(format!("the id of a user {wrong}")))
}

/// Checks an identity's name.
///
/// # Errors
/// It is empty or too long.
pub fn identity_name(name: &str) -> Result<(), Invalid> {
    bounded("an identity's name", name, MAX_IDENTITY_NAME)
}

/// Splits a model handle at its first slash into provider and model.
///
/// # Errors
/// It has no slash, or one side is empty.
pub fn model_handle(handle: &str) -> Result<(&str, &str), Invalid> {
    match handle.split_once('/') {
        Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
            Ok((provider, model))
        }
        _ => Err(Invalid(format!(
            "'{}' is not a model handle: write provider/model, such as openai/gpt-4o-mini",
            quoted(handle)
        ))),
    }
}

fn bounded(what: &str, text: &str, limit: usize) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid(format!("{what} must not be empty")));
    }
    let length = text.chars().count();
    if length > limit {
        return Err(Invalid(format!(
            "{what} may have at most {limit} characters; this one has {length}: shorten it"
        )));
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_allowed_and_separators_are_not() {
        for name in [
            "Ada's agent",
            "日本語 1",
            "a-b_c",
            "हिन्दी",
            "Amélie",
            "Ame\u{301}lie",
            "ไทย",
        ] {
            assert_eq!(agent_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "  ",
            "a/b:c*",
            "a:b",
            "a\\b",
            "a\nb",
            "a\0b",
            "a\u{202e}b",
            "../a",
        ] {
            assert!(agent_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(agent_name(&"é".repeat(255)), Ok(()));
        let long = agent_name(&"é".repeat(256)).unwrap_err().to_string();
        assert!(long.contains("255") && long.contains("256"), "{long}");
        assert!(block_label(&"a".repeat(256)).is_err());
        assert!(tag(&"a".repeat(256)).is_err());
    }

    #[test]
    fn labels_cannot_break_out_of_their_tag() {
        for label in ["human", "project/notes", "日本語", "a b"] {
            assert_eq!(block_label(label), Ok(()), "{label}");
        }
        for label in ["", " ", "a>b", "</a", "a\nb"] {
            assert!(block_label(label).is_err(), "{label:?}");
        }
    }

    #[test]
    fn tags_are_free_but_not_empty() {
        assert_eq!(tag("role:subagent"), Ok(()));
        assert!(tag("").is_err());
    }

    #[test]
    fn identities_are_found_by_keys_that_an_index_can_hold() {
        assert_eq!(identity_key("user-ada", None), Ok(()));
        assert_eq!(identity_key(&"é".repeat(255), Some("project-1")), Ok(()));
        for (key, project) in [("", None), (" ", None), ("a", Some(""))] {
            assert!(identity_key(key, project).is_err(), "{key:?} {project:?}");
        }
        assert!(identity_key(&"a".repeat(256), None).is_err());
        assert!(identity_key("a", Some(&"p".repeat(101))).is_err());
        assert!(identity_name("").is_err() && identity_name(&"n".repeat(1_001)).is_err());
    }

    #[test]
    fn handles_are_split_at_the_first_slash() {
        assert_eq!(model_handle("a/b/c"), Ok(("a", "b/c")));
        for handle in ["gpt-4o", "/x", "x/", "/", ""] {
            assert!(model_handle(handle).is_err(), "{handle:?}");
        }
        assert!(
            model_handle(&"x".repeat(9_999))
                .unwrap_err()
                .to_string()
                .len()
                < 300
        );
    }
}
