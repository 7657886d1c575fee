//! Pages of stored messages as the API shows them.

use mnemic_core::{messages::Message, scope::Scope};
use mnemic_store::{
    Tx,
    messages::{self, MessageFilter},
    page::{Order, Page},
};

use crate::{
    error::ApiError,
    letta_messages::{LettaMessage, Shows, letta_messages},
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
    shows: &Shows,
) -> Result<Vec<LettaMessage>, ApiError> {
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let backwards = page.before.is_some() && page.after.is_none();
    let mut found: Vec<Vec<LettaMessage>> = Vec::new();
    let mut next = page;
    let wants_some = shows.wanted.is_some();
    if wants_some && limit > 0 {
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
            .map(|message| letta_messages(message, shows))
            .filter(|parts| !parts.is_empty());
        found.extend(shown.take(limit - found.len()));
        if complete || !wants_some {
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
        .map(|message| letta_messages(message, &Shows::default()))
        .collect();
    if page.order == Order::Desc {
        found.reverse();
    }
    found.truncate(limit);
    in_order(found, page.order)
}

/// Stored messages, given in the order of a list, with all their parts of the wanted kinds.
pub fn of(messages: &[Message], order: Order, shows: &Shows) -> Vec<LettaMessage> {
    let parts = messages
        .iter()
        .map(|message| letta_messages(message, shows));
    in_order(parts.collect(), order)
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
