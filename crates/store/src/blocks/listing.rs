//! Lists of blocks.

use mnemic_core::{
    blocks::Block,
    ids::{AgentId, IdentityId},
    scope::Scope,
};

use super::{COLUMNS, from_row, with_tags};
use crate::{
    StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
};

/// Which blocks a list shows.
#[derive(Debug, Clone, Default)]
pub struct BlockFilter {
    /// Only those of this agent.
    pub agent_id: Option<AgentId>,
    /// Only those with this label.
    pub label: Option<String>,
    /// Only templates.
    pub templates_only: bool,
    /// Only those with this template name.
    pub name: Option<String>,
    /// Only those linked to this identity.
    pub identity_id: Option<IdentityId>,
    /// Only those linked to an identity of one of these keys.
    pub identifier_keys: Vec<String>,
    /// Only those of this project.
    pub project_id: Option<String>,
    /// Only those with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    pub match_all_tags: bool,
    /// Only those whose label contains this.
    pub label_search: Option<String>,
    /// Only those whose description contains this.
    pub description_search: Option<String>,
    /// Only those whose value contains this.
    pub value_search: Option<String>,
    /// Only those attached to more agents than this.
    pub agents_more_than: Option<i64>,
    /// Only those attached to fewer agents than this.
    pub agents_fewer_than: Option<i64>,
    /// Only those attached to one of these numbers of agents.
    pub agents_exactly: Vec<i64>,
    /// Whether hidden ones are shown as well.
    pub show_hidden: bool,
}

fn filtered<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f BlockFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(format!("SELECT {select} FROM blocks b"));
    // Few blocks are an identity's: it is they that are looked up, not all of the organization.
    let of_identity = filter.identity_id.is_some() || !filter.identifier_keys.is_empty();
    let organization = match of_identity {
        true => tx.unindexed("b.organization_id"),
        false => "b.organization_id".to_owned(),
    };
    query.and_bind(&format!("{organization} = {{}}"), scope.organization);
    if let Some(subject) = &scope.subject {
        query.and_bind("(b.subject IS NULL OR b.subject = {})", subject.clone());
    }
    if !filter.show_hidden {
        query.and("COALESCE(b.hidden, 0) = 0");
    }
    if filter.templates_only {
        query.and("b.is_template = 1");
    }
    for (column, wanted) in [
        ("b.label", &filter.label),
        ("b.project_id", &filter.project_id),
        ("b.template_name", &filter.name),
    ] {
        if let Some(wanted) = wanted {
            query.and_bind(&format!("{column} = {{}}"), wanted);
        }
    }
    for (column, wanted) in [
        ("b.label", &filter.label_search),
        ("b.description", &filter.description_search),
        ("b.value", &filter.value_search),
    ] {
        if let Some(text) = wanted {
            let n = query.bind(text);
            query.and(tx.contains(column, n));
        }
    }
    links(tx, scope, filter, &mut query);
    query
}

/// The conditions on what a block is linked to.
fn links<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f BlockFilter, query: &mut Select<'f>) {
    if !filter.tags.is_empty() {
        let n = query.bind(filter.tags.clone());
        let any = tx.any_of("t.tag", n);
        let mut distinct = filter.tags.clone();
        distinct.sort();
        distinct.dedup();
        let wanted = if filter.match_all_tags {
            distinct.len()
        } else {
            1
        };
        query.and_bind(
            &format!(
                "(SELECT COUNT(*) FROM block_tags t WHERE t.block_id = b.id AND {any}) >= {{}}"
            ),
            i64::try_from(wanted).unwrap_or(i64::MAX),
        );
    }
    if let Some(id) = filter.agent_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_blocks ab WHERE ab.block_id = b.id AND ab.agent_id = {})",
            id,
        );
    }
    if let Some(id) = filter.identity_id {
        query.and_bind(
            "b.id IN (SELECT bi.block_id FROM blocks_identities bi WHERE bi.identity_id = {})",
            id,
        );
    }
    if !filter.identifier_keys.is_empty() {
        let n = query.bind(filter.identifier_keys.clone());
        let any = tx.any_of("i.identifier_key", n);
        let organization = query.bind(scope.organization);
        query.and(format!(
            "b.id IN (SELECT bi.block_id FROM identities i \
             JOIN blocks_identities bi ON bi.identity_id = i.id \
             WHERE i.organization_id = ${organization} AND {any})"
        ));
    }
    let agents = "(SELECT COUNT(*) FROM agents_blocks ab WHERE ab.block_id = b.id)";
    if let Some(number) = filter.agents_more_than {
        query.and_bind(&format!("{agents} > {{}}"), number);
    }
    if let Some(number) = filter.agents_fewer_than {
        query.and_bind(&format!("{agents} < {{}}"), number);
    }
    if !filter.agents_exactly.is_empty() {
        let numbers: Vec<String> = filter
            .agents_exactly
            .iter()
            .map(ToString::to_string)
            .collect();
        query.and(format!("{agents} IN ({})", numbers.join(", ")));
    }
}

/// A page of blocks. An unknown cursor is ignored, as the V1 API does.
///
/// # Errors
/// The database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &BlockFilter,
    page: &Page,
) -> Result<Vec<Block>, StoreError> {
    let cursor = "SELECT created_at, id FROM blocks WHERE id = $1";
    let keys = Keys {
        key: "b.created_at",
        id: "b.id",
        cursor,
    };
    let query = filtered(tx, scope, filter, COLUMNS);
    let rows = query.page(tx, keys, page, UnknownCursor::Ignore).await?;
    let blocks: Result<Vec<Block>, _> =
        rows.into_iter().map(|mut row| from_row(&mut row)).collect();
    with_tags(tx, blocks?).await
}

/// How many blocks a filter finds.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &BlockFilter,
) -> Result<i64, StoreError> {
    let rows = filtered(tx, scope, filter, "COUNT(*)").all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}
