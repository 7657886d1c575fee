//! Searches in the web, at whichever search service there is a key for.
//!
//! Each service is a module with the same two functions: the request for a search, and the results of an
//! answer. What a service can't restrict is told with the results, so that the model doesn't take them for
//! something else.

mod brave;
mod exa;
mod searxng;
mod tavily;
#[cfg(test)]
mod tests;

use std::time::Duration;

use mnemic_core::{builtin::WebSearch, time::Timestamp};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{connect, endpoints::Secret};

/// How long a search may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer at the most.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Characters of a page's text, and of a snippet.
const MAX_TEXT: usize = 10_000;
const MAX_SNIPPET: usize = 2_000;

/// A service that searches the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchService {
    /// Exa.
    Exa,
    /// Tavily.
    Tavily,
    /// Brave Search.
    Brave,
    /// A SearXNG instance of one's own.
    SearXng,
}

impl SearchService {
    /// All, in the order in which they are preferred.
    pub const ALL: [Self; 4] = [Self::Exa, Self::Tavily, Self::Brave, Self::SearXng];

    /// The variable that holds its key, and where it is reached unless something else is set.
    const fn key_and_address(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::Exa => (Some("EXA_API_KEY"), "https://api.exa.ai"),
            Self::Tavily => (Some("TAVILY_API_KEY"), "https://api.tavily.com"),
            Self::Brave => (Some("BRAVE_API_KEY"), "https://api.search.brave.com"),
            Self::SearXng => (None, ""),
        }
    }

    /// The variable that holds its key, where it wants one.
    #[must_use]
    pub const fn key_name(self) -> Option<&'static str> {
        self.key_and_address().0
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Exa => "Exa",
            Self::Tavily => "Tavily",
            Self::Brave => "Brave Search",
            Self::SearXng => "SearXNG",
        }
    }
}

/// What an administrator sets of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Its key, for agents that have none of their own.
    pub key: Option<Secret>,
    /// Where it is reached, in place of its maker's address.
    pub base_url: Option<String>,
}

/// What an administrator sets of searches in the web.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebSearchSettings {
    /// Exa.
    pub exa: ServiceSettings,
    /// Tavily.
    pub tavily: ServiceSettings,
    /// Brave Search.
    pub brave: ServiceSettings,
    /// The address of a SearXNG instance.
    pub searxng_url: Option<String>,
}

impl WebSearchSettings {
    fn key(&self, service: SearchService) -> Option<&Secret> {
        match service {
            SearchService::Exa => self.exa.key.as_ref(),
            SearchService::Tavily => self.tavily.key.as_ref(),
            SearchService::Brave => self.brave.key.as_ref(),
            SearchService::SearXng => None,
        }
    }

    fn address(&self, service: SearchService) -> &str {
        let set = match service {
            SearchService::Exa => self.exa.base_url.as_deref(),
            SearchService::Tavily => self.tavily.base_url.as_deref(),
            SearchService::Brave => self.brave.base_url.as_deref(),
            SearchService::SearXng => self.searxng_url.as_deref(),
        };
        let address = set.unwrap_or(service.key_and_address().1);
        address.trim_end_matches('/')
    }
}

