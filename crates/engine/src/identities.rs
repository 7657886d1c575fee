//! Making and changing identities: what a client may ask for, checked.

use mnemic_core::{
    identities::{Identity, IdentityType, Property, merged},
    ids::IdentityId,
    scope::Scope,
    validation,
};
use mnemic_store::{
    StoreError,
    identities::{self, IdentityPatch, NamedLinks},
};

use crate::{Engine, EngineError};

/// Properties that an identity may have.
const MAX_PROPERTIES: usize = 1_000;

/// An identity as its creator describes it.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    /// The client's own id of it.
    pub identifier_key: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub identity_type: IdentityType,
    /// The client's project.
    pub project_id: Option<String>,
    /// Facts about it; a key that is named twice has its last value.
    pub properties: Option<Vec<Property>>,
    /// What is linked to it.
    pub links: NamedLinks,
}

fn invalid(error: validation::Invalid) -> EngineError {
    EngineError::Invalid(error.to_string())
}

fn check(patch: &IdentityPatch, project: Option<&str>) -> Result<(), EngineError> {
    if let Some(key) = &patch.identifier_key {
        validation::identity_key(key, project).map_err(invalid)?;
    }
    if let Some(name) = &patch.name {
        validation::identity_name(name).map_err(invalid)?;
    }
    check_number(patch.properties.as_deref().unwrap_or_default())
}

fn check_number(properties: &[Property]) -> Result<(), EngineError> {
    let number = properties.len();
    if number > MAX_PROPERTIES {
        return Err(EngineError::Invalid(format!(
            "an identity may have at most {MAX_PROPERTIES} properties; these are {number}"
        )));
    }
    Ok(())
}

/// Each key once.
fn distinct(patch: IdentityPatch) -> IdentityPatch {
    IdentityPatch {
        properties: patch.properties.map(|given| merged(Vec::new(), given)),
        ..patch
    }
}

impl NewIdentity {
    /// The identity as it is stored when it is new, and what changes when it is there already.
    pub(crate) fn ready(
        self,
        engine: &Engine,
        scope: &Scope,
    ) -> Result<(Identity, IdentityPatch), EngineError> {
        let now = engine.now();
        let patch = IdentityPatch {
            identifier_key: Some(self.identifier_key.clone()),
            name: Some(self.name.clone()),
            identity_type: Some(self.identity_type),
            properties: self.properties,
            links: self.links,
        };
        check(&patch, self.project_id.as_deref())?;
        let patch = distinct(patch);
        let identity = Identity {
            id: IdentityId::new(),
            organization_id: scope.organization,
            identifier_key: self.identifier_key,
            name: self.name,
            identity_type: self.identity_type,
            properties: patch.properties.clone().unwrap_or_default(),
            project_id: self.project_id,
            created_at: now,
            updated_at: now,
        };
        Ok((identity, patch))
    }
}

impl Engine {
    /// Makes an identity.
    ///
    /// # Errors
    /// A value is not valid, its key is taken, something that is linked does not exist, or the database's.
    pub async fn create_identity(
        &self,
        scope: &Scope,
        new: NewIdentity,
    ) -> Result<IdentityId, EngineError> {
        let (identity, patch) = new.ready(self, scope)?;
        let (scope, id) = (scope.clone(), identity.id);
        let made = self.store().write(move |tx| {
            Box::pin(async move { identities::insert(tx, &scope, &identity, &patch.links).await })
        });
        made.await
            .map_err(|error: StoreError| error.into())
            .map(|()| id)
    }

    /// Makes an identity, or changes the one that has its key; properties and links that are not given stay.
    ///
    /// # Errors
    /// A value is not valid, something that is linked does not exist, or the database's.
    pub async fn upsert_identity(
        &self,
        scope: &Scope,
        new: NewIdentity,
    ) -> Result<IdentityId, EngineError> {
        let (identity, patch) = new.ready(self, scope)?;
        let scope = scope.clone();
        let stored = self.store().write(move |tx| {
            Box::pin(async move { identities::upsert(tx, &scope, identity, patch).await })
        });
        stored.await.map_err(|error: StoreError| error.into())
    }

    /// Changes an identity.
    ///
    /// # Errors
    /// There is none, a value is not valid, its new key is taken, something that is linked does not exist,
    /// or the database's.
    pub async fn update_identity(
        &self,
        scope: &Scope,
        id: IdentityId,
        patch: IdentityPatch,
    ) -> Result<(), EngineError> {
        check(&patch, None)?;
        let (scope, patch, now) = (scope.clone(), distinct(patch), self.now());
        let changed = self.store().write(move |tx| {
            Box::pin(async move { identities::update(tx, &scope, id, patch, now).await })
        });
        changed.await.map_err(|error: StoreError| error.into())
    }

    /// Lays properties over those that an identity has.
    ///
    /// # Errors
    /// There is none, it would have too many properties, or the database's.
    pub async fn set_identity_properties(
        &self,
        scope: &Scope,
        id: IdentityId,
        properties: Vec<Property>,
    ) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let changed = self.store().write(move |tx| {
            Box::pin(async move {
                let before = identities::get_for_update(tx, &scope, id).await?;
                let properties = merged(before.properties, properties);
                check_number(&properties)?;
                let patch = IdentityPatch {
                    properties: Some(properties),
                    ..IdentityPatch::default()
                };
                identities::update(tx, &scope, id, patch, now).await?;
                Ok::<_, EngineError>(())
            })
        });
        changed.await
    }
}
