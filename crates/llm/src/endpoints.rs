//! Endpoints: where models are served, and how a server differs from the protocol it speaks.

use std::{collections::BTreeMap, fmt, sync::Arc};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::{
    adaptation::{Adaptations, Parameter},
    transcript::Style,
};

/// The version of the messages API that we speak.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// A wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// OpenAI's chat completions.
    #[default]
    OpenAiChat,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
        }
    }

    /// The protocol of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
    }

    /// The route of calls.
    const fn route(self) -> &'static str {
        match self {
            Self::OpenAiChat => "chat/completions",
            Self::OpenAiResponses => "responses",
            Self::Anthropic => "messages",
        }
    }
}

/// A text that no log, error or debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a server differs from its protocol, as far as that is known beforehand. More is learned from
/// its refusals at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// It refuses `stream_options`; streams then carry no usage unless it sends some on its own.
    pub no_stream_options: bool,
    /// It wants `max_completion_tokens` in place of `max_tokens`.
    pub max_completion_tokens: bool,
    /// It wants a message's `reasoning_content` back with the message (some reasoning models do
    /// within tool loops).
    pub echo_reasoning: bool,
    /// It has no `GET /models`, or one that says nothing true: any model name is taken as it is.
    pub no_model_list: bool,
    /// OpenAI's own reasoning models are called over chat completions like all others, rather than
    /// over responses, where their reasoning is carried on from step to step.
    pub no_responses: bool,
}

/// An endpoint as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The provider's name, the part of a handle before the slash.
    pub name: String,
    /// The V1 API's word for the kind of provider, such as `openai` or `ollama`.
    pub provider_type: String,
    /// The base URL, usually ending in `/v1`.
    pub base_url: String,
    /// The API key.
    pub api_key: Option<Secret>,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// Models to publish: when there are any, only these.
    pub models: Vec<String>,
    /// The context window of all its models, where the server does not say or says it wrong.
    pub context_window: Option<i64>,
    /// Context windows of single models, before everything else.
    pub context_windows: BTreeMap<String, i64>,
    /// Known differences.
    pub quirks: Quirks,
}

impl EndpointConfig {
    /// An OpenAI-compatible endpoint of that name and base URL.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            provider_type: "openai".into(),
            base_url: base_url.into(),
            api_key: None,
            protocol: Protocol::OpenAiChat,
            headers: Vec::new(),
            models: Vec::new(),
            context_window: None,
            context_windows: BTreeMap::new(),
            quirks: Quirks::default(),
        }
    }

    /// With an API key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(Secret::new(key));
        self
    }
}

/// Why a configuration makes no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The name can't be part of a handle.
    #[error(
        "the provider name {0:?} can't be used in handles like `name/model`: give it a name of \
         letters, digits, `-`, `_` and `.`"
    )]
    Name(String),
    /// The base URL is none.
    #[error(
        "the base URL {url:?} of provider `{name}` is not usable ({reason}); it should look like \
         http://127.0.0.1:8080/v1"
    )]
    BaseUrl {
        /// The provider.
        name: String,
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header or the key has characters that HTTP forbids.
    #[error(
        "the {what} of provider `{name}` has characters that can't be sent over HTTP, such as \
         line breaks or letters outside ASCII: check how it was pasted"
    )]
    Header {
        /// The provider.
        name: String,
        /// Which header.
        what: String,
    },
}

/// An endpoint, ready to be called.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    base: String,
    calls: Url,
    models: Url,
    headers: HeaderMap,
    signer: Option<Arc<str>>,
    adaptations: Adaptations,
    /// OpenAI's reasoning models, which another protocol serves better.
    reasoners: Option<Arc<Endpoint>>,
}

