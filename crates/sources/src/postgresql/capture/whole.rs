//! When our own `COPY` cannot be used: `pg_dump`'s stream, taken apart in flight, or kept as it is.

use std::{
    collections::HashMap,
    io::{BufReader, Read},
    process::ChildStdout,
};

use super::{
    Course,
    large_objects::{Objects, Payloads},
    names::Directories,
    plan::Plan,
    process::Running,
    rows::RangeWriter,
    snapshot::Snapshot,
    table::TableWork,
    tables::Found,
};
use crate::{
    Cutting, Result, SourceError, StreamOptions,
    postgresql::{
        dump::{Archive, DumpError, Event, Splitter},
        layout::{LargeObjects, Table, WHOLE, Whole},
    },
};

/// Bytes that are handed on at once.
const READ_BYTES: usize = 256 * 1024;
/// The name of a table's only stream.
const STREAM: &str = "0000.copy";

/// Keeps all that `pg_dump` writes. Answers what it was.
pub(super) fn keep(
    course: &mut Course<'_, '_>,
    snapshot: &mut Snapshot,
    running: Running,
    mut output: BufReader<ChildStdout>,
    consumed: &[u8],
) -> Result<Whole> {
    let sink = course.sink;
    let tally = course.tally(std::iter::empty());
    let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
    let mut out = sink.stream(&[WHOLE], options)?;
    out.write(consumed)?;
    tally.add(sink, (consumed.len() as u64, 0));
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = output.read(&mut buffer).map_err(DumpError::Io)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        out.write(bytes)?;
        tally.add(sink, (read as u64, 0));
        attend(course, snapshot)?;
    }
    // Only its exit says that it was all.
    running.finish()?;
    let summary = out.finish()?;
    course.streams.add(WHOLE, summary);
    tally.complete(sink);
    Ok(Whole { length: summary.length, crc32: summary.crc32 })
}

/// Takes `pg_dump`'s stream apart into what our own `COPY` would have written.
pub(super) fn split<'s>(
    course: &mut Course<'_, 's>,
    snapshot: &mut Snapshot,
    running: Running,
    output: BufReader<ChildStdout>,
    archive: &Archive,
    found: &HashMap<u32, Found>,
) -> Result<(Vec<Table>, Option<LargeObjects>)> {
    let sink = course.sink;
    let tables = tables(course, archive, found);
    let tally = course.tally(tables.iter().map(|table| &table.plan.found));
    let by_dump_id: HashMap<i32, &TableWork<'s>> = tables.iter().map(|table| (table.plan.dump_id, table)).collect();
    let mut splitter = Splitter::new(output, archive)?;
    let mut payloads: Option<Payloads<'s>> = None;
    let mut target = Target::Nothing;
    loop {
        let event = match splitter.next_event() {
            Ok(event) => event,
            Err(error) => {
                // It ended too early: its own words say why.
                running.finish()?;
                return Err(error.into());
            }
        };
        match event {
            Event::DataBegin(dump_id) => {
                let table = by_dump_id.get(&dump_id).ok_or_else(unforeseen)?;
                target = Target::Rows(table, Box::new(table.writer(sink, 0, STREAM)));
            }
            Event::LargeObjectsBegin(dump_id) => {
                if payloads.is_none() {
                    payloads = Some(Payloads::begin(sink)?);
                }
                target = Target::Objects { dump_id, walk: Walk::Object };
            }
            Event::Bytes(bytes) => match &mut target {
                Target::Rows(_, writer) => {
                    writer.message(bytes)?;
                    tally.add(sink, writer.take_news());
                }
                Target::Objects { walk, .. } => {
                    let payloads = payloads.as_mut().ok_or_else(unforeseen)?;
                    if walk.step(bytes) {
                        payloads.count();
                    }
                    payloads.write(bytes)?;
                    tally.add(sink, (bytes.len() as u64, 0));
                }
                Target::Nothing => return Err(unforeseen()),
            },
            Event::DataEnd => match std::mem::replace(&mut target, Target::Nothing) {
                Target::Rows(table, writer) => {
                    let news = table.finish_range(0, STREAM, *writer)?;
                    tally.add(sink, news);
                }
                Target::Objects { dump_id, .. } => payloads.as_mut().ok_or_else(unforeseen)?.end_entry(dump_id),
                Target::Nothing => return Err(unforeseen()),
            },
            Event::End => break,
        }
        attend(course, snapshot)?;
    }
    drop(splitter);
    running.finish()?;
    tally.complete(sink);
    let objects = payloads.map(Payloads::finish).transpose()?.map(|Objects { facts }| facts);
    Ok((course.tables(tables), course.objects(objects)))
}

/// Where bytes go.
enum Target<'t, 's> {
    Nothing,
    Rows(&'t TableWork<'s>, Box<RangeWriter<'t, 's>>),
    Objects { dump_id: i32, walk: Walk },
}

/// Finds the beginnings of objects in a payload that comes integer by integer.
enum Walk {
    Object,
    Piece { left: u64 },
}

impl Walk {
    /// True where `bytes` begin another object.
    fn step(&mut self, bytes: &[u8]) -> bool {
        let number = || bytes.iter().skip(1).rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        match self {
            Self::Object => {
                let begins = number() != 0;
                if begins {
                    *self = Self::Piece { left: 0 };
                }
                begins
            }
            Self::Piece { left: 0 } => {
                let left = number();
                *self = if left == 0 { Self::Object } else { Self::Piece { left } };
                false
            }
            Self::Piece { left } => {
                *left = left.saturating_sub(bytes.len() as u64);
                false
            }
        }
    }
}

/// All tables of the table of contents; those that we know nothing of by what it says itself.
fn tables<'s>(course: &Course<'_, 's>, archive: &Archive, found: &HashMap<u32, Found>) -> Vec<TableWork<'s>> {
    let previous = course.previous();
    let mut directories = Directories::default();
    let table = |entry: &crate::postgresql::dump::Entry| {
        let table = found.get(&entry.oid).cloned().unwrap_or_else(|| {
            let schema = entry.namespace.as_ref().map(|schema| schema.lossy().into_owned()).unwrap_or_default();
            Found::unknown(entry.oid, schema, entry.tag.lossy().into_owned())
        });
        let directory = directories.name(&table.schema, &table.name);
        let known = previous.get(&(table.schema.as_str(), table.name.as_str())).cloned();
        TableWork::new(course.sink, Plan::foreign(table, entry.dump_id, directory, known.as_ref()))
    };
    archive.entries.iter().filter(|entry| entry.is_table_data()).map(table).collect()
}

fn attend(course: &Course<'_, '_>, snapshot: &mut Snapshot) -> Result<()> {
    if course.sink.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    snapshot.stay_awake()
}

fn unforeseen() -> SourceError {
    SourceError::new(crate::ErrorKind::Internal, "pg_dump's stream has data that its table of contents does not name.")
}
