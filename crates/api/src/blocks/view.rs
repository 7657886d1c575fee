//! Blocks as the V1 API shows them.

use mnemic_core::{
    blocks::{Author, Block, BlockVersion},
    ids::{AgentId, BlockId, RunId, UserId},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A block of core memory.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct BlockView {
    value: String,
    /// Characters it may hold.
    limit: i64,
    project_id: Option<String>,
    template_name: Option<String>,
    is_template: bool,
    template_id: Option<String>,
    base_template_id: Option<String>,
    deployment_id: Option<String>,
    entity_id: Option<String>,
    preserve_on_migration: bool,
    label: String,
    read_only: bool,
    description: Option<String>,
    #[schema(value_type = serde_json::Value)]
    metadata: Map<String, Value>,
    hidden: Option<bool>,
    #[schema(value_type = String)]
    id: BlockId,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    tags: Vec<String>,
}

impl From<Block> for BlockView {
    fn from(block: Block) -> Self {
        Self {
            value: block.value,
            limit: block.limit,
            project_id: block.labels.project_id,
            template_name: block.labels.template_name,
            is_template: block.is_template,
            template_id: block.labels.template_id,
            base_template_id: block.labels.base_template_id,
            deployment_id: block.labels.deployment_id,
            entity_id: block.labels.entity_id,
            preserve_on_migration: block.labels.preserve_on_migration.unwrap_or(false),
            label: block.label,
            read_only: block.read_only,
            description: block.description,
            metadata: block.metadata,
            hidden: block.hidden,
            id: block.id,
            created_by_id: block.created_by,
            last_updated_by_id: block.updated_by,
            tags: block.tags,
        }
    }
}

/// A state that a block had.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct BlockVersionView {
    #[schema(value_type = String)]
    block_id: BlockId,
    /// Its number, from 1.
    version: i64,
    label: String,
    value: String,
    limit: i64,
    description: Option<String>,
    read_only: bool,
    author: AuthorView,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

/// Who made a version: a user of the API, or an agent with a tool.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct AuthorView {
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    agent_id: Option<AgentId>,
    #[schema(value_type = Option<String>)]
    run_id: Option<RunId>,
    tool_call_id: Option<String>,
}

impl From<Author> for AuthorView {
    fn from(author: Author) -> Self {
        Self {
            user_id: author.user_id,
            agent_id: author.agent_id,
            run_id: author.run_id,
            tool_call_id: author.tool_call_id,
        }
    }
}

impl From<BlockVersion> for BlockVersionView {
    fn from(version: BlockVersion) -> Self {
        Self {
            block_id: version.block_id,
            version: version.version,
            label: version.label,
            value: version.value,
            limit: version.limit,
            description: version.description,
            read_only: version.read_only,
            author: version.author.into(),
            created_at: version.created_at,
        }
    }
}
