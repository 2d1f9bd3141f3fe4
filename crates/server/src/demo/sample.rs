//! The demo's sample data: a database called as the Couchbase manual's examples call their bucket, and a directory tree.
//! Everything comes from one small generator, so that two runs make the same data.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rusqlite::{Connection, Transaction, params};

const AIRLINES: i64 = 200;
const AIRPORTS: i64 = 2_000;
const HOTELS: i64 = 8_000;
const ROUTES: i64 = 30_000;
const REVIEWS: i64 = 62_000;

/// SplitMix64: good enough for sample data, and the same everywhere.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 up to `limit`, exclusive.
    fn below(&mut self, limit: i64) -> i64 {
        (self.next() >> 1) as i64 % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let count = choices.len() as i64;
        choices[self.below(count) as usize]
    }

    fn words(&mut self, count: i64) -> String {
        (0..count).map(|_| self.pick(WORDS)).collect::<Vec<_>>().join(" ")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

const WORDS: &[&str] = &[
    "breakfast",
    "harbour",
    "quiet",
    "garden",
    "station",
    "view",
    "señor",
    "Zürich",
    "北京",
    "кофе",
    "museum",
    "bridge",
    "morning",
    "left",
    "crème",
    "smörgås",
    "near",
    "old",
    "town",
    "✈",
    "window",
    "door",
    "late",
    "early",
    "friendly",
    "القاهرة",
    "island",
    "north",
    "south",
    "lift",
    "stairs",
    "river",
    "night",
    "train",
    "café",
    "naïve",
    "straße",
];
const COUNTRIES: &[&str] = &["France", "日本", "Ελλάδα", "Brasil", "Österreich", "Polska", "United States", "ไทย"];

/// Builds the database: some 100,000 rows in five related tables with text, blobs, NULLs and unicode.
///
/// # Errors
/// When the file cannot be made.
pub fn build_database(path: &Path) -> rusqlite::Result<i64> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(
        "CREATE TABLE airline(id INTEGER PRIMARY KEY, name TEXT NOT NULL, iata TEXT, callsign TEXT, country TEXT);
         CREATE TABLE airport(id INTEGER PRIMARY KEY, name TEXT NOT NULL, faa TEXT UNIQUE, lat REAL, lon REAL, tz TEXT);
         CREATE TABLE hotel(id INTEGER PRIMARY KEY, title TEXT NOT NULL, city TEXT, price REAL, photo BLOB, closed_on TEXT);
         CREATE TABLE route(airline INTEGER REFERENCES airline(id), number INTEGER, origin INTEGER REFERENCES airport(id),
             destination INTEGER REFERENCES airport(id), distance REAL, PRIMARY KEY(airline, number)) WITHOUT ROWID;
         CREATE TABLE review(id INTEGER PRIMARY KEY, hotel INTEGER REFERENCES hotel(id), author TEXT, stars INTEGER,
             content TEXT NOT NULL, answer TEXT);
         CREATE INDEX review_by_hotel ON review(hotel);
         CREATE VIEW good_hotel AS SELECT hotel, avg(stars) AS stars FROM review GROUP BY hotel HAVING avg(stars) > 4;",
    )?;
    let transaction = connection.transaction()?;
    fill(&transaction)?;
    transaction.commit()?;
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
    Ok(AIRLINES + AIRPORTS + HOTELS + ROUTES + REVIEWS)
}

