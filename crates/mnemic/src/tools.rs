//! How tools run that people wrote, from the settings.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mnemic_engine::{
    Engine,
    custom::{Ceiling, ToolSettings},
};
use mnemic_tools::sandbox::{self, Limits, UnsafeTools, Warm};
use sha2::{Digest as _, Sha256};

use crate::{
    data::DataFolder,
    serve::ServeError,
    settings::{Settings, SettingsError},
};

/// The folder of the data folder below which tools have their files where they can't have file systems of their own.
const SCRATCH: &str = "tool-scratch";

/// The folder of the data folder that keeps the packages of tools.
const PACKAGES: &str = "tool-packages";

/// The settings of tools.
///
/// # Errors
/// A setting is not valid, or the folder for scratch files can't be made.
pub fn tool_settings(settings: &Settings, folder: &DataFolder) -> Result<ToolSettings, ServeError> {
    let data = folder.path.canonicalize()?;
    let scratch = data.join(SCRATCH);
    // What calls of a process that died have left there.
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    std::fs::create_dir_all(&scratch)?;
    let path = |name: &str| settings.optional(name).map(PathBuf::from);
    let unsafe_tools = if settings.switch("unsafe_tools")? {
        UnsafeTools::Run
    } else {
        UnsafeTools::Refuse
    };
    Ok(ToolSettings {
        sandbox: Some(sandbox::Settings {
            program: std::env::current_exe()?,
            python: path("python"),
            node: path("node"),
            scratch,
            packages: data.join(PACKAGES),
            open: open(&data),
            offline: settings.switch("offline")?,
            may_reach: if settings.switch("allow_private_urls")? {
                |_| true
            } else {
                mnemic_llm::is_public
            },
            at_once: settings.number("tools_at_once")?,
            unsafe_tools,
            warm: Warm::Yes,
            without: Vec::new(),
        }),
        limits: limits(settings)?,
        ceiling: Ceiling {
            hosts: list(settings, "tool_hosts").collect(),
            folders: list(settings, "tool_folders").map(PathBuf::from).collect(),
            closed: vec![data],
            variables: list(settings, "tool_variables").collect(),
        },
    })
}

/// Where tools have their files if they run as users who can't enter the data folder: a folder of this server's among
/// what the system's programs can make anew. It is used only if root alone can change it.
fn open(data: &Path) -> PathBuf {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let name = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    Path::new("/var/cache/mnemic").join(name.collect::<String>())
}

fn limits(settings: &Settings) -> Result<Limits, SettingsError> {
    let time = Duration::from_secs(settings.number("tool_timeout_seconds")?);
    Ok(Limits {
        time,
        processor: time.min(Limits::default().processor),
        memory: settings.number::<u64>("tool_memory_mb")? << 20,
        ..Limits::default()
    })
}

fn list<'a>(settings: &'a Settings, name: &str) -> impl Iterator<Item = String> + 'a {
    let parts = settings.text(name).split(',');
    let parts = parts.map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty())
}

/// Says in the log which layers keep tools in, and what is missing.
pub async fn tell_layers(engine: Engine) {
    let Some(sandbox) = engine.sandbox().await else {
        return;
    };
    let layers = sandbox.layers();
    match layers.missing() {
        None => tracing::info!(%layers, "tools are kept in"),
        Some(reason) if engine.settings().tools.is_unsafe() => {
            tracing::warn!(%layers, "tools run although {reason}");
        }
        Some(reason) => tracing::warn!(%layers, "tools are refused: {reason}"),
    }
}
