//! Settings: one table says every key with its names, default and meaning; flags win over the
//! environment, that over `mnemic.toml`, that over defaults.

mod checks;
mod error;
mod file;
mod provider;

use std::{collections::BTreeMap, path::PathBuf};

use mnemic_core::plans::Plans;

use self::file::{FromFile, read_file};
pub use self::{error::SettingsError, file::usual_file, provider::Provider};

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in `mnemic.toml` and, with dashes, as a flag.
    pub name: &'static str,
    /// Environment variables that set it, the first that is set wins.
    pub env: &'static [&'static str],
    /// Its default as text; empty for none.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
}

const fn key(
    name: &'static str,
    env: &'static [&'static str],
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        env,
        default,
        about,
        secret: false,
    }
}

const fn secret(name: &'static str, env: &'static [&'static str], about: &'static str) -> Key {
    Key {
        name,
        env,
        default: "",
        about,
        secret: true,
    }
}

/// All settings.
pub const KEYS: [Key; 53] = [
    key(
        "host",
        &["MNEMIC_HOST", "LETTA_SERVER_HOST"],
        "127.0.0.1",
        "Address to listen on.",
    ),
    key(
        "port",
        &["MNEMIC_PORT", "LETTA_SERVER_PORT"],
        "8283",
        "Port to listen on.",
    ),
    key(
        "data_dir",
        &["MNEMIC_DATA_DIR"],
        "",
        "Folder of the database, the key file and backups; the user's data folder unless set.",
    ),
    secret(
        "database_url",
        &["MNEMIC_DATABASE_URL", "LETTA_PG_URI"],
        "PostgreSQL to use in place of SQLite; its tables are made in the schema `mnemic`.",
    ),
    key(
        "database_pool_size",
        &["MNEMIC_DATABASE_POOL_SIZE", "LETTA_PG_POOL_SIZE"],
        "16",
        "Connections to PostgreSQL at the most.",
    ),
    key(
        "secure",
        &["MNEMIC_SECURE", "LETTA_SERVER_SECURE"],
        "false",
        "Ask every request for the password.",
    ),
    secret(
        "password",
        &["MNEMIC_PASSWORD", "LETTA_SERVER_PASSWORD"],
        "The password; a random one is printed at the start when secure mode has none.",
    ),
    key(
        "no_default_actor",
        &["MNEMIC_NO_DEFAULT_ACTOR", "LETTA_NO_DEFAULT_ACTOR"],
        "false",
        "Refuse requests that do not name their user.",
    ),
    secret(
        "encryption_key",
        &["MNEMIC_ENCRYPTION_KEY", "LETTA_ENCRYPTION_KEY"],
        "Key of stored secrets; `secret.key` in the data folder unless set.",
    ),
    key(
        "default_llm_handle",
        &["MNEMIC_DEFAULT_MODEL", "LETTA_DEFAULT_LLM_HANDLE"],
        "",
        "Model of agents whose creator names none, as provider/model; one of a model server that was \
         found, where nothing is configured.",
    ),
    key(
        "detect",
        &["MNEMIC_DETECT"],
        "true",
        "Find Ollama, LM Studio, llama-server and vLLM that run on this machine, and use their models.",
    ),
    key(
        "detect_addresses",
        &["MNEMIC_DETECT_ADDRESSES"],
        "127.0.0.1:11434,127.0.0.1:1234,127.0.0.1:8080,127.0.0.1:8000",
        "Where they are looked for, separated by commas.",
    ),
    key(
        "default_embedding_handle",
        &["MNEMIC_DEFAULT_EMBEDDING", "LETTA_DEFAULT_EMBEDDING_HANDLE"],
        "",
        "Embedding model where none is named: the one in the process unless set; none for no embeddings.",
    ),
    key(
        "models_dir",
        &["MNEMIC_MODELS_DIR"],
        "",
        "Folder of models that run in the process; the user's cache folder unless set.",
    ),
    key(
        "models_file",
        &["MNEMIC_MODELS_FILE"],
        "",
        "File of context windows and prices of models; `models.toml` in the data folder unless set.",
    ),
    key(
        "models_fetch",
        &["MNEMIC_MODELS_FETCH"],
        "true",
        "Fetch the embedding model in the background when it is not there.",
    ),
    key(
        "offline",
        &["MNEMIC_OFFLINE", "HF_HUB_OFFLINE"],
        "false",
        "Never fetch a model over the network.",
    ),
    key(
        "model_hub",
        &["MNEMIC_MODEL_HUB", "HF_ENDPOINT"],
        "https://huggingface.co",
        "Where models are fetched from, before pip is tried.",
    ),
    key(
        "local_threads",
        &["MNEMIC_LOCAL_THREADS"],
        "0",
        "Threads of language models in the process; 0 for all cores but one.",
    ),
    key(
        "local_context_window",
        &["MNEMIC_LOCAL_CONTEXT_WINDOW"],
        "8192",
        "Tokens of their longest context; a longer one takes more memory.",
    ),
    key(
        "local_cache_mb",
        &["MNEMIC_LOCAL_CACHE_MB"],
        "",
        "Megabytes of what they have read of conversations that is kept for the next turns; a quarter of the \
         free memory, and at most 1024, unless set.",
    ),
    key(
        "local_queue_depth",
        &["MNEMIC_LOCAL_QUEUE_DEPTH"],
        "16",
        "Calls that may wait for them.",
    ),
    key(
        "local_idle_seconds",
        &["MNEMIC_LOCAL_IDLE_SECONDS"],
        "600",
        "Seconds after which one that nobody asks is unloaded.",
    ),
    key(
        "max_context_window",
        &[
            "MNEMIC_MAX_CONTEXT_WINDOW",
            "LETTA_GLOBAL_MAX_CONTEXT_WINDOW_LIMIT",
        ],
        "128000",
        "Context window in tokens of agents whose creator names none, at the most.",
    ),
    key(
        "queue_depth",
        &["MNEMIC_QUEUE_DEPTH"],
        "32",
        "Requests that may wait for one agent.",
    ),
    key(
        "batch_concurrency",
        &["MNEMIC_BATCH_CONCURRENCY"],
        "4",
        "Requests of message batches that run at once.",
    ),
    key(
        "approval_expiry_seconds",
        &["MNEMIC_APPROVAL_EXPIRY_SECONDS"],
        "604800",
        "Seconds for which an agent waits for answers to its tool calls, before a message may come in their place.",
    ),
    key(
        "trace_hours",
        &["MNEMIC_TRACE_HOURS"],
        "0",
        "Hours for which each step keeps its request to the model and the answer (people's words); 0: not at all.",
    ),
    key(
        "index_cache_mb",
        &["MNEMIC_INDEX_CACHE_MB"],
        "256",
        "Megabytes of search indexes that are kept in memory.",
    ),
    key(
        "body_limit_mb",
        &["MNEMIC_BODY_LIMIT_MB"],
        "32",
        "Megabytes that a request may have.",
    ),
    key(
        "cors_origins",
        &["MNEMIC_CORS_ORIGINS", "ACCEPTABLE_ORIGINS"],
        "http://localhost:3000,http://localhost:8283,http://127.0.0.1:8283",
        "Web pages that may call the API, separated by commas; * for all.",
    ),
    key(
        "allow_private_urls",
        &["MNEMIC_ALLOW_PRIVATE_URLS"],
        "false",
        "Fetch images and pages from private and loopback addresses too, and post callbacks to them.",
    ),
    secret(
        "exa_api_key",
        &["EXA_API_KEY"],
        "Key of Exa, for web_search.",
    ),
    secret(
        "tavily_api_key",
        &["TAVILY_API_KEY"],
        "Key of Tavily, for web_search.",
    ),
    secret(
        "brave_api_key",
        &["BRAVE_API_KEY"],
        "Key of Brave Search, for web_search.",
    ),
    key(
        "searxng_url",
        &["MNEMIC_SEARXNG_URL"],
        "",
        "A SearXNG instance for web_search, without any key.",
    ),
    key(
        "exa_base_url",
        &["MNEMIC_EXA_BASE_URL"],
        "https://api.exa.ai",
        "Where Exa is reached.",
    ),
    key(
        "tavily_base_url",
        &["MNEMIC_TAVILY_BASE_URL"],
        "https://api.tavily.com",
        "Where Tavily is reached.",
    ),
    key(
        "brave_base_url",
        &["MNEMIC_BRAVE_BASE_URL"],
        "https://api.search.brave.com",
        "Where Brave Search is reached.",
    ),
    key(
        "log",
        &["MNEMIC_LOG", "RUST_LOG"],
        "info,tokio_postgres=warn",
        "What is logged: a level, or filters such as mnemic_engine=debug.",
    ),
    key(
        "log_format",
        &["MNEMIC_LOG_FORMAT"],
        "text",
        "Form of the log: text or json.",
    ),
    key(
        "llm_timeout_seconds",
        &[
            "MNEMIC_LLM_TIMEOUT_SECONDS",
            "LETTA_LLM_REQUEST_TIMEOUT_SECONDS",
        ],
        "60",
        "Seconds that a model may take to its first byte.",
    ),
    key(
        "compaction_timeout_seconds",
        &["MNEMIC_COMPACTION_TIMEOUT_SECONDS"],
        "30",
        "Seconds that a summary may take when a conversation outgrows its window; after them a digest stands in.",
    ),
    key(
        "unsafe_tools",
        &["MNEMIC_UNSAFE_TOOLS"],
        "false",
        "Run tools that people wrote also where this machine can't keep them in.",
    ),
    key(
        "python",
        &["MNEMIC_PYTHON"],
        "",
        "The Python of tools; python3 of the search path unless set.",
    ),
    key(
        "node",
        &["MNEMIC_NODE"],
        "",
        "The Node of tools; node of the search path unless set.",
    ),
    key(
        "tool_timeout_seconds",
        &["MNEMIC_TOOL_TIMEOUT_SECONDS"],
        "180",
        "Seconds that a call of a tool may take.",
    ),
    key(
        "tool_memory_mb",
        &["MNEMIC_TOOL_MEMORY_MB"],
        "512",
        "Megabytes of memory that a call of a tool may use.",
    ),
    key(
        "keep_copies_days",
        &["MNEMIC_KEEP_COPIES_DAYS"],
        "30",
        "Days for which copies of an SQLite database are kept that were made before migrations, in the folder `backups`.",
    ),
    key(
        "tools_at_once",
        &["MNEMIC_TOOLS_AT_ONCE"],
        "8",
        "Calls of tools that run at the same time; others wait.",
    ),
    key(
        "tool_hosts",
        &["MNEMIC_TOOL_HOSTS"],
        "*",
        "Hosts that may be granted to tools, separated by commas: names, *.names, with a port where it is not 80 or 443; \
         * for all. Private addresses only with allow_private_urls.",
    ),
    key(
        "tool_folders",
        &["MNEMIC_TOOL_FOLDERS"],
        "",
        "Folders that may be granted to tools, with what is below them, separated by commas.",
    ),
    key(
        "tool_variables",
        &["MNEMIC_TOOL_VARIABLES"],
        "",
        "Environment variables of the server that may be granted to tools, separated by commas.",
    ),
];

/// Variables that only `mnemic chat` reads.
const CHAT: [&str; 2] = ["MNEMIC_TOKEN", "MNEMIC_URL"];

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value as text.
    pub text: String,
    /// `flag`, an environment variable, a file, or `default`.
    pub origin: String,
}

