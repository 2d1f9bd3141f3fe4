//! The kinds of work in the middle of which a server is killed.

use std::{fmt, path::PathBuf};

use crate::site::{Begin, DATABASE, Done, LEDGER, REPOSITORY, Site, Sources, State, TREE};

/// Longer than the first phase of a prune lasts: what it has marked may be deleted then.
const A_DAY_LATER: i64 = 25 * 3600;
/// Longer than from one occurrence of the plan's tasks to the next.
const A_TASKS_TIME: i64 = (crate::site::TASKS_EVERY_WEEKS + 1) * 7 * 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Backup,
    /// A backup that was killed when its snapshot lay in the vault is tried again.
    BackupAgain,
    /// Under a passcode, which nobody keeps.
    BackupUnderPasscode,
    /// Over the live database.
    ReplaceDatabase,
    /// Over the live directory.
    ReplaceTree,
    /// To a place where there is nothing.
    RestoreDatabase,
    RestoreTree,
    /// Both sources, with nothing of theirs deleted.
    AddToBoth,
    /// What is there is backed up first.
    RestoreAfterBackup,
    /// A restore that was killed is finished or undone by a server that is killed meanwhile.
    Recovery,
    Forget,
    Merge,
    /// Marks what no backup needs.
    PruneMarks,
    /// Deletes what was marked a day ago.
    PruneDeletes,
    /// Tasks of a plan whose time has come while no server ran: a prune that applies retention first, and a backup.
    Scheduled,
    VerifyVault,
    VerifyBackups,
    /// Finds a damaged pack and sets it aside.
    VerifyHeals,
    /// The server's own configuration, captured into the store.
    Configuration,
    BackupLedger,
    /// Over the live database: built beside it, then two renames.
    ReplaceLedger,
    RestoreLedger,
    /// A restore that was killed between its two renames is finished by a server that is killed meanwhile.
    RecoveryLedger,
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Backup => "backup",
            Self::BackupAgain => "backup, tried again",
            Self::BackupUnderPasscode => "backup under a passcode",
            Self::ReplaceDatabase => "restore over a live database",
            Self::ReplaceTree => "restore over a live directory",
            Self::RestoreDatabase => "restore of a database to a new path",
            Self::RestoreTree => "restore of a directory to a new path",
            Self::AddToBoth => "restore that adds to both",
            Self::RestoreAfterBackup => "restore after a safety backup",
            Self::Recovery => "recovery of an interrupted restore",
            Self::Forget => "forget",
            Self::Merge => "merge",
            Self::PruneMarks => "prune, first phase",
            Self::PruneDeletes => "prune, second phase",
            Self::Scheduled => "tasks of a plan, one occurrence",
            Self::VerifyVault => "verify a vault",
            Self::VerifyBackups => "verify backups",
            Self::VerifyHeals => "verify a vault with a damaged pack",
            Self::Configuration => "capture of the configuration",
            Self::BackupLedger => "backup of a PostgreSQL database",
            Self::ReplaceLedger => "restore over a live PostgreSQL database",
            Self::RestoreLedger => "restore to a new PostgreSQL database",
            Self::RecoveryLedger => "recovery of an interrupted PostgreSQL restore",
        })
    }
}

/// What a piece of work is about to do, and what may be found after a crash in it.
pub struct Prepared {
    pub begin: Begin,
    /// What the sources hold before it.
    pub before: State,
    /// What the restored backup holds.
    pub restored: Option<State>,
    /// A place that it makes.
    pub new_place: Option<NewPlace>,
}

#[derive(Clone, Debug)]
pub enum NewPlace {
    Path(PathBuf),
    /// On the server of the PostgreSQL source.
    Database(String),
}

impl Work {
    pub const ALL: [Self; 23] = [
        Self::Backup,
        Self::BackupAgain,
        Self::BackupUnderPasscode,
        Self::ReplaceDatabase,
        Self::ReplaceTree,
        Self::RestoreDatabase,
        Self::RestoreTree,
        Self::AddToBoth,
        Self::RestoreAfterBackup,
        Self::Recovery,
        Self::Forget,
        Self::Merge,
        Self::PruneMarks,
        Self::PruneDeletes,
        Self::Scheduled,
        Self::VerifyVault,
        Self::VerifyBackups,
        Self::VerifyHeals,
        Self::Configuration,
        Self::BackupLedger,
        Self::ReplaceLedger,
        Self::RestoreLedger,
        Self::RecoveryLedger,
    ];

