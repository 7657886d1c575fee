//! The chat's side of the V1 API.

use std::{collections::VecDeque, time::Duration};

use mnemic_llm::SseParser;
use reqwest::{Method, Request, RequestBuilder, Response};
use serde_json::Value;

use super::error::ChatError;

/// Bytes that one event of a stream may have.
const MAX_EVENT: usize = 64 * 1024 * 1024;

/// How long a server may take to say that it is there.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and who asks it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The server's address without a slash at its end.
    pub url: String,
    token: Option<String>,
}

/// Something that a stream brought.
#[derive(Debug)]
pub struct Frame {
    /// Whether it tells an error.
    pub is_error: bool,
    /// What it says.
    pub body: Value,
}

impl Client {
    /// A client of the server at that address.
    ///
    /// # Errors
    /// That is no address, or the HTTP library cannot be used.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, ChatError> {
        if !is_address(url) {
            return Err(ChatError::Usage(format!(
                "'{url}' is no URL of a server; one is, for example, http://127.0.0.1:8283"
            )));
        }
        let url = url.trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("mnemic-chat/", env!("CARGO_PKG_VERSION")));
        if is_local(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ChatError::Unreachable {
            url: url.clone(),
            cause: error.to_string(),
        })?;
        Ok(Self { http, url, token })
    }

    /// The same server, asked with another password.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// The same, asking the server at another address.
    #[must_use]
    pub fn at(self, url: String) -> Self {
        Self { url, ..self }
    }

    /// Whether the server is one of this machine.
    #[cfg(feature = "local-llm")]
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        let url = url::Url::parse(&self.url);
        let host = url.as_ref().ok().and_then(url::Url::host);
        match host {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether a server of ours answers.
    ///
    /// # Errors
    /// Nothing answers there, or something else does.
    pub async fn check(&self) -> Result<(), ChatError> {
        let request = self
            .request(Method::GET, "/v1/health/")
            .timeout(HEALTH_TIMEOUT);
        let response = self.sent(request).await?;
        let healthy = response.status().is_success();
        let body: Option<Value> = response.json().await.ok();
        let status = body.as_ref().and_then(|body| body.get("status")?.as_str());
        if healthy && status.is_some() {
            return Ok(());
        }
        Err(ChatError::NotOurs {
            url: self.url.clone(),
        })
    }

    /// What a GET brings.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, ChatError> {
        self.json(self.request(Method::GET, path)).await
    }

    /// What a GET with a query brings.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn find(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ChatError> {
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| {
                let value: String =
                    url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                format!("{name}={value}")
            })
            .collect();
        self.get(&format!("{path}?{}", pairs.join("&"))).await
    }

    /// What a request with a body brings.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, ChatError> {
        self.json(self.request(method, path).json(body)).await
    }

    /// The frames that a request brings.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn stream(&self, path: &str, body: &Value) -> Result<Frames, ChatError> {
        let request = self.request(Method::POST, path).json(body);
        let response = self.answered(request).await?;
        Ok(Frames {
            response,
            parser: SseParser::new(MAX_EVENT),
            waiting: VecDeque::new(),
            is_over: false,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, ChatError> {
        let response = self.answered(request).await?;
        let text = response.text().await.map_err(|error| broken(&error))?;
        serde_json::from_str(&text).map_err(|_| ChatError::NotOurs {
            url: self.url.clone(),
        })
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Response, ChatError> {
        let response = self.sent(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.as_u16() == 401 {
            return Err(ChatError::Password);
        }
        let text = response.text().await.unwrap_or_default();
        Err(ChatError::Refused {
            status: status.as_u16(),
            detail: detail(&text).unwrap_or_else(|| format!("the server answered {status}")),
        })
    }

    /// The beginning of an answer. What only reads is asked once more when the connection broke: one that was kept
    /// from an earlier request says nothing about whether a server is there now.
    async fn sent(&self, request: RequestBuilder) -> Result<Response, ChatError> {
        let request = request.build().map_err(|error| self.failed(&error))?;
        let again = Some(&request)
            .filter(|request| request.method() == Method::GET)
            .and_then(Request::try_clone);
        let sent = self.http.execute(request).await;
        match (sent.map_err(|error| self.failed(&error)), again) {
            (Err(ChatError::Broken(_)), Some(again)) => {
                let sent = self.http.execute(again).await;
                sent.map_err(|error| self.failed(&error))
            }
            (sent, _) => sent,
        }
    }

    /// A request that brought no answer: either nothing was there, or it went away meanwhile.
    fn failed(&self, error: &reqwest::Error) -> ChatError {
        if error.is_connect() || error.is_timeout() {
            ChatError::Unreachable {
                url: self.url.clone(),
                cause: root(error),
            }
        } else {
            broken(error)
        }
    }
}

fn broken(error: &reqwest::Error) -> ChatError {
    ChatError::Broken(root(error))
}

/// The innermost cause, which is what people understand.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn is_address(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_local(url: &str) -> bool {
    let host = url::Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// What an error's body says: a sentence, or the messages of a list.
fn detail(text: &str) -> Option<String> {
    let body: Value = serde_json::from_str(text).ok()?;
    let said = match body.get("detail")? {
        Value::String(text) => text.clone(),
        Value::Array(issues) => issues
            .iter()
            .filter_map(|issue| issue.get("msg")?.as_str())
            .collect::<Vec<_>>()
            .join("; "),
        Value::Object(object) => ["message", "detail"]
            .iter()
            .find_map(|key| object.get(*key)?.as_str())?
            .to_owned(),
        _ => return None,
    };
    Some(said).filter(|said| !said.is_empty())
}

/// The frames of an answer, as they come.
#[derive(Debug)]
pub struct Frames {
    response: Response,
    parser: SseParser,
    waiting: VecDeque<(bool, Vec<u8>)>,
    is_over: bool,
}

impl Frames {
    /// The next frame; `None` when the stream ended as it should. May be dropped while it waits.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Frame>, ChatError> {
        loop {
            while let Some((is_error, data)) = self.waiting.pop_front() {
                if data == b"[DONE]" {
                    self.is_over = true;
                }
                if let Ok(body) = serde_json::from_slice(&data)
                    && !self.is_over
                {
                    return Ok(Some(Frame { is_error, body }));
                }
            }
            if self.is_over {
                return Ok(None);
            }
            let bytes = self
                .response
                .chunk()
                .await
                .map_err(|error| broken(&error))?;
            let Some(bytes) = bytes else {
                return Err(ChatError::Broken("the answer ended too early".to_owned()));
            };
            let waiting = &mut self.waiting;
            self.parser
                .feed(&bytes, &mut |event| {
                    waiting.push_back((event.name == "error", event.data.to_vec()));
                })
                .map_err(|error| ChatError::Broken(error.to_string()))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn details_of_every_form_are_sentences() {
        for (text, said) in [
            (r#"{"detail": "no"}"#, Some("no")),
            (r#"{"detail": [{"msg": "a"}, {"msg": "b"}]}"#, Some("a; b")),
            (
                r#"{"detail": {"code": "X", "message": "busy"}}"#,
                Some("busy"),
            ),
            (r#"{"detail": ""}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(detail(text).as_deref(), said, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_as_such() {
        for url in [
            "notaurl",
            "127.0.0.1:8283",
            "localhost:8283",
            "ftp://h",
            "http://",
            "",
        ] {
            let refused = Client::new(url, None).unwrap_err().to_string();
            assert!(refused.contains("no URL"), "{url}: {refused}");
        }
        for url in ["http://127.0.0.1:8283", "https://example.org/mnemic/"] {
            assert!(is_address(url), "{url}");
        }
    }

    #[test]
    fn only_servers_on_this_machine_are_asked_without_a_proxy() {
        for (url, local) in [
            ("http://127.0.0.1:8283", true),
            ("http://[::1]:8283", true),
            ("http://localhost:8283", true),
            ("http://192.168.0.2:8283", false),
            ("https://example.org", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }
    /// Answers the first request of its first connection, closes that once it has read a second one, and answers on
    /// all others; gives its address and how many requests it has read.
    async fn breaking() -> (String, Arc<AtomicUsize>) {
        // The other tests of this process may have done so.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        tokio::spawn(async move {
            let mut answers = Some(1);
            while let Ok((mut socket, _)) = listener.accept().await {
                let most = answers.take().unwrap_or(usize::MAX);
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let mut answered = 0;
                    while socket.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                        count.fetch_add(1, Ordering::SeqCst);
                        if answered == most {
                            break;
                        }
                        answered += 1;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
                        socket.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        (url, read)
    }

    #[tokio::test]
    async fn what_only_reads_is_asked_again_where_a_kept_connection_breaks() {
        let (url, read) = breaking().await;
        let client = Client::new(&url, None).unwrap();
        client.get("/").await.unwrap();
        client.get("/").await.unwrap();
        assert_eq!(read.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_said_is_not_said_again_where_a_connection_breaks() {
        let (url, read) = breaking().await;
        let client = Client::new(&url, None).unwrap();
        client.get("/").await.unwrap();
        let said = client.send(Method::POST, "/", &Value::Null).await;
        assert!(matches!(said, Err(ChatError::Broken(_))), "{said:?}");
        assert_eq!(read.load(Ordering::SeqCst), 2);
    }
}
