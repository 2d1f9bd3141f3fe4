//! A captured database on its way back.
//!
//! Three ways, chosen by [`plan`]:
//! * into a name that is free: built in a database of a temporary name, then renamed ([`build`]);
//! * over the live database: the same, and the old one keeps existing under another name ([`settle`] has the swap);
//! * rows into the live database, in one transaction ([`merge`]): nothing is ever deleted.
//!
//! The names hold the job's, so that [`resume`] finds after a crash what it has to finish or remove. The source's own database is never
//! connected to for statements about databases: it may be the one that is replaced.

mod blocks;
mod build;
mod checks;
mod choice;
mod closure;
mod complaint;
mod early;
mod filter;
mod fit;
mod large_objects;
mod merge;
mod objects;
mod plan;
mod properties;
mod rows;
mod run;
mod server;
mod settle;
mod stream;
mod target;
mod tool;

use std::io::{self, BufReader, Read};

use self::plan::{Details, Work};
use super::{
    dump::Archive,
    layout::{Captured, How, TOC},
    settings::Settings,
};
use crate::{ErrorKind, Interrupted, PartReader, PartRestorePlan, RandomRead, RestoreOutcome, Result, SourceError};

pub(super) use self::{plan::plan, target::drop_database};

/// Carries a plan out.
///
/// # Errors
/// After an error that comes before the swap or the commit, the target is as it was and nothing stays beside it.
pub(super) fn restore(settings: &Settings, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
    let details = Details::of(plan)?;
    match details.work {
        Work::Build | Work::Swap => build::build(settings, part, plan, &details),
        Work::Merge => merge::merge(settings, part, plan, &details),
    }
}

/// After a crash: finishes the swap or removes what was made beside. May be called again.
///
/// # Errors
/// While the server cannot be reached.
pub(super) fn resume(settings: &Settings, plan: &PartRestorePlan) -> Result<Interrupted> {
    let details = Details::of(plan)?;
    match details.work {
        Work::Build | Work::Swap => build::resume(settings, &details),
        Work::Merge => merge::resume(settings, plan, &details),
    }
}

/// The table of contents; `None` where the archive was kept whole.
fn open_archive(part: &dyn PartReader, captured: &Captured) -> Result<Option<Archive>> {
    if captured.how == How::Whole {
        return Ok(None);
    }
    let stream = part.open(&[TOC.as_bytes()])?;
    let archive = Archive::read(&mut BufReader::new(Sequential { stream, position: 0 }));
    archive.map(Some).map_err(|error| {
        SourceError::new(ErrorKind::Store, format!("The table of contents of the backup cannot be read: {error}."))
            .hint("Verify the store; restore another backup.")
    })
}

/// A stored stream from its beginning to its end.
struct Sequential {
    stream: Box<dyn RandomRead>,
    position: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read_at(self.position, buffer).map_err(io::Error::other)?;
        self.position += read as u64;
        Ok(read)
    }
}
