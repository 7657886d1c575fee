-- Lists of identities are read in the order in which they were made.
CREATE INDEX identities_by_creation ON identities (organization_id, created_at, id);
