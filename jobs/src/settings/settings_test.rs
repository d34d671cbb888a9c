use cairn_engine::{Engine, Options};

use super::*;

fn engine(dir: &tempfile::TempDir) -> Engine {
    Engine::open(Options::small(dir.path())).unwrap()
}

#[test]
fn every_default_reads_back_and_names_are_in_order() {
    for setting in Setting::all() {
        let value = setting.parse(setting.default).unwrap();
        assert_eq!(value.to_string(), setting.default, "{}", setting.name);
        assert!(setting.description.ends_with('.'), "{}", setting.name);
    }
    assert!(Setting::all().windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn a_changed_setting_survives_and_a_reset_one_has_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir);
    let settings = Settings::open(&engine).unwrap();
    let changes = settings.subscribe();
    settings.set("JOBS.concurrency", "7").unwrap();
    settings.set("bulkio.import.memory", "64MiB").unwrap();
    assert!(changes.has_changed().unwrap());
    let again = Settings::open(&engine).unwrap();
    assert_eq!(again.get_int("jobs.concurrency"), 7);
    assert_eq!(again.get_bytes("bulkio.import.memory"), 64 << 20);
    again.reset("jobs.concurrency").unwrap();
    assert_eq!(Settings::open(&engine).unwrap().get_int("jobs.concurrency"), 4);
    assert!(again.show("jobs.concurrency").unwrap().is_default);
    assert!(!again.show("bulkio.import.memory").unwrap().is_default);
}

#[test]
fn unknown_names_and_wrong_values_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::open(&engine(&dir)).unwrap();
    let failure = |name: &str, text: &str| settings.set(name, text).unwrap_err().into_failure();
    assert_eq!(failure("no.such", "1").code, code::UNDEFINED_OBJECT);
    for (name, text) in [
        ("jobs.concurrency", "0"),
        ("jobs.concurrency", "many"),
        ("background.latency.target", "NaN"),
        ("background.rate.max", "1B"),
        ("reclaim.paused", "maybe"),
        ("jobs.retention_time", "0s"),
    ] {
        let failure = failure(name, text);
        assert_eq!(failure.code, code::INVALID_VALUE, "{name} = {text}");
        assert!(failure.hint.is_some());
    }
    assert_eq!(settings.show_all().len(), Setting::all().len());
    assert!(settings.show_all().iter().all(|shown| shown.is_default));
}

#[test]
fn pause_points_are_a_list_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::open(&engine(&dir)).unwrap();
    assert!(!settings.has_pause_points());
    settings.set("jobs.debug.pausepoints", "a.b, c.d").unwrap();
    assert!(settings.has_pause_point("a.b") && settings.has_pause_point("c.d"));
    assert!(!settings.has_pause_point("a"));
    settings.set("jobs.debug.pausepoints", "").unwrap();
    assert!(!settings.has_pause_points());
}
