//! Crash points: named places, at every durable step, where a test can make an engine die.
//!
//! A plan belongs to one engine, not to the process, so that tests run side by side. Until it is armed
//! a point costs one relaxed load. Three ways of arming:
//!
//! - [`CrashPlan::record`]: points only write down their names, for a test that enumerates them;
//! - [`CrashPlan::arm`], [`CrashPlan::arm_any`]: the nth time a point, or any point, is reached it fails, and from then on every point and
//!   every commit of this engine fails too. To the disk that is the death of the process at that
//!   place; the test drops the engine and opens it again;
//! - the environment variable `CAIRN_CRASH=name`, `CAIRN_CRASH=name:n` or `CAIRN_CRASH=any:n`, read once at open: the
//!   process is aborted there, at the nth point of that name or at the nth of all, those of the open itself
//!   included. For tests of the real binary.
//!
//! Left out: loss of power. The death of a process keeps what the operating system has cached, so
//! this shows atomicity and recovery, not that a sync was asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{EngineError, Result};

/// The environment variable that arms a plan at open.
const VARIABLE: &str = "CAIRN_CRASH";

/// The name there that means every point.
const ANY: &str = "any";

#[derive(Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Inert,
    Record(Vec<String>),
    /// Die at the point `name` once it was passed `passes_left` times.
    Armed {
        name: String,
        passes_left: u32,
        abort: bool,
    },
    /// Die at the next point, whatever its name, once so many were passed.
    ArmedAny {
        passes_left: u32,
        abort: bool,
    },
    /// Died at this point.
    Dead(String),
}

/// What the crash points of one engine do. Inert until armed.
#[derive(Debug, Default)]
pub struct CrashPlan {
    /// Whether `mode` is anything else than inert. Only a hint that saves the lock.
    active: AtomicBool,
    mode: Mutex<Mode>,
}

impl CrashPlan {
    /// The plan that the environment asks for; a value that cannot be read is logged and ignored.
    pub(crate) fn from_env() -> Self {
        let plan = Self::default();
        if let Ok(value) = std::env::var(VARIABLE) {
            match parse(&value) {
                Some((ANY, nth)) => plan.set(armed_any(nth, true)),
                Some((name, nth)) => plan.set(armed(name, nth, true)),
                None => tracing::error!(value, "{VARIABLE} is not `name` or `name:n`: ignored"),
            }
        }
        plan
    }

    /// A place where the process may die. Call it before and after each durable step.
    ///
    /// # Errors
    /// [`EngineError::Crashed`] if a test wants the engine to be dead from here on.
    pub fn point(&self, name: &str) -> Result<()> {
        if self.active.load(Ordering::Relaxed) { self.reached(name) } else { Ok(()) }
    }

    /// Fails once the engine has died. Commits ask this, so that nothing is written after death.
    ///
    /// # Errors
    /// [`EngineError::Crashed`], naming the point of death.
    pub fn alive(&self) -> Result<()> {
        if !self.active.load(Ordering::Relaxed) {
            return Ok(());
        }
        match &*self.mode() {
            Mode::Dead(point) => Err(EngineError::Crashed { point: point.clone() }),
            Mode::Inert | Mode::Record(_) | Mode::Armed { .. } | Mode::ArmedAny { .. } => Ok(()),
        }
    }

