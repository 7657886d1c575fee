//! What a turn needs of its agent, kept in memory between turns: the compiled prompt, the transcript
//! in the provider's wire form, and the counts. A session is true as long as the signature and the
//! context's revision that it was made from are; every turn compares both in its first query.

use std::{collections::HashMap, sync::Arc};

use lru::LruCache;
use mnemic_core::{
    agents::Agent,
    builtin,
    compaction::{self, Sized},
    conversations::Thread,
    heartbeat,
    ids::{AgentId, ConversationId, MessageId},
    inner_thoughts,
    messages::{Message, MessageBody, Role},
    scope::Scope,
    time::Timestamp,
    tokens,
    tool_rules::ToolRules,
    tools::Tool,
};
use mnemic_llm::{
    Catalogue, Endpoint, MessageView, Protocol, SystemPrompt, ToolSet, ToolSpec, Transcript,
};
use mnemic_store::{
    Tx, agents, blocks, context, conversations, tools,
    turns::{self, Head},
};
use parking_lot::Mutex;

use crate::{
    ClientTool, answers::Waiting, compaction::Measured, error::EngineError, model, prompting,
};

/// Everything of a request but its messages.
pub(crate) struct Frame {
    pub signature: String,
    pub agent: Arc<Agent>,
    /// A model handle that this thread uses instead of the agent's.
    pub model_override: Option<String>,
    /// Tokens that a request of this thread may take, in place of what agent and model say.
    pub window_limit: Option<i64>,
    pub tools: Vec<Tool>,
    pub tool_set: Arc<ToolSet>,
    pub tools_tokens: i64,
    /// The revisions of the blocks that the prompt shows, by label.
    pub block_revisions: HashMap<String, i64>,
    pub system: SystemPrompt,
    /// Bytes of the prompt's text.
    pub system_bytes: usize,
    pub system_tokens: i64,
    pub rules: ToolRules,
    /// Whether every answer is a call that says whether another follows.
    pub heartbeats: bool,
}

impl Frame {
    /// Reads agent, tools and blocks, and compiles the prompt anew when it is not true any more.
    pub(crate) async fn load(
        tx: &mut Tx<'_>,
        scope: &Scope,
        head: &Head,
        agent_id: AgentId,
        now: Timestamp,
    ) -> Result<Self, EngineError> {
        let mut agent = agents::get(tx, scope, agent_id).await?;
        let place = (agent_id, head.conversation_id).into();
        let shown = blocks::of_place(tx, scope, place).await?;
        let attached = tools::of_agent(tx, scope, agent_id).await?;
        let conversation = conversations::get(tx, scope, head.conversation_id).await?;
        model::apply_thread(&mut agent, &conversation);
        let prompt = prompting::current(tx, scope, (&agent, &shown), head, now).await?;
        let rules = ToolRules::read(&agent.tool_rules);
        let specs = specs(&agent, &rules, &attached);
        let tool_set = ToolSet::new(&specs)
            .searching(builtin::SEARCHES)
            .strict(|spec| is_strict(&agent, &attached, &spec.name));
        Ok(Self {
            signature: head.signature.clone(),
            heartbeats: agent.agent_type.needs_heartbeats(),
            rules,
            agent: Arc::new(agent),
            model_override: conversation.model,
            window_limit: conversation.context_window_limit,
            tool_set: Arc::new(tool_set),
            tools_tokens: attached.iter().map(tool_tokens).sum(),
            tools: attached,
            block_revisions: shown
                .into_iter()
                .map(|block| (block.label, block.revision))
                .collect(),
            system: SystemPrompt::new(&prompt.text),
            system_bytes: prompt.text.len(),
            system_tokens: prompt.tokens,
        })
    }

    /// The agent's tools with those of a client, which take the place of others of their name, as far as they are allowed.
    pub(crate) fn tools_with(
        &self,
        client: &[ClientTool],
        is_allowed: &dyn Fn(&str) -> bool,
    ) -> ToolSet {
        let is_clients = |name: &str| client.iter().any(|tool| tool.name == name);
        let mut specs = specs(&self.agent, &self.rules, &self.tools);
        specs.retain(|spec| !is_clients(&spec.name));
        specs.extend(client.iter().map(|tool| ToolSpec {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        }));
        specs.retain(|spec| is_allowed(&spec.name));
        ToolSet::new(&specs)
            .searching(builtin::SEARCHES)
            .strict(|spec| {
                !is_clients(&spec.name) && is_strict(&self.agent, &self.tools, &spec.name)
            })
    }

    /// A message as the agent's model reads it, where that is another than is stored.
    fn on_the_wire(&self, body: &MessageBody) -> Option<MessageBody> {
        if !self.heartbeats {
            return None;
        }
        inner_thoughts::on_the_wire(body, |tool| self.rules.end_after(tool))
    }

