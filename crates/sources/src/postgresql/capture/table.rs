//! One table while its ranges are read, and the figures of all.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{blocks::TableBlocks, plan::Plan, rows::RangeWriter};
use crate::{CaptureSink, Progress, Result, StreamSummary, postgresql::layout::Range};

/// A table and what became of it.
pub(super) struct TableWork<'s> {
    pub plan: Plan,
    blocks: TableBlocks<'s>,
    state: Mutex<TableState>,
}

#[derive(Default)]
struct TableState {
    ranges: BTreeMap<u32, Range>,
    finished: u32,
    done: TableDone,
}

/// A table that was read to its end.
#[derive(Clone, Default)]
pub(super) struct TableDone {
    pub rows: u64,
    pub length: u64,
    pub ranges: Vec<Range>,
    pub blocks: u64,
    pub manifest: Option<StreamSummary>,
}

impl<'s> TableWork<'s> {
    pub(super) fn new(sink: &'s dyn CaptureSink, plan: Plan) -> Self {
        let shape = &plan.shape;
        let blocks = TableBlocks::new(sink, &plan.directory, shape.order, shape.comparison, shape.has_key());
        Self { plan, blocks, state: Mutex::default() }
    }

    /// The stream of one range.
    pub(super) fn writer<'t>(&'t self, sink: &'s dyn CaptureSink, range: u32, stream: &'t str) -> RangeWriter<'t, 's> {
        let Plan { directory, shape, .. } = &self.plan;
        RangeWriter::new(sink, directory, stream, shape, self.blocks.range(range), self.blocks.filtered())
    }

    /// Ends a range, and with the last one the table. Answers the bytes and rows that nobody was told of yet.
    pub(super) fn finish_range(&self, range: u32, stream: &str, writer: RangeWriter<'_, '_>) -> Result<(u64, u64)> {
        let (rows, news) = writer.finish()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = rows {
            let StreamSummary { length, crc32, .. } = rows.summary;
            let facts =
                Range { stream: stream.to_owned(), rows: rows.rows, length, crc32, framed_crc32: rows.framed_crc32 };
            state.ranges.insert(range, facts);
        }
        state.finished += 1;
        if state.finished == self.plan.range_count() {
            let (blocks, manifest) = self.blocks.finish()?;
            let ranges: Vec<Range> = std::mem::take(&mut state.ranges).into_values().collect();
            state.done = TableDone {
                rows: ranges.iter().map(|range| range.rows).sum(),
                length: ranges.iter().map(|range| range.length).sum(),
                ranges,
                blocks,
                manifest,
            };
        }
        Ok(news)
    }

    pub(super) fn into_done(self) -> (Plan, TableDone) {
        (self.plan, self.state.into_inner().unwrap_or_else(PoisonError::into_inner).done)
    }
}

/// Figures for whoever watches.
pub(super) struct Tally {
    bytes_total: u64,
    items_total: Option<u64>,
    bytes: AtomicU64,
    rows: AtomicU64,
}

impl Tally {
    /// What is expected: bytes as the tables take them on the server's disk, which is not what `COPY` writes.
    pub(super) fn new(bytes_total: u64, items_total: Option<u64>) -> Self {
        Self { bytes_total, items_total, bytes: AtomicU64::new(0), rows: AtomicU64::new(0) }
    }

    pub(super) fn add(&self, sink: &dyn CaptureSink, (bytes, rows): (u64, u64)) {
        let bytes_read = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let items = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        sink.progress(Progress {
            bytes_read,
            bytes_total: Some(self.bytes_total.max(bytes_read)),
            items,
            items_total: self.items_total.map(|total| total.max(items)),
        });
    }

    /// At the end the whole is what was read.
    pub(super) fn complete(&self, sink: &dyn CaptureSink) {
        let (bytes, rows) = (self.bytes.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed));
        sink.progress(Progress { bytes_read: bytes, bytes_total: Some(bytes), items: rows, items_total: Some(rows) });
    }
}
