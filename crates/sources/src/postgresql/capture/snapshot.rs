//! Connection 0: the transaction whose snapshot all others read, and which holds the locks until the end.

use std::time::{Duration, Instant};

use super::{
    locks::{self, Held},
    pooler,
};
use crate::{
    CaptureSink, ErrorKind, Result, SourceError,
    postgresql::{
        session::{Session, literal},
        settings::Settings,
    },
};

/// How often a capture begins anew because tables were rewritten under its feet.
const ATTEMPTS: u32 = 4;
/// A connection that says nothing for longer may be cut off by what stands between.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// What the transactions of a capture run under, beside what every session of ours does: names travel in UTF-8 whatever the
/// server's encoding is, and one connection is one process of the server.
pub(super) const TUNING: &str = "SET max_parallel_workers_per_gather = 0; SET jit = off";

/// An open snapshot with all tables locked.
pub(super) struct Snapshot {
    pub session: Session,
    /// What `pg_export_snapshot` said.
    pub name: String,
    pub encoding: String,
    pub is_standby: bool,
    pub held: Held,
    last_word: Instant,
}

impl Snapshot {
    /// Opens a session, takes a snapshot, locks every table, and makes sure that none was rewritten in between.
    pub(super) fn open(settings: &Settings, sink: &dyn CaptureSink, purpose: &str) -> Result<Self> {
        let check = || if sink.is_cancelled() { Err(SourceError::cancelled()) } else { Ok(()) };
        check()?;
        let mut session = Session::open(settings, purpose)?;
        pooler::refuse(&mut session, settings)?;
        let encoding = prepare(&mut session)?;
        let is_standby = session.text("SELECT pg_is_in_recovery()")?.as_deref() == Some("t");
        for attempt in 1..=ATTEMPTS {
            check()?;
            session.execute(BEGIN)?;
            let name = session.text("SELECT pg_export_snapshot()")?.unwrap_or_default();
            sink.log(&format!("the snapshot {name} was taken; locking the tables"));
            let locked = match locks::tables(&mut session, settings, &check)? {
                Some(tables) => locks::lock(&mut session, settings, &tables, &check)?,
                None => locks::Locked::Changed("a table was dropped".to_owned()),
            };
            match locked {
                locks::Locked::All(held) => {
                    sink.log(&match held.late.len() {
                        0 => "the tables are locked against changes of their definition".to_owned(),
                        late => format!(
                            "the tables are locked against changes of their definition, but for {late} that are locked \
                             when they are read: the server has no room for more (max_locks_per_transaction)"
                        ),
                    });
                    return Ok(Self { session, name, encoding, is_standby, held, last_word: Instant::now() });
                }
                locks::Locked::Changed(what) => {
                    sink.log(&format!("{what} between snapshot and lock; attempt {attempt} of {ATTEMPTS}"));
                    session.execute("ROLLBACK")?;
                }
            }
        }
        Err(SourceError::new(
            ErrorKind::Unavailable,
            format!("Tables were rewritten, truncated or dropped {ATTEMPTS} times just while the capture began."),
        )
        .hint("Run the backup at a time when fewer tables are rebuilt."))
    }

    /// Another session that sees the same.
    pub(super) fn join(settings: &Settings, name: &str, purpose: &str) -> Result<Session> {
        let mut session = Session::open(settings, purpose)?;
        prepare(&mut session)?;
        Self::enter(&mut session, name)?;
        Ok(session)
    }

    /// Begins the transaction of a worker.
    pub(super) fn enter(session: &mut Session, name: &str) -> Result<()> {
        session.execute(&format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", literal(name)))
    }

    /// Said now and then while others work.
    pub(super) fn stay_awake(&mut self) -> Result<()> {
        if self.last_word.elapsed() > SILENCE_LIMIT {
            self.session.execute("SELECT 1")?;
            self.last_word = Instant::now();
        }
        Ok(())
    }

    /// Ends the transaction.
    pub(super) fn close(mut self) -> Result<()> {
        // Also tells us that the snapshot was held to the end.
        self.session.execute("COMMIT")?;
        self.session.close();
        Ok(())
    }
}

/// Answers the server's encoding.
fn prepare(session: &mut Session) -> Result<String> {
    session.execute(TUNING)?;
    let encoding = session.text("SELECT current_setting('server_encoding')")?.unwrap_or_default();
    if encoding != "SQL_ASCII" {
        session.execute("SET client_encoding = 'UTF8'")?;
    }
    Ok(encoding)
}
