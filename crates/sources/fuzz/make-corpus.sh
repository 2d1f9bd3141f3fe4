#!/usr/bin/env bash
# Makes corpus/archive anew with the real pg_dump, for each version whose folder of programs is given:
#   ./make-corpus.sh /usr/lib/postgresql/15/bin /opt/postgresql-17/bin
# A throwaway server is started for each; as root it runs as the user `postgres`. psql is taken from PATH.
set -euo pipefail
target=$(cd "$(dirname "$0")" && pwd)/corpus/archive
mkdir -p "$target"

as_server() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}

stop() {
    kill -QUIT "$(head -1 "$folder/data/postmaster.pid")" || true
    wait $server || true
    rm -rf "$folder"
}

for bin in "${@:-/usr/lib/postgresql/15/bin}"; do
    folder=$(mktemp -d /tmp/tv-corpus-XXXX)
    [ "$(id -u)" != 0 ] || chown postgres "$folder"
    major=$("$bin/pg_dump" --version | sed 's/.* \([0-9]*\).*/\1/')
    as_server "$bin/initdb" -D "$folder/data" --no-sync -A trust -U postgres --no-locale -E UTF8 --no-instructions >/dev/null
    as_server "$bin/postgres" -D "$folder/data" -F -c listen_addresses= -c unix_socket_directories="$folder" \
        >/dev/null 2>&1 &
    server=$!
    trap 'stop' EXIT
    export PGHOST=$folder PGUSER=postgres PGOPTIONS='-c client_min_messages=warning'
    until psql -X -q -c 'SELECT' postgres >/dev/null 2>&1; do sleep 0.1; done
    sql() { psql -X -q -v ON_ERROR_STOP=1 "$@" >/dev/null; }
    # Through a pipe, as a capture does it: offsets are unknown.
    dump() { "$bin/pg_dump" --format=custom "${@:2}" | cat > "$target/$major-$1.pgdmp"; }

    for database in empty rows objects; do sql -c "CREATE DATABASE $database" postgres; done
    sql -c "CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1'" postgres
    sql -c "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'" postgres
    sql rows <<'SQL'
        CREATE SCHEMA "odd ""name"" ✓";
        CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE TABLE "odd ""name"" ✓"."line
break" (id serial PRIMARY KEY, m mood DEFAULT 'glad', twice integer GENERATED ALWAYS AS (2) STORED);
        INSERT INTO "odd ""name"" ✓"."line
break" (m) VALUES ('sad'), (NULL);
        COMMENT ON TYPE mood IS 'two
lines';
        CREATE TABLE measured (at date) PARTITION BY RANGE (at);
        CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
        INSERT INTO measured VALUES ('2019-02-03');
        ALTER TABLE measured_old ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON measured_old USING (true);
        GRANT SELECT ON measured TO PUBLIC;
SQL
    sql objects <<'SQL'
        CREATE ROLE other;
        SELECT lo_from_bytea(4001, '\x00ff'), lo_from_bytea(4002, ''), lo_from_bytea(3000000000, 'many bytes');
        ALTER LARGE OBJECT 4002 OWNER TO other;
        COMMENT ON LARGE OBJECT 4001 IS 'one';
SQL
    printf 'SET client_encoding TO latin1; CREATE TABLE "stra\337e" (x text); INSERT INTO "stra\337e" VALUES ($$\344$$);' | sql latin1
    printf 'CREATE TABLE "\377\376" (x text); INSERT INTO "\377\376" VALUES ($$\200$$);' | sql ascii
    for database in empty rows objects latin1 ascii; do dump $database -Z0 $database; done
    dump compressed -Z6 rows
    dump definitions -Z0 --schema-only rows
    # Into a file: offsets are set.
    "$bin/pg_dump" --format=custom -Z0 -f "$folder.placed" rows
    cat "$folder.placed" > "$target/$major-placed.pgdmp"
    rm "$folder.placed"
    stop
    trap - EXIT
done
