-- Runs are listed by their time and summed by it: one index does both, where each turn wrote two.
DROP INDEX runs_by_agent;
DROP INDEX runs_by_agent_and_time;
DROP INDEX runs_by_conversation;
DROP INDEX runs_by_time;
CREATE INDEX runs_by_agent ON runs (agent_id, created_at, seq);
CREATE INDEX runs_by_conversation ON runs (conversation_id, created_at, seq);
CREATE INDEX runs_by_time ON runs (organization_id, created_at, seq);
