//! What was promised before some work, and is kept after it.

use std::collections::BTreeSet;

use crate::{
    site::{Done, Job, Site, State},
    work::Work,
};

/// Jobs and backups that there were before the work.
pub struct Known {
    jobs: BTreeSet<String>,
    /// Oldest first.
    backups: Vec<Done>,
}

impl Known {
    pub fn of(site: &Site) -> Self {
        Self { jobs: site.jobs().into_iter().map(|job| job.id).collect(), backups: site.backups() }
    }

    pub fn has_job(&self, id: &str) -> bool {
        self.jobs.contains(id)
    }

    /// Waits until all jobs are over; from then on each new backup is one of `state`. Answers the jobs that came meanwhile, newest first.
    /// `None` for the work: its job may fail.
    ///
    /// # Panics
    /// When a job fails without a word, one that is tried again does not succeed, or a backup has vanished that nobody has deleted.
    pub fn is_kept(&self, site: &mut Site, work: Option<Work>, state: &State) -> Vec<Job> {
        let jobs: Vec<Job> = site.settle().into_iter().filter(|job| !self.has_job(&job.id)).collect();
        for job in &jobs {
            assert!(job.state != "failed" || job.failure.is_some(), "{job:?} failed without a word");
        }
        let kind = work.filter(|work| work.is_tried_again()).and_then(Work::kind);
        let mut tried_again = jobs.iter().rev().filter(|job| kind.is_some_and(|kind| kind == job.kind));
        // The oldest is the work's own.
        if let Some(job) = tried_again.next() {
            assert_eq!(job.state, "succeeded", "{job:?}\n{}", site.gateway.log());
        }
        tried_again.for_each(|job| assert!(job.state != "failed", "{job:?}\n{}", site.gateway.log()));
        let left: BTreeSet<String> = site.promise(state).into_iter().map(|backup| backup.id).collect();
        let removed: Vec<&Done> = self.backups.iter().filter(|backup| !left.contains(&backup.id)).collect();
        if work == Some(Work::Merge) {
            // They are folded into the newest, which is whole by itself. That it restores to what it held is looked at later.
            let newest = self.backups.iter().rfind(|backup| !backup.protected).unwrap();
            assert!(left.contains(&newest.id), "a merge has lost the backup that it keeps, {newest:?}");
            let strange: Vec<&&Done> = removed.iter().filter(|backup| backup.protected).collect();
            assert!(strange.is_empty(), "a merge has removed backups of another repository: {strange:?}");
        } else {
            // The server's own pass of retention runs at its start.
            let forgets = jobs.iter().filter(|job| job.kind == "forget" && job.state == "succeeded").count();
            assert!(removed.len() <= forgets, "{removed:?} have vanished, with {forgets} forgotten: {jobs:?}");
        }
        jobs
    }
}
