//! How each table is read: in which order, in which ranges, and cut how finely.
//!
//! What the previous backup did is done again, for any other choice stores the rows anew. Borders between ranges are the
//! exception: blocks are cut by keys, so that another border changes the one block that it falls into.

use super::{
    rows::{RowShape, block_rows},
    tables::Found,
};
use crate::{
    Result,
    postgresql::{
        layout::{Order, Table},
        session::{Session, literal, quote},
    },
};

/// Tables below this are read in key order and in one piece, bytes.
const SMALL_BYTES: u64 = 64 << 20;
/// From how well rows lie in the order of the key it is read in that order.
const CORRELATED: f64 = 0.9;
/// Pages of a range in physical order, where little is kept out of line.
const RANGE_PAGES: u64 = 32_768;
const FEWEST_RANGE_PAGES: u64 = 256;
/// What a range in physical order is to hold with what is kept out of line, bytes.
const RANGE_BYTES: u64 = 256 << 20;
/// Ranges in key order: one for so many bytes, and never more than so many.
const KEY_RANGE_BYTES: u64 = 64 << 20;
const MOST_KEY_RANGES: u64 = 64;
/// A table of fewer blocks may be cut otherwise than last time: it costs next to nothing, and its rows have told more.
const FEW_BLOCKS: u64 = 16;
/// Width of a row where nothing is known, bytes.
const USUAL_ROW_BYTES: f64 = 100.0;
/// The first version that reads a range of a table's pages without reading all.
const TID_RANGE_SCANS: u32 = 140_000;

