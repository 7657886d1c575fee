//! All figures of one engine, as a table and as JSON.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde_json::{Map, Value, json};

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured, with its unit.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: f64,
    /// What it is to reach, in words; empty when nothing was set.
    pub target: &'static str,
}

/// The figures of one engine.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, value: f64, target: &'static str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            target,
        });
    }

    /// The figures as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for figure in &self.figures {
            let field = json!({"value": figure.value, "target": figure.target});
            fields.insert(figure.name.clone().into_owned(), field);
        }
        Value::Object(fields)
    }
}

/// Writes the reports of several engines side by side.
///
/// # Errors
/// The output cannot be written.
pub fn table(out: &mut impl Write, reports: &[(&str, Report)]) -> io::Result<()> {
    write!(out, "\n| figure |")?;
    for (engine, _) in reports {
        write!(out, " {engine} |")?;
    }
    writeln!(out, " to reach |")?;
    writeln!(out, "|---|{}---|", "---|".repeat(reports.len()))?;
    let Some((_, first)) = reports.first() else {
        return Ok(());
    };
    for figure in &first.figures {
        write!(out, "| {} |", figure.name)?;
        for (_, report) in reports {
            let same = report
                .figures
                .iter()
                .find(|other| other.name == figure.name);
            match same {
                Some(same) => write!(out, " {:.2} |", same.value)?,
                None => write!(out, " |")?,
            }
        }
        writeln!(out, " {} |", figure.target)?;
    }
    Ok(())
}
