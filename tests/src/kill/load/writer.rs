//! Foreground writes: INSERT, UPDATE, DELETE and moves of keys in a range that one connection owns.

use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};
use crate::kill::plan;

pub(super) async fn run(mut lane: Lane, at: usize) {
    let result = write(&mut lane, at).await;
    super::ended(&lane, result);
}

async fn write(lane: &mut Lane, at: usize) -> Result<(), End> {
    while lane.goes_on() {
        let before = lane.expected(|expected| expected.ledger[at].value().clone());
        let step = plan::rows_step(&mut lane.random, at, &before);
        lane.expected(|expected| expected.ledger[at].begin(step.after));
        match lane.run(&step.sql).await? {
            Ok(count) => {
                lane.expected(|expected| expected.ledger[at].acknowledge());
                if count != step.count {
                    return Err(Fault::new(step.sql, format!("{} rows", step.count), count).into());
                }
            }
            Err(refused) => return Err(lane.unexpected(&step.sql, &refused)),
        }
    }
    Ok(())
}
