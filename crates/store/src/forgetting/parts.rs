//! Forgetting parts: single messages and passages, what contains a text, a time, a thread; of one end user, or of what is nobody's.

mod finding;
mod related;
mod saying;

use std::collections::HashSet;

pub use finding::find;
use mnemic_core::{
    blocks::{Author, Block},
    groups::transcript,
    ids::{AgentId, BlockId, ConversationId, MessageId, PassageId, RunId},
    messages::Role,
    scope::Scope,
    time::Timestamp,
};

use super::{Forgotten, contributions, forget_shown};
use crate::{Param, StoreError, Tx, blocks, context, erasure, leases::now_sql, params};

/// What is to be forgotten. Ids name single things; what else is set has to hold all together.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// These messages.
    pub message_ids: Vec<MessageId>,
    /// These passages.
    pub passage_ids: Vec<PassageId>,
    /// What contains this text, in any case of ASCII letters.
    pub text: Option<String>,
    /// What is of this time or later.
    pub from: Option<Timestamp>,
    /// What is of an earlier time.
    pub to: Option<Timestamp>,
    /// What is in this thread.
    pub conversation_id: Option<ConversationId>,
    /// Whether blocks lose the text, or the lines that versions of that time brought, as well.
    pub change_blocks: bool,
}

impl Parts {
    /// Whether something is described, and not only named.
    fn describes(&self) -> bool {
        self.text.is_some() || self.is_of_time() || self.conversation_id.is_some()
    }

    fn is_of_time(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// A message that is found.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FoundMessage {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub role: Role,
    pub text: String,
    pub created_at: Timestamp,
    seq: i64,
    agent_id: AgentId,
    run_id: Option<RunId>,
    /// The calls that it makes or answers.
    calls: Vec<String>,
    is_summary: bool,
    /// How other agents are told it.
    told: transcript::Told,
}

/// A passage that is found.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FoundPassage {
    pub id: PassageId,
    pub text: String,
    pub created_at: Timestamp,
}

/// A block that says it, or said it once.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct FoundBlock {
    pub id: BlockId,
    pub label: String,
    /// Its versions out of which it goes.
    pub versions: Vec<i64>,
    /// Whether it says so now: the text, or what versions of that time brought.
    pub says_now: bool,
    /// The version of its present value, where that is among what was found.
    present: Option<i64>,
}

/// What is found, and would be forgotten.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Messages; with them go the calls or returns that belong to them, and summaries that were made after them.
    pub messages: Vec<FoundMessage>,
    /// Passages.
    pub passages: Vec<FoundPassage>,
    /// Blocks.
    pub blocks: Vec<FoundBlock>,
    /// Runs that are emptied of what was said in them; that they were, and what they took, stays.
    pub runs: Vec<RunId>,
}

/// Forgets what was found for the same parts.
///
/// # Errors
/// A turn runs in one of the threads ([`StoreError::Contended`]), or the database's.
pub async fn forget(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agents, parts, found): (&[AgentId], &Parts, &Found),
    now: Timestamp,
) -> Result<Forgotten, StoreError> {
    let threads = threads_of(tx, parts, found).await?;
    let agents: Vec<String> = agents.iter().map(ToString::to_string).collect();
    hold(tx, scope, &agents).await?;
    let concerned = tx.any_of("agent_id", 2);
    let bound = [Param::from(scope.organization), Param::from(agents)];
    let mut gone = Forgotten {
        traces: forget_shown(tx, &concerned, &bound).await?,
        ..Forgotten::default()
    };
    for message in &found.messages {
        forget_message(tx, message, &mut gone).await?;
    }
    for run in &found.runs {
        empty_run(tx, *run, &mut gone).await?;
    }
    for thread in &threads {
        context::touch(tx, *thread).await?;
    }
    if let Some(text) = &parts.text {
        forget_in_descriptions(
            tx,
            scope,
            (concerned.as_str(), bound.as_slice(), text.as_str()),
        )
        .await?;
    }
    for passage in &found.passages {
        gone.vectors += crate::passages::forget(tx, scope, passage.id).await?;
        gone.passages += 1;
    }
    for block in &found.blocks {
        forget_in_block(tx, scope, (parts, block), now).await?;
        gone.versions += u64::try_from(block.versions.len()).unwrap_or(u64::MAX);
    }
    if let Some(thread) = parts
        .conversation_id
        .filter(|_| parts.text.is_none() && !parts.is_of_time())
    {
        gone.conversations += forget_thread(tx, thread, now).await?;
    }
    erasure::note_due(tx).await?;
    Ok(gone)
}

/// The threads in which something is found, also those whose runs have only been asked it so far.
async fn threads_of(
    tx: &mut Tx<'_>,
    parts: &Parts,
    found: &Found,
) -> Result<Vec<ConversationId>, StoreError> {
    let mut threads: Vec<ConversationId> = parts.conversation_id.into_iter().collect();
    threads.extend(found.messages.iter().map(|message| message.conversation_id));
    for run in &found.runs {
        let sql = "SELECT conversation_id FROM runs WHERE id = $1";
        if let Some(mut row) = tx.query_opt(sql, params![run]).await? {
            threads.push(row.parse()?);
        }
    }
    let mut seen = HashSet::new();
    threads.retain(|thread| seen.insert(*thread));
    Ok(threads)
}

