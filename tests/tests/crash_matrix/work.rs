//! The kinds of work in the middle of which a server is killed.

use std::{fmt, path::PathBuf};

use crate::site::{Begin, DATABASE, REPOSITORY, Site, State, TREE};

/// Longer than the first phase of a prune lasts: what it has marked may be deleted then.
const A_DAY_LATER: i64 = 25 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Backup,
    /// Over the live database.
    ReplaceDatabase,
    /// Over the live directory.
    ReplaceTree,
    /// To a place where there is nothing.
    RestoreDatabase,
    RestoreTree,
    /// Both sources, with nothing of theirs deleted.
    AddToBoth,
    /// A restore that was killed is finished or undone by a server that is killed meanwhile.
    Recovery,
    Forget,
    Merge,
    /// Marks what no backup needs.
    PruneMarks,
    /// Deletes what was marked a day ago.
    PruneDeletes,
    VerifyVault,
    VerifyBackups,
    /// The server's own configuration, captured into the store.
    Configuration,
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Backup => "backup",
            Self::ReplaceDatabase => "restore over a live database",
            Self::ReplaceTree => "restore over a live directory",
            Self::RestoreDatabase => "restore of a database to a new path",
            Self::RestoreTree => "restore of a directory to a new path",
            Self::AddToBoth => "restore that adds to both",
            Self::Recovery => "recovery of an interrupted restore",
            Self::Forget => "forget",
            Self::Merge => "merge",
            Self::PruneMarks => "prune, first phase",
            Self::PruneDeletes => "prune, second phase",
            Self::VerifyVault => "verify a vault",
            Self::VerifyBackups => "verify backups",
            Self::Configuration => "capture of the configuration",
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
    pub new_place: Option<PathBuf>,
}

impl Work {
    pub const ALL: [Self; 14] = [
        Self::Backup,
        Self::ReplaceDatabase,
        Self::ReplaceTree,
        Self::RestoreDatabase,
        Self::RestoreTree,
        Self::AddToBoth,
        Self::Recovery,
        Self::Forget,
        Self::Merge,
        Self::PruneMarks,
        Self::PruneDeletes,
        Self::VerifyVault,
        Self::VerifyBackups,
        Self::Configuration,
    ];

    /// Beginning of the names of its points.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "backup/",
            Self::ReplaceDatabase | Self::ReplaceTree | Self::RestoreDatabase | Self::RestoreTree | Self::AddToBoth => {
                "restore/"
            }
            Self::Recovery => "server/resume",
            Self::Forget => "forget/",
            Self::Merge => "merge/",
            Self::PruneMarks | Self::PruneDeletes => "prune/",
            Self::VerifyVault | Self::VerifyBackups => "verify/",
            Self::Configuration => "server/configuration",
        }
    }

    /// Restores into different places, and the two phases of a prune, are jobs of one kind: where they do the same, one stands for
    /// all.
    pub fn is_alone_with(self, point: &str) -> bool {
        let is_own = |parts: &[&str]| parts.iter().any(|part| point.contains(part));
        match self {
            Self::ReplaceTree | Self::RestoreDatabase | Self::RestoreTree | Self::AddToBoth => {
                is_own(&["/swap", "/merge", "/journal", "/in_place"])
            }
            Self::PruneDeletes => is_own(&["/prune "]),
            _ => true,
        }
    }

    /// The kind of its jobs, as `jobs list` shows it.
    pub fn kind(self) -> Option<&'static str> {
        match self {
            Self::Recovery | Self::Configuration => None,
            _ => self.prefix().strip_suffix('/'),
        }
    }

    /// A job that is tried again must come to a good end; an interrupted restore is never begun again by itself.
    pub fn is_tried_again(self) -> bool {
        self.kind().is_some_and(|kind| kind != "restore")
    }

    /// A point that is passed when it is over, for work that no command follows.
    pub fn last_point(self) -> Option<&'static str> {
        match self {
            Self::Configuration => Some("server/configuration.captured"),
            Self::Recovery => Some("server/resumed"),
            _ => None,
        }
    }

    /// The server's first halt, where the work that is looked at begins with a crash.
    pub fn first_crash(self) -> Option<&'static str> {
        (self == Self::Recovery).then_some("restore/swap.exchanged")
    }

    /// Brings the site into a state in which the work makes sense. The server that runs then is an ordinary one.
    pub fn prepare(self, site: &mut Site) -> Prepared {
        let mut prepared = Prepared { begin: Begin::Nothing, before: site.state(), restored: None, new_place: None };
        match self {
            Self::Backup => {
                site.change();
                prepared.begin = Site::begin_backup();
            }
            Self::ReplaceDatabase | Self::ReplaceTree | Self::Recovery => {
                let (state, part) = newest(site, if self == Self::ReplaceTree { TREE } else { DATABASE });
                site.change();
                prepared.begin = Begin::command(&["restore", "--part", &part, "--in-place", "--no-safety-backup"]);
                prepared.restored = Some(state);
            }
            Self::RestoreDatabase | Self::RestoreTree => {
                let (state, part) = newest(site, if self == Self::RestoreTree { TREE } else { DATABASE });
                let place = site.path("sources").join(format!("new-{part}"));
                prepared.begin = Begin::command(&["restore", "--part", &part, "--to", place.to_str().unwrap()]);
                prepared.restored = Some(state);
                prepared.new_place = Some(place);
            }
            Self::AddToBoth => {
                let (state, _) = newest(site, DATABASE);
                site.change();
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
            Self::VerifyVault => prepared.begin = Begin::command(&["verify", "store", "--read", "all"]),
            Self::VerifyBackups => prepared.begin = Begin::command(&["verify", "repository", REPOSITORY]),
            Self::Configuration => {
                let name = format!("user-{}", site.jobs().len() + site.promised.len());
                let known = site.succeed(&["user", "list", "--json"]).contains(&name);
                let name = if known { format!("{name}-{}", std::process::id()) } else { name };
                site.succeed(&["user", "add", &name, "--json"]);
            }
        }
        prepared.before = site.state();
        prepared
    }
}

/// The newest good backup's part of a source, and what it holds.
fn newest(site: &Site, source: &str) -> (State, String) {
    let (id, parts) = site.backups().pop().unwrap();
    (site.promised[&id].clone(), parts[source].clone())
}

/// At least two backups that hold different bytes; answers their ids, oldest first.
fn several(site: &mut Site) -> Vec<String> {
    while site.backups().len() < 3 {
        site.change();
        site.back_up();
    }
    site.backups().into_iter().map(|(id, _)| id).collect()
}
