//! What one agent was told of another one's messages: transcripts for an agent that keeps memory, and what members of a group
//! hear of each other.

use mnemic_core::{groups::transcript, messages::Role};

use super::{FoundMessage, finding::Place};
use crate::{StoreError, Tx, page::Select};

/// What the run of an agent that keeps another one's memory says of itself.
const KEEPS_MEMORY: &str = "\"run_type\":\"sleeptime_agent_send_message_async\"";

impl Place<'_> {
    /// Adds the messages that tell one of these to another agent, and all that an agent did that was told to keep memory.
    pub(super) async fn add_retold(
        &self,
        tx: &mut Tx<'_>,
        found: &mut Vec<FoundMessage>,
    ) -> Result<(), StoreError> {
        let Some(first) = found.iter().map(|message| message.seq).min() else {
            return Ok(());
        };
        if self.agents.len() < 2 {
            return Ok(());
        }
        let mut select = self.select_messages(tx);
        select.and_bind("m.seq > {}", first);
        select.and_bind("m.role = {}", Role::User.as_str());
        // Only what agents are told by others has a sender who is an agent or a group.
        select.and("(m.sender_id LIKE 'agent-%' OR m.sender_id LIKE 'group-%')".to_owned());
        let told = super::finding::read(select.all(tx, "").await?)?;
        let retold: Vec<FoundMessage> = told
            .into_iter()
            .filter(|told| {
                let retells = |said: &FoundMessage| {
                    said.agent_id != told.agent_id && transcript::retells(&told.text, &said.told)
                };
                found.iter().any(retells)
            })
            .collect();
        for message in &retold {
            let done = self.done_with(tx, message).await?;
            super::finding::add(found, done);
        }
        super::finding::add(found, retold);
        Ok(())
    }

    /// What an agent did in the run in which it was told something to keep.
    async fn done_with(
        &self,
        tx: &mut Tx<'_>,
        told: &FoundMessage,
    ) -> Result<Vec<FoundMessage>, StoreError> {
        let Some(run) = told.run_id else {
            return Ok(Vec::new());
        };
        let mut about = Select::new("SELECT r.id FROM runs r");
        about.and_bind("r.id = {}", run);
        let n = about.bind(KEEPS_MEMORY);
        about.and(tx.contains("r.metadata", n));
        if about.all(tx, "").await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = self.select_messages(tx);
        select.and_bind("m.run_id = {}", run);
        super::finding::read(select.all(tx, "").await?)
    }
}
