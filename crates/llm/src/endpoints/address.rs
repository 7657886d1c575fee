//! The base URLs of endpoints, as people write them.

use url::Url;

use super::{EndpointConfig, EndpointError, Protocol};

/// A URL further down.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

pub(super) fn base_of(config: &EndpointConfig) -> Result<Url, EndpointError> {
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
    if config.in_process.is_some() {
        return Ok(url);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it begins with neither http:// nor https://".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "it has a user name or password in it; use the API key".into(),
        ));
    }
    url.set_fragment(None);
    if config.protocol == Protocol::Ollama {
        // Given as for chat completions, or as its own clients take it: its API stands beside `/v1`.
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").or(path.strip_suffix("/api"));
        let path = path.unwrap_or(url.path()).to_owned();
        url.set_path(&path);
        return Ok(url);
    }
    if config.protocol == Protocol::Gemini {
        if url.path() == "/" {
            url.set_path("/v1beta");
        }
        return Ok(url);
    }
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
