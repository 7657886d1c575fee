-- The thread that an agent keeps for one end user, made when that person speaks to it first.
CREATE TABLE own_threads (
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    subject @text NOT NULL,
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, subject)
) @by_key;
CREATE INDEX own_threads_by_conversation ON own_threads (conversation_id);
