-- Batches of messages. Each request becomes one run, whose id is chosen before it begins, so that no crash makes two.
CREATE TABLE batches (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    subject @text,
    status @text NOT NULL,
    callback_url @text,
    callback_sent_at BIGINT,
    callback_status_code BIGINT,
    callback_error @text,
    created_by @text,
    created_at BIGINT NOT NULL,
    completed_at BIGINT
);
CREATE INDEX batches_by_creation ON batches (organization_id, created_at, id);

CREATE TABLE batch_requests (
    -- The order in which requests are begun.
    seq @serial,
    batch_id @text NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    -- No reference: what became of a request stays when its agent goes.
    agent_id @text NOT NULL,
    request @text NOT NULL,
    status @text NOT NULL,
    owner @text,
    run_id @text NOT NULL UNIQUE,
    error @text,
    UNIQUE (batch_id, position)
);
CREATE INDEX batch_requests_open ON batch_requests (seq) WHERE status IN ('created', 'running');

-- Runs that are listed as jobs.
CREATE INDEX runs_in_background ON runs (organization_id, created_at, id) WHERE background = 1;

ALTER TABLE organizations ADD COLUMN privileged_tools BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN updated_at BIGINT;
CREATE INDEX users_by_creation ON users (created_at, id);
CREATE INDEX users_by_organization ON users (organization_id);
CREATE INDEX organizations_by_creation ON organizations (created_at, id);
-- Users that were deleted: unlike unknown ones, they do not act as the default user.
CREATE TABLE former_users (
    id @text PRIMARY KEY
) @by_key;
