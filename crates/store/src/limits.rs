//! Who has which plan, and what they used of it.

use mnemic_core::{
    plans::{Holder, HolderKind, Period},
    scope::Scope,
    time::Timestamp,
};

use crate::{Param, Row, StoreError, Tx, params};

/// What was used, or is to be added to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that were accepted.
    pub messages: i64,
    /// Tokens.
    pub tokens: i64,
    /// Millionths of a currency.
    pub cost_micros: i64,
}

/// What was used in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How long it is.
    pub period: Period,
    /// When it began.
    pub starts_at: Timestamp,
    /// How much.
    pub used: Used,
}

const WINDOW: &str = "period, starts_at, messages, tokens, cost_micros";

fn window(mut row: Row) -> Result<Window, StoreError> {
    Ok(Window {
        period: row.named(Period::parse)?,
        starts_at: row.time()?,
        used: Used {
            messages: row.int()?,
            tokens: row.int()?,
            cost_micros: row.int()?,
        },
    })
}

/// The plan that somebody was given, if they were.
///
/// # Errors
/// The database's.
pub async fn plan_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    holder: &Holder,
) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT plan FROM plan_holders WHERE organization_id = $1 AND kind = $2 AND holder = $3";
    let bound = params![scope.organization, holder.kind.as_str(), holder.id.as_str()];
    let rows = tx.query(sql, bound).await?;
    rows.into_iter()
        .next()
        .map(|mut row| row.text())
        .transpose()
}

/// Gives somebody a plan, or takes it away, so that they have the usual one again.
///
/// # Errors
/// The database's.
pub async fn assign(
    tx: &mut Tx<'_>,
    scope: &Scope,
    holder: &Holder,
    plan: Option<&str>,
) -> Result<(), StoreError> {
    let (kind, id) = (holder.kind.as_str(), holder.id.as_str());
    let Some(plan) = plan else {
        let sql =
            "DELETE FROM plan_holders WHERE organization_id = $1 AND kind = $2 AND holder = $3";
        tx.execute(sql, params![scope.organization, kind, id])
            .await?;
        return Ok(());
    };
    let sql = "INSERT INTO plan_holders (organization_id, kind, holder, plan) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (organization_id, kind, holder) DO UPDATE SET plan = excluded.plan";
    tx.execute(sql, params![scope.organization, kind, id, plan])
        .await
        .map(drop)
}

/// Adds to what somebody used in the present periods, and says what that is now. Until the transaction ends, nobody else adds to
/// the same.
///
/// # Errors
/// The database's.
pub async fn add(
    tx: &mut Tx<'_>,
    scope: &Scope,
    holder: &Holder,
    (used, now): (Used, Timestamp),
) -> Result<Vec<Window>, StoreError> {
    let mut bound = vec![
        Param::from(scope.organization),
        Param::from(holder.kind.as_str()),
        Param::from(holder.id.as_str()),
        Param::from(used.messages),
        Param::from(used.tokens),
        Param::from(used.cost_micros),
    ];
    let mut rows = Vec::new();
    for period in Period::ALL {
        let n = bound.len();
        rows.push(format!("($1, $2, $3, ${}, ${}, $4, $5, $6)", n + 1, n + 2));
        bound.push(Param::from(period.as_str()));
        bound.push(Param::from(period.begin(now)));
    }
    let sum = |column: &str| {
        format!(
            "{column} = CASE WHEN excluded.starts_at > usage_windows.starts_at THEN excluded.{column} \
                 ELSE usage_windows.{column} + excluded.{column} END"
        )
    };
    let later = "starts_at = CASE WHEN excluded.starts_at > usage_windows.starts_at THEN excluded.starts_at \
                 ELSE usage_windows.starts_at END";
    let sql = format!(
        "INSERT INTO usage_windows (organization_id, kind, holder, period, starts_at, messages, tokens, cost_micros) \
             VALUES {} ON CONFLICT (organization_id, kind, holder, period) DO UPDATE SET {}, {}, {}, {later} RETURNING {WINDOW}",
        rows.join(", "),
        sum("messages"),
        sum("tokens"),
        sum("cost_micros"),
    );
    let rows = tx.query(&sql, &bound).await?;
    rows.into_iter().map(window).collect()
}

/// Takes away the plan of an end user, and what was counted for them.
///
/// # Errors
/// The database's.
pub async fn forget(tx: &mut Tx<'_>, scope: &Scope, subject: &str) -> Result<(), StoreError> {
    for table in ["plan_holders", "usage_windows"] {
        let sql =
            format!("DELETE FROM {table} WHERE organization_id = $1 AND kind = $2 AND holder = $3");
        let kind = HolderKind::User.as_str();
        tx.execute(&sql, params![scope.organization, kind, subject])
            .await?;
    }
    Ok(())
}

/// What somebody used in the present periods.
///
/// # Errors
/// The database's.
pub async fn used(
    tx: &mut Tx<'_>,
    scope: &Scope,
    holder: &Holder,
    now: Timestamp,
) -> Result<Vec<Window>, StoreError> {
    let sql = format!(
        "SELECT {WINDOW} FROM usage_windows WHERE organization_id = $1 AND kind = $2 AND holder = $3"
    );
    let bound = params![scope.organization, holder.kind.as_str(), holder.id.as_str()];
    let rows = tx.query(&sql, bound).await?;
    let windows = rows.into_iter().map(window);
    let present = |window: &Window| window.starts_at >= window.period.begin(now);
    windows
        .filter(|window| window.as_ref().map_or(true, present))
        .collect()
}
