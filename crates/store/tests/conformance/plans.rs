//! Hot queries are looked up by an index and read in its order: none reads a whole table, none sorts.
//!
//! SQLite does not tell which statements it ran, PostgreSQL does. So the functions are run on
//! PostgreSQL, whose list of prepared statements is explained there; and the same list must hold the
//! texts that stand here, which SQLite explains.

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ApiKeyId, ConversationId, MessageId, RunId},
    runs::RunStatus,
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Location, Param, StoreError, Tx,
    agents::{self, AgentFilter},
    context,
    conversations::{self, ConversationFilter},
    events, leases,
    listed_jobs::{self, Shown},
    messages::{self, MessageFilter},
    otids,
    page::{Order, Page},
    runs::{self, RunFilter},
    steps::{self, StepFilter},
    turns,
    usage::{self, UsageFilter},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{
    house::{House, at_each_location, open},
    thread::{default_thread, said, stored_messages},
    write,
};

/// From FROM to the end, the hot statements that read several rows or look something up.
const TAILS: [&str; 17] = [
    // History of a thread and of an agent, first pages and further ones.
    "FROM messages m WHERE m.organization_id = $1 AND m.conversation_id = $2 \
     ORDER BY m.seq DESC, m.id DESC LIMIT $3",
    "FROM messages m WHERE m.organization_id = $1 AND m.conversation_id = $2 \
     AND (m.seq, m.id) > ($3, $4) ORDER BY m.seq ASC, m.id ASC LIMIT $5",
    "FROM messages m WHERE m.organization_id = $1 AND m.agent_id = $2 \
     AND (m.seq, m.id) < ($3, $4) ORDER BY m.seq DESC, m.id DESC LIMIT $5",
    "FROM messages m WHERE m.organization_id = $1 AND m.run_id = $2 \
     ORDER BY m.seq ASC, m.id ASC LIMIT $3",
    "FROM messages m WHERE m.id = $1",
    // The context of a conversation.
    "FROM context_entries e JOIN messages m ON m.id = e.message_id \
     WHERE e.conversation_id = $1 ORDER BY e.position",
    "FROM context_entries WHERE conversation_id = $1 ORDER BY position",
    // Lists.
    "FROM agents a WHERE a.organization_id = $1 AND COALESCE(a.hidden, 0) = 0 \
     ORDER BY a.created_at DESC, a.id DESC LIMIT $2",
    "FROM agents a WHERE a.organization_id = $1 AND COALESCE(a.hidden, 0) = 0 \
     AND (a.created_at, a.id) > ($2, $3) ORDER BY a.created_at ASC, a.id ASC LIMIT $4",
    "FROM conversations c WHERE c.organization_id = $1 AND c.deleted_at IS NULL \
     AND c.is_default = 0 AND c.hidden = 0 AND c.archived_at IS NULL \
     AND c.agent_id = $2 ORDER BY c.created_at DESC, c.id DESC LIMIT $3",
    "FROM runs r JOIN conversations c ON c.id = r.conversation_id \
     WHERE r.organization_id = $1 AND r.agent_id = $2 ORDER BY r.created_at DESC, r.seq DESC LIMIT $3",
    "FROM steps s WHERE s.organization_id = $1 AND s.agent_id = $2 \
     ORDER BY s.seq DESC, s.id DESC LIMIT $3",
    // What a turn and a client that comes back look up.
    "FROM run_events WHERE run_id = $1 AND seq >= COALESCE((SELECT MAX(e.seq) FROM run_events e \
     WHERE e.run_id = $1 AND e.seq <= $2), 0) ORDER BY seq LIMIT $3",
    "FROM run_events WHERE run_id = $1 ORDER BY seq DESC LIMIT 1",
    "FROM otids WHERE conversation_id = $1 AND otid = $2",
    "FROM messages WHERE run_id = $1 AND otid = $2 LIMIT 1",
    "FROM runs WHERE conversation_id = $1 AND status IN ('created', 'running') \
     AND seq < (SELECT seq FROM runs WHERE id = $2)",
];

