-- When a provider's list of models was last read because a client wanted it.
ALTER TABLE providers ADD COLUMN last_synced BIGINT;
CREATE INDEX providers_by_creation ON providers (organization_id, created_at, id);
