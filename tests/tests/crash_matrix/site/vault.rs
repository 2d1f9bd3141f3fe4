//! A site's vault, as the stock restic sees it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use trivault_testkit::restic::Restic;

use super::{Site, noise};

/// Longest that somebody waits for the lock of another.
const LOCKED_FOR: Duration = Duration::from_secs(60);

impl Site {
    pub(super) fn open_vault(&mut self) {
        let vaults = self.json(&["vault", "list", "--json"]);
        let (id, location) = (vaults[0]["id"].as_str().unwrap(), vaults[0]["location"].as_str().unwrap());
        let password = self.succeed(&["vault", "export-key", id]);
        self.vault = Restic::new(location, password.trim_end());
        assert!(self.vault.is_some(), "the crash matrix needs restic");
        location.clone_into(&mut self.vault_location);
    }

    pub fn vault(&self) -> &Restic {
        self.vault.as_ref().unwrap()
    }

    /// A stranger's snapshot whose bytes are in a pack of their own, and a flipped bit in that pack.
    pub fn damage_what_nobody_needs(&self) {
        let packs = || -> BTreeSet<String> {
            let said = self.vault().succeed(["list", "packs", "--no-lock", "--quiet"]);
            String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
        };
        let before = packs();
        self.vault().backup_stream("stranger", &noise(self.round.wrapping_mul(7919) | 1, 300_000));
        let made = packs().difference(&before).cloned().collect::<Vec<_>>();
        let bytes_of = |id: &String| (self.read_vault_file(&format!("data/{}/{id}", &id[..2])), id.clone());
        let (mut bytes, id) = made.iter().map(bytes_of).max_by_key(|(bytes, _)| bytes.len()).unwrap();
        bytes[1000] ^= 1;
        self.write_vault_file(&format!("data/{}/{id}", &id[..2]), &bytes);
    }

    /// What [`Site::damage_what_nobody_needs`] has made is needed by nobody any more.
    pub fn forget_strangers(&self) {
        let said = self.vault().succeed(["snapshots", "--json", "--no-lock", "--path", "/stranger"]);
        let listed: Value = serde_json::from_slice(&said).unwrap();
        for snapshot in listed.as_array().into_iter().flatten() {
            self.forget(snapshot["id"].as_str().unwrap());
        }
    }

    /// The server may hold its lock for a moment: whoever types this types it again.
    fn forget(&self, snapshot: &str) {
        let begun = Instant::now();
        loop {
            let output = self.vault().run(["forget", snapshot]);
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                return;
            }
            assert!(said.contains("already locked") && begun.elapsed() < LOCKED_FOR, "forget {snapshot}: {said}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Names of the lock files in the vault.
    pub fn lock_files(&self) -> Vec<String> {
        let Some(url) = self.vault_location.strip_prefix("s3:") else {
            let entries = fs::read_dir(Path::new(&self.vault_location).join("locks")).unwrap();
            return entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        };
        let [server, bucket, prefix] = parts_of(url);
        let list = format!("{server}/{bucket}?list-type=2&prefix={prefix}/locks/");
        let output = signed().arg(&list).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("ListBucketResult"), "{list}: {said}");
        let keys = said.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    fn read_vault_file(&self, name: &str) -> Vec<u8> {
        let Some(url) = self.vault_location.strip_prefix("s3:") else {
            return fs::read(Path::new(&self.vault_location).join(name)).unwrap();
        };
        let output = signed().arg(format!("{url}/{name}")).output().unwrap();
        assert!(output.status.success(), "{url}/{name}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn write_vault_file(&self, name: &str, bytes: &[u8]) {
        let Some(url) = self.vault_location.strip_prefix("s3:") else {
            let path = Path::new(&self.vault_location).join(name);
            fs::remove_file(&path).unwrap();
            return fs::write(&path, bytes).unwrap();
        };
        let file = self.path("upload");
        fs::write(&file, bytes).unwrap();
        let output = signed().arg("-T").arg(&file).arg(format!("{url}/{name}")).output().unwrap();
        assert!(output.status.success(), "{url}/{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What a server has signed is for its signature alone.
fn signed() -> Command {
    let mut command = Command::new("curl");
    command.args(["-sSf", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", "test:test"]);
    command
}

/// `http://server`, `bucket` and `prefix` of a vault's URL.
fn parts_of(url: &str) -> [&str; 3] {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[after_scheme..].find('/').map(|at| after_scheme + at).unwrap();
    let (bucket, prefix) = url[path + 1..].split_once('/').unwrap();
    [&url[..path], bucket, prefix.trim_end_matches('/')]
}
