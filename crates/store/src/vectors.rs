//! Vectors: what texts mean, by embedding model. They are kept as 16-bit floats: the cosine of two
//! vectors of unit length moves by less than 0.001, at half the bytes.

use std::collections::HashSet;

use half::f16;
use mnemic_core::scope::Scope;

use crate::{Dialect, Param, Row, StoreError, Tx, embed_scopes::ScopeKind, params};

/// The vectors of one text: one per chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct TextVectors {
    /// The number of the message or passage.
    pub item: i64,
    /// One vector per chunk of the text, in order.
    pub chunks: Vec<Vec<f32>>,
}

impl TextVectors {
    /// Numbers of each vector.
    #[must_use]
    pub fn dims(&self) -> i64 {
        let dims = self.chunks.first().map_or(0, Vec::len);
        i64::try_from(dims).unwrap_or(i64::MAX)
    }
}

/// A stored row with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The row's number; rows that come later have greater ones.
    pub seq: i64,
    /// The vectors.
    pub vectors: TextVectors,
}

/// Stores the vectors of texts of one scope (an agent's messages, or an archive) made by one model.
/// Those that are there already stay, and texts that were deleted meanwhile get none.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    kind: ScopeKind,
    (scope, model): (&str, &str),
    texts: &[TextVectors],
) -> Result<(), StoreError> {
    let there = hold(tx, kind, scope, texts).await?;
    let sql = "INSERT INTO vectors (scope, item, model, dims, data) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (scope, model, item) DO NOTHING";
    for text in texts.iter().filter(|text| there.contains(&text.item)) {
        let data = pack(&text.chunks);
        let bound = params![scope, text.item, model, text.dims(), data.as_slice()];
        tx.execute(sql, bound).await?;
    }
    Ok(())
}

/// Those of the texts that are still there; until the end of the transaction nobody deletes them.
async fn hold(
    tx: &mut Tx<'_>,
    kind: ScopeKind,
    scope: &str,
    texts: &[TextVectors],
) -> Result<HashSet<i64>, StoreError> {
    let sql = format!(
        "SELECT seq FROM {} WHERE {} = $1 AND {}{}",
        kind.as_str(),
        kind.owner(),
        tx.any_number("seq", 2),
        match tx.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR KEY SHARE",
        }
    );
    let items: Vec<i64> = texts.iter().map(|text| text.item).collect();
    let bound = [Param::from(scope), Param::numbers(&items)];
    let rows = tx.query(&sql, &bound).await?;
    rows.into_iter().map(|mut row| row.int()).collect()
}

/// Deletes the vectors of a model if its last one has another length than the texts' new ones: the model
/// behind the name is another one now. Returns whether it was so.
///
/// # Errors
/// The database's.
pub async fn drop_outgrown(
    tx: &mut Tx<'_>,
    (scope, model): (&str, &str),
    texts: &[TextVectors],
) -> Result<bool, StoreError> {
    let Some(dims) = texts.first().map(TextVectors::dims) else {
        return Ok(false);
    };
    let sql = "SELECT dims FROM vectors WHERE scope = $1 AND model = $2 ORDER BY seq DESC LIMIT 1";
    let last = tx.query_opt(sql, params![scope, model]).await?;
    let last = last.map(|mut row| row.int()).transpose()?;
    if last.is_none_or(|last| last == dims) {
        return Ok(false);
    }
    let sql = "DELETE FROM vectors WHERE model = $1 AND dims <> $2";
    tx.execute(sql, params![model, dims]).await?;
    Ok(true)
}

/// Bytes that the vectors of an organization's texts take.
///
/// # Errors
/// The database's.
pub async fn stored_bytes(tx: &mut Tx<'_>, scope: &Scope) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(LENGTH(v.data)), 0) AS BIGINT) \
               FROM embed_scopes s JOIN vectors v ON v.scope = s.scope WHERE s.organization_id = $1";
    tx.query_one(sql, params![scope.organization]).await?.int()
}

/// The vectors of a scope by a model after a row number, in their order.
///
/// # Errors
/// The database's.
pub async fn after(
    tx: &mut Tx<'_>,
    (scope, model): (&str, &str),
    (seq, limit): (i64, i64),
) -> Result<Vec<Stored>, StoreError> {
    let sql = "SELECT seq, item, dims, data FROM vectors \
               WHERE scope = $1 AND model = $2 AND seq > $3 ORDER BY seq LIMIT $4";
    let rows = tx.query(sql, params![scope, model, seq, limit]).await?;
    rows.into_iter().map(from_row).collect()
}

/// Of these items, those that have vectors of a model.
///
/// # Errors
/// The database's.
pub async fn known(
    tx: &mut Tx<'_>,
    (scope, model): (&str, &str),
    items: &[i64],
) -> Result<HashSet<i64>, StoreError> {
    let sql = format!(
        "SELECT item FROM vectors WHERE scope = $1 AND model = $2 AND {}",
        tx.any_number("item", 3)
    );
    let bound = [
        Param::from(scope),
        Param::from(model),
        Param::numbers(items),
    ];
    let rows = tx.query(&sql, &bound).await?;
    rows.into_iter().map(|mut row| row.int()).collect()
}

/// Deletes the vectors of a scope that other models made.
///
/// # Errors
/// The database's.
pub async fn drop_others(tx: &mut Tx<'_>, scope: &str, model: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM vectors WHERE scope = $1 AND model <> $2";
    tx.execute(sql, params![scope, model]).await.map(drop)
}

fn from_row(mut row: Row) -> Result<Stored, StoreError> {
    let (seq, item, dims) = (row.int()?, row.int()?, row.int()?);
    let data = row.opt_bytes()?.unwrap_or_default();
    let dims = usize::try_from(dims).unwrap_or_default();
    Ok(Stored {
        seq,
        vectors: TextVectors {
            item,
            chunks: unpack(&data, dims),
        },
    })
}

fn pack(chunks: &[Vec<f32>]) -> Vec<u8> {
    chunks
        .iter()
        .flatten()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes())
        .collect()
}

fn unpack(data: &[u8], dims: usize) -> Vec<Vec<f32>> {
    let (pairs, _) = data.as_chunks::<2>();
    let values: Vec<f32> = pairs
        .iter()
        .map(|pair| f16::from_le_bytes(*pair).to_f32())
        .collect();
    values
        .chunks_exact(dims.max(1))
        .map(<[f32]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_within_the_precision_of_half_floats() {
        let chunks = vec![vec![0.125, -0.5, 0.333], vec![1.0, 0.0, -1.0]];
        let back = unpack(&pack(&chunks), 3);
        assert_eq!(back.len(), 2);
        for (a, b) in chunks.iter().flatten().zip(back.iter().flatten()) {
            assert!((a - b).abs() < 0.001, "{a} became {b}");
        }
    }

    #[test]
    fn a_row_that_lost_bytes_gives_fewer_vectors_and_no_panic() {
        assert!(unpack(&[1, 2, 3], 2).is_empty());
        assert!(unpack(&[], 0).is_empty());
    }
}
