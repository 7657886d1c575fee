//! The search tools: what is found is written as JSON for the model.

use mnemic_core::{
    builtin::{ArchivalSearch, ConversationSearch},
    ids::AgentId,
    scope::Scope,
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    Engine, EngineError,
    search::{Finding, MessageSearch, Mode, PassageSearch, Recalled, Where, said},
};

/// Results when the model names no number (V1 contract, section 5).
const DEFAULT_LIMIT: usize = 5;

/// Results at the most, so that an answer stays within the model's window.
const MAX_LIMIT: usize = 50;

/// Characters of a result that the model sees.
const MAX_RESULT_CHARS: usize = 2_000;

/// How many results a model asks for.
fn limit(wanted: Option<i64>) -> usize {
    wanted
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(DEFAULT_LIMIT, |limit| limit.clamp(1, MAX_LIMIT))
}

impl Engine {
    /// Answers `conversation_search`.
    pub(crate) async fn conversation_search(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        search: ConversationSearch,
        zone: &str,
    ) -> Result<String, EngineError> {
        let now = self.now();
        let search = MessageSearch {
            text: search.query.unwrap_or_default(),
            within: Where::Agent(agent_id),
            conversation_id: None,
            roles: search.roles,
            start: search.start_date,
            end: search.end_date,
            limit: limit(search.limit),
            mode: Mode::Hybrid,
            zone: zone.to_owned(),
        };
        let found = self.recall(scope, search, true).await?;
        let results: Vec<Value> = found
            .found
            .iter()
            .map(|finding| recalled(finding, zone, now))
            .collect();
        let message = match (results.len(), found.nothing_relevant) {
            (0, _) => "Nothing in the conversation history matches.".to_owned(),
            (_, true) => "Nothing that was said seems to be about this. These come nearest, but \
                          probably do not answer it."
                .to_owned(),
            (n, false) => format!("{n} found, the most relevant first."),
        };
        Ok(json!({ "message": message, "results": results }).to_string())
    }
}

impl Engine {
    /// Answers `archival_memory_search`.
    pub(crate) async fn archival_search(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        search: ArchivalSearch,
        zone: &str,
    ) -> Result<String, EngineError> {
        let search = PassageSearch {
            text: search.query,
            within: Where::Agent(agent_id),
            tags: search.tags,
            match_all_tags: search.match_all_tags,
            start: search.start,
            end: search.end,
            limit: limit(search.limit),
            zone: zone.to_owned(),
        };
        let found = self.search_passages(scope, search).await?;
        let results: Vec<Value> = found
            .found
            .iter()
            .map(|finding| {
                let (_, passage) = &finding.item;
                json!({
                    "id": passage.id,
                    "timestamp": passage.created_at.to_human(zone),
                    "relevance": rounded(finding.score),
                    "tags": passage.tags,
                    "content": clip(&passage.text),
                })
            })
            .collect();
        let message = match (results.len(), found.nothing_relevant) {
            (0, _) => "Nothing in archival memory matches.".to_owned(),
            (_, true) => "Nothing in archival memory seems to be about this. These texts come \
                          nearest, but probably do not answer it."
                .to_owned(),
            (n, false) => format!("{n} found, the most relevant first."),
        };
        Ok(json!({ "message": message, "results": results }).to_string())
    }
}

fn rounded(score: f32) -> f64 {
    (f64::from(score) * 100.0).round() / 100.0
}

fn recalled(finding: &Finding<Recalled>, zone: &str, now: Timestamp) -> Value {
    let relevance = rounded(finding.score);
    match &finding.item {
        Recalled::Message {
            message,
            in_context,
        } => json!({
            "timestamp": message.created_at.to_human(zone),
            "time_ago": time_ago(message.created_at, now),
            "role": message.role.as_str(),
            "name": message.name,
            "relevance": relevance,
            "in_context": in_context,
            "content": clip(&said(message.role, &message.body).unwrap_or_default()),
        }),
        Recalled::PastLine {
            label,
            text,
            since,
            until,
        } => json!({
            "timestamp": since.to_human(zone),
            "time_ago": time_ago(*since, now),
            "role": "memory",
            "relevance": relevance,
            "superseded": format!(
                "the memory block '{label}' said this until {}; it no longer does",
                until.to_human(zone)
            ),
            "content": clip(text),
        }),
    }
}

fn clip(text: &str) -> String {
    if text.chars().count() <= MAX_RESULT_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(MAX_RESULT_CHARS).collect();
    format!("{head} [...]")
}

/// `3 hours ago`, in the largest unit that fits.
fn time_ago(then: Timestamp, now: Timestamp) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = (now.0 - then.0) / 1_000_000;
    for (size, name) in UNITS {
        if seconds >= size {
            let count = seconds / size;
            return format!("{count} {name}{} ago", if count == 1 { "" } else { "s" });
        }
    }
    "just now".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit() {
        let now = Timestamp(10 * 86_400 * 1_000_000);
        assert_eq!(time_ago(now, now), "just now");
        assert_eq!(time_ago(now.plus_micros(-61_000_000), now), "1 minute ago");
        assert_eq!(
            time_ago(now.plus_micros(-2 * 86_400 * 1_000_000), now),
            "2 days ago"
        );
    }

    #[test]
    fn a_model_gets_five_results_unless_it_asks_for_others() {
        assert_eq!(
            [None, Some(3), Some(0), Some(-1), Some(999)].map(limit),
            [5, 3, 1, 5, 50]
        );
    }
}
