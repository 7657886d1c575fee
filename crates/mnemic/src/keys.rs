//! `mnemic keys`: keys of the API, made beside the server, for its first one or when all are lost.

use clap::Subcommand;
use mnemic_api::access::secret::{Kind, Secret};
use mnemic_core::{api_keys::KeyScope, scope::Scope, time::Timestamp};
use mnemic_store::{
    StoreError,
    api_keys::{self, NewApiKey, OtherAdmins},
};

use crate::{serve, settings::Settings, terminal::say};

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and show it, this once. With an SQLite database, while no server runs on it.
    Create {
        /// Its name.
        name: String,
        /// What it opens: admin (everything), agent or read.
        #[arg(long, default_value = "admin", value_parser = scope)]
        scope: KeyScope,
    },
}

fn scope(text: &str) -> Result<KeyScope, String> {
    KeyScope::parse(text).ok_or_else(|| "a scope is admin, agent or read".to_owned())
}

/// Runs a command.
///
/// # Errors
/// The database can't be opened or written.
pub fn run(settings: &Settings, command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let Command::Create { name, scope } = command;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let others = match settings.switch("secure")? {
        true => OtherAdmins::Password,
        false => OtherAdmins::None,
    };
    let secret = Secret::new(Kind::Key);
    let new = NewApiKey {
        name,
        scope,
        hash: secret.hash(),
        hint: secret.hint(),
    };
    runtime.block_on(async {
        let store = serve::open(settings).await?;
        let made = store.write(move |tx| {
            Box::pin(async move {
                api_keys::insert(tx, &Scope::default(), &new, others, Timestamp::now()).await
            })
        });
        made.await
            .map_err(|error: StoreError| serve::ServeError::from(error))
    })?;
    say(secret.text);
    Ok(())
}
