//! A server that plays a script, one act for each request.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mnemic_core::messages::{MessageBody, Role};
use mnemic_llm::{
    Call, Client, Endpoint, EndpointConfig, MessageView, Protocol, RetryPolicy, Timeouts,
    Transcript,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// The key that must be seen in no error.
pub const KEY: &str = "sk-very-secret-key";

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with a status, headers and a body.
    Answer(u16, &'static str, String),
    /// Answers with an event stream in these pieces, each after the one before was sent.
    Stream(Vec<String>),
    /// The same, but the connection breaks off in the middle.
    Torn(Vec<String>),
    /// The same, but nothing ends it.
    Open(Vec<String>),
    /// Closes the connection without an answer.
    Close,
    /// Never answers.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head
            .lines()
            .any(|header| header.eq_ignore_ascii_case(line))
    }
}

#[derive(Default)]
struct Play {
    acts: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Request>>,
    came: Notify,
}

/// A running server; it ends with the test.
pub struct Server {
    pub port: u16,
    play: Arc<Play>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server with its script. Requests beyond it get status 599.
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let play = Arc::new(Play {
            acts: Mutex::new(acts.into_iter().collect()),
            ..Play::default()
        });
        let shared = Arc::clone(&play);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(serve(stream, Arc::clone(&shared), connection));
            }
        });
        Self { port, play, task }
    }

    /// What came so far.
    pub fn requests(&self) -> Vec<Request> {
        self.play.requests.lock().clone()
    }

    /// Adds to the script.
    pub fn then(&self, act: Act) {
        self.play.acts.lock().push_back(act);
    }

    /// Waits until that many requests came.
    pub async fn saw(&self, count: usize) {
        loop {
            let came = self.play.came.notified();
            if self.requests().len() >= count {
                return;
            }
            came.await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn config(&self, name: &str) -> EndpointConfig {
        EndpointConfig::new(name, self.url("/v1")).with_key(KEY)
    }

    pub fn endpoint(&self) -> Arc<Endpoint> {
        Arc::new(Endpoint::new(self.config("local")).unwrap())
    }

    /// A call that says hello.
    pub fn call(&self) -> Call {
        let mut transcript = Transcript::new(Protocol::OpenAiChat);
        let body = MessageBody::text("hello");
        transcript.push(&MessageView {
            role: Role::User,
            body: &body,
            name: None,
        });
        Call::new(self.endpoint(), "model-1", "prompt".into(), transcript)
    }
}

async fn serve(mut stream: TcpStream, play: Arc<Play>, connection: usize) {
    let mut buffer = Vec::new();
    while let Some(mut request) = read_request(&mut stream, &mut buffer).await {
        request.connection = connection;
        play.requests.lock().push(request);
        let act = play.acts.lock().pop_front();
        play.came.notify_waiters();
        let act = act.unwrap_or_else(|| Act::Answer(599, "", "the script is over".into()));
        if perform(&mut stream, act).await.is_none() {
            return;
        }
    }
}

/// Plays an act; `None` when the connection is not to be used again.
async fn perform(stream: &mut TcpStream, act: Act) -> Option<()> {
    match act {
        Act::Answer(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .ok()
        }
        Act::Stream(pieces) => {
            chunks(stream, &pieces).await?;
            stream.write_all(b"0\r\n\r\n").await.ok()
        }
        Act::Torn(pieces) => {
            chunks(stream, &pieces).await?;
            None
        }
        Act::Open(pieces) => {
            chunks(stream, &pieces).await?;
            std::future::pending().await
        }
        Act::Close => None,
        Act::Hang => std::future::pending().await,
    }
}

async fn chunks(stream: &mut TcpStream, pieces: &[String]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for piece in pieces {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        stream.write_all(chunk.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        tokio::task::yield_now().await;
    }
    Some(())
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or(0);
    while buffer.len() < end {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..end].to_vec();
    buffer.drain(..end);
    Some(Request {
        head,
        body,
        connection: 0,
    })
}

/// A client that waits for nothing longer than a test should.
pub fn client() -> Client {
    let short = Duration::from_millis(300);
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        first_byte: short,
        idle: short,
        grace: short,
        answer: Duration::from_secs(5),
    };
    let cap = Duration::from_millis(200);
    Client::new(
        timeouts,
        RetryPolicy {
            tries: 3,
            base: Duration::from_millis(4),
            cap,
        },
    )
    .unwrap()
}

pub fn json(body: &str) -> Act {
    Act::Answer(200, "content-type: application/json\r\n", body.into())
}

pub fn error(status: u16, message: &str) -> Act {
    let body = serde_json::json!({"error": {"message": message}}).to_string();
    Act::Answer(status, "content-type: application/json\r\n", body)
}

pub fn hello() -> Act {
    json(
        r#"{"model":"m","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    )
}

pub fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

pub fn text(text: &str) -> String {
    event(&serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]}).to_string())
}

pub fn stop() -> String {
    event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#)
}

pub fn done() -> String {
    event("[DONE]")
}
