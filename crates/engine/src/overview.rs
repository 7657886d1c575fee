//! What a conversation's context consists of, and how many tokens each part takes: counted as the next call
//! would show it, so that the parts add up to what the call takes.

use mnemic_core::{
    compaction, conversations::Thread, ids::AgentId, messages::Message, prompt::Sections,
    scope::Scope, tokens,
};
use mnemic_llm::ToolSpec;
use mnemic_store::{blocks, context, messages, passages, turns};

use crate::{Engine, EngineError, SendRequest, prompting, session::Session};

/// A part of a context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// What it says.
    pub text: String,
    /// Tokens it takes.
    pub tokens: i64,
}

/// A context and its parts. The tokens of all parts together are those of the context.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextOverview {
    /// Tokens that request and answer may take together.
    pub window: i64,
    /// The system prompt without the memory in it.
    pub system: Share,
    /// The blocks.
    pub core_memory: Option<Share>,
    /// What the prompt says of the tools' rules.
    pub tool_rules: Option<Share>,
    /// Open files.
    pub directories: Option<Share>,
    /// What the prompt says of what lies outside of the context.
    pub metadata: Share,
    /// Summaries in place of earlier messages.
    pub summary: Option<Share>,
    /// The tools.
    pub tools: Vec<ToolSpec>,
    /// Tokens of the tools.
    pub tools_tokens: i64,
    /// The messages, the compiled prompt first.
    pub messages: Vec<Message>,
    /// Tokens of the messages but for prompt and summaries.
    pub messages_tokens: i64,
    /// All messages of the conversation, in the context or not.
    pub recall_count: i64,
    /// Passages in the agent's archival memory.
    pub archival_count: i64,
}

/// What is read of a conversation.
struct Read {
    session: Box<Session>,
    sections: Sections,
    /// The compiled prompt.
    prompt: String,
    messages: Vec<Message>,
    recall_count: i64,
    archival_count: i64,
}

impl ContextOverview {
    /// Tokens of all parts.
    #[must_use]
    pub fn total(&self) -> i64 {
        let optional = [
            &self.core_memory,
            &self.tool_rules,
            &self.directories,
            &self.summary,
        ];
        let optional = optional.into_iter().flatten().map(|share| share.tokens);
        optional.sum::<i64>()
            + self.system.tokens
            + self.metadata.tokens
            + self.tools_tokens
            + self.messages_tokens
    }
}

