//! What one person's turns added to blocks that are everybody's.

use std::collections::{HashMap, HashSet};

use mnemic_core::{
    blocks::{Author, Block},
    ids::BlockId,
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Param, StoreError, Tx,
    blocks::{self, PastValue},
    context, params,
};

/// Takes the lines that these runs added out of the blocks, and out of all their versions; tells which blocks that were.
pub(super) async fn take_back(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (runs, bound): (&str, &[Param<'_>]),
    now: Timestamp,
) -> Result<Vec<BlockId>, StoreError> {
    let sql = format!(
        "SELECT v.block_id, v.version FROM block_versions v JOIN blocks b ON b.id = v.block_id \
         WHERE v.run_id IN (SELECT id FROM runs WHERE {runs}) AND b.subject IS NULL \
         ORDER BY v.block_id, v.version"
    );
    let mut written: Vec<(BlockId, HashSet<i64>)> = Vec::new();
    for mut row in tx.query(&sql, bound).await? {
        let (block, version): (BlockId, i64) = (row.parse()?, row.int()?);
        match written.last_mut() {
            Some((last, versions)) if *last == block => _ = versions.insert(version),
            _ => written.push((block, HashSet::from([version]))),
        }
    }
    let everybodys = scope.common();
    for (block, versions) in &written {
        take_out(tx, &everybodys, (*block, versions), now).await?;
    }
    Ok(written.into_iter().map(|(block, _)| block).collect())
}

/// Takes the lines that these versions brought out of a block, and out of all its versions.
pub(super) async fn take_out(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (id, written): (BlockId, &HashSet<i64>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let all = blocks::values_after(tx, id, (i64::MIN, i64::MAX)).await?;
    let added = Added::of(&all, written);
    for version in &all {
        if let Some(value) = without(&version.value, &added) {
            let sql = "UPDATE block_versions SET value = $3 WHERE block_id = $1 AND version = $2";
            tx.execute(sql, params![id, version.version, value]).await?;
        }
    }
    context::empty_prompts_with(tx, id).await?;
    let block = blocks::get(tx, scope, id).await?;
    let Some(value) = without(&block.value, &added) else {
        return Ok(());
    };
    let cleaned = Block {
        value,
        ..block.clone()
    };
    blocks::write(tx, scope, (&block, cleaned), &Author::asking(scope), now)
        .await
        .map(drop)
}

/// Whether a block still says something that only these versions brought.
pub(super) async fn stand(
    tx: &mut Tx<'_>,
    id: BlockId,
    versions: &HashSet<i64>,
) -> Result<bool, StoreError> {
    let all = blocks::values_after(tx, id, (i64::MIN, i64::MAX)).await?;
    let added = Added::of(&all, versions);
    let last = all.last().map(|version| without(&version.value, &added));
    Ok(last.flatten().is_some())
}

/// The lines that only these versions brought, with those that they took the place of.
struct Added<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Added<'a> {
    fn of(all: &'a [PastValue], written: &HashSet<i64>) -> Self {
        let (mut theirs, mut others) = (HashMap::new(), HashSet::new());
        let mut before: Vec<&str> = Vec::new();
        for version in all {
            let lines: Vec<&str> = version.value.lines().collect();
            let (old, new) = changed(&before, &lines);
            let new = new.iter().filter(|line| !old.contains(line));
            if written.contains(&version.version) {
                let mut replaced: Vec<&str> = old
                    .iter()
                    .filter(|line| !lines.contains(line))
                    .copied()
                    .collect();
                for line in new {
                    // The first of the new lines stands for all that it took the place of.
                    theirs.entry(*line).or_insert(std::mem::take(&mut replaced));
                }
            } else {
                others.extend(new.copied());
            }
            before = lines;
        }
        theirs.retain(|line, _| !line.trim().is_empty() && !others.contains(line));
        Self(theirs)
    }

    /// What stood in the place of a line before: itself where it is not theirs.
    fn before(&self, line: &'a str, depth: usize) -> Vec<&'a str> {
        match self.0.get(line) {
            None => vec![line],
            Some(replaced) if depth < self.0.len() => {
                let replaced = replaced.iter();
                replaced
                    .flat_map(|line| self.before(line, depth + 1))
                    .collect()
            }
            Some(_) => Vec::new(),
        }
    }
}

/// The lines in which two texts differ: what is between their common beginning and their common end.
fn changed<'l, 'a>(old: &'l [&'a str], new: &'l [&'a str]) -> (&'l [&'a str], &'l [&'a str]) {
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (
        old.get(head..).unwrap_or_default(),
        new.get(head..).unwrap_or_default(),
    );
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail.take_while(same).count();
    (
        old.get(..old.len() - tail).unwrap_or_default(),
        new.get(..new.len() - tail).unwrap_or_default(),
    )
}

/// A text without these lines; none when it has none of them.
fn without<'a>(value: &'a str, added: &Added<'a>) -> Option<String> {
    if !value.lines().any(|line| added.0.contains_key(line)) {
        return None;
    }
    let kept: Vec<&str> = value
        .lines()
        .flat_map(|line| added.before(line, 0))
        .collect();
    Some(kept.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the last of these values when versions 2 and later of a person are taken back.
    fn taken_back(values: &[(&str, bool)]) -> String {
        let all: Vec<PastValue> = (1..)
            .zip(values)
            .map(|(version, (value, _))| PastValue {
                version,
                value: (*value).to_owned(),
                created_at: Timestamp(version),
            })
            .collect();
        let theirs = all.iter().zip(values).filter(|(_, (_, theirs))| *theirs);
        let written = theirs.map(|(version, _)| version.version).collect();
        let last = all.last().unwrap();
        without(&last.value, &Added::of(&all, &written)).unwrap_or_else(|| last.value.clone())
    }

    #[test]
    fn a_person_takes_back_only_lines_of_their_own() {
        for (values, left) in [
            (&[("a", false), ("a\nhers", true)][..], "a"),
            // Taking a line away and writing it again makes it nobody's own.
            (&[("a\nb", false), ("b", true), ("b\na", true)], "b\na"),
            // What she wrote over comes back.
            (
                &[
                    ("Opens at nine.", false),
                    ("Opens at nine. Ada says hi.", true),
                ],
                "Opens at nine.",
            ),
            (&[("a", false), ("hers", true), ("hers, again", true)], "a"),
            // Another said the same.
            (
                &[("", false), ("tea", true), ("tea\ntea", false)],
                "tea\ntea",
            ),
            (
                &[("a", false), ("a\nhers", true), ("a\nhers\nb", false)],
                "a\nb",
            ),
        ] {
            assert_eq!(taken_back(values), left, "{values:?}");
        }
    }
}
