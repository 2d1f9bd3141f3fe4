CREATE SCHEMA app;
CREATE SCHEMA "Odd ""schema""
name";
CREATE EXTENSION IF NOT EXISTS citext SCHEMA public;
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN app.positive AS integer CHECK (VALUE > 0);
CREATE SEQUENCE app.lonely START 10;
SELECT nextval('app.lonely');
CREATE TABLE app.owner (id serial PRIMARY KEY, name public.citext UNIQUE, mood app.mood DEFAULT 'ok');
INSERT INTO app.owner (name, mood) SELECT 'owner ' || i, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::app.mood FROM generate_series(1, 200) i;
CREATE TABLE app.account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner integer NOT NULL REFERENCES app.owner,
    balance numeric(12, 2) NOT NULL DEFAULT 0,
    doubled numeric GENERATED ALWAYS AS (balance * 2) STORED,
    count app.positive,
    tags text[],
    note text,
    raw bytea,
    at timestamptz DEFAULT now(),
    CHECK (balance > -1000));
INSERT INTO app.account (owner, balance, count, tags, note, raw)
    SELECT 1 + i % 200, i * 1.5, i, ARRAY['a', NULL, 'tab	back\slash'], CASE WHEN i % 7 = 0 THEN NULL ELSE E'line\nbreak \\. ' || i END,
    decode(md5(i::text), 'hex') FROM generate_series(1, 5000) i;
CREATE INDEX account_owner ON app.account (owner);
CREATE INDEX account_note ON app.account (lower(note)) WHERE note IS NOT NULL;
CREATE STATISTICS app.account_statistics ON owner, balance FROM app.account;
CREATE TABLE app.measure (day date NOT NULL, sensor integer, value double precision) PARTITION BY RANGE (day);
CREATE TABLE app.measure_2024 PARTITION OF app.measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.measure_2025 PARTITION OF app.measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
ALTER TABLE app.measure ADD PRIMARY KEY (day, sensor);
INSERT INTO app.measure SELECT date '2024-01-01' + i, i % 10, CASE i WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE i / 3.0 END FROM generate_series(0, 700) i;
CREATE TABLE app.parent (a int); CREATE TABLE app.child (b text) INHERITS (app.parent);
INSERT INTO app.parent VALUES (1); INSERT INTO app.child VALUES (2, 'two');
CREATE VIEW app.rich AS SELECT * FROM app.account WHERE balance > 100;
CREATE MATERIALIZED VIEW app.totals AS SELECT owner, sum(balance) AS total FROM app.account GROUP BY owner;
CREATE MATERIALIZED VIEW app.unpopulated AS SELECT 1 AS one WITH NO DATA;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := '2001-01-01'; RETURN NEW; END $$;
CREATE TRIGGER account_touch BEFORE UPDATE ON app.account FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE FUNCTION app.plus(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE AGGREGATE app.total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE TABLE app.secret (who text, what text);
INSERT INTO app.secret VALUES ('me', 'x');
ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.secret USING (who = current_user);
CREATE TABLE "Odd ""schema""
name"."Täble, ""x""" ("co""l" text PRIMARY KEY, "Ünï" text, "select" int);
INSERT INTO "Odd ""schema""
name"."Täble, ""x""" VALUES ('k', 'v', 1), ('', NULL, NULL), (E'a\\N', E'\\.', 3);
CREATE TABLE app.none (); INSERT INTO app.none DEFAULT VALUES; INSERT INTO app.none DEFAULT VALUES;
CREATE TABLE app.empty (id int PRIMARY KEY);
CREATE UNLOGGED TABLE app.unlogged (id int); INSERT INTO app.unlogged VALUES (1);
CREATE TABLE app.loop_a (id int PRIMARY KEY, b int); CREATE TABLE app.loop_b (id int PRIMARY KEY, a int REFERENCES app.loop_a DEFERRABLE);
ALTER TABLE app.loop_a ADD FOREIGN KEY (b) REFERENCES app.loop_b DEFERRABLE;
BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO app.loop_a VALUES (1, 1); INSERT INTO app.loop_b VALUES (1, 1); COMMIT;
CREATE PUBLICATION news FOR TABLE app.account;
CREATE FUNCTION app.no_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER quiet ON ddl_command_start EXECUTE FUNCTION app.no_event();
COMMENT ON TABLE app.account IS 'money''s place';
COMMENT ON COLUMN app.account.note IS 'said';
SELECT lo_from_bytea(4711, decode(repeat('00ff', 200000), 'hex'));
SELECT lo_create(4712);
SELECT lo_from_bytea(3000000000, 'high');
COMMENT ON LARGE OBJECT 4711 IS 'a large one';
REVOKE ALL ON app.secret FROM postgres;
CREATE TABLE app.lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll (id int PRIMARY KEY);
INSERT INTO app.lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll VALUES (63);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER far FOREIGN DATA WRAPPER nothing OPTIONS (place 'it''s far');
CREATE FOREIGN TABLE app.far (a int, b text OPTIONS (named 'c')) SERVER far;
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (who 'me');
DO $$ BEGIN CREATE ROLE everything_guest; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
ALTER TABLE app.parent OWNER TO everything_guest;
ALTER FUNCTION app.plus(integer, integer) OWNER TO everything_guest;
GRANT USAGE ON SCHEMA app TO everything_guest;
GRANT SELECT (a), UPDATE ON app.child TO everything_guest WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION app.touch() FROM PUBLIC;
GRANT USAGE ON SEQUENCE app.lonely TO everything_guest;
ALTER LARGE OBJECT 4712 OWNER TO everything_guest;
GRANT SELECT ON LARGE OBJECT 4711 TO everything_guest;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO everything_guest;
