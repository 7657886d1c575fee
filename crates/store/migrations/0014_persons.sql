-- What is an end user's is found without reading what is everybody's, and runs by their conversation: to be forgotten, and to
-- know a request that comes again.
CREATE INDEX conversations_by_subject ON conversations (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX passages_by_subject ON passages (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX blocks_by_subject ON blocks (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX archives_by_subject ON archives (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX messages_by_subject ON messages (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX runs_by_subject ON runs (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX jobs_by_subject ON jobs (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX batches_by_subject ON batches (organization_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX runs_by_conversation ON runs (conversation_id, seq);
