//! What the account must be allowed to read.

use trivault_sources::{ErrorKind, Severity};
use trivault_testkit::postgres::PostgresServer;

use crate::{driver, finding, refusal, works};

/// A database of the shared server and a role that may log in and no more; its URL.
fn scene(role: &str) -> Option<(&'static PostgresServer, String, String)> {
    let server = PostgresServer::shared()?;
    let url = server.create_database();
    let database = url.split(['/', '?']).nth(3).unwrap().to_owned();
    server.query("postgres", &format!("CREATE ROLE {role} LOGIN"));
    Some((server, database, url.replace("user=postgres", &format!("user={role}"))))
}

#[test]
fn tables_sequences_and_schemas_that_cannot_be_read_are_named_with_the_grant() {
    let Some((server, database, url)) = scene("reader_of_little") else { return };
    let sql = |text: &str| server.query(&database, text);
    sql(
        "CREATE TABLE \"Odd name\" (id serial); CREATE TABLE plain (id int); GRANT SELECT ON plain TO reader_of_little",
    );
    sql("CREATE SCHEMA closed; CREATE TABLE closed.t (id int); GRANT SELECT ON closed.t TO reader_of_little");
    let findings = driver(&url, None).probe();
    let table = finding(&findings, "may not read the table public.\"Odd name\"");
    assert_eq!(table.severity, Severity::Error);
    let hint = table.hint.unwrap();
    assert!(hint.starts_with("GRANT SELECT ON TABLE public.\"Odd name\" TO \"reader_of_little\""), "{hint}");
    assert!(hint.contains("pg_read_all_data"), "{hint}");
    assert!(finding(&findings, "sequence public.\"Odd name_id_seq\"").hint.unwrap().contains("ON SEQUENCE"));
    assert!(finding(&findings, "may not use the schema closed").hint.unwrap().contains("GRANT USAGE ON SCHEMA closed"));
    let (kind, _, _) = refusal(&url, None);
    assert_eq!(kind, ErrorKind::Denied);

    for number in 0..12 {
        sql(&format!("CREATE TABLE many_{number:02} (id int)"));
    }
    let many = finding(&driver(&url, None).probe(), "13 of the tables");
    assert!(many.sentence.ends_with("many_08 and others."), "{}", many.sentence);
    sql("GRANT pg_read_all_data TO reader_of_little");
    works(&url, None);
}

#[test]
fn row_security_that_hides_rows_is_an_error_until_the_role_bypasses_it() {
    let Some((server, database, url)) = scene("filtered_one") else { return };
    server.query(
        &database,
        "CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO filtered_one",
    );
    let (kind, sentence, hint) = refusal(&url, None);
    assert_eq!(kind, ErrorKind::Denied);
    assert_eq!(sentence, "Row-level security hides rows of the table public.secret from user filtered_one.");
    assert_eq!(hint, "ALTER ROLE \"filtered_one\" BYPASSRLS");
    server.query("postgres", "ALTER ROLE filtered_one BYPASSRLS");
    works(&url, None);
}

#[test]
fn large_objects_of_others_are_counted() {
    let Some((server, database, url)) = scene("without_objects") else { return };
    let created = server.query(&database, "SELECT lo_from_bytea(0, 'one'); SELECT lo_from_bytea(0, 'two')");
    let (kind, sentence, hint) = refusal(&url, None);
    assert_eq!(kind, ErrorKind::Denied);
    assert_eq!(sentence, "User without_objects may not read 2 of the 2 large objects.");
    assert!(hint.contains("owner"), "{hint}");
    for id in created.split_whitespace() {
        server.query(&database, &format!("GRANT SELECT ON LARGE OBJECT {id} TO without_objects"));
    }
    finding(&works(&url, None), "holds 2 large objects");
}

#[test]
fn limits_of_the_role_are_told_and_do_not_bind() {
    let Some((server, database, url)) = scene("limited_one") else { return };
    server.query(&database, "CREATE TABLE t (id int); GRANT SELECT ON t TO limited_one");
    server.query("postgres", "ALTER ROLE limited_one SET statement_timeout = '1ms'");
    server.query("postgres", "ALTER ROLE limited_one SET idle_in_transaction_session_timeout = '1ms'");
    let told = finding(&works(&url, None), "statement_timeout=1ms");
    assert!(told.sentence.contains("idle_in_transaction_session_timeout=1ms"), "{}", told.sentence);
    assert_eq!(told.severity, Severity::Fine);
    server.query("postgres", "ALTER ROLE limited_one CONNECTION LIMIT 2");
    finding(&works(&url, None), "may have 2 connections; a backup takes 5");
}
