//! How long many small files take. Prints figures; asserts only what a defect would break.

use std::{fs, time::Instant};

use trivault_sources::{
    CaptureManifest, CaptureSink, NodeMeta, PreviousFile, Progress, RandomRead, Result, SourceDriver, StreamOptions,
    StreamSink, StreamSummary, Timestamp, TreeSink, Warning,
    testing::{MemorySink, MemoryStore},
};

use crate::support::*;

#[test]
fn fifty_thousand_small_files_are_captured_and_taken_over() {
    const DIRECTORIES: usize = 500;
    const FILES: usize = 100;
    let place = Place::in_memory();
    for directory in 0..DIRECTORIES {
        let path = place.live().join(format!("{directory:03}"));
        fs::create_dir(&path).unwrap();
        for file in 0..FILES {
            fs::write(path.join(format!("file-{file:03}.txt")), format!("{directory} {file} ").repeat(40)).unwrap();
        }
    }
    for turn in ["first", "second"] {
        measure(&format!("the driver alone, {turn} time"), || place.driver().capture(&Nowhere)).unwrap();
    }
    let store = MemoryStore::new();
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + 10;
    let sink = MemorySink::new(&store).captured_at(Timestamp { seconds: later, nanoseconds: 0 });
    let first = measure("captured into memory", || capture_into(&place.driver(), sink)).unwrap();
    let sink = MemorySink::new(&store).previous(&first.part);
    let second = measure("captured again, unchanged", || capture_into(&place.driver(), sink)).unwrap();
    measure("restored", || restore(&place.driver(), &second.part, &new_path(&place.path("back"))));
    assert_eq!(second.detail("reused"), (DIRECTORIES * FILES) as u64);
    assert_eq!(first.part.manifest().download, second.part.manifest().download);
    assert_eq!(contents(&place.path("back")).len(), DIRECTORIES * FILES);
}

/// Runs `work` and prints what it took.
fn measure<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (begun, before) = (Instant::now(), cpu_milliseconds());
    let outcome = work();
    let (user, system) = cpu_milliseconds();
    println!(
        "50 000 files, {what}: {:?}, CPU {} ms in the program and {} ms in the kernel",
        begun.elapsed(),
        user - before.0,
        system - before.1
    );
    outcome
}

/// User and system time of this process so far in milliseconds, from the kernel's hundredths of seconds.
fn cpu_milliseconds() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() * 10, fields[12].parse::<u64>().unwrap() * 10)
}

/// A sink that keeps nothing, so that only the driver's own work is measured.
struct Nowhere;

impl CaptureSink for Nowhere {
    fn stream(&self, _path: &[&str], _options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        Ok(Box::new(Length(0)))
    }

    fn tree(&self, _root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>> {
        Ok(Box::new(Self))
    }

    fn previous_manifest(&self) -> Option<&CaptureManifest> {
        None
    }

    fn previous_stream(&self, _path: &[&str]) -> Result<Option<Box<dyn RandomRead>>> {
        Ok(None)
    }

    fn progress(&self, _progress: Progress) {}

    fn warn(&self, _warning: Warning) {}

    fn log(&self, _line: &str) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

impl TreeSink for Nowhere {
    fn enter(&mut self, _name: &[u8], _meta: &NodeMeta) -> Result<()> {
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        Ok(())
    }

    fn file<'a>(&'a mut self, _: &[u8], _: &NodeMeta, _: StreamOptions) -> Result<Box<dyn StreamSink + 'a>> {
        Ok(Box::new(Length(0)))
    }

    fn special(&mut self, _name: &[u8], _meta: &NodeMeta) -> Result<()> {
        Ok(())
    }

    fn hard_link(&mut self, _name: &[u8], _meta: &NodeMeta, _first: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn previous(&mut self, _name: &[u8]) -> Result<Option<PreviousFile>> {
        Ok(None)
    }

    fn reuse(&mut self, _name: &[u8], _meta: &NodeMeta, _previous: &PreviousFile) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Length(u64);

impl StreamSink for Length {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }

    fn write_zeros(&mut self, length: u64) -> Result<()> {
        self.0 += length;
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<StreamSummary> {
        Ok(StreamSummary { length: self.0, sha256: None, crc32: 0 })
    }
}