/// What begins a turn; the blocks of one agent and of one thread are few, and may be sorted.
const HEAD: &str = "SELECT c.id, c.is_default, c.context_revision, c.next_position, \
     c.prompt_signature, a.id || ':' || a.revision || ' ' || COALESCE((SELECT \
     string_agg(of_agent.state, ' ') FROM (SELECT b.id || ':' || b.revision AS state \
     FROM agents_blocks ab JOIN blocks b ON b.id = ab.block_id WHERE ab.agent_id = a.id \
     ORDER BY ab.position, b.id) of_agent), '') \
     || COALESCE((SELECT ' own ' || string_agg(own.state, ' ') \
     FROM (SELECT b.id || ':' || b.revision AS state FROM conversations_blocks cb \
     JOIN blocks b ON b.id = cb.block_id WHERE cb.conversation_id = c.id \
     ORDER BY cb.position, b.id) own), ''), \
     c.prompt_message_id, a.require_user, (SELECT COUNT(*) FROM runs r WHERE r.conversation_id = c.id \
     AND r.status IN ('created', 'running')), \
     (SELECT l.run_id FROM leases l WHERE l.conversation_id = c.id) \
     FROM agents a JOIN conversations c ON c.agent_id = a.id \
     WHERE a.id = $1 AND a.organization_id = $2 AND c.deleted_at IS NULL AND ";

/// Which conversation it is read of.
const HEAD_OF: [&str; 2] = ["c.is_default = 1 AND $3 = ''", "c.id = $3"];

/// Runs on PostgreSQL all that the texts above tell of, and the look-ups of statements that change
/// rows; gives what was run.
async fn run_all(house: &House) -> Vec<String> {
    let place = default_thread(house, "a").await;
    let cursor = stored_messages(house, vec![said(place, "x")]).await[0];
    let run = write!(house, |tx, scope| {
        lists(tx, scope, place.0).await?;
        history(tx, scope, place, cursor).await?;
        turn(tx, scope, place).await?;
        let sql = "SELECT statement FROM pg_prepared_statements";
        let rows = tx.query(sql, &[]).await?;
        rows.into_iter().map(|mut row| row.text()).collect()
    });
    let run: Vec<String> = run.unwrap();
    let is_ours = |sql: &String| !sql.starts_with("INSERT") && !sql.contains("pg_prepared");
    run.into_iter().filter(is_ours).collect()
}

async fn lists(tx: &mut Tx<'_>, scope: &Scope, agent: AgentId) -> Result<(), StoreError> {
    let (newest, oldest) = (Page::first(50, Order::Desc), Page::first(50, Order::Asc));
    let all = AgentFilter::default();
    agents::list(tx, scope, &all, &newest).await?;
    let further = Page {
        after: Some(agent.to_string()),
        ..oldest
    };
    agents::list(tx, scope, &all, &further).await?;
    let own = ConversationFilter {
        agent_id: Some(agent),
        ..ConversationFilter::default()
    };
    conversations::list(tx, scope, &own, &newest).await?;
    let own = RunFilter {
        agent_ids: vec![agent],
        ..RunFilter::default()
    };
    runs::list(tx, scope, &own, &newest).await?;
    let own = StepFilter {
        agent_id: Some(agent),
        ..StepFilter::default()
    };
    steps::list(tx, scope, &own, &newest).await.map(drop)
}

async fn history(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent, conversation): (AgentId, ConversationId),
    cursor: MessageId,
) -> Result<(), StoreError> {
    let (newest, oldest) = (Page::first(50, Order::Desc), Page::first(50, Order::Asc));
    let after = |page: &Page| Page {
        after: Some(cursor.to_string()),
        ..page.clone()
    };
    let mut filter = MessageFilter {
        conversation_id: Some(conversation),
        ..MessageFilter::default()
    };
    messages::list(tx, scope, &filter, &newest).await?;
    messages::list(tx, scope, &filter, &after(&oldest)).await?;
    filter.conversation_id = None;
    filter.agent_id = Some(agent);
    messages::list(tx, scope, &filter, &after(&newest)).await?;
    filter.agent_id = None;
    filter.run_id = Some(RunId::new());
    messages::list(tx, scope, &filter, &oldest).await.map(drop)
}

