//! The command line: what can be typed, and what `--help` teaches.

mod care;
mod maintenance;
mod recover;
mod retention;
mod schedule;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    care::{MergeArguments, PruneArguments, VerifyCommand},
    maintenance::MaintenanceCommand,
    recover::RecoverArguments,
    retention::{RetentionCommand, RetentionRules, WhichRepository},
    schedule::{
        LevelName, NewTask, PlanCommand, PlanTarget, PreviewTarget, ScheduleCommand, TaskKind, WeekdayName, WhichPlan,
    },
};

/// Self-hosted backups of your databases and directories, spoken to through three REST dialects.
#[derive(Debug, Parser)]
#[command(
    name = "trivault",
    version,
    about,
    long_about = "Trivault makes, keeps, checks and restores backups of your databases and directories in deduplicated, \
                  compressed, encrypted repositories on disk or S3. Clients of the Couchbase Backup Service, of ArcGIS \
                  Enterprise's disaster recovery and of Scalingo's database API talk to it unmodified.",
    after_long_help = "Examples:\n  \
        trivault demo                                   see everything work, on sample data\n  \
        trivault serve --source sqlite:./app.db --source photos=dir:./photos\n  \
        PGPASSFILE=~/.pgpass trivault source add postgresql://backup@db.example/bank?sslmode=verify-full\n  \
        trivault backup create --source app             make a backup now\n  \
        trivault backup list\n  \
        trivault restore --latest app --to ./app-restored.db\n  \
        trivault plan create nightly --task backup --cron '0 3 * * *'\n  \
        trivault plan attach nightly --source app       back it up every night\n  \
        trivault key export                             print what belongs in a safe\n  \
        trivault recover --store /mnt/disk --key-file F rebuild a server from a store alone",
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Understood by every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Configuration file (TOML). Without one, embedded defaults apply.
    #[arg(long, global = true, env = "TRIVAULT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the server keeps its database, keys and default store.
    #[arg(long, global = true, env = "TRIVAULT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Log filter: error, warn, info, debug, trace, or target=level pairs.
    #[arg(long, global = true, env = "TRIVAULT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or as JSON.
    #[arg(long, global = true, env = "TRIVAULT_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C.
    Serve(ServeArguments),
    /// Build sample data, back it up through each dialect, restore, compare, and keep serving.
    Demo(DemoArguments),
    /// Explain the configuration that would be used, and refuse a wrong one.
    CheckConfig(CheckConfigArguments),
    /// Users: add, list, change the password.
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens: create, list, revoke.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Sources: the live data that is backed up.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Stores: the places where backups lie.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Vaults: the restic repositories inside stores.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Backups: create, list, show, delete.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Restore one source of a backup.
    Restore(RestoreArguments),
    /// Plans: what runs and when; make them, attach them to sources.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// The schedule: what ran, what comes, what is overdue.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Retention: what a repository keeps; look ahead before anything goes.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Verification: check that what is stored is what was captured; see when that was last done.
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Free the bytes of deleted backups: mark what nothing needs, delete what was marked a day before.
    Prune(PruneArguments),
    /// Fold a range of a repository's backups into its newest.
    Merge(MergeArguments),
    /// Jobs: list, show, read the log, cancel.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Maintenance: hold new jobs back on all nodes.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// The server key: print what belongs in a safe.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Rebuild a server from a store and its secret alone.
    Recover(RecoverArguments),
    /// Print the OpenAPI document of a dialect.
    Openapi(OpenapiArguments),
    /// Print the version and what this binary was built with.
    Version(ListArguments),
}

