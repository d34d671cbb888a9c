//! What CANCEL, PAUSE and RESUME do in each state: pure functions over the acceptance matrix.
//!
//! | state | cancel | pause | resume |
//! |---|---|---|---|
//! | pending | requested | requested | refused |
//! | running | requested | requested | already running |
//! | pause-requested | refused | already requested | refused |
//! | paused | requested | already requested | resumed |
//! | paused while being undone | refused | already requested | resumed |
//! | cancel-requested | already requested | refused | refused |
//! | reverting | refused | requested | already running |
//! | canceled | already terminal: a success | already terminal | already terminal |
//! | other terminal | already terminal | already terminal | already terminal |
//!
//! A job that is not cancellable refuses CANCEL in every state but the terminal ones. An outcome is
//! never an error: who wants errors maps [`CancelOutcome::failure`] and its siblings.

use crate::error::{Failure, code};
use crate::id::JobId;
use crate::state::{Standing, State};

/// Who asks for a change, and why. For CANCEL, PAUSE and RESUME.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlOptions {
    /// Who asks; shown in the job's history.
    pub user: String,
    /// Why; shown with the job.
    pub reason: Option<String>,
    /// Change nothing at all unless every outcome is a success. The successes that are reported
    /// beside a refusal did not happen then.
    pub all_or_nothing: bool,
}

impl ControlOptions {
    /// Asked by `user`, without a reason, each job for itself.
    #[must_use]
    pub fn by(user: impl Into<String>) -> Self {
        Self { user: user.into(), reason: None, all_or_nothing: false }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// All jobs or none.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.all_or_nothing = true;
        self
    }
}

/// What became of a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The cancel is durable; the job is fenced.
    Requested,
    /// Somebody else was first; the job is `cancel-requested`.
    AlreadyRequested,
    /// The job has ended before.
    AlreadyTerminal(State),
    /// The job cannot be cancelled, or not any more.
    NotCancellable {
        /// Why, for people.
        reason: String,
    },
    /// There is no such job.
    NotFound,
    /// The job's state does not allow it now.
    Refused {
        /// That state.
        state: State,
    },
}

/// What became of a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseOutcome {
    /// The request is durable; the job pauses when its worker has stopped.
    Requested,
    /// The job is pausing or paused already.
    AlreadyRequested,
    /// The job has ended before.
    AlreadyTerminal(State),
    /// There is no such job.
    NotFound,
    /// The job's state does not allow it now.
    Refused {
        /// That state.
        state: State,
    },
}

/// What became of a resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// The job goes on.
    Resumed,
    /// The job was not paused.
    AlreadyRunning,
    /// The job has ended before.
    AlreadyTerminal(State),
    /// There is no such job.
    NotFound,
    /// The job's state does not allow it now.
    Refused {
        /// That state.
        state: State,
    },
}

/// CANCEL.
#[must_use]
pub(crate) fn cancel(standing: Standing, cancellable: bool) -> CancelOutcome {
    let Standing { state, cause } = standing;
    match state {
        State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => {
            CancelOutcome::AlreadyTerminal(state)
        }
        State::Pending
        | State::Running
        | State::PauseRequested
        | State::Paused
        | State::CancelRequested
        | State::Reverting
            if !cancellable =>
        {
            CancelOutcome::NotCancellable { reason: "not cancelable".to_owned() }
        }
        State::Pending | State::Running => CancelOutcome::Requested,
        State::Paused if cause.is_none() => CancelOutcome::Requested,
        State::CancelRequested => CancelOutcome::AlreadyRequested,
        State::Paused | State::PauseRequested | State::Reverting => {
            CancelOutcome::Refused { state }
        }
    }
}

/// PAUSE.
#[must_use]
pub(crate) fn pause(standing: Standing) -> PauseOutcome {
    let state = standing.state;
    match state {
        State::Pending | State::Running | State::Reverting => PauseOutcome::Requested,
        State::PauseRequested | State::Paused => PauseOutcome::AlreadyRequested,
        State::CancelRequested => PauseOutcome::Refused { state },
        State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => {
            PauseOutcome::AlreadyTerminal(state)
        }
    }
}

/// RESUME.
#[must_use]
pub(crate) fn resume(standing: Standing) -> ResumeOutcome {
    let state = standing.state;
    match state {
        State::Paused => ResumeOutcome::Resumed,
        State::Running | State::Reverting => ResumeOutcome::AlreadyRunning,
        State::Pending | State::PauseRequested | State::CancelRequested => {
            ResumeOutcome::Refused { state }
        }
        State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => {
            ResumeOutcome::AlreadyTerminal(state)
        }
    }
}

impl CancelOutcome {
    /// Whether the job is cancelled, now or before.
    #[must_use]
    pub fn is_success(&self) -> bool {
        match self {
            Self::Requested | Self::AlreadyRequested | Self::AlreadyTerminal(State::Canceled) => {
                true
            }
            Self::AlreadyTerminal(_)
            | Self::NotCancellable { .. }
            | Self::NotFound
            | Self::Refused { .. } => false,
        }
    }

