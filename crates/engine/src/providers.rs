//! Model providers: those of the server, and those that an organization added with keys of its own.
//!
//! The server's are known to all and come first; a name that they do not have is looked up among the
//! organization's. Their rows are read anew whenever one of them is asked for, so that a change holds at
//! once, whichever process made it; what is known of their models is kept beside.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use mnemic_core::{
    ids::{OrganizationId, ProviderId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_llm::{
    Catalogue, Client, Endpoint, EndpointConfig, Listing, Origin, ProviderAccess, ProviderKind,
    ProviderKindError, ResolveError, ResolvedModel,
};
use mnemic_store::{
    Secrets, StoreError,
    providers::{self, Provider},
};
use parking_lot::Mutex;

use crate::{Engine, EngineError};

/// Characters of a provider's name.
const MAX_NAME: usize = 100;

/// Characters of a key or address.
const MAX_TEXT: usize = 8_192;

/// A provider that a client adds or tries out.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct NewProvider {
    pub name: String,
    pub provider_type: String,
    pub api_key: ProviderKey,
    pub access_key: Option<ProviderKey>,
    pub region: Option<String>,
    pub base_url: Option<String>,
    pub api_version: Option<String>,
}

/// What changes of a provider; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct ProviderPatch {
    pub api_key: Option<ProviderKey>,
    pub access_key: Option<ProviderKey>,
    pub region: Option<Option<String>>,
    pub base_url: Option<Option<String>>,
    pub api_version: Option<Option<String>>,
}

/// A key that no debug print shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProviderKey(pub String);

impl std::fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What organizations added, as far as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Added {
    of: Mutex<HashMap<OrganizationId, Own>>,
}

/// What one organization added.
#[derive(Debug)]
struct Own {
    rows: Vec<Provider>,
    catalogue: Arc<Catalogue>,
}

impl Added {
    /// The catalogue of these rows. Those whose settings did not change keep what is known of them.
    fn catalogue(
        &self,
        organization: OrganizationId,
        rows: Vec<Provider>,
        (client, secrets): (&Client, &Secrets),
    ) -> Option<Arc<Catalogue>> {
        let mut of = self.of.lock();
        if rows.is_empty() {
            of.remove(&organization);
            return None;
        }
        let own = of.entry(organization).or_insert_with(|| Own {
            rows: Vec::new(),
            catalogue: Arc::new(Catalogue::new(client.clone(), Vec::new())),
        });
        if own.rows != rows {
            let endpoints = rows.iter().filter_map(|row| endpoint(row, secrets));
            own.catalogue.replace(endpoints.collect());
            own.rows = rows;
        }
        Some(Arc::clone(&own.catalogue))
    }
}

/// The endpoint of a stored provider.
fn endpoint(row: &Provider, secrets: &Secrets) -> Option<Endpoint> {
    let made = row
        .open_key(secrets)
        .map_err(|error| error.to_string())
        .and_then(|key| config_of(row, key).map_err(|error| error.to_string()))
        .and_then(|config| Endpoint::new(config).map_err(|error| error.to_string()));
    match made {
        Ok(endpoint) => Some(endpoint),
        Err(error) => {
            tracing::warn!(provider = row.name, error, "an added provider is left out");
            None
        }
    }
}

fn config_of(row: &Provider, api_key: String) -> Result<EndpointConfig, ProviderKindError> {
    let access = ProviderAccess {
        name: row.name.clone(),
        api_key,
        base_url: row.base_url.clone(),
        region: row.region.clone(),
    };
    ProviderKind::named(&row.provider_type)?.config(&access, Origin::Added)
}

