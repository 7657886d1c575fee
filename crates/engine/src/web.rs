//! Looks into the web that a model asks for: pages and searches.
//!
//! They only read, so a step with them needs no phases: when the process dies in the middle, the step is taken
//! again. They run before the step's other tools, next to each other where the tools allow it, and end at once
//! when the run is cancelled.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use mnemic_core::{builtin::WebSearch, ids::AgentId, messages::ToolCall};
use mnemic_llm::{FetchLimits, Fetched, Secret, UrlGuard, WebSearchSettings, WebSearcher};
use mnemic_store::{StoreError, agent_secrets};
use mnemic_tools::page::{self, Source};
use tokio::sync::Semaphore;

use crate::{
    Engine, EngineError, clipping,
    dispatch::{self, Action},
    turn::Turn,
};

/// What is taken of a page, and how long it may take with all redirects.
const LIMITS: FetchLimits = FetchLimits {
    max_bytes: 5 * 1024 * 1024,
    timeout: Duration::from_secs(30),
};
/// Looks of one step that run at once.
const AT_ONCE: usize = 8;
/// Pages that are read at once in the process; reading one takes memory and a whole core.
const READERS: usize = 2;

/// What an administrator sets of looks into the web.
#[derive(Debug, Clone, Default)]
pub struct WebSettings {
    /// Whether pages of private and loopback addresses may be read.
    pub allow_private_urls: bool,
    /// The services that search.
    pub search: WebSearchSettings,
}

/// A look into the web.
#[derive(Debug, Clone)]
pub(crate) enum WebLook {
    Page { url: String },
    Search(Box<WebSearch>),
}

/// What looks into the web need.
pub(crate) struct Web {
    guard: UrlGuard,
    searcher: WebSearcher,
    readers: Arc<Semaphore>,
}

impl Web {
    pub(crate) fn new(settings: &WebSettings) -> Self {
        Self {
            guard: UrlGuard::new(settings.allow_private_urls),
            searcher: WebSearcher::new(settings.search.clone()),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// What is there, or what is wrong.
    async fn look(&self, look: WebLook, own_keys: &[(String, Secret)]) -> Result<String, String> {
        match look {
            WebLook::Page { url } => self.page(&url).await,
            WebLook::Search(search) => {
                let found = self.searcher.search(&search, own_keys).await;
                found.map_err(|error| error.to_string())
            }
        }
    }

    /// Title, address and text of a page.
    async fn page(&self, url: &str) -> Result<String, String> {
        let fetched = self.guard.get_page(url, LIMITS).await;
        let fetched = fetched.map_err(|error| error.to_string())?;
        let permit = Arc::clone(&self.readers).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            told(&fetched)
        });
        reading
            .await
            .map_err(|_| "the page can't be read; give another one".to_owned())?
    }
}

fn told(fetched: &Fetched) -> Result<String, String> {
    let source = Source {
        url: &fetched.url,
        media_type: &fetched.media_type,
        charset: fetched.charset.as_deref(),
        bytes: &fetched.bytes,
    };
    let page = page::read(&source).map_err(|error| error.to_string())?;
    let title = page
        .title
        .map(|title| format!("Title: {title}\n"))
        .unwrap_or_default();
    let text = match page.text.as_str() {
        "" => "[the page has no text; it may need a browser that runs scripts]",
        text => text,
    };
    let cut = if page.is_cut {
        "\n[the page has more than can be read]"
    } else {
        ""
    };
    Ok(format!("{title}URL: {}\n\n{text}{cut}", fetched.url))
}

/// Looks up what a step's calls want of the web: these actions become their returns.
pub(crate) async fn look_up(
    turn: &Turn,
    calls: &[ToolCall],
    actions: &mut [Action],
) -> Result<(), EngineError> {
    let tools = &turn.session.frame.tools;
    let mut wanted = Vec::new();
    let mut at_once = AT_ONCE;
    for (at, (call, action)) in calls.iter().zip(actions.iter()).enumerate() {
        let tool = tools.iter().find(|tool| tool.name == call.name);
        let (Action::Web(look), Some(tool)) = (action, tool) else {
            continue;
        };
        if !tool.enable_parallel_execution {
            at_once = 1;
        }
        let max_chars = usize::try_from(tool.return_char_limit).unwrap_or(usize::MAX);
        wanted.push((at, call.clone(), look.clone(), max_chars));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let searches = |look: &WebLook| matches!(look, WebLook::Search(_));
    let own_keys = if wanted.iter().any(|(_, _, look, _)| searches(look)) {
        turn.engine.own_keys(turn.live.agent_id).await?
    } else {
        Vec::new()
    };
    let own_keys: Arc<[(String, Secret)]> = own_keys.into();
    // What runs at once owns what it needs.
    let looking = wanted.into_iter().map(|(at, call, look, max_chars)| {
        let (engine, cancelled) = (turn.engine.clone(), turn.live.cancelled.clone());
        let own_keys = Arc::clone(&own_keys);
        async move {
            let looked = engine.inner.web.look(look, &own_keys);
            let looked = tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    Err("the run was cancelled before this was read".to_owned())
                }
                looked = looked => looked,
            };
            let returned = match looked {
                Ok(text) => dispatch::succeeded(&call, text),
                Err(text) => dispatch::failed(&call, text),
            };
            (at, clipping::clipped(returned, max_chars))
        }
    });
    let looking: Vec<_> = looking.collect();
    let mut looking = stream::iter(looking).buffer_unordered(at_once);
    while let Some((at, returned)) = looking.next().await {
        if let Some(action) = actions.get_mut(at) {
            *action = Action::Known(returned);
        }
    }
    Ok(())
}

impl Engine {
    /// What is there of the web, for an agent; the inner error says what is wrong.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn look_into_web(
        &self,
        agent_id: AgentId,
        look: WebLook,
    ) -> Result<Result<String, String>, EngineError> {
        let own_keys = self.own_keys(agent_id).await?;
        Ok(self.inner.web.look(look, &own_keys).await)
    }

    /// The keys of search services that the agent has as secrets of its own.
    async fn own_keys(&self, agent_id: AgentId) -> Result<Vec<(String, Secret)>, EngineError> {
        let store = &self.inner.store;
        let secrets = store.secrets().clone();
        let found = store.read(move |tx| {
            Box::pin(async move {
                let mut kept = agent_secrets::of_agents(tx, &secrets, &[agent_id]).await?;
                Ok::<_, StoreError>(kept.remove(&agent_id).unwrap_or_default())
            })
        });
        let own = found
            .await?
            .into_iter()
            .filter(|secret| WebSearcher::key_names().any(|name| name == secret.key));
        Ok(own
            .map(|secret| (secret.key, Secret::new(secret.value)))
            .collect())
    }
}
