//! Who may run a job: the seam for more than one node. Today there is one, so everything is local.
//!
//! What the store alone decides is the epoch: whoever makes a higher one durable owns the job, and
//! everybody else is fenced. With several nodes, `acquire` would write a lease with it, `renew` would keep
//! that alive, and `lost` would say when it ran out; a lease only bounds how long a node trusts itself.
//! RocksDB's lock keeps a second process out, so here an acquired job is never lost.

use cairn_engine::Epoch;

use crate::record::Control;

/// Ownership within one process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ownership;

impl Ownership {
    /// The epoch under which a new attempt of the job may write, once it is durable. `None` if another
    /// node owns the job.
    pub(crate) fn acquire(self, control: &Control) -> Option<Epoch> {
        Some(control.epoch.next())
    }

    /// Keeps the job. Answers whether it is still owned.
    pub(crate) fn renew(self, control: &Control, epoch: Epoch) -> bool {
        control.epoch == epoch
    }

    /// Ends when the job is lost to another node: never.
    pub(crate) async fn lost(self) {
        std::future::pending::<()>().await;
    }
}