impl Engine {
    /// The model that a handle means to an organization.
    ///
    /// # Errors
    /// No provider or model has that name, or the database's.
    pub async fn resolve_model(
        &self,
        scope: &Scope,
        handle: &str,
    ) -> Result<ResolvedModel, EngineError> {
        let common = &self.inner.catalogue;
        let provider = handle.split_once('/').map_or("", |(provider, _)| provider);
        if provider.is_empty() || common.has(provider) {
            return Ok(common.resolve(handle).await?);
        }
        let own = self.added(scope).await?;
        match own {
            Some(own) if own.has(provider) => Ok(own.resolve(handle).await?),
            own => Ok(common
                .resolve(handle)
                .await
                .map_err(|error| naming_too(error, own.as_deref()))?),
        }
    }

    /// All models that an organization can use.
    ///
    /// # Errors
    /// The database's.
    pub async fn models(&self, scope: &Scope) -> Result<Listing, EngineError> {
        let mut listing = self.inner.catalogue.list().await;
        if let Some(own) = self.added(scope).await? {
            let more = own.list().await;
            let is_shadowed = |name: &str| self.inner.catalogue.has(name);
            let models = more.models.into_iter();
            listing
                .models
                .extend(models.filter(|model| !is_shadowed(model.endpoint.name())));
            let unreachable = more.unreachable.into_iter();
            listing
                .unreachable
                .extend(unreachable.filter(|one| !is_shadowed(one.endpoint.name())));
        }
        Ok(listing)
    }

    /// The providers that an organization added.
    async fn added(&self, scope: &Scope) -> Result<Option<Arc<Catalogue>>, EngineError> {
        let rows = self.added_rows(scope).await?;
        let tools = (&self.inner.client, self.inner.store.secrets());
        Ok(self.inner.added.catalogue(scope.organization, rows, tools))
    }

