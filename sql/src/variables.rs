//! Session variables: what `SET` changes and `SHOW` answers.
//!
//! A registry of the variables drivers send, each with its default and a check. A variable that
//! means nothing here is accepted with its one harmless value or stored without effect; a value
//! that would silently change results if it were ignored (an encoding, a date style) is refused.
//! Names with a dot are the client's own, as in PostgreSQL.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Result, SqlError, code};

/// The PostgreSQL version that clients are told, because they choose their catalog queries by it.
pub const SERVER_VERSION: &str = "15.0";

/// Name as shown, default, and how values are checked.
const KNOWN: [(&str, &str, Check); 31] = [
    ("application_name", "", Check::Any),
    ("backslash_quote", "safe_encoding", Check::Any),
    ("bytea_output", "hex", Check::One),
    ("client_encoding", "UTF8", Check::Utf8),
    ("client_min_messages", "notice", Check::Any),
    ("DateStyle", "ISO, MDY", Check::Iso),
    ("default_transaction_isolation", "read committed", Check::Any),
    ("default_transaction_read_only", "off", Check::OffOnly),
    ("escape_string_warning", "on", Check::Bool),
    ("extra_float_digits", "1", Check::Any),
    ("idle_in_transaction_session_timeout", "0", Check::Time),
    ("idle_session_timeout", "0", Check::Time),
    ("integer_datetimes", "on", Check::Fixed),
    ("IntervalStyle", "postgres", Check::One),
    ("is_superuser", "on", Check::Fixed),
    ("jit", "off", Check::Bool),
    ("lock_timeout", "0", Check::Time),
    ("max_identifier_length", "63", Check::Fixed),
    ("row_security", "on", Check::Bool),
    ("search_path", "public", Check::Any),
    ("server_encoding", "UTF8", Check::Fixed),
    ("server_version", SERVER_VERSION, Check::Fixed),
    ("server_version_num", "150000", Check::Fixed),
    ("session_authorization", "", Check::Fixed),
    ("standard_conforming_strings", "on", Check::One),
    ("statement_timeout", "0", Check::Time),
    ("synchronous_commit", "on", Check::Bool),
    ("synchronize_seqscans", "on", Check::Bool),
    ("TimeZone", "UTC", Check::Any),
    ("transaction_isolation", "read committed", Check::Any),
    ("transaction_read_only", "off", Check::OffOnly),
];

#[derive(Clone, Copy)]
enum Check {
    /// Any text.
    Any,
    /// `on` and `off` and their other spellings.
    Bool,
    /// Only its default, because another value would change results.
    One,
    /// `off` only.
    OffOnly,
    /// Cannot be set.
    Fixed,
    /// A number of milliseconds, or a number with a unit.
    Time,
    /// UTF-8 by any of its names.
    Utf8,
    /// ISO, whatever follows.
    Iso,
}

/// The variables of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    changed: BTreeMap<String, String>,
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, Check)> {
    let name = if name.eq_ignore_ascii_case("time zone") { "TimeZone" } else { name };
    KNOWN.iter().find(|known| known.0.eq_ignore_ascii_case(name))
}

impl Variables {
    /// The value of a variable.
    ///
    /// # Errors
    /// 42704 for a name nobody knows.
    pub(crate) fn get(&self, name: &str) -> Result<String> {
        let lower = name.to_ascii_lowercase();
        let (key, default) = match known(name) {
            Some((shown, default, _)) => (shown.to_ascii_lowercase(), Some(*default)),
            None => (lower, None),
        };
        match (self.changed.get(&key), default) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(unknown(name)),
        }
    }

    /// Sets a variable; `None` puts its default back.
    ///
    /// # Errors
    /// 42704 for a name nobody knows, 22023 for a value that cannot be, 55P02 for a constant.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let Some((shown, default, check)) = known(name) else {
            if !name.contains('.') {
                return Err(unknown(name));
            }
            let key = name.to_ascii_lowercase();
            match value {
                Some(value) => drop(self.changed.insert(key, value.to_owned())),
                None => drop(self.changed.remove(&key)),
            }
            return Ok(());
        };
        let key = shown.to_ascii_lowercase();
        let Some(value) = value else {
            self.changed.remove(&key);
            return Ok(());
        };
        let value = checked(shown, default, *check, value)?;
        self.changed.insert(key, value);
        Ok(())
    }

    /// Puts all defaults back.
    pub(crate) fn reset(&mut self) {
        self.changed.clear();
    }

    /// Every known variable with its value, by name.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = KNOWN
            .iter()
            .map(|(name, default, _)| {
                let value = self.changed.get(&name.to_ascii_lowercase());
                ((*name).to_owned(), value.cloned().unwrap_or_else(|| (*default).to_owned()))
            })
            .collect();
        all.extend(
            self.changed
                .iter()
                .filter(|(name, _)| known(name).is_none())
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        all
    }

    /// How long a statement may take; `None` for no limit.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let millis = self.get("statement_timeout").ok().and_then(|text| millis(&text))?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Whether a commit waits for the disk.
    pub(crate) fn synchronous_commit(&self) -> bool {
        self.get("synchronous_commit").is_ok_and(|value| value != "off")
    }

    /// The schemas in which unqualified names are looked up.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let path = self.get("search_path").unwrap_or_default();
        let mut schemas = Vec::new();
        for part in path.split(',') {
            let part = part.trim();
            let name = match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => part.trim_matches('\'').to_ascii_lowercase(),
            };
            if !name.is_empty() && name != "$user" && !schemas.contains(&name) {
                schemas.push(name);
            }
        }
        schemas
    }
}