/// All settings with their values.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The file that was named, if it was; else the usual places are looked at.
    pub given_file: Option<PathBuf>,
    /// The providers of the file.
    pub providers: Vec<Provider>,
    /// The limits of the file.
    pub plans: Plans,
}

/// Reads a variable of the environment.
pub type ReadEnv<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where settings come from.
#[derive(Default)]
pub struct Sources<'a> {
    /// Flags that were given, by key.
    pub flags: BTreeMap<&'static str, String>,
    /// The file given by a flag or `MNEMIC_CONFIG`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Option<&'a ReadEnv<'a>>,
}

impl Settings {
    /// Reads everything.
    ///
    /// # Errors
    /// The file cannot be read or holds something unknown.
    pub fn load(sources: &Sources<'_>) -> Result<Self, SettingsError> {
        let env = |name: &str| {
            sources
                .env
                .and_then(|read| read(name))
                .filter(|text| !text.is_empty())
        };
        let given_file = sources
            .file
            .clone()
            .or_else(|| env("MNEMIC_CONFIG").map(PathBuf::from));
        let file = given_file.clone().or_else(usual_file);
        let in_file = match &file {
            Some(path) => read_file(path)?,
            None => FromFile::default(),
        };
        let mut values = BTreeMap::new();
        for key in &KEYS {
            let from_env = || {
                let name = key.env.iter().find(|name| env(name).is_some())?;
                Some(Value {
                    text: env(name)?,
                    origin: (*name).to_owned(),
                })
            };
            let from_flag = sources.flags.get(key.name).map(|text| Value {
                text: text.clone(),
                origin: "flag".to_owned(),
            });
            let from_file = || {
                let origin = file
                    .as_ref()
                    .map(|path| path.display().to_string())
                    .unwrap_or_default();
                in_file.values.get(key.name).map(|text| Value {
                    text: text.clone(),
                    origin,
                })
            };
            let default = || Value {
                text: key.default.to_owned(),
                origin: "default".to_owned(),
            };
            let value = from_flag
                .or_else(from_env)
                .or_else(from_file)
                .unwrap_or_else(default);
            values.insert(key.name, value);
        }
        let settings = Self {
            values,
            file,
            given_file,
            providers: in_file.providers,
            plans: in_file.plans,
        };
        settings.check()?;
        Ok(settings)
    }

