//! Finding tools by what they do. They are few, so their index is made anew for each search.

use mnemic_core::{
    retrieval::{self, Document, Filter, Index, Kind, Query, Settings},
    scope::Scope,
    tools::{Tool, ToolType},
};
use mnemic_store::{
    page::{Order, Page},
    tools::{self, ToolFilter},
};
use serde_json::Value;

use crate::{Engine, EngineError};

/// Tools that one search looks at.
const MAX_TOOLS: i64 = 10_000;

/// What tools are searched for.
#[derive(Debug, Clone, Default)]
pub struct ToolSearch {
    /// What they should do; without any words, the newest come back.
    pub text: String,
    /// Only these types.
    pub types: Vec<ToolType>,
    /// Only those that have one of these tags.
    pub tags: Vec<String>,
    /// Results at the most.
    pub limit: usize,
}

/// A tool that was found.
#[derive(Debug, Clone)]
pub struct FoundTool {
    /// The tool.
    pub tool: Tool,
    /// The text that was searched.
    pub text: String,
    /// How likely it is what was asked for, from 0 to 1; 0 when nothing was asked.
    pub score: f32,
}

impl Engine {
    /// Finds tools by the words of their names, descriptions, parameters and tags.
    ///
    /// # Errors
    /// The database's.
    pub async fn search_tools(
        &self,
        scope: &Scope,
        search: ToolSearch,
    ) -> Result<Vec<FoundTool>, EngineError> {
        let filter = ToolFilter {
            types: search.types.clone(),
            ..ToolFilter::default()
        };
        let scope = scope.clone();
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let page = Page::first(MAX_TOOLS, Order::Desc);
                tools::list(tx, &scope, &filter, &page).await
            })
        });
        let mut all = read.await.map_err(EngineError::Store)?;
        if !search.tags.is_empty() {
            all.retain(|tool| tool.tags.iter().any(|tag| search.tags.contains(tag)));
        }
        let found = all.into_iter().map(|tool| FoundTool {
            text: text_of(&tool),
            tool,
            score: 0.0,
        });
        Ok(ranked(found.collect(), &search, self.now()))
    }
}

fn ranked(
    mut all: Vec<FoundTool>,
    search: &ToolSearch,
    now: mnemic_core::time::Timestamp,
) -> Vec<FoundTool> {
    if search.text.trim().is_empty() {
        all.truncate(search.limit);
        return all;
    }
    let mut index = Index::new(Kind::Passages);
    for (key, found) in (0..).zip(&all) {
        index.push(&Document {
            key,
            text: &found.text,
            speaker: None,
            time: found.tool.created_at,
            session: 0,
            role: 0,
            tags: &[],
            superseded: false,
        });
    }
    let settings = Settings::text_only();
    let outcome = retrieval::search(
        &[&index],
        &Query {
            text: &search.text,
            vector: None,
            now,
            zone: "UTC",
            filter: Filter::default(),
            limit: search.limit,
            settings: &settings,
        },
    );
    let hits = outcome.hits.iter().filter(|hit| hit.parts.text > 0.0);
    hits.filter_map(|hit| {
        let found = all.get(usize::try_from(hit.key).ok()?)?;
        Some(FoundTool {
            score: hit.score,
            ..found.clone()
        })
    })
    .collect()
}

/// What a tool says about itself.
fn text_of(tool: &Tool) -> String {
    let mut words = vec![tool.name.replace(['_', '-'], " ")];
    words.extend(tool.description.clone());
    let parameters = tool
        .json_schema
        .pointer("/parameters/properties")
        .and_then(Value::as_object);
    for (name, schema) in parameters.into_iter().flatten() {
        let said = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        words.push(format!("{}: {said}", name.replace('_', " ")));
    }
    words.push(tool.tags.join(", "));
    words.retain(|text| !text.is_empty());
    words.join("\n")
}
