//! Lists of agents.

use mnemic_core::{
    agents::Agent,
    ids::{ArchiveId, BlockId, IdentityId},
    scope::Scope,
};

use super::{COLUMNS, from_row};
use crate::{
    StoreError, Tx,
    page::{Keys, Order, Page, Select, UnknownCursor},
};

/// What agents are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentOrder {
    /// When they were made.
    #[default]
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
    /// When their last run ended; those that never ran come last.
    LastRunCompletion,
}

/// Which agents a list shows.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those of exactly this name.
    pub name: Option<String>,
    /// Only those whose name contains this.
    pub query_text: Option<String>,
    /// Only those with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    pub match_all_tags: bool,
    /// Only those linked to this identity.
    pub identity_id: Option<IdentityId>,
    /// Only those linked to an identity of one of these keys.
    pub identifier_keys: Vec<String>,
    /// Only those of this project.
    pub project_id: Option<String>,
    /// Only those of this template.
    pub template_id: Option<String>,
    /// Only those of this base template.
    pub base_template_id: Option<String>,
    /// Only those whose last run ended so.
    pub last_stop_reason: Option<String>,
    /// Only those that this user made.
    pub created_by_id: Option<String>,
    /// Only those that this block is attached to.
    pub block_id: Option<BlockId>,
    /// Only those that this archive is attached to.
    pub archive_id: Option<ArchiveId>,
    /// Whether hidden ones are shown as well.
    pub show_hidden: bool,
    /// The sort column.
    pub order_by: AgentOrder,
}

fn filtered<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f AgentFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(format!("SELECT {select} FROM agents a"));
    // Few agents are an identity's: it is they that are looked up, not all of the organization.
    let of_identity = filter.identity_id.is_some() || !filter.identifier_keys.is_empty();
    let organization = match of_identity {
        true => tx.unindexed("a.organization_id"),
        false => "a.organization_id".to_owned(),
    };
    query.and_bind(&format!("{organization} = {{}}"), scope.organization);
    if !filter.show_hidden {
        query.and("COALESCE(a.hidden, 0) = 0");
    }
    for (column, wanted) in [
        ("a.name", &filter.name),
        ("a.project_id", &filter.project_id),
        ("a.template_id", &filter.template_id),
        ("a.base_template_id", &filter.base_template_id),
        ("a.last_stop_reason", &filter.last_stop_reason),
        ("a.created_by", &filter.created_by_id),
    ] {
        if let Some(wanted) = wanted {
            query.and_bind(&format!("{column} = {{}}"), wanted);
        }
    }
    if let Some(text) = &filter.query_text {
        let n = query.bind(text);
        query.and(tx.contains("a.name", n));
    }
    links(tx, scope, filter, &mut query);
    query
}

/// The conditions on what an agent is linked to.
fn links<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f AgentFilter, query: &mut Select<'f>) {
    if !filter.tags.is_empty() {
        let n = query.bind(filter.tags.clone());
        let any = tx.any_of("t.tag", n);
        let count = format!(
            "(SELECT COUNT(DISTINCT t.tag) FROM agent_tags t WHERE t.agent_id = a.id AND {any})"
        );
        let mut distinct = filter.tags.clone();
        distinct.sort();
        distinct.dedup();
        let wanted = if filter.match_all_tags {
            distinct.len()
        } else {
            1
        };
        query.and_bind(
            &format!("{count} >= {{}}"),
            i64::try_from(wanted).unwrap_or(i64::MAX),
        );
    }
    if let Some(id) = filter.identity_id {
        query.and_bind(
            "a.id IN (SELECT ai.agent_id FROM agents_identities ai WHERE ai.identity_id = {})",
            id,
        );
    }
    if let Some(id) = filter.block_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_blocks ab WHERE ab.agent_id = a.id AND ab.block_id = {})",
            id,
        );
    }
    if let Some(id) = filter.archive_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_archives x WHERE x.agent_id = a.id AND x.archive_id = {})",
            id,
        );
    }
    if !filter.identifier_keys.is_empty() {
        let n = query.bind(filter.identifier_keys.clone());
        let any = tx.any_of("i.identifier_key", n);
        let organization = query.bind(scope.organization);
        query.and(format!(
            "a.id IN (SELECT ai.agent_id FROM identities i \
             JOIN agents_identities ai ON ai.identity_id = i.id \
             WHERE i.organization_id = ${organization} AND {any})"
        ));
    }
}

/// A page of agents. An unknown cursor is ignored, as the V1 API does.
///
/// # Errors
/// The database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &AgentFilter,
    page: &Page,
) -> Result<Vec<Agent>, StoreError> {
    let key = match filter.order_by {
        AgentOrder::CreatedAt => "a.created_at",
        AgentOrder::UpdatedAt => "a.updated_at",
        AgentOrder::LastRunCompletion => match page.order {
            // Those that never ran come last in either order.
            Order::Asc => "COALESCE(a.last_run_completion, 9223372036854775807)",
            Order::Desc => "COALESCE(a.last_run_completion, -1)",
        },
    };
    let cursor = format!("SELECT {key}, a.id FROM agents a WHERE a.id = $1");
    let query = filtered(tx, scope, filter, COLUMNS);
    let keys = Keys {
        key,
        id: "a.id",
        cursor: &cursor,
    };
    let rows = query.page(tx, keys, page, UnknownCursor::Ignore).await?;
    rows.into_iter().map(from_row).collect()
}

/// How many agents a filter finds.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &AgentFilter,
) -> Result<i64, StoreError> {
    let rows = filtered(tx, scope, filter, "COUNT(*)").all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}