    /// Whether an armed point was reached.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.alive().is_err()
    }

    /// From now on, writes down the name of every point that is reached, unless the engine is dead.
    pub fn record(&self) {
        self.set(Mode::Record(Vec::new()));
    }

    /// The points that were reached since [`CrashPlan::record`], in order, with repetitions.
    #[must_use]
    pub fn recorded(&self) -> Vec<String> {
        match &*self.mode() {
            Mode::Record(names) => names.clone(),
            Mode::Inert | Mode::Armed { .. } | Mode::ArmedAny { .. } | Mode::Dead(_) => Vec::new(),
        }
    }

    /// Lets the engine die the `nth` time (from 1) that the point `name` is reached. Nothing changes for one that is dead.
    pub fn arm(&self, name: &str, nth: u32) {
        self.set(armed(name, nth, false));
    }

    /// Lets the engine die at the `nth` point (from 1) that is reached from now on, whatever its name, unless it is dead: a
    /// test that counts up until the engine lives has tried every point there is.
    pub fn arm_any(&self, nth: u32) {
        self.set(armed_any(nth, false));
    }

    /// Makes the plan inert again. The dead stay dead: open the store again instead.
    pub fn disarm(&self) {
        let mut mode = self.mode();
        if !matches!(*mode, Mode::Dead(_)) {
            *mode = Mode::Inert;
            self.active.store(false, Ordering::Relaxed);
        }
    }

    fn reached(&self, name: &str) -> Result<()> {
        let mut mode = self.mode();
        match &mut *mode {
            Mode::Inert => Ok(()),
            Mode::Record(names) => {
                names.push(name.to_owned());
                Ok(())
            }
            Mode::Armed { name: wanted, .. } if wanted != name => Ok(()),
            Mode::Armed { passes_left: 0, abort, .. }
            | Mode::ArmedAny { passes_left: 0, abort } => {
                if *abort {
                    tracing::error!(point = name, "aborting: {VARIABLE} asks for it");
                    std::process::abort()
                }
                let point = name.to_owned();
                *mode = Mode::Dead(point.clone());
                Err(EngineError::Crashed { point })
            }
            Mode::Armed { passes_left, .. } | Mode::ArmedAny { passes_left, .. } => {
                *passes_left -= 1;
                Ok(())
            }
            Mode::Dead(point) => Err(EngineError::Crashed { point: point.clone() }),
        }
    }

    /// Whatever is asked for: the dead stay dead.
    fn set(&self, mode: Mode) {
        let mut now = self.mode();
        if !matches!(*now, Mode::Dead(_)) {
            *now = mode;
            self.active.store(true, Ordering::Relaxed);
        }
    }

    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn armed(name: &str, nth: u32, abort: bool) -> Mode {
    Mode::Armed { name: name.to_owned(), passes_left: nth.saturating_sub(1), abort }
}

fn armed_any(nth: u32, abort: bool) -> Mode {
    Mode::ArmedAny { passes_left: nth.saturating_sub(1), abort }
}

/// `name` or `name:n` with n from 1.
fn parse(value: &str) -> Option<(&str, u32)> {
    let (name, nth) = match value.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().ok().filter(|&nth| nth > 0)?),
        None => (value, 1),
    };
    (!name.is_empty()).then_some((name, nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inert_plan_lets_everything_pass() {
        let plan = CrashPlan::default();
        assert!(plan.point("a").is_ok() && plan.alive().is_ok() && !plan.is_dead());
        assert!(plan.recorded().is_empty());
    }

    #[test]
    fn the_dead_stay_dead_whatever_is_asked_for() {
        let plan = CrashPlan::default();
        plan.arm_any(1);
        assert!(plan.point("a").is_err());
        plan.arm_any(2);
        plan.arm("b", 1);
        plan.record();
        plan.disarm();
        assert!(plan.is_dead() && plan.point("c").is_err());
    }

    #[test]
    fn recorded_points_can_be_enumerated() {
        let plan = CrashPlan::default();
        plan.record();
        for name in ["a", "b", "a"] {
            plan.point(name).unwrap();
        }
        assert_eq!(plan.recorded(), ["a", "b", "a"]);
        plan.disarm();
        assert!(plan.recorded().is_empty());
    }

    #[test]
    fn the_nth_hit_kills_and_death_is_for_good() {
        let plan = CrashPlan::default();
        plan.arm("b", 2);
        for name in ["a", "b", "a"] {
            plan.point(name).unwrap();
        }
        assert!(plan.alive().is_ok());
        let error = plan.point("b").unwrap_err();
        assert!(matches!(&error, EngineError::Crashed { point } if point == "b"), "{error}");
        assert!(plan.point("a").is_err() && plan.alive().is_err());
        plan.disarm();
        assert!(plan.is_dead());
    }

    #[test]
    fn any_point_may_be_the_last() {
        let plan = CrashPlan::default();
        plan.arm_any(3);
        for name in ["a", "b"] {
            plan.point(name).unwrap();
        }
        let error = plan.point("c").unwrap_err();
        assert!(matches!(&error, EngineError::Crashed { point } if point == "c"), "{error}");
        assert!(plan.is_dead());
    }

    #[test]
    fn the_environment_names_a_point_and_a_count() {
        assert_eq!(parse("ingest.after_intent"), Some(("ingest.after_intent", 1)));
        assert_eq!(parse("claim.before:3"), Some(("claim.before", 3)));
        for wrong in ["", ":1", "a:", "a:0", "a:x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
