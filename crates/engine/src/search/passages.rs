//! Searching archival memory.

use std::collections::HashMap;

use mnemic_core::{
    archives::Archive,
    ids::ArchiveId,
    passages::Passage,
    retrieval::{Filter, Tags},
    scope::Scope,
};
use mnemic_store::{
    Tx, agents, archives,
    page::{Order, Page},
    passages::{self, PassageFilter},
};

use super::{Asked, Finding, Findings, PassageSearch, Rows, ScopeKey, Wanted, Where};
use crate::{Engine, EngineError};

/// Archives that one search looks into; of more, the newest.
const MAX_ARCHIVES: i64 = 200;

impl Engine {
    /// Searches passages. Of an archive that its agent shares, all passages are searched.
    ///
    /// # Errors
    /// There is no such agent or archive, or the database's.
    pub async fn search_passages(
        &self,
        scope: &Scope,
        search: PassageSearch,
    ) -> Result<Findings<(Archive, Passage)>, EngineError> {
        let within = search.within;
        let for_job = scope.clone();
        let archives = self
            .store()
            .read(move |tx| Box::pin(async move { searched(tx, &for_job, within).await }))
            .await?;
        if search.text.trim().is_empty() {
            return match within {
                // As the V1 API does: an agent's search without words finds nothing.
                Where::Agent(_) => Ok(Findings::default()),
                _ => self.newest_passages(scope, archives, &search).await,
            };
        }
        let (this, archives) = (self, &archives);
        let asked = self.asked(scope, &search);
        self.find(keys(scope, archives), asked, async move |wanted| {
            this.passages(scope, archives, wanted).await
        })
        .await
    }

    fn asked(&self, scope: &Scope, search: &PassageSearch) -> Asked {
        let tags = if search.match_all_tags {
            Tags::All(search.tags.clone())
        } else {
            Tags::Any(search.tags.clone())
        };
        Asked {
            scope: scope.clone(),
            text: super::beginning(&search.text),
            filter: Filter {
                start: search.start,
                end: search.end,
                tags: if search.tags.is_empty() {
                    Tags::Every
                } else {
                    tags
                },
                ..Filter::default()
            },
            limit: search.limit,
            mode: super::Mode::Hybrid,
            zone: search.zone.clone(),
            now: self.now(),
        }
    }

    /// The passages among the hits, with their archives.
    async fn passages(
        &self,
        scope: &Scope,
        archives: &[Archive],
        wanted: Wanted,
    ) -> Result<Rows<(Archive, Passage)>, EngineError> {
        let scope = scope.clone();
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let mut found: Vec<(ScopeKey, Passage)> = Vec::new();
                for (key, items) in wanted {
                    if let ScopeKey::Passages(id, _) = &key {
                        let rows = passages::by_seqs(tx, &scope, *id, &items).await?;
                        found.extend(rows.into_iter().map(|passage| (key.clone(), passage)));
                    }
                }
                Ok::<_, EngineError>(found)
            })
        });
        let by_id: HashMap<ArchiveId, &Archive> = archives
            .iter()
            .map(|archive| (archive.id, archive))
            .collect();
        let rows = read.await?.into_iter().filter_map(|(key, passage)| {
            let archive = (*by_id.get(&passage.archive_id)?).clone();
            Some(((key, passage.seq), (archive, passage)))
        });
        Ok(rows.collect())
    }

    /// A search without words: the newest passages that the filters let through.
    async fn newest_passages(
        &self,
        scope: &Scope,
        archives: Vec<Archive>,
        search: &PassageSearch,
    ) -> Result<Findings<(Archive, Passage)>, EngineError> {
        let (scope, search) = (scope.clone(), search.clone());
        let limit = search.limit;
        let found = self.store().read(move |tx| {
            Box::pin(async move {
                let mut found = Vec::new();
                for archive in archives {
                    let newest = newest_of(tx, &scope, &archive, &search).await?;
                    found.extend(newest.into_iter().map(|passage| Finding {
                        item: (archive.clone(), passage),
                        score: 0.0,
                        parts: super::Parts::default(),
                    }));
                }
                Ok::<_, EngineError>(found)
            })
        });
        let mut found = found.await?;
        found.sort_by_key(|finding| std::cmp::Reverse(finding.item.1.created_at));
        found.truncate(limit);
        Ok(Findings {
            nothing_relevant: found.is_empty(),
            found,
            embedded_share: 1.0,
        })
    }
}

/// The archives that are searched.
async fn searched(
    tx: &mut Tx<'_>,
    scope: &Scope,
    within: Where,
) -> Result<Vec<Archive>, EngineError> {
    Ok(match within {
        Where::Agent(id) => {
            agents::check(tx, scope, id).await?;
            archives::of_agent(tx, scope, id).await?
        }
        Where::Archive(id) => vec![archives::get(tx, scope, id).await?],
        Where::Everywhere => archives::all(tx, scope, MAX_ARCHIVES).await?,
    })
}

/// The indexes of archives: what is common and, in an end user's turn, what is theirs.
fn keys(scope: &Scope, archives: &[Archive]) -> Vec<(ScopeKey, Option<String>)> {
    let mut keys = Vec::with_capacity(archives.len());
    for archive in archives {
        let handle = archive.embedding_handle().map(str::to_owned);
        keys.push((ScopeKey::Passages(archive.id, None), handle.clone()));
        if let Some(subject) = &scope.subject {
            let own = ScopeKey::Passages(archive.id, Some(subject.clone()));
            keys.push((own, handle));
        }
    }
    keys
}

/// The newest passages of an archive that the filters let through.
async fn newest_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    archive: &Archive,
    search: &PassageSearch,
) -> Result<Vec<Passage>, EngineError> {
    let tags = &search.tags;
    let filter = PassageFilter {
        archive_id: Some(archive.id),
        tags: if search.match_all_tags {
            tags.iter().map(|tag| vec![tag.clone()]).collect()
        } else {
            Vec::from_iter((!tags.is_empty()).then(|| tags.clone()))
        },
        start: search.start,
        end: search.end,
        ..PassageFilter::default()
    };
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let page = Page::first(limit, Order::Desc);
    Ok(passages::list(tx, scope, &filter, &page).await?)
}
