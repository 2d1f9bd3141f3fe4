//! Progress and cancellation.

use crate::{CaptureSink, Progress, Result, SourceError};

/// Bytes between two reports.
const REPORT_BYTES: u64 = 4 * 1024 * 1024;
/// Entries between two reports.
const REPORT_ITEMS: u64 = 512;

pub(super) struct Pace<'s> {
    sink: &'s dyn CaptureSink,
    progress: Progress,
    reported: Progress,
}

impl<'s> Pace<'s> {
    pub fn new(sink: &'s dyn CaptureSink) -> Self {
        // The previous backup is the best guess of what is to come, and costs nothing.
        let items_total = sink.previous_manifest().map(|manifest| manifest.items);
        let progress = Progress { items_total, ..Progress::default() };
        Self { sink, progress, reported: progress }
    }

    pub fn check(&self) -> Result<()> {
        if self.sink.is_cancelled() { Err(SourceError::cancelled()) } else { Ok(()) }
    }

    pub fn read(&mut self, bytes: u64) {
        self.progress.bytes_read += bytes;
        if self.progress.bytes_read - self.reported.bytes_read >= REPORT_BYTES {
            self.tell();
        }
    }

    pub fn item(&mut self) {
        self.progress.items += 1;
        if self.progress.items - self.reported.items >= REPORT_ITEMS {
            self.tell();
        }
    }

    pub fn tell(&mut self) {
        self.reported = self.progress;
        self.sink.progress(self.progress);
    }
}
