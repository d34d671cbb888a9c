//! Adds up the accounts while money moves: a statement that is seen in part would show here.

use crate::kill::expected::Bank;
use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};

pub(super) async fn run(lane: Lane) {
    let result = audit(&lane).await;
    super::ended(&lane, result);
}

async fn audit(lane: &Lane) -> Result<(), End> {
    let sql = "SELECT sum(balance) FROM bank";
    while lane.goes_on() {
        let rows = lane.must_rows(sql).await?;
        let total = rows.first().and_then(|row| row.first()).map_or("nothing", String::as_str);
        if total != Bank::total().to_string() {
            return Err(Fault::new(sql, Bank::total(), total).into());
        }
    }
    Ok(())
}
