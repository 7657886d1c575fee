//! What goes with messages that are forgotten: the other half of calls, summaries that may tell them, and what other agents were
//! told of them.

use std::collections::{HashMap, HashSet};

use mnemic_core::{
    groups::transcript,
    ids::{ConversationId, MessageId, RunId},
    messages::Role,
};

use super::{
    FoundMessage,
    finding::{Place, read},
};
use crate::{StoreError, Tx, page::Select};

/// What the run of an agent that keeps another one's memory says of itself.
const KEEPS_MEMORY: &str = "\"run_type\":\"sleeptime_agent_send_message_async\"";

/// Calls of one thread that are looked for one by one; of more, all calls of the thread are read.
const FEW_CALLS: usize = 20;

/// Messages, each once.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) list: Vec<FoundMessage>,
    ids: HashSet<MessageId>,
}

impl Gathered {
    pub(super) fn add(&mut self, more: Vec<FoundMessage>) {
        for message in more {
            if self.ids.insert(message.id) {
                self.list.push(message);
            }
        }
    }

    /// The places of these messages by the first lines under which others may have been told them.
    fn by_line(&self) -> HashMap<String, Vec<usize>> {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, message) in self.list.iter().enumerate() {
            for line in message.told.first_lines() {
                places.entry(line.to_owned()).or_default().push(place);
            }
        }
        places
    }
}

impl Place<'_> {
    /// Adds the returns of calls and the calls of returns: a context with one of the two alone is refused by models.
    pub(super) async fn add_counterparts(
        &self,
        tx: &mut Tx<'_>,
        found: &mut Gathered,
    ) -> Result<(), StoreError> {
        let mut wanted: HashMap<ConversationId, HashSet<String>> = HashMap::new();
        for message in &found.list {
            let calls = wanted.entry(message.conversation_id).or_default();
            calls.extend(message.calls.iter().cloned());
        }
        for (thread, mut calls) in wanted {
            // A message with several calls brings further ones.
            let mut looked_for = HashSet::new();
            while calls.len() > looked_for.len() {
                let new: Vec<String> = calls.difference(&looked_for).cloned().collect();
                let with_them = self.with_calls(tx, thread, &new).await?;
                looked_for.extend(new);
                calls.extend(with_them.iter().flat_map(|message| message.calls.clone()));
                found.add(with_them);
            }
        }
        Ok(())
    }

    async fn with_calls(
        &self,
        tx: &mut Tx<'_>,
        thread: ConversationId,
        calls: &[String],
    ) -> Result<Vec<FoundMessage>, StoreError> {
        let words: Vec<&str> = if calls.len() > FEW_CALLS {
            vec!["\"tool_calls\":", "\"tool_returns\":"]
        } else {
            calls.iter().map(String::as_str).collect()
        };
        let mut select = self.select_messages(tx);
        select.and_bind("m.conversation_id = {}", thread);
        let mut conditions = Vec::new();
        for word in words {
            let n = select.bind(word);
            conditions.push(tx.contains("m.body", n));
        }
        select.and(format!("({})", conditions.join(" OR ")));
        let mut with_them = read(select.all(tx, "").await?)?;
        let calls: HashSet<&String> = calls.iter().collect();
        with_them.retain(|message| message.calls.iter().any(|call| calls.contains(call)));
        Ok(with_them)
    }

    /// Adds the summaries that were made after one of the messages, in its thread and in forks that share it: they may tell it.
    pub(super) async fn add_summaries(
        &self,
        tx: &mut Tx<'_>,
        found: &mut Gathered,
    ) -> Result<(), StoreError> {
        let mut oldest: HashMap<ConversationId, i64> = HashMap::new();
        for message in &found.list {
            let seq = oldest.entry(message.conversation_id).or_insert(i64::MAX);
            *seq = (*seq).min(message.seq);
        }
        for (thread, seq) in oldest {
            let mut select = self.select_messages(tx);
            let n = select.bind(thread);
            let m = select.bind(seq);
            select.and(format!(
                "(m.conversation_id = ${n} OR m.conversation_id IN (SELECT o.conversation_id FROM conversation_origins o \
                     WHERE o.origin_id = ${n} AND o.up_to >= ${m}))"
            ));
            select.and(format!("m.seq > ${m}"));
            let n = select.bind("\"compaction\":");
            select.and(tx.contains("m.body", n));
            let mut summaries = read(select.all(tx, "").await?)?;
            summaries.retain(|message| message.is_summary);
            found.add(summaries);
        }
        Ok(())
    }

    /// Adds the messages that tell one of these to another agent, and all that an agent did that was told to keep memory.
    pub(super) async fn add_retold(
        &self,
        tx: &mut Tx<'_>,
        found: &mut Gathered,
    ) -> Result<(), StoreError> {
        let first = found.list.iter().map(|message| message.seq).min();
        let Some(first) = first.filter(|_| self.agents.len() > 1) else {
            return Ok(());
        };
        let mut select = self.select_messages(tx);
        select.and_bind("m.seq > {}", first);
        select.and_bind("m.role = {}", Role::User.as_str());
        // Only what agents are told by others has a sender who is an agent or a group.
        select.and("(m.sender_id LIKE 'agent-%' OR m.sender_id LIKE 'group-%')".to_owned());
        let told = read(select.all(tx, "ORDER BY m.seq").await?)?;
        let unfinished = self.runs_that(tx, "r.status <> 'completed'", None).await?;
        let retold = retold(found, told, &unfinished);
        let keeping = self.runs_that(tx, "1 = 1", Some(KEEPS_MEMORY)).await?;
        let mut runs: HashMap<ConversationId, HashSet<RunId>> = HashMap::new();
        for message in &retold {
            if let Some(run) = message.run_id.filter(|run| keeping.contains(run)) {
                let of_thread = runs.entry(message.conversation_id).or_default();
                of_thread.insert(run);
            }
        }
        found.add(retold);
        for (thread, runs) in runs {
            let mut select = self.select_messages(tx);
            select.and_bind("m.conversation_id = {}", thread);
            let mut done = read(select.all(tx, "").await?)?;
            done.retain(|message| message.run_id.is_some_and(|run| runs.contains(&run)));
            found.add(done);
        }
        Ok(())
    }

    /// The runs of these agents for which a condition holds and whose metadata contain a text.
    async fn runs_that(
        &self,
        tx: &mut Tx<'_>,
        holds: &str,
        says: Option<&str>,
    ) -> Result<HashSet<RunId>, StoreError> {
        let mut select = Select::new("SELECT r.id FROM runs r");
        self.of_agents(tx, &mut select, "r");
        select.and(holds.to_owned());
        if let Some(text) = says {
            let n = select.bind(text);
            select.and(tx.contains("r.metadata", n));
        }
        let rows = select.all(tx, "").await?;
        rows.into_iter().map(|mut row| row.parse()).collect()
    }
}

