-- What a group keeps of each end user for whom its manager works; the empty text is nobody.
CREATE TABLE group_turns (
    group_id @text NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
    subject @text NOT NULL,
    turns_counter BIGINT NOT NULL,
    -- The last message that a member was given, the run in which it was, and the last before that run's.
    last_processed_message_id @text,
    run_id @text,
    began_after @text,
    PRIMARY KEY (group_id, subject)
) @by_key;

-- The threads in which the members of a group speak.
CREATE TABLE group_threads (
    group_id @text NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
    agent_id @text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    subject @text NOT NULL,
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, agent_id, subject)
) @by_key;
CREATE INDEX group_threads_by_agent ON group_threads (agent_id);
CREATE INDEX group_threads_by_conversation ON group_threads (conversation_id);

CREATE TABLE groups_blocks (
    group_id @text NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (group_id, block_id)
) @by_key;
CREATE INDEX groups_blocks_by_block ON groups_blocks (block_id);

ALTER TABLE agent_groups DROP COLUMN turns_counter;
ALTER TABLE agent_groups DROP COLUMN last_processed_message_id;
-- The member that was made with the group, and is removed with it.
ALTER TABLE agent_groups ADD COLUMN companion_id @text;
CREATE INDEX agent_groups_by_creation ON agent_groups (organization_id, created_at, id);
