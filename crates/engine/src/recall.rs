//! `conversation_search`: what was said before, found again by its words.

use mnemic_core::{
    builtin::ConversationSearch,
    ids::AgentId,
    messages::{Message, Role},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{Tx, messages, messages::MessageSearch};
use serde_json::json;

use crate::error::EngineError;

/// Results when the model names no number (V1 contract, section 5).
const DEFAULT_LIMIT: usize = 5;

/// Results at the most, so that an answer stays within the model's window.
const MAX_LIMIT: usize = 50;

/// Messages that hold a term and are looked at closely, the newest first.
const MAX_CANDIDATES: i64 = 2_000;

/// Characters of a result that the model sees.
const MAX_RESULT_CHARS: usize = 2_000;

/// Searches an agent's messages and writes what was found as JSON for the model.
pub(crate) async fn conversation_search(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    search: &ConversationSearch,
    (zone, now): (&str, Timestamp),
) -> Result<String, EngineError> {
    let limit = search
        .limit
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(DEFAULT_LIMIT, |limit| limit.clamp(1, MAX_LIMIT));
    let query = search.query.clone().unwrap_or_default();
    let words = terms(&query);
    let wanted = MessageSearch {
        terms: cased(&words),
        roles: search.roles.clone(),
        start: search.start_date,
        end: search.end_date,
    };
    let candidates = messages::search(tx, scope, agent_id, &wanted, MAX_CANDIDATES).await?;
    let mut scored: Vec<(usize, Message)> = candidates
        .into_iter()
        .filter(|message| !is_own_search(message))
        .map(|message| (score(&message, &query, &words), message))
        .filter(|(score, _)| words.is_empty() || *score > 0)
        .collect();
    // Stable, so that the newest of equal scores stay first.
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let results: Vec<serde_json::Value> = scored
        .iter()
        .take(limit)
        .map(|(score, message)| {
            json!({
                "timestamp": message.created_at.to_human(zone),
                "time_ago": time_ago(message.created_at, now),
                "role": message.role.as_str(),
                "matched_terms": score,
                "content": clip(&spoken(message)),
            })
        })
        .collect();
    let message = match results.len() {
        0 => "Nothing in the conversation history matches.".to_owned(),
        n => format!("{n} of the messages that match."),
    };
    Ok(json!({ "message": message, "results": results }).to_string())
}

/// The words of a query, lower-cased, without doubles; very short ones only where nothing else is.
fn terms(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in query
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let long: Vec<String> = words
        .iter()
        .filter(|word| word.chars().count() > 2)
        .cloned()
        .collect();
    let mut kept = if long.is_empty() { words } else { long };
    kept.truncate(16);
    kept
}

/// The words as the database is to look for them: it folds the case of ASCII letters only, so that of
/// other words the usual ways to write them are looked for.
fn cased(words: &[String]) -> Vec<String> {
    let mut forms = Vec::new();
    for word in words {
        forms.push(word.clone());
        if !word.is_ascii() {
            let mut letters = word.chars();
            let first: String = letters
                .by_ref()
                .take(1)
                .flat_map(char::to_uppercase)
                .collect();
            forms.push(first + letters.as_str());
            forms.push(word.to_uppercase());
        }
    }
    forms
}

/// How many of the terms stand in a message; the whole query in one piece counts twice as much.
fn score(message: &Message, query: &str, terms: &[String]) -> usize {
    let text = spoken(message).to_lowercase();
    let found = terms
        .iter()
        .filter(|term| text.contains(term.as_str()))
        .count();
    let whole = query.trim().to_lowercase();
    if !whole.is_empty() && text.contains(&whole) {
        found + terms.len()
    } else {
        found
    }
}

/// What a message says: its text or, for a tool message, the returns.
fn spoken(message: &Message) -> String {
    if message.role == Role::Tool {
        let texts: Vec<&str> = message
            .body
            .tool_returns
            .iter()
            .map(|result| result.text.as_str())
            .collect();
        return texts.join("\n");
    }
    message.body.plain_text()
}

/// Searches find what was said, not earlier searches.
fn is_own_search(message: &Message) -> bool {
    let body = &message.body;
    body.tool_returns
        .iter()
        .any(|result| result.name == "conversation_search")
        || (body.plain_text().is_empty()
            && body
                .tool_calls
                .iter()
                .any(|call| call.name == "conversation_search"))
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
    fn queries_become_words_without_doubles_and_fillers() {
        assert_eq!(terms("Where is my Boat, my boat?"), ["where", "boat"]);
        assert_eq!(terms("NZ"), ["nz"]);
        assert!(terms(" !? ").is_empty());
    }

    #[test]
    fn words_with_other_letters_are_looked_for_in_their_usual_forms() {
        assert_eq!(cased(&terms("Über Boot")), ["über", "Über", "ÜBER", "boot"]);
    }

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
}
