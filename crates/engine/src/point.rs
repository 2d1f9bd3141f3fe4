//! Named places that the engine's work passes, for tests that stop it there.

use std::{fmt, sync::Arc};

use crate::domain::{JobId, JobKind};

/// A place that was reached: what comes before it has happened, what comes after it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point<'a> {
    pub name: &'a str,
    /// Of the job that is run or was asked for; `None` for the server's own work.
    pub kind: Option<JobKind>,
    /// The run that has come here: its job and attempt.
    pub run: Option<(JobId, u32)>,
}

/// As in `backup/commit` or `server/configuration`.
impl fmt::Display for Point<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(out, "{}/{}", format!("{kind:?}").to_lowercase(), self.name),
            None => write!(out, "server/{}", self.name),
        }
    }
}

/// Hears of each point on the thread that has come to it, which goes on when it returns.
pub type Observer = Arc<dyn Fn(&Point<'_>) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_called_by_its_kind_and_name() {
        let named = |kind| Point { name: "commit", kind, run: None }.to_string();
        assert_eq!(named(Some(JobKind::Backup)), "backup/commit");
        assert_eq!(named(None), "server/commit");
    }
}
