//! Identities: the people, organizations and other parties that agents and blocks belong to.
//!
//! An identity is the client's own record of somebody. Agents and blocks are linked to it so that they are
//! found by it; nothing else follows from that.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::{
    ids::{AgentId, BlockId, IdentityId, OrganizationId},
    time::Timestamp,
};

/// What an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityType {
    /// An organization.
    Org,
    /// A person.
    User,
    /// Anything else.
    Other,
}

impl IdentityType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Org, Self::User, Self::Other];

    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::User => "user",
            Self::Other => "other",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the value of a property is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum PropertyType {
    String,
    Number,
    Boolean,
    Json,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum PropertyValue {
    Text(String),
    Number(Number),
    Boolean(bool),
    Object(Map<String, Value>),
}

/// A fact about an identity. Its type is the client's word: the value is kept as it was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: PropertyValue,
    /// What the value is meant to be.
    #[serde(rename = "type")]
    pub kind: PropertyType,
}

/// Somebody whom agents and blocks are linked to.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its id.
    pub id: IdentityId,
    /// The organization that it belongs to.
    pub organization_id: OrganizationId,
    /// The client's own id of it; unique within a project.
    pub identifier_key: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub identity_type: IdentityType,
    /// Facts about it, each key once.
    pub properties: Vec<Property>,
    /// The client's project.
    pub project_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What is linked to an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// The agents.
    pub agents: Vec<AgentId>,
    /// The blocks.
    pub blocks: Vec<BlockId>,
}

/// Lays properties over others: those of the same key take their place, new ones come last.
#[must_use]
pub fn merged(mut properties: Vec<Property>, new: Vec<Property>) -> Vec<Property> {
    for property in new {
        match properties.iter_mut().find(|old| old.key == property.key) {
            Some(old) => *old = property,
            None => properties.push(property),
        }
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(key: &str, value: &str) -> Property {
        Property {
            key: key.to_owned(),
            value: PropertyValue::Text(value.to_owned()),
            kind: PropertyType::String,
        }
    }

    #[test]
    fn merged_properties_have_each_key_once_with_its_last_value() {
        let old = vec![property("tier", "gold"), property("city", "Oslo")];
        let new = vec![
            property("tier", "blue"),
            property("boat", "Ida"),
            property("boat", "Una"),
        ];
        let wanted = vec![
            property("tier", "blue"),
            property("city", "Oslo"),
            property("boat", "Una"),
        ];
        assert_eq!(merged(old, new), wanted);
    }

    #[test]
    fn values_keep_their_type_in_json() {
        for text in [
            r#"{"key":"a","value":"1","type":"string"}"#,
            r#"{"key":"a","value":1,"type":"number"}"#,
            r#"{"key":"a","value":1.5,"type":"number"}"#,
            r#"{"key":"a","value":true,"type":"boolean"}"#,
            r#"{"key":"a","value":{"b":[1,null]},"type":"json"}"#,
            // The type is the client's word.
            r#"{"key":"a","value":"1","type":"number"}"#,
        ] {
            let read: Property = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        assert!(
            serde_json::from_str::<Property>(r#"{"key":"a","value":null,"type":"json"}"#).is_err()
        );
    }

    #[test]
    fn types_are_read_by_the_name_that_they_are_written_with() {
        for kind in IdentityType::ALL {
            assert_eq!(IdentityType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(IdentityType::parse("robot"), None);
    }
}