/// Takes away the summaries and descriptions of threads that contain a text.
async fn forget_in_descriptions(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agents, bound, text): (&str, &[Param<'_>], &str),
) -> Result<(), StoreError> {
    let mut bound = bound.to_vec();
    let n = bound.len();
    bound.push(Param::from(scope.subject.as_deref().unwrap_or_default()));
    bound.push(Param::from(text));
    for column in ["summary", "description"] {
        let sql = format!(
            "UPDATE conversations SET {column} = NULL WHERE organization_id = $1 AND {agents} \
                 AND COALESCE(subject, '') = ${} AND {}",
            n + 1,
            tx.contains(column, n + 2)
        );
        tx.execute(&sql, &bound).await?;
    }
    Ok(())
}

/// Deletes a thread of which nothing is left to be said, with its prompt; the default one stays, and is empty.
async fn forget_thread(
    tx: &mut Tx<'_>,
    thread: ConversationId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "UPDATE conversations SET summary = NULL, description = NULL WHERE id = $1";
    tx.execute(sql, params![thread]).await?;
    let sql = "UPDATE conversations SET deleted_at = $2 WHERE id = $1 AND is_default = 0 AND deleted_at IS NULL";
    let deleted = tx.execute(sql, params![thread, now]).await?;
    if deleted > 0 {
        for sql in [
            "DELETE FROM messages WHERE id = (SELECT prompt_message_id FROM conversations WHERE id = $1)",
            "DELETE FROM context_entries WHERE conversation_id = $1",
            "UPDATE conversations SET prompt_message_id = NULL, prompt_signature = NULL WHERE id = $1",
        ] {
            tx.execute(sql, params![thread]).await?;
        }
    }
    Ok(deleted)
}

/// Sees to it that nothing runs for the end user, or for nobody in particular, with these agents until the end of the transaction: it
/// may have been shown what is to be forgotten, in a fork as well, or is about to be told it.
async fn hold(tx: &mut Tx<'_>, scope: &Scope, agents: &[String]) -> Result<(), StoreError> {
    let subject = scope.subject.as_deref().unwrap_or_default();
    let bound = [
        Param::from(scope.organization),
        Param::from(agents.to_vec()),
        Param::from(subject),
    ];
    let whose = |table: &str| {
        format!(
            "{} = $1 AND {} AND COALESCE({table}.subject, '') = $3",
            tx.unindexed(&format!("{table}.organization_id")),
            tx.any_of(&format!("{table}.agent_id"), 2)
        )
    };
    let (of_threads, of_runs) = (whose("c"), whose("r"));
    let sql = format!(
        "SELECT c.id FROM conversations c WHERE {of_threads} ORDER BY c.id{}",
        tx.for_update()
    );
    tx.query(&sql, &bound).await?;
    let now = now_sql(tx.dialect());
    let sql = format!(
        "SELECT 1 FROM runs r WHERE {of_runs} AND r.status IN ('created', 'running') \
         UNION ALL SELECT 1 FROM leases l JOIN conversations c ON c.id = l.conversation_id \
             WHERE {of_threads} AND l.owner IS NOT NULL AND l.expires_at > {now} LIMIT 1"
    );
    match tx.query_opt(&sql, &bound).await? {
        None => Ok(()),
        Some(_) => Err(StoreError::Contended),
    }
}

async fn forget_message(
    tx: &mut Tx<'_>,
    message: &FoundMessage,
    gone: &mut Forgotten,
) -> Result<(), StoreError> {
    // A context holds messages of its agent's threads; sessions in memory are of a revision.
    let shown = "SELECT e.conversation_id FROM context_entries e WHERE e.message_id = $1";
    let sql = format!(
        "UPDATE conversations SET context_revision = context_revision + 1 WHERE id IN ({shown})"
    );
    tx.execute(&sql, params![message.id]).await?;
    for sql in [
        "DELETE FROM context_entries WHERE message_id = $1",
        "DELETE FROM otids WHERE message_id = $1",
    ] {
        tx.execute(sql, params![message.id]).await?;
    }
    let sql = "DELETE FROM messages WHERE id = $1";
    gone.messages += tx.execute(sql, params![message.id]).await?;
    let sql = "DELETE FROM vectors WHERE scope = $1 AND item = $2";
    gone.vectors += tx
        .execute(sql, params![message.agent_id, message.seq])
        .await?;
    Ok(())
}

/// Takes what was said out of a run: what it was asked, its log, its calls and traces.
async fn empty_run(tx: &mut Tx<'_>, run: RunId, gone: &mut Forgotten) -> Result<(), StoreError> {
    let steps = "step_id IN (SELECT id FROM steps WHERE run_id = $1)";
    let sql = format!("DELETE FROM traces WHERE {steps}");
    gone.traces += tx.execute(&sql, params![run]).await?;
    gone.events += tx
        .execute("DELETE FROM run_events WHERE run_id = $1", params![run])
        .await?;
    for sql in [
        format!("DELETE FROM tool_calls WHERE {steps}"),
        "DELETE FROM otids WHERE run_id = $1".to_owned(),
        "UPDATE steps SET answer = NULL, error = NULL WHERE run_id = $1".to_owned(),
        "UPDATE runs SET error = NULL WHERE id = $1".to_owned(),
    ] {
        tx.execute(&sql, params![run]).await?;
    }
    let sql = "UPDATE batch_requests SET request = '{}' WHERE run_id = $1";
    tx.execute(sql, params![run]).await?;
    let sql = "SELECT input FROM runs WHERE id = $1";
    let Some(mut row) = tx.query_opt(sql, params![run]).await? else {
        return Ok(());
    };
    let mut input: serde_json::Value = row.json()?;
    if let Some(messages) = input.get_mut("messages") {
        *messages = serde_json::json!([]);
    }
    let sql = "UPDATE runs SET input = $2, body_hash = '', metadata = '{}' WHERE id = $1";
    let bound = [Param::from(run), Param::from(input.to_string())];
    tx.execute(sql, &bound).await?;
    Ok(())
}

async fn forget_in_block(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (parts, found): (&Parts, &FoundBlock),
    now: Timestamp,
) -> Result<(), StoreError> {
    context::empty_prompts_with(tx, found.id).await?;
    let text = parts
        .text
        .as_deref()
        .filter(|_| parts.change_blocks && found.says_now);
    if let Some(text) = text {
        let block = blocks::get(tx, scope, found.id).await?;
        let changed = Block {
            value: without(&block.value, text),
            ..block.clone()
        };
        blocks::write(tx, scope, (&block, changed), &Author::asking(scope), now).await?;
    }
    if parts.change_blocks && found.says_now && parts.text.is_none() {
        let versions: HashSet<i64> = found.versions.iter().copied().collect();
        contributions::take_out(tx, scope, (found.id, &versions), now).await?;
    }
    forget_in_versions(tx, (parts, found)).await
}

/// Takes what is forgotten out of former versions. The rows stay, for each tells whose the lines are that later versions still have:
/// without it they would pass for those of whoever wrote next.
async fn forget_in_versions(
    tx: &mut Tx<'_>,
    (parts, found): (&Parts, &FoundBlock),
) -> Result<(), StoreError> {
    let going: HashSet<i64> = found.versions.iter().copied().collect();
    let all = blocks::values_after(tx, found.id, (i64::MIN, i64::MAX)).await?;
    let mut next = String::new();
    for version in all.into_iter().rev() {
        let mut value = version.value;
        if going.contains(&version.version) {
            value = left_of(&value, &next, parts.text.as_deref());
            let sql = "UPDATE block_versions SET value = $3 WHERE block_id = $1 AND version = $2";
            tx.execute(sql, params![found.id, version.version, value.as_str()])
                .await?;
        }
        next = value;
    }
    Ok(())
}

/// What is left of a version before the next one, when a text, or all that it said, is forgotten: lines that the next one has are no
/// former ones.
fn left_of(value: &str, next: &str, text: Option<&str>) -> String {
    let stays = |line: &&str| {
        let is_sought = text.is_none_or(|text| saying::contains(line, text));
        !is_sought || next.lines().any(|later| later == *line)
    };
    let left: Vec<&str> = value.lines().filter(stays).collect();
    let left = left.join("\n");
    match text {
        // It goes over several lines.
        Some(text) if !saying::contains(next, text) => without(&left, text),
        _ => left,
    }
}

/// A value without a text, in any case of ASCII letters.
fn without(value: &str, text: &str) -> String {
    // Lowering ASCII letters moves no byte, so places in the one text are places in the other.
    let (low, sought) = (value.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut kept = String::with_capacity(value.len());
    let mut from = 0;
    for (at, found) in low.match_indices(&sought) {
        kept.push_str(value.get(from..at).unwrap_or_default());
        from = at + found.len();
    }
    kept.push_str(value.get(from..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_former_version_stays_what_the_next_one_has() {
        for (value, next, text, left) in [
            ("a\nhers", "a\nhers\nb", None, "a\nhers"),
            ("a\nhers", "a", None, "a"),
            ("a\nhers", "a\nhers\nb", Some("HERS"), "a\nhers"),
            ("old\nhers", "b", Some("hers"), "old"),
            ("x\ny z", "b", Some("x\ny"), " z"),
            ("", "b", None, ""),
        ] {
            assert_eq!(left_of(value, next, text), left, "{value:?} {next:?}");
        }
    }

    #[test]
    fn a_text_is_taken_out_wherever_it_stands() {
        assert_eq!(
            without("Name: Ada. Has ASTHMA.\nasthma again", "Asthma"),
            "Name: Ada. Has .\n again"
        );
        assert_eq!(
            without("Ünal spricht", "ünal"),
            "Ünal spricht",
            "other letters are compared as they are"
        );
        assert_eq!(without("nothing", "x"), "nothing");
    }
}