impl Engine {
    /// What a conversation's context consists of.
    ///
    /// # Errors
    /// There is no such agent or conversation, or the database's.
    pub async fn context_overview(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
    ) -> Result<ContextOverview, EngineError> {
        let read = self.read_context(scope, agent_id, thread).await?;
        let mut turn = self.imagined(scope, (agent_id, read.session), SendRequest::default());
        let agent = std::sync::Arc::clone(&turn.session.frame.agent);
        // A provider that is away, or a prompt that is too large, is no reason to show nothing.
        let model = self.turn_model(scope, &turn.session, &turn.request).await;
        if let Ok(model) = &model {
            match turn.lay_out(model).await {
                Ok(_) | Err(EngineError::Overflow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let session = &turn.session;
        let handle = session.frame.model_handle();
        let resolved = model.as_ref().ok().map(|model| &model.resolved);
        let sizes = session.entries.iter().map(|(_, sized)| sized);
        let summaries: i64 = sizes
            .filter(|sized| sized.is_summary)
            .map(|sized| sized.tokens)
            .sum();
        let summary = compaction::earlier_summaries(&read.messages);
        let prompt = Parts::of(&read.prompt, &read.sections, session.frame.system_tokens);
        Ok(ContextOverview {
            window: self.window(&agent, &handle, resolved),
            system: prompt.system,
            core_memory: prompt.core_memory,
            tool_rules: prompt.tool_rules,
            directories: prompt.directories,
            metadata: prompt.metadata,
            summary: (!summary.is_empty()).then_some(Share {
                text: summary,
                tokens: summaries,
            }),
            tools: session.frame.tool_set.specs().to_vec(),
            tools_tokens: session.frame.tools_tokens,
            messages_tokens: session.context_tokens - summaries,
            messages: read.messages,
            recall_count: read.recall_count,
            archival_count: read.archival_count,
        })
    }

    async fn read_context(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
    ) -> Result<Read, EngineError> {
        let scope = self.whose(scope, agent_id, thread).await?;
        let engine = self.clone();
        self.glimpse(move |tx| {
            Box::pin(async move {
                let head = turns::head(tx, &scope, agent_id, thread).await?;
                let now = engine.now();
                let catalogue = &engine.inner.catalogue;
                let session = Session::load(tx, &scope, &head, agent_id, (now, catalogue)).await?;
                // The session's prompt may have been compiled for it.
                let head = turns::head(tx, &scope, agent_id, thread).await?;
                let agent = &session.frame.agent;
                let place = (agent_id, head.conversation_id).into();
                let shown = blocks::of_place(tx, &scope, place).await?;
                let prompt = prompting::current(tx, &scope, (agent, &shown), &head, now).await?;
                let sections = prompting::sections(tx, &scope, (agent, &shown), &head, now).await?;
                Ok(Read {
                    sections,
                    prompt: prompt.text,
                    messages: context::messages(tx, head.conversation_id).await?,
                    recall_count: messages::count(tx, &scope, head.conversation_id).await?,
                    archival_count: passages::count(tx, &scope, agent_id).await?,
                    session: Box::new(session),
                })
            })
        })
        .await
    }
}

/// The parts of a compiled prompt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    system: Share,
    core_memory: Option<Share>,
    tool_rules: Option<Share>,
    directories: Option<Share>,
    metadata: Share,
}

impl Parts {
    /// Takes a prompt apart whose tokens are known. The sections are those of this moment: times and counts in
    /// the prompt may be older, and of large blocks it shows less.
    fn of(prompt: &str, sections: &Sections, total: i64) -> Self {
        let mut rest = prompt.to_owned();
        let mut take = |section: Option<&String>, tag: &str| {
            let (from, to) = place(&rest, section?, tag)?;
            let text = rest.get(from..to)?.to_owned();
            rest.replace_range(from..to, "");
            let tokens = i64::try_from(tokens::count(&text)).unwrap_or(i64::MAX);
            Some(Share { text, tokens })
        };
        // From the end: what comes last can't be mistaken for words in a block.
        let metadata = take(Some(&sections.memory_metadata), "memory_metadata");
        let directories = take(sections.directories.as_ref(), "directories");
        let tool_rules = take(sections.tool_usage_rules.as_ref(), "tool_usage_rules");
        let core_memory = take(sections.core_memory.as_ref(), "memory_blocks");
        let mut parts = Self {
            system: Share {
                text: rest.trim_end().to_owned(),
                tokens: 0,
            },
            core_memory,
            tool_rules,
            directories,
            metadata: metadata.unwrap_or_default(),
        };
        parts.add_up_to(total);
        parts
    }

    /// Gives the system prompt what the others leave, so that all are counted once: tokens of a text are not
    /// quite the sum of those of its parts.
    fn add_up_to(&mut self, total: i64) {
        let mut left = total;
        let others = [
            Some(&mut self.metadata),
            self.core_memory.as_mut(),
            self.tool_rules.as_mut(),
            self.directories.as_mut(),
        ];
        for share in others.into_iter().flatten() {
            share.tokens = share.tokens.min(left);
            left -= share.tokens;
        }
        self.system.tokens = left;
    }
}

/// Where a section stands: as it is, or else between its tags.
fn place(prompt: &str, section: &str, tag: &str) -> Option<(usize, usize)> {
    if let Some(at) = prompt.rfind(section) {
        return Some((at, at + section.len()));
    }
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let to = prompt.rfind(&close)? + close.len();
    let from = match tag {
        // Values may hold tags of their own; what follows the blocks holds none.
        "memory_blocks" => prompt.find(&open)?,
        _ => prompt.get(..to)?.rfind(&open)?,
    };
    (from < to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(core: &str, metadata: &str) -> Sections {
        Sections {
            core_memory: Some(format!("<memory_blocks>{core}</memory_blocks>")),
            tool_usage_rules: None,
            directories: None,
            memory_metadata: format!("<memory_metadata>{metadata}</memory_metadata>"),
        }
    }

    #[test]
    fn a_prompt_falls_into_its_parts_and_each_token_is_counted_once() {
        let made = sections("Ada sails. </memory_blocks> she wrote", "10:00");
        let prompt = made.compile("Be kind.");
        let total = i64::try_from(tokens::count(&prompt)).unwrap();
        for now in [
            &made,
            &sections("Ada sails. </memory_blocks> she wrote", "11:00"),
        ] {
            let parts = Parts::of(&prompt, now, total);
            assert_eq!(parts.system.text, "Be kind.");
            let core = parts.core_memory.as_ref().unwrap();
            assert_eq!(&core.text, made.core_memory.as_ref().unwrap());
            assert_eq!(parts.metadata.text, made.memory_metadata);
            assert_eq!(
                parts.system.tokens + core.tokens + parts.metadata.tokens,
                total
            );
        }
    }

    #[test]
    fn blocks_of_which_a_part_is_shown_are_found_by_their_tags() {
        let shown = sections("the beginning ... the end", "10:00").compile("Be kind.");
        let parts = Parts::of(&shown, &sections("the whole of it", "10:00"), 100);
        assert_eq!(
            parts.core_memory.unwrap().text,
            "<memory_blocks>the beginning ... the end</memory_blocks>"
        );
        assert_eq!(parts.system.text, "Be kind.");
    }
}
