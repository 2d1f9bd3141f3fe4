//! The states of a job and what moves it between them: the only place that knows.

use super::{Error, JobState, Result};

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// A worker takes it: a new attempt.
    Claimed,
    /// The attempt did what was asked.
    Succeeded,
    /// It failed for good; or it can never be run.
    Failed,
    /// Cancelled before it ran, or when it noticed.
    Cancelled,
    /// Not to be run after all.
    Skipped,
    /// The attempt ended without an end of the job: it failed and may be retried, was handed back, or lost its lease.
    Requeued,
}

/// # Errors
/// `Internal` when the event cannot happen in that state: terminal states never change.
pub fn transition(from: JobState, event: JobEvent) -> Result<JobState> {
    let to = match (from, event) {
        (JobState::Queued, JobEvent::Claimed) => Some(JobState::Running),
        (JobState::Queued, JobEvent::Skipped) => Some(JobState::Skipped),
        (JobState::Queued | JobState::Running, JobEvent::Failed) => Some(JobState::Failed),
        (JobState::Queued | JobState::Running, JobEvent::Cancelled) => Some(JobState::Cancelled),
        (JobState::Running, JobEvent::Succeeded) => Some(JobState::Succeeded),
        (JobState::Running, JobEvent::Requeued) => Some(JobState::Queued),
        (JobState::Queued, JobEvent::Succeeded | JobEvent::Requeued)
        | (JobState::Running, JobEvent::Claimed | JobEvent::Skipped)
        | (JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Skipped, _) => None,
    };
    to.ok_or_else(|| Error::internal(format!("A job that is {from:?} cannot become {event:?}.")))
}

/// The event that ends a run in this state; `None` for states in which no run ends.
pub fn ending(state: JobState) -> Option<JobEvent> {
    match state {
        JobState::Succeeded => Some(JobEvent::Succeeded),
        JobState::Failed => Some(JobEvent::Failed),
        JobState::Cancelled => Some(JobEvent::Cancelled),
        JobState::Queued | JobState::Running | JobState::Skipped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{JobEvent as Event, JobState as State, *};

    const STATES: [State; 6] =
        [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled, State::Skipped];
    const EVENTS: [Event; 6] =
        [Event::Claimed, Event::Succeeded, Event::Failed, Event::Cancelled, Event::Skipped, Event::Requeued];

    #[test]
    fn every_pair_of_state_and_event_leads_where_the_table_says() {
        const NO: Option<State> = None;
        #[rustfmt::skip]
        let table = [
            // claimed               succeeded               failed               cancelled               skipped               requeued
            [Some(State::Running), NO,                     Some(State::Failed), Some(State::Cancelled), Some(State::Skipped), NO],                  // queued
            [NO,                   Some(State::Succeeded), Some(State::Failed), Some(State::Cancelled), NO,                   Some(State::Queued)], // running
            [NO; 6], // succeeded
            [NO; 6], // failed
            [NO; 6], // cancelled
            [NO; 6], // skipped
        ];
        for (from, row) in STATES.into_iter().zip(table) {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(transition(from, event).ok(), expected, "{from:?} + {event:?}");
            }
        }
    }

    #[test]
    fn terminal_states_never_change() {
        for state in STATES.into_iter().filter(|state| state.is_terminal()) {
            assert!(EVENTS.into_iter().all(|event| transition(state, event).is_err()), "{state:?}");
        }
    }

    #[test]
    fn a_run_ends_only_in_terminal_states() {
        for state in STATES {
            assert!(
                ending(state).is_none_or(|event| transition(State::Running, event).ok() == Some(state)),
                "{state:?}"
            );
        }
    }
}
