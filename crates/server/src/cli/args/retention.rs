//! What `trivault retention` understands.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// What the repository keeps.
    Show {
        #[command(flatten)]
        repository: WhichRepository,
        #[arg(long)]
        json: bool,
    },
    /// Give it rules. Every rule that wants a backup keeps it; the last good one always stays.
    Set {
        #[command(flatten)]
        repository: WhichRepository,
        #[command(flatten)]
        rules: RetentionRules,
        /// Also where every good backup but the last would go.
        #[arg(long)]
        force: bool,
    },
    /// Keep everything again.
    Clear {
        #[command(flatten)]
        repository: WhichRepository,
    },
    /// Exactly what the next pass will do, under its rules or under those given here. Touches nothing.
    Preview {
        #[command(flatten)]
        repository: WhichRepository,
        #[command(flatten)]
        rules: RetentionRules,
        #[arg(long)]
        json: bool,
    },
    /// Let go now of what no rule wants. A running server does it by itself every ten minutes.
    Apply {
        #[command(flatten)]
        repository: WhichRepository,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct WhichRepository {
    /// Name of the repository.
    #[arg(value_name = "REPOSITORY")]
    pub repository: String,
    /// Which dialect made it, where two have one of that name.
    #[arg(long)]
    pub owner: Option<String>,
}

#[derive(Debug, Args)]
pub struct RetentionRules {
    /// Keep this many of the newest.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub last: u32,
    /// Keep the newest of each of this many hours.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub hourly: u32,
    /// Keep the newest of each of this many days.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub daily: u32,
    /// Keep the newest of each of this many ISO weeks.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub weekly: u32,
    /// Keep the newest of each of this many months.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub monthly: u32,
    /// Keep the newest of each of this many years.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub yearly: u32,
    /// Keep everything younger than this many days.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub within_days: Option<u32>,
    /// Keep this many of the newest that were made by hand, whatever their age; the other rules then pass them over.
    #[arg(long, value_name = "N")]
    pub manual: Option<u32>,
    /// IANA time zone of hours, days, weeks, months and years; without, the server's.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}
