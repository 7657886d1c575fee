//! Making blocks: what a client may ask for, checked.

use mnemic_core::{
    blocks::{Author, Block, BlockLabels, DEFAULT_LIMIT},
    ids::AgentId,
    memory::{self, BlockEdit},
    scope::Scope,
    system_prompts::default_block_description,
    time::Timestamp,
    validation,
};
use mnemic_store::{
    StoreError, Tx, agents,
    blocks::{self, Place},
    own_threads,
};
use serde_json::{Map, Value};

use crate::{Engine, EngineError};

/// A block as its creator describes it.
#[derive(Debug, Clone, Default)]
pub struct NewBlock {
    /// Its label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// Characters it may hold.
    pub limit: Option<i64>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
    /// Free data.
    pub metadata: Map<String, Value>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Left out of lists.
    pub hidden: Option<bool>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Stored for the client.
    pub labels: BlockLabels,
}

impl NewBlock {
    /// The block as it is stored.
    ///
    /// # Errors
    /// Its label, limit or a tag is not valid, or its value is longer than its limit.
    pub fn into_block(self, now: Timestamp) -> Result<Block, EngineError> {
        let invalid = |error: validation::Invalid| EngineError::Invalid(error.to_string());
        validation::block_label(&self.label).map_err(invalid)?;
        for tag in &self.tags {
            validation::tag(tag).map_err(invalid)?;
        }
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        check_limit(limit)?;
        let description = self
            .description
            .or_else(|| default_block_description(&self.label).map(str::to_owned));
        let empty = Block {
            limit,
            read_only: self.read_only,
            metadata: self.metadata,
            tags: self.tags,
            hidden: self.hidden,
            is_template: self.is_template,
            labels: self.labels,
            ..Block::empty(self.label, description, now)
        };
        memory::check_limit(&empty, &self.value)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        Ok(Block {
            value: self.value,
            ..empty
        })
    }
}

/// Refuses a limit that no block can have.
///
/// # Errors
/// It is less than 1.
pub fn check_limit(limit: i64) -> Result<(), EngineError> {
    if limit > 0 {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "a block's limit must be at least 1, not {limit}"
    )))
}

/// The label of the common block of facts.
const FACTS: &str = "facts";

impl Engine {
    /// Makes a block that is not attached to any agent.
    ///
    /// # Errors
    /// It is not valid, or the database's.
    pub async fn create_block(&self, scope: &Scope, new: NewBlock) -> Result<Block, EngineError> {
        let block = new.into_block(self.now())?;
        let scope = scope.clone();
        let made = self.store().write(move |tx| {
            Box::pin(async move {
                blocks::insert(tx, &scope, &block, &Author::asking(&scope)).await?;
                blocks::get(tx, &scope, block.id).await
            })
        });
        made.await.map_err(|error: StoreError| error.into())
    }

    /// Adds a line to core memory: to the own block about the scope's user, or else to the common block of facts, which
    /// the first line makes.
    ///
    /// # Errors
    /// There is no such agent, the block has no room or may only be read, or the database's.
    pub async fn note(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        content: String,
    ) -> Result<Block, EngineError> {
        let (engine, scope, now) = (self.clone(), scope.clone(), self.now());
        let noted = self.store().write(move |tx| {
            Box::pin(async move {
                engine.check_room(tx, &scope, Some(agent_id)).await?;
                Ok(note(tx, &scope, agent_id, content, now).await?)
            })
        });
        noted.await
    }
}

async fn note(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    content: String,
    now: Timestamp,
) -> Result<Block, StoreError> {
    agents::get_for_update(tx, scope, agent_id).await?;
    let author = Author::asking(scope);
    let (place, label) = if scope.subject.is_some() {
        let thread = own_threads::find_or_make(tx, scope, agent_id, now).await?;
        (Place::from((agent_id, thread)), own_threads::HUMAN)
    } else {
        let place = Place::from(agent_id);
        if blocks::shown_as(tx, scope, place, FACTS).await?.is_none() {
            let about = "What is true for everybody the agent talks with.".to_owned();
            let empty = Block::empty(FACTS, Some(about), now);
            blocks::insert(tx, scope, &empty, &author).await?;
            blocks::attach(tx, scope, agent_id, empty.id).await?;
            agents::touch(tx, scope, agent_id, now).await?;
        }
        (place, FACTS)
    };
    let change = blocks::Change {
        edit: &BlockEdit::Append { content },
        based_on: None,
        author: &author,
        now,
    };
    blocks::edit(tx, scope, (place, label), &change).await
}
