//! What a restore refuses before anything is touched.

use std::collections::BTreeSet;

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        dump::Archive,
        layout::Captured,
        session::{Session, literal},
        settings::Settings,
        tools::Tools,
    },
};

use super::{
    choice::Choice,
    objects,
    plan::{Details, Work},
    server::{Extensions, Facts},
    target::find,
    tool,
};

/// The extension that every new database has.
const ALWAYS_THERE: &str = "plpgsql";

/// What a plan has to say of the server's gaps.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub without_owners: bool,
    pub without_tablespaces: bool,
    pub public_as_it_is: bool,
    pub notes: Vec<String>,
}

/// `pg_restore` is there; it reads archives of its own version and of older ones.
pub(super) fn tools(tools: &Tools, captured: &Captured) -> Result<()> {
    if let Err(error) = tools.starts(tool::PROGRAM) {
        return Err(tool::absent(tools, error));
    }
    let wrote = major(&captured.tool_version);
    if tools.major < wrote {
        return Err(SourceError::new(
            ErrorKind::Unsupported,
            format!(
                "The backup was made with pg_dump {}; pg_restore {} here is older and cannot read it.",
                captured.tool_version, tools.version
            ),
        )
        .hint(format!("Install it: apt-get install postgresql-client-{wrote}.")));
    }
    Ok(())
}

pub(super) fn server(facts: &Facts, captured: &Captured, work: Work) -> Result<()> {
    if facts.in_recovery {
        return Err(SourceError::new(ErrorKind::Unsupported, "The server is a standby and takes no restore.")
            .hint("Restore on the primary server."));
    }
    let source = captured.server_version / 10_000;
    if facts.major() < source {
        return Err(SourceError::new(
            ErrorKind::Unsupported,
            format!(
                "The backup comes from PostgreSQL {source}; the server is PostgreSQL {}, which is older.",
                facts.major()
            ),
        )
        .hint(format!("Restore on a server of version {source} or newer.")));
    }
    if work != Work::Merge && !facts.may_create {
        return Err(SourceError::new(
            ErrorKind::Denied,
            "The source's account may not make databases, and a restore builds a new one beside.",
        )
        .hint("Give it the right: ALTER ROLE ... CREATEDB."));
    }
    Ok(())
}

/// Extensions, roles and tablespaces.
pub(super) fn needs(
    server: &mut Session,
    facts: &Facts,
    settings: &Settings,
    captured: &Captured,
    archive: Option<&Archive>,
    choice: &Choice,
) -> Result<Needs> {
    extensions(server, facts, captured, archive, choice)?;
    let mut needs = Needs::default();
    let owners = owners(captured, archive, choice);
    let missing: Vec<&str> = match choice.entries {
        None => captured.roles.iter().map(String::as_str).filter(|role| !facts.roles.contains(*role)).collect(),
        // Of a selection only owners are known; other roles are met when privileges are granted.
        Some(_) => owners.iter().map(String::as_str).filter(|role| !facts.roles.contains(*role)).collect(),
    };
    let is_foreign = |role: &str| facts.roles.contains(role) && !facts.ours.contains(role);
    let foreign: Vec<&str> = owners.iter().map(String::as_str).filter(|role| is_foreign(role)).collect();
    let definition = archive.iter().flat_map(|archive| &archive.entries).find(|entry| objects::makes_public(entry));
    let owner =
        definition.filter(|entry| choice.has_entry(entry.dump_id)).and_then(|entry| entry.owner.as_ref()?.as_str());
    if let Some(owner) = owner.filter(|owner| is_foreign(owner) && !facts.superuser) {
        needs.public_as_it_is = true;
        needs.notes.push(format!(
            "Leaves the owner of the schema public as the server has it, because {owner} is another role."
        ));
    }
    if settings.ignore_missing_roles {
        needs.without_owners = !missing.is_empty() || !foreign.is_empty();
        if needs.without_owners {
            let names = [missing, foreign].concat().join(", ");
            needs.notes.push(format!(
                "Leaves owners and privileges out, because of the roles {names}: everything belongs to {}.",
                settings.user
            ));
        }
    } else if !missing.is_empty() {
        return Err(SourceError::new(
            ErrorKind::Missing,
            format!("The server lacks roles that own or may use things of the backup: {}.", missing.join(", ")),
        )
        .hint(
            "Create them (the backup's roles.sql shows how), or set the source's option missing_roles to \"ignore\": \
             owners and privileges are then left out.",
        ));
    } else if !foreign.is_empty() && !facts.superuser {
        return Err(SourceError::new(
            ErrorKind::Denied,
            format!("The account {} may not give things to their owners: {}.", settings.user, foreign.join(", ")),
        )
        .hint(
            "Make it a member of these roles (GRANT role TO account), or set the option missing_roles to \"ignore\".",
        ));
    }
    let lacking = tablespaces(facts, archive, choice);
    if !lacking.is_empty() {
        needs.without_tablespaces = true;
        needs.notes.push(format!("Leaves tablespaces out; the server lacks {}.", lacking.join(", ")));
    }
    Ok(needs)
}

