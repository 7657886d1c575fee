//! Which agents a list shows, and which of their relations.

use mnemic_core::ids::IdentityId;
use mnemic_engine::agents::Relations;
use mnemic_store::agents::{AgentFilter, AgentOrder};
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};

use crate::{actor::ClientVersion, error::ApiError, extract::query_id};

/// A relation of agents by its name in `include`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub enum Include {
    #[serde(rename = "agent.blocks")]
    Blocks,
    #[serde(rename = "agent.identities")]
    Identities,
    #[serde(rename = "agent.managed_group")]
    ManagedGroup,
    #[serde(rename = "agent.pending_approval")]
    PendingApproval,
    #[serde(rename = "agent.secrets")]
    Secrets,
    #[serde(rename = "agent.sources")]
    Sources,
    #[serde(rename = "agent.tags")]
    Tags,
    #[serde(rename = "agent.tools")]
    Tools,
}

/// Which relations of agents an answer has.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct RelationsQuery {
    /// The relations that the answer has.
    #[param(inline)]
    include: Vec<Include>,
    /// The old form of `include`: bare names such as `tools` or `memory`; an empty one is none.
    #[serde(deserialize_with = "even_empty")]
    include_relationships: Option<Vec<String>>,
}

/// Reads a parameter without a value as a list too, not as if it were left out.
fn even_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl RelationsQuery {
    /// The relations for a client. One of version 1 that names none gets none; an older one all (V1
    /// contract, section 1.3).
    #[must_use]
    pub fn wanted(&self, version: ClientVersion) -> Relations {
        let named = self.include_relationships.is_some() || !self.include.is_empty();
        if !named && version == ClientVersion::Legacy {
            return Relations::ALL;
        }
        let old = |names: &[&str]| {
            let given = self.include_relationships.as_deref().unwrap_or_default();
            given.iter().any(|name| names.contains(&name.as_str()))
        };
        let new = |wanted: Include| self.include.contains(&wanted);
        Relations {
            blocks: new(Include::Blocks) || old(&["memory", "blocks"]),
            tools: new(Include::Tools) || old(&["tools"]),
            tags: new(Include::Tags) || old(&["tags"]),
            identities: new(Include::Identities) || old(&["identities", "identity_ids"]),
            secrets: new(Include::Secrets) || old(&["secrets", "tool_exec_environment_variables"]),
            pending: new(Include::PendingApproval),
            managed: new(Include::ManagedGroup) || old(&["multi_agent_group", "managed_group"]),
        }
    }
}

/// What agents are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OrderBy {
    CreatedAt,
    UpdatedAt,
    LastRunCompletion,
}

impl From<OrderBy> for AgentOrder {
    fn from(order: OrderBy) -> Self {
        match order {
            OrderBy::CreatedAt => Self::CreatedAt,
            OrderBy::UpdatedAt => Self::UpdatedAt,
            OrderBy::LastRunCompletion => Self::LastRunCompletion,
        }
    }
}

/// Which agents a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct AgentsQuery {
    /// Only those of exactly this name.
    name: Option<String>,
    /// Only those whose name contains this.
    query_text: Option<String>,
    /// Only those with these tags.
    tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    match_all_tags: Option<bool>,
    /// Only those linked to this identity.
    identity_id: Option<String>,
    /// Only those linked to an identity of one of these keys.
    identifier_keys: Vec<String>,
    /// Only those of this project.
    project_id: Option<String>,
    /// Only those of this template.
    template_id: Option<String>,
    /// Only those of this base template.
    base_template_id: Option<String>,
    /// Only those whose last run ended so.
    last_stop_reason: Option<String>,
    /// Only those that this user made.
    created_by_id: Option<String>,
    /// What they are sorted by: `created_at` when left out.
    #[param(inline)]
    order_by: Option<OrderBy>,
    /// The old name of `order_by`.
    #[param(inline)]
    sort_by: Option<OrderBy>,
}

impl AgentsQuery {
    /// The filter.
    ///
    /// # Errors
    /// The identity's id is malformed.
    pub fn filter(self) -> Result<AgentFilter, ApiError> {
        let identity_id: Option<IdentityId> = self
            .identity_id
            .map(|id| query_id("identity_id", &id))
            .transpose()?;
        Ok(AgentFilter {
            name: self.name,
            query_text: self.query_text.filter(|text| !text.is_empty()),
            tags: self.tags,
            match_all_tags: self.match_all_tags.unwrap_or(false),
            identity_id,
            identifier_keys: self.identifier_keys,
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
            last_stop_reason: self.last_stop_reason,
            created_by_id: self.created_by_id,
            block_id: None,
            archive_id: None,
            show_hidden: false,
            order_by: self
                .order_by
                .or(self.sort_by)
                .map(AgentOrder::from)
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::parse_query;

    fn wanted(query: &str, version: ClientVersion) -> Relations {
        parse_query::<RelationsQuery>(query)
            .unwrap()
            .wanted(version)
    }

    #[test]
    fn relations_are_shown_when_named_and_to_older_clients_by_default() {
        let some = Relations {
            blocks: true,
            tags: true,
            ..Relations::NONE
        };
        let table = [
            ("", ClientVersion::V1, Relations::NONE),
            ("", ClientVersion::Legacy, Relations::ALL),
            (
                "include=agent.blocks&include=agent.tags",
                ClientVersion::V1,
                some,
            ),
            (
                "include=agent.blocks&include=agent.tags",
                ClientVersion::Legacy,
                some,
            ),
            (
                "include_relationships=",
                ClientVersion::Legacy,
                Relations::NONE,
            ),
            (
                "include_relationships=memory&include_relationships=tags",
                ClientVersion::V1,
                some,
            ),
        ];
        for (query, version, relations) in table {
            assert_eq!(wanted(query, version), relations, "{query} {version:?}");
        }
        assert!(parse_query::<RelationsQuery>("include=agent.everything").is_err());
    }

    #[test]
    fn filters_are_read_from_the_query() {
        let query = "tags=a&tags=b&match_all_tags=true&sort_by=last_run_completion&query_text=";
        let filter = parse_query::<AgentsQuery>(query).unwrap().filter().unwrap();
        assert_eq!(filter.tags, ["a", "b"]);
        assert!(filter.match_all_tags && filter.query_text.is_none());
        assert_eq!(filter.order_by, AgentOrder::LastRunCompletion);
    }
}
