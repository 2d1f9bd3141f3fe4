//! Rows into the live database: what is missing is added, what differs is overwritten where that is asked, nothing is
//! deleted.
//!
//! All of it is one transaction: applications see the database before or after it, and a restore that ends early has
//! touched nothing. Schemas, types, functions, tables and views that are missing are made first, their indexes and
//! constraints last. Rows of tables that are there go into a staging table and from it into the live one by the key; foreign keys
//! stay in force, tables come in their order; triggers of the application sleep meanwhile, for the rows of the backup
//! have been through them. In the same transaction a schema named after the job comes into being, so that one can
//! tell after a crash that it was committed.

mod large_objects;
mod live;
mod missing;
mod order;
mod table;

use crate::{
    Conflict, Interrupted, PartReader, PartRestorePlan, RestoreOutcome, Result,
    postgresql::{
        dump::Archive,
        layout::Captured,
        session::{Session, literal, quote},
        settings::Settings,
        tools::Tools,
    },
};

use self::{live::LiveTable, missing::Missing};
use super::{choice::Choice, objects, open_archive, plan::Details, rows::in_table, run::Run, server, tool};

/// What would be done, and refusals.
pub(super) fn steps(
    live: &mut Session,
    captured: &Captured,
    choice: &Choice,
    conflict: Conflict,
) -> Result<Vec<String>> {
    let (mut new, mut rows) = (Vec::new(), 0);
    let mut notes = Vec::new();
    for index in &choice.tables {
        let Some(table) = captured.tables.get(*index) else { continue };
        rows += table.rows;
        match LiveTable::find(live, table)? {
            None => new.push(format!("{}.{}", table.schema, table.name)),
            Some(found) => {
                found.check(table)?;
                if found.key.is_none() && !found.is_empty {
                    notes.push(format!(
                        "Leaves {}.{} as it is: it has rows and no key by which they could be told from the backup's.",
                        table.schema, table.name
                    ));
                }
            }
        }
    }
    let mut steps = Vec::new();
    if !new.is_empty() {
        steps.push(format!("Makes {} missing tables: {}.", new.len(), shortened(&new)));
    }
    let what = if conflict == Conflict::UpdateDiffering {
        "Overwrites rows that differ, adds missing ones"
    } else {
        "Adds missing rows, leaves existing ones"
    };
    let filtered = if choice.filters_rows() { "the wanted ones of " } else { "" };
    steps.push(format!(
        "{what} and deletes none, from {filtered}{rows} rows of {} tables, in one transaction.",
        choice.tables.len()
    ));
    steps.push("Moves sequences forward where the backup's stand higher.".to_owned());
    steps.extend(notes);
    Ok(steps)
}

fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 10 { format!("{shown}, ...") } else { shown }
}

pub(super) fn merge(
    settings: &Settings,
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
) -> Result<RestoreOutcome> {
    let captured = Captured::of(part.manifest())?;
    let tools = Tools::find(settings)?;
    let archive = open_archive(part, &captured)?.ok_or_else(super::plan::kept_whole)?;
    let choice = Choice::new(Some(&archive), &captured, &plan.request.selection)?;
    let items: u64 = choice.tables.iter().filter_map(|index| captured.tables.get(*index)).map(|table| table.rows).sum();
    let inside = settings.with_database(&details.names.database);
    let run = Run::new(inside, part, &plan.request.job, (plan.bytes, items));
    let update = plan.request.conflict == Conflict::UpdateDiffering;
    let merge =
        Merge { run: &run, tools: &tools, captured: &captured, archive: &archive, choice: &choice, details, update };
    let marker = marker(&plan.request.job);
    let changed = match run.watched(|| merge.go(&marker)) {
        Ok(changed) => changed,
        // Where the answer to the commit was lost, the server knows what became of it.
        Err(error) => match resume(settings, plan, details) {
            Ok(Interrupted::Finished) => 0,
            _ => return Err(error),
        },
    };
    part.log(&format!("{changed} rows were added or overwritten"));
    Ok(RestoreOutcome { bytes_written: run.bytes(), items: changed, kept_aside: Vec::new() })
}

