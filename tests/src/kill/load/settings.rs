//! Changes cluster settings: reclaim stops and goes on, background work slows down, slots come and go.

use std::time::Duration;

use crate::kill::expected::Known;
use crate::kill::lane::{End, Lane};
use crate::kill::plan;

pub(super) async fn run(mut lane: Lane) {
    let result = change(&mut lane).await;
    super::ended(&lane, result);
}

async fn change(lane: &mut Lane) -> Result<(), End> {
    while lane.goes_on() {
        // The load's own pace: settings are not changed all the time.
        tokio::time::sleep(Duration::from_millis(lane.random.below(300))).await;
        let (name, value) = plan::setting_step(&mut lane.random);
        set(lane, name, value).await?;
    }
    Ok(())
}

/// Changes one setting.
pub(crate) async fn set(lane: &Lane, name: &'static str, value: &str) -> Result<(), End> {
    // Each is set once before the first round, so its value is known when it is changed under load.
    lane.expected(|expected| {
        let known = expected.settings.entry(name).or_insert_with(|| Known::new(value.to_owned()));
        known.begin(value.to_owned());
    });
    lane.must_run(&format!("SET CLUSTER SETTING {name} = '{value}'")).await?;
    lane.expected(|expected| {
        if let Some(known) = expected.settings.get_mut(name) {
            known.acknowledge();
        }
    });
    Ok(())
}
