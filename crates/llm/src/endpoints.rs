//! Endpoints: where models are served, and how a server differs from the protocol it speaks.

use std::{collections::BTreeMap, fmt, sync::Arc};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::{
    abilities::{Ability, KnownAbilities},
    adaptation::{Adaptations, Parameter},
    in_process::{self, InProcess},
    transcript::Style,
};

mod address;

use address::{base_of, below};

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
    /// Ollama's own chat API, in which the size of the context is the caller's.
    Ollama,
    /// Gemini's.
    Gemini,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 5] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::Ollama,
        Self::Gemini,
    ];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
            Self::Gemini => "gemini",
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
            Self::Ollama => "api/chat",
            // Below it, the model and what is wanted of it.
            Self::Gemini => "models",
        }
    }

    /// The route of its list of models.
    const fn models_route(self) -> &'static str {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses | Self::Anthropic | Self::Gemini => "models",
            Self::Ollama => "api/tags",
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

/// How models are given tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolForm {
    /// As the protocol does, unless the server says that the model can't, or it refuses.
    #[default]
    Auto,
    /// As the protocol does, whatever the server says.
    Native,
    /// By a JSON schema of the answer: a tool's call, or text.
    Schema,
}

impl ToolForm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Native, Self::Schema];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Schema => "schema",
        }
    }
}

/// How an endpoint came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// Somebody configured it.
    #[default]
    Configured,
    /// An environment variable of a model server's own name says where that is.
    Environment,
    /// It was found running.
    Found,
    /// An organization added it by the API: its address is not to be trusted.
    Added,
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
    /// How its models are given tools.
    pub tools: ToolForm,
    /// How it came to be known.
    pub origin: Origin,
    /// What runs its models, where that is this process; its URL is none then.
    pub in_process: Option<InProcess>,
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
            tools: ToolForm::default(),
            origin: Origin::default(),
            in_process: None,
        }
    }

    /// The endpoint of the models in this process.
    #[must_use]
    pub fn in_process(models: InProcess) -> Self {
        Self {
            provider_type: in_process::PROVIDER.into(),
            origin: Origin::Found,
            in_process: Some(models),
            ..Self::new(in_process::PROVIDER, in_process::URL)
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
    abilities: KnownAbilities,
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
        let calls = below(&base, config.protocol.route());
        let mut models = below(&base, config.protocol.models_route());
        // Lists that come in pages; these are the longest.
        match config.protocol {
            Protocol::Anthropic => models.set_query(Some("limit=1000")),
            Protocol::Gemini => models.set_query(Some("pageSize=1000")),
            _ => {}
        }
        let mut endpoint = Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            calls,
            models,
            headers: headers_of(&config)?,
            signer: signs(config.protocol).then(|| config.name.as_str().into()),
            config,
            adaptations: Adaptations::default(),
            abilities: KnownAbilities::default(),
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
            Protocol::Ollama => "ollama",
            Protocol::Gemini => "google_ai",
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

    /// What is known of what its models can do.
    pub(crate) const fn abilities(&self) -> &KnownAbilities {
        &self.abilities
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

    /// Where a call of a model goes to.
    pub(crate) fn call_url(&self, model: &str, streamed: bool) -> Url {
        if self.config.protocol != Protocol::Gemini {
            return self.calls.clone();
        }
        if streamed {
            let mut url = self.model_url(model, "streamGenerateContent");
            url.set_query(Some("alt=sse"));
            return url;
        }
        self.model_url(model, "generateContent")
    }

    /// Where something is wanted of a model, as Gemini has it.
    pub(crate) fn model_url(&self, model: &str, wanted: &str) -> Url {
        let mut url = self.calls.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&format!("{model}:{wanted}"));
        }
        url
    }

    pub(crate) const fn models_url(&self) -> &Url {
        &self.models
    }

    /// A route that stands beside `/v1`, as model servers have for what is their own.
    pub(crate) fn beside_v1(&self, path: &str) -> Url {
        let mut base = self.calls.clone();
        let route = base.path().strip_suffix(self.config.protocol.route());
        let root = route.unwrap_or_default().trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).to_owned();
        base.set_path(&root);
        base.set_query(None);
        below(&base, path)
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
        let can_not = |ability| self.abilities.of(model, ability) == Some(false);
        let known = match parameter {
            Parameter::Tools => match self.config.tools {
                ToolForm::Native => return true,
                ToolForm::Schema => true,
                ToolForm::Auto => can_not(Ability::Tools),
            },
            Parameter::Images => can_not(Ability::Vision),
            Parameter::Thinking => can_not(Ability::Thinking),
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

/// Whether a protocol's providers sign the reasoning that they want back.
const fn signs(protocol: Protocol) -> bool {
    match protocol {
        Protocol::OpenAiResponses | Protocol::Anthropic | Protocol::Gemini => true,
        Protocol::OpenAiChat | Protocol::Ollama => false,
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
        let (name, value) = match config.protocol {
            Protocol::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            Protocol::Gemini => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
            _ => (AUTHORIZATION, format!("Bearer {key}")),
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
mod tests;
