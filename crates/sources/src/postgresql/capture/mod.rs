//! One consistent state of the database into the sink.
//!
//! 1. Connection 0 takes a snapshot, exports it, locks every table and looks whether one was rewritten in between
//!    (`snapshot`, `locks`).
//! 2. `pg_dump` writes the table of contents of that snapshot and is ended (`toc`); meanwhile the tables are counted
//!    (`tables`) and it is decided how each is read (`plan`).
//! 3. Several connections read the rows in the same snapshot (`workers`), cut into blocks at rows (`rows`, `blocks`).
//!
//! Where the table of contents does not fit, `pg_dump`'s own stream is taken apart or kept whole (`whole`).

pub(super) mod blocks;
mod facts;
mod globals;
mod large_objects;
mod locks;
mod manifest;
mod names;
mod plan;
mod pooler;
mod process;
mod rows;
mod snapshot;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod toc;
mod whole;
mod workers;

use std::collections::HashMap;

use self::{
    globals::Globals,
    manifest::Streams,
    names::Directories,
    plan::Plan,
    snapshot::Snapshot,
    table::{TableWork, Tally},
    tables::Found,
    toc::Dump,
};
use super::{
    dump::Archive,
    layout::{Captured, How, LARGE_OBJECTS, LargeObjects, TOC, Table, Whole},
    settings::Settings,
    tools::Tools,
};
use crate::{CaptureManifest, CaptureSink, Cutting, Result, SourceError, StreamOptions, StreamSummary, Warning};

/// What `pg_stat_activity` shows of our connections.
const PURPOSE: &str = "trivault backup";
/// How often a capture begins anew when definitions change just then.
const ATTEMPTS: u32 = 3;
const STANDBY_HINT: &str = "Raise max_standby_streaming_delay on the standby or set hot_standby_feedback = on, or take \
     the backup from the primary.";

pub(super) fn capture(settings: &Settings, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
    if sink.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    let tools = Tools::find(settings)?;
    let mut globals = None;
    let mut attempt = 1;
    let (mut snapshot, found, dump) = loop {
        match begin(settings, &tools, sink, &mut globals) {
            Err(error) if attempt < ATTEMPTS && overtaken(&error) => {
                sink.log(&format!("{} The capture begins anew.", error.sentence));
                attempt += 1;
            }
            begun => break begun?,
        }
    };
    if snapshot.is_standby {
        warn_of_unlogged(sink, &found);
    }
    let mut course = Course { settings, tools: &tools, sink, streams: Streams::default() };
    let finished = course.rows(&mut snapshot, dump, found)?;
    match globals {
        None => {}
        Some(Ok(globals)) => {
            if let Some(summary) = globals.finish(sink)? {
                course.streams.add(super::layout::ROLES, summary);
            }
        }
        Some(Err(error)) => globals::warn(sink, &error.sentence),
    }
    course.finish(snapshot, finished)
}

/// Snapshot, census and table of contents; beside them, once, the roles.
fn begin(
    settings: &Settings,
    tools: &Tools,
    sink: &dyn CaptureSink,
    globals: &mut Option<Result<Globals>>,
) -> Result<(Snapshot, HashMap<u32, Found>, Dump)> {
    let mut snapshot = Snapshot::open(settings, sink, PURPOSE)?;
    let version = snapshot.session.server_version();
    globals.get_or_insert_with(|| Globals::start(settings, tools, version, PURPOSE));
    let pending = toc::start(settings, tools, version, &snapshot.name, PURPOSE)?;
    let check = || if sink.is_cancelled() { Err(SourceError::cancelled()) } else { Ok(()) };
    let mut found = tables::census(&mut snapshot.session, &check).map_err(|error| locks::explain(settings, error))?;
    for table in found.values_mut().filter(|table| snapshot.held.empty.contains(&table.oid)) {
        // Whatever it has now came after the snapshot.
        table.pages = 0;
    }
    let dump = pending.wait(sink)?;
    Ok((snapshot, found, dump))
}