#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// Address to listen on; port 0 takes a free one. May be given several times.
    #[arg(long, env = "TRIVAULT_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Appears, complete, once every listener answers: {"url", "listeners", "pid"}.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// A source to protect: [NAME=]dir:PATH, [NAME=]sqlite:PATH or [NAME=]postgresql://USER@HOST:PORT/DATABASE, with its
    /// password in PGPASSWORD, PGPASSFILE or ~/.pgpass. May be given several times.
    #[arg(long, value_name = "[NAME=]KIND:PLACE")]
    pub source: Vec<String>,
    /// Password of the first administrator, called Administrator (first line of the file). Otherwise
    /// TRIVAULT_ADMIN_PASSWORD; otherwise one is made and printed once.
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Origin under which clients reach the gateway, for the absolute URLs in its answers.
    #[arg(long, env = "TRIVAULT_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8097")]
    pub listen: String,
    /// A PostgreSQL database that is shown as well: it is only read, and restored into databases beside it, which go away at
    /// the end. The account needs CREATEDB; its password is in PGPASSWORD, PGPASSFILE or ~/.pgpass.
    #[arg(long, value_name = "URL")]
    pub postgresql: Option<String>,
    /// End when everything was shown: status 0 only if every comparison held.
    #[arg(long)]
    pub exit: bool,
    /// Print the closing table only.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub struct CheckConfigArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub struct ListArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Sees everything but secrets and the content of backups.
    Reader,
    /// Makes, restores, downloads and deletes backups.
    Operator,
    /// Everything.
    Admin,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user.
    Add {
        name: String,
        #[arg(long, value_enum, default_value_t = RoleName::Operator)]
        role: RoleName,
        /// First line of the file; otherwise TRIVAULT_USER_PASSWORD; otherwise one is made and printed once.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// List users.
    List(ListArguments),
    /// Change a user's password.
    Password {
        name: String,
        /// First line of the file; otherwise TRIVAULT_USER_PASSWORD; otherwise one is made and printed once.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make an API token; it is shown once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        #[arg(long, default_value = "dbaas")]
        dialect: String,
        /// Whose token it is.
        #[arg(long, default_value = "Administrator")]
        user: String,
        /// Days until it expires; without, it lives until it is revoked.
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u32>,
        #[arg(long)]
        json: bool,
    },
    /// List tokens (never their secrets).
    List {
        #[arg(long, default_value = "dbaas")]
        dialect: String,
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token and everything made with it.
    Revoke { id: uuid::Uuid },
}

#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// List sources with their names in each dialect.
    List(ListArguments),
    /// Add a source: [NAME=]dir:PATH, [NAME=]sqlite:PATH or [NAME=]postgresql://USER@HOST:PORT/DATABASE.
    Add {
        source: String,
        /// As `options` in the configuration file, for example workers=2, missing_roles=ignore or exclude=["*.tmp"]; repeatable.
        #[arg(long = "option", value_name = "KEY=VALUE")]
        options: Vec<String>,
        /// First line is the password of the server's account; otherwise PGPASSWORD, PGPASSFILE or ~/.pgpass.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Look at the live data: everything that would make a backup fail or worth a warning.
    Test {
        name: String,
        #[arg(long)]
        json: bool,
    },
    /// Give a name another kind or location; the old source's backups stay.
    Replace {
        name: String,
        /// dir:PATH, sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE
        source: String,
        /// As `options` in the configuration file, for example workers=2, missing_roles=ignore or exclude=["*.tmp"]; repeatable.
        #[arg(long = "option", value_name = "KEY=VALUE")]
        options: Vec<String>,
        /// First line is the password of the server's account; otherwise PGPASSWORD, PGPASSFILE or ~/.pgpass.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Give a source on a server another password; it is sealed with the server key.
    Password {
        name: String,
        /// First line is the password; otherwise PGPASSWORD, PGPASSFILE or ~/.pgpass.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List stores.
    List(ListArguments),
    /// Attach a store: a directory, or s3://BUCKET/PREFIX.
    Add {
        name: String,
        /// Absolute path, or s3://BUCKET[/PREFIX]; credentials from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        location: String,
        #[arg(long)]
        default: bool,
        #[arg(long)]
        region: Option<String>,
        /// Endpoint of an S3-compatible server.
        #[arg(long)]
        endpoint: Option<String>,
        /// Allow http:// endpoints.
        #[arg(long)]
        allow_http: bool,
        #[arg(long)]
        json: bool,
    },
    /// Write, read back and delete one small object.
    Test { name: String },
    /// Take over a store that another installation has made. Stop that installation first: one alone may write.
    Adopt {
        name: String,
        /// The first line of the file is what `trivault vault export-key` prints there; not needed under the same server key.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// List vaults with the location that the stock restic takes.
    List(ListArguments),
    /// Print a vault's password, alone on a line: restic -r LOCATION opens it.
    ExportKey { id: uuid::Uuid },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportName {
    /// Statements for psql.
    Sql,
    /// An archive for pg_restore.
    Custom,
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup now and follow it to its end.
    Create {
        /// Name of the source; without, all attached sources.
        #[arg(long)]
        source: Option<String>,
        /// Read everything anew instead of building on the previous backup.
        #[arg(long)]
        full: bool,
        #[arg(long, default_value = "")]
        description: String,
        /// Protect it: the first line of the file is the passcode, which the server does not keep.
        #[arg(long, value_name = "FILE")]
        passcode_file: Option<PathBuf>,
        /// Return at once instead of following the job.
        #[arg(long)]
        detach: bool,
        #[arg(long)]
        json: bool,
    },
    /// List backups, newest first.
    List {
        /// Only those with a part of this source.
        #[arg(long)]
        source: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[arg(long)]
        json: bool,
    },
    /// Show a backup and its parts.
    Show {
        id: uuid::Uuid,
        #[arg(long)]
        json: bool,
    },
    /// Write one source's part of a backup as a file of its own engine: SQL, or the archive that pg_restore reads.
    Export {
        /// A part (see `backup show`), or a backup of one source.
        id: uuid::Uuid,
        #[arg(long, value_enum, default_value_t = ExportName::Custom)]
        format: ExportName,
        /// A file that must not exist yet; `-` is standard output.
        #[arg(long, value_name = "FILE|-")]
        output: PathBuf,
        /// First line is the passcode.
        #[arg(long, value_name = "FILE")]
        passcode_file: Option<PathBuf>,
    },
    /// Delete a backup. Its bytes are freed by the next prune.
    Delete { id: uuid::Uuid },
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["part", "latest"])))]
#[command(group(clap::ArgGroup::new("where").required(true).args(["to", "to_database", "in_place"])))]
pub struct RestoreArguments {
    /// Part of a backup (see `backup show`).
    #[arg(long, value_name = "PART")]
    pub part: Option<uuid::Uuid>,
    /// The newest good backup of this source.
    #[arg(long, value_name = "SOURCE")]
    pub latest: Option<String>,
    /// Restore into a new path.
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,
    /// Restore into a new database on the server that the backup came from.
    #[arg(long, value_name = "NAME")]
    pub to_database: Option<String>,
    /// Only this table and what it needs. May be given several times. In place, what is there stays.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub table: Vec<String>,
    /// Only this schema. May be given several times. In place, what is there stays.
    #[arg(long, value_name = "SCHEMA")]
    pub schema: Vec<String>,
    /// Of the one table, only rows from this key on.
    #[arg(long, value_name = "KEY", requires = "table")]
    pub key_from: Option<String>,
    /// Of the one table, only rows before this key.
    #[arg(long, value_name = "KEY", requires = "table")]
    pub key_to: Option<String>,
    /// With a choice in place: rows that are there and differ are overwritten.
    #[arg(long, requires = "in_place")]
    pub update: bool,
    /// Replace the live source; what was there is kept aside, and a safety backup is made first.
    #[arg(long)]
    pub in_place: bool,
    /// Skip the safety backup.
    #[arg(long, requires = "in_place")]
    pub no_safety_backup: bool,
    /// First line is the passcode.
    #[arg(long, value_name = "FILE")]
    pub passcode_file: Option<PathBuf>,
    /// Print what would be done, and touch nothing.
    #[arg(long)]
    pub plan: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first.
    List {
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[arg(long)]
        json: bool,
    },
    /// Show a job with its steps.
    Show {
        id: uuid::Uuid,
        #[arg(long)]
        json: bool,
    },
    /// Print a job's log.
    Log {
        id: uuid::Uuid,
        #[arg(long)]
        json: bool,
    },
    /// Ask a job to stop.
    Cancel { id: uuid::Uuid },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the server key: it opens every store, present and future.
    Export,
}

#[derive(Debug, Args)]
pub struct OpenapiArguments {
    /// couchbase, arcgis or dbaas
    pub dialect: String,
}
