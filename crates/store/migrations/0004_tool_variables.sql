-- What all tools of an organization that people wrote have in common: packages, and variables with encrypted values.
CREATE TABLE sandbox_configs (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL UNIQUE,
    use_venv BIGINT NOT NULL,
    venv_name @text NOT NULL,
    pip_requirements @text NOT NULL,
    -- Sets of packages that were installed before are not used any more; NULL when all are.
    packages_since BIGINT,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE sandbox_variables (
    id @text PRIMARY KEY,
    organization_id @text NOT NULL,
    config_id @text NOT NULL REFERENCES sandbox_configs (id) ON DELETE CASCADE,
    key @text NOT NULL,
    value @bytes NOT NULL,
    description @text,
    created_by @text,
    updated_by @text,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (config_id, key)
);
CREATE INDEX sandbox_variables_by_creation ON sandbox_variables (config_id, created_at, id);

-- A client's own name for a step.
ALTER TABLE steps ADD COLUMN transaction_id @text;
