//! What operators watch.

use mnemic_store::embed_scopes;

use crate::{Engine, EngineError};

/// How much there is of what grows and shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Runs of this process that wait or work.
    pub live_runs: usize,
    /// Agents and archives with texts that wait for their vectors.
    pub embedding_backlog: i64,
    /// Search indexes in memory.
    pub search_indexes: usize,
    /// Bytes that these take.
    pub search_index_bytes: usize,
}

impl Engine {
    /// The present values.
    ///
    /// # Errors
    /// The database's.
    pub async fn gauges(&self) -> Result<Gauges, EngineError> {
        let backlog = self.store().read(|tx| {
            Box::pin(async move { embed_scopes::backlog(tx).await.map_err(EngineError::from) })
        });
        let (search_indexes, search_index_bytes) = self.inner.shelf.size();
        Ok(Gauges {
            live_runs: self.inner.supervisor.all().len(),
            embedding_backlog: backlog.await?,
            search_indexes,
            search_index_bytes,
        })
    }
}