fn extensions(
    server: &mut Session,
    facts: &Facts,
    captured: &Captured,
    archive: Option<&Archive>,
    choice: &Choice,
) -> Result<()> {
    let chosen = |name: &str| match (archive, &choice.entries) {
        (Some(archive), Some(entries)) => archive
            .entries
            .iter()
            .any(|entry| entry.description == "EXTENSION" && entry.tag == *name && entries.contains(&entry.dump_id)),
        _ => true,
    };
    let wanted = captured.extensions.iter().map(|(name, version)| (name.as_str(), version));
    let wanted: Vec<_> = wanted.filter(|(name, _)| *name != ALWAYS_THERE && chosen(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let there = Extensions::read(server)?;
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(name, _)| !there.available.contains(*name))
        .map(|(name, version)| format!("{name} (version {version} at the source)"))
        .collect();
    if !missing.is_empty() {
        return Err(SourceError::new(
            ErrorKind::Missing,
            format!("The server lacks extensions that the backup needs: {}.", missing.join(", ")),
        )
        .hint("Install their packages on the server's machine; pg_available_extensions then lists them."));
    }
    let denied: Vec<&str> =
        wanted.iter().map(|(name, _)| *name).filter(|name| there.untrusted.contains(*name)).collect();
    if !denied.is_empty() && !facts.superuser {
        return Err(SourceError::new(
            ErrorKind::Denied,
            format!("Only a superuser may create these extensions of the backup: {}.", denied.join(", ")),
        )
        .hint("Restore with a superuser's account."));
    }
    Ok(())
}

/// Roles that will own something. Every database has the schema public: up to version 14 of whoever made the server, since then of
/// the database's owner. Only a superuser could give it away, and a restore is worth more than that.
fn owners(captured: &Captured, archive: Option<&Archive>, choice: &Choice) -> BTreeSet<String> {
    let mut owners: BTreeSet<String> = archive
        .iter()
        .flat_map(|archive| &archive.entries)
        .filter(|entry| choice.has_entry(entry.dump_id) && !objects::is_about_public(entry))
        .filter_map(|entry| Some(entry.owner.as_ref()?.as_str()?.to_owned()))
        .filter(|owner| !owner.is_empty())
        .collect();
    if choice.entries.is_none() && !captured.database.owner.is_empty() {
        owners.insert(captured.database.owner.clone());
    }
    owners
}

fn tablespaces(facts: &Facts, archive: Option<&Archive>, choice: &Choice) -> Vec<String> {
    let named: BTreeSet<String> = archive
        .iter()
        .flat_map(|archive| &archive.entries)
        .filter(|entry| choice.has_entry(entry.dump_id))
        .filter_map(|entry| Some(entry.tablespace.as_ref()?.as_str()?.to_owned()))
        .filter(|name| !name.is_empty() && !facts.tablespaces.contains(name))
        .collect();
    named.into_iter().collect()
}

/// The names beside the target are free, and the target may be renamed.
pub(super) fn names(server: &mut Session, details: &Details, facts: &Facts) -> Result<()> {
    if details.old.is_none() {
        return Ok(());
    }
    if find(server, &details.names.kept)?.is_some() {
        return Err(SourceError::new(
            ErrorKind::Conflict,
            format!("A database {} exists already; the replaced one was to get this name.", details.names.kept),
        )
        .hint("Drop or rename it."));
    }
    let owner = server.text(&format!(
        "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = {}",
        literal(&details.names.database)
    ))?;
    let owner = owner.unwrap_or_default();
    if !facts.superuser && !facts.ours.contains(&owner) {
        return Err(SourceError::new(
            ErrorKind::Denied,
            format!(
                "The database {} belongs to {owner}, and only its owner may have it replaced.",
                details.names.database
            ),
        )
        .hint("Make the source's account a member of that role, or restore into a new database."));
    }
    Ok(())
}

fn major(version: &str) -> u32 {
    version.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok()).unwrap_or(0)
}
