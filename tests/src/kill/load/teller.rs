//! Moves money between accounts, against other tellers.

use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};
use crate::kill::plan;

pub(super) async fn run(mut lane: Lane, at: usize) {
    let result = transfer(&mut lane, at).await;
    super::ended(&lane, result);
}

async fn transfer(lane: &mut Lane, at: usize) -> Result<(), End> {
    let accounts = lane.expected(|expected| expected.bank.candidates().swap_remove(0));
    while lane.goes_on() {
        let transfer = plan::transfer(&mut lane.random, &accounts);
        lane.expected(|expected| expected.bank.begin(at, transfer));
        let sql = transfer.sql();
        match lane.run(&sql).await? {
            Ok(count) => {
                lane.expected(|expected| expected.bank.acknowledge(at));
                if count != 2 {
                    return Err(Fault::new(sql, "2 rows", count).into());
                }
            }
            // Another teller was faster too often.
            Err(refused) if refused.code == "40001" => {
                lane.expected(|expected| expected.bank.refuse(at));
            }
            Err(refused) => return Err(lane.unexpected(&sql, &refused)),
        }
    }
    Ok(())
}
