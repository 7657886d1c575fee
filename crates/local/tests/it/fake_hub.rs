//! A hub that plays a script, one reply for each request.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What the hub does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The whole body.
    Whole(Vec<u8>),
    /// The body from the byte on that was asked for.
    Rest(Vec<u8>),
    /// The beginning of the body, of which only that many bytes come.
    Torn(Vec<u8>, usize),
    /// A status without a body.
    Status(u16),
}

/// A running hub; its thread ends with the test's process, or when it has no further request.
pub struct FakeHub {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    pub fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, mut script) = (Arc::clone(&requests), VecDeque::from_iter(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let reply = script.pop_front().unwrap_or(Reply::Status(410));
                serve(stream.unwrap(), &reply, &seen);
            }
        });
        Self { url, requests }
    }

    /// The heads of the requests that came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, reply: &Reply, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let from: usize = head
        .split_once("range: bytes=")
        .and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok())
        .unwrap_or(0);
    seen.lock().unwrap().push(head);
    let (status, extra, body, sent) = match reply {
        Reply::Whole(body) => (200, String::new(), &body[..], body.len()),
        Reply::Torn(body, sent) => (200, String::new(), &body[..], *sent),
        Reply::Rest(body) => {
            let range = format!(
                "content-range: bytes {from}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            );
            (206, range, &body[from..], body.len() - from)
        }
        Reply::Status(status) => (*status, String::new(), &[][..], 0),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The client may have heard enough.
    stream.write_all(&body[..sent]).ok();
    stream.shutdown(Shutdown::Both).ok();
}
