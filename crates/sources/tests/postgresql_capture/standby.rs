//! A server that only follows another one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use trivault_sources::{
    ErrorKind,
    testing::{Event, MemorySink},
};

use crate::support::{Database, digests, driver};

/// A copy of the process's server that follows it, until it is dropped.
struct Standby {
    child: Child,
    folder: PathBuf,
}

impl Standby {
    fn start(database: &Database) -> Self {
        let primary = database.server.socket_folder();
        let folder = primary.with_extension("standby");
        let owner = fs::metadata(primary.join("data")).unwrap();
        let (user, group) = {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        };
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(user), Some(group)).unwrap();
        let output = as_owner((user, group), "pg_basebackup", &folder)
            .args(["-h", primary.to_str().unwrap(), "-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-D", "data"])
            .output()
            .unwrap();
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let child = as_owner((user, group), "postgres", &folder)
            .args(["-D", "data", "-F", "-c", "listen_addresses=", "-c", "max_connections=100", "-c"])
            .arg(format!("unix_socket_directories={}", folder.display()))
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let standby = Self { child, folder };
        let began = Instant::now();
        while !standby.answers() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{}",
                fs::read_to_string(standby.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        standby
    }

    fn answers(&self) -> bool {
        let status = Command::new("pg_isready").args(["-q", "-h"]).arg(&self.folder).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program of the server's, as the user that the server runs as, which ends with this thread.
fn as_owner((user, group): (u32, u32), program: &str, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0) {
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    }
    command.arg("--").arg(binaries().join(program)).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The newest server's programs.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    numbered.max().map(|(_, path)| path.join("bin")).expect("Debian's packages of PostgreSQL")
}

#[test]
fn a_standby_is_captured_without_what_it_does_not_have() {
    let script = "CREATE TABLE acct (id int PRIMARY KEY, owner text);
        INSERT INTO acct SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
        CREATE UNLOGGED TABLE fleeting (a int); INSERT INTO fleeting VALUES (1);";
    let Some(database) = Database::new(script) else { return };
    let standby = Standby::start(&database);
    let url = database.url.replace(database.server.socket_folder().to_str().unwrap(), standby.folder.to_str().unwrap());
    let sink = MemorySink::new(&database.store);
    let manifest = driver(&url, json!({})).capture(&sink).unwrap();
    assert_eq!(manifest.items, 5000);
    let warnings = sink.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].code == "unlogged_on_standby" && warnings[0].sentence.contains("public.fleeting"));
    let restored = database.restored(&sink.into_part(manifest));
    database.run("TRUNCATE fleeting");
    assert_eq!(digests(&restored), digests(&database.url));
}

/// What the primary has deleted and vacuumed away, a standby that may not wait takes from under its readers.
#[test]
fn a_capture_that_a_standby_cancels_may_be_tried_again_and_says_what_helps() {
    let script = "CREATE TABLE acct AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 60000) n";
    let Some(database) = Database::new(script) else { return };
    let standby = Standby::start(&database);
    let url = database.url.replace(database.server.socket_folder().to_str().unwrap(), standby.folder.to_str().unwrap());
    let server = database.server;
    server.query(&url, "ALTER SYSTEM SET max_standby_streaming_delay = 0");
    server.query(&url, "SELECT pg_reload_conf()");
    let (primary, follower) = (database.url.clone(), url.clone());
    let sink = MemorySink::new(&database.store).listen(move |event| {
        if !matches!(event, Event::Begin(path) if path.len() == 3 && path[2] == b"0000.copy") {
            return;
        }
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'trivault%'";
        let sessions = server.query(&follower, ours);
        server.query(&primary, "DELETE FROM acct");
        server.query(&primary, "VACUUM acct");
        // The first to be told is the session that waits, or the one that we hold up here and that hears of it later.
        let began = Instant::now();
        while server.query(&follower, ours) == sessions && began.elapsed() < Duration::from_secs(5) {}
    });
    let error = driver(&url, json!({"workers": 1})).capture(&sink).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert!(error.hint.as_ref().unwrap().contains("max_standby_streaming_delay"), "{error:?}");
}
