//! Brave Search: `GET /res/v1/web/search`.

use mnemic_core::{builtin::WebSearch, time::Timestamp};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::{Hit, day, joined, text, with_sites};

/// Results that it gives at the most.
const MOST: u32 = 20;

pub(super) fn request(
    http: &Client,
    (address, key): (&str, &str),
    search: &WebSearch,
) -> RequestBuilder {
    let mut query = vec![
        ("q", with_sites(search)),
        ("count", search.num_results.min(MOST).to_string()),
        ("result_filter", "web".to_owned()),
        ("text_decorations", "false".to_owned()),
    ];
    if search.start.is_some() || search.end.is_some() {
        let from = search.start.unwrap_or(Timestamp(0));
        let to = search.end.unwrap_or_else(Timestamp::now);
        query.push(("freshness", format!("{}to{}", day(from), day(to))));
    }
    query.extend(
        search
            .user_location
            .iter()
            .map(|code| ("country", code.clone())),
    );
    let mut url = format!("{address}/res/v1/web/search?");
    url.push_str(&super::searxng::encoded(&query));
    http.get(url)
        .header("accept", "application/json")
        .header("x-subscription-token", key)
}

pub(super) fn ignored(search: &WebSearch) -> Vec<&'static str> {
    let mut ignored = Vec::new();
    if search.category.is_some() {
        ignored.push("category");
    }
    if search.include_text {
        ignored.push("include_text");
    }
    ignored
}

pub(super) fn hits(answer: &Value) -> Option<Vec<Hit>> {
    // Without anything found there is no `web` at all, but the answer says what it is.
    let Some(results) = answer.pointer("/web/results") else {
        return answer.get("type").map(|_| Vec::new());
    };
    let hit = |result: &Value| {
        let description = text(result, "description");
        let more = joined(result, "extra_snippets");
        let snippets: Vec<String> = description.into_iter().chain(more).collect();
        Hit {
            title: text(result, "title").unwrap_or_default(),
            url: text(result, "url").unwrap_or_default(),
            published: text(result, "page_age"),
            snippet: Some(snippets.join(" … ")),
            ..Hit::default()
        }
    };
    Some(results.as_array()?.iter().map(hit).collect())
}
