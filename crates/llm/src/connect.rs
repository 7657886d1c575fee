//! HTTP clients.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect::Policy};

/// How long an idle connection is kept for the next call.
const KEEP_IDLE: Duration = Duration::from_secs(90);

/// What all our HTTP clients have in common. Redirects are never followed by themselves: a key must
/// not go elsewhere, and a checked URL must not lead to an unchecked one.
pub(crate) fn builder(connect_timeout: Duration) -> ClientBuilder {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another installer is as good as winning it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .pool_idle_timeout(KEEP_IDLE)
        .connect_timeout(connect_timeout)
        .redirect(Policy::none())
        .user_agent(concat!("mnemic/", env!("CARGO_PKG_VERSION")))
}
