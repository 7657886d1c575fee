-- Retrieval: the text index is made in memory from the rows themselves, so that the rows are the only truth; vectors
-- stand in a table of their own, which the background worker fills.

-- Numbers of passages are never given twice, so that whoever goes on from the last number that it has read misses none,
-- also after the newest was deleted.
DROP TABLE passage_tags;
DROP INDEX passages_by_archive;
DROP INDEX passages_by_file;
ALTER TABLE passages RENAME TO passages_before;
CREATE TABLE passages (
    seq @numbered,
    id @text NOT NULL UNIQUE,
    organization_id @text NOT NULL,
    archive_id @text REFERENCES archives (id) ON DELETE CASCADE,
    file_id @text REFERENCES files (id) ON DELETE CASCADE,
    subject @text,
    text @text NOT NULL,
    tags @text NOT NULL,
    metadata @text,
    created_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO passages (id, organization_id, archive_id, file_id, subject, text, tags, metadata, created_by, created_at, updated_at)
    SELECT id, organization_id, archive_id, file_id, subject, text, tags, metadata, created_by, created_at, updated_at
    FROM passages_before ORDER BY seq;
DROP TABLE passages_before;
CREATE INDEX passages_by_archive ON passages (archive_id, created_at, id);
CREATE INDEX passages_by_file ON passages (file_id, seq);

-- How many passages it holds. Whoever writes passages changes it first, and so holds the row: passages become visible in
-- the order of their numbers.
ALTER TABLE archives ADD COLUMN passage_count BIGINT NOT NULL DEFAULT 0;
UPDATE archives SET passage_count = (SELECT COUNT(*) FROM passages WHERE passages.archive_id = archives.id);
CREATE INDEX passages_in_order ON passages (archive_id, seq);

-- The archive into which an agent's passages go; others that are attached to it are searched as well.
UPDATE agents_archives SET is_owner = 0 WHERE is_owner = 1 AND EXISTS (
    SELECT 1 FROM agents_archives other WHERE other.agent_id = agents_archives.agent_id
        AND other.is_owner = 1 AND other.archive_id < agents_archives.archive_id);
CREATE UNIQUE INDEX agents_archives_owned ON agents_archives (agent_id) WHERE is_owner = 1;

-- One row per text and model: the vectors of its chunks one after the other, as 16-bit floats.
CREATE TABLE vectors (
    seq @numbered,
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
    -- When texts came in that are not embedded yet; NULL when none are. Negative: when their model failed.
    dirty_at BIGINT,
    -- The process that embeds them, and until when the others leave them to it.
    owner @text,
    owned_until BIGINT
);
CREATE INDEX embed_scopes_dirty ON embed_scopes (dirty_at) WHERE dirty_at IS NOT NULL;

-- Up to which row the worker has looked for new texts, by table.
CREATE TABLE embed_cursors (
    name @text PRIMARY KEY,
    seen_to BIGINT NOT NULL
) @by_key;
