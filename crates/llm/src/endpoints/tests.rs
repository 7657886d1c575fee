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
            endpoint.call_url("m", false).as_str(),
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
        assert_eq!(endpoint.call_url("m", false).as_str(), called, "{url}");
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
    assert_eq!(
        responses.call_url("m", false).as_str(),
        "http://h/v1/responses"
    );
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
