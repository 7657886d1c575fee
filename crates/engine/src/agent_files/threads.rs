//! Conversations of files: their messages in our form, counted, without the prompt, which is compiled anew.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mnemic_core::{
    agent_file::{IMAGE_IS_ELSEWHERE, MessageEntry, Translator},
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId},
    inner_thoughts,
    messages::{ContentPart, Message, MessageBody, NewMessage, Role, ToolReturn},
    scope::Scope,
    time::Timestamp,
    tokens,
};
use mnemic_llm::sniff_image;
use mnemic_store::{StoreError, Tx, context, messages, turns};

/// What was said in a conversation, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct ReadyThread {
    said: Vec<(NewMessage, i64)>,
    /// The places of those that the model sees, in their order.
    shown: Vec<usize>,
    /// The places of all, by their ids in the file.
    places: HashMap<String, usize>,
}

impl ReadyThread {
    /// Reads the messages of a conversation; `whole` has those that the other form does not hold whole. Agents of the older
    /// loop think in the text beside their calls.
    pub(super) fn new(
        (entries, thinks_beside_calls): (&[MessageEntry], bool),
        shown: &[String],
        whole: &BTreeMap<String, MessageBody>,
    ) -> Self {
        let mut thread = Self::default();
        let mut translator = Translator::default();
        let first = shown.first();
        for entry in entries {
            // The compiled prompt: that of this server takes its place.
            if Some(&entry.id) == first && entry.role == Role::System.as_str() {
                continue;
            }
            let Some(mut said) = translator.said(entry, whole.get(&entry.id)) else {
                continue;
            };
            if thinks_beside_calls {
                inner_thoughts::text_is_thought(&mut said.body);
            }
            said.body.content.iter_mut().for_each(check_image);
            said.body
                .tool_calls
                .iter_mut()
                .for_each(|call| check_name(&mut call.name));
            for one in &mut said.body.tool_returns {
                check_name(&mut one.name);
                check_images(one);
            }
            let tokens = tokens::count_message(said.role, &said.body, entry.name.as_deref());
            thread.places.insert(entry.id.clone(), thread.said.len());
            let is_named = said.body.tool_returns.is_empty();
            let new = NewMessage {
                role: said.role,
                body: said.body,
                // A return has its tool's name there.
                name: entry.name.clone().filter(|_| is_named),
                otid: entry.otid.clone(),
                sender_id: entry.sender_id.clone(),
                created_at: entry.created_at,
            };
            thread.said.push((new, tokens));
        }
        let place = |id: &String| thread.places.get(id).copied();
        thread.shown = shown.iter().filter_map(place).collect();
        thread
    }

    /// Agents and groups of the file that sent something go by their ids here.
    pub(super) fn name_senders(&mut self, here: &BTreeMap<String, String>) {
        for (new, _) in &mut self.said {
            if let Some(known) = new.sender_id.as_ref().and_then(|id| here.get(id)) {
                new.sender_id = Some(known.clone());
            }
        }
    }

    /// Stores the messages after the compiled prompt of a conversation; returns their ids here by those in the file.
    pub(super) async fn store(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        (agent_id, conversation_id): (AgentId, ConversationId),
        now: Timestamp,
    ) -> Result<HashMap<String, MessageId>, StoreError> {
        if self.said.is_empty() {
            return Ok(HashMap::new());
        }
        let stored = |(new, tokens): (NewMessage, i64)| Message {
            id: MessageId::new(),
            agent_id,
            conversation_id,
            role: new.role,
            body: new.body,
            name: new.name,
            otid: new.otid,
            sender_id: new.sender_id,
            step_id: None,
            run_id: None,
            tokens,
            created_at: new.created_at.unwrap_or(now),
        };
        let rows: Vec<Message> = self.said.into_iter().map(stored).collect();
        messages::insert(tx, scope, &rows).await?;
        let id = |place: &usize| rows.get(*place).map(|message| message.id);
        let shown: Vec<MessageId> = self.shown.iter().filter_map(id).collect();
        let head = turns::head(tx, scope, agent_id, Thread::Id(conversation_id)).await?;
        context::append(tx, conversation_id, head.next_position, &shown, now).await?;
        let named = self.places.into_iter();
        Ok(named
            .filter_map(|(name, place)| Some((name, id(&place)?)))
            .collect())
    }
}

/// A provider that is given something else than an image would refuse every request of the agent.
fn check_image(part: &mut ContentPart) {
    let ContentPart::Image { data, media_type } = part else {
        return;
    };
    match kind_of(data) {
        Some(known) => known.clone_into(media_type),
        None => *part = ContentPart::text(IMAGE_IS_ELSEWHERE),
    }
}

/// The same of what a tool returned, whose text names its images.
fn check_images(one: &mut ToolReturn) {
    one.images.retain_mut(|image| match kind_of(&image.data) {
        Some(known) => {
            known.clone_into(&mut image.media_type);
            true
        }
        None => false,
    });
}

/// What an image is, by its bytes.
fn kind_of(data: &str) -> Option<&'static str> {
    sniff_image(&STANDARD.decode(data.as_bytes()).ok()?)
}

/// Characters that providers take in the name of a tool.
const MAX_NAME: usize = 64;

/// The same of a name that no tool can have.
fn check_name(name: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.chars().all(plain) && (1..=MAX_NAME).contains(&name.len()) {
        return;
    }
    let mended: String = name
        .chars()
        .take(MAX_NAME)
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    *name = if mended.is_empty() {
        "unknown".to_owned()
    } else {
        mended
    };
}
