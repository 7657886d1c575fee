//! The shapes of groups.

use mnemic_core::{
    groups::{Group, ManagerType},
    ids::{AgentId, BlockId, GroupId, MessageId},
};
use mnemic_engine::groups::{GroupFields, Manager};
use mnemic_store::groups::GroupFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::patch::given;

/// A group of agents.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct GroupView {
    #[schema(value_type = String)]
    id: GroupId,
    #[schema(value_type = String)]
    manager_type: ManagerType,
    /// Its members, in their order.
    #[schema(value_type = Vec<String>)]
    agent_ids: Vec<AgentId>,
    description: String,
    project_id: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
    deployment_id: Option<String>,
    #[schema(value_type = Vec<String>)]
    shared_block_ids: Vec<BlockId>,
    #[schema(value_type = Option<String>)]
    manager_agent_id: Option<AgentId>,
    termination_token: Option<String>,
    max_turns: Option<i64>,
    sleeptime_agent_frequency: Option<i64>,
    /// Turns of the manager so far, beginning with -1; those of no end user in particular.
    turns_counter: Option<i64>,
    #[schema(value_type = Option<String>)]
    last_processed_message_id: Option<MessageId>,
    max_message_buffer_length: Option<i64>,
    min_message_buffer_length: Option<i64>,
    hidden: Option<bool>,
}

impl From<Group> for GroupView {
    fn from(group: Group) -> Self {
        let settings = group.settings;
        Self {
            id: group.id,
            manager_type: group.manager_type,
            agent_ids: group.agent_ids,
            description: group.description,
            project_id: group.project_id,
            template_id: None,
            base_template_id: None,
            deployment_id: None,
            shared_block_ids: group.shared_block_ids,
            manager_agent_id: group.manager_agent_id,
            termination_token: settings.termination_token,
            max_turns: settings.max_turns,
            sleeptime_agent_frequency: settings.sleeptime_agent_frequency,
            turns_counter: group.turns_counter,
            last_processed_message_id: group.last_processed_message_id,
            max_message_buffer_length: settings.max_message_buffer_length,
            min_message_buffer_length: settings.min_message_buffer_length,
            hidden: group.hidden,
        }
    }
}

/// What becomes of a deleted group.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    message: String,
}

impl Deleted {
    pub(super) fn of(id: GroupId) -> Self {
        Self {
            message: format!("Group id={id} successfully deleted"),
        }
    }
}

/// How a group is managed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct ManagerBody {
    /// `round_robin`, `supervisor`, `dynamic`, `sleeptime` or `voice_sleeptime`.
    #[schema(value_type = Option<String>)]
    manager_type: Option<ManagerType>,
    /// The agent that manages it; all types but `round_robin` need one.
    #[schema(value_type = Option<String>)]
    manager_agent_id: Option<AgentId>,
    /// How often members speak at the most.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    max_turns: Option<Option<i64>>,
    /// The word that says that the work is done.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    termination_token: Option<Option<String>>,
    /// Turns of the manager between two that make the members work; null is each turn.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    sleeptime_agent_frequency: Option<Option<i64>>,
    /// Kept for the client.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    max_message_buffer_length: Option<Option<i64>>,
    /// Kept for the client.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    min_message_buffer_length: Option<Option<i64>>,
}

impl From<ManagerBody> for Manager {
    fn from(body: ManagerBody) -> Self {
        Self {
            manager_type: body.manager_type,
            manager_agent_id: body.manager_agent_id,
            max_turns: body.max_turns,
            termination_token: body.termination_token,
            sleeptime_agent_frequency: body.sleeptime_agent_frequency,
            max_message_buffer_length: body.max_message_buffer_length,
            min_message_buffer_length: body.min_message_buffer_length,
        }
    }
}

/// A new group.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CreateGroupBody {
    /// Its members, in their order.
    #[schema(value_type = Vec<String>, max_items = 100)]
    agent_ids: Vec<AgentId>,
    /// What it is for.
    description: String,
    /// How it is managed: `round_robin` when left out.
    manager_config: Option<ManagerBody>,
    project_id: Option<String>,
    /// Blocks that all members have.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    shared_block_ids: Option<Vec<BlockId>>,
    hidden: Option<bool>,
}

impl From<CreateGroupBody> for GroupFields {
    fn from(body: CreateGroupBody) -> Self {
        Self {
            agent_ids: Some(body.agent_ids),
            description: Some(body.description),
            manager: body.manager_config.map(Manager::from),
            project_id: body.project_id,
            shared_block_ids: body.shared_block_ids,
            hidden: body.hidden,
        }
    }
}

/// What changes of a group; what is left out or null stays.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct UpdateGroupBody {
    /// Its members, in their order.
    #[schema(value_type = Option<Vec<String>>, max_items = 100)]
    agent_ids: Option<Vec<AgentId>>,
    /// What it is for.
    description: Option<String>,
    /// How it is managed; fields that are left out stay, unless the type is another one.
    manager_config: Option<ManagerBody>,
    project_id: Option<String>,
    /// Blocks that all members have.
    #[schema(value_type = Option<Vec<String>>)]
    shared_block_ids: Option<Vec<BlockId>>,
}

impl From<UpdateGroupBody> for GroupFields {
    fn from(body: UpdateGroupBody) -> Self {
        Self {
            agent_ids: body.agent_ids,
            description: body.description,
            manager: body.manager_config.map(Manager::from),
            project_id: body.project_id,
            shared_block_ids: body.shared_block_ids,
            hidden: None,
        }
    }
}

/// The types that a list can be limited to.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WantedType {
    RoundRobin,
    Supervisor,
    Dynamic,
    Sleeptime,
    VoiceSleeptime,
    /// The old server's word for a type that no group can have.
    Swarm,
}

impl WantedType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Supervisor => "supervisor",
            Self::Dynamic => "dynamic",
            Self::Sleeptime => "sleeptime",
            Self::VoiceSleeptime => "voice_sleeptime",
            Self::Swarm => "swarm",
        }
    }
}

/// Which groups a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupsQuery {
    /// Only those that are managed so.
    #[param(inline)]
    manager_type: Option<WantedType>,
    /// Only those of this project.
    project_id: Option<String>,
}

impl From<GroupsQuery> for GroupFilter {
    fn from(query: GroupsQuery) -> Self {
        Self {
            manager_type: query.manager_type.map(|kind| kind.as_str().to_owned()),
            project_id: query.project_id,
            agent_id: None,
        }
    }
}

/// Which groups of an agent a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct AgentGroupsQuery {
    /// Only those that are managed so.
    pub(super) manager_type: Option<String>,
}
