//! Archival memory: archives, and the passages that agents and clients write into them.

use mnemic_core::{
    archives::{self as domain, Archive},
    ids::{AgentId, ArchiveId, PassageId},
    passages::{NewPassage, Passage},
    scope::Scope,
    time::Timestamp,
    validation,
};
use mnemic_store::{StoreError, Tx, agents, archives, passages};
use serde_json::Value;

use crate::{Engine, EngineError};

/// Passages that one request may carry.
pub const MAX_BATCH: usize = 10_000;

/// Tags that one passage may have.
const MAX_TAGS: usize = 100;

/// An archive as its creator describes it.
#[derive(Debug, Clone, Default)]
pub struct NewArchive {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub description: Option<String>,
    /// The handle of its embedding model.
    pub embedding: Option<String>,
    /// Its embedding model in the V1 API's words, where no handle is given.
    pub embedding_config: Option<Value>,
}

/// What is to change of an archive; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct ArchivePatch {
    /// Its name.
    pub name: Option<String>,
    /// What is in it.
    pub description: Option<Option<String>>,
    /// The handle of another embedding model: all passages are embedded anew in the background.
    pub embedding: Option<String>,
}

pub(crate) fn check_name(name: &str) -> Result<(), EngineError> {
    let chars = name.chars().count();
    if name.trim().is_empty() || chars > domain::MAX_NAME_CHARS {
        return Err(EngineError::Invalid(format!(
            "an archive's name must have 1 to {} characters, this one has {chars}",
            domain::MAX_NAME_CHARS
        )));
    }
    Ok(())
}

pub(crate) fn check_description(description: Option<&String>) -> Result<(), EngineError> {
    let chars = description.map_or(0, |text| text.chars().count());
    if chars > domain::MAX_DESCRIPTION_CHARS {
        return Err(EngineError::Invalid(format!(
            "an archive's description may have {} characters, this one has {chars}",
            domain::MAX_DESCRIPTION_CHARS
        )));
    }
    Ok(())
}

pub(crate) fn check(new: &NewPassage) -> Result<(), EngineError> {
    new.check()
        .map_err(|error| EngineError::Invalid(error.to_string()))?;
    if new.text.trim().is_empty() {
        let text = "a passage must say something: its text is blank".to_owned();
        return Err(EngineError::Invalid(text));
    }
    if new.tags.len() > MAX_TAGS {
        return Err(EngineError::Invalid(format!(
            "a passage may have {MAX_TAGS} tags, this one has {}",
            new.tags.len()
        )));
    }
    for tag in &new.tags {
        validation::tag(tag).map_err(|error| EngineError::Invalid(error.to_string()))?;
    }
    Ok(())
}

