//! Pages of the web as text that a model can read: pure functions on what was fetched.
//!
//! A page comes from anybody. So its tokens are read by a tokenizer that follows the WHATWG standard, but
//! the tree is our own and a simple one: it has bounded depth and size, and no rule by which a small page makes
//! a large tree (the standard's reconstruction of formatting elements does). Everything after is linear in it.

mod article;
mod charset;
mod markdown;
mod tree;

use url::Url;

/// Bytes of a page's text at the most; the longest return that a tool may have is smaller.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// What was fetched.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it was in the end; links are relative to it.
    pub url: &'a Url,
    /// The media type, without parameters and in lower case; empty where the server says none.
    pub media_type: &'a str,
    /// The encoding as the server names it.
    pub charset: Option<&'a str>,
    /// The content.
    pub bytes: &'a [u8],
}

/// A page as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its title, where it has one.
    pub title: Option<String>,
    /// Markdown for HTML; other texts as they are.
    pub text: String,
    /// Whether there was more than could be read.
    pub is_cut: bool,
}

/// Why a page is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is another kind of file.
    #[error(
        "what is there is no page but a file of the type {media_type}; only HTML, plain text, markdown, JSON \
         and XML can be read"
    )]
    NotText {
        /// The type as the server says it.
        media_type: String,
    },
}

/// How a media type is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Plain,
}

/// Reads a page.
///
/// # Errors
/// What was fetched is no text.
pub fn read(source: &Source<'_>) -> Result<Page, PageError> {
    let form = form(source)?;
    let text = charset::decode(source.bytes, source.charset, form == Form::Html);
    if form == Form::Plain {
        return Ok(plain(&text));
    }
    let tree = tree::Tree::read(&text);
    let base = tree.base(source.url);
    let root = article::main_part(&tree);
    let mut text = markdown::write(&tree, root, &base);
    if text.text.is_empty() {
        // All of it looked like menus: then that is what the page is.
        text = markdown::write(&tree, article::whole(&tree), &base);
    }
    Ok(Page {
        title: tree.title(),
        is_cut: text.is_cut || tree.is_cut,
        text: text.text,
    })
}

fn form(source: &Source<'_>) -> Result<Form, PageError> {
    let refuse = |media_type: &str| {
        Err(PageError::NotText {
            media_type: media_type.chars().take(100).collect(),
        })
    };
    match source.media_type {
        "text/html" | "application/xhtml+xml" => Ok(Form::Html),
        "" => match charset::looks_like(source.bytes) {
            charset::Looks::Html => Ok(Form::Html),
            charset::Looks::Text => Ok(Form::Plain),
            charset::Looks::Binary => refuse("unknown"),
        },
        "application/json" | "application/xml" | "application/yaml" | "application/x-ndjson" => {
            Ok(Form::Plain)
        }
        other if other.starts_with("text/") => Ok(Form::Plain),
        other
            if other.ends_with("+json")
                || other.ends_with("+xml") && !other.starts_with("image/") =>
        {
            Ok(Form::Plain)
        }
        other => refuse(other),
    }
}

fn plain(text: &str) -> Page {
    let end = text.floor_char_boundary(MAX_TEXT);
    let shown = text.get(..end).unwrap_or_default();
    Page {
        title: None,
        text: shown.trim().to_owned(),
        is_cut: end < text.len(),
    }
}

#[cfg(test)]
mod tests;