/// Those of the messages, oldest first, that tell one of what is found to another agent. Each is told in a thread once, and again
/// only where the run to which it was told did not come to its end: the same words later are of another message.
fn retold(
    found: &Gathered,
    told: Vec<FoundMessage>,
    unfinished: &HashSet<RunId>,
) -> Vec<FoundMessage> {
    let by_line = found.by_line();
    let mut done: HashSet<(usize, ConversationId)> = HashSet::new();
    let tells = |message: &FoundMessage| {
        let mut places: Vec<usize> = transcript::lines_to_look_for(&message.text)
            .filter_map(|line| by_line.get(line))
            .flatten()
            .copied()
            .collect();
        if transcript::is_cut(&message.text) {
            places.extend(0..found.list.len());
        }
        places.sort_unstable();
        places.dedup();
        let is_last = message.run_id.is_none_or(|run| !unfinished.contains(&run));
        let mut tells = false;
        for place in places {
            let Some(said) = found.list.get(place) else {
                continue;
            };
            let key = (place, message.conversation_id);
            if said.agent_id == message.agent_id
                || said.seq > message.seq
                || done.contains(&key)
                || !transcript::retells(&message.text, &said.told)
            {
                continue;
            }
            tells = true;
            if is_last {
                done.insert(key);
            }
        }
        tells
    };
    let mut told = told;
    let mut tells = tells;
    told.retain(|message| tells(message));
    told
}