    /// Where it is done.
    pub fn sources(self) -> Sources {
        match self {
            Self::BackupLedger | Self::ReplaceLedger | Self::RestoreLedger | Self::RecoveryLedger => Sources::Ledger,
            _ => Sources::Files,
        }
    }

    /// Beginnings of the names of its points.
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Backup | Self::BackupAgain | Self::BackupLedger => &["backup/"],
            Self::BackupUnderPasscode => &["backup/", "server/catalogue."],
            Self::ReplaceDatabase
            | Self::ReplaceTree
            | Self::RestoreDatabase
            | Self::RestoreTree
            | Self::AddToBoth
            | Self::RestoreAfterBackup
            | Self::ReplaceLedger
            | Self::RestoreLedger => &["restore/"],
            Self::Recovery | Self::RecoveryLedger => &["server/resume"],
            Self::Forget => &["forget/"],
            Self::Merge => &["merge/"],
            Self::PruneMarks | Self::PruneDeletes | Self::Scheduled => &["prune/"],
            Self::VerifyVault | Self::VerifyBackups | Self::VerifyHeals => &["verify/"],
            Self::Configuration => &["server/configuration"],
        }
    }

    /// Several pieces of work are jobs of one kind: where they do the same, one stands for all.
    pub fn is_alone_with(self, point: &str) -> bool {
        let is_own = |parts: &[&str]| parts.iter().any(|part| point.contains(part));
        match self {
            Self::BackupAgain => is_own(&["/adopt", "/verify", "/commit", "/written", "/ended"]),
            Self::BackupUnderPasscode => is_own(&["/claimed", "/capture", "/written", "/commit", "catalogue"]),
            // The work that lasts longest: others are over before a heartbeat.
            Self::BackupLedger => is_own(&["/heartbeat", "/capture", "/verify", "/commit", "/written", "/adopt"]),
            Self::ReplaceTree | Self::RestoreDatabase | Self::RestoreTree | Self::AddToBoth | Self::RestoreLedger => {
                is_own(&["/swap", "/merge", "/journal", "/in_place"])
            }
            Self::ReplaceLedger => is_own(&["/restore", "/swap", "/journal", "/in_place", "/struck_off"]),
            Self::RestoreAfterBackup => is_own(&["/safety", "/enqueued", "/claimed"]),
            Self::PruneDeletes => is_own(&["/prune "]),
            Self::Scheduled => is_own(&["/enqueued", "/claimed", "/retention", "/ended"]),
            Self::VerifyHeals => is_own(&["/heal", "/mark", "/ending", "/ended"]),
            _ => !is_own(&["/heartbeat"]),
        }
    }

    /// The kind of its jobs, as `jobs list` shows it.
    pub fn kind(self) -> Option<&'static str> {
        match self {
            Self::Recovery | Self::RecoveryLedger | Self::Configuration => None,
            _ => self.prefixes()[0].strip_suffix('/'),
        }
    }

    /// A job that is tried again must come to a good end; an interrupted restore is never begun again by itself, a passcode is not kept,
    /// and a verification that finds damage fails, so that nobody takes it for good news.
    pub fn is_tried_again(self) -> bool {
        let ends_otherwise = matches!(self, Self::BackupUnderPasscode | Self::VerifyHeals);
        !ends_otherwise && self.kind().is_some_and(|kind| kind != "restore")
    }

    /// A point that is passed when it is over, for work that no command follows.
    pub fn last_point(self) -> Option<&'static str> {
        match self {
            Self::Configuration => Some("server/configuration.captured"),
            Self::Recovery | Self::RecoveryLedger => Some("server/resumed"),
            Self::BackupAgain => Some("backup/ended"),
            // It ends each time that it waits for deletions, too.
            Self::Scheduled => Some("prune/clean_up.end"),
            _ => None,
        }
    }

    /// The server's first halt, where the work that is looked at begins with a crash.
    pub fn first_crash(self) -> Option<&'static str> {
        match self {
            Self::Recovery => Some("restore/swap.exchanged"),
            Self::RecoveryLedger => Some("restore/swap.between"),
            Self::BackupAgain => Some("backup/written"),
            _ => None,
        }
    }

    /// Brings the site into a state in which the work makes sense. The server that runs then is an ordinary one.
    pub fn prepare(self, site: &mut Site) -> Prepared {
        let mut prepared = Prepared { begin: Begin::Nothing, before: site.state(), restored: None, new_place: None };
        match self {
            Self::Backup | Self::BackupAgain | Self::BackupLedger => {
                site.change();
                prepared.begin = Site::begin_backup();
            }
            Self::BackupUnderPasscode => {
                site.change();
                prepared.begin = site.begin_backup_under_passcode();
            }
            Self::ReplaceDatabase
            | Self::ReplaceTree
            | Self::Recovery
            | Self::RestoreAfterBackup
            | Self::ReplaceLedger
            | Self::RecoveryLedger => {
                let (state, part) = newest(site, self.restored());
                site.change();
                let mut command = vec!["restore", "--part", &part, "--in-place"];
                if self != Self::RestoreAfterBackup {
                    command.push("--no-safety-backup");
                }
                prepared.begin = Begin::command(&command);
                prepared.restored = Some(state);
            }
            Self::RestoreDatabase | Self::RestoreTree => {
                let (state, part) = newest(site, self.restored());
                let place = site.path("sources").join(format!("new-{part}"));
                prepared.begin = Begin::command(&["restore", "--part", &part, "--to", place.to_str().unwrap()]);
                prepared.restored = Some(state);
                prepared.new_place = Some(NewPlace::Path(place));
            }
            Self::RestoreLedger => {
                let (state, part) = newest(site, LEDGER);
                let name = format!("{}_new", site.ledger.as_ref().unwrap().database);
                prepared.begin = Begin::command(&["restore", "--part", &part, "--to-database", &name]);
                prepared.restored = Some(state);
                prepared.new_place = Some(NewPlace::Database(name));
            }
            Self::AddToBoth => {
                let (state, _) = newest(site, DATABASE);
                site.change();
                site.lose_something();
                prepared.begin = site.begin_adding_restore();
                prepared.restored = Some(state);
            }
            Self::Forget => {
                let oldest = several(site).swap_remove(0);
                prepared.begin = Begin::command(&["backup", "delete", &oldest]);
            }
            Self::Merge => {
                several(site);
                prepared.begin = Begin::command(&["merge", REPOSITORY]);
            }
            Self::PruneMarks | Self::PruneDeletes => {
                let oldest = several(site).swap_remove(0);
                site.succeed(&["backup", "delete", &oldest]);
                if self == Self::PruneDeletes {
                    site.succeed(&["prune"]);
                    site.clock_offset += A_DAY_LATER;
                }
                prepared.begin = Begin::command(&["prune"]);
            }
            Self::Scheduled => {
                several(site);
                site.succeed(&["retention", "set", REPOSITORY, "--last", "2"]);
                site.clock_offset += A_TASKS_TIME;
            }
            Self::VerifyHeals => {
                site.damage_what_nobody_needs();
                prepared.begin = Begin::command(&["verify", "store", "--read", "all"]);
            }
            Self::VerifyVault => prepared.begin = Begin::command(&["verify", "store", "--read", "all"]),
            Self::VerifyBackups => prepared.begin = Begin::command(&["verify", "repository", REPOSITORY]),
            Self::Configuration => {
                let name = format!("user-{}", site.jobs().len() + site.promised.len());
                let known = site.succeed(&["user", "list", "--json"]).contains(&name);
                // It would capture the change itself.
                site.gateway.kill();
                let name = if known { format!("{name}-{}", std::process::id()) } else { name };
                site.succeed(&["user", "add", &name, "--json"]);
            }
        }
        prepared.before = site.state();
        prepared
    }

    /// Which source it puts back.
    pub fn restored(self) -> &'static str {
        match self {
            Self::ReplaceTree | Self::RestoreTree => TREE,
            Self::ReplaceLedger | Self::RestoreLedger | Self::RecoveryLedger => LEDGER,
            _ => DATABASE,
        }
    }
}

/// The newest good backup's part of a source, and what it holds.
fn newest(site: &Site, source: &str) -> (State, String) {
    let Done { id, parts, .. } = unprotected(site).pop().unwrap();
    (site.promised[&id].clone(), parts[source].clone())
}

/// At least three backups that hold different bytes; answers their ids, oldest first.
fn several(site: &mut Site) -> Vec<String> {
    while unprotected(site).len() < 3 {
        site.change();
        site.back_up();
    }
    unprotected(site).into_iter().map(|backup| backup.id).collect()
}

fn unprotected(site: &Site) -> Vec<Done> {
    site.backups().into_iter().filter(|backup| !backup.protected).collect()
}