fn unknown(name: &str) -> SqlError {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    SqlError::new(code::UNDEFINED_OBJECT, message)
        .with_hint("SHOW ALL lists the parameters of a session; SHOW ALL CLUSTER SETTINGS lists the settings of the database.")
}

fn checked(name: &str, default: &str, check: Check, value: &str) -> Result<String> {
    let invalid = |hint: &str| {
        let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
        Err(SqlError::new(code::INVALID_PARAMETER_VALUE, message).with_hint(hint))
    };
    let lower = value.to_ascii_lowercase();
    match check {
        Check::Any => Ok(value.to_owned()),
        Check::Bool => match lower.as_str() {
            "on" | "true" | "yes" | "1" => Ok("on".to_owned()),
            "off" | "false" | "no" | "0" => Ok("off".to_owned()),
            // PostgreSQL's levels of synchronous_commit all wait for the local disk.
            "local" | "remote_write" | "remote_apply" => Ok("on".to_owned()),
            _ => invalid("It is either on or off."),
        },
        Check::One => {
            if lower == default.to_ascii_lowercase() || (default == "on" && lower == "true") {
                Ok(default.to_owned())
            } else {
                invalid(&format!("Only \"{default}\" is supported."))
            }
        }
        Check::OffOnly => match lower.as_str() {
            "off" | "false" | "no" | "0" => Ok("off".to_owned()),
            _ => invalid("Read-only sessions are not supported."),
        },
        Check::Fixed => {
            let message = format!("parameter \"{name}\" cannot be changed");
            Err(SqlError::new(code::CANT_CHANGE_RUNTIME_PARAM, message))
        }
        Check::Time => match millis(value) {
            Some(millis) => Ok(millis.to_string()),
            None => invalid("Give milliseconds, or a number with one of ms, s, min, h, d."),
        },
        Check::Utf8 => match lower.as_str() {
            "utf8" | "utf-8" | "unicode" | "sql_ascii" | "auto" => Ok("UTF8".to_owned()),
            _ => invalid("Only UTF8 is supported."),
        },
        Check::Iso => {
            if !["sql", "german", "postgres"].iter().any(|style| lower.contains(style)) {
                Ok("ISO, MDY".to_owned())
            } else {
                invalid("Only ISO is supported.")
            }
        }
    }
}

/// A number of milliseconds from `1500`, `1.5s`, `2min`; a bare number is milliseconds.
pub(crate) fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "s" => 1e3,
        "min" | "m" => 60e3,
        "h" => 3600e3,
        "d" => 86400e3,
        _ => return None,
    };
    let millis = number.parse::<f64>().ok()? * factor;
    // Beyond 2^53 milliseconds nobody waits; the cast is exact below.
    (0.0..9e15).contains(&millis).then_some(millis.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_change_results_are_refused() {
        let mut variables = Variables::default();
        assert!(variables.set("client_encoding", Some("LATIN1")).is_err());
        assert!(variables.set("client_encoding", Some("utf-8")).is_ok());
        assert!(variables.set("standard_conforming_strings", Some("off")).is_err());
        assert!(variables.set("server_version", Some("9")).is_err());
    }

    #[test]
    fn unknown_names_are_refused_and_dotted_ones_kept() {
        let mut variables = Variables::default();
        assert_eq!(variables.set("nonsense", Some("1")).unwrap_err().code, "42704");
        variables.set("my.thing", Some("1")).unwrap();
        assert_eq!(variables.get("my.thing").unwrap(), "1");
        variables.reset();
        assert!(variables.get("my.thing").is_err());
    }

    #[test]
    fn times_take_units_and_the_search_path_takes_quotes() {
        let mut variables = Variables::default();
        variables.set("statement_timeout", Some("1.5s")).unwrap();
        assert_eq!(variables.statement_timeout(), Some(Duration::from_millis(1500)));
        variables.set("search_path", Some("\"$user\", \"A b\", public")).unwrap();
        assert_eq!(variables.search_path(), ["A b", "public"]);
    }
}
