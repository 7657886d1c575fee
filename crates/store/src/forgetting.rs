//! Forgetting a person: everything that agents keep of one end user goes.

mod contributions;
pub mod parts;

use mnemic_core::{
    ids::{AgentId, BlockId},
    scope::Scope,
    time::Timestamp,
};

use crate::{Param, StoreError, Tx, context, erasure, failpoints, limits, params, user_tokens};

/// How much was forgotten, and which blocks that are everybody's have lost lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Forgotten {
    pub conversations: u64,
    pub messages: u64,
    pub runs: u64,
    pub steps: u64,
    pub events: u64,
    pub traces: u64,
    pub blocks: u64,
    pub versions: u64,
    pub passages: u64,
    pub vectors: u64,
    pub jobs: u64,
    pub requests: u64,
    pub batches: u64,
    pub tokens: u64,
    pub archives: u64,
    pub identities: u64,
    pub common_blocks: Vec<BlockId>,
}

impl Forgotten {
    /// Adds what was forgotten besides.
    pub fn add(&mut self, more: Self) {
        self.conversations += more.conversations;
        self.messages += more.messages;
        self.runs += more.runs;
        self.steps += more.steps;
        self.events += more.events;
        self.traces += more.traces;
        self.blocks += more.blocks;
        self.versions += more.versions;
        self.passages += more.passages;
        self.vectors += more.vectors;
        self.jobs += more.jobs;
        self.requests += more.requests;
        self.batches += more.batches;
        self.tokens += more.tokens;
        self.archives += more.archives;
        self.identities += more.identities;
        for block in more.common_blocks {
            if !self.common_blocks.contains(&block) {
                self.common_blocks.push(block);
            }
        }
    }
}

/// For whom a person is forgotten.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// These agents.
    Agents(&'a [AgentId]),
    /// The whole organization.
    Everybody,
}

/// Forgets the end user of the scope: the person's threads with their messages, runs, steps, events and traces, own blocks with
/// all their versions, passages, vectors, jobs, batches and tokens, and what the person's turns added to common blocks and
/// archives; and, where everybody forgets, own archives and identities of that key. The rows go, and are not only marked; that
/// they are to be erased is noted. Runs must have been cancelled before.
///
/// # Errors
/// The scope names no end user, or the database's.
pub async fn forget(
    tx: &mut Tx<'_>,
    scope: &Scope,
    by: By<'_>,
    now: Timestamp,
) -> Result<Forgotten, StoreError> {
    let Some(subject) = scope.subject.as_deref() else {
        return Err(StoreError::Invalid(
            "say which user is to be forgotten".to_owned(),
        ));
    };
    let ids = match by {
        By::Agents(agents) => Some(agents.iter().map(ToString::to_string).collect::<Vec<_>>()),
        By::Everybody => None,
    };
    let mut bound = vec![Param::from(scope.organization), Param::from(subject)];
    bound.extend(ids.clone().map(Param::from));
    let places = Places::of(tx, ids.is_some());
    if !tx.for_update().is_empty() {
        // Whoever is about to store vectors of them holds them, and has ended then.
        for sql in places.held(tx.for_update()) {
            tx.query(&sql, &bound).await?;
        }
    }
    let concerned = format!(
        "agent_id IN (SELECT agent_id FROM runs WHERE {})",
        places.runs
    );
    let shown = forget_shown(tx, &concerned, &bound).await?;
    let mut gone = Forgotten {
        traces: shown,
        common_blocks: contributions::take_back(tx, scope, (&places.runs, &bound), now).await?,
        ..Forgotten::default()
    };
    for sql in places.before() {
        tx.execute(&sql, &bound).await?;
    }
    (gone.blocks, gone.versions) = forget_blocks(tx, &places.blocks, &bound).await?;
    for (count, sql) in places.counted() {
        *count(&mut gone) += tx.execute(&sql, &bound).await?;
    }
    let everywhere = params![scope.organization, subject];
    tx.execute(OWN_COUNTS, everywhere).await?;
    gone.batches = tx.execute(EMPTY_BATCHES, everywhere).await?;
    if ids.is_none() {
        let archives = "DELETE FROM archives WHERE organization_id = $1 AND subject = $2";
        gone.archives = tx.execute(archives, everywhere).await?;
        let identities = "DELETE FROM identities WHERE organization_id = $1 AND identifier_key = $2 AND identity_type = 'user'";
        gone.identities = tx.execute(identities, everywhere).await?;
        limits::forget(tx, scope, subject).await?;
    }
    gone.tokens = end_tokens(tx, scope, by).await?;
    erasure::note_due(tx).await?;
    failpoints::hit("forgetting");
    Ok(gone)
}

