//! Settings of the whole database: one registry with type, unit, range, default and description.
//!
//! A changed value is a record in `catalog`; a setting without one has its default. Values are given
//! and shown as text, and are checked before they are stored. The settings of a store, and changing
//! them, are in `settings/store.rs`.

mod registry;
#[cfg(feature = "store")]
mod store;
mod value;

use cairn_engine::{Corruption, Family};
use prost::Message;

use crate::error::{Failure, code};
pub use registry::{Setting, SettingType};
#[cfg(feature = "store")]
pub use store::Settings;
pub use value::Value;

/// Keys of settings in `catalog`: this prefix, then the name.
pub(crate) const KEY_PREFIX: &[u8] = b"\0setting\0";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SettingRecord {
    /// The value in its canonical text.
    #[prost(string, tag = "1")]
    pub(crate) value: String,
}

/// A setting as `SHOW CLUSTER SETTING` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSetting {
    /// What it is.
    pub setting: &'static Setting,
    /// Its value now, in its canonical text.
    pub value: String,
    /// Whether it is the default.
    pub is_default: bool,
}

fn key(setting: &Setting) -> Vec<u8> {
    [KEY_PREFIX, setting.name.as_bytes()].concat()
}

/// Reads a stored setting.
pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<(&'static Setting, Value), Corruption> {
    let bad = |expected: &str| Corruption::new(Family::Catalog, key, expected);
    let name = key.strip_prefix(KEY_PREFIX).and_then(|name| std::str::from_utf8(name).ok());
    let setting = name.and_then(Setting::find).ok_or_else(|| bad("a setting of this release"))?;
    let record = SettingRecord::decode(body).map_err(|_| bad("a setting record"))?;
    let value = setting.parse(&record.value).map_err(|error| bad(&error.message))?;
    Ok((setting, value))
}

fn unknown(name: &str) -> Failure {
    Failure::new(code::UNDEFINED_OBJECT, format!("unknown cluster setting \"{name}\""))
        .with_hint("SHOW ALL CLUSTER SETTINGS lists the settings there are.")
}

#[cfg(test)]
#[path = "settings/settings_test.rs"]
mod tests;
