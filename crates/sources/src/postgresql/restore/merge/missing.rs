//! What of a backup's definitions the live database lacks.

use std::collections::{BTreeSet, HashSet};

use crate::{
    Result,
    postgresql::{
        dump::{Archive, Entry},
        restore::{choice::Choice, closure::stands_alone},
        session::Session,
    },
};

/// Entries that are to be made.
pub(super) struct Missing {
    pub entries: BTreeSet<i32>,
    /// Large objects that are made with them, with their owners, privileges and comments; empty at first.
    pub large_objects: HashSet<u32>,
}

/// Kinds that stand in `pg_class`.
const RELATIONS: [&str; 5] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"];
const TYPES: [&str; 2] = ["TYPE", "DOMAIN"];
const ROUTINES: [&str; 3] = ["FUNCTION", "PROCEDURE", "AGGREGATE"];

/// Names that the live database has: a mark of the kind, the schema, the name.
struct Names(HashSet<(&'static str, String, String)>);

impl Missing {
    pub(super) fn find(session: &mut Session, archive: &Archive, choice: &Choice) -> Result<Self> {
        let names = Names::read(session)?;
        let chosen = |entry: &&Entry| choice.has_entry(entry.dump_id);
        let mut entries: BTreeSet<i32> = archive
            .entries
            .iter()
            .filter(chosen)
            .filter(|entry| stands_alone(entry) && !entry.is_table_data() && names.lack(entry))
            .map(|entry| entry.dump_id)
            .collect();
        let mut large_objects = HashSet::new();
        if choice.large_objects {
            let live = live_large_objects(session)?;
            for entry in archive.entries.iter().filter(chosen) {
                // Of a group of which some are there the others are made when their content comes.
                let made = large_objects_of(entry);
                if !made.is_empty() && made.iter().all(|object| !live.contains(object)) {
                    entries.insert(entry.dump_id);
                    large_objects.extend(made);
                }
            }
        }
        // What hangs on something new is new as well; what is there already keeps what it has.
        loop {
            let before = entries.len();
            for entry in archive.entries.iter().filter(chosen).filter(|entry| !stands_alone(entry)) {
                if entry.dependencies.iter().any(|id| entries.contains(id)) {
                    entries.insert(entry.dump_id);
                }
            }
            if entries.len() == before {
                return Ok(Self { entries, large_objects });
            }
        }
    }
}

fn live_large_objects(session: &mut Session) -> Result<HashSet<u32>> {
    let rows = session.rows("SELECT oid::text FROM pg_catalog.pg_largeobject_metadata")?;
    Ok(rows.into_iter().flatten().flatten().filter_map(|oid| oid.parse().ok()).collect())
}

/// The large objects that an entry makes: one, and from version 1.16 of archives a list, one number a line.
fn large_objects_of(entry: &Entry) -> Vec<u32> {
    let list = if entry.description == "BLOB" {
        Some(&entry.tag)
    } else if entry.description == "BLOB METADATA" {
        entry.definition.as_ref()
    } else {
        None
    };
    let numbers = |list: &str| list.lines().map(|line| line.parse().ok()).collect::<Option<Vec<u32>>>();
    list.and_then(|list| numbers(list.as_str()?)).unwrap_or_default()
}

impl Names {
    fn read(session: &mut Session) -> Result<Self> {
        let queries = [
            ("schema", "SELECT '', nspname FROM pg_catalog.pg_namespace"),
            ("extension", "SELECT '', extname FROM pg_catalog.pg_extension"),
            (
                "relation",
                "SELECT nspname, relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace",
            ),
            (
                "type",
                "SELECT nspname, typname FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace",
            ),
            (
                "routine",
                "SELECT nspname, proname || '(' || coalesce((SELECT string_agg(pg_catalog.format_type(a, NULL), ', ' \
                 ORDER BY position) FROM unnest(proargtypes) WITH ORDINALITY AS arguments (a, position)), \
                 CASE WHEN prokind = 'a' THEN '*' ELSE '' END) || ')' FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace WHERE nspname <> 'pg_catalog'",
            ),
        ];
        let mut names = HashSet::new();
        for (kind, query) in queries {
            for row in session.rows(query)? {
                if let [Some(schema), Some(name)] = row.as_slice() {
                    names.insert((kind, schema.clone(), name.clone()));
                }
            }
        }
        Ok(Self(names))
    }

    fn lack(&self, entry: &Entry) -> bool {
        let is = |kinds: &[&str]| kinds.iter().any(|kind| entry.description == **kind);
        let schema = entry.namespace.as_ref().map(|schema| schema.lossy().into_owned()).unwrap_or_default();
        let has = |kind: &'static str, schema: &str| {
            self.0.contains(&(kind, schema.to_owned(), entry.tag.lossy().into_owned()))
        };
        if is(&["SCHEMA"]) {
            !has("schema", "")
        } else if is(&["EXTENSION"]) {
            !has("extension", "")
        } else if is(&RELATIONS) {
            !has("relation", &schema)
        } else if is(&TYPES) {
            !has("type", &schema)
        } else if is(&ROUTINES) {
            !has("routine", &schema)
        } else {
            // Operators, casts, publications ...: only together with their schema.
            !schema.is_empty() && !self.0.contains(&("schema", String::new(), schema))
        }
    }
}
