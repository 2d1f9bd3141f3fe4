//! A database built under a temporary name, and the rename that makes it the target.

use crate::{
    Interrupted, PartReader, PartRestorePlan, RestoreOutcome, Result,
    postgresql::{
        dump,
        layout::{Captured, Table, WHOLE},
        session::Session,
        settings::Settings,
        tools::Tools,
    },
};

use super::{
    choice::Choice,
    closure::Graph,
    early::Early,
    objects, open_archive,
    plan::{Details, Work},
    properties,
    rows::{self, parallel},
    run::Run,
    server,
    settle::{settle, swap},
    target::{create, drop_database},
    tool::{self, Archive},
};

/// Read at once of an archive that was kept whole, bytes.
const READ_BYTES: usize = 512 * 1024;
/// So many definitions after the rows are made by a single session.
const FEW_THINGS: usize = 3;
/// Statements sent together.
const BATCH: usize = 500;

pub(super) fn build(
    settings: &Settings,
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
) -> Result<RestoreOutcome> {
    let captured = Captured::of(part.manifest())?;
    let tools = Tools::find(settings)?;
    let archive = open_archive(part, &captured)?;
    let choice = Choice::new(archive.as_ref(), &captured, &plan.request.selection)?;
    let items: u64 = choice.tables.iter().filter_map(|index| captured.tables.get(*index)).map(|table| table.rows).sum();
    let job = &plan.request.job;
    let inside = settings.with_database(&details.names.temporary);
    let run = Run::new(inside, part, job, (plan.bytes, items));
    let built = Build { run: &run, tools: &tools, captured: &captured, choice: &choice, details };
    let result = run.watched(|| built.go(settings, archive.as_ref()));
    let Err(error) = result else { return Ok(outcome(&run, details)) };
    match server::open(settings, &details.names.database, "trivault restore ends").and_then(|mut server| {
        let settled = settle(&mut server, details);
        server.close();
        settled
    }) {
        Ok(Interrupted::Finished) if details.work == Work::Swap => {
            part.log(&format!("finished after a failure behind the swap: {error}"));
            Ok(outcome(&run, details))
        }
        Ok(_) => Err(error),
        Err(again) => {
            part.log(&format!("could not drop the database {}: {again}", details.names.temporary));
            Err(error)
        }
    }
}

fn outcome(run: &Run<'_>, details: &Details) -> RestoreOutcome {
    let kept = (details.work == Work::Swap).then(|| details.names.kept.clone());
    if let Some(kept) = &kept {
        run.part.log(&format!(
            "the replaced database is kept as {kept}; when it is no longer wanted: DROP DATABASE {}",
            crate::postgresql::session::quote(kept)
        ));
    }
    RestoreOutcome {
        bytes_written: run.bytes(),
        items: run.items(),
        kept_aside: kept.into_iter().map(Into::into).collect(),
    }
}

struct Build<'a, 'r> {
    run: &'a Run<'r>,
    tools: &'a Tools,
    captured: &'a Captured,
    choice: &'a Choice,
    details: &'a Details,
}

impl Build<'_, '_> {
    fn go(&self, settings: &Settings, archive: Option<&dump::Archive>) -> Result<()> {
        let Self { run, details, captured, .. } = *self;
        let names = &details.names;
        run.check()?;
        // It carries the run's name, so that a statement of it is ended with the others.
        let mut server = server::open(settings, &names.database, &run.purpose)?;
        run.meet(&server);
        // What an earlier attempt of this job left.
        drop_database(&mut server, &names.temporary)?;
        create(&mut server, &names.temporary, &captured.database)?;
        // Hours may pass now: whatever stands between us and the server would have forgotten a silent connection.
        server.close();
        run.part.log(&format!("made the database {}", names.temporary));
        match archive {
            None => self.whole()?,
            Some(archive) => self.pieces(archive)?,
        }
        self.analyze()?;
        let mut server = server::open(settings, &names.database, &run.purpose)?;
        properties::apply(&mut server, run.part, details, &captured.database)?;
        run.no_way_back()?;
        swap(&mut server, details, &|name| run.part.point(name))?;
        run.part.log(&format!("renamed it to {}", names.database));
        server.close();
        Ok(())
    }