    /// The model that this thread uses when a request names no other.
    pub(crate) fn model_handle(&self) -> String {
        self.model_override
            .clone()
            .unwrap_or_else(|| model::handle_of(&self.agent))
    }

    /// Tokens of the system prompt and the tools.
    pub(crate) const fn fixed_tokens(&self) -> i64 {
        self.system_tokens.saturating_add(self.tools_tokens)
    }

    /// Whether nothing that the prompt shows has moved.
    pub(crate) fn is_true(&self, head: &Head) -> bool {
        self.signature == head.signature
            && head.stored_signature.as_deref() == Some(head.signature.as_str())
    }
}

/// An agent's tools as its model sees them.
fn specs(agent: &Agent, rules: &ToolRules, tools: &[Tool]) -> Vec<ToolSpec> {
    let mut specs: Vec<ToolSpec> = tools.iter().map(spec).collect();
    if agent.agent_type.needs_heartbeats() {
        let thinks = agent.llm_config.thinks_in_arguments();
        for spec in &mut specs {
            let ends = rules.end_after(&spec.name);
            spec.parameters = inner_thoughts::parameters(&spec.parameters, thinks, ends);
        }
    }
    specs
}

/// Whether somebody said a message to the agent.
fn is_said(message: &Message) -> bool {
    message.role == Role::User && !heartbeat::is_heartbeat(message)
}

fn spec(tool: &Tool) -> ToolSpec {
    let from_schema = |key: &str| tool.json_schema.get(key).cloned();
    let described = || from_schema("description").and_then(|text| text.as_str().map(str::to_owned));
    ToolSpec {
        name: tool.name.clone(),
        // A description that was changed alone stands beside the schema.
        description: tool
            .description
            .clone()
            .or_else(described)
            .unwrap_or_default(),
        parameters: from_schema("parameters").unwrap_or_else(
            || serde_json::json!({"type": "object", "properties": {}, "required": []}),
        ),
    }
}

/// Whether the provider is to hold the model to a tool's schema: the agent's model settings ask for that, or the
/// tool's own schema does.
fn is_strict(agent: &Agent, attached: &[Tool], name: &str) -> bool {
    let asks = |value: Option<&serde_json::Value>| value == Some(&serde_json::Value::Bool(true));
    let mut named = attached.iter().filter(|tool| tool.name == name);
    asks(agent.llm_config.extra.get("strict"))
        || named.any(|tool| asks(tool.json_schema.get("strict")))
}

