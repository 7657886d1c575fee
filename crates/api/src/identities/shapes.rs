//! Identities as clients write and read them. Unknown fields are refused, as the V1 API does here.

use mnemic_core::{
    identities::{Identity, IdentityType, Links, Property, PropertyType, PropertyValue},
    ids::{AgentId, BlockId, IdentityId, OrganizationId},
};
use mnemic_engine::identities::NewIdentity;
use mnemic_store::identities::{IdentityFilter, IdentityPatch, NamedLinks};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use utoipa::{IntoParams, ToSchema};

/// What an identity is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    Org,
    User,
    Other,
}

impl From<Kind> for IdentityType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Org => Self::Org,
            Kind::User => Self::User,
            Kind::Other => Self::Other,
        }
    }
}

impl From<IdentityType> for Kind {
    fn from(kind: IdentityType) -> Self {
        match kind {
            IdentityType::Org => Self::Org,
            IdentityType::User => Self::User,
            IdentityType::Other => Self::Other,
        }
    }
}

/// What the value of a property is meant to be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ValueKind {
    String,
    Number,
    Boolean,
    Json,
}

impl From<ValueKind> for PropertyType {
    fn from(kind: ValueKind) -> Self {
        match kind {
            ValueKind::String => Self::String,
            ValueKind::Number => Self::Number,
            ValueKind::Boolean => Self::Boolean,
            ValueKind::Json => Self::Json,
        }
    }
}

impl From<PropertyType> for ValueKind {
    fn from(kind: PropertyType) -> Self {
        match kind {
            PropertyType::String => Self::String,
            PropertyType::Number => Self::Number,
            PropertyType::Boolean => Self::Boolean,
            PropertyType::Json => Self::Json,
        }
    }
}

/// The value of a property: a text, a number, true or false, or an object.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum ValueBody {
    Text(String),
    #[schema(value_type = f64)]
    Number(Number),
    Boolean(bool),
    #[schema(value_type = Object)]
    Object(Map<String, Value>),
}

/// A fact about an identity.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyBody {
    /// Its name.
    key: String,
    /// Its value.
    value: ValueBody,
    /// What the value is meant to be.
    #[serde(rename = "type")]
    kind: ValueKind,
}

impl From<PropertyBody> for Property {
    fn from(body: PropertyBody) -> Self {
        Self {
            key: body.key,
            value: match body.value {
                ValueBody::Text(text) => PropertyValue::Text(text),
                ValueBody::Number(number) => PropertyValue::Number(number),
                ValueBody::Boolean(boolean) => PropertyValue::Boolean(boolean),
                ValueBody::Object(object) => PropertyValue::Object(object),
            },
            kind: body.kind.into(),
        }
    }
}

impl From<Property> for PropertyBody {
    fn from(property: Property) -> Self {
        Self {
            key: property.key,
            value: match property.value {
                PropertyValue::Text(text) => ValueBody::Text(text),
                PropertyValue::Number(number) => ValueBody::Number(number),
                PropertyValue::Boolean(boolean) => ValueBody::Boolean(boolean),
                PropertyValue::Object(object) => ValueBody::Object(object),
            },
            kind: property.kind.into(),
        }
    }
}

fn properties(given: Option<Vec<PropertyBody>>) -> Option<Vec<Property>> {
    given.map(|given| given.into_iter().map(Property::from).collect())
}

/// A new identity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIdentityBody {
    /// The client's own id of it, unique within a project.
    #[schema(min_length = 1, max_length = 255)]
    identifier_key: String,
    /// Its name.
    #[schema(min_length = 1, max_length = 1000)]
    name: String,
    /// What it is.
    identity_type: Kind,
    /// The project that it belongs to.
    #[schema(min_length = 1, max_length = 100)]
    project_id: Option<String>,
    /// Agents that are linked to it.
    #[schema(value_type = Option<Vec<String>>)]
    agent_ids: Option<Vec<AgentId>>,
    /// Blocks that are linked to it.
    #[schema(value_type = Option<Vec<String>>)]
    block_ids: Option<Vec<BlockId>>,
    /// Facts about it.
    properties: Option<Vec<PropertyBody>>,
}

