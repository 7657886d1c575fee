//! Tables for people and JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    retrievers::WHOLE,
    summary::{Difference, Summary},
};

/// What was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    /// Where the conversations come from.
    pub source: String,
    /// How many there are.
    pub conversations: usize,
    /// Their turns.
    pub turns: usize,
    /// Their questions.
    pub questions: usize,
    /// Seconds in which the indexes were made.
    pub index_seconds: f64,
    /// Megabytes that the indexes say they take.
    pub index_megabytes: f64,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// On what.
    pub data: Data,
    /// The figures of each way to rank.
    pub variants: Vec<Summary>,
}

/// Writes the tables.
///
/// # Errors
/// The output cannot be written.
pub fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let data = &report.data;
    writeln!(
        out,
        "{}: {} conversations, {} turns, {} questions; indexed in {:.2} s, {:.1} MB\n",
        data.source,
        data.conversations,
        data.turns,
        data.questions,
        data.index_seconds,
        data.index_megabytes
    )?;
    figures(&report.variants).write(out)?;
    kinds(&report.variants).write(out)?;
    let whole = report.variants.iter().find(|summary| summary.name == WHOLE);
    match whole {
        Some(whole) => scores(out, whole),
        None => Ok(()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

fn maybe(share: Option<f64>) -> String {
    share.map_or_else(String::new, percent)
}

fn difference(difference: Option<Difference>) -> String {
    difference.map_or_else(String::new, |Difference { mean, interval }| {
        let (low, high) = interval;
        format!(
            "{:+.1} ({:+.1} to {:+.1})",
            mean * 100.0,
            low * 100.0,
            high * 100.0
        )
    })
}

/// The main table, in percent.
fn figures(variants: &[Summary]) -> Table {
    let heads = [
        "%",
        "R@5",
        "R@10",
        "95 %",
        "R@20",
        "against whole",
        "any@10",
        "all@10",
        "nDCG@10",
        "MRR",
        "update",
        "update@5",
        "AUROC",
        "500 t",
        "1,000 t",
        "2,000 t",
        "p50 ms",
        "p99 ms",
    ];
    let rows = variants.iter().map(|summary| {
        let [at_5, at_10, at_20] = summary.evidence.recall.map(percent);
        let (low, high) = summary.recall_at_10_interval;
        let ([_, any, _], [_, all, _]) = (summary.evidence.any, summary.evidence.all);
        let mut row = vec![summary.name.clone(), at_5, at_10];
        row.push(format!("{} to {}", percent(low), percent(high)));
        row.extend([
            at_20,
            difference(summary.against_whole),
            percent(any),
            percent(all),
        ]);
        row.extend([percent(summary.ndcg_at_10), percent(summary.mrr)]);
        row.extend([
            maybe(summary.updates_in_order),
            maybe(summary.updates_in_five),
        ]);
        row.push(maybe(summary.auroc));
        row.extend(summary.kept.map(percent));
        let (p50, p99) = summary.milliseconds;
        row.extend([format!("{p50:.2}"), format!("{p99:.2}")]);
        row
    });
    Table::new(&heads, rows)
}

/// The recall at 10 for each kind of question.
fn kinds(variants: &[Summary]) -> Table {
    let kinds = variants.first().map(|summary| &summary.kinds);
    let kinds: Vec<(&String, usize)> = kinds
        .into_iter()
        .flatten()
        .map(|(kind, evidence)| (kind, evidence.questions))
        .collect();
    let mut heads = vec!["R@10 %".to_owned()];
    heads.extend(
        kinds
            .iter()
            .map(|(kind, questions)| format!("{kind} ({questions})")),
    );
    let rows = variants.iter().map(|summary| {
        let mut row = vec![summary.name.clone()];
        row.extend(kinds.iter().map(|(kind, _)| {
            let evidence = summary.kinds.get(*kind);
            maybe(evidence.and_then(|evidence| evidence.recall.get(1).copied()))
        }));
        row
    });
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    Table::new(&heads, rows)
}

/// What the scores of the whole retriever promise, and what it says of unanswerable questions.
fn scores(out: &mut impl Write, whole: &Summary) -> io::Result<()> {
    if let Some(said) = whole.nothing_relevant {
        let rows = [
            ("unanswerable", said.rightly_nothing, said.wrongly_something),
            ("answerable", said.wrongly_nothing, said.rightly_something),
        ];
        let rows = rows.map(|(name, nothing, something)| {
            vec![name.to_owned(), nothing.to_string(), something.to_string()]
        });
        Table::new(
            &["questions", "\"nothing relevant\"", "something"],
            rows.into_iter(),
        )
        .write(out)?;
    }
    let Some(calibration) = &whole.calibration else {
        return Ok(());
    };
    if let Some(best) = calibration.threshold {
        writeln!(
            out,
            "Best bound of the best score: {:.3}; {} % of the answerable questions are above, {} % of the \
             unanswerable below.\n",
            best.score,
            percent(best.answerable_above),
            percent(best.unanswerable_below)
        )?;
    }
    if let Some(fitted) = calibration.fitted {
        writeln!(
            out,
            "Scores are off by {} points in the mean; the likelihood that fits best has the slope {:.3} and the \
             middle {:.2}.\n",
            percent(calibration.error),
            fitted.slope,
            fitted.middle
        )?;
    }
    let rows = calibration.bins.iter().map(|bin| {
        vec![
            format!("{:.1}", bin.from),
            bin.hits.to_string(),
            percent(bin.score),
            percent(bin.evidence),
        ]
    });
    Table::new(&["score from", "hits", "mean score %", "evidence %"], rows).write(out)
}

/// A table whose columns are as wide as they must be.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Self {
        let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
        let rule: Vec<String> = heads.iter().map(|_| "---".to_owned()).collect();
        Self {
            rows: [heads, rule].into_iter().chain(rows).collect(),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            for (width, cell) in widths.iter().zip(row) {
                write!(out, "| {cell:<width$} ")?;
            }
            writeln!(out, "|")?;
        }
        writeln!(out)
    }
}
