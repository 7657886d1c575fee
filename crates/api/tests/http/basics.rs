//! Paths, errors, headers and the password.

use mnemic_api::ApiSettings;
use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn every_form_of_a_path_is_served_directly() {
    let server = Server::plain().await;
    for path in [
        "/v1/health",
        "/v1/health/",
        "/latest/health",
        "/latest/health/",
        "/v1/ready/",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["status"], "ok", "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_the_shape_of_the_contract() {
    let server = Server::plain().await;
    let unknown = server.get("/v1/nope").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.json()),
        (404, json!({"detail": "Not Found"}))
    );
    let wrong = server.call("PUT", "/v1/health/", "").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.json()),
        (405, json!({"detail": "Method Not Allowed"}))
    );
    assert!(wrong.headers["allow"].to_str().unwrap().contains("GET"));
}

#[tokio::test]
async fn what_does_not_exist_is_404_and_a_malformed_id_422() {
    let server = Server::plain().await;
    let uuid = "00000000-0000-4000-8000-0000000000ff";
    for path in [
        format!("/v1/runs/run-{uuid}"),
        format!("/v1/runs/run-{uuid}/messages"),
        format!("/v1/steps/step-{uuid}"),
        format!("/v1/messages/message-{uuid}"),
        format!("/v1/conversations/conv-{uuid}"),
        format!("/v1/conversations/agent-{uuid}/messages"),
        format!("/v1/agents/agent-{uuid}/messages"),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(
            answer.json()["detail"].as_str().unwrap().contains(uuid),
            "{}",
            answer.text
        );
    }
    for path in [
        "/v1/runs/nope",
        "/v1/steps/run-1",
        "/v1/messages/x",
        "/v1/agents/block-1/messages",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 422, "{path}");
        assert!(answer.json()["examples"][0].is_string(), "{path}");
    }
    let body = r#"{"messages":[{"role":"user","content":"Hello"}]}"#;
    for path in [
        format!("/v1/agents/agent-{uuid}/messages"),
        format!("/v1/agents/agent-{uuid}/messages/stream"),
        format!("/v1/agents/agent-{uuid}/messages/async"),
        format!("/v1/conversations/conv-{uuid}/messages"),
        format!("/v1/agents/agent-{uuid}/messages/capture"),
    ] {
        let answer = server.call("POST", &path, body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn lists_of_an_empty_server_are_empty() {
    let server = Server::plain().await;
    for path in [
        "/v1/runs/",
        "/v1/runs/active",
        "/v1/steps/",
        "/v1/messages/",
        "/v1/conversations/",
        "/v1/models/",
        "/v1/models/embedding",
        "/v1/providers/",
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (200, json!([])),
            "{path}"
        );
        let wrong = server
            .get(&format!("{path}?limit=many&order=up&agent_id=x"))
            .await;
        assert!(
            wrong.status == 422 || path.contains("models"),
            "{path}: {}",
            wrong.text
        );
    }
}

#[tokio::test]
async fn broken_bodies_are_422_with_the_place_of_the_fault() {
    let server = Server::plain().await;
    let path = "/v1/agents/agent-00000000-0000-4000-8000-0000000000ff/messages";
    for (body, words) in [
        ("{not json", "json_invalid"),
        ("", "missing"),
        ("[1]", "invalid type"),
        ("{}", "Must specify either"),
        (
            r#"{"messages":[{"role":"wizard","content":"x"}]}"#,
            "('body', 'messages', 0, 'role')",
        ),
    ] {
        let answer = server.call("POST", path, body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        assert!(answer.text.contains(words), "{body}: {}", answer.text);
        assert_eq!(answer.json()["trace_id"], "", "{body}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let settings = ApiSettings {
        body_limit_bytes: 1000,
        ..ApiSettings::default()
    };
    let server = Server::start(settings, None).await;
    let path = "/v1/agents/agent-00000000-0000-4000-8000-0000000000ff/messages";
    let body = format!(r#"{{"input":"{}"}}"#, "x".repeat(2000));
    let streamed = server.call("POST", path, &body).await;
    let announced = server
        .call_with(
            "POST",
            path,
            &body,
            &[("content-length", &body.len().to_string())],
        )
        .await;
    for answer in [streamed, announced] {
        assert_eq!(answer.status, 413);
        assert!(
            answer.json()["detail"]
                .as_str()
                .unwrap()
                .contains("1000 bytes")
        );
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::plain().await;
    for path in ["/v1/health", "/v1/nope", "/v1/runs/nope"] {
        let answer = server.get(path).await;
        assert_eq!(answer.headers["x-request-id"].len(), 36, "{path}");
    }
    let own = server
        .call_with("GET", "/v1/health", "", &[("x-request-id", "mine-1")])
        .await;
    assert_eq!(own.headers["x-request-id"], "mine-1");
}

#[tokio::test]
async fn with_a_password_only_health_is_open() {
    let settings = ApiSettings {
        password: Some("secret".to_owned()),
        ..ApiSettings::default()
    };
    let server = Server::start(settings, None).await;
    for path in ["/v1/health/", "/v1/health", "/latest/ready/"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in ["/v1/runs/", "/openapi.json", "/docs/", "/v1/nope"] {
        let refused = server.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.json(), json!({"detail": "Unauthorized"}), "{path}");
    }
    let bearer = [("authorization", "Bearer secret")];
    assert_eq!(
        server
            .call_with("GET", "/v1/runs/", "", &bearer)
            .await
            .status,
        200
    );
    let preflight = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
    ];
    assert_eq!(
        server
            .call_with("OPTIONS", "/v1/runs/", "", &preflight)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn pages_of_known_origins_may_call() {
    let server = Server::plain().await;
    let known = [("origin", "http://localhost:3000")];
    let answer = server.call_with("GET", "/v1/health/", "", &known).await;
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    let unknown = [("origin", "http://evil.example")];
    let answer = server.call_with("GET", "/v1/health/", "", &unknown).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_api_describes_itself_without_the_internet() {
    let server = Server::plain().await;
    let document = server.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/agents/{agent_id}/messages",
        "/v1/runs/{run_id}/stream",
        "/v1/health",
    ] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path} does not describe its errors"
            );
            assert!(
                operation["operationId"].is_string(),
                "{method} {path} has no operation id"
            );
        }
    }
    let page = server.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("https://"), "{}", page.text);
    assert_eq!(server.get("/docs").await.status, 303);
    assert_eq!(server.get("/").await.status, 307);
    let script = server.get("/docs/swagger-ui-bundle.js").await;
    assert!(script.text.len() > 100_000);
}
