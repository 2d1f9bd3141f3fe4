//! Poolers give a connection's transactions to whichever server process is free: settings of a session get lost there, and
//! a snapshot cannot be relied on.

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{session::Session, settings::Settings},
};

/// Two connections that are idle have two processes of their own, unless something lends one process to both.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where a pooler stands in between, and whatever a connection fails with.
pub(super) fn refuse(session: &mut Session, settings: &Settings) -> Result<()> {
    let mut second = Session::open(settings, "trivault pooler check")?;
    let process = |session: &mut Session| session.text("SELECT pg_backend_pid()");
    let shared = process(session)? == process(&mut second)?;
    // A process that was lent to another has that one's settings.
    let forgotten = session.text("SELECT current_setting('row_security')")?.as_deref() != Some("off");
    second.close();
    if !shared && !forgotten {
        return Ok(());
    }
    Err(SourceError::new(
        ErrorKind::Unsupported,
        "A connection pooler (PgBouncer) stands between us and the server; it cannot hold a snapshot.",
    )
    .hint("Give the address and port of the PostgreSQL server itself."))
}
