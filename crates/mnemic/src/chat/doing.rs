//! Carries out the commands of a chat.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Chat, Outcome,
    agents::{self, Agent},
    commands::{ALL, Command},
    editor,
    error::ChatError,
    screen::{Style, clipped},
    turn::{calls_of, content, gist},
};

/// Results of a search that are shown.
const MAX_RESULTS: i64 = 10;

/// Characters of a text in a list.
const MAX_SHOWN: usize = 400;

/// Lines of a block in the list of all blocks.
const MAX_LINES: usize = 6;

impl Chat {
    /// Does what a command says.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub(super) async fn command(&mut self, command: Command) -> Result<Outcome, ChatError> {
        match self.carry_out(command).await {
            Err(ChatError::Refused { status, detail })
                if matches!(status, 405 | 501) || detail == "Not Found" =>
            {
                Err(ChatError::Usage(
                    "this server cannot do that: it may be an older one than this program"
                        .to_owned(),
                ))
            }
            done => done,
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<Outcome, ChatError> {
        match command {
            Command::Help => self.help(),
            Command::Memory(label) => self.memory(label).await?,
            Command::EditMemory(label) => self.edit_memory(&label).await?,
            Command::Search(query) => {
                self.search_messages(&query).await?;
                // A server without archival memory can still search messages.
                match self.search_archive(&query).await {
                    Err(error) if error.is_missing() => {}
                    done => done?,
                }
            }
            Command::Archive(query) => self.search_archive(&query).await?,
            Command::Remember(text) => self.remember(&text).await?,
            Command::Model(handle) => self.model(handle).await?,
            Command::Models => self.models().await?,
            Command::Agents(wanted) => self.agents(wanted).await?,
            Command::New(name) => {
                let made = agents::create(&self.client, name.as_deref(), self.asking).await?;
                self.go_over_to(made);
            }
            Command::History(count) => self.history(count).await?,
            Command::Context => self.context().await?,
            Command::Compact => self.compact().await?,
            Command::Tools => self.tools().await?,
            Command::Approve => return self.answer(true, None).await,
            Command::Deny(reason) => return self.answer(false, reason).await,
            Command::Quit => return Ok(Outcome::Leave),
        }
        Ok(Outcome::Goes)
    }

    fn say(&mut self, line: &str) {
        self.screen.say(Style::Plain, line);
    }

    fn help(&mut self) {
        for (name, argument, about) in ALL {
            let usage = format!("{name} {argument}");
            self.say(&format!("  {usage:<20} {about}"));
        }
        self.say("  Alt-Enter, or a backslash at the end of a line, begins another line.");
        self.say("  Ctrl-C cancels what the agent is doing; a second one leaves.");
    }

    async fn memory(&mut self, label: Option<String>) -> Result<(), ChatError> {
        let path = self.agent.path("/core-memory/blocks");
        if let Some(label) = label {
            let block = self
                .client
                .get(&format!("{path}/{}", segment(&label)))
                .await?;
            self.block(&block, usize::MAX);
            return Ok(());
        }
        let blocks = self.client.find(&path, &[("limit", "100")]).await?;
        for block in rows(&blocks) {
            self.block(block, MAX_LINES);
        }
        if rows(&blocks).next().is_none() {
            self.say("The agent has no memory blocks.");
        }
        Ok(())
    }

    fn block(&mut self, block: &Value, lines: usize) {
        let value = text(block, "value");
        let limit = block
            .get("limit")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let read_only = block.get("read_only") == Some(&Value::Bool(true));
        let read_only = if read_only { ", read-only" } else { "" };
        let length = value.chars().count();
        let label = text(block, "label");
        let head = format!("{label} ({length} of {limit} characters{read_only})");
        self.screen.say(Style::Bold, &head);
        let description = text(block, "description");
        if !description.is_empty() {
            self.screen
                .say(Style::Dim, &clipped(description, MAX_SHOWN));
        }
        for line in value.lines().take(lines) {
            self.say(&format!("  {line}"));
        }
        let hidden = value.lines().count().saturating_sub(lines);
        if hidden > 0 {
            let more = format!("  … and {hidden} more lines: /memory {label}");
            self.screen.say(Style::Dim, &more);
        }
    }

    async fn edit_memory(&mut self, label: &str) -> Result<(), ChatError> {
        if !self.screen.is_terminal {
            return Err(ChatError::Usage("/memory edit needs a terminal".to_owned()));
        }
        let path = self
            .agent
            .path(&format!("/core-memory/blocks/{}", segment(label)));
        let block = self.client.get(&path).await?;
        let before = text(&block, "value");
        let after = tokio::task::block_in_place(|| editor::edit(before))?;
        if after == before {
            self.say("Nothing was changed.");
            return Ok(());
        }
        let body = json!({"value": after});
        self.client.send(Method::PATCH, &path, &body).await?;
        self.say(&format!("Memory block '{label}' was changed."));
        Ok(())
    }

    async fn search_messages(&mut self, query: &str) -> Result<(), ChatError> {
        let body = json!({"query": query, "agent_id": self.agent.id, "limit": MAX_RESULTS});
        let found = self
            .client
            .send(Method::POST, "/v1/messages/search", &body)
            .await?;
        self.screen.say(Style::Bold, "Messages");
        self.results(rows(&found).map(|row| {
            let message = row.get("message").unwrap_or(row);
            let date = first(message, &["date", "created_at"]);
            let who = match text(message, "message_type") {
                "" => text(message, "role").to_owned(),
                kind => kind.trim_end_matches("_message").to_owned(),
            };
            let said = match text(row, "embedded_text") {
                "" => content(message.get("content")),
                embedded => embedded.to_owned(),
            };
            (format!("{} {who}", day(date)), said)
        }));
        Ok(())
    }

    async fn search_archive(&mut self, query: &str) -> Result<(), ChatError> {
        let path = self.agent.path("/archival-memory/search");
        let limit = MAX_RESULTS.to_string();
        let found = self
            .client
            .find(&path, &[("query", query), ("top_k", &limit)])
            .await?;
        self.screen.say(Style::Bold, "Archival memory");
        let list = found.get("results").unwrap_or(&Value::Null);
        self.results(rows(list).map(|row| {
            let date = day(first(row, &["timestamp", "created_at"])).to_owned();
            (date, first(row, &["content", "text"]).to_owned())
        }));
        Ok(())
    }

    fn results(&mut self, found: impl Iterator<Item = (String, String)>) {
        let found: Vec<(String, String)> = found.collect();
        if found.is_empty() {
            self.screen.say(Style::Dim, "  nothing found");
        }
        for (head, said) in found {
            self.say(&format!("  {head}: {}", clipped(&said, MAX_SHOWN)));
        }
    }

    async fn remember(&mut self, text: &str) -> Result<(), ChatError> {
        let path = self.agent.path("/archival-memory");
        self.client
            .send(Method::POST, &path, &json!({"text": text}))
            .await?;
        self.say("Put into the archival memory.");
        Ok(())
    }

    async fn model(&mut self, handle: Option<String>) -> Result<(), ChatError> {
        if let Some(handle) = handle {
            let body = json!({"model": handle});
            let path = self.agent.path("");
            let changed = self.client.send(Method::PATCH, &path, &body).await?;
            if let Some(agent) = Agent::from_json(&changed) {
                self.agent = agent;
            }
        }
        let line = format!("{} thinks with {}.", self.agent.name, self.agent.model);
        self.say(&line);
        Ok(())
    }

    async fn models(&mut self) -> Result<(), ChatError> {
        let models = agents::models(&self.client).await?;
        if models.is_empty() {
            return Err(ChatError::NoModel);
        }
        for (handle, window) in models {
            let mark = if handle == self.agent.model { "*" } else { " " };
            self.say(&format!("{mark} {handle}  ({window} tokens)"));
        }
        Ok(())
    }

    async fn agents(&mut self, wanted: Option<String>) -> Result<(), ChatError> {
        if let Some(wanted) = wanted {
            let found = agents::find(&self.client, &wanted).await?;
            let agent = found.ok_or_else(|| {
                ChatError::Usage(format!("there is no agent '{wanted}'; /agents lists all"))
            })?;
            self.go_over_to(agent);
            return Ok(());
        }
        for agent in agents::list(&self.client).await? {
            let mark = if agent.id == self.agent.id { "*" } else { " " };
            self.say(&format!(
                "{mark} {}  {}  ({})",
                agent.name, agent.id, agent.model
            ));
        }
        Ok(())
    }

    async fn history(&mut self, count: usize) -> Result<(), ChatError> {
        let limit = count.to_string();
        let path = self.agent.path("/messages");
        let query = [("limit", limit.as_str()), ("order", "desc")];
        let list = self.client.find(&path, &query).await?;
        let mut messages: Vec<&Value> = rows(&list).collect();
        messages.reverse();
        for message in messages {
            let date = day(text(message, "date"));
            let (style, line) = match text(message, "message_type") {
                "user_message" => {
                    let said = content(message.get("content"));
                    match notice(&said) {
                        Some(notice) => (Style::Dim, format!("({})", clipped(&notice, MAX_SHOWN))),
                        None => (Style::Plain, format!("you: {said}")),
                    }
                }
                "assistant_message" => {
                    let said = content(message.get("content"));
                    (Style::Plain, format!("{}: {said}", self.agent.name))
                }
                "tool_call_message" => (Style::Dim, calls(message)),
                "tool_return_message" => {
                    let said = gist(&content(message.get("tool_return")));
                    let first = said.first().map(|line| line.trim().to_owned());
                    (Style::Dim, first.unwrap_or_default())
                }
                "reasoning_message" => (Style::Dim, text(message, "reasoning").to_owned()),
                _ => continue,
            };
            self.screen.say(style, &format!("{date}  {line}"));
        }
        Ok(())
    }

    async fn context(&mut self) -> Result<(), ChatError> {
        let found = match self.client.get(&self.agent.path("/context")).await {
            Err(error) if error.is_missing() => return self.last_call().await,
            found => found?,
        };
        let number = |key: &str| found.get(key).and_then(Value::as_i64).unwrap_or_default();
        let (now, most) = (
            number("context_window_size_current"),
            number("context_window_size_max"),
        );
        let share = if most > 0 {
            now.saturating_mul(100) / most
        } else {
            0
        };
        self.say(&format!("{now} of {most} tokens ({share} %)"));
        for (key, what) in [
            ("num_tokens_system", "system prompt"),
            ("num_tokens_core_memory", "core memory"),
            ("num_tokens_functions_definitions", "tools"),
            ("num_tokens_summary_memory", "summary"),
            ("num_tokens_messages", "messages"),
        ] {
            self.say(&format!("  {what:<14} {:>8}", number(key)));
        }
        let (archival, recall) = (number("num_archival_memory"), number("num_recall_memory"));
        self.say(&format!(
            "{recall} messages in recall memory, {archival} passages in archival memory"
        ));
        Ok(())
    }

    /// How full the context was at the last call, for servers that cannot tell more.
    async fn last_call(&mut self) -> Result<(), ChatError> {
        let agent = self.client.get(&self.agent.path("")).await?;
        let query = [("agent_id", self.agent.id.as_str()), ("limit", "20")];
        let steps = self.client.find("/v1/steps/", &query).await?;
        let window = agent.pointer("/llm_config/context_window");
        let window = window.and_then(Value::as_i64).unwrap_or_default();
        let messages = agent.get("message_ids").and_then(Value::as_array);
        let messages = messages.map_or(0, |ids| ids.len().saturating_sub(1));
        let total = |step: &Value| step.get("total_tokens").and_then(Value::as_i64);
        // A call that failed has none.
        match rows(&steps).filter_map(total).find(|total| *total > 0) {
            Some(now) => {
                let share = now.saturating_mul(100) / window.max(1);
                self.say(&format!(
                    "{now} of {window} tokens ({share} %) at the last call; {messages} messages now"
                ));
            }
            None => self.say(&format!("Nothing of {window} tokens is used yet.")),
        }
        Ok(())
    }

    async fn compact(&mut self) -> Result<(), ChatError> {
        let path = self.agent.path("/summarize");
        let done = self.client.send(Method::POST, &path, &json!({})).await?;
        let number = |key: &str| done.get(key).and_then(Value::as_i64).unwrap_or_default();
        let (before, after) = (number("num_messages_before"), number("num_messages_after"));
        self.say(&format!("{before} messages in the context became {after}."));
        let summary = clipped(text(&done, "summary"), MAX_SHOWN);
        if !summary.is_empty() {
            self.screen.say(Style::Dim, &summary);
        }
        Ok(())
    }

    async fn tools(&mut self) -> Result<(), ChatError> {
        let path = self.agent.path("/tools");
        let list = self.client.find(&path, &[("limit", "100")]).await?;
        for tool in rows(&list) {
            let about = text(tool, "description");
            let about = about.split_once(". ").map_or(about, |(first, _)| first);
            let about = clipped(about.trim_end_matches('.'), 100);
            self.say(&format!("  {:<24} {about}", text(tool, "name")));
        }
        if rows(&list).next().is_none() {
            self.say("The agent has no tools.");
        }
        Ok(())
    }
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The first of some fields that has a text.
fn first<'a>(value: &'a Value, keys: &[&str]) -> &'a str {
    let texts = keys.iter().map(|key| text(value, key));
    texts
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// The minute of an ISO time.
fn day(date: &str) -> String {
    date.chars().take(16).collect::<String>().replace('T', " ")
}

/// A text as a segment of a path.
fn segment(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// What the server told the agent in the user's place, such as a summary.
fn notice(said: &str) -> Option<String> {
    let parsed: Value = serde_json::from_str(said).ok()?;
    let is_notice = text(&parsed, "type") == "system_alert";
    is_notice.then(|| text(&parsed, "message").to_owned())
}

fn calls(message: &Value) -> String {
    let calls: Vec<String> = calls_of(message)
        .map(|call| format!("· {} {}", text(call, "name"), text(call, "arguments")))
        .collect();
    clipped(&calls.join(" "), MAX_SHOWN)
}