impl CreateIdentityBody {
    /// What the engine is asked for; `project` is what the request's header names.
    #[must_use]
    pub fn into_new(self, project: Option<String>) -> NewIdentity {
        NewIdentity {
            identifier_key: self.identifier_key,
            name: self.name,
            identity_type: self.identity_type.into(),
            project_id: self.project_id.or(project),
            properties: properties(self.properties),
            links: NamedLinks {
                agents: self.agent_ids,
                blocks: self.block_ids,
            },
        }
    }
}

/// What changes of an identity: what is left out or null stays, lists replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateIdentityBody {
    /// The client's own id of it.
    #[schema(min_length = 1, max_length = 255)]
    identifier_key: Option<String>,
    /// Its name.
    #[schema(min_length = 1, max_length = 1000)]
    name: Option<String>,
    /// What it is.
    identity_type: Option<Kind>,
    /// Agents that are linked to it.
    #[schema(value_type = Option<Vec<String>>)]
    agent_ids: Option<Vec<AgentId>>,
    /// Blocks that are linked to it.
    #[schema(value_type = Option<Vec<String>>)]
    block_ids: Option<Vec<BlockId>>,
    /// Facts about it.
    properties: Option<Vec<PropertyBody>>,
}

impl From<UpdateIdentityBody> for IdentityPatch {
    fn from(body: UpdateIdentityBody) -> Self {
        Self {
            identifier_key: body.identifier_key,
            name: body.name,
            identity_type: body.identity_type.map(IdentityType::from),
            properties: properties(body.properties),
            links: NamedLinks {
                agents: body.agent_ids,
                blocks: body.block_ids,
            },
        }
    }
}

/// Which identities a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct IdentitiesQuery {
    /// Only those of exactly this name.
    name: Option<String>,
    /// Only the one with this key; there may be one in each project.
    identifier_key: Option<String>,
    /// Only those of this type.
    #[param(inline)]
    identity_type: Option<Kind>,
    /// Only those of this project.
    project_id: Option<String>,
}

impl From<IdentitiesQuery> for IdentityFilter {
    fn from(query: IdentitiesQuery) -> Self {
        Self {
            name: query.name,
            identifier_key: query.identifier_key,
            identity_type: query.identity_type.map(IdentityType::from),
            project_id: query.project_id,
        }
    }
}

/// Somebody whom agents and blocks are linked to.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct IdentityView {
    #[schema(value_type = String)]
    id: IdentityId,
    /// The client's own id of it.
    identifier_key: String,
    name: String,
    identity_type: Kind,
    project_id: Option<String>,
    /// The agents that are linked to it; within an agent's own answer this is empty.
    #[schema(value_type = Vec<String>)]
    agent_ids: Vec<AgentId>,
    /// The blocks that are linked to it; within an agent's own answer this is empty.
    #[schema(value_type = Vec<String>)]
    block_ids: Vec<BlockId>,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    properties: Vec<PropertyBody>,
}

impl IdentityView {
    /// An identity with what is linked to it.
    #[must_use]
    pub fn new(identity: Identity, links: Links) -> Self {
        let properties = identity.properties.into_iter();
        Self {
            id: identity.id,
            identifier_key: identity.identifier_key,
            name: identity.name,
            identity_type: identity.identity_type.into(),
            project_id: identity.project_id,
            agent_ids: links.agents,
            block_ids: links.blocks,
            organization_id: identity.organization_id,
            properties: properties.map(PropertyBody::from).collect(),
        }
    }
}

impl From<Identity> for IdentityView {
    /// As it stands within an agent: a page of agents would else list, for each, all agents of an organization.
    fn from(identity: Identity) -> Self {
        Self::new(identity, Links::default())
    }
}