/// One table on its way into the part.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub found: Found,
    pub dump_id: i32,
    pub directory: String,
    pub shape: RowShape,
    pub borders: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        session: &mut Session,
        found: Found,
        dump_id: i32,
        directory: String,
        previous: Option<&Table>,
    ) -> Result<Self> {
        let previous = previous.filter(|table| table.rows > 0);
        let (order, borders) = order(session, &found, previous)?;
        let rows = cut(session, &found, previous)?;
        let shape = RowShape::new(&found.key, found.comparison(), order, rows);
        Ok(Self { found, dump_id, directory, shape, borders })
    }

    /// A plan for rows that come in whatever order somebody else reads them.
    pub(super) fn foreign(found: Found, dump_id: i32, directory: String, previous: Option<&Table>) -> Self {
        let rows = previous.map_or_else(|| block_rows(by_statistics(&found)), |table| table.block_rows);
        let shape = RowShape::new(&found.key, found.comparison(), Order::Physical, rows);
        Self { found, dump_id, directory, shape, borders: Vec::new() }
    }

    pub(super) fn range_count(&self) -> u32 {
        u32::try_from(self.borders.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// What a range takes, about, bytes.
    pub(super) fn range_bytes(&self) -> u64 {
        self.found.bytes / u64::from(self.range_count())
    }

    /// `"schema"."table"`
    pub(super) fn quoted_name(&self) -> String {
        format!("{}.{}", quote(&self.found.schema), quote(&self.found.name))
    }

    /// For a person.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.found.schema, self.found.name)
    }

    /// The statement that reads a range.
    pub(super) fn copy_statement(&self, range: u32, encoding: &str) -> String {
        let Self { found, shape, borders, .. } = self;
        let (table, columns) = (self.quoted_name(), found.column_list());
        let encoding = match encoding {
            "UTF8" | "SQL_ASCII" => String::new(),
            other => format!(" WITH (ENCODING {})", literal(other)),
        };
        let range = range as usize;
        let low = range.checked_sub(1).and_then(|index| borders.get(index));
        let high = borders.get(range);
        let (column, value): (String, fn(&str) -> String) = match (shape.order, self.key_order()) {
            (Order::Key, Some(_)) => {
                let first = found.key.first().and_then(|position| found.columns.get(*position));
                (first.map(|column| column.quoted.clone()).unwrap_or_default(), literal)
            }
            _ => ("ctid".to_owned(), |page| format!("'({page},0)'::tid")),
        };
        let mut conditions: Vec<String> = Vec::new();
        conditions.extend(low.map(|low| format!("{column} >= {}", value(low))));
        conditions.extend(high.map(|high| format!("{column} < {}", value(high))));
        let condition = match &found.condition {
            Some(condition) => format!(" {condition}"),
            None if conditions.is_empty() => String::new(),
            None => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let order = match (shape.order, self.key_order()) {
            (Order::Key, Some(key)) if found.condition.is_none() => format!(" ORDER BY {key}"),
            _ => String::new(),
        };
        if condition.is_empty() && order.is_empty() && !columns.is_empty() {
            return format!("COPY {table} ({columns}) TO STDOUT{encoding}");
        }
        format!("COPY (SELECT {columns} FROM ONLY {table}{condition}{order}) TO STDOUT{encoding}")
    }

    fn key_order(&self) -> Option<String> {
        let columns = self.found.key.iter().filter_map(|position| self.found.columns.get(*position));
        let key: Vec<&str> = columns.map(|column| column.quoted.as_str()).collect();
        (!key.is_empty()).then(|| key.join(", "))
    }
}

fn order(session: &mut Session, found: &Found, previous: Option<&Table>) -> Result<(Order, Vec<String>)> {
    if found.key.is_empty() || found.condition.is_some() {
        return Ok((Order::Physical, physical_borders(session, found, previous)));
    }
    // A table that was empty last time tells nothing; one with another key has to be stored anew in any case.
    let known = previous.filter(|table| table.key_columns == found.key_columns());
    let small = found.bytes < SMALL_BYTES;
    let (order, statistics) = match known.map(|table| table.order) {
        Some(Order::Physical) => (Order::Physical, None),
        Some(Order::Key) if small => (Order::Key, None),
        Some(Order::Key) => (Order::Key, statistics(session, found)?),
        None if small => (Order::Key, None),
        None => match statistics(session, found)? {
            Some(statistics) if statistics.correlation >= CORRELATED => (Order::Key, Some(statistics)),
            _ => (Order::Physical, None),
        },
    };
    if order == Order::Physical {
        return Ok((order, physical_borders(session, found, previous)));
    }
    let kept = known.map(|table| table.borders.clone()).unwrap_or_default();
    let wanted = found.bytes.div_ceil(KEY_RANGE_BYTES).clamp(1, MOST_KEY_RANGES);
    let kept_ranges = kept.len() as u64 + 1;
    match statistics {
        Some(statistics) if wanted > 1 && wanted >= 2 * kept_ranges => {
            Ok((order, quantiles(&statistics.bounds, wanted)))
        }
        _ => Ok((order, kept)),
    }
}

/// Page numbers; a table that grew has more of them, each as far from the one before.
fn physical_borders(session: &Session, found: &Found, previous: Option<&Table>) -> Vec<String> {
    if session.server_version() < TID_RANGE_SCANS || found.condition.is_some() {
        return Vec::new();
    }
    let kept = previous.filter(|table| table.order == Order::Physical).and_then(|table| table.borders.first());
    let step = kept.and_then(|border| border.parse().ok()).filter(|step| *step > 0).unwrap_or_else(|| {
        let page_bytes = found.bytes / found.pages.max(1);
        let pages = (RANGE_BYTES / page_bytes.max(1)).clamp(FEWEST_RANGE_PAGES, RANGE_PAGES);
        // A power of two, so that the choice does not hang on a page more or less.
        1 << pages.ilog2()
    });
    (1..found.pages.div_ceil(step)).map(|range| (range * step).to_string()).collect()
}

/// What `ANALYZE` found out about the first key column.
struct Statistics {
    correlation: f64,
    bounds: Vec<String>,
}

fn statistics(session: &mut Session, found: &Found) -> Result<Option<Statistics>> {
    let first = found.key.first().and_then(|position| found.columns.get(*position));
    let Some(first) = first else { return Ok(None) };
    let rows = session.rows(&format!(
        "SELECT coalesce(correlation, 0), coalesce(array_to_json(histogram_bounds::text::text[]), '[]') FROM pg_stats \
         WHERE schemaname = {} AND tablename = {} AND attname = {} AND NOT inherited",
        literal(&found.schema),
        literal(&found.name),
        literal(&first.name)
    ))?;
    Ok(rows.into_iter().next().and_then(|row| {
        let mut row = row.into_iter().flatten();
        Some(Statistics { correlation: row.next()?.parse().ok()?, bounds: serde_json::from_str(&row.next()?).ok()? })
    }))
}

/// Borders that part the rows into about equal ranges.
fn quantiles(bounds: &[String], ranges: u64) -> Vec<String> {
    let inner = (bounds.len() as u64).saturating_sub(1);
    let mut borders: Vec<String> =
        (1..ranges).filter_map(|range| bounds.get(usize::try_from(range * inner / ranges).ok()?).cloned()).collect();
    // Fewer bounds than ranges give the same one twice.
    borders.dedup();
    borders
}

fn cut(session: &mut Session, found: &Found, previous: Option<&Table>) -> Result<u32> {
    if let Some(table) = previous {
        let fitting = block_rows(table.length as f64 / table.rows.max(1) as f64);
        let fits = fitting <= 4 * table.block_rows && table.block_rows <= 4 * fitting;
        return Ok(if fits || table.blocks > FEW_BLOCKS { table.block_rows } else { fitting });
    }
    if found.tuples >= 1.0 || found.bytes < super::rows::LARGEST_BLOCK_BYTES as u64 {
        return Ok(block_rows(by_statistics(found)));
    }
    // Never analyzed: how many pages the first rows take tells how wide they are, and nothing is read out of line.
    let rows = session.rows(&format!(
        "SELECT count(*), max((ctid::text::point)[0])::bigint FROM (SELECT ctid FROM ONLY {}.{} LIMIT 1000) first",
        quote(&found.schema),
        quote(&found.name)
    ))?;
    let number = |index: usize| -> Option<f64> { rows.first()?.get(index)?.as_ref()?.parse().ok() };
    let width = match (number(0), number(1)) {
        (Some(rows), Some(last)) if rows >= 1.0 => {
            (last + 1.0) / rows * (found.bytes as f64 / found.pages.max(1) as f64)
        }
        _ => USUAL_ROW_BYTES,
    };
    Ok(block_rows(width))
}

fn by_statistics(found: &Found) -> f64 {
    if found.tuples >= 1.0 { found.bytes as f64 / found.tuples } else { USUAL_ROW_BYTES }
}
