//! What values settings may have.

use super::{KEYS, Key, Settings, SettingsError};

/// The least and the greatest value of settings that are numbers.
const BOUNDS: [(&str, i64, i64); 20] = [
    ("keep_copies_days", 0, 36_500),
    ("tool_timeout_seconds", 1, 86_400),
    ("tool_memory_mb", 64, 1_000_000),
    ("tools_at_once", 1, 1_000),
    ("local_threads", 0, 1_024),
    ("local_context_window", 1_024, 1_000_000),
    ("local_cache_mb", 0, 1_000_000),
    ("local_queue_depth", 1, 10_000),
    ("local_idle_seconds", 1, 31_536_000),
    ("port", 0, 65_535),
    ("database_pool_size", 1, 1_000),
    ("max_context_window", 1_024, 100_000_000),
    ("queue_depth", 1, 100_000),
    ("batch_concurrency", 1, 1_000),
    ("approval_expiry_seconds", 1, 31_536_000),
    ("trace_hours", 0, 8_760),
    ("index_cache_mb", 1, 1_000_000),
    ("body_limit_mb", 1, 4_096),
    ("llm_timeout_seconds", 1, 86_400),
    ("compaction_timeout_seconds", 1, 600),
];

/// Settings that are true or false.
const SWITCHES: [&str; 7] = [
    "unsafe_tools",
    "detect",
    "secure",
    "no_default_actor",
    "allow_private_urls",
    "models_fetch",
    "offline",
];

impl Settings {
    /// Checks that numbers and switches are such, within their bounds.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (name, least, greatest) in BOUNDS {
            let is_optional = |key: &&Key| key.name == name && key.default.is_empty();
            if self.text(name).trim().is_empty() && KEYS.iter().any(|key| is_optional(&key)) {
                continue;
            }
            let value = self.text(name).trim().parse::<i64>();
            if !value.is_ok_and(|value| (least..=greatest).contains(&value)) {
                let wanted = format!("must be a number from {least} to {greatest}");
                return Err(self.wrong(name, wanted));
            }
        }
        for name in SWITCHES {
            self.switch(name)?;
        }
        Ok(())
    }
}
