//! The threads in which members of a group speak, and what was said there.

use mnemic_core::{
    ids::{AgentId, ConversationId, GroupId},
    messages::{Message, Role},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    StoreError, Tx, agents,
    conversations::{self, NewConversation},
    messages::{COLUMNS, from_row},
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

/// The thread in which a member speaks in a group, made when there is none.
///
/// # Errors
/// There is no such agent, or the database's.
pub async fn thread(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (group_id, agent_id): (GroupId, AgentId),
    now: Timestamp,
) -> Result<ConversationId, StoreError> {
    // Two first messages at once must not make two threads.
    agents::get_for_update(tx, scope, agent_id).await?;
    let subject = scope.subject.as_deref().unwrap_or_default();
    let sql = "SELECT c.id FROM group_threads t JOIN conversations c ON c.id = t.conversation_id \
               WHERE t.group_id = $1 AND t.agent_id = $2 AND t.subject = $3 AND c.deleted_at IS NULL";
    let known = tx
        .query_opt(sql, params![group_id, agent_id, subject])
        .await?;
    if let Some(mut row) = known {
        return row.parse();
    }
    let id = conversations::insert(tx, scope, agent_id, &NewConversation::default(), now).await?;
    place_thread(tx, scope, (group_id, agent_id), id).await?;
    Ok(id)
}

/// Makes a conversation the one in which a member speaks in a group, with the end user of the scope.
///
/// # Errors
/// There is no such group, agent or conversation, or the database's.
pub async fn place_thread(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (group_id, agent_id): (GroupId, AgentId),
    conversation_id: ConversationId,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO group_threads (group_id, agent_id, subject, conversation_id) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (group_id, agent_id, subject) \
               DO UPDATE SET conversation_id = excluded.conversation_id";
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.execute(sql, params![group_id, agent_id, subject, conversation_id])
        .await
        .map(drop)
}

/// The group in which an agent speaks in a conversation, if it does so for one.
///
/// # Errors
/// The database's.
pub async fn of_thread(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
) -> Result<Option<GroupId>, StoreError> {
    let sql = "SELECT group_id FROM group_threads WHERE conversation_id = $1";
    let found = tx.query_opt(sql, params![conversation_id]).await?;
    found.map(|mut row| row.parse()).transpose()
}

/// The threads of a group: those of the scope's end user, or all.
///
/// # Errors
/// The database's.
pub async fn threads(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
) -> Result<Vec<ConversationId>, StoreError> {
    let sql = "SELECT t.conversation_id FROM group_threads t \
                   JOIN conversations c ON c.id = t.conversation_id \
               WHERE t.group_id = $1 AND ($2 = '' OR t.subject = $2) AND c.deleted_at IS NULL";
    let subject = scope.subject.as_deref().unwrap_or_default();
    let rows = tx.query(sql, params![group_id, subject]).await?;
    rows.into_iter().map(|mut row| row.parse()).collect()
}

/// Who is noted as the sender of what a member is told of the others' words: the group. These messages say what
/// others have said already, so the group's history leaves them out.
#[must_use]
pub fn speaks_for(group_id: GroupId) -> String {
    group_id.to_string()
}

/// A page of what was said in a group, in the order in which it came in; `unheard_by` says that only what a member has
/// not been told yet is wanted.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn messages(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
    page: &Page,
    unheard_by: Option<AgentId>,
) -> Result<Vec<Message>, StoreError> {
    let mut select = Select::new(format!(
        "SELECT {COLUMNS} FROM messages m \
             JOIN group_threads t ON t.conversation_id = m.conversation_id"
    ));
    select.and_bind(
        &format!("{} = {{}}", tx.unindexed("m.organization_id")),
        scope.organization,
    );
    select.and(
        "EXISTS (SELECT 1 FROM conversations c WHERE c.id = t.conversation_id AND c.deleted_at IS NULL)",
    );
    select.and_bind("t.group_id = {}", group_id);
    if let Some(subject) = &scope.subject {
        select.and_bind("t.subject = {}", subject);
    } else if unheard_by.is_some() {
        select.and("t.subject = ''");
    }
    let n = select.bind(Role::System.as_str());
    select.and(format!("m.role <> ${n}"));
    let n = select.bind(speaks_for(group_id));
    select.and(format!("COALESCE(m.sender_id, '') <> ${n}"));
    if let Some(agent) = unheard_by {
        let n = select.bind(agent);
        select.and(format!("m.agent_id <> ${n}"));
        let subject = scope.subject.clone().unwrap_or_default();
        let (g, a, s) = (
            select.bind(group_id),
            select.bind(agent),
            select.bind(subject),
        );
        select.and(format!(
            "m.seq > COALESCE((SELECT MAX(own.seq) FROM messages own \
                 JOIN group_threads ot ON ot.conversation_id = own.conversation_id \
                 WHERE ot.group_id = ${g} AND ot.agent_id = ${a} AND ot.subject = ${s}), 0)"
        ));
    }
    let keys = Keys {
        key: "m.seq",
        id: "m.id",
        cursor: "SELECT seq, id FROM messages WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Message"))
        .await?;
    rows.into_iter().map(from_row).collect()
}