    /// The ids of the providers that an organization added, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn added_providers(
        &self,
        scope: &Scope,
    ) -> Result<BTreeMap<String, ProviderId>, EngineError> {
        let rows = self.added_rows(scope).await?.into_iter();
        Ok(rows.map(|row| (row.name, row.id)).collect())
    }

    async fn added_rows(&self, scope: &Scope) -> Result<Vec<Provider>, EngineError> {
        let whose = scope.clone();
        let rows = self
            .inner
            .store
            .read(move |tx| Box::pin(async move { providers::all(tx, &whose).await }));
        Ok(rows.await?)
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// Something about it can't be, its name is taken, or the database's.
    pub async fn create_provider(
        &self,
        scope: &Scope,
        new: NewProvider,
    ) -> Result<Provider, EngineError> {
        self.check_new(&new)?;
        if self.inner.catalogue.has(&new.name) {
            return Err(EngineError::Invalid(format!(
                "Provider name '{}' conflicts with an existing base provider. Please choose a \
                 different name.",
                new.name
            )));
        }
        let now = self.now();
        let mut provider = row_of(&new, now);
        provider.seal_key(self.inner.store.secrets(), &new.api_key.0)?;
        let (scope, stored) = (scope.clone(), provider.clone());
        let written = self
            .inner
            .store
            .write(move |tx| Box::pin(async move { providers::insert(tx, &scope, &stored).await }));
        written.await?;
        Ok(provider)
    }

    /// Changes a provider; its models are read anew.
    ///
    /// # Errors
    /// There is none, something about it can't be, or the database's.
    pub async fn update_provider(
        &self,
        scope: &Scope,
        id: ProviderId,
        patch: ProviderPatch,
    ) -> Result<Provider, EngineError> {
        let (engine, scope, now) = (self.clone(), scope.clone(), self.now());
        let written = self.inner.store.write(move |tx| {
            Box::pin(async move {
                let mut row = providers::get_for_update(tx, &scope, id).await?;
                let secrets = engine.inner.store.secrets();
                let key = match patch.api_key {
                    Some(key) => key,
                    None => ProviderKey(row.open_key(secrets)?),
                };
                row.region = patch.region.unwrap_or(row.region);
                row.base_url = patch.base_url.unwrap_or(row.base_url);
                row.api_version = patch.api_version.unwrap_or(row.api_version);
                row.updated_at = now;
                let changed = NewProvider {
                    api_key: key,
                    access_key: patch.access_key,
                    ..described(&row)
                };
                engine.check_new(&changed)?;
                row.seal_key(secrets, &changed.api_key.0)?;
                providers::update(tx, &scope, &row).await?;
                Ok::<_, EngineError>(row)
            })
        });
        written.await
    }

    /// Removes a provider. Agents that use its models stay, and say on their next turn what is missing.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn delete_provider(&self, scope: &Scope, id: ProviderId) -> Result<(), EngineError> {
        let scope = scope.clone();
        let written = self
            .inner
            .store
            .write(move |tx| Box::pin(async move { providers::delete(tx, &scope, id).await }));
        Ok(written.await?)
    }

    /// Reads a provider's list of models anew.
    ///
    /// # Errors
    /// There is none, it does not answer, or the database's.
    pub async fn refresh_provider(
        &self,
        scope: &Scope,
        id: ProviderId,
    ) -> Result<Provider, EngineError> {
        let row = self.check_stored_provider(scope, id).await?;
        if let Some(own) = self.added(scope).await? {
            own.forget(&row.name);
            own.list().await;
        }
        let (scope, now) = (scope.clone(), self.now());
        let written = self.inner.store.write(move |tx| {
            Box::pin(async move {
                let mut row = providers::get_for_update(tx, &scope, id).await?;
                row.last_synced = Some(now);
                providers::update(tx, &scope, &row).await?;
                Ok::<_, StoreError>(row)
            })
        });
        Ok(written.await?)
    }

    /// Tries a key without storing it.
    ///
    /// # Errors
    /// The provider refuses it or does not answer, or something about it can't be.
    pub async fn check_provider(&self, new: &NewProvider) -> Result<(), EngineError> {
        let config = self.check_new(new)?;
        self.try_out(config).await
    }

    /// Tries the key of a stored provider.
    ///
    /// # Errors
    /// There is none, it refuses the key or does not answer.
    pub async fn check_stored_provider(
        &self,
        scope: &Scope,
        id: ProviderId,
    ) -> Result<Provider, EngineError> {
        let scope = scope.clone();
        let store = &self.inner.store;
        let row = store
            .read(move |tx| Box::pin(async move { providers::get(tx, &scope, id).await }))
            .await?;
        let key = ProviderKey(row.open_key(store.secrets())?);
        let new = NewProvider {
            api_key: key,
            ..described(&row)
        };
        self.check_provider(&new).await?;
        Ok(row)
    }

    async fn try_out(&self, config: EndpointConfig) -> Result<(), EngineError> {
        let endpoint = Endpoint::new(config).map_err(invalid)?;
        Ok(self.inner.catalogue.try_out(endpoint).await?)
    }

    /// The configuration of a provider, where everything about it can be.
    fn check_new(&self, new: &NewProvider) -> Result<EndpointConfig, EngineError> {
        let too_long =
            |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_TEXT);
        if new.name.chars().count() > MAX_NAME
            || new.api_key.0.len() > MAX_TEXT
            || [&new.base_url, &new.region, &new.api_version]
                .into_iter()
                .any(too_long)
        {
            return Err(invalid(format!(
                "a provider's name has at most {MAX_NAME} characters, its key and address {MAX_TEXT}"
            )));
        }
        if new.access_key.as_ref().is_some_and(|key| !key.0.is_empty()) {
            return Err(invalid(
                "pairs of an access key and a secret key are not taken: make an API key for the \
                 provider (for Amazon Bedrock one of its long-term API keys) and give it as api_key",
            ));
        }
        let config = config_of(&row_of(new, Timestamp::default()), new.api_key.0.clone());
        let config = config.map_err(invalid)?;
        let guard = self.inner.client.guard();
        guard.check(&config.base_url).map_err(invalid)?;
        Ok(config)
    }
}

