//! What a chat remembers of the ones before: whom one talked to last on each server, and what was typed.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::data;

/// The folder of these files. They are a convenience: where they cannot be read or written, nothing is
/// remembered.
#[derive(Debug)]
pub struct Recent {
    folder: PathBuf,
}

impl Recent {
    /// The files in a folder, which is made if need be.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        if !folder.is_dir() && std::fs::create_dir_all(folder).is_ok() {
            data::private(folder, 0o700).ok();
        }
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The file of typed lines, closed to other users.
    #[must_use]
    pub fn history(&self) -> Option<PathBuf> {
        let path = self.folder.join("chat-history");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path);
        file.ok()?;
        data::private(&path, 0o600).ok()?;
        Some(path)
    }

    /// The agent that was last talked to on a server.
    #[must_use]
    pub fn agent(&self, url: &str) -> Option<String> {
        Some(self.agents().get(url)?.as_str()?.to_owned())
    }

    /// Notes whom one talks to.
    pub fn set_agent(&self, url: &str, id: &str) {
        let mut agents = self.agents();
        agents.insert(url.to_owned(), id.into());
        let path = self.path();
        let draft = path.with_extension("new");
        let text = Value::Object(agents).to_string();
        if std::fs::write(&draft, text).is_ok() {
            std::fs::rename(&draft, &path).ok();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("chat-agents.json")
    }

    fn agents(&self) -> Map<String, Value> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_agent_of_each_server_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let recent = Recent::in_folder(&folder.path().join("new"));
        assert_eq!(recent.agent("http://a"), None);
        recent.set_agent("http://a", "agent-1");
        recent.set_agent("http://b", "agent-2");
        recent.set_agent("http://a", "agent-3");
        assert_eq!(recent.agent("http://a").as_deref(), Some("agent-3"));
        assert_eq!(recent.agent("http://b").as_deref(), Some("agent-2"));
    }
}
