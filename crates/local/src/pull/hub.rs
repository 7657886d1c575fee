//! The model hub, or a mirror of it.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};

use super::{Progress, Report, Source, SourceError};
use crate::manifest::{HubSource, ModelFile};

/// How long a connection may take: where the hub cannot be reached, the next source is asked soon.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(30);
/// How often a file is begun, or gone on with.
const TRIES: u32 = 3;

/// A repository at the hub.
pub(super) struct Hub {
    base: String,
    source: HubSource,
}

impl Hub {
    pub fn new(base: &str, source: &HubSource) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            source: source.clone(),
        }
    }

    fn url(&self, file: &ModelFile) -> String {
        let HubSource {
            repository,
            revision,
        } = &self.source;
        format!(
            "{}/{repository}/resolve/{revision}/{}",
            self.base, file.name
        )
    }
}

impl Source for Hub {
    fn name(&self) -> String {
        format!("the hub {}", self.base)
    }

    fn fetch(
        &mut self,
        file: &ModelFile,
        part: &Path,
        report: &mut Report<'_>,
    ) -> Result<(), SourceError> {
        let runtime = runtime()?;
        let client = builder()
            .build()
            .map_err(|error| SourceError::Said(error.to_string()))?;
        let url = self.url(file);
        runtime.block_on(async {
            let mut tried = 1;
            loop {
                match download(&client, &url, (file, part), report).await {
                    Ok(()) => return Ok(()),
                    Err(Broken::Again(_)) if tried < TRIES => tried += 1,
                    Err(Broken::Again(error) | Broken::ForGood(error)) => return Err(error),
                }
            }
        })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, SourceError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SourceError::Said(error.to_string()))
}

fn builder() -> reqwest::ClientBuilder {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another installer is as good as winning it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(IDLE)
        .user_agent(concat!("mnemic/", env!("CARGO_PKG_VERSION")))
}

/// How a download ended that did not succeed.
enum Broken {
    /// It may go on from where it broke off.
    Again(SourceError),
    ForGood(SourceError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::ForGood(error.into())
    }
}

/// Fetches what is missing of a file.
async fn download(
    client: &reqwest::Client,
    url: &str,
    (file, part): (&ModelFile, &Path),
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let mut output = File::options().create(true).append(true).open(part)?;
    let mut there = output.metadata()?.len();
    if there >= file.bytes {
        output.set_len(0)?;
        there = 0;
    }
    let mut request = client.get(url);
    if there > 0 {
        request = request.header(RANGE, format!("bytes={there}-"));
    }
    let mut response = request.send().await.map_err(|error| unsent(&error))?;
    if !goes_on(&response, there)? {
        output.set_len(0)?;
        there = 0;
    }
    loop {
        report(Progress::File {
            name: &file.name,
            done: there,
            total: file.bytes,
        });
        let Some(piece) = response.chunk().await.map_err(|error| again(&error))? else {
            break;
        };
        there += piece.len() as u64;
        if there > file.bytes {
            output.set_len(0)?;
            return Err(Broken::ForGood(SourceError::Said(format!(
                "{} is longer than {} bytes there",
                file.name, file.bytes
            ))));
        }
        output.write_all(&piece)?;
    }
    if there < file.bytes {
        return Err(Broken::Again(SourceError::Said(format!(
            "{} broke off after {there} of {} bytes",
            file.name, file.bytes
        ))));
    }
    Ok(())
}

/// Whether an answer begins where the file on disk ends, rather than at its beginning.
fn goes_on(response: &Response, there: u64) -> Result<bool, Broken> {
    let said = |text: String| SourceError::Said(text);
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(CONTENT_RANGE);
            let range = range.and_then(|range| range.to_str().ok());
            let start = range
                .and_then(|range| range.strip_prefix("bytes "))
                .and_then(|range| range.split_once('-'))
                .and_then(|(start, _)| start.parse::<u64>().ok());
            match start {
                Some(start) if start == there => Ok(true),
                _ => Err(Broken::ForGood(said(
                    "it answered with another part of the file than was asked for".into(),
                ))),
            }
        }
        StatusCode::OK => Ok(false),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Broken::Again(said(format!("it answered with {status}"))))
        }
        status => Err(Broken::ForGood(said(format!("it answered with {status}")))),
    }
}

/// A request that was not answered. A hub that cannot be reached is not tried again: the next source is
/// asked at once.
fn unsent(error: &reqwest::Error) -> Broken {
    if error.is_connect() {
        let cause = innermost(error);
        return Broken::ForGood(SourceError::Said(format!("it cannot be reached: {cause}")));
    }
    again(error)
}

fn again(error: &reqwest::Error) -> Broken {
    Broken::Again(SourceError::Said(innermost(error)))
}

/// The innermost cause: the outer ones only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
