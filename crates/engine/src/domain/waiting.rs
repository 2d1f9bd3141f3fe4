//! Why a queued job does not run yet.

use chrono::{DateTime, Utc};

use super::{Hold, JobId, JobKind};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It failed, or waits for something, and is looked at again then.
    Until(DateTime<Utc>),
    /// It came with a passcode, which only this node knows; its name where it is registered.
    Node(Option<String>),
    Maintenance(Hold),
    /// A running job needs what it needs (`what`: a repository, a source ...), and one of the two needs it alone.
    Running {
        job: JobId,
        kind: JobKind,
        what: &'static str,
    },
    /// An older job, which waits itself, comes first.
    Older {
        job: JobId,
        kind: JobKind,
        what: &'static str,
    },
    /// As many jobs as may run at once in its store.
    Store(u32),
    /// As many jobs as may run at once on one of its sources.
    Source(u32),
    /// Nothing stands in its way.
    Worker,
}

impl Waiting {
    pub fn sentence(&self) -> String {
        match self {
            Self::Until(at) => format!("It is tried again at {}.", at.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Node(Some(name)) => format!("Only the server {name} knows its passcode and can run it."),
            Self::Node(None) => "Only the process that was given its passcode can run it.".to_owned(),
            Self::Maintenance(hold) => hold.sentence(),
            Self::Running { job, kind, what } => {
                format!("The job {job} ({}) runs and uses the same {what}.", kind_word(*kind))
            }
            Self::Older { job, kind, what } => {
                format!("The job {job} ({}) came first, waits too, and needs the same {what}.", kind_word(*kind))
            }
            Self::Store(most) => format!("The {most} jobs that may run at once in its store do."),
            Self::Source(most) => format!("The {most} jobs that may run at once on its source do."),
            Self::Worker => "It waits for a free worker.".to_owned(),
        }
    }
}

fn kind_word(kind: JobKind) -> String {
    format!("{kind:?}").to_lowercase()
}