    /// A value and its origin.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A value as text; empty when there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.value(name).map_or("", |value| value.text.as_str())
    }

    /// A value as text, or `None` when there is none.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// A number.
    ///
    /// # Errors
    /// The value is none.
    pub fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, SettingsError> {
        self.text(name)
            .trim()
            .parse()
            .map_err(|_| self.wrong(name, "must be a number in its bounds"))
    }

    /// A switch.
    ///
    /// # Errors
    /// The value is none.
    pub fn switch(&self, name: &'static str) -> Result<bool, SettingsError> {
        match self.text(name).trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" | "" => Ok(false),
            _ => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// The error that a value does not fit.
    #[must_use]
    pub fn wrong(&self, name: &'static str, wanted: impl Into<String>) -> SettingsError {
        let value = self.value(name).cloned();
        let (value, origin) =
            value.map_or_else(Default::default, |value| (value.text, value.origin));
        SettingsError::Wrong {
            name,
            value,
            origin,
            wanted: wanted.into(),
        }
    }
}

/// The variables of an environment that look like ours and mean nothing, as a mistyped name does.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let means_something = |name: &str| {
        let mut known = KEYS.iter().flat_map(|key| key.env);
        // Builds for tests read more of them.
        CHAT.contains(&name)
            || name == "MNEMIC_CONFIG"
            || cfg!(feature = "failpoints")
            || known.any(|env| *env == name)
    };
    let ours = names.filter(|name| name.starts_with("MNEMIC_"));
    let mut unknown: Vec<String> = ours.filter(|name| !means_something(name)).collect();
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests;