/// Whether `pg_dump` failed because somebody changed definitions between the snapshot and the locks, which it reads half
/// as they were and half as they are, or because somebody waits to change them and it stood behind. With a new snapshot,
/// when our locks were gone for a moment, it passes.
fn overtaken(error: &SourceError) -> bool {
    let signs = [
        "cache lookup failed",
        "could not open relation with OID",
        "statement timeout",
        "lock timeout",
        "does not exist",
    ];
    error.sentence.starts_with("pg_dump: ") && signs.iter().any(|sign| error.sentence.contains(sign))
}

/// A capture after its beginning.
struct Course<'a, 's> {
    settings: &'a Settings,
    tools: &'a Tools,
    sink: &'s dyn CaptureSink,
    streams: Streams,
}

/// What the rows came to.
struct Finished {
    how: How,
    archive: Option<Archive>,
    tables: Vec<Table>,
    large_objects: Option<LargeObjects>,
    whole: Option<Whole>,
    /// Schema, name and bytes of tables whose rows nobody counted.
    uncounted: Vec<(String, String, u64)>,
}

impl<'s> Course<'_, 's> {
    /// Takes the rows in the best way that there is.
    fn rows(&mut self, snapshot: &mut Snapshot, dump: Dump, found: HashMap<u32, Found>) -> Result<Finished> {
        let Dump { running, output, consumed, archive } = dump;
        let archive = match archive {
            Ok(archive) => archive,
            Err(reason) => {
                self.falls_back("kept as pg_dump writes it", &reason);
                let whole = whole::keep(self, snapshot, running, output, &consumed)?;
                let uncounted = found.into_values().map(|table| (table.schema, table.name, table.bytes));
                return Ok(Finished {
                    how: How::Whole,
                    archive: None,
                    tables: Vec::new(),
                    large_objects: None,
                    whole: Some(whole),
                    uncounted: uncounted.collect(),
                });
            }
        };
        let summary = self.write(TOC, &consumed)?;
        self.streams.add(TOC, summary);
        drop(consumed);
        let (how, tables, large_objects) = match self.plans(snapshot, &archive, &found)? {
            Ok(plans) => {
                drop(output);
                running.stop();
                let (tables, objects) = self.copy(snapshot, &archive, plans)?;
                (How::Rows, tables, objects)
            }
            Err(reason) => {
                self.falls_back("taken from pg_dump's stream", &reason);
                let (tables, objects) = whole::split(self, snapshot, running, output, &archive, &found)?;
                (How::Split, tables, objects)
            }
        };
        Ok(Finished { how, archive: Some(archive), tables, large_objects, whole: None, uncounted: Vec::new() })
    }

    /// How each table of the table of contents is read; else why our own `COPY` cannot be used.
    fn plans(
        &self,
        snapshot: &mut Snapshot,
        archive: &Archive,
        found: &HashMap<u32, Found>,
    ) -> Result<Result<Vec<Plan>, String>> {
        if self.settings.whole_dump {
            return Ok(Err("the option whole_dump is set".to_owned()));
        }
        let previous = self.previous();
        let mut directories = Directories::default();
        let mut plans = Vec::new();
        for entry in archive.entries.iter().filter(|entry| entry.is_table_data()) {
            let Some(table) = found.get(&entry.oid) else {
                return Ok(Err(format!("the table {} is none that we know how to read", entry.tag.lossy())));
            };
            let directory = directories.name(&table.schema, &table.name);
            let previous = previous.get(&(table.schema.as_str(), table.name.as_str()));
            plans.push(Plan::new(&mut snapshot.session, table.clone(), entry.dump_id, directory, previous)?);
        }
        Ok(Ok(plans))
    }

    /// The tables of the previous backup.
    fn previous(&self) -> Previous {
        let manifest = self.sink.previous_manifest().filter(|manifest| manifest.kind == super::KIND);
        // What cannot be understood any more is not built on.
        let tables = manifest.and_then(|manifest| Captured::of(manifest).ok()).map(|captured| captured.tables);
        Previous(
            tables
                .unwrap_or_default()
                .into_iter()
                .map(|table| ((table.schema.clone(), table.name.clone()), table))
                .collect(),
        )
    }

    /// Reads all rows and large objects ourselves.
    fn copy(
        &mut self,
        snapshot: &mut Snapshot,
        archive: &Archive,
        plans: Vec<Plan>,
    ) -> Result<(Vec<Table>, Option<LargeObjects>)> {
        let groups = archive.large_object_groups()?;
        let tally = self.tally(plans.iter().map(|plan| &plan.found));
        let tables: Vec<TableWork<'s>> = plans.into_iter().map(|plan| TableWork::new(self.sink, plan)).collect();
        let objects = workers::read(self.settings, PURPOSE, self.sink, snapshot, &tables, &groups, &tally)?;
        tally.complete(self.sink);
        Ok((self.tables(tables), self.objects(objects)))
    }

    fn tally<'f>(&self, tables: impl Iterator<Item = &'f Found> + Clone) -> Tally {
        let known = tables.clone().all(|table| table.pages == 0 || table.tuples >= 1.0);
        let bytes = tables.clone().map(|table| table.bytes).sum();
        Tally::new(bytes, known.then(|| tables.map(|table| table.tuples.max(0.0) as u64).sum()))
    }

    fn tables(&mut self, tables: Vec<TableWork<'s>>) -> Vec<Table> {
        let table = |table: TableWork<'s>| {
            let (plan, done) = table.into_done();
            manifest::table(plan, done, &mut self.streams)
        };
        tables.into_iter().map(table).collect()
    }

    fn objects(&mut self, objects: Option<LargeObjects>) -> Option<LargeObjects> {
        if let Some(LargeObjects { length, crc32, .. }) = &objects {
            let summary = StreamSummary { length: *length, sha256: None, crc32: *crc32 };
            self.streams.add(&LARGE_OBJECTS.join("/"), summary);
        }
        objects
    }

    /// A stream that is in memory already.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<StreamSummary> {
        let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
        let mut out = self.sink.stream(&[name], options)?;
        out.write(bytes)?;
        out.finish()
    }

    fn falls_back(&self, how: &str, reason: &str) {
        self.sink.log(&format!("the rows are {how}, by one connection: {reason}"));
        self.sink.warn(Warning {
            code: "whole_dump".to_owned(),
            count: 1,
            sentence: format!("The rows were {how}, which is slower: {}.", reason.trim_end_matches('.')),
        });
    }

    /// The manifest, and good-bye to the server.
    fn finish(self, mut snapshot: Snapshot, finished: Finished) -> Result<CaptureManifest> {
        let Finished { how, archive, tables, large_objects, whole, uncounted } = finished;
        let session = &mut snapshot.session;
        let database = facts::database(session)?;
        let captured = Captured {
            how,
            server_version: session.server_version(),
            tool_version: self.tools.version.clone(),
            extensions: facts::extensions(session)?,
            roles: facts::roles(session, &database.owner, archive.as_ref())?,
            database,
            tables,
            large_objects,
            whole,
        };
        let counted = captured.tables.iter();
        let counted = counted.map(|table| (table.schema.as_str(), table.name.as_str(), table.rows, table.length));
        let others = uncounted.iter().map(|(schema, name, bytes)| (schema.as_str(), name.as_str(), 0, *bytes));
        let inventory = manifest::inventory(counted.chain(others), facts::indexes(session)?);
        snapshot.close()?;
        manifest::manifest(&captured, archive.as_ref(), self.streams, inventory)
    }
}

/// The tables of the previous backup by schema and name.
struct Previous(HashMap<(String, String), Table>);

impl Previous {
    fn get(&self, (schema, name): &(&str, &str)) -> Option<&Table> {
        self.0.get(&((*schema).to_owned(), (*name).to_owned()))
    }
}

/// A standby has nothing of them.
fn warn_of_unlogged(sink: &dyn CaptureSink, found: &HashMap<u32, Found>) {
    let mut names: Vec<String> =
        found.values().filter(|table| table.unlogged).map(|table| format!("{}.{}", table.schema, table.name)).collect();
    names.sort();
    if let Some(first) = names.first() {
        sink.warn(Warning {
            code: "unlogged_on_standby".to_owned(),
            count: names.len() as u64,
            sentence: format!(
                "The server is a standby, which has no rows of unlogged tables; {} were left out (first: {first}).",
                names.len()
            ),
        });
    }
}
