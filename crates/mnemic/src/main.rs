//! The Mnemic server.

use std::{path::PathBuf, sync::Arc};

use mnemic_api::ApiSettings;
use mnemic_core::{scope::Scope, time::Clock};
use mnemic_engine::{Engine, EngineSettings};
use mnemic_llm::{Catalogue, Client, Endpoint, EndpointConfig, RetryPolicy, Timeouts};
use mnemic_store::{Location, Secrets, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve())
}

fn arg(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.find(|a| a == name)?;
    args.next()
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let env = |name: &str| std::env::var(name).ok();
    let host = arg("--host").unwrap_or_else(|| "127.0.0.1".into());
    let port = arg("--port").or(env("MNEMIC_PORT")).unwrap_or_else(|| "8283".into());
    let dir: PathBuf =
        arg("--data-dir").or(env("MNEMIC_DATA_DIR")).unwrap_or_else(|| "mnemic-data".into()).into();
    std::fs::create_dir_all(&dir)?;
    let location = match env("MNEMIC_DATABASE_URL").or(env("LETTA_PG_URI")) {
        Some(url) => Location::Postgres { url, connections: 16 },
        None => Location::Sqlite(dir.join("mnemic.db")),
    };
    let store = Store::open(location, Secrets::new(b"dev")).await?;
    let scope = Scope::default();
    let now = mnemic_core::time::Timestamp::now();
    store
        .write(move |tx| {
            Box::pin(async move { mnemic_store::tools::ensure_builtins(tx, &scope, now).await })
        })
        .await?;
    let client = Client::new(Timeouts::default(), RetryPolicy::default())?;
    let mut endpoints = Vec::new();
    if let Some(key) = env("OPENAI_API_KEY") {
        let url = env("OPENAI_BASE_URL").unwrap_or_else(|| "https://api.openai.com/v1".into());
        endpoints.push(Endpoint::new(EndpointConfig::new("openai", url).with_key(key))?);
    }
    let catalogue = Arc::new(Catalogue::new(client.clone(), endpoints));
    let engine =
        Engine::new(store, client, catalogue, EngineSettings::default(), Clock::System);
    engine.start().await?;
    let router = mnemic_api::router(engine.clone(), ApiSettings::default());
    let listener = tokio::net::TcpListener::bind(format!("{host}:{port}")).await?;
    mnemic_api_serve(listener, router, engine).await
}

async fn mnemic_api_serve(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    engine: Engine,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! { _ = term.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
            engine.shutdown().await;
        })
        .await?;
    Ok(())
}
