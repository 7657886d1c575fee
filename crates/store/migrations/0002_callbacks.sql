-- What became of posting a run's end to its callback_url.
ALTER TABLE runs ADD COLUMN callback_sent_at BIGINT;
ALTER TABLE runs ADD COLUMN callback_status_code BIGINT;
ALTER TABLE runs ADD COLUMN callback_error @text;
