//! What is known of the database before it is captured.

use super::{session::Session, settings::Settings};
use crate::{Estimate, Result};

pub(super) fn estimate(settings: &Settings) -> Result<Estimate> {
    let mut session = Session::open(settings, "trivault estimate")?;
    let sizes = session.rows(
        "SELECT coalesce(sum(pg_catalog.pg_table_size(oid)), 0)::bigint, \
         coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_catalog.pg_class \
         WHERE relkind IN ('r', 'm') AND relnamespace NOT IN \
         (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')",
    )?;
    session.close();
    let number = |index: usize| {
        let text = sizes.first().and_then(|row: &Vec<Option<String>>| row.get(index).cloned().flatten());
        text.and_then(|text| text.parse().ok())
    };
    Ok(Estimate { bytes: number(0), items: number(1) })
}
