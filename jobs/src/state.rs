//! The states of a job, and the one function that changes them.
//!
//! ```text
//! pending                       --start-->           running
//! running                       --succeed-->         succeeded
//! running                       --fail-->            reverting
//! pending, running, reverting   --request-pause-->   pause-requested
//! pause-requested               --pause-->           paused
//! paused                        --resume-->          running, or reverting if it was being undone
//! pending, running, paused      --request-cancel-->  cancel-requested  (not if being undone)
//! cancel-requested              --revert-->          reverting
//! reverting                     --finish-->          canceled after a cancel, failed after a failure
//! ```
//!
//! `retry` leads from `running` to `running` and from `reverting` to `reverting`. `revert-failed` is
//! known for its name only: undo never gives up.
//!
//! [`apply`] is pure: no clock, no I/O. Everything around an edge (the batch, the fence, the wake-up) is
//! in `edge`; what a user may ask for in which state is in `control`.

use std::fmt;

/// The state of a job. The texts are those of CockroachDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Accepted; waits for a free slot. Entered by submit; left by start, pause or cancel.
    Pending,
    /// Working, or waiting for its next attempt. Entered by start and resume; left by success,
    /// failure, pause or cancel. If the process dies, the next open goes on with it.
    Running,
    /// Asked to pause; its worker has not stopped yet. Left when it has, or by the next open.
    PauseRequested,
    /// Not working, nobody works for it. Entered when its worker has stopped; left by resume or
    /// cancel.
    Paused,
    /// Cancelled, durably and fenced; its worker may not know yet. Left at once, or by the next
    /// open.
    CancelRequested,
    /// Being undone, after a cancel or a failure. Left when that is done; retried until then.
    Reverting,
    /// Terminal: its results were published. Removed after the retention time, like all below.
    Succeeded,
    /// Terminal: failed, and nothing of it is left visible.
    Failed,
    /// Terminal: cancelled, no worker runs, nothing of it is visible or can become visible.
    Canceled,
    /// Terminal; never entered. The name belongs to the set that clients know.
    RevertFailed,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Running,
        Self::PauseRequested,
        Self::Paused,
        Self::CancelRequested,
        Self::Reverting,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::RevertFailed,
    ];

    /// The text that clients see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::PauseRequested => "pause-requested",
            Self::Paused => "paused",
            Self::CancelRequested => "cancel-requested",
            Self::Reverting => "reverting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::RevertFailed => "revert-failed",
        }
    }

    /// Whether nothing changes any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled | Self::RevertFailed => true,
            Self::Pending
            | Self::Running
            | Self::PauseRequested
            | Self::Paused
            | Self::CancelRequested
            | Self::Reverting => false,
        }
    }

    /// The stored number. Never reused.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Pending => 1,
            Self::Running => 2,
            Self::PauseRequested => 3,
            Self::Paused => 4,
            Self::CancelRequested => 5,
            Self::Reverting => 6,
            Self::Succeeded => 7,
            Self::Failed => 8,
            Self::Canceled => 9,
            Self::RevertFailed => 10,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job is being undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It was cancelled.
    Cancel,
    /// It failed.
    Failure,
}

/// A state, and why the job is being undone if it is. The cause is set on the way to the end by
/// undo, and stays while such a job is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The state.
    pub state: State,
    /// `Some` once the job cannot succeed any more.
    pub cause: Option<Cause>,
}

