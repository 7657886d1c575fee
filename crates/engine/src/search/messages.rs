//! Searching recall memory: what was said, and what blocks said once.

use std::collections::HashSet;

use mnemic_core::{
    agents::Agent,
    ids::{AgentId, BlockId, ConversationId, MessageId},
    messages::Message,
    retrieval::Filter,
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Tx,
    agents::{self, AgentFilter, AgentOrder},
    blocks, context, conversations, forks,
    messages::{self, MessageSpan},
    page::{Order, Page},
};

use super::{
    Asked, Finding, Findings, MORE, MessageSearch, Rows, ScopeKey, Wanted, Where, documents,
};
use crate::{Engine, EngineError};

/// Agents that one search looks into; of more, those that changed last.
const MAX_AGENTS: i64 = 200;

/// Something of recall memory.
#[derive(Debug, Clone)]
pub enum Recalled {
    /// A message.
    Message {
        /// The message.
        message: Box<Message>,
        /// Whether the model still sees it.
        in_context: bool,
    },
    /// A line that a block had.
    PastLine {
        /// The block's label.
        label: String,
        /// The line.
        text: String,
        /// Since when it was there.
        since: Timestamp,
        /// When it was rewritten.
        until: Timestamp,
    },
}

/// The agents that a search looks into, with the blocks whose past is searched too.
struct Searched {
    /// The threads that are searched, each up to a number in the order of arrival; empty is all.
    threads: Vec<(ConversationId, i64)>,
    agents: Vec<Agent>,
    blocks: Vec<(BlockId, String)>,
}

impl Engine {
    /// Searches messages.
    ///
    /// # Errors
    /// There is no such agent or conversation, or the database's.
    pub async fn search_messages(
        &self,
        scope: &Scope,
        search: MessageSearch,
    ) -> Result<Findings<Recalled>, EngineError> {
        self.recall(scope, search, false).await
    }

    /// Searches messages and, where `with_past`, what the agent's blocks no longer say.
    pub(crate) async fn recall(
        &self,
        scope: &Scope,
        search: MessageSearch,
        with_past: bool,
    ) -> Result<Findings<Recalled>, EngineError> {
        let (for_job, asked_for) = (scope.clone(), search.clone());
        let searched = self.store().read(move |tx| {
            Box::pin(async move { searched(tx, &for_job, &asked_for, with_past).await })
        });
        let searched = searched.await?;
        if search.text.trim().is_empty() {
            return self.newest(scope, &searched.agents, &search).await;
        }
        let asked = Asked {
            scope: scope.clone(),
            text: super::beginning(&search.text),
            filter: filter(&search, &searched),
            limit: search.limit,
            mode: search.mode,
            zone: search.zone.clone(),
            now: self.now(),
        };
        let (this, searched) = (self, &searched);
        self.find(keys(scope, searched), asked, async move |wanted| {
            let mut rows = this.rows(scope, &wanted).await?;
            rows.extend(this.past_lines(searched, &wanted).await?);
            Ok(rows)
        })
        .await
    }

    /// The messages among the hits.
    async fn rows(&self, scope: &Scope, wanted: &Wanted) -> Result<Rows<Recalled>, EngineError> {
        let (scope, wanted) = (scope.clone(), wanted.clone());
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let mut found: Vec<(ScopeKey, i64, Message)> = Vec::new();
                for (key, items) in wanted {
                    if let ScopeKey::Messages(id, _) = &key {
                        let rows = messages::by_seqs(tx, &scope, *id, &items).await?;
                        found.extend(rows.into_iter().map(|(seq, row)| (key.clone(), seq, row)));
                    }
                }
                let ids: Vec<MessageId> = found.iter().map(|(_, _, message)| message.id).collect();
                let seen = context::which_are_in_context(tx, &ids).await?;
                Ok::<_, EngineError>((found, seen))
            })
        });
        let (found, seen): (_, HashSet<MessageId>) = read.await?;
        let rows = found.into_iter().map(|(key, seq, message)| {
            let recalled = Recalled::Message {
                in_context: seen.contains(&message.id),
                message: Box::new(message),
            };
            ((key, seq), recalled)
        });
        Ok(rows.collect())
    }

    /// The past lines among the hits.
    async fn past_lines(
        &self,
        searched: &Searched,
        wanted: &Wanted,
    ) -> Result<Rows<Recalled>, EngineError> {
        let mut found = Rows::new();
        for (key, items) in wanted {
            let ScopeKey::Past(id) = key else { continue };
            let opened = self.inner.shelf.open(self, &[(key.clone(), None)]).await?;
            let Some(opened) = opened.first() else {
                continue;
            };
            let label = searched.blocks.iter().find(|(block, _)| block == id);
            for item in items {
                let Some(line) = opened.past().gone(*item) else {
                    continue;
                };
                let recalled = Recalled::PastLine {
                    label: label.map(|(_, label)| label.clone()).unwrap_or_default(),
                    text: line.text.clone(),
                    since: line.since,
                    until: line.until,
                };
                found.insert((key.clone(), *item), recalled);
            }
        }
        Ok(found)
    }

    /// A search without words: the newest messages that the filters let through.
    async fn newest(
        &self,
        scope: &Scope,
        agents: &[Agent],
        search: &MessageSearch,
    ) -> Result<Findings<Recalled>, EngineError> {
        let span = MessageSpan {
            roles: search.roles.clone(),
            start: search.start,
            end: search.end,
            conversation_id: search.conversation_id,
        };
        let (scope, limit) = (scope.clone(), search.limit);
        let ids: Vec<AgentId> = agents.iter().map(|agent| agent.id).collect();
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let mut found = Vec::new();
                for id in ids {
                    found.extend(newest_of(tx, &scope, id, &span, limit).await?);
                }
                found.sort_by_key(|message| std::cmp::Reverse(message.created_at));
                found.truncate(limit);
                let ids: Vec<MessageId> = found.iter().map(|message| message.id).collect();
                let seen = context::which_are_in_context(tx, &ids).await?;
                Ok::<_, EngineError>((found, seen))
            })
        });
        let (found, seen) = read.await?;
        let found: Vec<Finding<Recalled>> = found
            .into_iter()
            .map(|message| Finding {
                item: Recalled::Message {
                    in_context: seen.contains(&message.id),
                    message: Box::new(message),
                },
                score: 0.0,
                parts: super::Parts::default(),
            })
            .collect();
        Ok(Findings {
            nothing_relevant: found.is_empty(),
            found,
            embedded_share: 1.0,
        })
    }
}

