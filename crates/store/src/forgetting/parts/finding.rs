//! What is to be forgotten, found.

use std::collections::HashSet;

use mnemic_core::{
    compaction,
    groups::transcript,
    ids::{AgentId, ConversationId, PassageId, RunId},
    messages::{Message, Role},
    scope::Scope,
};

use super::{
    super::contributions, Found, FoundBlock, FoundMessage, FoundPassage, Parts, related::Gathered,
    saying,
};
use crate::{Row, StoreError, Tx, messages, page::Select};

/// Finds what is to be forgotten in what these agents keep of the scope's end user, or of nobody in particular.
///
/// # Errors
/// There is no such thread, or the database's.
pub async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agents, parts): (&[AgentId], &Parts),
) -> Result<Found, StoreError> {
    let place = Place {
        organization: scope.organization,
        subject: scope.subject.clone().unwrap_or_default(),
        agents: agents.iter().map(ToString::to_string).collect(),
        parts,
    };
    if let Some(id) = parts.conversation_id {
        place.check_thread(tx, id).await?;
    }
    let mut gathered = place.messages(tx).await?;
    place.add_counterparts(tx, &mut gathered).await?;
    place.add_retold(tx, &mut gathered).await?;
    place.add_summaries(tx, &mut gathered).await?;
    let mut found = Found {
        messages: gathered.list,
        ..Found::default()
    };
    found.messages.sort_by_key(|message| message.seq);
    found.runs = place.runs(tx, &found.messages).await?;
    // Passages and blocks are in no thread.
    if parts.conversation_id.is_none() || !parts.passage_ids.is_empty() {
        found.passages = place.passages(tx).await?;
    }
    if parts.conversation_id.is_none() && (parts.text.is_some() || parts.is_of_time()) {
        found.blocks = place.blocks(tx).await?;
    }
    Ok(found)
}

pub(super) struct Place<'a> {
    organization: mnemic_core::ids::OrganizationId,
    subject: String,
    pub(super) agents: Vec<String>,
    parts: &'a Parts,
}

