-- The runs that the end of a run began, as a JSON list: who asks for it again hears of the same ones.
ALTER TABLE runs ADD COLUMN follow_ups @text;
-- Traces are deleted by their age.
CREATE INDEX traces_by_age ON traces (created_at);
