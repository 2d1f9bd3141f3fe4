//! What is said of a capture when it is complete.

use std::collections::BTreeMap;

use super::{plan::Plan, table::TableDone};
use crate::{
    CaptureManifest, Collection, Inventory, Result, Scope, SourceError, StreamRecord, StreamSummary,
    postgresql::{
        KIND, download,
        dump::Archive,
        layout::{BLOCKS, Captured, DATA, FORMAT, Table},
    },
};

/// Streams by path.
#[derive(Default)]
pub(super) struct Streams(BTreeMap<String, StreamRecord>);

impl Streams {
    pub(super) fn add(&mut self, path: &str, summary: StreamSummary) {
        let StreamSummary { length, sha256, crc32 } = summary;
        self.0.insert(path.to_owned(), StreamRecord { length, sha256: sha256.map(hex::encode), crc32 });
    }
}

/// What the manifest keeps of a table.
pub(super) fn table(plan: Plan, done: TableDone, streams: &mut Streams) -> Table {
    let TableDone { rows, length, ranges, blocks, manifest } = done;
    for range in &ranges {
        let record = StreamRecord { length: range.length, sha256: None, crc32: range.crc32 };
        streams.0.insert(format!("{DATA}/{}/{}", plan.directory, range.stream), record);
    }
    if let Some(summary) = manifest {
        streams.add(&format!("{DATA}/{}/{BLOCKS}", plan.directory), summary);
    }
    Table {
        dump_id: plan.dump_id,
        columns: plan.found.column_list(),
        order: plan.shape.order,
        key: plan.found.key.clone(),
        key_columns: plan.found.key_columns(),
        block_rows: plan.shape.block_rows,
        schema: plan.found.schema,
        name: plan.found.name,
        directory: plan.directory,
        borders: plan.borders,
        rows,
        length,
        ranges,
        blocks,
    }
}

/// Schemas with their tables, in the order of their names.
pub(super) fn inventory<'t>(tables: impl Iterator<Item = (&'t str, &'t str, u64, u64)>, indexes: u64) -> Inventory {
    let mut scopes: BTreeMap<&str, Vec<Collection>> = BTreeMap::new();
    for (schema, name, items, size) in tables {
        scopes.entry(schema).or_default().push(Collection { name: name.to_owned(), items, size });
    }
    let scope = |(name, mut collections): (&str, Vec<Collection>)| {
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Scope { name: name.to_owned(), collections }
    };
    Inventory { scopes: scopes.into_iter().map(scope).collect(), indexes }
}

pub(super) fn manifest(
    captured: &Captured,
    archive: Option<&Archive>,
    streams: Streams,
    inventory: Inventory,
) -> Result<CaptureManifest> {
    let rows: u64 = captured.tables.iter().map(|table| table.length).sum();
    let objects = captured.large_objects.as_ref().map_or(0, |objects| objects.length);
    let details = serde_json::to_value(captured).map_err(|error| {
        SourceError::new(crate::ErrorKind::Internal, "The manifest cannot be written.").because(error)
    })?;
    Ok(CaptureManifest {
        format: FORMAT,
        kind: KIND.to_owned(),
        versions: BTreeMap::from([
            ("postgresql".to_owned(), version(captured.server_version)),
            ("pg_dump".to_owned(), captured.tool_version.clone()),
        ]),
        size: rows + objects + captured.whole.map_or(0, |whole| whole.length),
        items: captured.tables.iter().map(|table| table.rows).sum(),
        streams: streams.0,
        inventory,
        download: Some(download::record(captured, archive)?),
        details,
    })
}

/// 150018: `15.18`.
fn version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
