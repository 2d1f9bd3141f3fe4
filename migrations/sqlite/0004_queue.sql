-- The order of the queue: a job's creation, brought forward by its priority. It never changes, so that an index has it, and a job of
-- low priority gets older than newer ones of higher priority: none waits for ever.
ALTER TABLE jobs ADD COLUMN rank_at TEXT NOT NULL DEFAULT '';
-- Why the job waited when somebody last looked; a sentence that stands in its log as well.
ALTER TABLE jobs ADD COLUMN waiting TEXT;
ALTER TABLE job_scopes ADD COLUMN rank_at TEXT NOT NULL DEFAULT '';
UPDATE jobs SET rank_at = created_at WHERE finished_at IS NULL;
UPDATE job_scopes SET rank_at = (SELECT j.rank_at FROM jobs j WHERE j.id = job_id);
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (rank_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running_of_store ON jobs (store_id) WHERE state = 'running';
-- Who waits for a resource, in the queue's order: those that want it alone, and those that would share it.
CREATE INDEX job_scopes_waiting_alone ON job_scopes (resource_id, resource, rank_at) WHERE exclusive AND NOT running;
CREATE INDEX job_scopes_waiting_shared ON job_scopes (resource_id, resource, rank_at) WHERE NOT exclusive AND NOT running;