/// Why there are no results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// No service can be asked.
    #[error(
        "no search service is configured: set EXA_API_KEY, TAVILY_API_KEY or BRAVE_API_KEY as a secret of the \
         agent or in the server's environment, or searxng_url in the server's settings"
    )]
    NotConfigured,
    /// The service refuses the key.
    #[error("{service} refuses the key (status {status}); check {key}")]
    Key {
        /// The service.
        service: &'static str,
        /// The HTTP status.
        status: u16,
        /// The variable that holds the key.
        key: &'static str,
    },
    /// The service wants to be asked less often.
    #[error("{service} limits how often it is asked, or its credit is used up; try again later")]
    Limit {
        /// The service.
        service: &'static str,
    },
    /// The service refuses the search.
    #[error("{service} answers with status {status}: {message}")]
    Refused {
        /// The service.
        service: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The service can't be reached, or does not answer in time.
    #[error("{service} can't be reached ({reason}); try again later")]
    Unreachable {
        /// The service.
        service: &'static str,
        /// Why.
        reason: String,
    },
    /// Its answer is none.
    #[error(
        "the answer of {service} can't be read ({reason}); check the address that is set for it"
    )]
    Unreadable {
        /// The service.
        service: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A page that was found.
#[derive(Debug, Clone, Default, PartialEq)]
struct Hit {
    title: String,
    url: String,
    published: Option<String>,
    author: Option<String>,
    snippet: Option<String>,
    text: Option<String>,
}

/// Searches the web; cheap to clone.
#[derive(Debug, Clone)]
pub struct WebSearcher {
    settings: WebSearchSettings,
    http: Option<Client>,
}

impl WebSearcher {
    /// A searcher with these keys and addresses.
    #[must_use]
    pub fn new(settings: WebSearchSettings) -> Self {
        Self {
            settings,
            http: connect::builder(Duration::from_secs(5)).build().ok(),
        }
    }

    /// The names of the secrets by which an agent brings keys of its own.
    pub fn key_names() -> impl Iterator<Item = &'static str> {
        SearchService::ALL
            .into_iter()
            .filter_map(SearchService::key_name)
    }

    /// Searches, with a key of the agent's own if it has one, else with the server's. Returns JSON:
    /// the query, the results, and which restrictions the service does not know.
    ///
    /// # Errors
    /// No service is configured, or it does not answer as it should.
    pub async fn search(
        &self,
        search: &WebSearch,
        own_keys: &[(String, Secret)],
    ) -> Result<String, SearchError> {
        let (service, key) = self.choose(own_keys)?;
        let address = self.settings.address(service);
        let unreachable = |reason: String| SearchError::Unreachable {
            service: service.name(),
            reason,
        };
        let http = self
            .http
            .as_ref()
            .ok_or_else(|| unreachable("no HTTP client".to_owned()))?;
        let key = key.map_or("", Secret::expose);
        let request = match service {
            SearchService::Exa => exa::request(http, (address, key), search),
            SearchService::Tavily => tavily::request(http, (address, key), search),
            SearchService::Brave => brave::request(http, (address, key), search),
            SearchService::SearXng => searxng::request(http, address, search),
        };
        let asked = tokio::time::timeout(PATIENCE, ask(service, request));
        let late = || unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let answer = asked.await.map_err(|_| late())??;
        let (hits, ignored) = match service {
            SearchService::Exa => (exa::hits(&answer), Vec::new()),
            SearchService::Tavily => (tavily::hits(&answer), tavily::ignored(search)),
            SearchService::Brave => (brave::hits(&answer), brave::ignored(search)),
            SearchService::SearXng => (searxng::hits(&answer), searxng::ignored(search)),
        };
        let mut hits = hits.ok_or_else(|| SearchError::Unreadable {
            service: service.name(),
            reason: "it holds no list of results".to_owned(),
        })?;
        if matches!(service, SearchService::Brave | SearchService::SearXng) {
            hits.retain(|hit| is_of_sites(search, hit));
        }
        Ok(shown(search, hits, &ignored))
    }

    /// The first service that an agent has a key for, else the first that the server is configured for.
    fn choose<'a>(
        &'a self,
        own_keys: &'a [(String, Secret)],
    ) -> Result<(SearchService, Option<&'a Secret>), SearchError> {
        let is_set = |key: &&Secret| !key.expose().trim().is_empty();
        let own = |service: SearchService| {
            let named = own_keys
                .iter()
                .find(|(name, _)| Some(name.as_str()) == service.key_name());
            named.map(|(_, key)| key).filter(is_set)
        };
        let servers = |service| self.settings.key(service).filter(is_set);
        let of_agent = SearchService::ALL
            .into_iter()
            .find_map(|service| Some((service, own(service)?)));
        let of_server = || {
            SearchService::ALL
                .into_iter()
                .find_map(|service| Some((service, servers(service)?)))
        };
        if let Some((service, key)) = of_agent.or_else(of_server) {
            return Ok((service, Some(key)));
        }
        if self.settings.address(SearchService::SearXng).is_empty() {
            return Err(SearchError::NotConfigured);
        }
        Ok((SearchService::SearXng, None))
    }
}

