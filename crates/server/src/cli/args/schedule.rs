//! What `trivault plan` and `trivault schedule` understand.

use clap::{Args, Subcommand, ValueEnum};

const WHEN_HELP: &str = "When (one of):\n  \
    --cron '0 3 * * *'                  as in crontab: minute hour day-of-month month day-of-week\n  \
    --cron '30 2 * * 1-5'               half past two, Monday to Friday (0 and 7 are Sunday)\n  \
    --cron '0 4 L * *'                  the last day of each month; 1W is the workday nearest to the 1st\n  \
    --cron '0 4 * * 0#1'                the first Sunday of each month; 5L the last Friday\n  \
    --every 6h                          every six hours from now; 30m, 2d and 1w likewise\n  \
    --every 6h --at 00:30               every six hours, at half past\n  \
    --at 22:00                          every day at ten in the evening\n  \
    --at 22:00 --on sunday              every Sunday\n\n\
    A time that a clock change skips comes as much later (02:30 is 03:30 on that day); one that comes twice counts once.";

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// List plans, also those that the dialects made.
    List {
        /// Only those of this owner: cli, couchbase, arcgis or dbaas.
        #[arg(long)]
        owner: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Show a plan's tasks, when each runs next, and the repositories that have it.
    Show {
        #[command(flatten)]
        plan: WhichPlan,
        #[arg(long)]
        json: bool,
    },
    /// Make a plan with one task; `plan add-task` gives it more.
    #[command(after_help = WHEN_HELP, after_long_help = format!(
        "{WHEN_HELP}\n\nExamples:\n  \
        trivault plan create nightly --task backup --cron '0 3 * * *' --zone Europe/Berlin\n  \
        trivault plan attach nightly --source app\n  \
        trivault plan add-task nightly --task verify --level v6 --at 12:00 --on sunday\n  \
        trivault schedule list"
    ))]
    Create {
        name: String,
        #[command(flatten)]
        task: NewTask,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Give a plan another task, or a task of that name another time. Repositories that have it are scheduled anew.
    #[command(after_help = WHEN_HELP)]
    AddTask {
        name: String,
        #[command(flatten)]
        task: NewTask,
        #[arg(long)]
        json: bool,
    },
    /// Delete a plan that no active repository has.
    Delete {
        #[command(flatten)]
        plan: WhichPlan,
    },
    /// Let a plan back up a source, or run for a repository. Takes the place of the plan that was there.
    #[command(
        after_help = "Examples:\n  trivault plan attach nightly --source app        backs app up into the repository cli-app\n  \
        trivault plan attach nightly --all               backs all sources up into the repository cli-all\n  \
        trivault plan attach nightly --repository orders"
    )]
    Attach {
        #[command(flatten)]
        plan: WhichPlan,
        #[command(flatten)]
        target: PlanTarget,
    },
    /// Take the plan from a repository; nothing is scheduled there any more.
    Detach {
        /// Name of the repository.
        repository: String,
        /// Which dialect made the repository, where two have one of that name.
        #[arg(long)]
        owner: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct WhichPlan {
    /// Name of the plan.
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Whose plan, where two owners have one of that name.
    #[arg(long = "plan-owner", value_name = "OWNER")]
    pub plan_owner: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PlanTarget {
    /// Into the repository cli-SOURCE, as `backup create --source` does.
    #[arg(long)]
    pub source: Option<String>,
    /// Every source that is attached when a backup begins, into the repository cli-all.
    #[arg(long)]
    pub all: bool,
    /// A repository that there is already, by its name.
    #[arg(long)]
    pub repository: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskKind {
    Backup,
    Merge,
    Prune,
    Verify,
}

/// How deep a verification looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelName {
    /// Structure: everything that is needed is there, with its size. Of the vault that repositories of a store share.
    #[value(alias = "structure")]
    V4,
    /// Data: the vault's packs are read whole too, all or one share of them.
    #[value(alias = "data")]
    V5,
    /// Restore: the newest good backup of each source of the repository is read back whole, and compared.
    #[value(alias = "restore")]
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WeekdayName {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

#[derive(Debug, Args)]
#[group(id = "when", multiple = true)]
pub struct NewTask {
    /// What it does.
    #[arg(long, value_enum)]
    pub task: TaskKind,
    /// Name of the task in the plan; otherwise what it does.
    #[arg(long, value_name = "NAME")]
    pub task_name: Option<String>,
    /// A backup that reads everything anew.
    #[arg(long)]
    pub full: bool,
    /// Of a verification: how deep it looks.
    #[arg(long, value_enum, required_if_eq("task", "verify"))]
    pub level: Option<LevelName>,
    /// Of a verification of the level v5: each run reads one of so many shares of the data, in turn; otherwise all of it.
    #[arg(long, value_name = "N", requires = "level", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shares: Option<u32>,
    /// A cron expression of five fields.
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["every", "at", "on"], required_unless_present_any = ["every", "at"])]
    pub cron: Option<String>,
    /// So much time between two runs: 30m, 6h, 2d, 1w.
    #[arg(long, value_name = "TIME", conflicts_with = "on")]
    pub every: Option<String>,
    /// Time of day; of hours, only the minutes count.
    #[arg(long, value_name = "HH:MM")]
    pub at: Option<String>,
    /// Only on this day of the week.
    #[arg(long, value_enum, requires = "at", value_name = "WEEKDAY")]
    pub on: Option<WeekdayName>,
    /// IANA time zone in which it is meant; otherwise the server's.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Run for the first time as soon as it is attached.
    #[arg(long)]
    pub start_now: bool,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Every scheduled task: last run and how it ended, last success, next run, since when it is overdue.
    List {
        /// Only what is overdue; then the status is 1 if there is anything.
        #[arg(long)]
        overdue: bool,
        #[arg(long)]
        json: bool,
    },
    /// The next runs of a plan, as if it were attached now, or of a repository.
    #[command(after_help = "Examples:\n  trivault schedule preview --plan nightly\n  \
        trivault schedule preview --repository cli-app --count 30 --json")]
    Preview {
        #[command(flatten)]
        what: PreviewTarget,
        /// Whose plan or repository, where two owners have one of that name.
        #[arg(long)]
        owner: Option<String>,
        #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PreviewTarget {
    #[arg(long)]
    pub plan: Option<String>,
    #[arg(long)]
    pub repository: Option<String>,
}