impl Place<'_> {
    pub(super) fn of_agents<'p>(&self, tx: &Tx<'_>, select: &mut Select<'p>, prefix: &str) {
        select.and_bind(
            &format!(
                "{} = {{}}",
                tx.unindexed(&format!("{prefix}.organization_id"))
            ),
            self.organization,
        );
        select.and_bind(
            &format!("COALESCE({prefix}.subject, '') = {{}}"),
            self.subject.clone(),
        );
        let n = select.bind(self.agents.clone());
        select.and(tx.any_of(&format!("{prefix}.agent_id"), n));
    }

    /// A thread that is named must be one of these agents' with the same end user, or else of nobody.
    async fn check_thread(&self, tx: &mut Tx<'_>, id: ConversationId) -> Result<(), StoreError> {
        let mut select = Select::new("SELECT c.id FROM conversations c");
        self.of_agents(tx, &mut select, "c");
        select.and_bind("c.id = {}", id);
        match select.all(tx, "").await?.is_empty() {
            false => Ok(()),
            true => Err(StoreError::NotFound {
                noun: "Conversation",
                id: id.to_string(),
            }),
        }
    }

    /// The conditions on a row's time.
    fn of_time(&self, select: &mut Select<'_>, column: &str) {
        if let Some(from) = self.parts.from {
            select.and_bind(&format!("{column} >= {{}}"), from);
        }
        if let Some(to) = self.parts.to {
            select.and_bind(&format!("{column} < {{}}"), to);
        }
    }

    async fn messages(&self, tx: &mut Tx<'_>) -> Result<Gathered, StoreError> {
        let mut found = Gathered::default();
        if !self.parts.message_ids.is_empty() {
            let mut select = self.select_messages(tx);
            let ids: Vec<String> = self
                .parts
                .message_ids
                .iter()
                .map(ToString::to_string)
                .collect();
            let n = select.bind(ids);
            select.and(tx.any_of("m.id", n));
            found.add(read(select.all(tx, "").await?)?);
        }
        if self.parts.describes() {
            let mut select = self.select_messages(tx);
            if let Some(text) = &self.parts.text {
                let columns = ["m.body", "m.name", "m.sender_id"];
                saying::may_say(tx, &mut select, (&columns, text))?;
            }
            self.of_time(&mut select, "m.created_at");
            if let Some(id) = self.parts.conversation_id {
                select.and_bind("m.conversation_id = {}", id);
            }
            let mut said = Vec::new();
            for row in select.all(tx, "").await? {
                said.extend(self.said(row)?);
            }
            found.add(said);
        }
        Ok(found)
    }

    /// A message, unless a text is sought that it does not say.
    fn said(&self, mut row: Row) -> Result<Option<FoundMessage>, StoreError> {
        let seq = row.int()?;
        let message = messages::from_row(row)?;
        let says = match &self.parts.text {
            Some(text) => saying::is_in_message(&message, text)?,
            None => true,
        };
        Ok(says.then(|| FoundMessage::of(seq, message)))
    }

    /// Messages that may be forgotten: all but compiled prompts.
    pub(super) fn select_messages<'p>(&self, tx: &Tx<'_>) -> Select<'p> {
        let mut select = Select::new(format!(
            "SELECT m.seq, {} FROM messages m",
            messages::COLUMNS
        ));
        self.of_agents(tx, &mut select, "m");
        select.and(
            "NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id AND c.prompt_message_id = m.id)"
                .to_owned(),
        );
        select
    }

    async fn runs(
        &self,
        tx: &mut Tx<'_>,
        found: &[FoundMessage],
    ) -> Result<Vec<RunId>, StoreError> {
        let mut runs: Vec<RunId> = Vec::new();
        let mut seen = HashSet::new();
        runs.extend(
            found
                .iter()
                .filter_map(|message| message.run_id)
                .filter(|run| seen.insert(*run)),
        );
        if !self.parts.describes() {
            return Ok(runs);
        }
        let mut select = Select::new("SELECT r.id, r.input, r.metadata, r.error FROM runs r");
        self.of_agents(tx, &mut select, "r");
        if let Some(text) = &self.parts.text {
            let columns = ["r.input", "r.metadata", "r.error"];
            saying::may_say(tx, &mut select, (&columns, text))?;
        }
        self.of_time(&mut select, "r.created_at");
        if let Some(id) = self.parts.conversation_id {
            select.and_bind("r.conversation_id = {}", id);
        }
        for mut row in select.all(tx, "").await? {
            let run: RunId = row.parse()?;
            if let Some(text) = &self.parts.text
                && !any_says(&mut row, 3, text)?
            {
                continue;
            }
            if seen.insert(run) {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    async fn passages(&self, tx: &mut Tx<'_>) -> Result<Vec<FoundPassage>, StoreError> {
        let mut found: Vec<FoundPassage> = Vec::new();
        if !self.parts.passage_ids.is_empty() {
            let mut select = self.select_passages(tx);
            let ids: Vec<String> = self
                .parts
                .passage_ids
                .iter()
                .map(ToString::to_string)
                .collect();
            let n = select.bind(ids);
            select.and(tx.any_of("p.id", n));
            found.extend(read_passages(select.all(tx, "ORDER BY p.seq").await?)?);
        }
        if self.parts.describes() && self.parts.conversation_id.is_none() {
            let mut select = self.select_passages(tx);
            if let Some(text) = &self.parts.text {
                let n = select.bind(text.clone());
                let plain = tx.contains("p.text", n);
                let n = select.bind(saying::spellings(text)?.swap_remove(0));
                let json = ["p.tags", "p.metadata"].map(|column| tx.contains(column, n));
                select.and(format!("({plain} OR {})", json.join(" OR ")));
            }
            self.of_time(&mut select, "p.created_at");
            let known: HashSet<PassageId> = found.iter().map(|passage| passage.id).collect();
            for mut row in select.all(tx, "ORDER BY p.seq").await? {
                let passage = read_passage(&mut row)?;
                let says = match &self.parts.text {
                    Some(text) => {
                        saying::contains(&passage.text, text) || any_says(&mut row, 2, text)?
                    }
                    None => true,
                };
                if says && !known.contains(&passage.id) {
                    found.push(passage);
                }
            }
        }
        Ok(found)
    }

    fn select_passages<'p>(&self, tx: &Tx<'_>) -> Select<'p> {
        let mut select =
            Select::new("SELECT p.id, p.text, p.created_at, p.tags, p.metadata FROM passages p");
        select.and_bind("p.organization_id = {}", self.organization);
        select.and_bind("COALESCE(p.subject, '') = {}", self.subject.clone());
        let n = select.bind(self.agents.clone());
        select.and(format!(
            "p.archive_id IN (SELECT x.archive_id FROM agents_archives x WHERE {})",
            tx.any_of("x.agent_id", n)
        ));
        select
    }

    /// Blocks of which versions say it, or are of that time.
    async fn blocks(&self, tx: &mut Tx<'_>) -> Result<Vec<FoundBlock>, StoreError> {
        let mut select = Select::new(
            "SELECT b.id, b.label, b.value, b.revision, v.version FROM blocks b JOIN block_versions v ON v.block_id = b.id",
        );
        select.and_bind("b.organization_id = {}", self.organization);
        select.and_bind("COALESCE(b.subject, '') = {}", self.subject.clone());
        let n = select.bind(self.agents.clone());
        let agent = tx.any_of("x.agent_id", n);
        select.and(format!(
            "(b.id IN (SELECT x.block_id FROM agents_blocks x WHERE {agent}) OR b.id IN (SELECT y.block_id \
                 FROM conversations_blocks y JOIN conversations x ON x.id = y.conversation_id WHERE {agent}))"
        ));
        if let Some(text) = &self.parts.text {
            let n = select.bind(text.clone());
            select.and(tx.contains("v.value", n));
        }
        self.of_time(&mut select, "v.created_at");
        let mut found: Vec<FoundBlock> = Vec::new();
        let mut of_time: Vec<HashSet<i64>> = Vec::new();
        for mut row in select.all(tx, "ORDER BY b.id, v.version").await? {
            let (id, label, value, revision) = (row.parse()?, row.text()?, row.text()?, row.int()?);
            let version = row.int()?;
            if found.last().is_none_or(|last| last.id != id) {
                found.push(FoundBlock {
                    id,
                    label,
                    present: None,
                    versions: Vec::new(),
                    says_now: self.parts.text.as_ref().is_some_and(|text| {
                        value
                            .to_ascii_lowercase()
                            .contains(&text.to_ascii_lowercase())
                    }),
                });
                of_time.push(HashSet::new());
            }
            if let (Some(block), Some(of_time)) = (found.last_mut(), of_time.last_mut()) {
                of_time.insert(version);
                block.versions.push(version);
                block.present = (version == revision).then_some(version).or(block.present);
            }
        }
        for (block, of_time) in found.iter_mut().zip(&of_time) {
            if self.parts.text.is_none() {
                block.says_now = contributions::stand(tx, block.id, of_time).await?;
            }
            // The version of the present value goes where that changes.
            let goes = self.parts.change_blocks && block.says_now;
            let present = block.present.filter(|_| !goes);
            block.versions.retain(|version| Some(*version) != present);
        }
        Ok(found)
    }
}

