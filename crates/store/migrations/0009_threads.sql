-- What clients keep with a thread, its own blocks, and where its first messages come from.
ALTER TABLE conversations ADD COLUMN description @text;
ALTER TABLE conversations ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN archived_at BIGINT;
ALTER TABLE conversations ADD COLUMN context_window_limit BIGINT;

-- Blocks that a thread has in place of its agent's blocks of the same label.
CREATE TABLE conversations_blocks (
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    label @text NOT NULL,
    block_id @text NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, label)
) @by_key;
CREATE INDEX conversations_blocks_by_block ON conversations_blocks (block_id);

-- A fork shares the messages of the thread that it was made of, and of those which that one was made of, up to a
-- number in the order of arrival.
CREATE TABLE conversation_origins (
    conversation_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    origin_id @text NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    up_to BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, origin_id)
) @by_key;
CREATE INDEX conversation_origins_by_origin ON conversation_origins (origin_id);
