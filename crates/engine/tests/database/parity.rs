//! Both schemas are the same, and a newer one is refused.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection, Row};
use trivault_engine::{db::*, *};

use crate::fixtures::*;

/// Table, column: type, whether it may be null.
type Columns = BTreeMap<(String, String), (String, bool)>;

async fn sqlite_connection(place: &Place) -> sqlx::SqliteConnection {
    let DatabaseOptions::Sqlite { path } = &place.options else { panic!("not SQLite") };
    sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

async fn postgres_connection(place: &Place) -> sqlx::PgConnection {
    let DatabaseOptions::Postgres { url } = &place.options else { panic!("not PostgreSQL") };
    sqlx::PgConnection::connect(url.expose()).await.unwrap()
}

async fn sqlite_columns(place: &Place) -> Columns {
    sqlx::query(
        "SELECT t.name, c.name, c.type, c.\"notnull\" OR c.pk > 0
         FROM sqlite_schema t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '_sqlx_%'",
    )
    .fetch_all(&mut sqlite_connection(place).await)
    .await
    .unwrap()
    .iter()
    .map(|row| ((row.get(0), row.get(1)), (row.get(2), !row.get::<bool, _>(3))))
    .collect()
}

async fn postgres_columns(place: &Place) -> Columns {
    sqlx::query(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES'
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx\\_%'",
    )
    .fetch_all(&mut postgres_connection(place).await)
    .await
    .unwrap()
    .iter()
    .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))))
    .collect()
}

/// Names of indexes that were given one.
async fn indexes(sqlite: &Place, postgres: &Place) -> (BTreeSet<String>, BTreeSet<String>) {
    let of_sqlite = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .fetch_all(&mut sqlite_connection(sqlite).await)
        .await
        .unwrap();
    let of_postgres = sqlx::query_scalar(
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
         AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'",
    )
    .fetch_all(&mut postgres_connection(postgres).await)
    .await
    .unwrap();
    (of_sqlite.into_iter().collect(), of_postgres.into_iter().collect())
}

#[tokio::test]
async fn tables_columns_types_and_indexes_are_the_same_on_both() {
    let Some(postgres) = Place::postgres().await else { return };
    let sqlite = Place::sqlite().await;
    let (left, right) = (sqlite_columns(&sqlite).await, postgres_columns(&postgres).await);
    assert!(left.len() > 100);
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (column, (ours, nullable)) in &left {
        let (theirs, also_nullable) = &right[column];
        let expected: &[&str] = match ours.as_str() {
            "BLOB" => &["uuid", "bytea"],
            "INTEGER" => &["bigint", "boolean"],
            "TEXT" => &["text", "timestamp with time zone"],
            other => panic!("{column:?} has type {other}"),
        };
        assert!(expected.contains(&theirs.as_str()), "{column:?}: {ours} and {theirs}");
        assert_eq!(nullable, also_nullable, "{column:?}");
        let name = column.1.as_str();
        let instant = name.ends_with("at")
            || name.ends_with("until")
            || name.ends_with("since")
            || ["point", "last_point", "next_run", "last_run", "not_before", "estimated_end"].contains(&name);
        assert_eq!(instant, theirs == "timestamp with time zone", "{column:?} is called after its type");
        let id = name == "id"
            || name.ends_with("_id") && name != "lock_id" && name != "request_id"
            || ["held_by", "lease_owner"].contains(&name);
        assert_eq!(id, theirs == "uuid", "{column:?} is called after its type");
    }
    let (left, right) = indexes(&sqlite, &postgres).await;
    assert_eq!(left, right);
}

#[test]
fn migrations_have_the_same_numbers_and_names() {
    let names = |folder: &str| -> BTreeSet<String> {
        let folder = trivault_testkit::require::repository_root().join("migrations").join(folder);
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

#[tokio::test]
async fn a_schema_newer_than_the_binary_is_refused_with_a_sentence() {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, ";
    let sqlite = Place::sqlite().await;
    let statement = sqlx::AssertSqlSafe(format!("{newer} x'00', 0)"));
    sqlx::query(statement).execute(&mut sqlite_connection(&sqlite).await).await.unwrap();
    let mut places = vec![sqlite];
    if let Some(postgres) = Place::postgres().await {
        let statement = sqlx::AssertSqlSafe(format!("{newer} '\\x00', 0)"));
        sqlx::query(statement).execute(&mut postgres_connection(&postgres).await).await.unwrap();
        places.push(postgres);
    }
    for place in places {
        let error = place.second_node().await.migrate().await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unsupported);
        assert!(error.sentence.contains("newer") && error.sentence.contains("9999"), "{error}");
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let place = Place::sqlite().await;
    place.db.migrate().await.unwrap();
    place.second_node().await.migrate().await.unwrap();
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = DatabaseOptions::Sqlite { path: folder.path().join("absent").join("metadata.db") };
    let error = Database::connect(&nowhere).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::DatabaseUnavailable);
    let url = format!("postgres:///x?host={}&user=postgres", folder.path().display());
    let error = Database::connect(&DatabaseOptions::Postgres { url: url.into() }).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::DatabaseUnavailable);
    std::fs::write(folder.path().join("text"), "this is not a database, and long enough to be looked at as one")
        .unwrap();
    let text = DatabaseOptions::Sqlite { path: folder.path().join("text") };
    let error = Database::connect(&text).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::DatabaseUnavailable);
    let wrong = DatabaseOptions::Postgres { url: "mysql://user:secret@host/db".to_owned().into() };
    let error = Database::connect(&wrong).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::InvalidInput);
    assert!(!format!("{error:?}").contains("secret"));
}
