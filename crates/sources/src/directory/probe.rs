//! What would make a capture of the directory fail, or is worth a warning.

use super::{
    DirectorySource,
    capture::{never_capture, open_root, refuse_own},
    status::{failure, status_of},
    survey::{Survey, survey},
};
use crate::{Finding, Result, Severity, SourceError};

/// Entries that a probe looks at: enough to find a database, quick on any disk.
const PROBE_ENTRIES: u64 = 20_000;

/// File systems whose inodes and change times are not to be trusted, by the magic number that `statfs` gives.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x794c_7630, "overlay"),
];

pub(super) fn probe(source: &DirectorySource) -> Vec<Finding> {
    match look(source) {
        Ok(findings) => findings,
        Err(SourceError { kind: _, sentence, hint, source: _ }) => {
            vec![Finding { severity: Severity::Error, sentence, hint }]
        }
    }
}

fn look(source: &DirectorySource) -> Result<Vec<Finding>> {
    let shown = source.shown();
    let root = open_root(source)?;
    let status = status_of(&root).map_err(|errno| failure(errno, format!("Cannot look at `{shown}`")))?;
    refuse_own(source, &status, &never_capture(source))?;
    let survey = survey(source, PROBE_ENTRIES)?;

    let mut findings = vec![fine(&shown, &survey)];
    let mut warn = |sentence: String, hint: &str| {
        findings.push(Finding { severity: Severity::Warning, sentence, hint: Some(hint.to_owned()) });
    };
    if survey.complete && survey.items + survey.directories == 0 {
        warn(
            format!("The directory `{shown}` is empty."),
            "Is the disk mounted? Once a backup holds something, a later one of an empty directory fails.",
        );
    }
    if survey.unreadable > 0 {
        warn(
            format!("{} directories below `{shown}` cannot be read by us.", survey.unreadable),
            "Run as root or with the capability CAP_DAC_READ_SEARCH; else they are missing in every backup.",
        );
    }
    if let Some((path, what)) = &survey.database {
        let place = if path.is_empty() { shown.clone() } else { path.clone() };
        warn(
            format!("`{place}` is {what}; a copy of its files may not open."),
            "Add it as its own source, and leave its files out here with `exclude`.",
        );
    }
    if let Some(name) = network_file_system(&root) {
        warn(
            format!("`{shown}` is on a file system of the kind {name}."),
            "If every backup reads all files again, set `ignore_ctime` and `ignore_inode`.",
        );
    }
    Ok(findings)
}

fn fine(shown: &str, survey: &Survey) -> Finding {
    let at_least = if survey.complete { "" } else { "at least " };
    let Survey { items, directories, bytes, .. } = survey;
    Finding {
        severity: Severity::Fine,
        sentence: format!(
            "`{shown}` can be read: {at_least}{items} files in {directories} directories, {bytes} bytes."
        ),
        hint: None,
    }
}

fn network_file_system(root: &std::os::fd::OwnedFd) -> Option<&'static str> {
    let magic = rustix::fs::fstatfs(root).ok()?.f_type;
    NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| i64::from(*known) == i64::from(magic as u32)).map(|(_, name)| *name)
}
