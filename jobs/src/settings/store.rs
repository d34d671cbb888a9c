//! The settings of a store.
//!
//! Changes take effect at once: whoever depends on a setting waits for [`Settings::subscribe`].

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use cairn_engine::envelope::kind;
use cairn_engine::{Batch, Engine, Family, Sync};
use prost::Message as _;
use tokio::sync::watch;

use super::{KEY_PREFIX, Setting, SettingRecord, ShownSetting, Value, decode, key};
use crate::error::Result;

/// The list of pause points, by its own name: it is asked on hot paths.
const PAUSE_POINTS: &str = "jobs.debug.pausepoints";

/// The settings of a store. Cheap to clone; all clones are the same settings.
#[derive(Clone)]
pub struct Settings(Arc<Shared>);

struct Shared {
    engine: Engine,
    /// Values that are not the default. Written under this lock, so memory and disk agree.
    changed: RwLock<BTreeMap<&'static str, Value>>,
    pause_points: RwLock<Vec<String>>,
    generation: watch::Sender<u64>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Settings").field("changed", &*self.changed()).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the settings of a store. Blocks.
    ///
    /// # Errors
    /// A storage error. A stored value that this release cannot read is logged and passed over.
    pub fn open(engine: &Engine) -> Result<Self> {
        let mut changed = BTreeMap::new();
        for (key, record) in engine.records(Family::Catalog, KEY_PREFIX)? {
            match record.and_then(|(_, body)| decode(&key, &body)) {
                Ok((setting, value)) => drop(changed.insert(setting.name, value)),
                Err(damage) => tracing::error!(%damage, "a stored setting is passed over"),
            }
        }
        let settings = Self(Arc::new(Shared {
            engine: engine.clone(),
            changed: RwLock::new(changed),
            pause_points: RwLock::default(),
            generation: watch::Sender::new(0),
        }));
        settings.refresh_pause_points();
        Ok(settings)
    }

    fn changed(&self) -> RwLockReadGuard<'_, BTreeMap<&'static str, Value>> {
        self.0.changed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a setting by text, durably. Blocks.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that cannot be read or is out of range, a storage
    /// error: the setting is as it was.
    pub fn set(&self, name: &str, text: &str) -> Result<()> {
        let setting = Setting::get(name)?;
        let value = setting.parse(text)?;
        let record = SettingRecord { value: value.to_string() };
        let mut batch = Batch::new();
        batch.put_record(Family::Catalog, &key(setting), kind::SETTING, &record.encode_to_vec());
        self.write(batch, |changed| drop(changed.insert(setting.name, value)))
    }

    /// Gives a setting its default back, durably. Blocks.
    ///
    /// # Errors
    /// 42704 for an unknown name, a storage error.
    pub fn reset(&self, name: &str) -> Result<()> {
        let setting = Setting::get(name)?;
        let mut batch = Batch::new();
        batch.delete(Family::Catalog, &key(setting));
        self.write(batch, |changed| drop(changed.remove(setting.name)))
    }

    fn write(
        &self,
        batch: Batch,
        change: impl FnOnce(&mut BTreeMap<&'static str, Value>),
    ) -> Result<()> {
        let mut changed = self.0.changed.write().unwrap_or_else(PoisonError::into_inner);
        self.0.engine.commit(batch, Sync::Yes)?;
        change(&mut changed);
        drop(changed);
        self.refresh_pause_points();
        self.0.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// One setting with its value.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn show(&self, name: &str) -> Result<ShownSetting> {
        Ok(self.shown(Setting::get(name)?))
    }

    /// All settings by name, each with its value.
    #[must_use]
    pub fn show_all(&self) -> Vec<ShownSetting> {
        Setting::all().iter().map(|setting| self.shown(setting)).collect()
    }

    fn shown(&self, setting: &'static Setting) -> ShownSetting {
        let changed = self.changed().get(setting.name).cloned();
        let is_default = changed.is_none();
        let value = changed.unwrap_or_else(|| setting.default_value()).to_string();
        ShownSetting { setting, value, is_default }
    }

    /// Changes whenever a setting does.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    fn value(&self, name: &str) -> Option<Value> {
        let setting = Setting::find(name);
        debug_assert!(setting.is_some(), "{name} is not in the registry");
        setting.map(|setting| {
            self.changed().get(setting.name).cloned().unwrap_or_else(|| setting.default_value())
        })
    }

    /// A setting of type bytes. 0 for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => wrong_type(name),
        }
    }

    /// A setting of type integer. 0 for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_int(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Int(int)) => int,
            _ => wrong_type(name),
        }
    }

    /// A setting of type duration. Zero for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Duration(duration)) => duration,
            _ => wrong_type(name),
        }
    }

    /// A setting of type float. 0 for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_float(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Float(float)) => float,
            _ => wrong_type(name),
        }
    }

    /// A setting of type boolean. False for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(bool)) => bool,
            _ => wrong_type(name),
        }
    }

    /// A setting of type text. Empty for a name of another type: a mistake of the caller.
    #[must_use]
    pub fn get_text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => wrong_type(name),
        }
    }

    pub(crate) fn has_pause_points(&self) -> bool {
        !self.0.pause_points.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn has_pause_point(&self, point: &str) -> bool {
        let points = self.0.pause_points.read().unwrap_or_else(PoisonError::into_inner);
        points.iter().any(|named| named == point)
    }

    fn refresh_pause_points(&self) {
        let text = self.get_text(PAUSE_POINTS);
        let points = text.split(',').map(str::trim).filter(|point| !point.is_empty());
        let points = points.map(str::to_owned).collect();
        *self.0.pause_points.write().unwrap_or_else(PoisonError::into_inner) = points;
    }
}

fn wrong_type<T: Default>(name: &str) -> T {
    debug_assert!(false, "{name} is of another type");
    T::default()
}