    /// The outcome as an error of the statement; `None` for a success.
    #[must_use]
    pub fn failure(&self, id: JobId) -> Option<Failure> {
        match self {
            Self::Requested | Self::AlreadyRequested | Self::AlreadyTerminal(State::Canceled) => {
                None
            }
            Self::NotFound => Some(not_found(id)),
            Self::NotCancellable { reason } => {
                Some(Failure::new(code::WRONG_STATE, format!("job {id}: {reason}")).with_hint(
                    "It is past its point of no return, or of a kind that is never cancelled.",
                ))
            }
            Self::Refused { state: State::Paused } => {
                Some(refused(id, State::Paused, "be requested to be canceled").with_hint(format!(
                    "It is already being undone: RESUME JOB {id} lets that go on."
                )))
            }
            Self::Refused { state } | Self::AlreadyTerminal(state) => {
                Some(refused(id, *state, "be requested to be canceled").with_hint(match state {
                    State::PauseRequested => "Try again once it is paused.",
                    State::Reverting => "It is already being undone.",
                    State::Pending
                    | State::Running
                    | State::Paused
                    | State::CancelRequested
                    | State::Succeeded
                    | State::Failed
                    | State::Canceled
                    | State::RevertFailed => "It has ended.",
                }))
            }
        }
    }
}

impl PauseOutcome {
    /// Whether the job is pausing or paused, now or before.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Requested | Self::AlreadyRequested)
    }

    /// The outcome as an error of the statement; `None` for a success.
    #[must_use]
    pub fn failure(&self, id: JobId) -> Option<Failure> {
        match self {
            Self::Requested | Self::AlreadyRequested => None,
            Self::NotFound => Some(not_found(id)),
            Self::Refused { state } | Self::AlreadyTerminal(state) => {
                Some(refused(id, *state, "be requested to be paused").with_hint(ended(*state)))
            }
        }
    }
}

impl ResumeOutcome {
    /// Whether the job runs, now or before.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Resumed | Self::AlreadyRunning)
    }

    /// The outcome as an error of the statement; `None` for a success.
    #[must_use]
    pub fn failure(&self, id: JobId) -> Option<Failure> {
        match self {
            Self::Resumed | Self::AlreadyRunning => None,
            Self::NotFound => Some(not_found(id)),
            Self::Refused { state: State::PauseRequested } => Some(
                refused(id, State::PauseRequested, "be resumed")
                    .with_hint("Try again once it is paused."),
            ),
            Self::Refused { state } | Self::AlreadyTerminal(state) => {
                Some(refused(id, *state, "be resumed").with_hint(ended(*state)))
            }
        }
    }
}

/// The failure for a job that does not exist.
pub(crate) fn not_found(id: JobId) -> Failure {
    Failure::new(code::UNDEFINED_OBJECT, format!("job with ID {id} does not exist"))
        .with_hint("SHOW JOBS lists the jobs there are.")
}

fn refused(id: JobId, state: State, what: &str) -> Failure {
    Failure::new(code::WRONG_STATE, format!("job {id}: job with status {state} cannot {what}"))
}

fn ended(state: State) -> &'static str {
    match state {
        State::Pending => "It has not begun; it begins as soon as a slot is free.",
        State::CancelRequested => "It is being canceled.",
        State::Running | State::Paused | State::PauseRequested | State::Reverting => {
            "SHOW JOBS tells how far it is."
        }
        State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => "It has ended.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Cause, Event, apply};

    fn standings() -> impl Iterator<Item = Standing> {
        State::ALL.into_iter().flat_map(|state| {
            [None, Some(Cause::Cancel), Some(Cause::Failure)].map(|cause| Standing { state, cause })
        })
    }

    #[test]
    fn the_matrix_and_the_chart_agree() {
        for standing in standings() {
            let says = |event| apply(standing, event).is_ok();
            // The chart lets a job be cancelled once it is on its way out by undo only from states
            // in which that cannot be.
            if standing.cause.is_none() {
                let asked = cancel(standing, true) == CancelOutcome::Requested;
                assert_eq!(asked, says(Event::RequestCancel), "{standing:?}");
            }
            let asked = pause(standing) == PauseOutcome::Requested;
            assert_eq!(asked, says(Event::RequestPause), "{standing:?}");
            let asked = resume(standing) == ResumeOutcome::Resumed;
            assert_eq!(asked, says(Event::Resume), "{standing:?}");
        }
    }

    #[test]
    fn a_job_that_is_not_cancellable_says_so_until_it_has_ended() {
        for standing in standings() {
            let outcome = cancel(standing, false);
            if standing.state.is_terminal() {
                assert_eq!(outcome, CancelOutcome::AlreadyTerminal(standing.state));
            } else {
                assert!(matches!(outcome, CancelOutcome::NotCancellable { .. }), "{standing:?}");
            }
        }
    }

    #[test]
    fn success_and_failure_are_opposites_and_every_failure_has_a_hint() {
        let id = JobId::from_raw(7).unwrap();
        for standing in standings() {
            for cancellable in [true, false] {
                let outcome = cancel(standing, cancellable);
                let failure = outcome.failure(id);
                assert_eq!(outcome.is_success(), failure.is_none(), "{outcome:?}");
                assert!(failure.is_none_or(|failure| failure.hint.is_some()));
            }
            let (pause, resume) = (pause(standing), resume(standing));
            assert_eq!(pause.is_success(), pause.failure(id).is_none());
            assert_eq!(resume.is_success(), resume.failure(id).is_none());
        }
    }

    #[test]
    fn texts_are_those_that_scripts_know() {
        let id = JobId::from_raw(7).unwrap();
        let text = |failure: Option<Failure>| failure.map(|f| (f.code, f.message)).unwrap();
        assert_eq!(
            text(CancelOutcome::AlreadyTerminal(State::Succeeded).failure(id)),
            (
                "55000".to_owned(),
                "job 7: job with status succeeded cannot be requested to be canceled".to_owned()
            )
        );
        assert_eq!(
            text(CancelOutcome::NotFound.failure(id)),
            ("42704".to_owned(), "job with ID 7 does not exist".to_owned())
        );
        let never = CancelOutcome::NotCancellable { reason: "not cancelable".to_owned() };
        assert_eq!(text(never.failure(id)).1, "job 7: not cancelable");
    }
}
