//! PostgreSQL: a pool of connections whose tables are all in the schema `mnemic`.

pub(crate) mod presence;

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
};

use crate::{
    StoreError, commits,
    failpoints::{self, CommitFault},
};

/// How long a request waits for a free connection, or a connection for the server.
const WAIT: Duration = Duration::from_secs(5);

/// How long a transaction may take. A server that hangs must not hold requests for ever; the largest
/// that the API allows, a capture of 10,000 turns, takes a few seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings of each connection. Every statement is one of few, and finds its rows by index whatever
/// its values: planning it anew for them costs more than it brings.
const SESSION: &str = "SET search_path TO mnemic; SET jit = off; \
                       SET plan_cache_mode = force_generic_plan";

/// A pool of connections.
#[derive(Clone)]
pub(crate) struct Postgres {
    pub(crate) pool: Pool,
    config: Arc<Config>,
}

impl Postgres {
    /// Prepares the pool; no connection is made yet.
    pub(crate) fn new(url: &str, connections: usize) -> Result<Self, StoreError> {
        let mut config = parse_url(url)?;
        config
            .application_name("mnemic")
            .connect_timeout(WAIT)
            .keepalives(true)
            .tcp_user_timeout(LIMIT);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config.clone(), NoTls, recycling)
        } else {
            Manager::from_config(config.clone(), tls()?, recycling)
        };
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT),
                create: Some(WAIT),
                recycle: Some(WAIT),
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    client
                        .batch_execute(SESSION)
                        .await
                        .map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            pool,
            config: Arc::new(config),
        })
    }

    /// The error of a connection that was not made, with where it should have led.
    fn unreachable(&self, error: tokio_postgres::Error) -> StoreError {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        let ports = self.config.get_ports().iter().map(ToString::to_string);
        let place = [hosts, ports.collect()].map(|parts| parts.join(","));
        match StoreError::from(error) {
            StoreError::Unavailable(why) => {
                StoreError::Unavailable(format!("PostgreSQL at {}: {why}", place.join(":")))
            }
            other => other,
        }
    }

    /// A pooled connection.
    pub(crate) async fn client(&self) -> Result<Client, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// A connection of its own, outside of the pool: it lives as long as what it holds.
    pub(crate) async fn dedicated(&self) -> Result<tokio_postgres::Client, StoreError> {
        if self.config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self
                .config
                .connect(NoTls)
                .await
                .map_err(|error| self.unreachable(error))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let (client, connection) = self
            .config
            .connect(tls()?)
            .await
            .map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Reads a connection URL; the forms with a Python driver's name (`postgresql+asyncpg://`), which the
/// old server's users have in their environment, are understood.
fn parse_url(url: &str) -> Result<Config, StoreError> {
    let plain = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgres") => format!("postgresql://{rest}"),
        _ => url.to_owned(),
    };
    Config::from_str(&plain).map_err(|error| {
        // The URL holds a password, so it is not repeated.
        StoreError::Invalid(format!("the database URL is not valid: {error}"))
    })
}

fn tls() -> Result<tokio_postgres_rustls::MakeRustlsConnect, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A certificate of the system's that cannot be read is as good as absent.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

/// Works on a pooled connection within [`LIMIT`]; a connection that takes longer is closed, with which
/// the database rolls back.
pub(crate) async fn within_limit<T, E: From<StoreError>>(
    client: Client,
    work: impl AsyncFnOnce(&Client) -> Result<T, E>,
) -> Result<T, E> {
    match tokio::time::timeout(LIMIT, work(&client)).await {
        Ok(done) => done,
        Err(_) => {
            drop(Client::take(client));
            let seconds = LIMIT.as_secs();
            let text = format!("the database did not answer within {seconds} s");
            Err(StoreError::Unavailable(text).into())
        }
    }
}

/// Ends a transaction: commits what succeeded, rolls back what did not.
pub(crate) async fn finish<T, E: From<StoreError>>(
    client: &Client,
    result: Result<T, E>,
) -> Result<T, E> {
    let Ok(value) = result else {
        // A connection that is gone has rolled back by itself.
        let _ = client.batch_execute("ROLLBACK").await;
        return result;
    };
    failpoints::hit("commit.before");
    let committed = match failpoints::commit_fault() {
        Some(CommitFault::Failed(fault)) => {
            let _ = client.batch_execute("ROLLBACK").await;
            Err(StoreError::Unavailable(fault))
        }
        Some(CommitFault::Unheard(fault)) => {
            let _ = client.batch_execute("COMMIT").await;
            Err(StoreError::Unavailable(fault))
        }
        // A job may have swallowed the error of a statement; COMMIT alone would then roll back and
        // say that all is well. The SELECT fails in such a transaction, and COMMIT is not reached.
        None => client
            .batch_execute("SELECT 1; COMMIT")
            .await
            .map_err(StoreError::from),
    };
    failpoints::hit("commit.after");
    if committed.is_ok() {
        commits::note();
    } else {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    committed.map(|()| value).map_err(E::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_old_server_are_understood() {
        for url in [
            "postgresql+pg8000://u:p@127.0.0.1:5432/letta",
            "postgresql+asyncpg://u:p@127.0.0.1:5432/letta",
            "postgres://u:p@127.0.0.1:5432/letta",
        ] {
            assert_eq!(parse_url(url).unwrap().get_dbname(), Some("letta"), "{url}");
        }
        assert!(parse_url("mysql://x").is_err());
    }
}
