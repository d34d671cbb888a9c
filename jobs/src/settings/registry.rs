//! The list of settings. A name, once shipped, keeps its meaning.

use std::fmt;
use std::time::Duration;

use super::unknown;
use super::value::Value;
use crate::error::{Failure, Result, code};

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingType {
    /// A whole number from `min` to `max`.
    Int {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A number from `min` to `max`.
    Float {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// A number of bytes, at least `min`: `256MiB`.
    Bytes {
        /// The smallest value other than 0, which is allowed if it has a meaning of its own.
        min: u64,
        /// Whether 0 is allowed.
        zero: bool,
    },
    /// A time, at least `min`: `1h30m`.
    Duration {
        /// The smallest value.
        min: Duration,
    },
    /// True or false.
    Bool,
    /// Any text.
    Text,
}

/// A setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The name, in lower case.
    pub name: &'static str,
    /// Type, unit and range.
    pub ty: SettingType,
    /// The default, as text.
    pub default: &'static str,
    /// What it does, with the effect of 0, in one or two sentences.
    pub description: &'static str,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

const fn setting(
    name: &'static str,
    ty: SettingType,
    default: &'static str,
    description: &'static str,
) -> Setting {
    Setting { name, ty, default, description }
}

/// Ordered by name.
const ALL: &[Setting] = &[
    setting(
        "background.latency.target",
        SettingType::Float { min: 1.0, max: 100.0 },
        "1.1",
        "How much slower the slowest hundredth of foreground work may get because of background work, \
         as a factor over its idle time. 100 means that it is not looked at.",
    ),
    setting(
        "background.rate.max",
        SettingType::Bytes { min: 1 << 10, zero: true },
        "0",
        "Bytes per second that all background work together may use. 0 means no limit.",
    ),
    setting(
        "bulkio.import.memory",
        SettingType::Bytes { min: 1 << 20, zero: false },
        "256MiB",
        "Memory that one IMPORT uses for sorting.",
    ),
    setting(
        "bulkio.ingest.max_bytes",
        SettingType::Bytes { min: 64 << 10, zero: false },
        "128MiB",
        "Bytes that one ingest call takes in. Writers, and a cancel, may wait for one such call.",
    ),
    setting(
        "gc.ttlseconds",
        SettingType::Int { min: 0, max: 10 * 365 * 86_400 },
        "0",
        "Seconds for which dropped data is kept. 0 means that it is removed at once.",
    ),
    setting(
        "jobs.checkpoint.interval",
        SettingType::Duration { min: MILLI },
        "1s",
        "How often checkpoints that a job only keeps are written.",
    ),
    setting(
        "jobs.concurrency",
        SettingType::Int { min: 1, max: 1024 },
        "4",
        "Jobs that work at the same time; others wait as pending.",
    ),
    setting(
        "jobs.debug.pausepoints",
        SettingType::Text,
        "",
        "Comma-separated points at which a job pauses itself. For tests.",
    ),
    setting(
        "jobs.retention_time",
        SettingType::Duration { min: SECOND },
        "336h",
        "How long a job is kept after its end.",
    ),
    setting(
        "jobs.retry.initial_delay",
        SettingType::Duration { min: MILLI },
        "1s",
        "Wait before the first retry of a job; each further one waits twice as long.",
    ),
    setting(
        "jobs.retry.max_delay",
        SettingType::Duration { min: MILLI },
        "10m",
        "The longest wait between two retries of a job.",
    ),
    setting(
        "reclaim.free_space_floor",
        SettingType::Bytes { min: 0, zero: true },
        "4GiB",
        "Free bytes on the disk below which giving space back goes before foreground work.",
    ),
    setting(
        "reclaim.paused",
        SettingType::Bool,
        "false",
        "Whether nothing is given back to the disk for now.",
    ),
    setting(
        "sql.memory.max",
        SettingType::Bytes { min: 16 << 20, zero: false },
        "1GiB",
        "Memory that all queries together may use before they spill to disk. Read at start.",
    ),
    setting(
        "sql.read_view.max_age",
        SettingType::Duration { min: SECOND },
        "1h",
        "The age at which a statement's view of the store is reported as holding space back.",
    ),
    setting(
        "sql.stats.automatic_collection.enabled",
        SettingType::Bool,
        "true",
        "Whether table statistics are refreshed without being asked for.",
    ),
    setting(
        "sql.stats.automatic_collection.fraction_stale_rows",
        SettingType::Float { min: 0.0, max: 1e6 },
        "0.2",
        "Part of a table's rows that has to change before its statistics are refreshed.",
    ),
    setting(
        "sql.stats.automatic_collection.min_stale_rows",
        SettingType::Int { min: 0, max: u64::MAX >> 1 },
        "500",
        "Rows that have to change, beyond the fraction, before statistics are refreshed.",
    ),
];

impl Setting {
    /// Every setting, by name.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        ALL
    }

    /// The setting of this name, in whatever case.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn get(name: &str) -> Result<&'static Self> {
        Self::find(name).ok_or_else(|| unknown(name).into())
    }

    pub(super) fn default_value(&self) -> Value {
        // A test reads every default, so the fallback is never taken.
        self.parse(self.default).unwrap_or(Value::Text(String::new()))
    }

    /// The one-letter type that `SHOW CLUSTER SETTINGS` shows: i, f, z (bytes), d, b, s.
    #[must_use]
    pub const fn type_letter(&self) -> &'static str {
        match self.ty {
            SettingType::Int { .. } => "i",
            SettingType::Float { .. } => "f",
            SettingType::Bytes { .. } => "z",
            SettingType::Duration { .. } => "d",
            SettingType::Bool => "b",
            SettingType::Text => "s",
        }
    }

    /// Reads a value of this setting.
    ///
    /// # Errors
    /// 22023 for a value that cannot be read or is out of range.
    pub fn parse(&self, text: &str) -> Result<Value, Failure> {
        let bad = || {
            let message =
                format!("invalid value for cluster setting \"{}\": \"{text}\"", self.name);
            Failure::new(code::INVALID_VALUE, message)
                .with_hint(format!("It takes {}; the default is '{}'.", self.ty, self.default))
        };
        let value = match self.ty {
            SettingType::Int { .. } => text.trim().parse().ok().map(Value::Int),
            SettingType::Float { .. } => text.trim().parse().ok().map(Value::Float),
            SettingType::Bytes { .. } => super::value::bytes(text).map(Value::Bytes),
            SettingType::Duration { .. } => super::value::duration(text).map(Value::Duration),
            SettingType::Bool => super::value::boolean(text).map(Value::Bool),
            SettingType::Text => Some(Value::Text(text.to_owned())),
        };
        value.filter(|value| self.ty.allows(value)).ok_or_else(bad)
    }
}

impl SettingType {
    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Int { min, max }, Value::Int(int)) => (min..=max).contains(&int),
            (Self::Float { min, max }, Value::Float(float)) => {
                float.is_finite() && (min..=max).contains(&float)
            }
            (Self::Bytes { min, zero }, Value::Bytes(bytes)) => {
                bytes >= min || (*zero && *bytes == 0)
            }
            (Self::Duration { min }, Value::Duration(duration)) => duration >= min,
            (Self::Bool, Value::Bool(_)) | (Self::Text, Value::Text(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for SettingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Float { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bytes { min, zero: false } => {
                write!(f, "a number of bytes like 256MiB, at least {}", Value::Bytes(*min))
            }
            Self::Bytes { min, zero: true } => {
                write!(f, "a number of bytes like 256MiB, 0 or at least {}", Value::Bytes(*min))
            }
            Self::Duration { min } => {
                write!(f, "a time like 1h30m, at least {}", Value::Duration(*min))
            }
            Self::Bool => f.write_str("true or false"),
            Self::Text => f.write_str("a text"),
        }
    }
}
