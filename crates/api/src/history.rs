//! Pages of stored messages as the API shows them.

use mnemic_core::{messages::Message, scope::Scope};
use mnemic_store::{
    Tx,
    messages::{self, MessageFilter},
    page::{Order, Page},
};

use crate::{
    error::ApiError,
    letta_messages::{LettaMessage, MessageType, letta_messages},
};

/// Rows read at once while messages of some kinds are looked for.
const BATCH: i64 = 200;

/// A page of messages. The limit counts stored messages, of which each is shown with all its parts, so
/// that a page never ends inside of one. Where only some kinds are wanted, messages without them do
/// not count: a page is short only when the list ends.
///
/// # Errors
/// The cursor names no message, or the database's.
pub async fn page(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &MessageFilter,
    page: Page,
    wanted: Option<&[MessageType]>,
) -> Result<Vec<LettaMessage>, ApiError> {
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let backwards = page.before.is_some() && page.after.is_none();
    let mut found: Vec<Vec<LettaMessage>> = Vec::new();
    let mut next = page;
    if wanted.is_some() && limit > 0 {
        next.limit = next.limit.max(BATCH);
    }
    while found.len() < limit {
        let rows = messages::list(tx, scope, filter, &next).await?;
        let complete = rows.len() < usize::try_from(next.limit).unwrap_or(usize::MAX);
        let edge = if backwards { rows.first() } else { rows.last() };
        let Some(edge) = edge.map(|message| message.id.to_string()) else {
            break;
        };
        if backwards {
            next.before = Some(edge);
        } else {
            next.after = Some(edge);
        }
        let in_reading_order: Box<dyn Iterator<Item = &Message> + Send> = if backwards {
            Box::new(rows.iter().rev())
        } else {
            Box::new(rows.iter())
        };
        let shown = in_reading_order
            .map(|message| letta_messages(message, wanted))
            .filter(|parts| !parts.is_empty());
        found.extend(shown.take(limit - found.len()));
        if complete || wanted.is_none() {
            break;
        }
    }
    if backwards {
        found.reverse();
    }
    Ok(in_order(found, next.order))
}

/// A first page of messages that are not stored as such, given oldest first.
pub fn shown(messages: &[Message], page: &Page) -> Vec<LettaMessage> {
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let mut found: Vec<_> = messages
        .iter()
        .map(|message| letta_messages(message, None))
        .collect();
    if page.order == Order::Desc {
        found.reverse();
    }
    found.truncate(limit);
    in_order(found, page.order)
}

/// All parts in the order of the list: newest first means that a message's last part comes first.
fn in_order(messages: Vec<Vec<LettaMessage>>, order: Order) -> Vec<LettaMessage> {
    let turned = messages.into_iter().flat_map(|mut parts| {
        if order == Order::Desc {
            parts.reverse();
        }
        parts
    });
    turned.collect()
}