impl Standing {
    /// How every job begins.
    pub const SUBMITTED: Self = Self { state: State::Pending, cause: None };
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It got a slot: its first attempt begins.
    Start,
    /// It published its results.
    Succeed,
    /// An attempt ended in an error that may pass.
    Retry,
    /// An attempt ended in an error that will not pass.
    Fail,
    /// Somebody asked it to pause.
    RequestPause,
    /// Its worker has stopped for the pause.
    Pause,
    /// Somebody asked it to go on.
    Resume,
    /// Somebody cancelled it.
    RequestCancel,
    /// The fence is closed and its worker has stopped, or was given up: undo begins.
    Revert,
    /// Undo is done and no worker is left.
    Finish,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::Start,
        Self::Succeed,
        Self::Retry,
        Self::Fail,
        Self::RequestPause,
        Self::Pause,
        Self::Resume,
        Self::RequestCancel,
        Self::Revert,
        Self::Finish,
    ];

    /// The name in the chart, in history and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Succeed => "succeed",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::RequestPause => "request-pause",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::RequestCancel => "request-cancel",
            Self::Revert => "revert",
            Self::Finish => "finish",
        }
    }
}

/// The chart has no such edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a job that is {state} cannot {}", .event.as_str())]
pub struct Refused {
    /// Where the job stands.
    pub state: State,
    /// What does not lead anywhere from there.
    pub event: Event,
}

