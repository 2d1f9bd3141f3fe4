//! Small live data: a database of two related tables and a tree with the usual oddities.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rusqlite::{Connection, params};

pub const ACCOUNTS: i64 = 500;

/// `acct` and `tx`, some blobs, NULLs and unicode.
pub fn database(path: &Path) {
    let mut connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE acct(id INTEGER PRIMARY KEY, bal INTEGER NOT NULL, note TEXT, image BLOB);
             CREATE TABLE tx(id INTEGER PRIMARY KEY, a INTEGER REFERENCES acct(id), b INTEGER, amount INTEGER);
             CREATE INDEX tx_by_a ON tx(a);",
        )
        .unwrap();
    let transaction = connection.transaction().unwrap();
    for id in 1..=ACCOUNTS {
        let note = (id % 3 > 0).then(|| format!("Konto {id} – счёт ✈"));
        let image = (id % 2 > 0).then(|| vec![(id % 251) as u8; (id % 900) as usize]);
        transaction.execute("INSERT INTO acct VALUES (?, 1000, ?, ?)", params![id, note, image]).unwrap();
        transaction.execute("INSERT INTO tx VALUES (?, ?, ?, 0)", params![id, id, ACCOUNTS + 1 - id]).unwrap();
    }
    transaction.commit().unwrap();
}

pub fn tree(root: &Path) {
    fs::create_dir_all(root.join("album/süd")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("album/one.jpg"), vec![7; 100_000]).unwrap();
    fs::write(root.join("album/süd/zwei.txt"), "Grüße\n").unwrap();
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("run.sh", root.join("latest")).unwrap();
    fs::hard_link(root.join("run.sh"), root.join("same")).unwrap();
}

/// A larger database: `rows` rows of about a kilobyte of noise each, so that a backup takes a while.
pub fn large_database(path: &Path, rows: u32) {
    let mut connection = Connection::open(path).unwrap();
    connection.execute_batch("CREATE TABLE noise(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)").unwrap();
    let transaction = connection.transaction().unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for id in 0..rows {
        let mut bytes = Vec::with_capacity(1024);
        for _ in 0..128 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        transaction.execute("INSERT INTO noise VALUES (?, ?)", params![id, bytes]).unwrap();
    }
    transaction.commit().unwrap();
}
