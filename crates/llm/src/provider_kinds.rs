//! The kinds of providers that clients add by name: where each is, and what it speaks. Addresses after
//! the providers' own documentation, as of November 2026.

use crate::{
    endpoints::{Endpoint, EndpointConfig, EndpointError, Origin, Protocol, Quirks},
    servers::ModelServer,
};

/// Where providers of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// There.
    At(&'static str),
    /// In the region that stands for `{region}`.
    InRegion(&'static str),
    /// Wherever its owner runs it, which looks like this.
    Anywhere(&'static str),
}

/// A kind of provider.
#[derive(Debug, Clone, Copy)]
pub struct ProviderKind {
    /// The V1 API's word for it.
    pub name: &'static str,
    /// The variable of the environment that holds its key, where it has a usual one.
    pub key_variable: Option<&'static str>,
    place: Place,
    protocol: Protocol,
    quirks: Quirks,
}

/// What is known of a provider besides its kind.
#[derive(Debug, Clone, Default)]
pub struct ProviderAccess {
    /// Its name, with which handles begin.
    pub name: String,
    /// Its key.
    pub api_key: String,
    /// Its address, where that is not the usual one.
    pub base_url: Option<String>,
    /// Its region.
    pub region: Option<String>,
}

/// Why there is no such provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderKindError {
    /// Nothing here speaks its protocol.
    #[error("providers of the type '{kind}' can't be added to this server: {reason}")]
    NotSpoken {
        /// The type.
        kind: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// There is no such type.
    #[error("there is no provider type '{kind}'; there are: {known}")]
    Unknown {
        /// What was given.
        kind: String,
        /// All that there are.
        known: String,
    },
    /// Its address is missing.
    #[error("a provider of the type '{kind}' needs a base_url, such as {example}")]
    NoAddress {
        /// The type.
        kind: String,
        /// What it looks like.
        example: &'static str,
    },
    /// Its region is missing.
    #[error("a provider of the type '{kind}' needs a region, such as us-east-1, or a base_url")]
    NoRegion {
        /// The type.
        kind: String,
    },
    /// What was given makes no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

const PLAIN: Quirks = Quirks {
    no_stream_options: false,
    max_completion_tokens: false,
    echo_reasoning: false,
    no_model_list: false,
    no_responses: false,
};

const fn chat(name: &'static str, url: &'static str, key: Option<&'static str>) -> ProviderKind {
    ProviderKind {
        name,
        key_variable: key,
        place: Place::At(url),
        protocol: Protocol::OpenAiChat,
        quirks: PLAIN,
    }
}

const fn server(name: &'static str, example: &'static str, protocol: Protocol) -> ProviderKind {
    ProviderKind {
        place: Place::Anywhere(example),
        protocol,
        ..chat(name, "", None)
    }
}

/// All kinds that we speak.
const KINDS: [ProviderKind; 22] = [
    ProviderKind {
        protocol: Protocol::Anthropic,
        ..chat("anthropic", "https://api.anthropic.com/v1", None)
    },
    ProviderKind {
        // Its names are those of deployments, which its list of models does not have.
        quirks: Quirks {
            max_completion_tokens: true,
            no_model_list: true,
            ..PLAIN
        },
        ..server(
            "azure",
            "https://RESOURCE.openai.azure.com",
            Protocol::OpenAiChat,
        )
    },
    chat(
        "baseten",
        "https://inference.baseten.co/v1",
        Some("BASETEN_API_KEY"),
    ),
    ProviderKind {
        place: Place::InRegion("https://bedrock-mantle.{region}.api.aws/v1"),
        ..chat("bedrock", "", None)
    },
    chat("cerebras", "https://api.cerebras.ai/v1", None),
    ProviderKind {
        // Its models want their thoughts back within a turn's calls of tools.
        quirks: Quirks {
            echo_reasoning: true,
            ..PLAIN
        },
        ..chat(
            "deepseek",
            "https://api.deepseek.com/v1",
            Some("DEEPSEEK_API_KEY"),
        )
    },
    chat("fireworks", "https://api.fireworks.ai/inference/v1", None),
    ProviderKind {
        protocol: Protocol::Gemini,
        ..chat(
            "google_ai",
            "https://generativelanguage.googleapis.com/v1beta",
            Some("GEMINI_API_KEY"),
        )
    },
    chat(
        "groq",
        "https://api.groq.com/openai/v1",
        Some("GROQ_API_KEY"),
    ),
    chat("hugging-face", "https://router.huggingface.co/v1", None),
    server(
        "lmstudio_openai",
        "http://127.0.0.1:1234/v1",
        Protocol::OpenAiChat,
    ),
    chat(
        "minimax",
        "https://api.minimax.io/v1",
        Some("MINIMAX_API_KEY"),
    ),
    chat("mistral", "https://api.mistral.ai/v1", None),
    server("ollama", "http://127.0.0.1:11434", Protocol::Ollama),
    chat("openai", "https://api.openai.com/v1", None),
    chat(
        "openrouter",
        "https://openrouter.ai/api/v1",
        Some("OPENROUTER_API_KEY"),
    ),
    server("sglang", "http://127.0.0.1:30000/v1", Protocol::OpenAiChat),
    chat(
        "together",
        "https://api.together.xyz/v1",
        Some("TOGETHER_API_KEY"),
    ),
    server("vllm", "http://127.0.0.1:8000/v1", Protocol::OpenAiChat),
    chat("xai", "https://api.x.ai/v1", Some("XAI_API_KEY")),
    chat("zai", "https://api.z.ai/api/paas/v4", Some("ZAI_API_KEY")),
    chat("zai_coding", "https://api.z.ai/api/coding/paas/v4", None),
];

/// Kinds of the V1 API that we do not speak, and why.
const NOT_SPOKEN: [(&str, &str); 3] = [
    (
        "chatgpt_oauth",
        "it needs a login in a browser; use an API key with the type 'openai'",
    ),
    (
        "google_vertex",
        "it needs a service account's tokens, which end after an hour; use an API key with the type \
         'google_ai'",
    ),
    (
        "letta",
        "that service is gone; use a provider of another type",
    ),
];

impl ProviderKind {
    /// All kinds that we speak.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        KINDS.iter()
    }

    /// The kind of that name.
    ///
    /// # Errors
    /// There is none, or none that we speak.
    pub fn named(name: &str) -> Result<&'static Self, ProviderKindError> {
        if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
            return Ok(kind);
        }
        let kind: String = name.chars().take(100).collect();
        if let Some((_, reason)) = NOT_SPOKEN.iter().find(|(other, _)| *other == name) {
            return Err(ProviderKindError::NotSpoken { kind, reason });
        }
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        Err(ProviderKindError::Unknown {
            kind,
            known: known.join(", "),
        })
    }

    /// The configuration of a provider of this kind.
    ///
    /// # Errors
    /// Its address or region is missing, or something that was given can't be used.
    pub fn config(
        &self,
        access: &ProviderAccess,
        origin: Origin,
    ) -> Result<EndpointConfig, ProviderKindError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let kind = || self.name.to_owned();
        let base_url = match (given(&access.base_url), self.place) {
            (Some(url), _) => url,
            (None, Place::At(url)) => url.to_owned(),
            (None, Place::InRegion(url)) => {
                let region = given(&access.region);
                let region = region.filter(|region| is_region(region));
                let region = region.ok_or_else(|| ProviderKindError::NoRegion { kind: kind() })?;
                url.replace("{region}", &region)
            }
            (None, Place::Anywhere(example)) => {
                return Err(ProviderKindError::NoAddress {
                    kind: kind(),
                    example,
                });
            }
        };
        let mut config = EndpointConfig::new(access.name.as_str(), base_url);
        if let Some(server) = ModelServer::of_provider_type(self.name) {
            config = server.config(&access.name, &config.base_url, origin);
        }
        config.provider_type = kind();
        config.protocol = self.protocol;
        config.quirks = self.quirks;
        config.origin = origin;
        if self.name == "azure" {
            config.base_url = azure(&config.base_url);
        }
        if !access.api_key.trim().is_empty() {
            config = config.with_key(access.api_key.as_str());
        }
        Endpoint::new(config.clone())?;
        Ok(config)
    }
}

