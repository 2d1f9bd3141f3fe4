//! What a vault tells of its maintenance, passed on to the job.

use trivault_sources::Progress;
use trivault_vault::MaintenanceEvents;

use crate::run::RunContext;

pub(super) struct JobEvents<'c>(pub(super) &'c RunContext);

impl MaintenanceEvents for JobEvents<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.should_stop()
    }

    fn progress(&self, done_bytes: u64, total_bytes: u64) {
        self.0.progress(Progress { bytes_read: done_bytes, bytes_total: Some(total_bytes), ..Progress::default() });
    }

    fn note(&self, sentence: &str) {
        self.0.log(sentence);
    }

    fn point(&self, name: &str) {
        self.0.point(name);
    }
}
