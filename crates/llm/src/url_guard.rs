//! The guard on URLs that users or models name: they lead to the public internet and nowhere else.
//!
//! A name is resolved by us and every address checked; the connection then goes to the addresses
//! that were checked, so that a name can't change its mind in between. Redirects are followed by
//! hand, each one checked like the first. Proxies of the environment are not used: behind one, the
//! address would be somebody else's choice.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, LOCATION},
};
use url::{Host, Url};

use crate::connect;

mod content;

/// How many redirects are followed.
const MAX_REDIRECTS: u32 = 5;

/// Why a URL is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is none, or none that can be fetched.
    #[error("{url:?} is not a URL that can be fetched: {reason}")]
    Unusable {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It leads into a private network.
    #[error(
        "{host} is not fetched because it leads to {address}, which is not a public address; an \
         administrator can allow private addresses with allow_private_urls"
    )]
    Private {
        /// The host.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// It redirects too often.
    #[error("{host} redirects more than {MAX_REDIRECTS} times; give the URL that it ends at")]
    TooManyRedirects {
        /// The host.
        host: String,
    },
    /// The answer is no success.
    #[error("{host} answers with status {status}; check that the URL is right and needs no login")]
    Status {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// There is more than is taken.
    #[error("what {host} sends is larger than {limit} bytes; give something smaller")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// It is packed in a way that we can't unpack.
    #[error("what {host} sends can't be unpacked ({encoding}); give another URL")]
    Packed {
        /// The host.
        host: String,
        /// How it is packed.
        encoding: String,
    },
    /// It takes too long.
    #[error("{host} did not answer within {seconds} s; try again, or give another URL")]
    Timeout {
        /// The host.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection failed.
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// Limits on a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// The most bytes that are taken, as they come and after they are unpacked.
    pub max_bytes: usize,
    /// How long it may take with all redirects.
    pub timeout: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            max_bytes: 20 * 1024 * 1024,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it was in the end.
    pub url: Url,
    /// The media type as the server calls it, without parameters, in lower case.
    pub media_type: String,
    /// The encoding of its text, as the server calls it.
    pub charset: Option<String>,
    /// The content.
    pub bytes: Bytes,
}

/// Bytes that a URL may have; what servers take is rarely more than this.
const MAX_URL: usize = 8_192;

/// Fetches URLs that are not to be trusted.
#[derive(Debug, Clone)]
pub struct UrlGuard {
    allow_private: bool,
    /// Host names that may lead anywhere.
    trusted: Arc<[String]>,
    /// Made when it is first needed: most servers never fetch anything.
    http: Arc<Mutex<Option<reqwest::Client>>>,
}

impl UrlGuard {
    /// A guard; with `allow_private` it lets everything through that is a URL.
    #[must_use]
    pub fn new(allow_private: bool) -> Self {
        Self {
            allow_private,
            trusted: Arc::from([]),
            http: Arc::default(),
        }
    }

    /// A guard that lets these host names lead to private addresses, and no others: for a company's
    /// own image store, say.
    #[must_use]
    pub fn trusting(hosts: impl IntoIterator<Item = String>) -> Self {
        let trusted = hosts
            .into_iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        Self {
            trusted,
            ..Self::new(false)
        }
    }

    /// Whether it lets everything through.
    #[must_use]
    pub const fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Checks a URL as far as that goes without resolving its name.
    ///
    /// # Errors
    /// When it is not http(s), holds credentials, or names a private address.
    pub fn check(&self, url: &str) -> Result<Url, UrlError> {
        let unusable = |reason: &str| UrlError::Unusable {
            url: shown(url),
            reason: reason.into(),
        };
        if url.len() > MAX_URL {
            return Err(unusable(&format!("it is longer than {MAX_URL} bytes")));
        }
        let parsed = Url::parse(url.trim()).map_err(|error| unusable(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(unusable("only http:// and https:// are"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(unusable("it holds a user name or password"));
        }
        let address = match parsed.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) => None,
            None => return Err(unusable("it names no host")),
        };
        match address {
            Some(address) if !self.allow_private && !is_public(address) => Err(UrlError::Private {
                host: host_of(&parsed),
                address,
            }),
            _ => Ok(parsed),
        }
    }

    /// Fetches a URL.
    ///
    /// # Errors
    /// When it, or a URL it redirects to, is refused; when it can't be reached; when the answer is
    /// no success, too large or too slow.
    pub async fn get(&self, url: &str, limits: FetchLimits) -> Result<Fetched, UrlError> {
        self.get_preferring(url, "*/*", limits).await
    }

    /// Fetches a page to read: what servers have in several forms comes as text.
    ///
    /// # Errors
    /// As [`UrlGuard::get`].
    pub async fn get_page(&self, url: &str, limits: FetchLimits) -> Result<Fetched, UrlError> {
        let accept = "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, text/plain;q=0.8, */*;q=0.1";
        self.get_preferring(url, accept, limits).await
    }

    async fn get_preferring(
        &self,
        url: &str,
        accept: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, UrlError> {
        let url = self.check(url)?;
        let host = host_of(&url);
        tokio::time::timeout(limits.timeout, self.follow(url, accept, limits.max_bytes))
            .await
            .map_err(|_| UrlError::Timeout {
                host,
                seconds: limits.timeout.as_secs(),
            })?
    }

    /// Posts a JSON document, such as a webhook's, and returns the status. Redirects are answers
    /// like any other: a post must not be sent on to somebody else.
    ///
    /// # Errors
    /// When the URL is refused, can't be reached or is too slow.
    pub async fn post_json(
        &self,
        url: &str,
        json: Vec<u8>,
        timeout: Duration,
    ) -> Result<u16, UrlError> {
        let url = self.check(url)?;
        let host = host_of(&url);
        let request = self
            .client(&host)?
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(json)
            .send();
        let answer =
            tokio::time::timeout(timeout, request)
                .await
                .map_err(|_| UrlError::Timeout {
                    host,
                    seconds: timeout.as_secs(),
                })?;
        Ok(answer
            .map_err(|error| unreachable(&url, &error))?
            .status()
            .as_u16())
    }

    async fn follow(&self, mut url: Url, accept: &str, limit: usize) -> Result<Fetched, UrlError> {
        for _ in 0..=MAX_REDIRECTS {
            let request = self.client(&host_of(&url))?.get(url.clone());
            let request = request
                .header(ACCEPT, accept)
                .header(ACCEPT_ENCODING, "gzip, deflate")
                .send();
            let response = request.await.map_err(|error| unreachable(&url, &error))?;
            let status = response.status();
            if status.is_success() {
                return content::read(url, response, limit).await;
            }
            let to = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok());
            let Some(to) = to.filter(|_| status.is_redirection()) else {
                return Err(UrlError::Status {
                    host: host_of(&url),
                    status: status.as_u16(),
                });
            };
            let joined = url.join(to).map_err(|error| UrlError::Unusable {
                url: shown(to),
                reason: error.to_string(),
            })?;
            url = self.check(joined.as_str())?;
        }
        Err(UrlError::TooManyRedirects {
            host: host_of(&url),
        })
    }

    /// A builder of clients that connect to nothing that the guard refuses. (Addresses that URLs name
    /// without a name are for [`UrlGuard::check`] to look at.)
    pub(crate) fn guarding(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        builder.no_proxy().dns_resolver(CheckedResolver {
            allow_private: self.allow_private,
            trusted: Arc::clone(&self.trusted),
        })
    }

    fn client(&self, host: &str) -> Result<reqwest::Client, UrlError> {
        let mut made = self.http.lock();
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = self
            .guarding(connect::builder(Duration::from_secs(5)))
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| UrlError::Unreachable {
                host: host.to_owned(),
                reason: error.to_string(),
            })?;
        *made = Some(client.clone());
        Ok(client)
    }
}

/// Resolves names to public addresses only.
struct CheckedResolver {
    allow_private: bool,
    trusted: Arc<[String]>,
}

/// A name that leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error(
    "it leads to {0}, which is not a public address; an administrator can allow private addresses with \
     allow_private_urls"
)]
struct PrivateAddress(IpAddr);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private =
            self.allow_private || self.trusted.iter().any(|host| host == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            // One private address spoils the name: it is an attempt, or a split-horizon name.
            let private = found
                .iter()
                .map(SocketAddr::ip)
                .find(|address| !is_public(*address));
            if let Some(address) = private.filter(|_| !allow_private) {
                return Err(PrivateAddress(address).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn unreachable(url: &Url, error: &reqwest::Error) -> UrlError {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(PrivateAddress(address)) = cause.downcast_ref() {
            return UrlError::Private {
                host: host_of(url),
                address: *address,
            };
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    UrlError::Unreachable {
        host: host_of(url),
        reason: cause.to_string(),
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("the host").to_owned()
}

/// A URL for an error message: without what may be secret in it, and not endless.
fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = url.get(..end).unwrap_or_default();
    let url = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!(
            "{}***{}",
            url.get(..scheme + 3).unwrap_or_default(),
            url.get(at..).unwrap_or_default()
        ),
        _ => url.to_owned(),
    };
    url.chars().take(200).collect()
}

/// Whether an address belongs to the public internet, after the IANA special-purpose address
/// registries (RFC 6890 and its updates, as of November 2026).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const REFUSED: [(Ipv4Addr, u32); 17] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network
        (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
        (Ipv4Addr::new(100, 64, 0, 0), 10),    // carriers' NAT
        (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
        (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, with the clouds' metadata
        (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
        (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments, with metadata of some clouds
        (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
        (Ipv4Addr::new(192, 31, 196, 0), 24),  // AS112
        (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays
        (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
        (Ipv4Addr::new(192, 175, 48, 0), 24),  // AS112
        (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
        (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
        (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
        (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's metadata, though its range is public
        (Ipv4Addr::new(224, 0, 0, 0), 3),      // multicast, reserved, broadcast
    ];
    let bits = u32::from(address);
    !REFUSED
        .iter()
        .any(|(network, len)| (bits ^ u32::from(*network)) >> (32 - len) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last = v4_of(g, h);
    match (a, b, c, d, e, f) {
        // ::a.b.c.d, with :: and ::1, is no longer in use; ::ffff:a.b.c.d is IPv4.
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => is_public_v4(last),
        (0, 0, 0, 0, 0, 0) => false,
        // NAT64: the address behind it counts; its local form is for private networks.
        (0x64, 0xff9b, 0, 0, 0, 0) => is_public_v4(last),
        (0x64, 0xff9b, ..) => false,
        // 6to4 carries an IPv4 address.
        (0x2002, ..) => is_public_v4(v4_of(b, c)),
        // Teredo carries two, one of them disguised.
        (0x2001, 0, ..) => is_public_v4(v4_of(c, d)) && is_public_v4(v4_of(!g, !h)),
        // Protocol assignments, ORCHID, documentation.
        (0x2001, 0x1..=0x1ff | 0xdb8, ..) | (0x3fff, ..0x1000, ..) => false,
        // Only 2000::/3 is global unicast: this refuses unique-local, link-local, site-local,
        // multicast, discard-only and segment-routing addresses. ISATAP hides IPv4 addresses.
        _ => a & 0xe000 == 0x2000 && !(e & 0xfdff == 0 && f == 0x5efe && !is_public_v4(last)),
    }
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests;
