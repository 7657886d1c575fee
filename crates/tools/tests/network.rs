//! What people who write tools rely on when hosts are granted to these.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod place;

use mnemic_core::tools::requirements::{Registry, Requirement};
use mnemic_tools::sandbox::{
    Call, HostGrant, Language, Layer, Sandbox, SandboxError, Settings, Status,
};
use place::{python, run, settings, value};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A web server of this machine, which stands for one of the internet: it answers with what it was asked.
async fn server() -> u16 {
    serving(|head| {
        let lines: Vec<&str> = head
            .lines()
            .filter(|line| line.contains('/') || line.starts_with("Host"))
            .collect();
        lines.join("|").into_bytes()
    })
    .await
}

async fn serving(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = std::sync::Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = std::sync::Arc::clone(&answer);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else {
                        return;
                    };
                    head.push(byte);
                }
                let body = answer(&String::from_utf8_lossy(&head));
                let length = body.len();
                let begin = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = client.write_all(&[begin.as_bytes(), &body].concat()).await;
                let _ = client.shutdown().await;
                let _ = client.read(&mut [0]).await;
            });
        }
    });
    port
}

/// The call, with the port of a server that is granted to it under the name `localhost`.
fn granted(mut call: Call, port: u16) -> Call {
    call.grants.hosts = vec![HostGrant {
        host: "localhost".to_owned(),
        port: Some(port),
    }];
    call.arguments.insert("port".into(), json!(port));
    call
}

async fn places() -> Vec<(&'static str, Sandbox)> {
    let mut all = place::places().await;
    all.retain(|(name, _)| *name != "without namespaces");
    all
}

#[tokio::test]
async fn a_tool_reaches_the_host_that_was_granted_to_it() {
    let port = server().await;
    let source = "
import http.client, urllib.request
def tool(port: int):
    plain = urllib.request.urlopen(f'http://localhost:{port}/plain?a=b').read().decode()
    tunnel = http.client.HTTPConnection('127.0.0.1', int(__import__('os').environ['HTTPS_PROXY'].rsplit(':', 1)[1]))
    tunnel.set_tunnel('localhost', port)
    tunnel.request('GET', '/tunnel')
    return [plain, tunnel.getresponse().read().decode()]
";
    let host = format!("Host: localhost:{port}");
    for (name, sandbox) in places().await {
        let value = value(&sandbox, granted(python(source), port)).await;
        let expected = [
            format!("GET /plain?a=b HTTP/1.1|{host}"),
            format!("GET /tunnel HTTP/1.1|{host}"),
        ];
        let seen: Vec<String> = serde_json::from_value(value).expect("two answers");
        for (seen, expected) in seen.iter().zip(expected) {
            let mut parts = seen.split('|');
            let mut wanted = expected.split('|');
            assert_eq!(parts.next(), wanted.next(), "{name}");
            assert!(
                parts.any(|part| Some(part) == wanted.next()),
                "{name}: {seen}"
            );
        }
    }
}

#[tokio::test]
async fn the_usual_http_clients_of_python_reach_granted_hosts() {
    let port = server().await;
    let source = "
import asyncio, httpx, requests
async def get(url):
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).status_code
def tool(port: int):
    url = f'http://localhost:{port}/'
    return [requests.get(url).status_code, httpx.get(url).status_code, asyncio.run(get(url))]
";
    let needed = |name, version| Requirement::new(Registry::Pip, name, Some(version)).unwrap();
    let call = Call {
        packages: vec![needed("requests", "2.32.3"), needed("httpx", "0.27.2")],
        ..python(source)
    };
    let sandbox = place::sandbox().await;
    assert_eq!(
        value(&sandbox, granted(call, port)).await,
        json!([200, 200, 200])
    );
}

#[tokio::test]
async fn what_node_offers_for_http_reaches_granted_hosts_and_names_the_missing_grant() {
    let port = server().await;
    let source = "
import http from 'node:http';
async function tool(port) {
    const url = `http://localhost:${port}/`;
    const fetched = (await fetch(url)).status;
    const got = await new Promise((done, fail) => http.get(url, (answer) => done(answer.statusCode)).on('error', fail));
    const denied = await new Promise((done) => http.get('http://other.example/', done).on('error', (error) => done(error.message)));
    await fetch('https://other.example/', { body: 'x', method: 'POST' }).catch((error) => { throw new Error([fetched, got, denied].join(), { cause: error.cause }); });
}
";
    let call = Call {
        language: Language::JavaScript,
        ..python(source)
    };
    let outcome = run(&place::sandbox().await, granted(call, port)).await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        raised.message,
        "200,200,this tool has no grant for the host other.example:80: this tool has no grant for the host other.example:443"
    );
}

/// A program that ends with its test.
struct Started(std::process::Child);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A web server that speaks TLS, with a certificate that nobody vouches for.
fn tls_server(folder: &std::path::Path) -> (Started, u16) {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost -keyout key -out cert";
    let made = Command::new("openssl")
        .args(request.split(' '))
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(made.success());
    let serve = "s_server -www -accept 127.0.0.1:0 -key key -cert cert";
    let mut server = Command::new("openssl")
        .args(serve.split(' '))
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let said = BufReader::new(server.stdout.take().expect("its output"));
    let port = said.lines().find_map(|line| {
        let line = line.expect("a line");
        line.strip_prefix("ACCEPT ")?
            .rsplit_once(':')?
            .1
            .parse()
            .ok()
    });
    (Started(server), port.expect("a port"))
}

#[tokio::test]
async fn https_goes_from_the_tool_to_the_host_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, port) = tls_server(folder.path());
    let node = "