async fn turn(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent, conversation): (AgentId, ConversationId),
) -> Result<(), StoreError> {
    let run = RunId::new();
    turns::head(tx, scope, agent, Thread::Default).await?;
    turns::head(tx, scope, agent, Thread::Id(conversation)).await?;
    for _ in 0..2 {
        otids::offer(tx, conversation, "o", "hash", (Some(run), None)).await?;
    }
    let lease = leases::acquire(tx, conversation, "owner", run).await?;
    let lease = lease.ok_or(StoreError::LeaseLost)?;
    leases::renew(tx, &lease).await?;
    runs::has_earlier_open(tx, conversation, run).await?;
    runs::open(tx, Some(conversation)).await?;
    runs::same_request(tx, scope, conversation, "hash", Timestamp(0)).await?;
    context::messages(tx, conversation).await?;
    context::message_ids(tx, conversation).await?;
    messages::by_otid(tx, run, "o").await?;
    events::last_seq(tx, run).await?;
    events::after(tx, run, 5, 100).await?;
    leases::release(tx, &lease).await
}

/// The lines of SQLite's plan that read a whole table, or all of it from some row on, or sort.
async fn slow_lines(tx: &mut Tx<'_>, sql: &str) -> Result<Vec<String>, StoreError> {
    let highest = (1..9).filter(|n| sql.contains(&format!("${n}"))).max();
    let bound = vec![Param::Null; highest.unwrap_or(0)];
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let mut plan = Vec::new();
    for mut row in tx.query(&sql, &bound).await? {
        // Before the text stand its number, its parent's and one that means nothing.
        for _ in 0..3 {
            row.int()?;
        }
        plan.push(row.text()?);
    }
    assert!(!plan.is_empty(), "{sql}");
    let is_slow = |line: &String| {
        line.starts_with("SCAN")
            || line.contains("PRIMARY KEY (rowid<")
            || line.contains("PRIMARY KEY (rowid>")
            || line.contains("TEMP B-TREE")
    };
    Ok(plan.into_iter().filter(is_slow).collect())
}

/// What is of one agent, conversation or key is not looked for among all that is the organization's: without its index it
/// is refused.
async fn indexes_are_named(tx: &mut Tx<'_>, scope: &Scope) -> Result<(), StoreError> {
    let newest = Page::first(50, Order::Desc);
    let of_agent = RunFilter {
        agent_ids: vec![AgentId::new()],
        ..RunFilter::default()
    };
    let of_conversation = RunFilter {
        conversation_id: Some(ConversationId::new()),
        ..of_agent.clone()
    };
    let used_by_agent = UsageFilter {
        agent_id: Some(AgentId::new()),
        api_key_id: None,
        from: Timestamp(0),
        to: Timestamp(9),
    };
    let used_by_key = UsageFilter {
        agent_id: None,
        api_key_id: Some(ApiKeyId::new()),
        ..used_by_agent.clone()
    };
    let open_ones = RunFilter {
        statuses: vec![RunStatus::Created, RunStatus::Running],
        ..RunFilter::default()
    };
    let lists = [
        ("runs_open", open_ones),
        ("runs_by_agent", of_agent),
        ("runs_by_conversation", of_conversation),
    ];
    for (_, filter) in &lists {
        runs::list(tx, scope, filter, &newest).await?;
    }
    let used = [used_by_agent, used_by_key];
    for filter in &used {
        usage::messages(tx, scope, filter).await?;
        usage::by_model(tx, scope, filter, &[]).await?;
    }
    for (index, filter) in &lists {
        tx.execute(&format!("DROP INDEX {index}"), &[]).await?;
        let refused = runs::list(tx, scope, filter, &newest).await.unwrap_err();
        assert!(refused.to_string().contains(index), "{refused}");
    }
    listed_jobs::list(tx, scope, Shown::All, &newest).await?;
    tx.execute("DROP INDEX runs_in_background", &[]).await?;
    let refused = listed_jobs::list(tx, scope, Shown::All, &newest).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("runs_in_background"), "{refused}");
    tx.execute("DROP INDEX runs_by_key_and_time", &[]).await?;
    for filter in &used {
        let refused = usage::messages(tx, scope, filter).await.unwrap_err();
        assert!(refused.to_string().contains("runs_by_"), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn on_sqlite_hot_queries_search_by_index_and_need_no_sorting() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    let house = open(location, "SQLite").await;
    write!(house, |tx, scope| {
        for of in HEAD_OF {
            let sorted = "USE TEMP B-TREE FOR ORDER BY";
            let slow = slow_lines(tx, &format!("{HEAD}{of}")).await?;
            let blocks = [sorted, "SCAN of_agent", sorted, "SCAN own"];
            assert_eq!(slow, blocks);
        }
        // Of runs that are over there are more with each turn: what asks for open ones says by which index, so that
        // it is an error when that cannot be used.
        let agent = AgentId::new();
        let unknown = turns::head(tx, scope, agent, Thread::Default).await;
        assert!(
            matches!(unknown, Err(StoreError::NotFound { .. })),
            "{unknown:?}"
        );
        runs::open(tx, Some(ConversationId::new())).await?;
        runs::has_earlier_open(tx, ConversationId::new(), RunId::new()).await?;
        for tail in TAILS {
            let slow = slow_lines(tx, &format!("SELECT 1 {tail}")).await?;
            assert_eq!(slow, [""; 0], "{tail}");
        }
        indexes_are_named(tx, scope).await?;
        // That of open runs is gone now.
        for of in [Thread::Default, Thread::Id(ConversationId::new())] {
            let refused = turns::head(tx, scope, agent, of).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("runs_open"), "{refused}");
        }
        let drop = "DROP INDEX messages_by_conversation";
        tx.execute(drop, &[]).await?;
        for tail in &TAILS[..2] {
            let slow = slow_lines(tx, &format!("SELECT m.id {tail}")).await?;
            assert_eq!(slow.len(), 1, "a missing index is noticed: {tail}");
        }
        Ok(())
    })
    .unwrap();
}

