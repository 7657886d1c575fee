-- Who was given which plan; whoever is not here has the usual one of their kind (mnemic.toml).
CREATE TABLE plan_holders (
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    kind @text NOT NULL,
    holder @text NOT NULL,
    plan @text NOT NULL,
    PRIMARY KEY (organization_id, kind, holder)
) @by_key;

-- What holders of plans used in the present minute, day and month. Counts and not sums of rows: deleting what was said gives nothing back.
CREATE TABLE usage_windows (
    organization_id @text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    kind @text NOT NULL,
    holder @text NOT NULL,
    period @text NOT NULL,
    starts_at BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    cost_micros BIGINT NOT NULL,
    PRIMARY KEY (organization_id, kind, holder, period)
) @by_key;

-- What a batch takes counts for the key with which it was asked for.
ALTER TABLE batches ADD COLUMN api_key_id @text;
