//! The texts of a scope that wait for their vectors.

use mnemic_core::{
    ids::{AgentId, ArchiveId},
    retrieval,
};
use mnemic_store::{
    Tx,
    embed_scopes::{DirtyScope, ScopeKind},
    messages, passages, vectors,
};

use crate::{Engine, EngineError, search};

/// Rows that are looked through at once.
const PAGE: i64 = 256;

/// A text that waits.
pub(super) struct Waiting {
    pub item: i64,
    pub text: String,
}

/// Rows of a scope, newest first.
pub(super) struct Leaf {
    pub waiting: Vec<Waiting>,
    /// The numbers of the first and last row; `None` when there are no more.
    pub bounds: Option<(i64, i64)>,
}

impl Engine {
    /// The next rows of a scope downwards, and those of them that have no vectors yet.
    pub(super) async fn leaf(
        &self,
        scope: &DirtyScope,
        model: &str,
        bounds: (i64, i64),
    ) -> Result<Leaf, EngineError> {
        let (id, kind, model) = (scope.scope.clone(), scope.kind, model.to_owned());
        self.store()
            .read(move |tx| {
                Box::pin(async move {
                    let (rows, waiting) = match kind {
                        ScopeKind::Messages => said(tx, &id, bounds).await?,
                        ScopeKind::Passages => written(tx, &id, bounds).await?,
                    };
                    let bounds = rows.first().copied().zip(rows.last().copied());
                    let known = vectors::known(tx, (&id, &model), &rows).await?;
                    let waiting = waiting
                        .into_iter()
                        .filter(|text| !known.contains(&text.item));
                    Ok::<_, EngineError>(Leaf {
                        waiting: waiting.collect(),
                        bounds,
                    })
                })
            })
            .await
    }
}

type Rows = (Vec<i64>, Vec<Waiting>);

async fn said(tx: &mut Tx<'_>, id: &str, bounds: (i64, i64)) -> Result<Rows, EngineError> {
    let Ok(id) = id.parse::<AgentId>() else {
        return Ok(Rows::default());
    };
    let rows = messages::downwards(tx, id, bounds, PAGE).await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(text) = search::said(row.role, &row.body) else {
            continue;
        };
        let speaker = row.name.as_deref().unwrap_or(row.role.as_str());
        waiting.push(Waiting {
            item: row.seq,
            text: retrieval::embedding_text(&text, Some(speaker)),
        });
    }
    Ok((rows.iter().map(|row| row.seq).collect(), waiting))
}

async fn written(tx: &mut Tx<'_>, id: &str, bounds: (i64, i64)) -> Result<Rows, EngineError> {
    let Ok(id) = id.parse::<ArchiveId>() else {
        return Ok(Rows::default());
    };
    let rows = passages::downwards(tx, id, bounds, PAGE).await?;
    let numbers = rows.iter().map(|row| row.seq).collect();
    let waiting = rows
        .into_iter()
        .filter(|row| !row.text.trim().is_empty())
        .map(|row| Waiting {
            item: row.seq,
            text: retrieval::embedding_text(&row.text, None),
        });
    Ok((numbers, waiting.collect()))
}
