//! What is known of the database before it is captured.

use super::{probe, settings::Settings};
use crate::{Estimate, Result};

/// Bytes and rows of what a dump reads, as the server's statistics have them. Materialized views are filled anew by a restore,
/// and have no rows in a dump.
const SIZES: &str = "SELECT coalesce(sum(pg_catalog.pg_relation_size(c.oid) \
     + coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0)), 0)::bigint \
     + pg_catalog.pg_relation_size('pg_catalog.pg_largeobject'), \
     coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())";

/// Fails where a capture would, with the kind of that failure.
pub(super) fn estimate(settings: &Settings) -> Result<Estimate> {
    let mut session = probe::refuse(settings)?;
    let sizes = session.rows(SIZES)?;
    session.close();
    let number = |index: usize| {
        let text = sizes.first().and_then(|row: &Vec<Option<String>>| row.get(index).cloned().flatten());
        text.and_then(|text| text.parse().ok())
    };
    Ok(Estimate { bytes: number(0), items: number(1) })
}
