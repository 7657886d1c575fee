-- What a month took is summed from runs and their steps as they are; these indexes find the runs of a month.
ALTER TABLE runs ADD COLUMN api_key_id @text;
CREATE INDEX runs_by_time ON runs (organization_id, created_at);
CREATE INDEX runs_by_agent_and_time ON runs (agent_id, created_at);
CREATE INDEX runs_by_person_and_time ON runs (organization_id, subject, created_at) WHERE subject IS NOT NULL;
CREATE INDEX runs_by_key_and_time ON runs (api_key_id, created_at) WHERE api_key_id IS NOT NULL;
