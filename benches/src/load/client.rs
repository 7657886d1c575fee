//! One kept connection to a server.

use std::{io, net::SocketAddr, time::Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection on which one request after the other is made.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// When the parts of a stream came.
#[derive(Debug, Clone, Copy)]
pub struct StreamTimes {
    /// Milliseconds to the first event.
    pub first_event: f64,
    /// Milliseconds to the first event that holds text of the answer.
    pub first_text: f64,
    /// Milliseconds to the end.
    pub end: f64,
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(other)?;
        // Ends with the connection; its error shows on the request that meets it.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender })
    }

    async fn begin(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> io::Result<http::Response<hyper::body::Incoming>> {
        self.sender.ready().await.map_err(other)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(other)?;
        self.sender.send_request(request).await.map_err(other)
    }

    /// Makes a request; returns status and body.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> io::Result<(u16, Bytes)> {
        let response = self.begin(method, path, body).await?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(other)?
            .to_bytes();
        Ok((status, body))
    }

    /// Makes a request whose answer must be 200 and JSON.
    ///
    /// # Errors
    /// The connection broke, or the answer is something else.
    pub async fn json(&mut self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let payload = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let (status, body) = self.send(method, path, payload).await?;
        if status != 200 {
            let text = String::from_utf8_lossy(&body)
                .chars()
                .take(400)
                .collect::<String>();
            return Err(io::Error::other(format!(
                "{method} {path}: {status} {text}"
            )));
        }
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    /// Makes a request and times its stream; `text` is what a frame with text of the answer holds.
    ///
    /// # Errors
    /// The connection broke, or the answer is no stream.
    pub async fn stream(&mut self, path: &str, body: Bytes, text: &str) -> io::Result<StreamTimes> {
        let begun = Instant::now();
        let millis = || begun.elapsed().as_secs_f64() * 1e3;
        let mut response = self.begin("POST", path, body).await?;
        let (mut first_event, mut first_text) = (None, None);
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(other)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            first_event.get_or_insert_with(millis);
            let holds = data
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            if first_text.is_none() && holds {
                first_text = Some(millis());
            }
        }
        let end = millis();
        let first_event = first_event.ok_or_else(|| io::Error::other("the stream was empty"))?;
        Ok(StreamTimes {
            first_event,
            first_text: first_text.unwrap_or(end),
            end,
        })
    }
}

/// A stream that is read as far as somebody wants.
pub struct OpenStream {
    body: hyper::body::Incoming,
    /// The connection lives as long as this.
    _sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Makes a request whose answer is a stream, and hands the stream over.
    ///
    /// # Errors
    /// The connection broke, or the answer is another one.
    pub async fn open_stream(mut self, path: &str, body: Bytes) -> io::Result<OpenStream> {
        let response = self.begin("POST", path, body).await?;
        if response.status() != 200 {
            return Err(io::Error::other(format!("{path}: {}", response.status())));
        }
        Ok(OpenStream {
            body: response.into_body(),
            _sender: self.sender,
        })
    }
}

impl OpenStream {
    /// Reads until a frame holds a text.
    ///
    /// # Errors
    /// The stream ended before.
    pub async fn wait_for(&mut self, text: &str) -> io::Result<()> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(other)?;
            let data = frame.data_ref().map(|data| String::from_utf8_lossy(data));
            if data.is_some_and(|data| data.contains(text)) {
                return Ok(());
            }
        }
        Err(io::Error::other(format!(
            "the stream ended before '{text}'"
        )))
    }
}
