//! Compiling the prompt: the pure rendering of `core::prompt`, fed from the store and kept there.

use mnemic_core::{
    agents::Agent,
    blocks::Block,
    conversations::Thread,
    ids::{AgentId, ConversationId},
    prompt::{self, BlockView, PromptInputs, Sections},
    scope::Scope,
    time::Timestamp,
    tokens,
};
use mnemic_store::{
    StoreError, Tx, agents, blocks,
    context::{self, CompiledPrompt},
    messages, passages, tools,
    turns::{self, Head},
};

use crate::session;

/// Percent of the model's window that prompt and tools take at the most, where showing less of large
/// blocks keeps them to that: an agent whose memory fills the window could not make it smaller.
const MOST_OF_WINDOW: i64 = 75;

/// A compiled prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The text.
    pub text: String,
    /// Tokens it takes.
    pub tokens: i64,
}

impl Compiled {
    fn of(text: String) -> Self {
        let tokens = i64::try_from(tokens::count(&text)).unwrap_or(i64::MAX);
        Self { text, tokens }
    }
}

/// The prompt of a conversation: the stored one while it is true, else a new one, which is stored.
///
/// # Errors
/// The database's.
pub async fn current(
    tx: &mut Tx<'_>,
    scope: &Scope,
    shown: (&Agent, &[Block]),
    head: &Head,
    now: Timestamp,
) -> Result<Compiled, StoreError> {
    if let (Some(id), Some(signature)) = (head.prompt_message_id, &head.stored_signature)
        && *signature == head.signature
    {
        // Who compiled it last does not matter: it is the conversation's.
        let stored = messages::get(tx, &scope.common(), id).await?;
        return Ok(Compiled {
            text: stored.body.plain_text(),
            tokens: stored.tokens,
        });
    }
    compile(tx, scope, shown, head, now).await
}

/// Compiles the prompt anew and stores it.
///
/// # Errors
/// The database's.
pub async fn compile(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent, shown): (&Agent, &[Block]),
    head: &Head,
    now: Timestamp,
) -> Result<Compiled, StoreError> {
    let compiled = render(tx, scope, (agent, shown), head, now).await?;
    let stored = CompiledPrompt {
        text: compiled.text.clone(),
        tokens: compiled.tokens,
        signature: head.signature.clone(),
        rendered_at: now,
    };
    context::save_prompt(tx, scope, (agent.id, head.conversation_id), &stored).await?;
    Ok(compiled)
}

/// Renders the prompt as things stand, without storing it.
///
/// # Errors
/// The database's.
pub async fn render(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent, shown): (&Agent, &[Block]),
    head: &Head,
    now: Timestamp,
) -> Result<Compiled, StoreError> {
    let inputs = inputs(tx, scope, (agent, shown), head, now).await?;
    let whole = Compiled::of(prompt::render(&inputs));
    let most = agent.llm_config.context_window / 100 * MOST_OF_WINDOW;
    // The tools are looked at only where they may matter.
    if most <= 0 || whole.tokens <= most / 2 {
        return Ok(whole);
    }
    let attached = tools::of_agent(tx, scope, agent.id).await?;
    let cap = most - attached.iter().map(session::tool_tokens).sum::<i64>();
    if whole.tokens <= cap {
        return Ok(whole);
    }
    Ok(Compiled::of(prompt::render_within(&inputs, cap)))
}

/// The parts of the memory that the prompt shows.
///
/// # Errors
/// The database's.
pub(crate) async fn sections(
    tx: &mut Tx<'_>,
    scope: &Scope,
    shown: (&Agent, &[Block]),
    head: &Head,
    now: Timestamp,
) -> Result<Sections, StoreError> {
    let inputs = inputs(tx, scope, shown, head, now).await?;
    Ok(prompt::sections(&inputs))
}

/// What the prompt is made of as things stand.
async fn inputs<'a>(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent, shown): (&'a Agent, &'a [Block]),
    head: &Head,
    now: Timestamp,
) -> Result<PromptInputs<'a>, StoreError> {
    let in_context = context::message_ids(tx, head.conversation_id).await?.len();
    let in_context = i64::try_from(in_context).unwrap_or(i64::MAX);
    let recall_count =
        (messages::count(tx, scope, head.conversation_id).await? - in_context).max(0);
    Ok(PromptInputs {
        agent_type: agent.agent_type,
        system: &agent.system,
        blocks: shown.iter().map(BlockView::from).collect(),
        tool_rules: &agent.tool_rules,
        agent_id: agent.id,
        conversation_id: (!head.is_default).then_some(head.conversation_id),
        timezone: &agent.timezone,
        rendered_at: now,
        recall_count,
        archival_count: passages::count(tx, scope, agent.id).await?,
        archive_tags: &[],
        line_numbers: agent.llm_config.model_endpoint_type == "anthropic",
        value_bytes: usize::MAX,
    })
}

/// Makes the stored prompt of a conversation true, whatever changed before in the same transaction.
///
/// # Errors
/// There is no such agent or conversation, or the database's.
pub async fn refresh(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    conversation_id: ConversationId,
    now: Timestamp,
) -> Result<Compiled, StoreError> {
    let head = turns::head(tx, scope, agent_id, Thread::Id(conversation_id)).await?;
    let agent = agents::get(tx, scope, agent_id).await?;
    let place = (agent_id, conversation_id).into();
    let shown = blocks::of_place(tx, scope, place).await?;
    current(tx, scope, (&agent, &shown), &head, now).await
}
