//! With archives that the real `pg_dump` makes of a real server.

mod putting_together;
mod reading;
mod stored;
mod versions;

use std::process::{Command, Stdio};

use trivault_testkit::postgres::PostgresServer;

use super::*;

/// A bit of everything that a table of contents can hold.
const EVERYTHING: &str = r#"
    CREATE EXTENSION pgcrypto;
    CREATE SCHEMA app;
    CREATE SCHEMA "odd ""schema"" ✓";
    CREATE TYPE app.mood AS ENUM ('glad', 'sad''ly', 'наверно');
    CREATE DOMAIN app.positive AS integer CHECK (VALUE > 0);
    CREATE FUNCTION app.double(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
    CREATE TABLE app.people (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL, mood app.mood DEFAULT 'glad', size app.positive,
        twice integer GENERATED ALWAYS AS (app.double(size)) STORED, photo bytea, notes text[]);
    INSERT INTO app.people (name, mood, size, photo, notes)
        SELECT 'name ' || n || E' tab\t back\\slash \\. ünï', 'sad''ly', n,
            decode(repeat(md5(n::text), 3), 'hex'), ARRAY[NULL, E'line\nbreak', '']
        FROM generate_series(1, 20000) AS n;
    COMMENT ON TABLE app.people IS E'a comment\nof two lines with ''quotes''';
    CREATE INDEX people_name ON app.people (lower(name)) WHERE size > 10;
    ALTER TABLE app.people ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON app.people FOR SELECT TO public USING (name = current_user);
    GRANT SELECT ON app.people TO PUBLIC;
    CREATE TABLE app.orders (id integer, at date NOT NULL, person bigint REFERENCES app.people, total numeric)
        PARTITION BY RANGE (at);
    CREATE TABLE app.orders_old PARTITION OF app.orders FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE app.orders_new PARTITION OF app.orders FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
    INSERT INTO app.orders SELECT n, date '2019-06-01' + n, 1 + n % 20000, n / 7.0 FROM generate_series(1, 500) AS n;
    CREATE TABLE "odd ""schema"" ✓"."tab
le ' \ with . all" ("col
umn" text, " " integer, "ж" double precision);
    CREATE TABLE app.empty (id serial PRIMARY KEY, nothing text);
    CREATE VIEW app.names AS SELECT id, name FROM app.people;
    CREATE MATERIALIZED VIEW app.totals AS SELECT person, sum(total) FROM app.orders GROUP BY 1;
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TRIGGER touch BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.touch();
    CREATE SEQUENCE app.numbers START 7;
    SELECT nextval('app.numbers'), nextval('app.numbers');
    CREATE PUBLICATION news FOR TABLE app.people;
    SELECT lo_from_bytea(4001, decode(repeat('00ff10', 30000), 'hex')), lo_from_bytea(4002, ''),
        lo_from_bytea(3000000000, 'small');
    COMMENT ON LARGE OBJECT 4001 IS 'a large object';
    CREATE TABLE public.loose (word text, n double precision);
    INSERT INTO public.loose VALUES ('a', 'NaN'), (NULL, '-Infinity'), ('\N', 1e300), ('', NULL);
"#;

/// The name in a URL of the testkit.
fn name(database: &str) -> &str {
    database.trim_start_matches("postgres:///").split('?').next().unwrap()
}

/// A database with [`EVERYTHING`], by name.
fn everything(server: &PostgresServer) -> String {
    let url = server.create_database();
    server.query(&url, EVERYTHING);
    server.query(
        &url,
        "INSERT INTO \"odd \"\"schema\"\" ✓\".\"tab\nle ' \\ with . all\" VALUES (E'\\\\.', 1, 0.1), (E'\\\\.\\n', 2, 1e-300)",
    );
    name(&url).to_owned()
}

fn program(server: &PostgresServer, program: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("-h").arg(server.socket_folder()).args(["-U", "postgres", "--no-password"]);
    command
}

fn output(mut command: Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `pg_dump` writes into a pipe.
fn dumped(server: &PostgresServer, database: &str) -> Vec<u8> {
    let mut command = program(server, "pg_dump");
    command.args(["-Fc", "-Z0", "-d", database]);
    output(command)
}
