-- The first schema of Mnemic. One text serves both engines; four words are replaced when it runs:
--   @text   TEXT, on PostgreSQL with COLLATE "C", so that both engines sort alike
--   @serial a row number that the database hands out
--   @bytes  BLOB or BYTEA
--   @by_key a small table that SQLite keeps in its primary key, one tree in place of two
-- Times are microseconds since 1970 in BIGINT, booleans 0 or 1 in BIGINT, JSON is text. Columns named
-- `subject` hold the end user whose data a row is; NULL is the agent's common data.

-- What the server knows of its own database, such as a text that only the right encryption key opens.
CREATE TABLE server_facts (
    name @text PRIMARY KEY,
    value @bytes NOT NULL
);

CREATE TABLE organizations (
    id @text PRIMARY KEY,
    name @text NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name @text NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE agents (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    name @text NOT NULL,
    agent_type @text NOT NULL,
    system_prompt @text NOT NULL,
    description @text,
    metadata @text,
    llm_config @text NOT NULL,
    embedding_config @text,
    model_settings @text,
    compaction_settings @text,
    response_format @text,
    tool_rules @text NOT NULL,
    timezone @text NOT NULL,
    message_buffer_autoclear BIGINT NOT NULL,
    enable_sleeptime BIGINT,
    hidden BIGINT,
    max_files_open BIGINT,
    per_file_view_window_char_limit BIGINT,
    project_id @text,
    template_id @text,
    base_template_id @text,
    deployment_id @text,
    entity_id @text,
    revision BIGINT NOT NULL,
    last_run_completion BIGINT,
    last_run_duration_ms BIGINT,
    last_stop_reason @text,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX agents_by_creation ON agents (organization_id, created_at, id);
CREATE INDEX agents_by_name ON agents (organization_id, name);

CREATE TABLE agent_tags (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    organization_id @text NOT NULL,
    position BIGINT NOT NULL,
    tag @text NOT NULL,
    PRIMARY KEY (agent_id, tag)
) @by_key;
CREATE INDEX agent_tags_by_tag ON agent_tags (organization_id, tag);

CREATE TABLE agent_secrets (
    id @text PRIMARY KEY,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    key @text NOT NULL,
    value @bytes NOT NULL,
    description @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (agent_id, key)
);

CREATE TABLE blocks (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    subject @text,
    label @text NOT NULL,
    value @text NOT NULL,
    char_limit BIGINT NOT NULL,
    description @text,
    read_only BIGINT NOT NULL,
    metadata @text NOT NULL,
    hidden BIGINT,
    is_template BIGINT NOT NULL,
    labels @text NOT NULL,
    project_id @text,
    template_name @text,
    revision BIGINT NOT NULL,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX blocks_by_creation ON blocks (organization_id, created_at, id);
CREATE INDEX blocks_by_label ON blocks (organization_id, label);

CREATE TABLE block_tags (
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    organization_id @text NOT NULL,
    position BIGINT NOT NULL,
    tag @text NOT NULL,
    PRIMARY KEY (block_id, tag)
) @by_key;
CREATE INDEX block_tags_by_tag ON block_tags (organization_id, tag);

CREATE TABLE block_versions (
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    label @text NOT NULL,
    value @text NOT NULL,
    char_limit BIGINT NOT NULL,
    description @text,
    read_only BIGINT NOT NULL,
    user_id @text,
    agent_id @text,
    run_id @text,
    tool_call_id @text,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (block_id, version)
);

-- The label stands here once more so that two blocks of one label cannot be on one agent.
CREATE TABLE agents_blocks (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    label @text NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (agent_id, block_id),
    UNIQUE (agent_id, label)
) @by_key;
CREATE INDEX agents_blocks_by_block ON agents_blocks (block_id);

CREATE TABLE tools (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    name @text NOT NULL,
    tool_type @text NOT NULL,
    description @text,
    source_type @text NOT NULL,
    source_code @text,
    json_schema @text NOT NULL,
    tags @text NOT NULL,
    return_char_limit BIGINT NOT NULL,
    enable_parallel_execution BIGINT NOT NULL,
    default_requires_approval BIGINT,
    extra @text NOT NULL,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);
CREATE INDEX tools_by_creation ON tools (organization_id, created_at, id);

CREATE TABLE agents_tools (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    tool_id @text NOT NULL REFERENCES tools (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (agent_id, tool_id)
) @by_key;
CREATE INDEX agents_tools_by_tool ON agents_tools (tool_id);

CREATE TABLE conversations (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    is_default BIGINT NOT NULL,
    subject @text,
    summary @text,
    model @text,
    model_settings @text,
    isolated_block_ids @text NOT NULL,
    -- Grows with every change of the context's rows.
    context_revision BIGINT NOT NULL,
    -- The position that the next context row gets.
    next_position BIGINT NOT NULL,
    -- The message that holds the compiled prompt, what it was compiled from, and when.
    prompt_message_id @text,
    prompt_signature @text,
    prompt_rendered_at BIGINT,
    last_run_completion BIGINT,
    last_message_at BIGINT,
    deleted_at BIGINT,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX conversations_by_agent ON conversations (agent_id, is_default, created_at, id);
CREATE UNIQUE INDEX conversations_default ON conversations (agent_id) WHERE is_default = 1;
CREATE INDEX conversations_by_creation ON conversations (organization_id, created_at, id);

CREATE TABLE messages (
    -- The order in which messages came in.
    seq @serial,
    id @text NOT NULL UNIQUE,
    organization_id @text NOT NULL,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    subject @text,
    role @text NOT NULL,
    body @text NOT NULL,
    name @text,
    otid @text,
    sender_id @text,
    step_id @text,
    run_id @text,
    tokens BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX messages_by_agent ON messages (agent_id, seq);
CREATE INDEX messages_by_conversation ON messages (conversation_id, seq);
CREATE INDEX messages_by_run ON messages (run_id, seq);

CREATE TABLE context_entries (
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    message_id @text NOT NULL,
    PRIMARY KEY (conversation_id, position)
) @by_key;

CREATE TABLE otids (
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    otid @text NOT NULL,
    -- SHA-256 of what was sent under it: the same otid with other content is refused.
    content_hash @text NOT NULL,
    run_id @text,
    message_id @text,
    PRIMARY KEY (conversation_id, otid)
) @by_key;

-- One running turn per conversation. An epoch belongs to one owner; every commit of a run checks it.
CREATE TABLE leases (
    conversation_id @text PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    owner @text,
    epoch BIGINT NOT NULL,
    run_id @text,
    expires_at BIGINT
) @by_key;

CREATE TABLE runs (
    -- The order of acceptance, in which queued runs of a conversation get their turn.
    seq @serial,
    id @text NOT NULL UNIQUE,
    organization_id @text NOT NULL,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    subject @text,
    status @text NOT NULL,
    -- The process whose task it is; recovery adopts the runs of dead ones.
    owner @text NOT NULL,
    stop_reason @text,
    error @text,
    background BIGINT NOT NULL,
    input @text NOT NULL,
    -- SHA-256 of the accepted request, by which a client's retry is known.
    body_hash @text NOT NULL,
    metadata @text NOT NULL,
    request_config @text NOT NULL,
    resumes BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    step_count BIGINT NOT NULL,
    ttft_ns BIGINT,
    total_duration_ns BIGINT,
    callback_url @text,
    created_by @text,
    created_at BIGINT NOT NULL,
    completed_at BIGINT
);
CREATE INDEX runs_by_agent ON runs (agent_id, seq);
-- Only runs that are not over: what recovery, cancel and the queue look for.
CREATE INDEX runs_open ON runs (conversation_id, seq) WHERE status IN ('created', 'running');

CREATE TABLE steps (
    seq @serial,
    id @text NOT NULL UNIQUE,
    organization_id @text NOT NULL,
    run_id @text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    agent_id @text NOT NULL,
    subject @text,
    position BIGINT NOT NULL,
    status @text NOT NULL,
    stop_reason @text,
    provider_name @text NOT NULL,
    model @text NOT NULL,
    model_handle @text NOT NULL,
    model_endpoint @text,
    context_window_limit BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    -- The model's answer while its tools run; empty once the step is closed.
    answer @text,
    error @text,
    feedback @text,
    tags @text,
    llm_request_ns BIGINT,
    created_at BIGINT NOT NULL,
    completed_at BIGINT,
    UNIQUE (run_id, position)
);
CREATE INDEX steps_by_agent ON steps (agent_id, seq);
CREATE INDEX steps_pending ON steps (run_id) WHERE status = 'pending';

-- Calls of tools with effects outside of this database, from before they start.
CREATE TABLE tool_calls (
    step_id @text NOT NULL REFERENCES steps (id) ON DELETE CASCADE,
    tool_call_id @text NOT NULL,
    position BIGINT NOT NULL,
    name @text NOT NULL,
    arguments @text NOT NULL,
    status @text NOT NULL,
    result @text,
    PRIMARY KEY (step_id, tool_call_id)
);

CREATE TABLE run_events (
    run_id @text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    subject @text,
    step_id @text,
    attempt BIGINT NOT NULL,
    -- A JSON list of consecutive events; `seq` is the number of the first.
    events @text NOT NULL,
    count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE traces (
    step_id @text PRIMARY KEY REFERENCES steps (id) ON DELETE CASCADE,
    organization_id @text NOT NULL,
    subject @text,
    prompt_hash @text,
    tools_hash @text,
    message_range @text,
    parameters @text,
    request @text,
    response @text,
    created_at BIGINT NOT NULL
);

CREATE TABLE jobs (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    agent_id @text REFERENCES agents (id) ON DELETE CASCADE,
    subject @text,
    kind @text NOT NULL,
    status @text NOT NULL,
    payload @text NOT NULL,
    result @text,
    error @text,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    lease_owner @text,
    lease_expires_at BIGINT,
    created_by @text,
    created_at BIGINT NOT NULL,
    completed_at BIGINT
);
CREATE INDEX jobs_due ON jobs (run_at) WHERE status IN ('created', 'running');
CREATE INDEX jobs_by_creation ON jobs (organization_id, created_at, id);

CREATE TABLE archives (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    subject @text,
    name @text NOT NULL,
    description @text,
    embedding_config @text,
    embedding_model @text,
    metadata @text,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX archives_by_creation ON archives (organization_id, created_at, id);

CREATE TABLE agents_archives (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    archive_id @text NOT NULL REFERENCES archives (id) ON DELETE CASCADE,
    is_owner BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (agent_id, archive_id)
) @by_key;
CREATE INDEX agents_archives_by_archive ON agents_archives (archive_id);

CREATE TABLE folders (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    subject @text,
    name @text NOT NULL,
    description @text,
    instructions @text,
    embedding_config @text,
    metadata @text,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

CREATE TABLE files (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    folder_id @text NOT NULL REFERENCES folders (id) ON DELETE CASCADE,
    subject @text,
    file_name @text NOT NULL,
    original_name @text,
    file_type @text,
    file_size BIGINT,
    content @text,
    processing_status @text NOT NULL,
    error @text,
    total_chunks BIGINT,
    chunks_embedded BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX files_by_folder ON files (folder_id, created_at, id);

CREATE TABLE agents_folders (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    folder_id @text NOT NULL REFERENCES folders (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (agent_id, folder_id)
) @by_key;

CREATE TABLE agents_files (
    id @text PRIMARY KEY,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    file_id @text NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    subject @text,
    is_open BIGINT NOT NULL,
    start_line BIGINT,
    end_line BIGINT,
    last_accessed_at BIGINT NOT NULL,
    UNIQUE (agent_id, file_id)
);

CREATE TABLE passages (
    seq @serial,
    id @text NOT NULL UNIQUE,
    organization_id @text NOT NULL,
    archive_id @text REFERENCES archives (id) ON DELETE CASCADE,
    file_id @text REFERENCES files (id) ON DELETE CASCADE,
    subject @text,
    text @text NOT NULL,
    text_hash @text NOT NULL,
    tags @text NOT NULL,
    metadata @text,
    embed_state @text NOT NULL,
    embedding @bytes,
    embedding_model @text,
    created_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX passages_by_archive ON passages (archive_id, created_at, id);
CREATE INDEX passages_by_file ON passages (file_id, seq);

CREATE TABLE passage_tags (
    passage_id @text NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
    archive_id @text,
    tag @text NOT NULL,
    PRIMARY KEY (passage_id, tag)
) @by_key;
CREATE INDEX passage_tags_by_tag ON passage_tags (archive_id, tag);

CREATE TABLE identities (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    identifier_key @text NOT NULL,
    name @text NOT NULL,
    identity_type @text NOT NULL,
    properties @text NOT NULL,
    project_id @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX identities_by_key
    ON identities (organization_id, identifier_key, (COALESCE(project_id, '')));

CREATE TABLE agents_identities (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    identity_id @text NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, identity_id)
) @by_key;
CREATE INDEX agents_identities_by_identity ON agents_identities (identity_id);

CREATE TABLE blocks_identities (
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    identity_id @text NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    PRIMARY KEY (block_id, identity_id)
) @by_key;
CREATE INDEX blocks_identities_by_identity ON blocks_identities (identity_id);

CREATE TABLE agent_groups (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    manager_type @text NOT NULL,
    manager_agent_id @text REFERENCES agents (id) ON DELETE CASCADE,
    manager_config @text NOT NULL,
    description @text,
    project_id @text,
    hidden BIGINT,
    turns_counter BIGINT,
    last_processed_message_id @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX agent_groups_by_manager ON agent_groups (manager_agent_id);

CREATE TABLE groups_agents (
    group_id @text NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (group_id, agent_id)
) @by_key;
CREATE INDEX groups_agents_by_agent ON groups_agents (agent_id);

CREATE TABLE providers (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    name @text NOT NULL,
    provider_type @text NOT NULL,
    base_url @text,
    region @text,
    api_version @text,
    api_key @bytes,
    access_key @bytes,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

CREATE TABLE mcp_servers (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    server_name @text NOT NULL,
    server_type @text NOT NULL,
    config @text NOT NULL,
    secrets @bytes,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, server_name)
);