/// The newest messages of an agent that say something.
async fn newest_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    span: &MessageSpan,
    limit: usize,
) -> Result<Vec<Message>, EngineError> {
    let mut rows = limit;
    loop {
        // Some rows hold nothing to be found, such as calls of tools.
        rows = rows.saturating_mul(MORE);
        let most = i64::try_from(rows).unwrap_or(i64::MAX);
        let mut newest = messages::newest(tx, scope, id, span, most).await?;
        let is_all = newest.len() < rows;
        newest.retain(|message| documents::is_searched(message.role, &message.body));
        if is_all || newest.len() >= limit {
            newest.truncate(limit);
            return Ok(newest);
        }
    }
}

async fn searched(
    tx: &mut Tx<'_>,
    scope: &Scope,
    search: &MessageSearch,
    with_past: bool,
) -> Result<Searched, EngineError> {
    let agents = match (search.within, search.conversation_id) {
        (Where::Agent(id), _) => vec![agents::get(tx, scope, id).await?],
        (_, Some(id)) => {
            let conversation = conversations::get(tx, scope, id).await?;
            vec![agents::get(tx, scope, conversation.agent_id).await?]
        }
        (Where::Everywhere | Where::Archive(_), None) => {
            let filter = AgentFilter {
                show_hidden: true,
                order_by: AgentOrder::UpdatedAt,
                ..AgentFilter::default()
            };
            let page = Page::first(MAX_AGENTS, Order::Desc);
            agents::list(tx, scope, &filter, &page).await?
        }
    };
    let mut shown = Vec::new();
    for agent in agents.iter().filter(|_| with_past) {
        let of_agent = blocks::of_agent(tx, scope, agent.id).await?;
        shown.extend(of_agent.into_iter().map(|block| (block.id, block.label)));
    }
    let threads = match search.conversation_id {
        Some(id) => forks::sources(tx, id).await?,
        None => Vec::new(),
    };
    Ok(Searched {
        threads,
        agents,
        blocks: shown,
    })
}

/// The indexes of agents: in an end user's turn, that user's.
fn keys(scope: &Scope, searched: &Searched) -> Vec<(ScopeKey, Option<String>)> {
    let messages = searched.agents.iter().map(|agent| {
        let handle = agent.embedding_handle().map(str::to_owned);
        (ScopeKey::Messages(agent.id, scope.subject.clone()), handle)
    });
    let mut keys: Vec<_> = messages.collect();
    // The past of blocks is few lines without vectors: it goes with the first agent's index.
    let handle = keys.first().and_then(|(_, handle)| handle.clone());
    let past = searched
        .blocks
        .iter()
        .map(|(id, _)| (ScopeKey::Past(*id), handle.clone()));
    keys.extend(past);
    keys
}

fn filter(search: &MessageSearch, searched: &Searched) -> Filter {
    let roles = search
        .roles
        .iter()
        .map(|role| documents::role_number(*role));
    Filter {
        start: search.start,
        end: search.end,
        // Nothing else than what people, agents and tools said is in these indexes.
        roles: roles.collect(),
        sessions: searched
            .threads
            .iter()
            .map(|(id, last)| (documents::session(*id), *last))
            .collect(),
        ..Filter::default()
    }
}
