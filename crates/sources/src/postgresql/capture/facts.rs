//! What is true of the database as a whole.

use std::collections::BTreeSet;

use crate::{
    Result,
    postgresql::{
        dump::Archive,
        layout::DatabaseFacts,
        session::{Session, TextRow},
    },
};

/// Columns that only some versions have are asked for by name in the row as JSON.
const DATABASE: &str = "SELECT d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), \
     coalesce(d.datcollate, ''), coalesce(d.datctype, ''), to_json(d)->>'datlocprovider', \
     coalesce(to_json(d)->>'datlocale', to_json(d)->>'daticulocale'), to_json(d)->>'daticurules', to_json(d)->>'datcollversion', d.datconnlimit, \
     shobj_description(d.oid, 'pg_database'), d.datacl::text, pg_database_size(d.oid) \
     FROM pg_database d WHERE d.datname = current_database()";
const SETTINGS: &str = "SELECT coalesce(r.rolname, ''), unnest(s.setconfig) FROM pg_db_role_setting s \
     LEFT JOIN pg_roles r ON r.oid = s.setrole \
     WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2";
/// Owners and grantees of the database and of what is in it; the first superuser is not recorded there.
const ROLES: &str = "SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid \
     CROSS JOIN (SELECT oid FROM pg_database WHERE datname = current_database()) d \
     WHERE s.refclassid = 'pg_authid'::regclass \
     AND (s.dbid = d.oid OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = d.oid)";

pub(super) fn database(session: &mut Session) -> Result<DatabaseFacts> {
    let row = session.rows(DATABASE)?.into_iter().next().unwrap_or_default();
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let mut facts = DatabaseFacts {
        name: next().unwrap_or_default(),
        owner: next().unwrap_or_default(),
        encoding: next().unwrap_or_default(),
        collate: next().unwrap_or_default(),
        ctype: next().unwrap_or_default(),
        locale_provider: next(),
        icu_locale: next(),
        icu_rules: next(),
        collation_version: next(),
        connection_limit: next().and_then(|limit| limit.parse().ok()).unwrap_or(-1),
        comment: next(),
        privileges: next(),
        settings: Vec::new(),
        size: next().and_then(|size| size.parse().ok()).unwrap_or_default(),
    };
    facts.settings = pairs(session.rows(SETTINGS)?);
    Ok(facts)
}

/// Name and version of each extension.
pub(super) fn extensions(session: &mut Session) -> Result<Vec<(String, String)>> {
    Ok(pairs(session.rows("SELECT extname, extversion FROM pg_extension ORDER BY extname")?))
}

/// Who must be there for a restore as it was.
pub(super) fn roles(session: &mut Session, owner: &str, archive: Option<&Archive>) -> Result<Vec<String>> {
    let mut roles: BTreeSet<String> = session.rows(ROLES)?.into_iter().flatten().flatten().collect();
    roles.insert(owner.to_owned());
    let owners = archive.into_iter().flat_map(|archive| &archive.entries).filter_map(|entry| entry.owner.as_ref());
    roles.extend(owners.filter_map(|owner| owner.as_str()).map(str::to_owned));
    roles.retain(|role| !role.is_empty());
    Ok(roles.into_iter().collect())
}

/// Indexes of the tables of users.
pub(super) fn indexes(session: &mut Session) -> Result<u64> {
    let count = session.text(
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    )?;
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or_default())
}

fn pairs(rows: Vec<TextRow>) -> Vec<(String, String)> {
    let pair = |row: TextRow| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        Some((row.next()?, row.next()?))
    };
    rows.into_iter().filter_map(pair).collect()
}
