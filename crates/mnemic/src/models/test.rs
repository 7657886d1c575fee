//! `mnemic models test`: what a language model can do, measured by small tasks in the form in which agents
//! give them.

use std::{sync::Arc, time::Instant};

use mnemic_core::messages::{MessageBody, Role, ToolCall, ToolReturn, ToolStatus};
use mnemic_llm::{
    Call, Catalogue, Client, Completion, Endpoint, LlmError, MessageView, ResolvedModel,
    RetryPolicy, Timeouts, ToolSet, ToolSpec, Transcript,
};
use mnemic_local::{Artifact as _, ModelCache, chat_models};
use serde_json::{Value, json};

use super::cases::{FACTS, Fact, PLAIN, Question};
use crate::{local_llm, settings::Settings, terminal::say};

const SYSTEM: &str = "You are a helpful assistant who answers in one short sentence.";
const SEARCH: &str = "archival_memory_search";
const INSERT: &str = "archival_memory_insert";
/// Tokens that an answer may take.
const MAX_TOKENS: i64 = 128;
/// Tasks of a kind.
const OF: usize = 10;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error("there is no language model {name}; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("no language model is there; fetch one with: mnemic models pull smollm2-135m")]
    None,
    #[error("{0} is not there; fetch it with: mnemic models pull {0}")]
    Missing(String),
}

/// Measures a model and prints what it can do.
///
/// # Errors
/// It is not there, or does not run.
pub fn test(
    settings: &Settings,
    cache: &ModelCache,
    name: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    let model = match name {
        Some(name) => chat_models::find(name).ok_or_else(|| TestError::Unknown {
            name: name.to_owned(),
            known: known(),
        })?,
        None => {
            let mut there = chat_models::all().iter().filter(|model| cache.has(*model));
            there.next_back().ok_or(TestError::None)?
        }
    };
    if !cache.has(model) {
        return Err(TestError::Missing(model.id().to_owned()).into());
    }
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::new(Timeouts::default(), RetryPolicy::default())?;
        let endpoint = Endpoint::new(local_llm::provider(settings)?)?;
        let catalogue = Catalogue::new(client.clone(), vec![endpoint]);
        let resolved = catalogue.resolve(&model.handle()).await?;
        let suite = Suite { client, resolved };
        Ok(suite.run(&model.handle()).await?)
    })
}

fn known() -> String {
    let names: Vec<&str> = chat_models::all().iter().map(|model| model.id()).collect();
    names.join(", ")
}

struct Suite {
    client: Client,
    resolved: ResolvedModel,
}

impl Suite {
    async fn run(&self, handle: &str) -> Result<(), LlmError> {
        let begun = Instant::now();
        let (mut plain, mut memory, mut tools, mut searches) = (0, 0, 0, 0);
        for question in &PLAIN {
            plain += usize::from(self.plain(question).await?);
        }
        say(format!(
            "{handle}: {plain} of {OF} plain questions answered"
        ));
        for fact in &FACTS {
            memory += usize::from(self.memory(fact).await?);
        }
        say(format!(
            "{handle}: {memory} of {OF} answers from a memory block"
        ));
        for (at, fact) in FACTS.iter().enumerate() {
            tools += usize::from(self.tool(fact, at % 2 == 0).await?);
        }
        say(format!(
            "{handle}: {tools} of {OF} times the right tool with the right argument"
        ));
        for fact in &FACTS {
            searches += usize::from(self.search(fact).await?);
        }
        say(format!(
            "{handle}: {searches} of {OF} answers found by a search"
        ));
        say(format!("measured in {} s", begun.elapsed().as_secs()));
        Ok(())
    }

    async fn plain(&self, question: &Question) -> Result<bool, LlmError> {
        let mut call = self.call(SYSTEM, &[]);
        user(&mut call, question.text);
        let words = self.ask(&call).await?.body.plain_text().to_lowercase();
        Ok(question.wanted.iter().any(|wanted| words.contains(wanted)))
    }

