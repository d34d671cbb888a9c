//! Lists jobs and tombstones, again and again: what was acknowledged must show, and nothing goes back.

use crate::kill::expected::{Expected, Seen};
use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};

pub(super) async fn run(lane: Lane) {
    let result = observe(&lane).await;
    super::ended(&lane, result);
}

async fn observe(lane: &Lane) -> Result<(), End> {
    while lane.goes_on() {
        let before = lane.expected(|expected| expected.jobs.known());
        let seen = super::whole_listing(lane).await?;
        learn(lane, |expected| expected.jobs.listed(&before, &seen, true))?;

        let before = lane.expected(|expected| expected.jobs.known());
        let seen: Vec<Seen> = super::byte_listing(lane).await?;
        learn(lane, |expected| expected.jobs.listed(&before, &seen, false))?;

        lane.must_rows("SELECT count(*), sum(bytes_left) FROM cairn.tombstones").await?;
        lane.must_rows("SELECT count(*), sum(stamp) FROM ledger").await?;
    }
    Ok(())
}

fn learn(lane: &Lane, judge: impl FnOnce(&mut Expected) -> Vec<Fault>) -> Result<(), End> {
    let mut faults = lane.expected(|expected| {
        let faults = judge(expected);
        expected.prune();
        faults
    });
    let Some(last) = faults.pop() else { return Ok(()) };
    faults.into_iter().for_each(|fault| lane.shared.fault(fault));
    Err(last.into())
}
