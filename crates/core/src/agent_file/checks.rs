//! What a file refers to must be in it, and what has an id must have one of its own.

use std::collections::HashSet;

use serde_json::Value;

use super::{AgentEntry, AgentFile, MAX_AGENTS, MAX_ROWS, MessageEntry, Unreadable};

type Checked = Result<(), Unreadable>;

fn wrong<T>(text: String) -> Result<T, Unreadable> {
    Err(Unreadable(format!("the agent file is wrong: {text}")))
}

/// The ids of a list, each of them once.
fn ids<'a>(what: &str, ids: impl Iterator<Item = &'a str>) -> Result<HashSet<&'a str>, Unreadable> {
    let mut known = HashSet::new();
    for id in ids {
        if id.is_empty() {
            return wrong(format!("an entry of {what} has no id"));
        }
        if !known.insert(id) {
            return wrong(format!("{what} has two entries with the id '{id}'"));
        }
    }
    Ok(known)
}

/// Each is in the file, and named once.
fn within(what: &str, wanted: &[String], known: &HashSet<&str>) -> Checked {
    if let Some(missing) = wanted.iter().find(|id| !known.contains(id.as_str())) {
        return wrong(format!(
            "{what} names '{missing}', which is not in the file"
        ));
    }
    let mut named = HashSet::new();
    match wanted.iter().find(|id| !named.insert(id.as_str())) {
        Some(twice) => wrong(format!("{what} names '{twice}' twice")),
        None => Ok(()),
    }
}

/// The rows that a file makes.
fn rows(file: &AgentFile) -> usize {
    let extras = &file.mnemic;
    let agents = file.agents.iter().map(|agent| {
        let linked = agent.block_ids.len() + agent.tool_ids.len() + agent.tools.len();
        let own = agent.memory_blocks.len() + agent.tags.len() + agent.messages.len();
        linked + own + agent.in_context_message_ids.len()
    });
    let further = extras.agents.values().map(|agent| {
        let threads = agent
            .conversations
            .iter()
            .chain(&agent.default_conversation)
            .map(|thread| {
                let said = thread.messages.len() + thread.in_context_message_ids.len();
                1 + said + thread.isolated_blocks.len()
            });
        agent.archive_ids.len() + agent.identity_ids.len() + threads.sum::<usize>()
    });
    let archives = extras
        .archives
        .iter()
        .map(|archive| 1 + archive.passages.len());
    let links = extras.block_identities.values().map(Vec::len);
    let shared = file.blocks.len() + file.tools.len() + extras.identities.len();
    let groups = file.groups.iter().map(|group| {
        let listed = |key: &str| group.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        1 + listed("agent_ids") + listed("shared_block_ids")
    });
    let turns = extras.groups.values().map(|group| group.turns.len());
    shared
        + agents
            .chain(further)
            .chain(archives)
            .chain(links)
            .chain(groups)
            .chain(turns)
            .sum::<usize>()
}

/// Checks a whole file.
pub(super) fn check(file: &AgentFile) -> Checked {
    if file.agents.is_empty() || file.agents.len() > MAX_AGENTS {
        return wrong(format!(
            "it has {} agents; a file has 1 to {MAX_AGENTS}",
            file.agents.len()
        ));
    }
    let rows = rows(file);
    if rows > MAX_ROWS {
        return wrong(format!(
            "it makes {rows} rows; a file makes {MAX_ROWS} at the most, so export it with fewer agents or messages"
        ));
    }
    let agents = ids("agents", file.agents.iter().map(|one| one.id.as_str()))?;
    let blocks = ids("blocks", file.blocks.iter().map(|one| one.id.as_str()))?;
    let tools = ids("tools", file.tools.iter().map(|one| one.id.as_str()))?;
    let extras = &file.mnemic;
    let archives = extras.archives.iter().map(|one| one.id.as_str());
    let archives = ids("mnemic.archives", archives)?;
    let identities = extras.identities.iter().map(|one| one.id.as_str());
    let identities = ids("mnemic.identities", identities)?;
    for agent in &file.agents {
        let id = &agent.id;
        within(&format!("{id}.block_ids"), &agent.block_ids, &blocks)?;
        within(&format!("{id}.tool_ids"), &agent.tool_ids, &tools)?;
        conversations(file, agent)?;
    }
    let named: Vec<String> = extras.agents.keys().cloned().collect();
    within("mnemic.agents", &named, &agents)?;
    for (id, agent) in &extras.agents {
        within(
            &format!("mnemic.{id}.archive_ids"),
            &agent.archive_ids,
            &archives,
        )?;
        within(
            &format!("mnemic.{id}.identity_ids"),
            &agent.identity_ids,
            &identities,
        )?;
    }
    for (block, linked) in &extras.block_identities {
        within(
            "mnemic.block_identities",
            std::slice::from_ref(block),
            &blocks,
        )?;
        within(
            &format!("mnemic.block_identities.{block}"),
            linked,
            &identities,
        )?;
    }
    Ok(())
}

/// The messages of an agent have ids of their own, and each is in a context at most once.
fn conversations(file: &AgentFile, agent: &AgentEntry) -> Checked {
    let extras = file.mnemic.agents.get(&agent.id);
    let further = extras.map_or(&[][..], |extras| &extras.conversations);
    let all = agent
        .messages
        .iter()
        .chain(further.iter().flat_map(|thread| &thread.messages));
    ids(
        &format!("{}.messages", agent.id),
        all.map(|message| message.id.as_str()),
    )?;
    context(&agent.id, &agent.messages, &agent.in_context_message_ids)?;
    for thread in further {
        context(&agent.id, &thread.messages, &thread.in_context_message_ids)?;
    }
    Ok(())
}

fn context(agent: &str, messages: &[MessageEntry], shown: &[String]) -> Checked {
    let what = format!("{agent}.in_context_message_ids");
    let known = messages.iter().map(|message| message.id.as_str()).collect();
    within(&what, shown, &known)
}
