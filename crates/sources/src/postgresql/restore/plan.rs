//! What a restore would do, and everything that it refuses beforehand.

use serde::{Deserialize, Serialize};

use crate::{
    Conflict, ErrorKind, PartReader, PartRestorePlan, PartRestoreRequest, RestoreTarget, Result, SourceError,
    postgresql::{
        layout::{Captured, How},
        session::Session,
        settings::Settings,
        tools::Tools,
    },
};

use super::{
    checks,
    choice::Choice,
    fit, merge, open_archive,
    server::{self, Facts},
    target::{Found, NAME_BYTES, Names, find},
};

/// Longest name of a job, bytes.
const JOB_BYTES: usize = 32;

/// Which of the three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// Built under a temporary name and renamed.
    Build,
    /// The same, and what had the name keeps existing under another one.
    Swap,
    /// Rows into the live database.
    Merge,
}

/// What the plan decided; kept with the job. With the server's state it is all that is needed to finish or undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Details {
    pub work: Work,
    pub names: Names,
    /// The live database that was found.
    pub old: Option<Found>,
    /// Owners and privileges are left out, because roles are missing and the source's option says so.
    pub without_owners: bool,
    /// Tablespaces are left out, because the server lacks some.
    pub without_tablespaces: bool,
    /// The schema public keeps the owner that the server gives it.
    #[serde(default)]
    pub public_as_it_is: bool,
}

impl Details {
    pub(super) fn of(plan: &PartRestorePlan) -> Result<Self> {
        serde_json::from_value(plan.details.clone()).map_err(|error| {
            SourceError::new(ErrorKind::Internal, "The plan of the restore cannot be read.").because(error)
        })
    }
}

pub(in crate::postgresql) fn plan(
    settings: &Settings,
    part: &dyn PartReader,
    request: &PartRestoreRequest,
) -> Result<PartRestorePlan> {
    check_job(&request.job)?;
    let captured = Captured::of(part.manifest())?;
    let names = Names::new(target_name(settings, request)?, &request.job);
    let tools = Tools::find(settings)?;
    checks::tools(&tools, &captured)?;
    let archive = open_archive(part, &captured)?;
    let choice = Choice::new(archive.as_ref(), &captured, &request.selection)?;

    let mut server = server::open(settings, &names.database, "trivault plan")?;
    let facts = Facts::read(&mut server)?;
    let old = find(&mut server, &names.database)?;
    let work = decide(request, &names, old)?;
    checks::server(&facts, &captured, work)?;
    let needs = checks::needs(&mut server, &facts, settings, &captured, archive.as_ref(), &choice)?;
    let details = Details {
        work,
        without_owners: needs.without_owners,
        without_tablespaces: needs.without_tablespaces,
        public_as_it_is: needs.public_as_it_is,
        old: old.filter(|_| work != Work::Build),
        names,
    };
    let bytes = choice.bytes(part, &captured, &mut server)?;
    let mut steps = Vec::new();
    match work {
        Work::Build | Work::Swap => {
            checks::names(&mut server, &details, &facts)?;
            fit::locale(&mut server, &captured.database)?;
            let wanted = fit::Wanted::new(&captured.database, bytes, choice.entries.is_none());
            steps.extend(fit::space(&mut server, settings, &facts, &wanted, work)?);
            steps.extend(needs.notes);
            steps.extend(collation(&mut server, &captured)?);
            steps.extend(build_steps(&details, &captured, &choice, settings));
        }
        Work::Merge => {
            if captured.how == How::Whole {
                return Err(kept_whole());
            }
            steps.extend(needs.notes);
            let mut live = Session::open(&settings.with_database(&details.names.database), "trivault plan")?;
            server::in_unicode(&mut live)?;
            steps.extend(merge::steps(&mut live, &captured, &choice, request.conflict)?);
            live.close();
        }
    }
    steps.extend(choice.notes.iter().cloned());
    server.close();
    Ok(PartRestorePlan {
        request: request.clone(),
        steps,
        bytes,
        // Everything that is made beside is a database, not a path.
        temporary: Vec::new(),
        details: serde_json::to_value(&details).map_err(|error| {
            SourceError::new(ErrorKind::Internal, "The plan of the restore cannot be written down.").because(error)
        })?,
    })
}

