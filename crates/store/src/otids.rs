//! Clients' own message ids: unique per conversation, kept as long as the message.

use mnemic_core::ids::{ConversationId, MessageId, RunId};

use crate::{StoreError, Tx, params};

/// What became of an otid that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// It is new and now taken.
    New,
    /// The same content was sent under it before.
    Known {
        /// The run that took it in, unless it was captured.
        run_id: Option<RunId>,
        /// The message, once that is stored.
        message_id: Option<MessageId>,
    },
}

/// Takes an otid for a run or a captured message.
///
/// # Errors
/// It is known with other content, or the database's.
pub async fn offer(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    otid: &str,
    content_hash: &str,
    taker: (Option<RunId>, Option<MessageId>),
) -> Result<Offered, StoreError> {
    let (run_id, message_id) = taker;
    let sql = "INSERT INTO otids (conversation_id, otid, content_hash, run_id, message_id) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (conversation_id, otid) DO NOTHING";
    let params = params![conversation_id, otid, content_hash, run_id, message_id];
    if tx.execute(sql, params).await? == 1 {
        return Ok(Offered::New);
    }
    let sql = "SELECT content_hash, run_id, message_id FROM otids \
               WHERE conversation_id = $1 AND otid = $2";
    let mut row = tx.query_one(sql, params![conversation_id, otid]).await?;
    if row.text()? != content_hash {
        return Err(StoreError::Conflict(format!(
            "a message with otid '{otid}' and other content was sent to this conversation before; \
             give the new message an otid of its own"
        )));
    }
    Ok(Offered::Known {
        run_id: row.opt_parse()?,
        message_id: row.opt_parse()?,
    })
}

/// Frees the otids of a run that took nothing in, so that they can be sent again.
///
/// # Errors
/// The database's.
pub async fn free(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    run_id: RunId,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM otids WHERE conversation_id = $1 AND run_id = $2";
    tx.execute(sql, params![conversation_id, run_id]).await?;
    Ok(())
}