/// The only place where a job changes its state.
///
/// # Errors
/// [`Refused`] if the chart has no such edge.
pub fn apply(standing: Standing, event: Event) -> Result<Standing, Refused> {
    use Event as E;
    use State as S;
    let Standing { state, cause } = standing;
    let to = |state| Ok(Standing { state, cause });
    let undo = |state, cause| Ok(Standing { state, cause: Some(cause) });
    let refused = Err(Refused { state, event });
    match (state, event) {
        (S::Pending, E::Start) => to(S::Running),
        (S::Pending | S::Running | S::Reverting, E::RequestPause) => to(S::PauseRequested),
        (S::Pending | S::Running, E::RequestCancel) => undo(S::CancelRequested, Cause::Cancel),
        (S::Running, E::Succeed) => to(S::Succeeded),
        (S::Running, E::Retry) => to(S::Running),
        (S::Running, E::Fail) => undo(S::Reverting, Cause::Failure),
        (S::PauseRequested, E::Pause) => to(S::Paused),
        (S::Paused, E::Resume) => match cause {
            None => to(S::Running),
            Some(_) => to(S::Reverting),
        },
        (S::Paused, E::RequestCancel) => match cause {
            None => undo(S::CancelRequested, Cause::Cancel),
            Some(_) => refused,
        },
        (S::CancelRequested, E::Revert) => to(S::Reverting),
        (S::Reverting, E::Retry) => to(S::Reverting),
        (S::Reverting, E::Finish) => match cause {
            Some(Cause::Cancel) => to(S::Canceled),
            Some(Cause::Failure) => to(S::Failed),
            None => refused,
        },
        (
            S::Pending,
            E::Succeed | E::Retry | E::Fail | E::Pause | E::Resume | E::Revert | E::Finish,
        )
        | (S::Running, E::Start | E::Pause | E::Resume | E::Revert | E::Finish)
        | (
            S::PauseRequested,
            E::Start
            | E::Succeed
            | E::Retry
            | E::Fail
            | E::RequestPause
            | E::Resume
            | E::RequestCancel
            | E::Revert
            | E::Finish,
        )
        | (
            S::Paused,
            E::Start
            | E::Succeed
            | E::Retry
            | E::Fail
            | E::RequestPause
            | E::Pause
            | E::Revert
            | E::Finish,
        )
        | (
            S::CancelRequested,
            E::Start
            | E::Succeed
            | E::Retry
            | E::Fail
            | E::RequestPause
            | E::Pause
            | E::Resume
            | E::RequestCancel
            | E::Finish,
        )
        | (
            S::Reverting,
            E::Start | E::Succeed | E::Fail | E::Pause | E::Resume | E::RequestCancel | E::Revert,
        )
        | (
            S::Succeeded | S::Failed | S::Canceled | S::RevertFailed,
            E::Start
            | E::Succeed
            | E::Retry
            | E::Fail
            | E::RequestPause
            | E::Pause
            | E::Resume
            | E::RequestCancel
            | E::Revert
            | E::Finish,
        ) => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: states; columns: events; `.` means refused. With no cause set.
    const CHART: &str = "
        from             start    succeed    retry    fail       request-pause    pause   resume   request-cancel    revert     finish
        pending          running  .          .        .          pause-requested  .       .        cancel-requested  .          .
        running          .        succeeded  running  reverting  pause-requested  .       .        cancel-requested  .          .
        pause-requested  .        .          .        .          .                paused  .        .                 .          .
        paused           .        .          .        .          .                .       running  cancel-requested  .          .
        cancel-requested .        .          .        .          .                .       .        .                 reverting  .
        reverting        .        .          reverting .         pause-requested  .       .        .                 .          .
        succeeded        .        .          .        .          .                .       .        .                 .          .
        failed           .        .          .        .          .                .       .        .                 .          .
        canceled         .        .          .        .          .                .       .        .                 .          .
        revert-failed    .        .          .        .          .                .       .        .                 .          .
    ";

    /// What differs once the job is on its way to an end by undo.
    fn with_cause(state: State, event: Event, cause: Cause, otherwise: &str) -> String {
        match (state, event) {
            (State::Paused, Event::Resume) => "reverting".to_owned(),
            (State::Paused, Event::RequestCancel) => ".".to_owned(),
            (State::Reverting, Event::Finish) => match cause {
                Cause::Cancel => "canceled".to_owned(),
                Cause::Failure => "failed".to_owned(),
            },
            _ => otherwise.to_owned(),
        }
    }

    fn text(standing: Standing, event: Event) -> String {
        apply(standing, event).map_or_else(|_| ".".to_owned(), |to| to.state.to_string())
    }

    #[test]
    fn every_state_meets_every_event_as_the_chart_says() {
        let mut lines = CHART.trim().lines();
        let events: Vec<&str> = lines.next().unwrap().split_whitespace().skip(1).collect();
        assert_eq!(events, Event::ALL.map(Event::as_str));
        let mut states = Vec::new();
        for line in lines {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            let state = State::ALL.into_iter().find(|state| state.as_str() == name).unwrap();
            states.push(state);
            for (event, expected) in Event::ALL.into_iter().zip(words) {
                assert_eq!(
                    text(Standing { state, cause: None }, event),
                    expected,
                    "{name} {event:?}"
                );
                for cause in [Cause::Cancel, Cause::Failure] {
                    let expected = with_cause(state, event, cause, expected);
                    let standing = Standing { state, cause: Some(cause) };
                    assert_eq!(text(standing, event), expected, "{name} {event:?} {cause:?}");
                }
            }
        }
        assert_eq!(states, State::ALL);
    }

    #[test]
    fn the_cause_survives_a_pause_and_is_never_lost() {
        let failed = apply(Standing { state: State::Running, cause: None }, Event::Fail).unwrap();
        let events =
            [Event::RequestPause, Event::Pause, Event::Resume, Event::Retry, Event::Finish];
        let end = events.into_iter().fold(failed, |at, event| apply(at, event).unwrap());
        assert_eq!(end, Standing { state: State::Failed, cause: Some(Cause::Failure) });
    }

    #[test]
    fn no_event_leaves_a_terminal_state_and_every_other_state_can_end() {
        for state in State::ALL {
            for event in Event::ALL {
                let moves = apply(Standing { state, cause: None }, event).is_ok();
                assert!(!(state.is_terminal() && moves), "{state} {event:?}");
            }
        }
        for start in State::ALL.into_iter().filter(|state| !state.is_terminal()) {
            let mut reached = vec![Standing { state: start, cause: Some(Cause::Cancel) }];
            for at in 0..100 {
                let Some(&standing) = reached.get(at) else { break };
                for event in Event::ALL {
                    if let Ok(next) = apply(standing, event)
                        && !reached.contains(&next)
                    {
                        reached.push(next);
                    }
                }
            }
            assert!(reached.iter().any(|standing| standing.state.is_terminal()), "{start}");
        }
    }

    #[test]
    fn stored_numbers_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(State::from_number(0), None);
        assert_eq!(State::from_number(11), None);
    }
}