/// Deletes the blocks for which a condition holds, and their versions; tells how many of both. Versions say whose a block is, so all are
/// found before any goes.
async fn forget_blocks(
    tx: &mut Tx<'_>,
    blocks: &str,
    bound: &[Param<'_>],
) -> Result<(u64, u64), StoreError> {
    let sql = format!("SELECT id FROM blocks WHERE {blocks}");
    let found = tx.query(&sql, bound).await?.into_iter();
    let ids = found.map(|mut row| row.text());
    let ids = [Param::from(ids.collect::<Result<Vec<String>, _>>()?)];
    let sql = format!(
        "DELETE FROM block_versions WHERE {}",
        tx.any_of("block_id", 1)
    );
    let versions = tx.execute(&sql, &ids).await?;
    let sql = format!("DELETE FROM blocks WHERE {}", tx.any_of("id", 1));
    Ok((tx.execute(&sql, &ids).await?, versions))
}

/// Takes away what the models of agents were shown: what somebody said to one of them, or wrote into a block that has been detached or
/// deleted since, may stand in any of their traces and compiled prompts. Prompts are compiled anew by the next step.
async fn forget_shown(
    tx: &mut Tx<'_>,
    agents: &str,
    bound: &[Param<'_>],
) -> Result<u64, StoreError> {
    let shown = format!("organization_id = $1 AND {agents}");
    context::empty_prompts(tx, &shown, bound).await?;
    let sql = format!("DELETE FROM traces WHERE step_id IN (SELECT id FROM steps WHERE {shown})");
    tx.execute(&sql, bound).await
}

/// Counts of passages that are all gone.
const OWN_COUNTS: &str = "DELETE FROM own_passage_counts WHERE subject = $2 \
     AND archive_id IN (SELECT id FROM archives WHERE organization_id = $1) \
     AND NOT EXISTS (SELECT 1 FROM passages p \
         WHERE p.archive_id = own_passage_counts.archive_id AND p.subject = $2)";

/// Batches all of whose requests are gone.
const EMPTY_BATCHES: &str = "DELETE FROM batches WHERE organization_id = $1 AND subject = $2 \
     AND NOT EXISTS (SELECT 1 FROM batch_requests q WHERE q.batch_id = batches.id)";

/// A count of what was forgotten.
type Count = fn(&mut Forgotten) -> &mut u64;

async fn end_tokens(tx: &mut Tx<'_>, scope: &Scope, by: By<'_>) -> Result<u64, StoreError> {
    let By::Agents(agents) = by else {
        return user_tokens::end(tx, scope, None).await;
    };
    let mut ended = 0;
    for agent in agents {
        ended += user_tokens::end(tx, scope, Some(*agent)).await?;
    }
    Ok(ended)
}

/// Where a person's things are; in the conditions `$1` is the organization, `$2` the person, and `$3`, if some agents alone
/// forget, these.
struct Places {
    threads: String,
    messages: String,
    runs: String,
    passages: String,
    blocks: String,
    jobs: String,
    groups: String,
    batches: String,
    agents: String,
}

impl Places {
    fn of(tx: &Tx<'_>, by_agents: bool) -> Self {
        let own = "organization_id = $1 AND subject = $2";
        let and = |condition: String| match by_agents {
            true => format!("{own} AND {condition}"),
            false => own.to_owned(),
        };
        let of_agents = tx.any_of("agent_id", 3);
        let threads = and(of_agents.clone());
        let in_threads =
            format!("conversation_id IN (SELECT id FROM conversations WHERE {threads})");
        // A message may stand in a thread that is nobody's own.
        let elsewhere = and(of_agents.clone());
        let runs = format!("({in_threads} OR ({elsewhere}))");
        let own_passages = and(format!(
            "archive_id IN (SELECT archive_id FROM agents_archives WHERE {of_agents})"
        ));
        // A block that a tool made is shown in no thread before it is attached.
        let blocks = and(format!(
            "(id IN (SELECT block_id FROM conversations_blocks WHERE {in_threads}) \
              OR id IN (SELECT block_id FROM block_versions WHERE {of_agents} \
                  OR run_id IN (SELECT id FROM runs WHERE {runs})))"
        ));
        Self {
            messages: format!("({in_threads} OR ({elsewhere}))"),
            passages: format!("(({own_passages}) OR ({}))", common_passages(&runs)),
            runs,
            blocks,
            jobs: and(of_agents.clone()),
            batches: own.to_owned(),
            agents: match by_agents {
                true => of_agents,
                false => "1 = 1".to_owned(),
            },
            groups: match by_agents {
                true => format!(
                    "a.organization_id = $1 AND {}",
                    tx.any_of("a.manager_agent_id", 3)
                ),
                false => "a.organization_id = $1".to_owned(),
            },
            threads,
        }
    }

    /// Locks the rows that have vectors.
    fn held(&self, lock: &str) -> [String; 2] {
        [
            format!("SELECT seq FROM messages WHERE {}{lock}", self.messages),
            format!("SELECT seq FROM passages WHERE {}{lock}", self.passages),
        ]
    }

    /// What is deleted and counted, in this order.
    fn counted(&self) -> Vec<(Count, String)> {
        let vectors = |of: &str, scope: &str, condition: &str| {
            format!(
                "DELETE FROM vectors WHERE seq IN (SELECT v.seq FROM \
                     (SELECT {scope} AS scope, seq AS item FROM {of} WHERE {condition}) gone \
                     JOIN vectors v ON v.scope = gone.scope AND v.item = gone.item)"
            )
        };
        let runs = format!("run_id IN (SELECT id FROM runs WHERE {})", self.runs);
        let steps = format!("step_id IN (SELECT s.id FROM steps s WHERE s.{runs})");
        let delete = |from: &str, condition: &str| format!("DELETE FROM {from} WHERE {condition}");
        // A batch may be of several agents; it goes with its last request.
        let batches = format!(
            "batch_id IN (SELECT id FROM batches WHERE {})",
            self.batches
        );
        let requests = delete("batch_requests", &format!("{batches} AND {}", self.agents));
        vec![
            (
                |n| &mut n.vectors,
                vectors("messages", "agent_id", &self.messages),
            ),
            (
                |n| &mut n.vectors,
                vectors("passages", "archive_id", &self.passages),
            ),
            (|n| &mut n.passages, delete("passages", &self.passages)),
            (|n| &mut n.messages, delete("messages", &self.messages)),
            (|n| &mut n.traces, delete("traces", &steps)),
            (|n| &mut n.events, delete("run_events", &runs)),
            (|n| &mut n.steps, delete("steps", &runs)),
            (|n| &mut n.runs, delete("runs", &self.runs)),
            (|n| &mut n.jobs, delete("jobs", &self.jobs)),
            (
                |n| &mut n.conversations,
                delete("conversations", &self.threads),
            ),
            (|n| &mut n.requests, requests),
        ]
    }

    /// What is changed before: contexts where the messages stood, what groups remember, and how many passages are common.
    fn before(&self) -> [String; 5] {
        let messages = format!(
            "message_id IN (SELECT id FROM messages WHERE {})",
            self.messages
        );
        let common = common_passages(&self.runs);
        [
            // Sessions in memory are of a revision.
            format!(
                "UPDATE conversations SET context_revision = context_revision + 1 WHERE organization_id = $1 \
                     AND id IN (SELECT conversation_id FROM context_entries WHERE {messages})"
            ),
            format!("DELETE FROM context_entries WHERE {messages}"),
            // Calls beside runs are of agents and people, as jobs are.
            format!("DELETE FROM model_calls WHERE {}", self.jobs),
            format!(
                "DELETE FROM group_turns WHERE group_id IN (SELECT g.group_id FROM group_turns g \
                     JOIN agent_groups a ON a.id = g.group_id WHERE g.subject = $2 AND {}) \
                     AND subject = $2",
                self.groups
            ),
            format!(
                "UPDATE archives SET passage_count = passage_count - (SELECT COUNT(*) FROM passages \
                         WHERE archive_id = archives.id AND {common}) \
                     WHERE organization_id = $1 AND id IN (SELECT archive_id FROM passages WHERE {common})"
            ),
        ]
    }
}

/// Passages that the person's turns added to what is everybody's.
fn common_passages(runs: &str) -> String {
    format!(
        "organization_id = $1 AND subject IS NULL AND run_id IN (SELECT id FROM runs WHERE {runs})"
    )
}
