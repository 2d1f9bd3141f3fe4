//! Large objects into the live database: by their numbers.

use std::collections::HashSet;

use crate::{
    Result,
    postgresql::{
        layout::Captured,
        restore::{
            large_objects::{Piece, each_piece, put},
            run::Run,
        },
        session::Session,
    },
};

/// What is done with the pieces of the current object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    Leave,
    Fill,
    Compare,
}

/// `fresh`: those that were made just now, still empty.
pub(super) fn merge(
    run: &Run<'_>,
    captured: &Captured,
    session: &mut Session,
    fresh: &HashSet<u32>,
    update: bool,
) -> Result<()> {
    let mut object = Object::Leave;
    let mut last: Option<(u32, u64)> = None;
    each_piece(run, captured, &mut |piece| {
        if piece.bytes.is_empty() {
            truncate(session, last.take(), object)?;
            let found = session
                .text(&format!("SELECT 1::text FROM pg_catalog.pg_largeobject_metadata WHERE oid = {}", piece.oid))?;
            let is_missing = found.is_none();
            object = match (found, update) {
                (None, _) => Object::Fill,
                (Some(_), _) if fresh.contains(&piece.oid) => Object::Fill,
                (Some(_), true) => Object::Compare,
                (Some(_), false) => Object::Leave,
            };
            if is_missing {
                session.execute(&format!("SELECT pg_catalog.lo_create({})", piece.oid))?;
            }
            last = Some((piece.oid, 0));
            return Ok(());
        }
        last = Some((piece.oid, piece.offset + piece.bytes.len() as u64));
        match object {
            Object::Leave => Ok(()),
            Object::Fill => session.execute(&put(&piece)),
            Object::Compare => session.execute(&put_differing(&piece)),
        }
    })?;
    truncate(session, last, object)
}

fn put_differing(piece: &Piece<'_>) -> String {
    format!(
        "SELECT pg_catalog.lo_put(oid, at, bytes) FROM (SELECT {}::oid AS oid, {}::bigint AS at, E'\\\\x{}'::bytea AS bytes) AS piece \
         WHERE pg_catalog.lo_get(oid, at, {}) IS DISTINCT FROM bytes",
        piece.oid,
        piece.offset,
        hex::encode(piece.bytes),
        piece.bytes.len()
    )
}

/// What the live object has behind the end of the backup's.
fn truncate(session: &mut Session, object: Option<(u32, u64)>, what: Object) -> Result<()> {
    match object {
        Some((oid, length)) if what == Object::Compare => session.execute(&format!(
            "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open({oid}, 131072), {length}) \
             FROM pg_catalog.pg_largeobject_metadata \
             WHERE oid = {oid} AND octet_length(pg_catalog.lo_get({oid}, {length}, 1)) > 0"
        )),
        _ => Ok(()),
    }
}