/// Whether a text can stand in a host's name.
fn is_region(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The part of Azure's address that its resources have in common is usually left out.
fn azure(url: &str) -> String {
    let plain = url.trim().trim_end_matches('/');
    if plain.contains("/openai") {
        plain.to_owned()
    } else {
        format!("{plain}/openai/v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(kind: &str, access: ProviderAccess) -> Result<EndpointConfig, ProviderKindError> {
        let access = ProviderAccess {
            name: "mine".to_owned(),
            api_key: "sk-1".to_owned(),
            ..access
        };
        ProviderKind::named(kind)?.config(&access, Origin::Added)
    }

    fn at(url: &str) -> ProviderAccess {
        ProviderAccess {
            base_url: Some(url.to_owned()),
            ..ProviderAccess::default()
        }
    }

    #[test]
    fn each_kind_makes_an_endpoint_by_its_key_and_what_else_it_needs() {
        let access = ProviderAccess {
            region: Some("us-east-1".to_owned()),
            ..ProviderAccess::default()
        };
        for kind in ProviderKind::all() {
            match (kind.place, config(kind.name, access.clone())) {
                (Place::Anywhere(example), refused) => {
                    assert!(matches!(refused, Err(ProviderKindError::NoAddress { .. })));
                    assert!(config(kind.name, at(example)).is_ok(), "{}", kind.name);
                }
                (_, made) => {
                    let made = made.unwrap();
                    assert_eq!(made.provider_type, kind.name);
                    assert!(made.base_url.starts_with("https://"), "{}", made.base_url);
                    assert_eq!(made.origin, Origin::Added);
                }
            }
        }
    }

    #[test]
    fn regions_and_resources_become_addresses() {
        let region = |text: &str| ProviderAccess {
            region: Some(text.to_owned()),
            ..ProviderAccess::default()
        };
        let url = |made: Result<EndpointConfig, ProviderKindError>| made.unwrap().base_url;
        assert_eq!(
            url(config("bedrock", region("eu-west-1"))),
            "https://bedrock-mantle.eu-west-1.api.aws/v1"
        );
        for bad in ["", "evil.example/#"] {
            let refused = config("bedrock", region(bad));
            assert!(
                matches!(refused, Err(ProviderKindError::NoRegion { .. })),
                "{bad}"
            );
        }
        for (given, wanted) in [
            (
                "https://a.openai.azure.com/",
                "https://a.openai.azure.com/openai/v1",
            ),
            (
                "https://a.openai.azure.com/openai/v1",
                "https://a.openai.azure.com/openai/v1",
            ),
        ] {
            assert_eq!(url(config("azure", at(given))), wanted);
        }
    }

    #[test]
    fn what_is_not_spoken_says_what_to_do() {
        let refused = config("google_vertex", ProviderAccess::default()).unwrap_err();
        assert!(refused.to_string().contains("google_ai"), "{refused}");
        let unknown = config("nobody", ProviderAccess::default()).unwrap_err();
        assert!(unknown.to_string().contains("openrouter"), "{unknown}");
        assert!(config("openai", at("ftp://host")).is_err());
    }
}