fn invalid(error: impl ToString) -> EngineError {
    EngineError::Invalid(format!("INVALID_ARGUMENT: {}", error.to_string()))
}

/// A row without its key.
fn row_of(new: &NewProvider, now: Timestamp) -> Provider {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    Provider {
        id: ProviderId::new(),
        name: new.name.clone(),
        provider_type: new.provider_type.clone(),
        base_url: given(&new.base_url),
        region: given(&new.region),
        api_version: given(&new.api_version),
        api_key: None,
        access_key: None,
        last_synced: None,
        created_at: now,
        updated_at: now,
    }
}

/// A row as a client would give it, without its key.
fn described(row: &Provider) -> NewProvider {
    NewProvider {
        name: row.name.clone(),
        provider_type: row.provider_type.clone(),
        region: row.region.clone(),
        base_url: row.base_url.clone(),
        api_version: row.api_version.clone(),
        ..NewProvider::default()
    }
}

/// An error that names what the organization added beside what the server has.
fn naming_too(error: ResolveError, own: Option<&Catalogue>) -> ResolveError {
    let mut names: Vec<String> = own
        .map(Catalogue::endpoints)
        .unwrap_or_default()
        .iter()
        .map(|endpoint| endpoint.name().to_owned())
        .collect();
    if names.is_empty() {
        return error;
    }
    match error {
        ResolveError::UnknownProvider {
            handle,
            provider,
            known,
        } => {
            names.insert(0, known);
            ResolveError::UnknownProvider {
                handle,
                provider,
                known: names.join(", "),
            }
        }
        ResolveError::NoProviders { handle } => {
            let provider = handle.split_once('/').map_or("", |(provider, _)| provider);
            ResolveError::UnknownProvider {
                provider: provider.to_owned(),
                handle: handle.clone(),
                known: names.join(", "),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use mnemic_llm::{RetryPolicy, Timeouts};

    use super::*;

    fn row(name: &str, secrets: &Secrets) -> Provider {
        let new = NewProvider {
            name: name.to_owned(),
            provider_type: "openai".to_owned(),
            ..NewProvider::default()
        };
        let mut row = row_of(&new, Timestamp::default());
        row.seal_key(secrets, "sk-1").unwrap();
        row
    }

    #[test]
    fn organizations_have_catalogues_of_their_own_which_follow_their_rows() {
        let client = Client::new(Timeouts::default(), RetryPolicy::default()).unwrap();
        let secrets = Secrets::new(b"key");
        let added = Added::default();
        let (one, two) = (OrganizationId::new(), OrganizationId::new());
        let tools = (&client, &secrets);
        let rows = vec![row("mine", &secrets), row("ours", &secrets)];
        let first = added.catalogue(one, rows.clone(), tools).unwrap();
        assert!(first.has("mine") && first.has("ours"));
        assert!(added.catalogue(two, Vec::new(), tools).is_none());
        let theirs = added.catalogue(two, vec![row("theirs", &secrets)], tools);
        assert!(!theirs.unwrap().has("mine"));
        // What is known of a provider outlives changes of others.
        let kept = first.endpoints();
        let fewer = added.catalogue(one, rows[..1].to_vec(), tools).unwrap();
        assert!(fewer.has("mine") && !fewer.has("ours"));
        assert!(Arc::ptr_eq(&kept[0], &fewer.endpoints()[0]));
        assert!(added.catalogue(one, Vec::new(), tools).is_none());
    }

    #[test]
    fn a_key_of_another_encryption_key_leaves_its_provider_out() {
        let client = Client::new(Timeouts::default(), RetryPolicy::default()).unwrap();
        let secrets = Secrets::new(b"key");
        let rows = vec![row("mine", &Secrets::new(b"other")), row("ours", &secrets)];
        let found = Added::default().catalogue(OrganizationId::new(), rows, (&client, &secrets));
        let found = found.unwrap();
        assert!(!found.has("mine") && found.has("ours"));
    }
}
