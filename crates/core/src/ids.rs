//! Identifiers: a prefix that names the noun, and a random (version 4) UUID.
//!
//! The prefixes are those of the V1 API, so that clients which validate or store them keep working.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Uuid, Variant};

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{input}' is not a valid id: expected '{prefix}-' followed by a lower-case UUID version 4"
)]
pub struct InvalidId {
    /// The text as it was given.
    pub input: String,
    /// The prefix that this kind of id has.
    pub prefix: &'static str,
}

/// Parses the part after the prefix: exactly the 36 lower-case characters of a random UUID.
fn parse_suffix(input: &str, prefix: &'static str) -> Result<Uuid, InvalidId> {
    let invalid = || InvalidId {
        input: input.chars().take(200).collect(),
        prefix,
    };
    let suffix = input
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .ok_or_else(invalid)?;
    let lower = !suffix.bytes().any(|byte| byte.is_ascii_uppercase());
    let uuid = Uuid::try_parse(suffix).map_err(|_| invalid())?;
    let is_random = uuid.get_version_num() == 4 && uuid.get_variant() == Variant::RFC4122;
    if suffix.len() == 36 && lower && is_random {
        Ok(uuid)
    } else {
        Err(invalid())
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the UUID.
            pub const PREFIX: &'static str = $prefix;

            /// A new random id.
            #[must_use]
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::new_v4())
            }

            /// An id with a known UUID; used for fixed ids such as those of the default user.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID without its prefix.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = Uuid::encode_buffer();
                f.write_str(concat!($prefix, "-"))?;
                f.write_str(self.0.hyphenated().encode_lower(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(input: &str) -> Result<Self, InvalidId> {
                parse_suffix(input, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An agent.
    AgentId = "agent";
    /// A stored message; several API messages may share one.
    MessageId = "message";
    /// All steps of one request.
    RunId = "run";
    /// One model call and its tool runs.
    StepId = "step";
    /// A background job.
    JobId = "job";
    /// A block of core memory.
    BlockId = "block";
    /// A tool.
    ToolId = "tool";
    /// A folder of files (the V1 API calls it a source).
    FolderId = "source";
    /// A file.
    FileId = "file";
    /// A passage of archival memory or of a file.
    PassageId = "passage";
    /// An archive.
    ArchiveId = "archive";
    /// An identity.
    IdentityId = "identity";
    /// A group of agents.
    GroupId = "group";
    /// A conversation: one thread of an agent.
    ConversationId = "conv";
    /// A model provider.
    ProviderId = "provider";
    /// A tool server.
    McpServerId = "mcp_server";
    /// A user of the API.
    UserId = "user";
    /// An organization: the tenant that owns rows.
    OrganizationId = "org";
    /// A row of an agent's secrets.
    AgentSecretId = "agent-env";
    /// What an organization's tools have in common.
    SandboxConfigId = "sandbox";
    /// A variable that all tools of an organization see.
    SandboxVariableId = "sandbox-env";
    /// A key of the API.
    ApiKeyId = "key";
}

/// The all-zero UUID (with version and variant bits) of the default user and organization.
const DEFAULT_UUID: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000);

impl UserId {
    /// The user who acts when a request names none.
    pub const DEFAULT: Self = Self(DEFAULT_UUID);
}

impl OrganizationId {
    /// The organization of the default user.
    pub const DEFAULT: Self = Self(DEFAULT_UUID);
}

impl MessageId {
    /// The `otid` of the `part`-th API message that a stored message surfaces as: the message's own
    /// UUID with its low 7 bits replaced by the part's index (V1 contract, section 1.4).
    #[must_use]
    pub fn part_otid(self, part: usize) -> Uuid {
        let index = (part & 0x7f) as u128;
        Uuid::from_u128((self.0.as_u128() & !0x7f) | index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_back() {
        let id = AgentId::new();
        assert_eq!(id.to_string().parse::<AgentId>(), Ok(id));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for input in [
            "",
            "agent",
            "agent-",
            "not-an-id",
            "block-123e4567-e89b-42d3-8456-426614174000",
            "agent-123e4567-e89b-12d3-a456-426614174000",
            "agent-123E4567-E89B-42D3-8456-426614174000",
            "agent-123e4567e89b42d38456426614174000",
        ] {
            assert!(input.parse::<AgentId>().is_err(), "{input} was accepted");
        }
    }

    #[test]
    fn parts_of_a_message_have_the_otids_of_the_contract() {
        let id: MessageId = "message-e2a99923-5164-4457-8653-cc22b4fcc3d7"
            .parse()
            .unwrap();
        assert_eq!(
            id.part_otid(0).to_string(),
            "e2a99923-5164-4457-8653-cc22b4fcc380"
        );
        assert_eq!(
            id.part_otid(1).to_string(),
            "e2a99923-5164-4457-8653-cc22b4fcc381"
        );
    }
}