import https from 'node:https';
async function tool(port) {
    const url = `https://localhost:${port}/`;
    const got = await new Promise((done, fail) => https.get(url, (answer) => done(answer.statusCode)).on('error', fail));
    return [(await fetch(url)).status, got];
}
";
    let source = "
import ssl, urllib.request
def tool(port: int):
    try:
        urllib.request.urlopen(f'https://localhost:{port}/')
    except OSError as error:
        refused = 'certificate' in str(error)
    context = ssl._create_unverified_context()
    return [refused, urllib.request.urlopen(f'https://localhost:{port}/', context=context).status]
";
    let sandbox = place::sandbox().await;
    let mut call = Call {
        language: Language::JavaScript,
        ..python(node)
    };
    call.variables
        .insert("NODE_TLS_REJECT_UNAUTHORIZED".into(), "0".into());
    let by_node = run(&sandbox, granted(call.clone(), port)).await;
    call.variables.clear();
    let unknown = run(&sandbox, granted(call, port)).await;
    let by_python = run(&sandbox, granted(python(source), port)).await;
    assert_eq!(by_node.value, json!([200, 200]), "{by_node:?}");
    assert_eq!(by_python.value, json!([true, 200]), "{by_python:?}");
    assert!(matches!(&unknown.status, Status::Raised(_)), "{unknown:?}");
}

#[tokio::test]
async fn a_host_that_was_not_granted_is_named_in_the_error() {
    let port = server().await;
    let source = "
import urllib.request, urllib.error
def tool(port: int):
    found = []
    for url in ('http://other.example/', 'https://other.example/', f'http://127.0.0.1:{port}/', f'http://sub.localhost:{port}/', 'http://localhost/'):
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError as error:
            found.append([error.code, error.read().decode()])
        except urllib.error.URLError as error:
            found.append(str(error.reason))
    return found
";
    let missing = |host: &str| format!("this tool has no grant for the host {host}");
    let expected = json!([
        [403, missing("other.example:80")],
        format!(
            "Tunnel connection failed: 403 {}",
            missing("other.example:443")
        ),
        [403, missing(&format!("127.0.0.1:{port}"))],
        [403, missing(&format!("sub.localhost:{port}"))],
        [403, missing("localhost:80")],
    ]);
    for (name, sandbox) in places().await {
        let found = value(&sandbox, granted(python(source), port)).await;
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn a_granted_name_that_leads_to_an_address_of_the_inside_is_refused() {
    let port = server().await;
    let strict = Sandbox::new(Settings {
        may_reach: |address| !address.is_loopback(),
        ..settings()
    })
    .await;
    let source = "
import urllib.request, urllib.error
def tool(port: int):
    try:
        urllib.request.urlopen(f'http://localhost:{port}/')
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
";
    let found = value(&strict, granted(python(source), port)).await;
    assert_eq!(found[0], 403);
    let text = found[1].as_str().expect("a text");
    assert!(text.starts_with("the host localhost leads to "), "{text}");
    assert!(text.ends_with(", which is no public address"), "{text}");
}

#[tokio::test]
async fn a_call_sends_and_receives_no_more_than_its_share() {
    let port = serving(|_| vec![b'x'; 40 << 20]).await;
    let source = "
import urllib.request, urllib.error, http.client
def tool(port: int):
    sizes, url = [], f'http://localhost:{port}/'
    for _ in range(2):
        total = 0
        try:
            with urllib.request.urlopen(url) as answer:
                while part := answer.read1(1 << 20):
                    total += len(part)
        except (OSError, http.client.HTTPException):
            pass
        sizes.append(total)
    try:
        urllib.request.urlopen(url)
    except urllib.error.HTTPError as error:
        return [sizes[0], sum(sizes) <= 64 << 20, error.read().decode()]
";
    let found = value(&place::sandbox().await, granted(python(source), port)).await;
    let reason = "this call used up the 64 MB that it may send and receive";
    assert_eq!(found, json!([40 << 20, true, reason]));
}

#[tokio::test]
async fn many_connections_at_once_wait_for_each_other() {
    let port = server().await;
    let source = "
import urllib.request
from concurrent.futures import ThreadPoolExecutor
def tool(port: int):
    with ThreadPoolExecutor(24) as pool:
        return sum(pool.map(lambda _: urllib.request.urlopen(f'http://localhost:{port}/').status == 200, range(96)))
";
    let call = granted(python(source), port);
    assert_eq!(value(&place::sandbox().await, call).await, json!(96));
}

#[tokio::test]
async fn a_tool_with_hosts_can_read_the_certificates_of_this_machine() {
    let there = ["/etc/ssl/certs", "/etc/pki/tls/certs"].map(std::path::Path::new);
    let there: Vec<_> = there
        .into_iter()
        .filter(|path| path.exists() && !path.is_symlink())
        .collect();
    let mut call = python(
        "import os\ndef tool(port, paths):\n    return [len(os.listdir(path)) > 0 for path in paths]\n",
    );
    call.arguments.insert("paths".into(), json!(there));
    let found = value(&place::sandbox().await, granted(call, 1)).await;
    assert_eq!(found, json!(vec![true; there.len()]));
}

#[tokio::test]
async fn where_a_network_of_its_own_can_not_be_had_a_call_with_hosts_is_refused() {
    let bare = Sandbox::new(Settings {
        without: vec![Layer::Namespaces],
        ..settings()
    })
    .await;
    let call = granted(python("def tool(port):\n    return 1\n"), 1);
    let error = bare.run(call).await.expect_err("refused");
    assert!(
        matches!(&error, SandboxError::Network { reason } if reason == "namespaces: switched off"),
        "{error}"
    );
}
