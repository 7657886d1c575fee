//! `mnemic tools`: what an administrator wants to know of the tools that people wrote.

use clap::Subcommand;
use mnemic_core::tools::{Language, Tool};
use mnemic_store::{StoreError, tools};
use mnemic_tools::audit::{self, Needs};
use serde_json::{Value, json};

use crate::{serve, settings::Settings, terminal::say};

/// What is done with tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what each tool's source appears to need: hosts, files, variables, programs and packages. Nothing is run.
    Audit {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
///
/// # Errors
/// The database can't be read.
pub fn run(settings: &Settings, command: &Command) -> Result<(), Box<dyn std::error::Error>> {
    let Command::Audit { json } = command;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found: Vec<Tool> = runtime.block_on(async {
        let store = serve::open_to_read(settings).await?;
        let found = store.read(|tx| Box::pin(tools::custom_of_all(tx)));
        found
            .await
            .map_err(|error: StoreError| serve::ServeError::from(error))
    })?;
    let audited: Vec<(&Tool, Needs)> = found.iter().map(|tool| (tool, needs(tool))).collect();
    if *json {
        let rows: Vec<Value> = audited
            .iter()
            .map(|(tool, needs)| row(tool, needs))
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if audited.is_empty() {
        say("There are no tools that people wrote.");
    }
    for (tool, needs) in &audited {
        show(tool, needs);
    }
    Ok(())
}

fn needs(tool: &Tool) -> Needs {
    let language = Language::parse(&tool.source_type).unwrap_or_default();
    let field = match language {
        Language::Python => "pip_requirements",
        Language::TypeScript => "npm_requirements",
    };
    let requirements = tool.extra.get(field).and_then(Value::as_array);
    let requirements = requirements.into_iter().flatten();
    let requirements: Vec<&str> = requirements
        .filter_map(|requirement| requirement.get("name")?.as_str())
        .collect();
    audit::audit(
        language,
        tool.source_code.as_deref().unwrap_or_default(),
        &requirements,
    )
}

fn row(tool: &Tool, needs: &Needs) -> Value {
    json!({
        "id": tool.id.to_string(),
        "name": tool.name,
        "source_type": tool.source_type,
        "needs": needs,
    })
}

fn show(tool: &Tool, needs: &Needs) {
    say(format!("{} ({}, {})", tool.name, tool.source_type, tool.id));
    if let Some(reason) = &needs.unreadable {
        return say(format!("    can't be read: {reason}"));
    }
    if needs.is_nothing() {
        return say("    nothing");
    }
    for (what, values) in [
        ("hosts", &needs.hosts),
        ("network by", &needs.network),
        ("reads", &needs.reads),
        ("writes", &needs.writes),
        ("variables", &needs.variables),
        ("programs", &needs.programs),
        ("packages that are not required", &needs.packages),
        ("code that can't be seen, by", &needs.unseen),
    ] {
        if !values.is_empty() {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            say(format!("    {what}: {}", values.join(", ")));
        }
    }
}
