//! What agents are linked to: tags, folders.

use std::collections::HashMap;

use mnemic_core::{
    ids::{AgentId, FolderId},
    scope::Scope,
};

use crate::{
    Param, StoreError, Tx,
    page::{Page, Select},
    params,
};

/// Replaces the tags of an agent; doubles are left out.
///
/// # Errors
/// The database's.
pub async fn set_tags(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    tags: &[String],
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_tags WHERE agent_id = $1", params![id])
        .await?;
    let mut rows: Vec<Vec<Param<'_>>> = Vec::new();
    for (position, tag) in tags.iter().enumerate() {
        if tags.iter().take(position).any(|earlier| earlier == tag) {
            continue;
        }
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        rows.push(vec![
            id.into(),
            scope.organization.into(),
            position.into(),
            tag.into(),
        ]);
    }
    tx.insert_rows(
        "agent_tags",
        &["agent_id", "organization_id", "position", "tag"],
        rows,
    )
    .await
}

/// The tags of several agents.
///
/// # Errors
/// The database's.
pub async fn tags_of(
    tx: &mut Tx<'_>,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<String>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT agent_id, tag FROM agent_tags WHERE {} ORDER BY agent_id, position",
        tx.any_of("agent_id", 1)
    );
    let mut found: HashMap<AgentId, Vec<String>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        found.entry(row.parse()?).or_default().push(row.text()?);
    }
    Ok(found)
}

/// Makes an agent have exactly these folders.
///
/// # Errors
/// One of them does not exist, or the database's.
pub async fn set_folders(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    folders: &[FolderId],
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM agents_folders WHERE agent_id = $1",
        params![id],
    )
    .await?;
    for (position, folder) in (0_i64..).zip(folders) {
        let sql = "INSERT INTO agents_folders (agent_id, folder_id, position) \
                   SELECT $1, f.id, $2 FROM folders f WHERE f.id = $3 AND f.organization_id = $4";
        if tx
            .execute(sql, params![id, position, folder, scope.organization])
            .await?
            == 0
        {
            return Err(StoreError::not_found("Folder", folder));
        }
    }
    Ok(())
}

/// A page of the distinct tags of agents, in alphabetical order; the cursor is the tag's text.
///
/// # Errors
/// The database's.
pub async fn tags(
    tx: &mut Tx<'_>,
    scope: &Scope,
    query_text: Option<&str>,
    page: &Page,
) -> Result<Vec<String>, StoreError> {
    let mut query = Select::new("SELECT DISTINCT tag FROM agent_tags");
    query.and_bind("organization_id = {}", scope.organization);
    if let Some(text) = query_text {
        let n = query.bind(text);
        query.and(tx.contains("tag", n));
    }
    let backwards = page.before.is_some() && page.after.is_none();
    if let Some(after) = &page.after {
        query.and_bind(&format!("tag {} {{}}", page.order.further()), after);
    }
    if let Some(before) = &page.before {
        query.and_bind(
            &format!("tag {} {{}}", page.order.reversed().further()),
            before,
        );
    }
    let order = if backwards {
        page.order.reversed()
    } else {
        page.order
    };
    let n = query.bind(page.limit);
    let tail = format!("ORDER BY tag {} LIMIT ${n}", order.sql());
    let rows = query.all(tx, &tail).await?;
    let tags: Result<Vec<String>, _> = rows.into_iter().map(|mut row| row.text()).collect();
    let mut tags = tags?;
    if backwards {
        tags.reverse();
    }
    Ok(tags)
}