pub(super) fn kept_whole() -> SourceError {
    SourceError::new(
        ErrorKind::Unsupported,
        "This backup was kept as pg_dump wrote it, in a form that is restored as a whole only.",
    )
    .hint("Restore it into a new database, and take from there what is wanted.")
}

fn check_job(job: &str) -> Result<()> {
    let plain = job.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if job.is_empty() || job.len() > JOB_BYTES || !plain {
        return Err(SourceError::new(ErrorKind::Internal, "The restore's job has no usable name."));
    }
    Ok(())
}

fn target_name<'a>(settings: &'a Settings, request: &'a PartRestoreRequest) -> Result<&'a str> {
    match &request.target {
        RestoreTarget::InPlace => Ok(&settings.database),
        RestoreTarget::NewPath(path) => Err(SourceError::new(
            ErrorKind::Unsupported,
            format!("A PostgreSQL database is restored on its server, not to the path {}.", path.display()),
        )
        .hint("Name a new database.")),
        RestoreTarget::NewDatabase(name) if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') => {
            Err(SourceError::new(
                ErrorKind::Invalid,
                format!("`{name}` cannot be the name of a database: it must have 1 to {NAME_BYTES} bytes."),
            ))
        }
        RestoreTarget::NewDatabase(name) => Ok(name),
    }
}

fn decide(request: &PartRestoreRequest, names: &Names, old: Option<Found>) -> Result<Work> {
    let everything = request.selection.is_everything();
    match (&request.target, old) {
        (RestoreTarget::NewDatabase(_) | RestoreTarget::NewPath(_), Some(_)) => Err(SourceError::new(
            ErrorKind::Conflict,
            format!("The database {} exists already.", names.database),
        )
        .hint("Name one that does not exist, or restore in place.")),
        (_, None) => Ok(Work::Build),
        (RestoreTarget::InPlace, Some(_)) if request.conflict != Conflict::Replace => Ok(Work::Merge),
        (RestoreTarget::InPlace, Some(_)) if everything => Ok(Work::Swap),
        (RestoreTarget::InPlace, Some(_)) => Err(SourceError::new(
            ErrorKind::Unsupported,
            "Replacing a PostgreSQL database puts back all of it; some of its tables cannot be replaced alone.",
        )
        .hint("Leave the selection out, restore the tables row by row (add missing, update differing), or into a new database.")),
    }
}

/// A sentence where the text order of the server differs from the source's.
fn collation(server: &mut Session, captured: &Captured) -> Result<Option<String>> {
    let facts = &captured.database;
    let Some(was) = &facts.collation_version else { return Ok(None) };
    let (locale, is) = match facts.locale_provider.as_deref() {
        Some("c") => (&facts.collate, server::collation_version(server, &facts.collate)?),
        Some("i") => {
            let locale = facts.icu_locale.as_ref().unwrap_or(&facts.collate);
            (locale, server::icu_version(server, locale)?)
        }
        _ => return Ok(None),
    };
    Ok(is.filter(|is| is != was).map(|is| {
        format!("Warning: the server sorts text of {locale} by version {is}, the source did by {was}; indexes are built anew by it.")
    }))
}

fn build_steps(details: &Details, captured: &Captured, choice: &Choice, settings: &Settings) -> Vec<String> {
    let Names { database, temporary, kept } = &details.names;
    let facts = &captured.database;
    let mut steps =
        vec![format!("Makes the database {temporary} with encoding {} and locale {}.", facts.encoding, facts.collate)];
    if captured.how == How::Whole {
        steps.push("Has pg_restore read the whole archive into it.".to_owned());
    } else {
        let rows: u64 = choice.tables.iter().filter_map(|index| captured.tables.get(*index)).map(|t| t.rows).sum();
        steps.push("Has pg_restore make schemas, types, functions and tables there.".to_owned());
        steps.push(format!(
            "Copies {}{rows} rows of {} tables by {} sessions at once{}.",
            if choice.filters_rows() { "the wanted ones of " } else { "" },
            choice.tables.len(),
            settings.workers,
            if choice.large_objects { ", and the large objects" } else { "" },
        ));
        steps.push("Sets sequences; has pg_restore make indexes, constraints, triggers and privileges.".to_owned());
    }
    steps.push("Collects statistics (ANALYZE), and sets what belongs to the database itself.".to_owned());
    if details.old.is_some() {
        steps.push(format!("Ends all sessions of {database} and renames it to {kept}; it stays there."));
    }
    steps.push(format!("Renames {temporary} to {database}."));
    steps
}
