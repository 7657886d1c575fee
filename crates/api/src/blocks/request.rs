//! What clients say about blocks.

use mnemic_core::{blocks::BlockLabels, ids::IdentityId, validation};
use mnemic_engine::blocks::{NewBlock, check_limit};
use mnemic_store::blocks::{BlockFilter, BlockPatch};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{error::ApiError, extract::query_id, patch::given};

/// A new block.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct CreateBlockBody {
    /// The name under which agents edit it.
    #[schema(min_length = 1, max_length = 255)]
    label: String,
    /// The text; empty when left out.
    value: Option<String>,
    /// Characters it may hold.
    #[schema(minimum = 1, default = 100_000)]
    limit: Option<i64>,
    /// What it is for, shown to the model.
    description: Option<String>,
    /// Whether agents may only read it.
    read_only: Option<bool>,
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Map<String, Value>>,
    tags: Option<Vec<String>>,
    hidden: Option<bool>,
    is_template: Option<bool>,
    project_id: Option<String>,
    template_name: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
    deployment_id: Option<String>,
    entity_id: Option<String>,
    preserve_on_migration: Option<bool>,
}

impl CreateBlockBody {
    /// A block of which only label and value are given.
    #[must_use]
    pub fn plain(label: &str, value: String) -> Self {
        Self {
            label: label.to_owned(),
            value: Some(value),
            ..Self::default()
        }
    }

    /// The name under which agents edit it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// With the project that the request's header names, where the body names none.
    #[must_use]
    pub fn in_project(mut self, project_id: Option<String>) -> Self {
        self.project_id = self.project_id.or(project_id);
        self
    }
}

impl From<CreateBlockBody> for NewBlock {
    fn from(body: CreateBlockBody) -> Self {
        Self {
            label: body.label,
            value: body.value.unwrap_or_default(),
            limit: body.limit,
            description: body.description,
            read_only: body.read_only.unwrap_or(false),
            metadata: body.metadata.unwrap_or_default(),
            tags: body.tags.unwrap_or_default(),
            hidden: body.hidden,
            is_template: body.is_template.unwrap_or(false),
            labels: BlockLabels {
                project_id: body.project_id,
                template_name: body.template_name,
                template_id: body.template_id,
                base_template_id: body.base_template_id,
                deployment_id: body.deployment_id,
                entity_id: body.entity_id,
                preserve_on_migration: body.preserve_on_migration,
            },
        }
    }
}

/// What changes of a block: what is left out stays; null clears `description` and `hidden`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct UpdateBlockBody {
    #[schema(min_length = 1, max_length = 255)]
    label: Option<String>,
    value: Option<String>,
    #[schema(minimum = 1)]
    limit: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    read_only: Option<bool>,
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Map<String, Value>>,
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    hidden: Option<Option<bool>>,
    is_template: Option<bool>,
    project_id: Option<String>,
    template_name: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
    deployment_id: Option<String>,
    entity_id: Option<String>,
    preserve_on_migration: Option<bool>,
}

impl UpdateBlockBody {
    /// The change, checked.
    ///
    /// # Errors
    /// The label, the limit or a tag is not valid.
    pub fn patch(self) -> Result<BlockPatch, ApiError> {
        let invalid = |error: validation::Invalid| ApiError::bad_request(error.to_string());
        if let Some(label) = &self.label {
            validation::block_label(label).map_err(invalid)?;
        }
        for tag in self.tags.iter().flatten() {
            validation::tag(tag).map_err(invalid)?;
        }
        if let Some(limit) = self.limit {
            check_limit(limit)?;
        }
        Ok(BlockPatch {
            label: self.label,
            value: self.value,
            limit: self.limit,
            description: self.description,
            read_only: self.read_only,
            metadata: self.metadata,
            tags: self.tags,
            hidden: self.hidden,
            is_template: self.is_template,
            labels: BlockLabels {
                project_id: self.project_id,
                template_name: self.template_name,
                template_id: self.template_id,
                base_template_id: self.base_template_id,
                deployment_id: self.deployment_id,
                entity_id: self.entity_id,
                preserve_on_migration: self.preserve_on_migration,
            },
        })
    }
}

/// Which blocks a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// Only those with this label.
    label: Option<String>,
    /// Only templates.
    templates_only: Option<bool>,
    /// Only those with this template name.
    name: Option<String>,
    /// Only those linked to this identity.
    identity_id: Option<String>,
    /// Only those linked to an identity of one of these keys.
    identifier_keys: Vec<String>,
    /// Only those of this project.
    project_id: Option<String>,
    /// Only those with these tags.
    tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    match_all_tags: Option<bool>,
    /// Only those whose label contains this.
    label_search: Option<String>,
    /// Only those whose description contains this.
    description_search: Option<String>,
    /// Only those whose value contains this.
    value_search: Option<String>,
    /// Only those attached to more agents than this.
    connected_to_agents_count_gt: Option<i64>,
    /// Only those attached to fewer agents than this.
    connected_to_agents_count_lt: Option<i64>,
    /// Only those attached to one of these numbers of agents.
    connected_to_agents_count_eq: Vec<i64>,
}

impl BlocksQuery {
    /// The filter.
    ///
    /// # Errors
    /// The identity's id is malformed.
    pub fn filter(self) -> Result<BlockFilter, ApiError> {
        let identity_id: Option<IdentityId> = self
            .identity_id
            .map(|id| query_id("identity_id", &id))
            .transpose()?;
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(BlockFilter {
            agent_id: None,
            label: self.label,
            templates_only: self.templates_only.unwrap_or(false),
            name: self.name,
            identity_id,
            identifier_keys: self.identifier_keys,
            project_id: self.project_id,
            tags: self.tags,
            match_all_tags: self.match_all_tags.unwrap_or(false),
            label_search: text(self.label_search),
            description_search: text(self.description_search),
            value_search: text(self.value_search),
            agents_more_than: self.connected_to_agents_count_gt,
            agents_fewer_than: self.connected_to_agents_count_lt,
            agents_exactly: self.connected_to_agents_count_eq,
            show_hidden: false,
        })
    }
}
