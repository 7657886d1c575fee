//! How far the members of a group are with what its manager heard, for each end user.

use mnemic_core::{
    ids::{GroupId, MessageId, RunId},
    runs::RunStatus,
    scope::Scope,
};

use crate::{StoreError, Tx, params};

/// Where a group stands with an end user's turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// The number of the present turn, from 0.
    pub counter: i64,
    /// The message after which the members have not been given anything yet. That of a run which failed is given again.
    pub after: Option<MessageId>,
}

/// Counts a turn of a group's manager; the row stays locked until the commit.
///
/// # Errors
/// The group is gone, or the database's.
pub async fn count_turn(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
) -> Result<Turns, StoreError> {
    let sql = "INSERT INTO group_turns (group_id, subject, turns_counter) VALUES ($1, $2, 0) \
               ON CONFLICT (group_id, subject) DO UPDATE SET turns_counter = group_turns.turns_counter + 1 \
               RETURNING turns_counter, last_processed_message_id, run_id, began_after";
    let subject = scope.subject.as_deref().unwrap_or_default();
    let mut row = tx.query_one(sql, params![group_id, subject]).await?;
    let (counter, last) = (row.int()?, row.opt_parse()?);
    let (run, before): (Option<RunId>, Option<MessageId>) = (row.opt_parse()?, row.opt_parse()?);
    let failed = match run {
        Some(run) => has_failed(tx, run).await?,
        None => false,
    };
    Ok(Turns {
        counter,
        after: if failed { before } else { last },
    })
}

/// Where a group stands with the turns of each end user; the empty name is nobody in particular. In one person's scope, with
/// that person alone. What a run was given that failed, or has not ended yet, counts as not given.
///
/// # Errors
/// The database's.
pub async fn all_turns(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
) -> Result<Vec<(String, Turns)>, StoreError> {
    let sql = "SELECT t.subject, t.turns_counter, \
                   CASE WHEN r.status IN ($3, $4, $5) THEN t.began_after \
                        ELSE t.last_processed_message_id END \
               FROM group_turns t LEFT JOIN runs r ON r.id = t.run_id \
               WHERE t.group_id = $1 AND ($2 = '' OR t.subject = $2) ORDER BY t.subject";
    let subject = scope.subject.as_deref().unwrap_or_default();
    let rows = tx
        .query(
            sql,
            params![
                group_id,
                subject,
                RunStatus::Failed.as_str(),
                RunStatus::Created.as_str(),
                RunStatus::Running.as_str()
            ],
        )
        .await?;
    let read = |mut row: crate::Row| {
        let turns = |row: &mut crate::Row| {
            Ok::<_, StoreError>(Turns {
                counter: row.int()?,
                after: row.opt_parse()?,
            })
        };
        Ok((row.text()?, turns(&mut row)?))
    };
    rows.into_iter().map(read).collect()
}

/// Puts a new group to where it stood elsewhere, with the end user of the scope.
///
/// # Errors
/// There is no such group, or the database's.
pub async fn place_turns(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
    turns: &Turns,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO group_turns (group_id, subject, turns_counter, last_processed_message_id) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (group_id, subject) DO UPDATE \
               SET turns_counter = excluded.turns_counter, \
                   last_processed_message_id = excluded.last_processed_message_id";
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.execute(sql, params![group_id, subject, turns.counter, turns.after])
        .await
        .map(drop)
}

async fn has_failed(tx: &mut Tx<'_>, run: RunId) -> Result<bool, StoreError> {
    let sql = "SELECT status FROM runs WHERE id = $1";
    let Some(mut row) = tx.query_opt(sql, params![run]).await? else {
        return Ok(false);
    };
    Ok(row.named(RunStatus::parse)? == RunStatus::Failed)
}

/// Notes that a run was given everything between two messages.
///
/// # Errors
/// The database's.
pub async fn note_run(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
    (after, last): (Option<MessageId>, MessageId),
    run: RunId,
) -> Result<(), StoreError> {
    let sql = "UPDATE group_turns SET last_processed_message_id = $3, run_id = $4, began_after = $5 \
               WHERE group_id = $1 AND subject = $2";
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.execute(sql, params![group_id, subject, last, run, after])
        .await
        .map(drop)
}
