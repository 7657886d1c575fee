//! Calls of the tools that look into the web.

use super::arguments::{ArgumentError, Arguments};
use crate::time::{Bound, Timestamp};

/// Results of a search where the model asks for no number.
pub const DEFAULT_RESULTS: u32 = 10;

/// Results of a search at the most.
pub const MAX_RESULTS: u32 = 50;

/// What `web_search` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSearch {
    /// A question or words.
    pub query: String,
    /// Results at the most.
    pub num_results: u32,
    /// The kind of page, such as `news`.
    pub category: Option<String>,
    /// Whether the pages' texts are wanted beside their snippets.
    pub include_text: bool,
    /// Only pages of these sites.
    pub include_domains: Vec<String>,
    /// No pages of these sites.
    pub exclude_domains: Vec<String>,
    /// Published no earlier.
    pub start: Option<Timestamp>,
    /// Published no later.
    pub end: Option<Timestamp>,
    /// The two letters of the country from which is asked.
    pub user_location: Option<String>,
}

pub(super) fn search(given: &Arguments<'_>, zone: &str) -> Result<WebSearch, ArgumentError> {
    let query = given
        .words("query")?
        .ok_or_else(|| given.missing("query"))?;
    let start = given.time("start_published_date", zone, Bound::Start)?;
    let end = given.time("end_published_date", zone, Bound::End)?;
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(given.wrong("start_published_date", "no later than end_published_date"));
    }
    let wanted = given.whole_number("num_results")?;
    let num_results = wanted.map_or(DEFAULT_RESULTS, |number| {
        u32::try_from(number.clamp(1, i64::from(MAX_RESULTS))).unwrap_or(MAX_RESULTS)
    });
    let location = given.words("user_location")?;
    let is_country =
        |text: &String| text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic());
    if location.as_ref().is_some_and(|text| !is_country(text)) {
        return Err(given.wrong("user_location", "the two letters of a country, such as US"));
    }
    Ok(WebSearch {
        query,
        num_results,
        category: given.words("category")?.map(|name| name.to_lowercase()),
        include_text: given.truth("include_text")?.unwrap_or(false),
        include_domains: domains(given.texts("include_domains")?),
        exclude_domains: domains(given.texts("exclude_domains")?),
        start,
        end,
        user_location: location.map(|text| text.to_ascii_uppercase()),
    })
}

/// Sites as bare host names; models like to write them as addresses.
fn domains(given: Vec<String>) -> Vec<String> {
    let bare = |text: String| {
        let rest = text
            .split_once("://")
            .map_or(text.as_str(), |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host.trim_start_matches("*.").to_lowercase()
    };
    let hosts = given.into_iter().map(bare);
    // What is no host name would become an operator in the query of some providers.
    let is_host = |host: &String| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | ':'))
    };
    hosts.filter(is_host).collect()
}

pub(super) fn url(given: &Arguments<'_>) -> Result<String, ArgumentError> {
    let url = given.words("url")?.ok_or_else(|| given.missing("url"))?;
    // An address without its scheme is one of the web.
    let has_scheme = url.contains("://")
        || url
            .split(['.', '/'])
            .next()
            .unwrap_or_default()
            .contains(':');
    Ok(if has_scheme {
        url
    } else {
        format!("https://{url}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::builtin::{BuiltinCall, default_tools};
    use crate::{agents::AgentType, builtin::find, tools::ToolType};

    fn search_of(arguments: &Value) -> Result<WebSearch, String> {
        match BuiltinCall::parse("web_search", arguments) {
            Ok(BuiltinCall::WebSearch(search)) => Ok(*search),
            Ok(other) => panic!("no search: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_search_takes_what_models_write() {
        let given = json!({
            "query": " ships ", "num_results": "500", "category": "News", "include_text": "true",
            "include_domains": "https://Example.org/path, *.b.org", "exclude_domains": ["c.org) OR (x", "d.org"],
            "start_published_date": "2026-03-01", "end_published_date": null, "user_location": "no",
        });
        let expected = WebSearch {
            query: "ships".to_owned(),
            num_results: MAX_RESULTS,
            category: Some("news".to_owned()),
            include_text: true,
            include_domains: vec!["example.org".to_owned(), "b.org".to_owned()],
            exclude_domains: vec!["d.org".to_owned()],
            start: Timestamp::parse("2026-03-01").ok(),
            end: None,
            user_location: Some("NO".to_owned()),
        };
        assert_eq!(search_of(&given), Ok(expected));
        let plain = search_of(&json!({"query": "ships"})).unwrap();
        assert_eq!(
            (plain.num_results, plain.include_text),
            (DEFAULT_RESULTS, false)
        );
    }

    #[test]
    fn a_search_that_cannot_be_made_says_which_argument_is_wrong() {
        for (given, named) in [
            (json!({}), "query"),
            (json!({"query": "  "}), "query"),
            (
                json!({"query": "x", "include_text": "perhaps"}),
                "include_text",
            ),
            (
                json!({"query": "x", "user_location": "Norway"}),
                "user_location",
            ),
            (
                json!({"query": "x", "start_published_date": "soon"}),
                "start_published_date",
            ),
            (
                json!({"query": "x", "start_published_date": "2026-03-02", "end_published_date": "2026-03-01"}),
                "start_published_date",
            ),
        ] {
            let error = search_of(&given).unwrap_err();
            assert!(error.contains(named), "{given}: {error}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_one_of_the_web() {
        for (given, expected) in [
            ("example.org/a?b=c:d", "https://example.org/a?b=c:d"),
            (" http://example.org ", "http://example.org"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("javascript:alert(1)", "javascript:alert(1)"),
        ] {
            let call = BuiltinCall::parse("fetch_webpage", &json!({"url": given}));
            let url = expected.to_owned();
            assert_eq!(call, Ok(BuiltinCall::FetchWebpage { url }));
        }
    }

    #[test]
    fn no_agent_gets_them_without_being_asked() {
        for name in ["web_search", "fetch_webpage"] {
            assert_eq!(find(name).unwrap().tool_type, ToolType::LettaBuiltin);
            for kind in AgentType::ALL {
                assert!(!default_tools(kind).contains(&name), "{kind:?}");
            }
        }
    }
}
