//! What a database has of the server around it: subscriptions, tablespaces, locales, extensions.

use std::{fs, path::PathBuf, sync::Arc};

use trivault_sources::{
    Conflict,
    testing::{MemoryPart, MemoryReader, MemorySink, MemoryStore},
};
use trivault_testkit::postgres::PostgresServer;

use crate::support::{Database, falsified, in_place, new_database, restored};

/// A server of this version or newer.
fn has_version(source: &Database, version: u32) -> bool {
    let there: u32 = source.admin("SHOW server_version_num").trim().parse().unwrap();
    if there < version {
        println!("the server is older than {}: not tested", version / 10_000);
    }
    there >= version
}

#[test]
fn a_subscription_comes_back_disabled() {
    let Some(source) = Database::new("subscribed", "CREATE TABLE t (id int)") else { return };
    source.sql("CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p, q WITH (connect = false)");
    // A server that receives changes the moment it is restored would get them twice.
    source.sql("ALTER SUBSCRIPTION s ENABLE");
    let part = source.capture();
    restored(source.driver().as_ref(), &part, &new_database("subscribed2"));
    let of = |name: &str| {
        source.named(name).sql(
            "SELECT subname, subenabled, subconninfo, subpublications FROM pg_subscription \
             WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
    };
    assert_eq!(of("subscribed").trim(), "s|t|host=/nowhere|{p,q}");
    assert_eq!(of("subscribed2").trim(), "s|f|host=/nowhere|{p,q}");
    for name in ["subscribed", "subscribed2"] {
        let database = source.named(name);
        for statement in ["DISABLE", "SET (slot_name = NONE)"] {
            database.sql(&format!("ALTER SUBSCRIPTION s {statement}"));
        }
        database.sql("DROP SUBSCRIPTION s");
    }
}

#[test]
fn a_tablespace_is_used_where_the_server_has_it_and_left_out_with_a_word_where_not() {
    let Some(source) = Database::new("spaced", "") else { return };
    if !has_version(&source, 150_000) {
        return;
    }
    source.admin("ALTER ROLE postgres SET allow_in_place_tablespaces = on");
    source.admin("CREATE TABLESPACE \"Odd space\" LOCATION ''");
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY USING INDEX TABLESPACE \"Odd space\") TABLESPACE \"Odd space\"; \
         INSERT INTO t SELECT generate_series(1, 500)",
    );
    let part = source.capture();
    let roles = String::from_utf8(part.bytes(&[b"roles.sql"]).unwrap()).unwrap();
    assert!(roles.contains("CREATE TABLESPACE \"Odd space\""), "{roles}");
    let before = source.digest();
    let (plan, _) = restored(source.driver().as_ref(), &part, &new_database("spaced2"));
    assert!(!plan.steps.iter().any(|step| step.contains("tablespace")), "{:?}", plan.steps);
    assert_eq!(source.named("spaced2").digest(), before);
    source.admin("DROP DATABASE spaced2");
    source.sql("DROP TABLE t");
    source.admin("DROP TABLESPACE \"Odd space\"");
    let (plan, _) = restored(source.driver().as_ref(), &part, &new_database("spaced3"));
    assert!(plan.steps.contains(&"Leaves tablespaces out; the server lacks Odd space.".to_owned()), "{:?}", plan.steps);
    let copy = source.named("spaced3");
    assert_eq!(copy.sql("SELECT count(*), sum(id) FROM t").trim(), "500|125250");
    assert_eq!(copy.sql("SELECT count(*) FROM pg_class WHERE reltablespace <> 0 AND relname ~ '^t'").trim(), "0");
    // All is the same but for the place, and the blank lines around it.
    let elsewhere = |digest: &str| {
        let digest = digest.replace("; Tablespace: Odd space", "");
        let lines = digest.lines().filter(|line| !line.is_empty() && !line.starts_with("SET default_tablespace"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(elsewhere(&copy.digest()), elsewhere(&before));
}

#[test]
fn a_database_that_icu_sorts_comes_back_sorted_by_icu() {
    let Some(source) = Database::new("sorting", "") else { return };
    if !has_version(&source, 150_000) {
        return;
    }
    if source.admin("SELECT count(*) FROM pg_collation WHERE collprovider = 'i'").trim() == "0" {
        println!("the server is built without ICU: not tested");
        return;
    }
    source.admin("CREATE DATABASE icu TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'");
    let icu = source.named("icu");
    icu.sql("CREATE TABLE t (word text PRIMARY KEY); INSERT INTO t VALUES ('Zoo'), ('äpfel'), ('apfel'), ('Ähre')");
    let part = icu.capture();
    restored(icu.driver().as_ref(), &part, &new_database("icu2"));
    let of = |name: &str| {
        source.admin(&format!(
            "SELECT to_json(d)->>'datlocprovider', coalesce(to_json(d)->>'datlocale', to_json(d)->>'daticulocale'), \
             datcollate, datctype, datcollversion FROM pg_database d WHERE datname = '{name}'"
        ))
    };
    assert!(of("icu").starts_with("i|de"), "{}", of("icu"));
    assert_eq!(of("icu2"), of("icu"));
    let sorted = "SELECT string_agg(word, ' ' ORDER BY word) FROM t";
    assert_eq!(icu.named("icu2").sql(sorted).trim(), "Ähre apfel äpfel Zoo");
    assert_eq!(icu.named("icu2").digest(), icu.digest());
    let warning = |part: &Arc<MemoryPart>| {
        let plan = icu.driver().plan_restore(&MemoryReader::new(part), &new_database("never")).unwrap();
        plan.steps.into_iter().find(|step| step.starts_with("Warning:"))
    };
    assert_eq!(warning(&part), None);
    let other = falsified(&icu, |details| details["database"]["collation_version"] = "0.1".into());
    assert!(warning(&other).unwrap().contains("the source did by 0.1"));
}

#[test]
fn another_version_of_the_sorting_is_warned_of() {
    let Some(source) = Database::new("sorted", "") else { return };
    if !has_version(&source, 150_000) {
        return;
    }
    // The locales of libc that have versions are those of languages, and many machines have none.
    let locale = source.admin(
        "SELECT quote_literal(collcollate) FROM pg_collation WHERE collprovider = 'c' AND collencoding = 6 \
         AND pg_collation_actual_version(oid) IS NOT NULL ORDER BY 1 LIMIT 1",
    );
    let Some(locale) = Some(locale.trim()).filter(|locale| !locale.is_empty()) else {
        println!("this machine has no locale of a language: not tested");
        return;
    };
    source.admin(&format!("CREATE DATABASE language TEMPLATE template0 ENCODING 'UTF8' LOCALE {locale}"));
    let language = source.named("language");
    let warning = |version: Option<&str>| {
        let sink = MemorySink::new(&MemoryStore::new());
        let mut manifest = language.driver().capture(&sink).unwrap();
        if let Some(version) = version {
            manifest.details["database"]["collation_version"] = version.into();
        }
        let part = sink.into_part(manifest);
        let plan = language.driver().plan_restore(&MemoryReader::new(&part), &new_database("never")).unwrap();
        plan.steps.into_iter().find(|step| step.starts_with("Warning:"))
    };
    assert_eq!(warning(None), None);
    let told = warning(Some("0.1")).unwrap();
    assert!(told.contains("the source did by 0.1"), "{told}");
}

/// Files of an extension that is there while a test runs.
struct Extension([PathBuf; 2]);

impl Extension {
    /// `None` where its folder is not ours to write to.
    fn install(name: &str, script: &str) -> Option<Self> {
        let config = PostgresServer::shared()?.binaries().join("pg_config");
        let output = std::process::Command::new(config).arg("--sharedir").output().ok()?;
        let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join("extension");
        let files = [folder.join(format!("{name}.control")), folder.join(format!("{name}--1.sql"))];
        let control = "comment = 'of a test'\ndefault_version = '1'\nrelocatable = false\n";
        let written = fs::write(&files[0], control).and_then(|()| fs::write(&files[1], script));
        let extension = Self(files);
        if let Err(error) = written {
            println!("no extension can be installed in {}: {error}: not tested", folder.display());
            return None;
        }
        Some(extension)
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}

#[test]
fn of_an_extension_s_configuration_come_back_the_rows_that_it_wants_kept() {
    let name = format!("tvconf_{}", std::process::id());
    let script =
        "CREATE TABLE conf (a int PRIMARY KEY, mine bool NOT NULL); INSERT INTO conf VALUES (1, false), (2, false);
        SELECT pg_catalog.pg_extension_config_dump('conf', 'WHERE mine');
        CREATE TABLE every (a int); SELECT pg_catalog.pg_extension_config_dump('every', '');
        CREATE TABLE unkept (a int); INSERT INTO unkept VALUES (7);";
    let Some(source) = Database::new("configured", "") else { return };
    let Some(_files) = Extension::install(&name, script) else { return };
    source.sql(&format!("CREATE SCHEMA conf; CREATE EXTENSION {name} SCHEMA conf"));
    source.sql(
        "INSERT INTO conf.conf SELECT n, n % 2 = 0 FROM generate_series(3, 1002) n; INSERT INTO conf.every VALUES (5)",
    );
    source.sql("INSERT INTO conf.unkept VALUES (8)");
    let part = source.capture();
    assert_eq!(part.manifest().items, 501, "the rows that are mine, and the one of the other table");
    let rows = String::from_utf8(part.bytes(&[b"data", b"conf.conf", b"0000.copy"]).unwrap()).unwrap();
    assert!(rows.lines().all(|row| row.ends_with("\tt")), "{rows}");
    restored(source.driver().as_ref(), &part, &new_database("configured2"));
    let copy = source.named("configured2");
    let all = "SELECT count(*), sum(a) FILTER (WHERE mine), sum(a) FILTER (WHERE NOT mine) FROM conf.conf";
    assert_eq!(copy.sql(all).trim(), format!("502|{}|3", (4..=1002).step_by(2).sum::<u32>()));
    assert_eq!(copy.sql("SELECT a FROM conf.every").trim(), "5");
    assert_eq!(copy.sql("SELECT a FROM conf.unkept").trim(), "7", "only what the extension itself made");
    // Into the live database, where some of them are gone.
    source.sql("DELETE FROM conf.conf WHERE a > 500");
    restored(source.driver().as_ref(), &part, &in_place(Conflict::AddMissing));
    assert_eq!(source.sql("SELECT count(*) FROM conf.conf WHERE mine").trim(), "500");
    for name in ["configured", "configured2"] {
        source.admin(&format!("DROP DATABASE {name}"));
    }
}
