//! In which order tables get their rows, and sequences their values.

use std::collections::{HashMap, HashSet};

use crate::{
    Result,
    postgresql::{
        layout::Captured,
        restore::rows::name,
        session::{Session, literal},
    },
};

/// Positions of the tables so that a row comes after those it points to. In a circle the order of the backup stays; then
/// only deferrable constraints let the rows in.
pub(super) fn by_foreign_keys(session: &mut Session, captured: &Captured, tables: &[usize]) -> Result<Vec<usize>> {
    let mut roots: HashMap<usize, String> = HashMap::new();
    for index in tables {
        let Some(table) = captured.tables.get(*index) else { continue };
        // Foreign keys stand on the partitioned table, rows lie in its partitions.
        let root = session.text(&format!(
            "SELECT coalesce(pg_catalog.pg_partition_root(oid)::oid, oid)::text FROM pg_catalog.pg_class \
             WHERE oid = pg_catalog.to_regclass({})",
            literal(&name(table))
        ))?;
        roots.extend(root.map(|root| (*index, root)));
    }
    let keys = session.rows(
        "SELECT DISTINCT conrelid::oid::text, confrelid::oid::text FROM pg_catalog.pg_constraint \
         WHERE contype = 'f' AND conrelid <> confrelid AND conparentid = 0",
    )?;
    let mut needs: HashMap<&str, HashSet<&str>> = HashMap::new();
    for row in &keys {
        if let [Some(from), Some(to)] = row.as_slice() {
            needs.entry(from).or_default().insert(to);
        }
    }
    session.execute("SET CONSTRAINTS ALL DEFERRED")?;
    Ok(sorted(tables, &roots, &needs))
}

fn sorted(tables: &[usize], roots: &HashMap<usize, String>, needs: &HashMap<&str, HashSet<&str>>) -> Vec<usize> {
    let mut left: Vec<usize> = tables.to_vec();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waiting: HashSet<&str> = left.iter().filter_map(|index| roots.get(index)).map(String::as_str).collect();
        let ready = |index: &usize| {
            let root = roots.get(index).map_or("", String::as_str);
            needs.get(root).is_none_or(|needs| !needs.iter().any(|need| *need != root && waiting.contains(need)))
        };
        let (now, later): (Vec<usize>, Vec<usize>) = left.iter().partition(|index| ready(index));
        if now.is_empty() {
            order.extend(later);
            break;
        }
        order.extend(now);
        left = later;
    }
    order
}

/// Changes `SELECT pg_catalog.setval('public.s', 5, true);` so that a sequence never goes back: its next numbers may be
/// in use.
pub(super) fn forward(statement: &str) -> String {
    let arguments = statement.trim().strip_prefix("SELECT pg_catalog.setval(").and_then(|rest| rest.strip_suffix(");"));
    let Some((sequence, value)) = arguments.and_then(|arguments| {
        let (rest, _) = arguments.rsplit_once(", ")?;
        rest.rsplit_once(", ")
    }) else {
        return statement.to_owned();
    };
    let called = arguments.and_then(|arguments| arguments.rsplit_once(", ")).map_or("true", |(_, called)| called);
    format!(
        "SELECT pg_catalog.setval(s.seqrelid::regclass, {value}, {called}) FROM pg_catalog.pg_sequence s \
         WHERE s.seqrelid = {sequence}::regclass AND CASE WHEN s.seqincrement > 0 \
         THEN {value} > coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid), s.seqstart - 1) \
         ELSE {value} < coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid), s.seqstart + 1) END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_those_they_point_to_and_circles_end() {
        let roots: HashMap<usize, String> = (0..4).map(|index| (index, index.to_string())).collect();
        let needs = |pairs: &[(&'static str, &'static str)]| {
            let mut needs: HashMap<&str, HashSet<&str>> = HashMap::new();
            for (from, to) in pairs {
                needs.entry(from).or_default().insert(to);
            }
            needs
        };
        assert_eq!(sorted(&[0, 1, 2, 3], &roots, &needs(&[("0", "1"), ("1", "3")])), [2, 3, 1, 0]);
        assert_eq!(sorted(&[0, 1, 2], &roots, &needs(&[("0", "1"), ("1", "0")])), [2, 0, 1]);
    }

    #[test]
    fn a_sequence_is_only_moved_forward() {
        let statement = forward("SELECT pg_catalog.setval('public.s, x', 5, true);\n");
        assert!(statement.contains("'public.s, x'::regclass") && statement.contains("5 > coalesce"), "{statement}");
    }
}
