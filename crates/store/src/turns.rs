//! The one query that begins a turn or step: where the conversation stands, and whether anything that
//! its prompt shows has moved.

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId, RunId},
    scope::Scope,
};

use crate::{StoreError, Tx, own_threads, params, runs};

/// Where a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Whether it is the agent's default one.
    pub is_default: bool,
    /// Grows with every change of the context's rows.
    pub context_revision: i64,
    /// The position that the next context row gets.
    pub next_position: i64,
    /// Ids and revisions of what the stored prompt was compiled from.
    pub stored_signature: Option<String>,
    /// The same as things stand now; equal texts mean that the stored prompt is true.
    pub signature: String,
    /// The message of the compiled prompt.
    pub prompt_message_id: Option<MessageId>,
    /// Whether the agent answers only requests that say for which user they are.
    pub require_user: bool,
    /// How many runs are not over.
    pub open_runs: i64,
    /// The run that holds the conversation.
    pub running: Option<RunId>,
}

/// Reads the head of an agent's thread (for an end user, the default one is their own) and, on PostgreSQL, locks its row until the commit.
///
/// # Errors
/// There is no such agent or conversation, or the database's.
pub async fn head(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    thread: Thread,
) -> Result<Head, StoreError> {
    let thread = match thread {
        Thread::Default if scope.subject.is_some() => {
            let own = own_threads::find(tx, scope, agent_id).await?;
            Thread::Id(own.ok_or_else(|| StoreError::not_found("Conversation", "default"))?)
        }
        thread => thread,
    };
    let lock = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => " FOR UPDATE OF c",
    };
    let open = tx.by_index(runs::OPEN_INDEX);
    let which = match thread {
        Thread::Default => "c.is_default = 1 AND $3 = ''",
        Thread::Id(_) => "c.id = $3",
    };
    // The order within `string_agg` itself would cost SQLite a table of its own, twice for each turn.
    let sql = format!(
        "SELECT c.id, c.is_default, c.context_revision, c.next_position, c.prompt_signature, \
             a.id || ':' || a.revision || ' ' || COALESCE((SELECT string_agg(of_agent.state, ' ') \
                 FROM (SELECT b.id || ':' || b.revision AS state \
                     FROM agents_blocks ab JOIN blocks b ON b.id = ab.block_id \
                     WHERE ab.agent_id = a.id ORDER BY ab.position, b.id) of_agent), '') \
                 || COALESCE((SELECT ' own ' || string_agg(own.state, ' ') \
                 FROM (SELECT b.id || ':' || b.revision AS state \
                     FROM conversations_blocks cb JOIN blocks b ON b.id = cb.block_id \
                     WHERE cb.conversation_id = c.id ORDER BY cb.position, b.id) own), ''), \
             c.prompt_message_id, a.require_user, \
             (SELECT COUNT(*) FROM runs r{open} WHERE r.conversation_id = c.id \
                 AND r.status IN ('created', 'running')), \
             (SELECT l.run_id FROM leases l WHERE l.conversation_id = c.id) \
         FROM agents a JOIN conversations c ON c.agent_id = a.id \
         WHERE a.id = $1 AND a.organization_id = $2 AND c.deleted_at IS NULL AND {which}{lock}"
    );
    let id = match thread {
        Thread::Default => String::new(),
        Thread::Id(id) => id.to_string(),
    };
    let row = tx
        .query_opt(&sql, params![agent_id, scope.organization, id])
        .await?;
    let mut row = row.ok_or_else(|| match thread {
        Thread::Default => StoreError::not_found("Agent", agent_id),
        Thread::Id(id) => StoreError::not_found("Conversation", id),
    })?;
    Ok(Head {
        conversation_id: row.parse()?,
        is_default: row.bool()?,
        context_revision: row.int()?,
        next_position: row.int()?,
        stored_signature: row.opt_text()?,
        signature: row.text()?,
        prompt_message_id: row.opt_parse()?,
        require_user: row.bool()?,
        open_runs: row.int()?,
        running: row.opt_parse()?,
    })
}
