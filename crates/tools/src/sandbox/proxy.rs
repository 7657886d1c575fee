//! The way from a call to the hosts that were granted to it: an HTTP proxy, which listens inside of the call's own network
//! and connects outside of it. The names are resolved here, and connections go to the addresses that were judged.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{
    hosts::HostGrant,
    proxy_request::{self, Request},
};

/// Connections of a call that are open at the same time; others wait.
const CONNECTIONS: usize = 16;
/// Bytes of all connections of a call, in both directions.
const BYTES: u64 = 64 << 20;
/// How long a request's head, a name or a connection may take. The rest ends with the call.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the rest of a request that was refused is read, so that its sender sees the answer.
const LINGER: Duration = Duration::from_secs(1);

/// The proxy of one call. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    task: JoinHandle<()>,
}

/// What the proxy lets through.
#[derive(Debug)]
pub(crate) struct Rules {
    hosts: Vec<HostGrant>,
    judge: fn(IpAddr) -> bool,
    left: AtomicU64,
}

/// Why a request is not passed on, as an HTTP status and its phrase: that phrase is all that many clients show.
struct Refusal(u16, String);

impl Rules {
    pub(crate) fn new(hosts: Vec<HostGrant>, judge: fn(IpAddr) -> bool) -> Self {
        Self {
            hosts,
            judge,
            left: AtomicU64::new(BYTES),
        }
    }
}

impl Proxy {
    /// Serves what comes to a listener that only the call can reach.
    pub(crate) fn start(listener: TcpListener, port: u16, rules: Rules) -> Self {
        Self {
            port,
            task: tokio::spawn(serve(listener, Arc::new(rules))),
        }
    }

    /// Where it listens, as the call sees it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The variables by which HTTP clients find it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let url = format!("http://127.0.0.1:{}", self.port);
        let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        names
            .into_iter()
            .flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()])
            .map(move |name| (name, url.clone()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, rules: Arc<Rules>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let rules = Arc::clone(&rules);
                connections.spawn(async move {
                    if let Err(error) = connection(client, &rules).await {
                        tracing::debug!("a connection of a tool ended: {error}");
                    }
                    drop(permit);
                });
            }
            // This process has too many files open, say.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(mut client: TcpStream, rules: &Rules) -> io::Result<()> {
    let head = timeout(PATIENCE, proxy_request::read_head(&mut client)).await??;
    match open(&head, rules).await {
        Ok((mut server, request)) => {
            if request.tunnel {
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
            }
            spend(rules, request.forward.len())?;
            server.write_all(&request.forward).await?;
            relay(client, server, rules).await
        }
        Err(Refusal(status, reason)) => {
            let answer = format!(
                "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{reason}",
                reason.len()
            );
            client.write_all(answer.as_bytes()).await?;
            client.shutdown().await?;
            let mut rest = tokio::io::sink();
            let _ = timeout(LINGER, tokio::io::copy(&mut client, &mut rest)).await;
            Ok(())
        }
    }
}

/// A connection to where a request is to go, if it may go there.
async fn open(head: &[u8], rules: &Rules) -> Result<(TcpStream, Request), Refusal> {
    let request = proxy_request::parse(head).map_err(|reason| Refusal(400, reason.to_owned()))?;
    let Request { host, port, .. } = &request;
    if !rules.hosts.iter().any(|grant| grant.opens(host, *port)) {
        let reason = format!("this tool has no grant for the host {host}:{port}");
        return Err(Refusal(403, reason));
    }
    if rules.left.load(Ordering::Relaxed) == 0 {
        let reason = format!(
            "this call used up the {} MB that it may send and receive",
            BYTES >> 20
        );
        return Err(Refusal(403, reason));
    }
    let late = |_| Refusal(504, format!("the host {host} did not answer in time"));
    let failed = |error| Refusal(502, format!("the host {host} can not be reached: {error}"));
    let found = timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), *port)))
        .await
        .map_err(late)?
        .map_err(failed)?;
    let (public, closed): (Vec<SocketAddr>, Vec<_>) =
        found.partition(|address| (rules.judge)(address.ip()));
    if let (true, Some(address)) = (public.is_empty(), closed.first()) {
        let reason = format!(
            "the host {host} leads to {}, which is no public address",
            address.ip()
        );
        return Err(Refusal(403, reason));
    }
    let server = timeout(PATIENCE, TcpStream::connect(public.as_slice()))
        .await
        .map_err(late)?
        .map_err(failed)?;
    Ok((server, request))
}

/// Passes bytes on in both directions until the server is done.
async fn relay(client: TcpStream, server: TcpStream, rules: &Rules) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = async {
        pump(from_client, to_server, rules).await?;
        std::future::pending().await
    };
    tokio::select! {
        ended = pump(from_server, to_client, rules) => ended,
        failed = up => failed,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rules: &Rules,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        spend(rules, count)?;
        to.write_all(buffer.get(..count).unwrap_or_default())
            .await?;
    }
}

fn spend(rules: &Rules, count: usize) -> io::Result<()> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let spent = rules
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(count)
        });
    if spent.is_err() {
        rules.left.store(0, Ordering::Relaxed);
        return Err(io::Error::other("the call used up its bytes"));
    }
    Ok(())
}