impl Endpoint {
    /// Checks a configuration and prepares what all calls share.
    ///
    /// # Errors
    /// When the name, base URL, key or a header can't be used.
    pub fn new(config: EndpointConfig) -> Result<Self, EndpointError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if config.name.is_empty() || !config.name.chars().all(fits) {
            return Err(EndpointError::Name(config.name));
        }
        let base = base_of(&config)?;
        let route = |path: &str| {
            let mut url = base.clone();
            let joined = format!("{}/{path}", base.path().trim_end_matches('/'));
            url.set_path(&joined);
            url
        };
        let (calls, mut models) = (route(config.protocol.route()), route("models"));
        if config.protocol == Protocol::Anthropic {
            // Its lists come in pages; this is the longest.
            models.set_query(Some("limit=1000"));
        }
        let mut endpoint = Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            calls,
            models,
            headers: headers_of(&config)?,
            signer: (config.protocol != Protocol::OpenAiChat).then(|| config.name.as_str().into()),
            config,
            adaptations: Adaptations::default(),
            reasoners: None,
        };
        if endpoint.protocol() == Protocol::OpenAiChat
            && endpoint.is_openai()
            && !endpoint.config.quirks.no_responses
        {
            let config = EndpointConfig {
                protocol: Protocol::OpenAiResponses,
                ..endpoint.config.clone()
            };
            endpoint.reasoners = Some(Arc::new(Self::new(config)?));
        }
        Ok(endpoint)
    }

    /// The endpoint that serves a model of this one: the same server, but OpenAI's reasoning models
    /// are called over responses.
    pub(crate) fn serving(self: &Arc<Self>, model: &str) -> Arc<Self> {
        match &self.reasoners {
            Some(reasoners) if is_openai_reasoner(model) => reasoners.clone(),
            _ => self.clone(),
        }
    }

    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The V1 API's word for the kind of provider.
    #[must_use]
    pub fn provider_type(&self) -> &str {
        &self.config.provider_type
    }

    /// The V1 API's word for the protocol it speaks.
    #[must_use]
    pub const fn endpoint_type(&self) -> &'static str {
        match self.config.protocol {
            Protocol::OpenAiChat | Protocol::OpenAiResponses => "openai",
            Protocol::Anthropic => "anthropic",
        }
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// The protocol it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.config.protocol
    }

    /// The configuration it was made from.
    #[must_use]
    pub const fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// The first part of its language models' handles. The V1 contract (section 14) publishes those
    /// of the provider `openai` as `openai-proxy/...` when its base URL is not OpenAI's.
    #[must_use]
    pub fn handle_prefix(&self) -> &str {
        if self.config.name == "openai" && !self.is_openai() {
            "openai-proxy"
        } else {
            self.name()
        }
    }

    /// Whether it is OpenAI itself.
    pub(crate) fn is_openai(&self) -> bool {
        self.calls
            .host_str()
            .is_some_and(|host| host == "api.openai.com" || host.ends_with(".api.openai.com"))
    }

    pub(crate) const fn call_url(&self) -> &Url {
        &self.calls
    }

    pub(crate) const fn models_url(&self) -> &Url {
        &self.models
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn style(&self) -> Style {
        Style {
            protocol: self.config.protocol,
            echo_reasoning: self.config.quirks.echo_reasoning,
            signer: self.signer.clone(),
        }
    }

    /// Whether a model of it takes a parameter, as far as is known.
    pub(crate) fn accepts(&self, model: &str, parameter: Parameter) -> bool {
        let quirks = &self.config.quirks;
        let known = match parameter {
            Parameter::StreamOptions => quirks.no_stream_options,
            // OpenAI's own models all take the newer name; its reasoning models only that.
            Parameter::MaxTokens => quirks.max_completion_tokens || self.is_openai(),
            _ => false,
        };
        !known && !self.adaptations.refuses(model, parameter)
    }

    /// Learns from a refusal; whether asking again without the parameter may help.
    pub(crate) fn learn(&self, model: &str, refusal: &str) -> bool {
        let Some(parameter) = Parameter::refused_by(refusal) else {
            return false;
        };
        let new = self.accepts(model, parameter) && self.adaptations.learn(model, parameter);
        if new {
            tracing::info!(
                provider = self.name(),
                model,
                ?parameter,
                "the model refuses a parameter; requests go without it from now on"
            );
        }
        new
    }

    /// A provider's text without our key in it.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self.config.api_key.as_ref().map(|key| key.expose().trim()) {
            Some(key) if key.len() >= 4 => text.replace(key, "***"),
            _ => text.to_owned(),
        }
    }
}

