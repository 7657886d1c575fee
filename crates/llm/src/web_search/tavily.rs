//! Tavily: `POST /search`.

use mnemic_core::builtin::WebSearch;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{Hit, day, text};

/// Results that it gives at the most.
const MOST: u32 = 20;
/// Characters of a query that it takes.
const MAX_QUERY: usize = 400;

pub(super) fn request(
    http: &Client,
    (address, key): (&str, &str),
    search: &WebSearch,
) -> RequestBuilder {
    let mut body = json!({
        "query": super::cut(&search.query, MAX_QUERY),
        "max_results": search.num_results.min(MOST),
        "topic": topic(search),
        "include_raw_content": search.include_text,
        "include_domains": search.include_domains,
        "exclude_domains": search.exclude_domains,
    });
    if let Some(fields) = body.as_object_mut() {
        for (name, time) in [("start_date", search.start), ("end_date", search.end)] {
            fields.extend(time.map(|time| (name.to_owned(), json!(day(time)))));
        }
    }
    http.post(format!("{address}/search"))
        .bearer_auth(key)
        .json(&body)
}

fn topic(search: &WebSearch) -> &'static str {
    match search.category.as_deref() {
        Some("news") => "news",
        Some("financial report") => "finance",
        _ => "general",
    }
}

/// It names countries in words, not by their letters.
pub(super) fn ignored(search: &WebSearch) -> Vec<&'static str> {
    let mut ignored = Vec::new();
    if search.category.is_some() && topic(search) == "general" {
        ignored.push("category");
    }
    if search.user_location.is_some() {
        ignored.push("user_location");
    }
    ignored
}

pub(super) fn hits(answer: &Value) -> Option<Vec<Hit>> {
    let results = answer.get("results")?.as_array()?;
    let hit = |result: &Value| Hit {
        title: text(result, "title").unwrap_or_default(),
        url: text(result, "url").unwrap_or_default(),
        published: text(result, "published_date"),
        author: None,
        snippet: text(result, "content"),
        text: text(result, "raw_content"),
    };
    Some(results.iter().map(hit).collect())
}