/// Tokens that a tool takes in a request.
pub(crate) fn tool_tokens(tool: &Tool) -> i64 {
    let count = mnemic_core::tokens::count(&tool.json_schema.to_string());
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A turn's view of its agent.
pub(crate) struct Session {
    pub conversation_id: ConversationId,
    pub context_revision: i64,
    pub next_position: i64,
    pub frame: Frame,
    pub transcript: Transcript,
    /// The messages of the transcript, the compiled prompt left out.
    pub entries: Vec<(MessageId, Sized)>,
    pub context_tokens: i64,
    /// Tokens of a message that are shown at the most.
    pub cap: i64,
    /// Tokens of the largest message, as it is stored.
    largest: i64,
    pub measured: Measured,
    /// The calls at its end that somebody outside has to answer.
    pub waiting: Option<Waiting>,
}

impl Session {
    /// Reads everything from the store, and writes it as the endpoint of the agent's model wants it,
    /// where the catalogue knows that.
    pub(crate) async fn load(
        tx: &mut Tx<'_>,
        scope: &Scope,
        head: &Head,
        agent_id: AgentId,
        (now, catalogue): (Timestamp, &Catalogue),
    ) -> Result<Self, EngineError> {
        let frame = Frame::load(tx, scope, head, agent_id, now).await?;
        // Compiling the first prompt appends a row, so the head is read again.
        let thread = Thread::Id(head.conversation_id);
        let head = turns::head(tx, scope, agent_id, thread).await?;
        let messages = context::messages(tx, head.conversation_id).await?;
        let endpoint = catalogue.endpoint_of(&frame.model_handle());
        let transcript = endpoint.map_or_else(
            || Transcript::new(Protocol::OpenAiChat),
            |endpoint| Transcript::for_endpoint(&endpoint),
        );
        let mut session = Self {
            conversation_id: head.conversation_id,
            context_revision: head.context_revision,
            next_position: head.next_position,
            frame,
            transcript,
            entries: Vec::new(),
            context_tokens: 0,
            // The first step sets it.
            cap: i64::MAX,
            largest: 0,
            measured: Measured::default(),
            waiting: None,
        };
        let prompt = head.prompt_message_id;
        // An agent that forgets between turns sees only its prompt, and a turn that is not over.
        let forgets = session.frame.agent.message_buffer_autoclear;
        let waits = messages
            .last()
            .is_some_and(|last| Waiting::of(last).is_some());
        let begin = messages
            .iter()
            .rposition(|message| waits && is_said(message));
        let from = match (forgets, begin) {
            (false, _) => 0,
            (true, Some(begin)) => begin,
            (true, None) => messages.len(),
        };
        let seen = messages.iter().skip(from);
        for message in seen.filter(|message| Some(message.id) != prompt) {
            session.push(message);
        }
        Ok(session)
    }

    /// Appends a message to a transcript as this session shows it, of a huge one a part; returns its tokens.
    pub(crate) fn show(&self, transcript: &mut Transcript, message: &Message) -> i64 {
        let clipped = compaction::clip(message.role, &message.body, message.tokens, self.cap);
        let body = clipped.as_ref().unwrap_or(&message.body);
        let wire = self.frame.on_the_wire(body);
        transcript.push(&MessageView {
            role: message.role,
            body: wire.as_ref().unwrap_or(body),
            name: message.name.as_deref(),
        });
        clipped.map_or(message.tokens, |body| {
            tokens::count_message(message.role, &body, message.name.as_deref())
        })
    }

    /// Appends a message to the transcript.
    pub(crate) fn push(&mut self, message: &Message) {
        self.largest = self.largest.max(message.tokens);
        let mut transcript =
            std::mem::replace(&mut self.transcript, Transcript::new(Protocol::OpenAiChat));
        let tokens = self.show(&mut transcript, message);
        self.transcript = transcript;
        let sized = Sized {
            role: message.role,
            tokens,
            is_summary: message.body.compaction.is_some(),
        };
        self.entries.push((message.id, sized));
        self.context_tokens += tokens;
        self.waiting = Waiting::after(self.waiting.take(), message);
    }

    /// Whether the transcript can go to an endpoint as it is, with messages shown up to `cap` tokens.
    pub(crate) fn is_written_for(&self, endpoint: &Endpoint, cap: i64) -> bool {
        let same_parts = self.cap == cap || self.largest <= cap.min(self.cap);
        same_parts && self.transcript.fits(endpoint)
    }

    /// Writes the transcript anew in the wire form of an endpoint.
    pub(crate) fn rewrite<'m>(
        &mut self,
        endpoint: &Endpoint,
        messages: impl Iterator<Item = &'m Message>,
    ) {
        self.entries.clear();
        self.transcript = Transcript::for_endpoint(endpoint);
        self.context_tokens = 0;
        self.largest = 0;
        self.waiting = None;
        for message in messages {
            self.push(message);
        }
    }

    /// Whether its messages are those of the stored context.
    pub(crate) fn has_context_of(&self, head: &Head) -> bool {
        self.context_revision == head.context_revision && !self.frame.agent.message_buffer_autoclear
    }

    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize {
        // The constant stands for the agent's fields, the tools and the map's entries.
        self.frame.system_bytes + self.transcript.len_bytes() + self.entries.len() * 40 + 8 * 1024
    }
}

/// Sessions between turns, the least recently used out first when they take more than their bytes.
pub(crate) struct Sessions {
    cache: Mutex<Cache>,
    max_bytes: usize,
}

struct Cache {
    sessions: LruCache<ConversationId, (usize, Box<Session>)>,
    bytes: usize,
}

impl Sessions {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let cache = Cache {
            sessions: LruCache::unbounded(),
            bytes: 0,
        };
        Self {
            cache: Mutex::new(cache),
            max_bytes,
        }
    }

    /// Takes a conversation's session out, for the turn that holds the conversation.
    pub(crate) fn take(&self, id: ConversationId) -> Option<Box<Session>> {
        let mut cache = self.cache.lock();
        let (weight, session) = cache.sessions.pop(&id)?;
        cache.bytes -= weight;
        Some(session)
    }

    /// Keeps a session for the next turn.
    pub(crate) fn put(&self, session: Box<Session>) {
        let weight = session.weight();
        if weight > self.max_bytes {
            return;
        }
        let mut cache = self.cache.lock();
        let replaced = cache
            .sessions
            .put(session.conversation_id, (weight, session));
        cache.bytes += weight;
        cache.bytes -= replaced.map_or(0, |(weight, _)| weight);
        while cache.bytes > self.max_bytes {
            let Some((_, (weight, _))) = cache.sessions.pop_lru() else {
                break;
            };
            cache.bytes -= weight;
        }
    }
}
