//! SearXNG: `GET /search` with `format=json`, which its administrator has to allow.

use mnemic_core::builtin::WebSearch;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use url::form_urlencoded;

use super::{Hit, text, with_sites};

pub(super) fn request(http: &Client, address: &str, search: &WebSearch) -> RequestBuilder {
    let mut query = vec![("q", with_sites(search)), ("format", "json".to_owned())];
    query.extend(category(search).map(|name| ("categories", name.to_owned())));
    http.get(format!("{address}/search?{}", encoded(&query)))
}

pub(super) fn encoded(query: &[(&str, String)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query).finish()
}

/// The category of engines that fits a kind of page.
fn category(search: &WebSearch) -> Option<&'static str> {
    match search.category.as_deref()? {
        "news" => Some("news"),
        "research paper" => Some("science"),
        "github" => Some("it"),
        "tweet" => Some("social media"),
        _ => None,
    }
}

/// Its engines know ranges of time only back from now, and each of them others.
pub(super) fn ignored(search: &WebSearch) -> Vec<&'static str> {
    let ignored = [
        (
            "category",
            search.category.is_some() && category(search).is_none(),
        ),
        ("include_text", search.include_text),
        ("start_published_date", search.start.is_some()),
        ("end_published_date", search.end.is_some()),
        ("user_location", search.user_location.is_some()),
    ];
    let ignored = ignored.into_iter().filter(|(_, is_ignored)| *is_ignored);
    ignored.map(|(name, _)| name).collect()
}

pub(super) fn hits(answer: &Value) -> Option<Vec<Hit>> {
    let results = answer.get("results")?.as_array()?;
    let hit = |result: &Value| Hit {
        title: text(result, "title").unwrap_or_default(),
        url: text(result, "url").unwrap_or_default(),
        published: text(result, "publishedDate"),
        snippet: text(result, "content"),
        ..Hit::default()
    };
    Some(results.iter().map(hit).collect())
}
