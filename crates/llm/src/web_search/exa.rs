//! Exa: `POST /search`.

use mnemic_core::builtin::WebSearch;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{Hit, MAX_TEXT, joined, text};

pub(super) fn request(
    http: &Client,
    (address, key): (&str, &str),
    search: &WebSearch,
) -> RequestBuilder {
    let contents = if search.include_text {
        json!({"text": {"maxCharacters": MAX_TEXT}})
    } else {
        json!({"highlights": true})
    };
    let mut body = json!({
        "query": search.query,
        "type": "auto",
        "numResults": search.num_results,
        "contents": contents,
    });
    let optional = [
        ("category", search.category.as_ref().map(|name| json!(name))),
        (
            "userLocation",
            search.user_location.as_ref().map(|code| json!(code)),
        ),
        ("includeDomains", list(&search.include_domains)),
        ("excludeDomains", list(&search.exclude_domains)),
        (
            "startPublishedDate",
            search.start.map(|time| json!(time.to_iso())),
        ),
        (
            "endPublishedDate",
            search.end.map(|time| json!(time.to_iso())),
        ),
    ];
    if let Some(fields) = body.as_object_mut() {
        for (name, value) in optional {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    http.post(format!("{address}/search"))
        .header("x-api-key", key)
        .json(&body)
}

fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| json!(texts))
}

pub(super) fn hits(answer: &Value) -> Option<Vec<Hit>> {
    let results = answer.get("results")?.as_array()?;
    let hit = |result: &Value| Hit {
        title: text(result, "title").unwrap_or_default(),
        url: text(result, "url").unwrap_or_default(),
        published: text(result, "publishedDate"),
        author: text(result, "author"),
        snippet: joined(result, "highlights").or_else(|| text(result, "summary")),
        text: text(result, "text"),
    };
    Some(results.iter().map(hit).collect())
}
