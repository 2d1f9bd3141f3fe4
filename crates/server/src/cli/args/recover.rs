//! `trivault recover` on the command line.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    long_about = "Rebuilds a server from a store and its secret alone: repositories, plans, users, backups with their names, and the \
                  history of their jobs. Run it on an empty data directory; run again, it goes on where it was interrupted. The \
                  rebuilt server takes the store over: the server that wrote it before must not come back.",
    after_long_help = "Examples:\n  \
        trivault recover --store /mnt/backups --key-file key.txt --dry-run\n  \
        trivault recover --store 's3://backups/site?endpoint=https://s3.example.org&region=eu-1' --key-file key.txt\n  \
        TRIVAULT_VAULT_PASSWORD=... trivault recover --store /mnt/backups"
)]
#[command(group(clap::ArgGroup::new("secret").args(["key_file", "password_file"])))]
pub struct RecoverArguments {
    /// The store: a directory, or s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&path_style=BOOL&allow_http=BOOL] with
    /// credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    #[arg(long, value_name = "PLACE")]
    pub store: String,
    /// File with what `trivault key export` printed. Otherwise TRIVAULT_SERVER_KEY, or the key that the configuration names.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File whose first line is what `trivault vault export-key` printed for the store's own vault. Otherwise
    /// TRIVAULT_VAULT_PASSWORD. Passwords of sources and users must then be given again.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Name of the store where its own configuration does not tell one.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub name: String,
    /// Print what would be rebuilt, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on although a server seems to work on the store.
    #[arg(long)]
    pub force: bool,
    /// Region of an S3 store.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Endpoint of an S3-compatible server.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Allow http:// endpoints.
    #[arg(long)]
    pub allow_http: bool,
    #[arg(long)]
    pub json: bool,
}