/// After a crash: whether the transaction was committed.
pub(super) fn resume(settings: &Settings, plan: &PartRestorePlan, details: &Details) -> Result<Interrupted> {
    let mut session = Session::open(&settings.with_database(&details.names.database), "trivault restore ends")?;
    server::in_unicode(&mut session)?;
    end_of(&mut session, &plan.request.job)?;
    let marker = marker(&plan.request.job);
    let there =
        session.text(&format!("SELECT 1::text FROM pg_catalog.pg_namespace WHERE nspname = {}", literal(&marker)))?;
    if there.is_some() {
        session.execute(&format!("DROP SCHEMA {}", quote(&marker)))?;
    }
    session.close();
    Ok(if there.is_some() { Interrupted::Finished } else { Interrupted::NothingTouched })
}

/// Ends what a process that died has left running, and waits until the server has undone it.
fn end_of(session: &mut Session, job: &str) -> Result<()> {
    let began = std::time::Instant::now();
    loop {
        let left = session.rows(&format!(
            "SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity \
             WHERE application_name = {} AND datname = pg_catalog.current_database()",
            literal(&format!("trivault restore {job}"))
        ))?;
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > std::time::Duration::from_secs(15) {
            return Err(crate::SourceError::new(
                crate::ErrorKind::Unavailable,
                "A session of the interrupted restore does not end on the server.",
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn marker(job: &str) -> String {
    format!("trivault_{job}")
}

struct Merge<'a, 'r> {
    run: &'a Run<'r>,
    tools: &'a Tools,
    captured: &'a Captured,
    archive: &'a Archive,
    choice: &'a Choice,
    details: &'a Details,
    update: bool,
}

impl Merge<'_, '_> {
    /// Answers the number of rows that were added or overwritten.
    fn go(&self, marker: &str) -> Result<u64> {
        let run = self.run;
        run.check()?;
        let mut session = run.session()?;
        session.execute("SET synchronous_commit = on; BEGIN")?;
        self.settings(&mut session)?;
        let missing = Missing::find(&mut session, self.archive, self.choice)?;
        self.define(&mut session, &missing, objects::before_rows)?;
        let changed = self.rows(&mut session)?;
        for statement in objects::sequence_values(self.archive, self.choice) {
            session.execute(&order::forward(statement))?;
        }
        if self.choice.large_objects {
            large_objects::merge(run, self.captured, &mut session, &missing.large_objects, self.update)?;
        }
        self.define(&mut session, &missing, objects::after_rows)?;
        session.execute("SAVEPOINT marker")?;
        if session.execute(&format!("CREATE SCHEMA {}", quote(marker))).is_err() {
            session.execute("ROLLBACK TO SAVEPOINT marker")?;
        }
        run.no_way_back()?;
        session.execute("COMMIT")?;
        session.execute(&format!("DROP SCHEMA IF EXISTS {}", quote(marker)))?;
        session.close();
        Ok(changed)
    }

    fn settings(&self, session: &mut Session) -> Result<()> {
        session.execute(&format!(
            "SET client_encoding = 'UTF8'; SET lock_timeout = '{}s'; SET row_security = off; \
             SET search_path = ''",
            self.run.settings.lock_timeout_seconds
        ))
    }

    /// Makes what is missing, by the statements that `pg_restore` would send.
    fn define(
        &self,
        session: &mut Session,
        missing: &Missing,
        section: fn(&Archive, &Choice) -> Archive,
    ) -> Result<()> {
        let archive = section(self.archive, &self.choice.narrowed(Vec::new(), missing.entries.clone()));
        if objects::things(&archive).is_empty() {
            return Ok(());
        }
        let script = tool::script(self.run, self.tools, &objects::options(self.details), &archive.without_data())?;
        session.execute(&script)?;
        self.settings(session)
    }

    fn rows(&self, session: &mut Session) -> Result<u64> {
        let mut changed = 0;
        for index in order::by_foreign_keys(session, self.captured, &self.choice.tables)? {
            self.run.check()?;
            let Some(wanted) = self.captured.tables.get(index) else { continue };
            let done = table::merge(self.run, session, self.captured, self.choice, wanted, self.update);
            changed += done.map_err(|error| in_table(wanted, error))?;
        }
        Ok(changed)
    }
}