pub(super) fn read(rows: Vec<Row>) -> Result<Vec<FoundMessage>, StoreError> {
    let message = |mut row: Row| {
        let seq = row.int()?;
        Ok(FoundMessage::of(seq, messages::from_row(row)?))
    };
    rows.into_iter().map(message).collect()
}

fn read_passages(rows: Vec<Row>) -> Result<Vec<FoundPassage>, StoreError> {
    rows.into_iter()
        .map(|mut row| read_passage(&mut row))
        .collect()
}

fn read_passage(row: &mut Row) -> Result<FoundPassage, StoreError> {
    Ok(FoundPassage {
        id: row.parse()?,
        text: row.text()?,
        created_at: row.time()?,
    })
}

/// Whether one of the next so many columns, which are JSON, says a text.
fn any_says(row: &mut Row, columns: usize, text: &str) -> Result<bool, StoreError> {
    let mut found = false;
    for _ in 0..columns {
        let Some(column) = row.opt_text()? else {
            continue;
        };
        found |= match serde_json::from_str(&column) {
            Ok(value) => saying::says(&value, text),
            Err(_) => saying::contains(&column, text),
        };
    }
    Ok(found)
}

impl FoundMessage {
    fn of(seq: i64, message: Message) -> Self {
        let calls = message.body.tool_calls.iter().map(|call| call.id.clone());
        let returns = message
            .body
            .tool_returns
            .iter()
            .map(|made| made.tool_call_id.clone());
        Self {
            calls: calls.chain(returns).collect(),
            is_summary: message.role != Role::System
                && compaction::summary_of(&message.body).is_some(),
            id: message.id,
            conversation_id: message.conversation_id,
            role: message.role,
            told: transcript::Told::of(&message),
            text: message.body.plain_text(),
            created_at: message.created_at,
            seq,
            agent_id: message.agent_id,
            run_id: message.run_id,
        }
    }
}