    async fn memory(&self, fact: &Fact) -> Result<bool, LlmError> {
        let system = format!(
            "{SYSTEM}\n\n<memory_blocks>\n<human>\n{}\n</human>\n</memory_blocks>",
            fact.text
        );
        let mut call = self.call(&system, &[]);
        user(&mut call, fact.question);
        let words = self.ask(&call).await?.body.plain_text().to_lowercase();
        Ok(words.contains(fact.wanted))
    }

    /// To keep or to find: the tool, and the word that matters in its argument.
    async fn tool(&self, fact: &Fact, keeps: bool) -> Result<bool, LlmError> {
        let mut call = self.call(SYSTEM, &[insert(), search()]);
        let (asked, tool) = if keeps {
            (format!("Please remember this: {}", fact.text), INSERT)
        } else {
            (fact.question.to_owned(), SEARCH)
        };
        user(&mut call, &asked);
        let answer = self.ask(&call).await?;
        let Some(made) = answer
            .body
            .tool_calls
            .first()
            .filter(|made| made.name == tool)
        else {
            return Ok(false);
        };
        let arguments = made.arguments.to_lowercase();
        let subject = fact.question.trim_end_matches('?').rsplit(' ').next();
        let wanted = if keeps { Some(fact.wanted) } else { subject };
        Ok(is_object(&arguments)
            && wanted.is_some_and(|wanted| arguments.contains(&wanted.to_lowercase())))
    }

    /// A search, then an answer with what was found.
    async fn search(&self, fact: &Fact) -> Result<bool, LlmError> {
        let mut call = self.call(SYSTEM, &[search()]);
        user(&mut call, fact.question);
        let answer = self.ask(&call).await?;
        let Some(made) = answer.body.tool_calls.first().cloned() else {
            return Ok(false);
        };
        push(&mut call, Role::Assistant, &answer.body);
        push(&mut call, Role::Tool, &found(&made, fact));
        let words = self.ask(&call).await?.body.plain_text().to_lowercase();
        Ok(words.contains(fact.wanted))
    }

    fn call(&self, system: &str, tools: &[ToolSpec]) -> Call {
        let endpoint = Arc::clone(&self.resolved.endpoint);
        let transcript = Transcript::for_endpoint(&endpoint);
        let mut call = Call::new(
            endpoint,
            self.resolved.model.as_str(),
            system.into(),
            transcript,
        );
        call.tools = Arc::new(ToolSet::new(tools).searching([SEARCH]));
        call.temperature = Some(0.0);
        call.max_tokens = Some(MAX_TOKENS);
        call.context_window = Some(self.resolved.context_window);
        call
    }

    async fn ask(&self, call: &Call) -> Result<Completion, LlmError> {
        self.client.call(call).await
    }
}

fn user(call: &mut Call, text: &str) {
    push(call, Role::User, &MessageBody::text(text));
}

fn push(call: &mut Call, role: Role, body: &MessageBody) {
    call.transcript.push(&MessageView {
        role,
        body,
        name: None,
    });
}

fn found(made: &ToolCall, fact: &Fact) -> MessageBody {
    let results = json!({"message": "1 found.", "results": [{"content": fact.text, "timestamp": "2026-02-03"}]});
    MessageBody {
        tool_returns: vec![ToolReturn {
            tool_call_id: made.id.clone(),
            name: made.name.clone(),
            status: ToolStatus::Success,
            text: results.to_string(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        }],
        ..MessageBody::default()
    }
}

fn is_object(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Object(_)))
}

fn insert() -> ToolSpec {
    tool(INSERT, "Keeps a text in the archival memory.", "content")
}

fn search() -> ToolSpec {
    tool(
        SEARCH,
        "Searches the archival memory for what is known.",
        "query",
    )
}

fn tool(name: &str, description: &str, argument: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {argument: {"type": "string"}},
            "required": [argument],
        }),
    }
}
