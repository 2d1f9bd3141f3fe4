//! What a run wants to have written: gathered here as often as it likes, written by its ticker a few times a second.

use chrono::{DateTime, TimeDelta, Utc};
use trivault_sources::{Progress, Warning};

use crate::{
    db::ProgressUpdate,
    domain::{LogLine, SourceId, Step, StepState},
};

/// Kinds of warnings that a job keeps.
const MOST_WARNINGS: usize = 200;
/// Share of the percentage that reading the sources makes up; the rest is for checking and committing.
const READING_PERCENT: u64 = 95;
/// Percent below which an estimate of the end would be a guess.
const EARLIEST_ESTIMATE: u8 = 3;

#[derive(Default)]
pub(crate) struct Board {
    pub(crate) progress: Progress,
    pub(crate) bytes_stored: u64,
    /// Parts that are done, and how many there are: the percentage where no size is known.
    pub(crate) parts: (u64, u64),
    pub(crate) warnings: Vec<Warning>,
    pub(crate) steps: Vec<Step>,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) progress_changed: bool,
    pub(crate) warnings_changed: bool,
}

impl Board {
    /// Adds to the warning of the same code, whose first sentence stays.
    pub(crate) fn warn(&mut self, warning: Warning) {
        self.warnings_changed = true;
        if let Some(known) = self.warnings.iter_mut().find(|known| known.code == warning.code) {
            known.count = known.count.saturating_add(warning.count);
        } else if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning);
        }
    }

    /// 0..=99.
    pub(crate) fn percent(&self) -> u8 {
        let (done, of) = match self.progress.bytes_total {
            Some(total) if total > 0 => (self.progress.bytes_read.min(total), total),
            _ => self.parts,
        };
        let percent = u128::from(done) * u128::from(READING_PERCENT) / u128::from(of.max(1));
        u8::try_from(percent).unwrap_or(99).min(99)
    }

    /// What is to be written of the progress.
    pub(crate) fn update(&self, started: DateTime<Utc>, now: DateTime<Utc>) -> ProgressUpdate {
        let percent = self.percent();
        let elapsed = (now - started).num_milliseconds().max(0);
        let estimated_end = (percent >= EARLIEST_ESTIMATE)
            .then(|| started.checked_add_signed(TimeDelta::milliseconds(elapsed * 100 / i64::from(percent))))
            .flatten();
        ProgressUpdate { progress: self.progress, bytes_stored: self.bytes_stored, percent, estimated_end }
    }

    pub(crate) fn begin_step(&mut self, name: &str, source: Option<SourceId>, now: DateTime<Utc>) {
        let step = match self.steps.iter_mut().find(|step| step.name == name && step.source == source) {
            Some(step) => step,
            None => {
                let (state, started_at, finished_at) = (StepState::Pending, None, None);
                self.steps.push(Step { name: name.to_owned(), source, state, started_at, finished_at });
                let last = self.steps.len() - 1;
                &mut self.steps[last]
            }
        };
        step.state = StepState::Running;
        step.started_at = Some(now);
        step.finished_at = None;
    }

    pub(crate) fn end_step(&mut self, name: &str, source: Option<SourceId>, state: StepState, now: DateTime<Utc>) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == name && step.source == source) {
            step.state = state;
            step.finished_at = Some(now);
        }
    }

    /// Ends what still runs; what was never begun is skipped where the run is over.
    pub(crate) fn close_steps(&mut self, state: StepState, now: DateTime<Utc>) {
        for step in &mut self.steps {
            match step.state {
                StepState::Running => {
                    step.state = state;
                    step.finished_at = Some(now);
                }
                StepState::Pending => step.state = StepState::Skipped,
                StepState::Succeeded | StepState::Failed | StepState::Skipped => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentage_follows_the_bytes_where_they_are_known_and_the_parts_elsewhere() {
        let mut board = Board { parts: (1, 2), ..Board::default() };
        assert_eq!(board.percent(), 47);
        board.progress = Progress { bytes_read: 50, bytes_total: Some(100), ..Progress::default() };
        assert_eq!(board.percent(), 47);
        board.progress.bytes_read = 1000;
        assert_eq!(board.percent(), 95, "never 100 before the end");
        board.progress = Progress { bytes_read: u64::MAX, bytes_total: Some(u64::MAX), ..Progress::default() };
        assert_eq!(board.percent(), 95);
    }

    #[test]
    fn warnings_of_one_kind_are_counted_together() {
        let mut board = Board::default();
        for sentence in ["first", "second"] {
            board.warn(Warning { code: "vanished".into(), count: 2, sentence: sentence.into() });
        }
        assert_eq!(board.warnings.len(), 1);
        assert_eq!((board.warnings[0].count, board.warnings[0].sentence.as_str()), (4, "first"));
    }
}
