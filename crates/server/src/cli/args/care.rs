//! What `trivault verify`, `trivault prune` and `trivault merge` understand.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::WhichRepository;

#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// When everything was last verified, what is overdue and what is damaged.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Check the vaults of a store: its structure and, if asked, its bytes. Marks damaged backups and prepares their healing.
    Store {
        /// Name of the store; without, the default one.
        #[arg(value_name = "STORE")]
        store: Option<String>,
        /// How much of the data is read: none, all, or the share N/T.
        #[arg(long, default_value = "none", value_name = "none|all|N/T")]
        read: String,
    },
    /// Read the newest good backup of each source of a repository back whole, and compare.
    Repository {
        #[command(flatten)]
        repository: WhichRepository,
    },
    /// Read one backup back whole, and compare.
    Backup {
        /// Id of the backup.
        #[arg(value_name = "BACKUP")]
        id: Uuid,
        /// File whose first line is the passcode of the backup.
        #[arg(long, value_name = "FILE")]
        passcode_file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct PruneArguments {
    /// Name of the store; without, all that this server may write to.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: as JSON.
    #[arg(long, requires = "dry_run")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct MergeArguments {
    #[command(flatten)]
    pub repository: WhichRepository,
    /// First backup of the range; without, the oldest.
    #[arg(long, value_name = "BACKUP")]
    pub from: Option<Uuid>,
    /// Last backup of the range, which stays; without, the newest.
    #[arg(long, value_name = "BACKUP")]
    pub to: Option<Uuid>,
    /// Instead: the last day of the range, in days before today.
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["from", "to"])]
    pub days_ago: Option<u32>,
    /// How many more days before that one.
    #[arg(long, value_name = "DAYS", requires = "days_ago")]
    pub and_before: Option<u32>,
}