/// Whether a model of OpenAI's reasons before it answers: the o series, and the fifth generation but
/// for its chat models.
pub(crate) fn is_openai_reasoner(model: &str) -> bool {
    let mut letters = model.chars();
    let o_series =
        letters.next() == Some('o') && letters.next().is_some_and(|c| c.is_ascii_digit());
    (o_series && !model.starts_with("o1-mini") && !model.starts_with("o1-preview"))
        || (model.starts_with("gpt-5") && !model.contains("chat"))
}

fn base_of(config: &EndpointConfig) -> Result<Url, EndpointError> {
    let refuse = |reason: String| EndpointError::BaseUrl {
        name: config.name.clone(),
        url: without_credentials(&config.base_url),
        reason,
    };
    let text = config.base_url.trim().trim_end_matches('/');
    let route = config.protocol.route();
    let text = text.strip_suffix(route).unwrap_or(text);
    let text = text.trim_end_matches('/');
    let mut url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it begins with neither http:// nor https://".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "it has a user name or password in it; use the API key".into(),
        ));
    }
    url.set_fragment(None);
    // Ollama, vLLM and others are usually named by host and port alone; all serve under /v1.
    if url.path() == "/" {
        url.set_path("/v1");
    }
    // Anthropic's base URLs are usually given without the version, which its own clients append.
    if config.protocol == Protocol::Anthropic && !url.path().ends_with("/v1") {
        let versioned = format!("{}/v1", url.path().trim_end_matches('/'));
        url.set_path(&versioned);
    }
    Ok(url)
}

/// A URL for error messages.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (before, after) = (url.get(..scheme + 3), url.get(at..));
            format!(
                "{}***{}",
                before.unwrap_or_default(),
                after.unwrap_or_default()
            )
        }
        _ => url.to_owned(),
    }
}

