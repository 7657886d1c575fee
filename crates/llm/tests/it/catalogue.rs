//! The catalogue against servers that list their models, or do not.

use mnemic_llm::{
    Catalogue, Endpoint, EndpointConfig, ModelKind, Quirks, ResolveError, ResolvedModel,
};

use crate::server::{Act, Server, client, error, json};

fn catalogue(configs: impl IntoIterator<Item = EndpointConfig>) -> Catalogue {
    let endpoints = configs
        .into_iter()
        .map(|config| Endpoint::new(config).unwrap());
    Catalogue::new(client(), endpoints.collect())
}

fn models() -> Act {
    json(
        r#"{"data":[{"id":"chat-small","context_length":8192},{"id":"chat-large"},
            {"id":"owner/chat:free","max_model_len":4096},{"id":"text-embedding-3-small"}]}"#,
    )
}

fn handles(listing: &mnemic_llm::Listing) -> Vec<&str> {
    listing
        .models
        .iter()
        .map(|model| model.handle.as_str())
        .collect()
}

fn shown(resolved: &ResolvedModel) -> (&str, &str, i64) {
    (
        resolved.handle.as_str(),
        resolved.model.as_str(),
        resolved.context_window,
    )
}

#[tokio::test]
async fn models_are_listed_once_a_minute_with_their_kinds() {
    let server = Server::start([models()]).await;
    let catalogue = catalogue([server.config("local")]);
    for _ in 0..3 {
        let listing = catalogue.list().await;
        assert_eq!(
            handles(&listing),
            [
                "local/chat-small",
                "local/chat-large",
                "local/owner/chat:free",
                "local/text-embedding-3-small"
            ]
        );
        assert!(listing.unreachable.is_empty());
        let kinds: Vec<_> = listing.models.iter().map(|model| model.kind).collect();
        assert_eq!(kinds[2..], [ModelKind::Llm, ModelKind::Embedding]);
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].head.starts_with("GET /v1/models HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_handle_is_split_at_its_first_slash_and_a_known_model_costs_no_request() {
    let server = Server::start([models()]).await;
    let catalogue = catalogue([server.config("local")]);
    let model = catalogue.resolve("local/owner/chat:free").await.unwrap();
    assert_eq!(
        shown(&model),
        ("local/owner/chat:free", "owner/chat:free", 4096)
    );
    let model = catalogue.resolve("local/chat-small").await.unwrap();
    assert_eq!(shown(&model), ("local/chat-small", "chat-small", 8192));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_unreachable_endpoint_is_named_and_holds_up_nobody() {
    let server = Server::start([models()]).await;
    let hanging = Server::start([Act::Hang]).await;
    let gone = EndpointConfig::new("gone", "http://127.0.0.1:1/v1");
    let catalogue = catalogue([gone, hanging.config("hanging"), server.config("local")]);
    let (listing, resolved) = tokio::join!(catalogue.list(), catalogue.resolve("local/chat-large"));
    assert_eq!(listing.models.len(), 4);
    let unreachable: Vec<_> = listing
        .unreachable
        .iter()
        .map(|away| away.endpoint.name())
        .collect();
    assert_eq!(unreachable, ["gone", "hanging"]);
    assert!(resolved.is_ok());
}

#[tokio::test]
async fn a_handle_is_taken_at_its_word_where_no_list_can_be_read() {
    for act in [
        error(500, "x"),
        error(404, "no such route"),
        json("<html>"),
        error(401, "key"),
    ] {
        let server = Server::start([act.clone()]).await;
        let catalogue = catalogue([server.config("local")]);
        let model = catalogue.resolve("local/gpt-4o-mini").await.unwrap();
        assert_eq!(
            shown(&model),
            ("local/gpt-4o-mini", "gpt-4o-mini", 128_000),
            "{act:?}"
        );
    }
}

#[tokio::test]
async fn what_is_unknown_is_refused_with_what_is_near() {
    let server = Server::start([models()]).await;
    let catalogue = catalogue([server.config("local")]);
    let error = |handle: &'static str| {
        let catalogue = &catalogue;
        async move { catalogue.resolve(handle).await.unwrap_err() }
    };
    let unknown = error("local/chat-smal").await;
    assert!(matches!(unknown, ResolveError::UnknownModel { .. }));
    assert!(
        unknown.to_string().contains("local/chat-small, "),
        "{unknown}"
    );
    assert!(!unknown.to_string().contains("embedding"), "{unknown}");
    let unknown = error("remote/chat-small").await;
    assert!(matches!(unknown, ResolveError::UnknownProvider { .. }));
    assert!(
        unknown.to_string().ends_with("there are: local"),
        "{unknown}"
    );
    for handle in ["chat-small", "/chat-small", "local/", ""] {
        let malformed = error(handle).await;
        assert!(
            matches!(malformed, ResolveError::Malformed { .. }),
            "{handle}"
        );
    }
    assert!(
        error("chat-small")
            .await
            .to_string()
            .contains("local/chat-small")
    );
    assert_eq!(
        server.requests().len(),
        1,
        "a list just read is not read again"
    );
}

#[tokio::test]
async fn without_any_provider_the_error_says_what_to_set() {
    let error = catalogue([]).resolve("openai/gpt-4o").await.unwrap_err();
    assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
}

#[tokio::test]
async fn a_proxied_openai_answers_to_both_names() {
    let server = Server::start([models()]).await;
    let catalogue = catalogue([server.config("openai")]);
    assert_eq!(
        handles(&catalogue.list().await)[1..],
        [
            "openai-proxy/chat-large",
            "openai-proxy/owner/chat:free",
            "openai/text-embedding-3-small"
        ]
    );
    for handle in ["openai-proxy/chat-small", "openai/chat-small"] {
        let model = catalogue.resolve(handle).await.unwrap();
        assert_eq!(
            shown(&model),
            ("openai-proxy/chat-small", "chat-small", 8192)
        );
    }
}

#[tokio::test]
async fn configured_models_are_the_only_ones_shown_and_keep_what_the_list_says_of_them() {
    let server = Server::start([models()]).await;
    let models = vec!["chat-small".to_owned(), "hidden".to_owned()];
    let catalogue = catalogue([EndpointConfig {
        models,
        ..server.config("local")
    }]);
    let listing = catalogue.list().await;
    assert_eq!(handles(&listing), ["local/chat-small", "local/hidden"]);
    assert_eq!(listing.models[0].context_window, 8192);
    assert!(catalogue.resolve("local/chat-large").await.is_err());

    let away = EndpointConfig {
        models: vec!["chat".to_owned()],
        ..EndpointConfig::new("away", "http://127.0.0.1:1/v1")
    };
    let listing = self::catalogue([away]).list().await;
    assert_eq!(
        handles(&listing),
        ["away/chat"],
        "configured models are shown while it is away"
    );
    assert_eq!(listing.unreachable.len(), 1);
}

#[tokio::test]
async fn an_endpoint_without_a_list_is_not_asked_for_it() {
    let server = Server::start([models()]).await;
    let quirks = Quirks {
        no_model_list: true,
        ..Quirks::default()
    };
    let catalogue = catalogue([EndpointConfig {
        quirks,
        ..server.config("local")
    }]);
    assert!(catalogue.resolve("local/anything").await.is_ok());
    assert!(catalogue.list().await.models.is_empty());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn replacing_endpoints_keeps_what_is_known_of_those_that_stay() {
    let (stays, comes) = (
        Server::start([models()]).await,
        Server::start([models()]).await,
    );
    let catalogue = catalogue([stays.config("stays")]);
    let resolved = catalogue.resolve("stays/chat-small").await.unwrap();
    let endpoint = |config| Endpoint::new(config).unwrap();
    catalogue.replace(vec![
        endpoint(stays.config("stays")),
        endpoint(comes.config("comes")),
    ]);
    assert_eq!(catalogue.list().await.models.len(), 8);
    assert_eq!((stays.requests().len(), comes.requests().len()), (1, 1));
    catalogue.replace(vec![endpoint(comes.config("comes"))]);
    assert!(catalogue.resolve("stays/chat-small").await.is_err());
    assert_eq!(
        resolved.endpoint.name(),
        "stays",
        "what was resolved stays usable"
    );
    catalogue.replace(vec![endpoint(comes.config("comes").with_key("another"))]);
    comes.then(error(500, "x"));
    assert_eq!(
        catalogue.list().await.unreachable.len(),
        1,
        "another key is another endpoint"
    );
}

#[tokio::test]
async fn many_that_ask_at_once_read_a_list_once() {
    let server = Server::start([models()]).await;
    let catalogue = catalogue([server.config("local")]);
    let asks = (0..20).map(|_| catalogue.list());
    let listings = futures_util::future::join_all(asks).await;
    assert!(listings.iter().all(|listing| listing.models.len() == 4));
    assert_eq!(server.requests().len(), 1);
}
