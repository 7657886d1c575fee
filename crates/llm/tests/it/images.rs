//! Images fetched through the guard.

use std::time::Duration;

use mnemic_core::messages::ContentPart;
use mnemic_llm::{FetchLimits, ImageError, UrlError, UrlGuard};

use crate::server::{Act, KEY, Server};

/// A one-pixel image.
const GIF: &str = "GIF89a\x01\0\x01\0\0\0\0;";

fn image(kind: &'static str) -> Act {
    Act::Answer(200, kind, GIF.into())
}

fn redirect(to: &str) -> Act {
    let headers: &'static str = Box::leak(format!("location: {to}\r\n").into_boxed_str());
    Act::Answer(302, headers, String::new())
}

#[tokio::test]
async fn an_image_is_fetched_and_told_by_its_bytes() {
    for kind in [
        "content-type: image/gif\r\n",
        "content-type: image/png; x=y\r\n",
        "",
        "content-type: application/octet-stream\r\n",
    ] {
        let server = Server::start([image(kind)]).await;
        let part = UrlGuard::new(true)
            .fetch_image(&server.url("/a.gif"))
            .await
            .unwrap();
        assert!(
            matches!(&part, ContentPart::Image { media_type, data }
            if media_type == "image/gif" && data.starts_with("R0lGODlh")),
            "{kind}: {part:?}"
        );
        assert!(!server.requests()[0].head.contains(KEY));
    }
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    for (kind, body) in [
        ("content-type: text/html\r\n", "<html>"),
        ("content-type: text/html\r\n", GIF),
        ("content-type: image/png\r\n", "<html>"),
        ("content-type: image/svg+xml\r\n", "<svg/>"),
        ("content-type: image/png\r\n", ""),
    ] {
        let server = Server::start([Act::Answer(200, kind, body.into())]).await;
        let error = UrlGuard::new(true)
            .fetch_image(&server.url("/a.png"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ImageError::NotAnImage { .. }),
            "{kind} {body}: {error}"
        );
    }
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_by_number_or_by_name() {
    let server = Server::start([image("")]).await;
    let guard = UrlGuard::new(false);
    let port = server.port;
    for url in [
        server.url("/"),
        format!("http://localhost:{port}/"),
        format!("http://LOCALHOST.:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
    ] {
        let error = guard.get(&url, FetchLimits::default()).await.unwrap_err();
        let refused = matches!(
            error,
            UrlError::Private { .. } | UrlError::Unreachable { .. }
        );
        assert!(refused, "{url}: {error:?}");
    }
    let error = guard
        .get(&format!("http://localhost:{port}/"), FetchLimits::default())
        .await;
    assert!(matches!(error, Err(UrlError::Private { .. })), "{error:?}");
    assert!(
        guard
            .post_json(&server.url("/"), b"{}".to_vec(), Duration::from_secs(1))
            .await
            .is_err()
    );
    assert!(server.requests().is_empty(), "a request was sent");
}

#[tokio::test]
async fn redirects_are_followed_five_times_and_each_is_checked() {
    let hop = |to: &str| redirect(to);
    let server = Server::start([
        hop("/b"),
        hop("c"),
        hop("/e"),
        hop("/f"),
        hop("/d"),
        image(""),
    ])
    .await;
    let fetched = UrlGuard::new(true)
        .get(&server.url("/a"), FetchLimits::default())
        .await
        .unwrap();
    assert_eq!(fetched.url.path(), "/d");

    let around = [
        hop("/b"),
        hop("/a"),
        hop("/b"),
        hop("/a"),
        hop("/b"),
        hop("/a"),
        image(""),
    ];
    let server = Server::start(around).await;
    let error = UrlGuard::new(true)
        .get(&server.url("/a"), FetchLimits::default())
        .await;
    assert!(
        matches!(error, Err(UrlError::TooManyRedirects { .. })),
        "{error:?}"
    );

    let guard = UrlGuard::trusting(["localhost".to_owned()]);
    let target = Server::start([image("")]).await;
    for to in [
        target.url("/"),
        "http://169.254.169.254/latest".into(),
        "file:///etc/passwd".into(),
        "http://a:b@example.com/".into(),
    ] {
        let server = Server::start([hop(&to)]).await;
        let url = format!("http://localhost:{}/", server.port);
        let error = guard.get(&url, FetchLimits::default()).await.unwrap_err();
        assert!(
            matches!(error, UrlError::Private { .. } | UrlError::Unusable { .. }),
            "{to}: {error:?}"
        );
        assert_eq!(server.requests().len(), 1);
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn fetches_are_bounded_in_size_and_time() {
    let guard = UrlGuard::new(true);
    let limits = FetchLimits {
        max_bytes: 100,
        timeout: Duration::from_millis(200),
    };
    let big = "x".repeat(101);
    for act in [
        Act::Answer(200, "", big.clone()),
        Act::Stream(vec!["x".repeat(60); 2]),
    ] {
        let server = Server::start([act]).await;
        let error = guard.get(&server.url("/"), limits).await;
        assert!(
            matches!(error, Err(UrlError::TooLarge { limit: 100, .. })),
            "{error:?}"
        );
    }
    for act in [Act::Hang, Act::Open(vec!["x".into()])] {
        let server = Server::start([act]).await;
        let error = guard.get(&server.url("/"), limits).await;
        assert!(matches!(error, Err(UrlError::Timeout { .. })), "{error:?}");
    }
    let server = Server::start([Act::Answer(404, "", String::new())]).await;
    let error = guard.fetch_image(&server.url("/")).await.unwrap_err();
    assert!(error.to_string().contains("status 404"), "{error}");
}

#[tokio::test]
async fn a_webhook_is_posted_and_its_status_told() {
    let server = Server::start([Act::Answer(202, "", String::new()), redirect("/b")]).await;
    let guard = UrlGuard::new(true);
    let url = server.url("/hook");
    let status = guard
        .post_json(&url, b"{\"a\":1}".to_vec(), Duration::from_secs(2))
        .await;
    assert_eq!(status, Ok(202));
    assert_eq!(server.requests()[0].body, b"{\"a\":1}");
    let status = guard
        .post_json(&url, b"{}".to_vec(), Duration::from_secs(2))
        .await;
    assert_eq!(status, Ok(302), "a post is not sent on");
}
