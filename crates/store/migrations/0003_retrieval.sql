-- Retrieval: the text index is made in memory from the rows themselves, so that the rows are the only truth; vectors
-- stand in a table of their own, which the background worker fills.

DROP TABLE passage_tags;
ALTER TABLE passages DROP COLUMN text_hash;
ALTER TABLE passages DROP COLUMN embed_state;
ALTER TABLE passages DROP COLUMN embedding;
ALTER TABLE passages DROP COLUMN embedding_model;

-- How many passages it holds. Whoever writes passages changes it first, and so holds the row: passages become visible in
-- the order of their numbers.
ALTER TABLE archives ADD COLUMN passage_count BIGINT NOT NULL DEFAULT 0;
CREATE INDEX passages_in_order ON passages (archive_id, seq);

-- The archive into which an agent's passages go; others that are attached to it are searched as well.
CREATE UNIQUE INDEX agents_archives_owned ON agents_archives (agent_id) WHERE is_owner = 1;

-- One row per text and model: the vectors of its chunks one after the other, as 16-bit floats.
CREATE TABLE vectors (
    seq @serial,
    -- The agent whose message it is, or the archive.
    scope @text NOT NULL,
    -- The message's or passage's seq.
    item BIGINT NOT NULL,
    -- The model with the hash of its weights: vectors of different models are never compared.
    model @text NOT NULL,
    dims BIGINT NOT NULL,
    data @bytes NOT NULL
);
CREATE UNIQUE INDEX vectors_by_item ON vectors (scope, model, item);
CREATE INDEX vectors_in_order ON vectors (scope, model, seq);

-- Which texts have their vectors, by agent (its messages) or archive: all up to `done_to`, for `model`.
CREATE TABLE embed_scopes (
    scope @text PRIMARY KEY,
    organization_id @text NOT NULL,
    kind @text NOT NULL,
    model @text,
    done_to BIGINT NOT NULL,
    -- When texts came in that are not embedded yet; NULL when none are.
    dirty_at BIGINT
);
CREATE INDEX embed_scopes_dirty ON embed_scopes (dirty_at) WHERE dirty_at IS NOT NULL;

-- Up to which row the worker has looked for new texts, by table.
CREATE TABLE embed_cursors (
    name @text PRIMARY KEY,
    seen_to BIGINT NOT NULL,
    owner @text,
    lease_expires_at BIGINT
) @by_key;
