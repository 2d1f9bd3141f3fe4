//! What belongs to the database itself: comment, settings, limit of connections, privileges, owner.
//!
//! `pg_restore` sets these only in a database that it makes itself.

use crate::{
    PartReader, Result, Warning,
    postgresql::{
        layout::DatabaseFacts,
        session::{Session, literal, quote},
    },
};

use super::plan::Details;

/// Settings whose value is a list of names; each name is given by itself.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Sets everything; what a plain account may not set is a warning.
pub(super) fn apply(
    server: &mut Session,
    part: &dyn PartReader,
    details: &Details,
    facts: &DatabaseFacts,
) -> Result<()> {
    let name = &details.names.temporary;
    let database = quote(name);
    let mut statements = Vec::new();
    if let Some(comment) = &facts.comment {
        statements.push(format!("COMMENT ON DATABASE {database} IS {}", literal(comment)));
    }
    statements.extend(facts.settings.iter().filter_map(|(role, setting)| set(&database, role, setting)));
    if facts.connection_limit >= 0 {
        statements.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {}", facts.connection_limit));
    }
    if !details.without_owners {
        if !facts.owner.is_empty() {
            server.execute(&format!("ALTER DATABASE {database} OWNER TO {}", quote(&facts.owner)))?;
        }
        if let Some(privileges) = &facts.privileges {
            statements.extend(grants(server, &database, &facts.owner, privileges)?);
        }
    }
    for statement in statements {
        if let Err(error) = server.execute(&statement) {
            part.warn(Warning {
                code: "database_property".to_owned(),
                count: 1,
                sentence: format!(
                    "A property of the database could not be set: {error} ({})",
                    statement.replace(name, "...")
                ),
            });
        }
    }
    Ok(())
}

/// `ALTER DATABASE ... SET`, or of a role in this database.
fn set(database: &str, role: &str, setting: &str) -> Option<String> {
    let (name, value) = setting.split_once('=')?;
    let value = if LISTS.contains(&name.to_lowercase().as_str()) {
        let names: Vec<String> = super::filter::column_names(value).iter().map(|name| literal(name)).collect();
        if names.is_empty() { "''".to_owned() } else { names.join(", ") }
    } else {
        literal(value)
    };
    // Extensions' settings have two parts.
    let name: Vec<String> = name.split('.').map(quote).collect();
    let name = name.join(".");
    Some(if role.is_empty() {
        format!("ALTER DATABASE {database} SET {name} TO {value}")
    } else {
        format!("ALTER ROLE {} IN DATABASE {database} SET {name} TO {value}", quote(role))
    })
}

/// Statements that lead from the privileges of a new database to these.
fn grants(server: &mut Session, database: &str, owner: &str, privileges: &str) -> Result<Vec<String>> {
    let rows = server.rows(&format!(
        "SELECT CASE WHEN grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(grantee) END, privilege_type, \
         is_grantable::text FROM pg_catalog.aclexplode({}::pg_catalog.aclitem[])",
        literal(privileges)
    ))?;
    let mut statements = vec![format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")];
    if !owner.is_empty() {
        statements.push(format!("REVOKE ALL ON DATABASE {database} FROM {}", quote(owner)));
    }
    statements.extend(rows.iter().filter_map(|row| {
        let [Some(grantee), Some(privilege), Some(grantable)] = row.as_slice() else { return None };
        let grantee = if grantee.is_empty() { "PUBLIC".to_owned() } else { quote(grantee) };
        let option = if grantable == "true" { " WITH GRANT OPTION" } else { "" };
        Some(format!("GRANT {privilege} ON DATABASE {database} TO {grantee}{option}"))
    }));
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_given_as_the_server_keeps_them() {
        let set = |role: &str, setting: &str| set("\"d\"", role, setting).unwrap();
        assert_eq!(set("", "work_mem=64MB"), "ALTER DATABASE \"d\" SET \"work_mem\" TO '64MB'");
        assert_eq!(
            set("", "search_path=\"$user\", public"),
            "ALTER DATABASE \"d\" SET \"search_path\" TO '$user', 'public'"
        );
        assert_eq!(set("", "search_path=\"\""), "ALTER DATABASE \"d\" SET \"search_path\" TO ''");
        assert_eq!(set("bob", "my.thing=a=b"), "ALTER ROLE \"bob\" IN DATABASE \"d\" SET \"my\".\"thing\" TO 'a=b'");
    }
}