/// What PostgreSQL would do without knowing the parameters, were reading a whole table and sorting
/// forbidden: where it does so none the less, there is no index for it.
async fn explained(client: &Client, statement: &str) -> String {
    let sql = format!("EXPLAIN (GENERIC_PLAN) {statement}");
    let rows = client.simple_query(&sql).await.unwrap();
    let lines = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a plan of PostgreSQL's reads a whole table or a whole index, or sorts more than the blocks
/// of one agent or of one thread or the few rows of equal numbers.
fn is_slow(plan: &str) -> bool {
    let nodes: Vec<&str> = plan
        .lines()
        .map(|line| line.trim_start_matches([' ', '-', '>']))
        .collect();
    let whole_index = nodes.iter().enumerate().any(|(at, node)| {
        let next = nodes.get(at + 1).copied().unwrap_or_default();
        node.starts_with("Index") && node.contains("Scan") && !next.starts_with("Index Cond")
    });
    let sorts = nodes.iter().enumerate().any(|(at, node)| {
        let key = nodes.get(at + 1).copied().unwrap_or_default();
        let of_blocks = ["ab", "cb"].map(|table| format!("Sort Key: {table}.\"position\", "));
        node.starts_with("Sort  (") && !of_blocks.iter().any(|start| key.starts_with(start))
    });
    whole_index || plan.contains("Seq Scan") || sorts
}

#[tokio::test]
async fn on_postgresql_hot_queries_search_by_index_and_need_no_sorting() {
    at_each_location(async |location, engine| {
        let Location::Postgres { url, .. } = location.clone() else {
            return;
        };
        let statements = run_all(&open(location, engine).await).await;
        let heads = HEAD_OF.map(|of| format!("{HEAD}{of} FOR UPDATE OF c"));
        let texts = TAILS.iter().map(ToString::to_string).chain(heads);
        for text in texts {
            let known = statements.iter().any(|sql| sql.ends_with(&text));
            assert!(known, "nothing runs this any more: {text}\n{statements:#?}");
        }
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let settings = "SET search_path TO mnemic; SET enable_seqscan = off; \
             SET enable_sort = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off";
        client.batch_execute(settings).await.unwrap();
        for statement in &statements {
            let plan = explained(&client, statement).await;
            assert!(!is_slow(&plan), "{statement}\n{plan}");
        }
        let drop = "DROP INDEX messages_by_conversation";
        client.batch_execute(drop).await.unwrap();
        let plan = explained(&client, &format!("SELECT m.id {}", TAILS[0])).await;
        assert!(is_slow(&plan), "a missing index is noticed: {plan}");
    })
    .await;
}