fn headers_of(config: &EndpointConfig) -> Result<HeaderMap, EndpointError> {
    let refuse = |what: &str| EndpointError::Header {
        name: config.name.clone(),
        what: what.into(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let anthropic = config.protocol == Protocol::Anthropic;
    if anthropic {
        headers.insert(
            "anthropic-version",
            HeaderValue::from_static(ANTHROPIC_VERSION),
        );
    }
    if let Some(key) = &config.api_key {
        let key = key.expose().trim();
        let (name, value) = if anthropic {
            (HeaderName::from_static("x-api-key"), key.to_owned())
        } else {
            (AUTHORIZATION, format!("Bearer {key}"))
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| refuse("API key"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    for (name, value) in &config.headers {
        let what = format!("header {name:?}");
        let name = HeaderName::try_from(name.as_str()).map_err(|_| refuse(&what))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| refuse(&what))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(EndpointConfig::new(name, url).with_key("sk-secret-key"))
    }

    #[test]
    fn base_urls_come_in_many_forms() {
        let table = [
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
            ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
            (" https://api.openai.com/v1 ", "https://api.openai.com/v1"),
            (
                "https://openrouter.ai/api/v1",
                "https://openrouter.ai/api/v1",
            ),
            ("http://h/v1/chat/completions", "http://h/v1"),
        ];
        for (given, base) in table {
            let endpoint = endpoint("p", given).unwrap();
            assert_eq!(endpoint.base_url(), base);
            assert_eq!(
                endpoint.call_url().as_str(),
                format!("{base}/chat/completions")
            );
            assert_eq!(endpoint.models_url().as_str(), format!("{base}/models"));
        }
    }

    #[test]
    fn what_can_not_be_called_is_refused_with_a_reason() {
        for url in ["", "localhost:8080", "ftp://h/v1", "/v1"] {
            let error = endpoint("p", url).unwrap_err().to_string();
            assert!(error.contains("provider `p`"), "{error}");
        }
        let error = endpoint("p", "http://user:hunter2@h/v1")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(matches!(
            endpoint("a/b", "http://h"),
            Err(EndpointError::Name(_))
        ));
        let key = EndpointConfig::new("p", "http://h").with_key("sk-\n");
        assert!(
            Endpoint::new(key).is_ok(),
            "white space round a key is a paste error"
        );
        let key = EndpointConfig::new("p", "http://h").with_key("sk-a\nb");
        assert!(matches!(
            Endpoint::new(key),
            Err(EndpointError::Header { .. })
        ));
    }

    #[test]
    fn the_key_is_in_no_debug_print_and_no_redacted_text() {
        let endpoint = endpoint("p", "http://h").unwrap();
        assert!(!format!("{endpoint:?}").contains("sk-secret-key"));
        assert_eq!(endpoint.redact("bad key sk-secret-key!"), "bad key ***!");
    }

    #[test]
    fn handles_of_a_proxied_openai_say_so() {
        let prefix = |name, url| endpoint(name, url).unwrap().handle_prefix().to_owned();
        assert_eq!(prefix("openai", "https://api.openai.com/v1"), "openai");
        assert_eq!(prefix("openai", "https://eu.api.openai.com/v1"), "openai");
        assert_eq!(prefix("openai", "http://127.0.0.1:9/v1"), "openai-proxy");
        assert_eq!(
            prefix("openai", "https://api.openai.com.evil.example/v1"),
            "openai-proxy"
        );
        assert_eq!(prefix("local", "http://127.0.0.1:9/v1"), "local");
    }

    #[test]
    fn each_protocol_has_its_routes_and_its_header_for_the_key() {
        let of = |protocol, url: &str| {
            let config = EndpointConfig {
                protocol,
                ..EndpointConfig::new("p", url).with_key("sk-secret-key")
            };
            Endpoint::new(config).unwrap()
        };
        for (url, called) in [
            (
                "https://api.anthropic.com",
                "https://api.anthropic.com/v1/messages",
            ),
            (
                "https://api.anthropic.com/v1/",
                "https://api.anthropic.com/v1/messages",
            ),
            ("http://h/v1/messages", "http://h/v1/messages"),
            ("https://h/anthropic", "https://h/anthropic/v1/messages"),
        ] {
            let endpoint = of(Protocol::Anthropic, url);
            assert_eq!(endpoint.call_url().as_str(), called, "{url}");
            assert!(
                endpoint
                    .models_url()
                    .as_str()
                    .ends_with("/v1/models?limit=1000")
            );
            assert_eq!(endpoint.headers()["x-api-key"], "sk-secret-key");
            assert_eq!(endpoint.headers()["anthropic-version"], "2023-06-01");
            assert!(!endpoint.headers().contains_key("authorization"));
        }
        let responses = of(Protocol::OpenAiResponses, "http://h/v1/responses");
        assert_eq!(responses.call_url().as_str(), "http://h/v1/responses");
        assert_eq!(responses.headers()["authorization"], "Bearer sk-secret-key");
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::parse(protocol.as_str()), Some(protocol));
        }
        assert_eq!(Protocol::parse("gopher"), None);
    }

    #[test]
    fn openais_reasoning_models_are_called_over_responses_and_nobody_elses() {
        let served = |url: &str, model: &str| {
            Arc::new(endpoint("openai", url).unwrap())
                .serving(model)
                .protocol()
        };
        let openai = "https://api.openai.com/v1";
        for model in ["o3", "o4-mini-2025-04-16", "gpt-5", "gpt-5.2-codex", "o1"] {
            assert_eq!(served(openai, model), Protocol::OpenAiResponses, "{model}");
            assert_eq!(served("http://127.0.0.1:1/v1", model), Protocol::OpenAiChat);
        }
        for model in ["gpt-4o", "gpt-5-chat-latest", "o1-mini", "omni"] {
            assert_eq!(served(openai, model), Protocol::OpenAiChat, "{model}");
        }
        let mut plain = EndpointConfig::new("openai", openai);
        plain.quirks.no_responses = true;
        let plain = Arc::new(Endpoint::new(plain).unwrap());
        assert_eq!(plain.serving("o3").protocol(), Protocol::OpenAiChat);
    }
}
