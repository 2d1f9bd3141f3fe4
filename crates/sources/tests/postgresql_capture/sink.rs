//! A sink that tells a test what the capture just said.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use trivault_sources::{
    CaptureManifest, CaptureSink, NodeMeta, Progress, RandomRead, Result, StreamOptions, StreamSink, TreeSink, Warning,
    testing::MemorySink,
};

/// Calls back with each line of the log, on the capturing thread.
pub struct Told<F> {
    pub inner: MemorySink,
    pub on_line: F,
}

impl<F: Fn(&str) + Sync> CaptureSink for Told<F> {
    fn stream(&self, path: &[&str], options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        self.inner.stream(path, options)
    }

    fn tree(&self, root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>> {
        self.inner.tree(root)
    }

    fn previous_manifest(&self) -> Option<&CaptureManifest> {
        self.inner.previous_manifest()
    }

    fn previous_stream(&self, path: &[&str]) -> Result<Option<Box<dyn RandomRead>>> {
        self.inner.previous_stream(path)
    }

    fn progress(&self, progress: Progress) {
        self.inner.progress(progress);
    }

    fn warn(&self, warning: Warning) {
        self.inner.warn(warning);
    }

    fn log(&self, line: &str) {
        self.inner.log(line);
        (self.on_line)(line);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

/// Is cancelled from outside.
pub struct Stoppable<S> {
    pub inner: S,
    /// 1: cancelled.
    pub cancelled: Arc<AtomicU32>,
}

impl<S: CaptureSink> CaptureSink for Stoppable<S> {
    fn stream(&self, path: &[&str], options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        self.inner.stream(path, options)
    }

    fn tree(&self, root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>> {
        self.inner.tree(root)
    }

    fn previous_manifest(&self) -> Option<&CaptureManifest> {
        self.inner.previous_manifest()
    }

    fn previous_stream(&self, path: &[&str]) -> Result<Option<Box<dyn RandomRead>>> {
        self.inner.previous_stream(path)
    }

    fn progress(&self, progress: Progress) {
        self.inner.progress(progress);
    }

    fn warn(&self, warning: Warning) {
        self.inner.warn(warning);
    }

    fn log(&self, line: &str) {
        self.inner.log(line);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst) == 1 || self.inner.is_cancelled()
    }
}
