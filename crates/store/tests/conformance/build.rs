//! Builders of what the tests store.

use mnemic_core::{
    agents::{Agent, AgentLabels, AgentType, LlmConfig, People},
    blocks::{Author, Block},
    ids::{AgentId, BlockId, UserId},
    time::Timestamp,
};
use mnemic_store::{agents, blocks};
use serde_json::json;

use crate::{house::House, write};

/// An agent with every field set.
pub fn agent(name: &str) -> Agent {
    let object = |value: serde_json::Value| value.as_object().cloned();
    Agent {
        id: AgentId::new(),
        name: name.to_owned(),
        agent_type: AgentType::LettaV1Agent,
        system: "Be kind.".to_owned(),
        description: Some("about".to_owned()),
        metadata: object(json!({"z": 1, "a": [true, null]})),
        llm_config: LlmConfig {
            model: "m".to_owned(),
            handle: Some("p/m".to_owned()),
            context_window: 8_192,
            temperature: Some(0.5),
            extra: object(json!({"strict": true})).unwrap(),
            ..LlmConfig::default()
        },
        embedding_config: Some(json!({"embedding_dim": 3})),
        model_settings: Some(json!({"temperature": 0.5})),
        compaction_settings: None,
        response_format: Some(json!({"type": "text"})),
        tool_rules: vec![json!({"type": "exit_loop", "tool_name": "t"})],
        timezone: "Europe/Zurich".to_owned(),
        message_buffer_autoclear: true,
        enable_sleeptime: Some(false),
        hidden: None,
        max_files_open: Some(5),
        per_file_view_window_char_limit: None,
        people: People {
            require_user: true,
            open_to_users: vec!["board".to_owned()],
        },
        labels: AgentLabels {
            template_id: Some("template".to_owned()),
            ..AgentLabels::default()
        },
        revision: 1,
        last_run_completion: None,
        last_run_duration_ms: None,
        last_stop_reason: None,
        created_by: Some(UserId::DEFAULT),
        updated_by: Some(UserId::DEFAULT),
        created_at: Timestamp(1_000),
        updated_at: Timestamp(1_000),
    }
}

/// A block of that label and value.
pub fn block(label: &str, value: &str) -> Block {
    Block {
        value: value.to_owned(),
        limit: 100,
        created_by: Some(UserId::DEFAULT),
        updated_by: Some(UserId::DEFAULT),
        ..Block::empty(label, None, Timestamp(1_000))
    }
}

/// Stores an agent.
pub async fn stored_agent(house: &House, agent: Agent) -> AgentId {
    let id = agent.id;
    write!(house, |tx, scope| agents::insert(tx, scope, &agent).await).unwrap();
    id
}

/// Stores a block.
pub async fn stored_block(house: &House, block: Block) -> BlockId {
    let id = block.id;
    let author = Author {
        user_id: Some(UserId::DEFAULT),
        ..Author::default()
    };
    write!(house, |tx, scope| blocks::insert(
        tx, scope, &block, &author
    )
    .await)
    .unwrap();
    id
}

/// Attaches a block to an agent.
pub async fn attached(house: &House, agent: AgentId, block: BlockId) {
    write!(house, |tx, scope| blocks::attach(tx, scope, agent, block)
        .await)
    .unwrap();
}
