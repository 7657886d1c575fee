//! Which service is asked, and what a search is to it. The wire itself is tested with the whole server.

use super::*;

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

fn searcher(names: &[&str]) -> WebSearcher {
    let service = |name: &str| ServiceSettings {
        key: names.contains(&name).then(|| Secret::new(name)),
        base_url: None,
    };
    WebSearcher::new(WebSearchSettings {
        exa: service("exa"),
        tavily: service("tavily"),
        brave: service("brave"),
        searxng_url: names
            .contains(&"searxng")
            .then(|| "http://searx.example/".to_owned()),
    })
}

#[test]
fn the_agents_own_key_is_taken_before_the_servers_and_then_the_first_service() {
    let own = |name: &str| vec![(name.to_owned(), Secret::new("own"))];
    for (servers, own, expected) in [
        (vec!["exa", "tavily"], vec![], Ok(SearchService::Exa)),
        (vec!["searxng", "brave"], vec![], Ok(SearchService::Brave)),
        (vec!["searxng"], vec![], Ok(SearchService::SearXng)),
        (vec!["exa"], own("BRAVE_API_KEY"), Ok(SearchService::Brave)),
        (vec![], own("TAVILY_API_KEY"), Ok(SearchService::Tavily)),
        (vec!["exa"], own("OTHER_KEY"), Ok(SearchService::Exa)),
        (vec![], vec![], Err(SearchError::NotConfigured)),
    ] {
        let searcher = searcher(&servers);
        let chosen = searcher.choose(&own).map(|(service, _)| service);
        assert_eq!(chosen, expected, "{servers:?} {own:?}");
    }
    let blank = [("EXA_API_KEY".to_owned(), Secret::new(" "))];
    let searcher = searcher(&["tavily"]);
    assert_eq!(
        searcher.choose(&blank),
        Ok((SearchService::Tavily, secret("tavily").as_ref()))
    );
}

fn ships() -> WebSearch {
    WebSearch {
        query: "ships".to_owned(),
        num_results: 30,
        include_domains: vec!["a.org".to_owned(), "b.org".to_owned()],
        exclude_domains: vec!["c.org".to_owned()],
        start: Timestamp::parse("2026-03-01").ok(),
        end: Timestamp::parse("2026-03-31").ok(),
        user_location: Some("NO".to_owned()),
        category: Some("news".to_owned()),
        ..WebSearch::default()
    }
}

#[test]
fn a_search_with_everything_is_what_each_service_takes() {
    let http = connect::builder(Duration::from_secs(1)).build().unwrap();
    let sent = |request: RequestBuilder| request.build().unwrap();
    let json = |request: &reqwest::Request| {
        let bytes = request.body().and_then(|body| body.as_bytes()).unwrap();
        serde_json::from_slice::<Value>(bytes).unwrap()
    };
    let search = ships();

    let request = sent(exa::request(&http, ("https://x", "k"), &search));
    assert_eq!(request.url().as_str(), "https://x/search");
    assert_eq!(
        json(&request),
        json!({
            "query": "ships", "type": "auto", "numResults": 30, "contents": {"highlights": true},
            "category": "news", "userLocation": "NO", "includeDomains": ["a.org", "b.org"],
            "excludeDomains": ["c.org"], "startPublishedDate": "2026-03-01T00:00:00.000000Z",
            "endPublishedDate": "2026-03-31T00:00:00.000000Z",
        })
    );

    let request = sent(tavily::request(&http, ("https://x", "k"), &search));
    assert_eq!(
        json(&request),
        json!({
            "query": "ships", "max_results": 20, "topic": "news", "include_raw_content": false,
            "include_domains": ["a.org", "b.org"], "exclude_domains": ["c.org"],
            "start_date": "2026-03-01", "end_date": "2026-03-31",
        })
    );
    assert_eq!(tavily::ignored(&search), ["user_location"]);
}

#[test]
fn services_that_know_sites_as_operators_only_get_them_so() {
    let http = connect::builder(Duration::from_secs(1)).build().unwrap();
    let sent = |request: RequestBuilder| request.build().unwrap();
    let search = ships();
    let sites = "ships (site:a.org OR site:b.org) -site:c.org";
    let request = sent(brave::request(&http, ("https://x", "k"), &search));
    let query: Vec<(String, String)> = request.url().query_pairs().into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.url().path(), "/res/v1/web/search");
    assert_eq!(
        query,
        [
            pair("q", sites),
            pair("count", "20"),
            pair("result_filter", "web"),
            pair("text_decorations", "false"),
            pair("freshness", "2026-03-01to2026-03-31"),
            pair("country", "NO"),
        ]
    );
    assert_eq!(brave::ignored(&search), ["category"]);

    let request = sent(searxng::request(&http, "https://x/deep", &search));
    let query: Vec<(String, String)> = request.url().query_pairs().into_owned().collect();
    assert_eq!(request.url().path(), "/deep/search");
    assert_eq!(
        query,
        [
            pair("q", sites),
            pair("format", "json"),
            pair("categories", "news")
        ]
    );
    assert_eq!(
        searxng::ignored(&search),
        [
            "start_published_date",
            "end_published_date",
            "user_location"
        ]
    );
}

#[test]
fn sites_that_a_service_let_slip_are_taken_out() {
    let hit = |url: &str| Hit {
        url: url.to_owned(),
        ..Hit::default()
    };
    for (url, expected) in [
        ("https://a.org/x", true),
        ("https://www.b.org/", true),
        ("https://nota.org/", false),
        ("https://c.org/", false),
        ("nonsense", false),
    ] {
        assert_eq!(is_of_sites(&ships(), &hit(url)), expected, "{url}");
    }
}

#[test]
fn answers_that_hold_no_results_are_told_from_those_without_any() {
    assert_eq!(brave::hits(&json!({"type": "search"})), Some(vec![]));
    for answer in [json!({}), json!([]), json!({"results": "x"}), json!(null)] {
        assert_eq!(exa::hits(&answer), None, "{answer}");
        assert_eq!(tavily::hits(&answer), None, "{answer}");
        assert_eq!(brave::hits(&answer), None, "{answer}");
        assert_eq!(searxng::hits(&answer), None, "{answer}");
    }
}
