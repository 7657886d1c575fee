//! Identifiers: a prefix that names the noun, and a UUID of version 4: a random one, or for what there is much of one that
//! begins with the time.
//!
//! The prefixes are those of the V1 API, so that clients which validate or store them keep working.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid, Variant};

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

/// Parses the part after the prefix: exactly the 36 lower-case characters of a UUID of version 4.
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

/// Bytes of a UUID that tell the time.
const TIME_BYTES: usize = 6;

fn random() -> Uuid {
    Uuid::new_v4()
}

/// A new UUID that begins with the time in milliseconds, as those of version 7 do (RFC 9562, section 5.7): rows that are made
/// one after the other stand beside each other in the indexes of ids, and a commit writes few pages. It says that it is of
/// version 4, because clients of the V1 API expect that; its other 74 bits are random.
fn in_order() -> Uuid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = now.map_or(0, |time| time.as_millis() as u64);
    let [_, _, time @ ..] = milliseconds.to_be_bytes();
    at_time(time, *Uuid::new_v4().as_bytes())
}

fn at_time(time: [u8; TIME_BYTES], mut bytes: [u8; 16]) -> Uuid {
    bytes
        .iter_mut()
        .zip(time)
        .for_each(|(byte, of_time)| *byte = of_time);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// Milliseconds of 2026-11-27 and of 2100-01-01, UTC.
const TIMES: std::ops::Range<u64> = 1_795_737_600_000..4_102_444_800_000;

/// The UUID of what belongs to another id: always the same one for the same `digest`, beside the other in the indexes. Ids of
/// older versions do not begin with a time; what belongs to them has the UUID that it had then.
#[must_use]
pub fn beside(of: Uuid, digest: [u8; 16]) -> Uuid {
    let [a, b, c, d, e, f, ..] = *of.as_bytes();
    let time = [a, b, c, d, e, f];
    if TIMES.contains(&u64::from_be_bytes([0, 0, a, b, c, d, e, f])) {
        at_time(time, digest)
    } else {
        Builder::from_random_bytes(digest).into_uuid()
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $made:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the UUID.
            pub const PREFIX: &'static str = $prefix;

            /// A new id.
            #[must_use]
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self($made())
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
    AgentId = "agent", random;
    /// A stored message; several API messages may share one.
    MessageId = "message", in_order;
    /// All steps of one request.
    RunId = "run", in_order;
    /// One model call and its tool runs.
    StepId = "step", in_order;
    /// A background job.
    JobId = "job", in_order;
    /// A block of core memory.
    BlockId = "block", random;
    /// A tool.
    ToolId = "tool", random;
    /// A folder of files (the V1 API calls it a source).
    FolderId = "source", random;
    /// A file.
    FileId = "file", random;
    /// A passage of archival memory or of a file.
    PassageId = "passage", in_order;
    /// An archive.
    ArchiveId = "archive", random;
    /// An identity.
    IdentityId = "identity", random;
    /// A group of agents.
    GroupId = "group", random;
    /// A conversation: one thread of an agent.
    ConversationId = "conv", random;
    /// A model provider.
    ProviderId = "provider", random;
    /// A tool server.
    McpServerId = "mcp_server", random;
    /// A user of the API.
    UserId = "user", random;
    /// An organization: the tenant that owns rows.
    OrganizationId = "org", random;
    /// A row of an agent's secrets.
    AgentSecretId = "agent-env", random;
    /// What an organization's tools have in common.
    SandboxConfigId = "sandbox", random;
    /// A variable that all tools of an organization see.
    SandboxVariableId = "sandbox-env", random;
    /// A key of the API.
    ApiKeyId = "key", random;
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
    fn ids_of_rows_of_which_there_are_many_begin_with_the_time() {
        let time_of = |id: MessageId| id.uuid().as_u128() >> 80;
        let before = time_of(MessageId::new());
        std::thread::sleep(std::time::Duration::from_millis(2));
        let ids: Vec<MessageId> = (0..1_000).map(|_| MessageId::new()).collect();
        for id in &ids {
            assert_eq!(id.to_string().parse::<MessageId>(), Ok(*id));
            assert!(
                (before + 1..before + 60_000).contains(&time_of(*id)),
                "{id}"
            );
        }
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }

    #[test]
    fn what_belongs_to_an_id_has_its_time_and_is_always_the_same() {
        let run = RunId::new().uuid();
        let one = beside(run, [7; 16]);
        assert_eq!(one, beside(run, [7; 16]));
        assert_ne!(one, beside(run, [8; 16]));
        assert_eq!(one.as_u128() >> 80, run.as_u128() >> 80);
        let older: RunId = "run-e2a99923-5164-4457-8653-cc22b4fcc3d7".parse().unwrap();
        let as_then = "07070707-0707-4707-8707-070707070707";
        assert_eq!(beside(older.uuid(), [7; 16]).to_string(), as_then);
        assert!(
            MessageId::from_uuid(one)
                .to_string()
                .parse::<MessageId>()
                .is_ok()
        );
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