fn fill(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut random = Generator(2026);
    let mut airline = transaction.prepare("INSERT INTO airline VALUES (?, ?, ?, ?, ?)")?;
    for id in 1..=AIRLINES {
        let callsign = (random.below(4) > 0).then(|| random.words(1).to_uppercase());
        airline.execute(params![id, random.words(2), format!("{:02X}", id % 256), callsign, random.pick(COUNTRIES)])?;
    }
    let mut airport = transaction.prepare("INSERT INTO airport VALUES (?, ?, ?, ?, ?, ?)")?;
    for id in 1..=AIRPORTS {
        let (lat, lon) = (random.below(180_000) as f64 / 1e3 - 90.0, random.below(360_000) as f64 / 1e3 - 180.0);
        airport.execute(params![id, random.words(2), format!("F{id:05}"), lat, lon, None::<String>])?;
    }
    let mut hotel = transaction.prepare("INSERT INTO hotel VALUES (?, ?, ?, ?, ?, ?)")?;
    for id in 1..=HOTELS {
        let size = random.below(1_500) as usize;
        let photo = (random.below(3) > 0).then(|| random.bytes(size));
        let closed = (random.below(20) == 0).then(|| format!("20{:02}-01-31", random.below(26)));
        hotel.execute(params![
            id,
            random.words(3),
            random.words(1),
            random.below(40_000) as f64 / 100.0,
            photo,
            closed
        ])?;
    }
    let mut route = transaction.prepare("INSERT INTO route VALUES (?, ?, ?, ?, ?)")?;
    for id in 0..ROUTES {
        let (origin, destination) = (1 + random.below(AIRPORTS), 1 + random.below(AIRPORTS));
        route.execute(params![
            1 + id % AIRLINES,
            id / AIRLINES,
            origin,
            destination,
            random.below(15_000) as f64 / 3.0
        ])?;
    }
    let mut review = transaction.prepare("INSERT INTO review VALUES (?, ?, ?, ?, ?, ?)")?;
    for id in 1..=REVIEWS {
        let (author, length) = (random.words(1), 5 + random.below(40));
        let answer = (random.below(5) == 0).then(|| random.words(8));
        review.execute(params![
            id,
            1 + random.below(HOTELS),
            author,
            1 + random.below(5),
            random.words(length),
            answer
        ])?;
    }
    Ok(())
}

/// Builds the tree: 400 files in nested directories, among them an empty one, unicode names, a sparse one, a hard link, a
/// symbolic link and a program.
///
/// # Errors
/// When the directory cannot be made.
pub fn build_tree(root: &Path) -> io::Result<()> {
    let mut random = Generator(7);
    for album in 0..20 {
        let directory = root.join(format!("album {album:02}")).join(random.pick(WORDS));
        fs::create_dir_all(&directory)?;
        for photo in 0..20 {
            let size = random.below(60_000) as usize;
            fs::write(directory.join(format!("{}-{photo:03}.jpg", random.pick(WORDS))), random.bytes(size))?;
        }
    }
    fs::write(root.join("empty.txt"), b"")?;
    fs::write(root.join("lies mich – прочитай.txt"), "Grüße aus dem Verzeichnis.\n")?;
    fs::write(root.join("index.sh"), "#!/bin/sh\nls\n")?;
    fs::set_permissions(root.join("index.sh"), fs::Permissions::from_mode(0o755))?;
    symlink("index.sh", root.join("latest"))?;
    fs::hard_link(root.join("index.sh"), root.join("same-as-index.sh"))?;
    let sparse = fs::File::create(root.join("sparse.img"))?;
    sparse.set_len(64 << 20)
}

/// What the demo does to the live data before the restore in place: rows changed and deleted, files overwritten and gone.
///
/// # Errors
/// When the data cannot be reached.
pub fn damage(database: &Path, tree: &Path) -> Result<String, String> {
    let connection = Connection::open(database).map_err(|error| error.to_string())?;
    let deleted = connection.execute("DELETE FROM review WHERE id % 3 = 0", []).map_err(|error| error.to_string())?;
    let changed = connection.execute("UPDATE hotel SET title = 'lost'", []).map_err(|error| error.to_string())?;
    fs::remove_dir_all(tree.join("album 03")).map_err(|error| error.to_string())?;
    fs::write(tree.join("index.sh"), "overwritten").map_err(|error| error.to_string())?;
    Ok(format!("{deleted} reviews deleted, {changed} hotels overwritten, one album removed, one program overwritten"))
}