/// The passage as it is stored: tags each once, in the order in which they were given.
pub(crate) fn passage(
    scope: &Scope,
    archive_id: ArchiveId,
    new: NewPassage,
    now: Timestamp,
) -> Passage {
    let mut tags: Vec<String> = Vec::with_capacity(new.tags.len());
    for tag in new.tags {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Passage {
        seq: 0,
        id: PassageId::new(),
        archive_id,
        subject: scope.subject.clone(),
        text: new.text,
        tags,
        metadata: new.metadata,
        created_by: Some(scope.actor),
        created_at: new.created_at.unwrap_or(now),
        updated_at: now,
    }
}

/// The archive that an agent writes to; the first passage makes it.
///
/// # Errors
/// There is no such agent, or the database's.
pub(crate) async fn own(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    now: Timestamp,
) -> Result<Archive, StoreError> {
    if let Some(archive) = first(tx, scope, agent_id).await? {
        return Ok(archive);
    }
    // Two first passages at once must not make two archives.
    let agent = agents::get_for_update(tx, scope, agent_id).await?;
    if let Some(archive) = first(tx, scope, agent_id).await? {
        return Ok(archive);
    }
    let archive = Archive {
        id: ArchiveId::new(),
        // The agent's, whoever it talks with; each passage says whose it is.
        subject: None,
        name: domain::default_name(&agent.name),
        description: None,
        embedding_config: agent.embedding_config,
        metadata: None,
        created_by: Some(scope.actor),
        updated_by: Some(scope.actor),
        created_at: now,
        updated_at: now,
    };
    archives::insert(tx, scope, &archive).await?;
    archives::attach(tx, scope, (agent_id, archive.id), now).await?;
    Ok(archive)
}

async fn first(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Option<Archive>, StoreError> {
    Ok(archives::of_agent(tx, scope, agent_id)
        .await?
        .into_iter()
        .next())
}

/// Writes passages into the archive of an agent, inside the caller's transaction.
///
/// # Errors
/// There is no such agent, a passage is not valid, or the database's.
pub(crate) async fn remember(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    new: Vec<NewPassage>,
    now: Timestamp,
) -> Result<(Archive, Vec<Passage>), EngineError> {
    for passage in &new {
        check(passage)?;
    }
    let archive = own(tx, scope, agent_id, now).await?;
    let stored: Vec<Passage> = new
        .into_iter()
        .map(|new| passage(scope, archive.id, new, now))
        .collect();
    passages::insert(tx, scope, archive.id, &stored).await?;
    Ok((archive, stored))
}

impl Engine {
    /// Makes an archive.
    ///
    /// # Errors
    /// Its name is not valid, there is no such embedding model, or the database's.
    pub async fn create_archive(
        &self,
        scope: &Scope,
        new: NewArchive,
    ) -> Result<Archive, EngineError> {
        check_name(&new.name)?;
        check_description(new.description.as_ref())?;
        let embedding_config = match (&new.embedding, new.embedding_config) {
            (Some(handle), _) => Some(self.embedding_config_of(scope, handle, None).await?),
            (None, config) => {
                let named = config.as_ref().and_then(|config| config.get("handle"));
                match named.and_then(serde_json::Value::as_str) {
                    Some(handle) => Some(self.embedding_config_of(scope, handle, None).await?),
                    None => config,
                }
            }
        };
        let now = self.now();
        let archive = Archive {
            id: ArchiveId::new(),
            subject: scope.subject.clone(),
            name: new.name,
            description: new.description,
            embedding_config,
            metadata: None,
            created_by: Some(scope.actor),
            updated_by: Some(scope.actor),
            created_at: now,
            updated_at: now,
        };
        let (scope, stored) = (scope.clone(), archive.clone());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    archives::insert(tx, &scope, &stored)
                        .await
                        .map_err(EngineError::from)
                })
            })
            .await?;
        Ok(archive)
    }

    /// Changes an archive.
    ///
    /// # Errors
    /// There is no such archive or embedding model, its name is not valid, or the database's.
    pub async fn update_archive(
        &self,
        scope: &Scope,
        id: ArchiveId,
        patch: ArchivePatch,
    ) -> Result<Archive, EngineError> {
        if let Some(name) = &patch.name {
            check_name(name)?;
        }
        check_description(patch.description.as_ref().and_then(Option::as_ref))?;
        let embedding = match &patch.embedding {
            Some(handle) => Some(self.embedding_config_of(scope, handle, None).await?),
            None => None,
        };
        let (scope, now) = (scope.clone(), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    let mut archive = archives::get(tx, &scope, id).await?;
                    if let Some(name) = patch.name {
                        archive.name = name;
                    }
                    if let Some(description) = patch.description {
                        archive.description = description;
                    }
                    if embedding.is_some() {
                        archive.embedding_config = embedding;
                    }
                    archives::update(tx, &scope, &archive, now).await?;
                    Ok(archives::get(tx, &scope, id).await?)
                })
            })
            .await
    }

    /// Writes passages into an archive.
    ///
    /// # Errors
    /// There is no such archive, a passage is not valid, there are too many, or the database's.
    pub async fn insert_passages(
        &self,
        scope: &Scope,
        archive_id: ArchiveId,
        new: Vec<NewPassage>,
    ) -> Result<(Archive, Vec<Passage>), EngineError> {
        check_batch(&new)?;
        let (engine, scope, now) = (self.clone(), scope.clone(), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    let archive = archives::get(tx, &scope, archive_id).await?;
                    engine.check_room(tx, &scope, None).await?;
                    let stored: Vec<Passage> = new
                        .into_iter()
                        .map(|new| passage(&scope, archive.id, new, now))
                        .collect();
                    passages::insert(tx, &scope, archive.id, &stored).await?;
                    Ok((archive, stored))
                })
            })
            .await
    }

    /// Writes passages into the archive of an agent, which the first of them makes.
    ///
    /// # Errors
    /// There is no such agent, a passage is not valid, there are too many, or the database's.
    pub async fn insert_memories(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        new: Vec<NewPassage>,
    ) -> Result<(Archive, Vec<Passage>), EngineError> {
        check_batch(&new)?;
        let (engine, scope, now) = (self.clone(), scope.clone(), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    agents::get(tx, &scope, agent_id).await?;
                    engine.check_room(tx, &scope, Some(agent_id)).await?;
                    remember(tx, &scope, agent_id, new, now).await
                })
            })
            .await
    }
}

fn check_batch(new: &[NewPassage]) -> Result<(), EngineError> {
    if new.len() > MAX_BATCH {
        return Err(EngineError::Invalid(format!(
            "{} passages are more than the {MAX_BATCH} that one request may carry: send them in parts",
            new.len()
        )));
    }
    new.iter().try_for_each(check)
}