async fn ask(service: SearchService, request: RequestBuilder) -> Result<Value, SearchError> {
    let name = service.name();
    let unreachable = |error: reqwest::Error| SearchError::Unreachable {
        service: name,
        // The address may hold what was searched for, and an administrator's own names.
        reason: root_cause(&error.without_url()),
    };
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = bounded(service, response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| SearchError::Unreadable {
            service: name,
            reason: error.to_string(),
        });
    }
    let status = status.as_u16();
    Err(match (status, service.key_name()) {
        (401 | 403, Some(key)) => SearchError::Key {
            service: name,
            status,
            key,
        },
        (402 | 429 | 432 | 433, _) => SearchError::Limit { service: name },
        (403, None) => SearchError::Refused {
            service: name,
            status,
            message: "it gives no JSON; add json to search.formats in its settings.yml".to_owned(),
        },
        _ => SearchError::Refused {
            service: name,
            status,
            message: words(&body),
        },
    })
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn bounded(service: SearchService, mut response: Response) -> Result<Vec<u8>, SearchError> {
    let unreadable = |reason: String| SearchError::Unreadable {
        service: service.name(),
        reason,
    };
    let mut bytes = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unreadable(error.without_url().to_string()))?
    {
        if bytes.len() + piece.len() > MAX_ANSWER {
            return Err(unreadable(format!("it is larger than {MAX_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// A service's words about an error, shortened.
fn words(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let named = json.as_ref().and_then(|json| {
        [
            "/error/detail",
            "/error/message",
            "/detail/error",
            "/error",
            "/detail",
            "/message",
        ]
        .iter()
        .find_map(|path| json.pointer(path)?.as_str())
    });
    let text = named.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    cut(text.trim(), 300)
}

fn shown(search: &WebSearch, hits: Vec<Hit>, ignored: &[&str]) -> String {
    let most = usize::try_from(search.num_results).unwrap_or(usize::MAX);
    let results: Vec<Value> = hits.into_iter().take(most).map(Hit::into_json).collect();
    let mut answer = json!({"query": search.query, "results": results});
    if !ignored.is_empty()
        && let Some(fields) = answer.as_object_mut()
    {
        fields.insert("not_applied".to_owned(), json!(ignored));
    }
    answer.to_string()
}

impl Hit {
    fn into_json(self) -> Value {
        let mut fields = Map::new();
        fields.insert("title".to_owned(), self.title.into());
        fields.insert("url".to_owned(), self.url.into());
        let more = [
            ("published_date", self.published),
            ("author", self.author),
            ("snippet", self.snippet.map(|text| cut(&text, MAX_SNIPPET))),
            ("text", self.text.map(|text| cut(&text, MAX_TEXT))),
        ];
        for (name, value) in more {
            if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
                fields.insert(name.to_owned(), value.into());
            }
        }
        Value::Object(fields)
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The texts of a list, in one.
fn joined(value: &Value, key: &str) -> Option<String> {
    let texts = value.get(key)?.as_array()?.iter().filter_map(Value::as_str);
    Some(texts.collect::<Vec<_>>().join(" … "))
}

/// A day in UTC.
fn day(time: Timestamp) -> String {
    time.to_iso().chars().take(10).collect()
}

/// A query with its sites as operators, which most search engines know.
fn with_sites(search: &WebSearch) -> String {
    let sites = |domains: &[String], sign: &str, between: &str| {
        let terms: Vec<String> = domains
            .iter()
            .map(|domain| format!("{sign}site:{domain}"))
            .collect();
        terms.join(between)
    };
    let mut query = search.query.clone();
    let wanted = sites(&search.include_domains, "", " OR ");
    let unwanted = sites(&search.exclude_domains, "-", " ");
    if search.include_domains.len() > 1 {
        query = format!("{query} ({wanted})");
    } else if !wanted.is_empty() {
        query = format!("{query} {wanted}");
    }
    if !unwanted.is_empty() {
        query = format!("{query} {unwanted}");
    }
    query
}

/// Whether a page is of the sites that are wanted, for services to which that is only an operator.
fn is_of_sites(search: &WebSearch, hit: &Hit) -> bool {
    let url = Url::parse(&hit.url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let is_of = |domain: &String| {
        let rest = host.strip_suffix(domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    (search.include_domains.is_empty() || search.include_domains.iter().any(is_of))
        && !search.exclude_domains.iter().any(is_of)
}
