//! What agents of a file share: blocks, archives with their passages, identities.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{AgentFile, ArchiveEntry, IdentityEntry},
    archives::Archive,
    blocks::{Author, Block},
    identities::{Identity, IdentityType},
    ids::{ArchiveId, BlockId, IdentityId},
    passages::{NewPassage, Passage},
    scope::Scope,
};
use mnemic_store::{
    Tx, archives, blocks,
    identities::{self, Attachment, IdentityFilter, NamedLinks},
    page::{Order, Page},
    passages,
};

use super::{agents::new_block, conversations::checked_user};
use crate::{
    Engine, EngineError,
    archives::{check, check_description, check_name, passage},
    identities::NewIdentity,
};

/// Identities of one key: one in each project.
const PROJECTS: i64 = 10_000;

/// The ids here of what has ids in a file.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub blocks: BTreeMap<String, BlockId>,
    pub archives: BTreeMap<String, ArchiveId>,
    pub identities: BTreeMap<String, IdentityId>,
}

/// What agents of a file share, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct ReadyMemory {
    blocks: Vec<(String, Block)>,
    archives: Vec<(String, Archive, Vec<Passage>)>,
    identities: Vec<(String, Identity)>,
    block_identities: BTreeMap<String, Vec<String>>,
}

impl Engine {
    pub(super) async fn memory_of(
        &self,
        scope: &Scope,
        file: &AgentFile,
        left_out: &mut Vec<String>,
    ) -> Result<ReadyMemory, EngineError> {
        let now = self.now();
        let mut ready = ReadyMemory {
            block_identities: file.mnemic.block_identities.clone(),
            ..ReadyMemory::default()
        };
        for (place, entry) in (0_i64..).zip(&file.blocks) {
            // A microsecond apart, so that lists by age keep their order.
            let block = new_block(entry).into_block(now.plus_micros(place))?;
            ready.blocks.push((entry.id.clone(), block));
        }
        for entry in &file.mnemic.identities {
            let (identity, _) = new_identity(entry)?.ready(self, scope)?;
            ready.identities.push((entry.id.clone(), identity));
        }
        for entry in &file.mnemic.archives {
            let (archive, passages) = self.archive_of(scope, entry, left_out).await?;
            ready.archives.push((entry.id.clone(), archive, passages));
        }
        Ok(ready)
    }

    async fn archive_of(
        &self,
        scope: &Scope,
        entry: &ArchiveEntry,
        left_out: &mut Vec<String>,
    ) -> Result<(Archive, Vec<Passage>), EngineError> {
        let now = self.now();
        check_name(&entry.name)?;
        check_description(entry.description.as_ref())?;
        let embedding_config = match &entry.embedding {
            None => None,
            Some(handle) => match self.embedding_config_of(scope, handle, None).await {
                Ok(config) => Some(config),
                Err(_) => {
                    left_out.push(format!(
                        "the embedding model {handle} of the archive '{}', which this server does not have",
                        entry.name
                    ));
                    None
                }
            },
        };
        let archive = Archive {
            id: ArchiveId::new(),
            subject: scope.subject.clone(),
            name: entry.name.clone(),
            description: entry.description.clone(),
            embedding_config,
            metadata: entry.metadata.clone(),
            created_by: Some(scope.actor),
            updated_by: Some(scope.actor),
            created_at: now,
            updated_at: now,
        };
        let mut passages = Vec::with_capacity(entry.passages.len());
        for one in &entry.passages {
            let new = NewPassage {
                text: one.text.clone(),
                tags: one.tags.clone(),
                metadata: one.metadata.clone(),
                created_at: one.created_at,
            };
            check(&new)?;
            let whose = scope.of_subject(one.subject.clone().map(checked_user).transpose()?);
            passages.push(passage(&whose, archive.id, new, now));
        }
        Ok((archive, passages))
    }
}

fn new_identity(entry: &IdentityEntry) -> Result<NewIdentity, EngineError> {
    let kind = &entry.identity_type;
    let identity_type = IdentityType::parse(kind).ok_or_else(|| {
        EngineError::Invalid(format!(
            "the agent file is wrong at mnemic.identities: '{kind}' is neither org nor user nor other"
        ))
    })?;
    Ok(NewIdentity {
        identifier_key: entry.identifier_key.clone(),
        name: entry.name.clone(),
        identity_type,
        project_id: entry.project_id.clone(),
        properties: Some(entry.properties.clone()),
        links: NamedLinks::default(),
    })
}

impl ReadyMemory {
    pub(super) async fn store(self, tx: &mut Tx<'_>, scope: &Scope) -> Result<Placed, EngineError> {
        let mut placed = Placed::default();
        for (id, identity) in self.identities {
            let here = known_or_new(tx, scope, &identity).await?;
            placed.identities.insert(id, here);
        }
        for (id, block) in self.blocks {
            blocks::insert(tx, scope, &block, &Author::asking(scope)).await?;
            let linked = self.block_identities.get(&id).into_iter().flatten();
            for identity in linked.filter_map(|one| placed.identities.get(one)) {
                let to = Attachment::Block(block.id);
                identities::attach(tx, scope, *identity, to).await?;
            }
            placed.blocks.insert(id, block.id);
        }
        for (id, archive, texts) in self.archives {
            archives::insert(tx, scope, &archive).await?;
            for of_one in texts.chunk_by(|one, next| one.subject == next.subject) {
                let subject = of_one.first().and_then(|one| one.subject.clone());
                passages::insert(tx, &scope.of_subject(subject), archive.id, of_one).await?;
            }
            placed.archives.insert(id, archive.id);
        }
        Ok(placed)
    }
}

/// The identity that has the key already, as it is, else a new one.
async fn known_or_new(
    tx: &mut Tx<'_>,
    scope: &Scope,
    identity: &Identity,
) -> Result<IdentityId, EngineError> {
    let filter = IdentityFilter {
        identifier_key: Some(identity.identifier_key.clone()),
        ..IdentityFilter::default()
    };
    let page = Page::first(PROJECTS, Order::Asc);
    let known = identities::list(tx, scope, &filter, &page).await?;
    if let Some(known) = known
        .iter()
        .find(|one| one.project_id == identity.project_id)
    {
        return Ok(known.id);
    }
    identities::insert(tx, scope, identity, &NamedLinks::default()).await?;
    Ok(identity.id)
}
