-- Calls of models that are no step of a run: summaries, and `generate`. They are kept for what they took alone.
CREATE TABLE model_calls (
    seq @serial,
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    subject @text,
    api_key_id @text,
    model_endpoint @text,
    model @text NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX model_calls_by_time ON model_calls (organization_id, created_at);
CREATE INDEX model_calls_by_agent ON model_calls (agent_id, created_at);
CREATE INDEX model_calls_by_person ON model_calls (organization_id, subject, created_at) WHERE subject IS NOT NULL;
CREATE INDEX model_calls_by_key ON model_calls (api_key_id, created_at) WHERE api_key_id IS NOT NULL;