    /// All that `pg_dump` wrote, in the form that it has.
    fn whole(&self) -> Result<()> {
        let run = self.run;
        let mut reader = run.part.open(&[WHOLE.as_bytes()])?;
        let (mut offset, length) = (0, reader.length());
        let mut feed = |buffer: &mut Vec<u8>| {
            run.check()?;
            buffer.resize(READ_BYTES.min(usize::try_from(length - offset).unwrap_or(READ_BYTES)), 0);
            let read = reader.read_at(offset, buffer)?;
            buffer.truncate(read);
            offset += read as u64;
            run.moved(read as u64, 0);
            Ok(())
        };
        tool::restore(run, self.tools, &objects::options(self.details), Archive::Stream(&mut feed))
    }

    fn pieces(&self, archive: &dump::Archive) -> Result<()> {
        let Self { run, tools, captured, choice, details } = *self;
        let left_out = |entry: &dump::Entry| details.public_as_it_is && objects::makes_public(entry);
        let before = objects::before_rows(archive, choice).with_entries(|entry| !left_out(entry));
        objects::make(run, tools, &before, details, 1)?;
        let graph = Graph::new(archive);
        let fresh = |table: &Table| graph.definition_of(table).is_some();
        let after = objects::after_rows(archive, choice);
        let early = Early::new(run, tools, details, (&graph, &after), captured, choice);
        let rows = rows::load(run, captured, choice, &fresh, &early)?;
        let made = early.made();
        run.part.log(&format!("copied {rows} rows of {} tables", choice.tables.len()));
        if !made.is_empty() {
            run.part.log(&format!("made {} indexes and keys while other tables were copied", made.len()));
        }
        let mut session = run.session()?;
        set_sequences(&mut session, objects::sequence_values(archive, choice))?;
        session.close();
        let after = after.with_entries(|entry| !made.contains(&entry.dump_id));
        let things = objects::things(&after).len();
        if things > 0 {
            // Sessions cost more than a few definitions take.
            let jobs = if things < FEW_THINGS { 1 } else { run.settings.workers };
            objects::make(run, tools, &after, details, jobs)?;
        }
        run.part.log("made indexes, constraints, triggers and privileges");
        Ok(())
    }

    /// Statistics for the planner: archives have none before version 18, and a fresh database without any is slow. Large tables
    /// have theirs since they were loaded, but for what only came with their indexes.
    fn analyze(&self) -> Result<()> {
        let run = self.run;
        let mut session = run.session()?;
        let tables = session.rows(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' \
             AND n.nspname <> 'information_schema' \
             AND pg_catalog.pg_has_role(c.relowner, 'MEMBER') \
             AND ((n.nspname, c.relname) NOT IN (SELECT schemaname, tablename FROM pg_catalog.pg_stats) \
             OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL) \
             OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = c.oid)) ORDER BY c.relpages",
        )?;
        session.close();
        let tables: Vec<String> = tables.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        // Several of a batch, for a database may have thousands of small tables.
        let batches = tables.chunks(tables.len().div_ceil(64).max(1)).map(|batch| batch.join(", ")).collect();
        let batches: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(batches);
        parallel(run, run.settings.workers.min(tables.len()), &|session| {
            loop {
                run.check()?;
                let batch = batches.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                match batch {
                    Some(batch) => session.execute(&format!("ANALYZE {batch}"))?,
                    None => return Ok(()),
                }
            }
        })
    }
}

fn set_sequences<'a>(session: &mut Session, statements: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut batch = String::new();
    for (index, statement) in statements.enumerate() {
        batch.push_str(statement);
        if index % BATCH == BATCH - 1 {
            session.execute(&batch)?;
            batch.clear();
        }
    }
    if batch.is_empty() { Ok(()) } else { session.execute(&batch) }
}

/// What a driver answers when nothing can be done any more.
pub(super) fn resume(settings: &Settings, details: &Details) -> Result<Interrupted> {
    let mut server = server::open(settings, &details.names.database, "trivault restore ends")?;
    let settled = settle(&mut server, details)?;
    server.close();
    Ok(settled)
}
