-- One agent and many people: whether it answers only to named users, and which common blocks and archives their turns may
-- change (a JSON list of labels and names; none is an empty list).
ALTER TABLE agents ADD COLUMN require_user BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN open_to_users @text;

-- The run in which a passage was made, so that a turn can be asked what it wrote.
ALTER TABLE passages ADD COLUMN run_id @text;
CREATE INDEX passages_by_run ON passages (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX block_versions_by_run ON block_versions (run_id) WHERE run_id IS NOT NULL;

-- What each person has in an archive. `archives.passage_count` counts what is common to all of them, so that nothing in one
-- person's prompt moves with what another one stores.
CREATE TABLE own_passage_counts (
    archive_id @text NOT NULL REFERENCES archives (id) ON DELETE CASCADE,
    subject @text NOT NULL,
    passage_count BIGINT NOT NULL,
    PRIMARY KEY (archive_id, subject)
) @by_key;
INSERT INTO own_passage_counts (archive_id, subject, passage_count)
    SELECT archive_id, subject, COUNT(*) FROM passages WHERE subject IS NOT NULL AND archive_id IS NOT NULL GROUP BY archive_id, subject;
UPDATE archives SET passage_count = (SELECT COUNT(*) FROM passages WHERE passages.archive_id = archives.id AND passages.subject IS NULL);
