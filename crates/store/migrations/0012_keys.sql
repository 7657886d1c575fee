-- Keys of the API. The secret itself is nowhere: `hash` is the SHA-256 of 256 random bits, which nobody can guess, so that no slow
-- hash is needed. A revoked key stays as a row: what was done with it is still told by its id.
CREATE TABLE api_keys (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id @text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name @text NOT NULL,
    scope @text NOT NULL,
    hash @text NOT NULL UNIQUE,
    hint @text NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_creation ON api_keys (organization_id, created_at, id);
CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- Tokens of end users. They are rows and not signed texts, so that one can be ended before its time, by whoever forgets the person,
-- deletes the agent or revokes the key that asked for it, and so that there is no signing key to lose or to share.
CREATE TABLE user_tokens (
    hash @text PRIMARY KEY,
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id @text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    subject @text NOT NULL,
    api_key_id @text REFERENCES api_keys (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) @by_key;
CREATE INDEX user_tokens_by_person ON user_tokens (organization_id, subject, agent_id);
CREATE INDEX user_tokens_by_agent ON user_tokens (agent_id);
CREATE INDEX user_tokens_by_user ON user_tokens (user_id);
CREATE INDEX user_tokens_by_key ON user_tokens (api_key_id);
CREATE INDEX user_tokens_by_expiry ON user_tokens (expires_at);
