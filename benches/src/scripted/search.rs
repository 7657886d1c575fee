//! The wire shapes of the services that search the web: each tells in its result what it was asked.

use http::{Method, request::Parts};
use serde_json::{Value, json};

/// The key that they take; with another they answer as they do to a wrong one.
const KEY: &str = "search-key";

/// The answer of a search service, if the request is to one.
pub fn answer(parts: &Parts, body: &[u8]) -> Option<(u16, Value)> {
    let header = |name: &str| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let asked = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    let wrong_key = json!({"error": "Invalid API key"});
    Some(match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/exa/search") if header("x-api-key") == KEY => (200, exa(&asked())),
        (&Method::POST, "/tavily/search") if header("authorization") == format!("Bearer {KEY}") => {
            (200, tavily(&asked()))
        }
        (&Method::GET, "/brave/res/v1/web/search") if header("x-subscription-token") == KEY => {
            (200, brave(query))
        }
        (&Method::GET, "/searxng/search") if query.contains("format=json") => (200, searxng(query)),
        (&Method::GET, "/searxng/search") => (403, json!({})),
        (_, path)
            if ["/exa/", "/tavily/", "/brave/"]
                .iter()
                .any(|start| path.starts_with(start)) =>
        {
            (401, wrong_key)
        }
        _ => return None,
    })
}

fn exa(asked: &Value) -> Value {
    let wants = |what: &str| asked.pointer(&format!("/contents/{what}")).is_some();
    let text = wants("text").then(|| asked.to_string());
    let highlights = wants("highlights").then(|| json!([asked.to_string(), "more"]));
    let result = json!({
        "id": "https://ships.example.org/a", "title": "Exa: ships", "url": "https://ships.example.org/a",
        "publishedDate": "2026-05-01T00:00:00.000Z", "author": "Ada", "score": 0.7,
        "text": text, "highlights": highlights,
    });
    let second = json!({"id": "b", "title": null, "url": "https://ships.example.org/b", "publishedDate": null});
    json!({"requestId": "r", "resolvedSearchType": "neural", "results": [result, second]})
}

fn tavily(asked: &Value) -> Value {
    let wants_text = asked.get("include_raw_content") == Some(&true.into());
    let raw_content = wants_text.then_some("the whole page");
    json!({
        "query": asked.get("query"), "answer": null, "images": [], "response_time": 0.1,
        "results": [{
            "title": "Tavily: ships", "url": "https://ships.example.org/a", "score": 0.9,
            "content": asked.to_string(), "raw_content": raw_content,
        }],
    })
}

fn brave(query: &str) -> Value {
    let result = |host: &str| {
        json!({
            "type": "search_result", "title": "Brave: ships", "url": format!("https://{host}/a"),
            "description": query, "page_age": "2026-05-01T00:00:00", "extra_snippets": ["more"],
        })
    };
    json!({
        "type": "search", "query": {"original": "ships"},
        "web": {"type": "search", "results": [result("ships.example.org"), result("elsewhere.net")]},
    })
}

fn searxng(query: &str) -> Value {
    json!({
        "query": "ships", "number_of_results": 0, "answers": [], "suggestions": [], "unresponsive_engines": [],
        "results": [{
            "title": "SearXNG: ships", "url": "https://ships.example.org/a", "content": query, "engine": "x",
            "publishedDate": null, "score": 1.0, "category": "general",
        }],
    })
}
