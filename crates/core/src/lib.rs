//! The domain of Mnemic: what agents, blocks, messages and runs are, and the pure rules over them.
//!
//! Architecture invariant: nothing in this crate does I/O, reads a clock on its own (besides
//! [`time::Clock::System`]) or knows HTTP, SQL or a model provider's JSON.

pub mod agent_file;
pub mod agents;
pub mod api_keys;
pub mod archives;
pub mod batches;
pub mod blocks;
pub mod builtin;
pub mod chunks;
pub mod compaction;
pub mod conversations;
pub mod groups;
pub mod heartbeat;
pub mod identities;
pub mod ids;
pub mod inner_thoughts;
pub mod member;
pub mod memory;
pub mod messages;
pub mod names;
pub mod organizations;
pub mod parts;
pub mod passages;
pub mod plans;
pub mod prices;
pub mod prompt;
pub mod retrieval;
pub mod runs;
pub mod sandbox_configs;
pub mod scope;
pub mod system_prompts;
pub mod time;
pub mod tokens;
pub mod tool_rules;
pub mod tools;
pub mod validation;
