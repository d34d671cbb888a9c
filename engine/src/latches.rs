//! The latches of a store, one per owner, made on first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::{Epoch, OwnerId};
use crate::latch::Latch;

/// All latches of a store, made on first use.
#[derive(Debug, Default)]
pub(crate) struct Latches {
    // Guards the map only; never held while a latch is waited for.
    by_owner: Mutex<HashMap<OwnerId, Arc<Latch>>>,
}

impl Latches {
    /// The latch of `owner`; made at `epoch` if there is none yet.
    pub(crate) fn of(&self, owner: OwnerId, epoch: Epoch) -> Arc<Latch> {
        let mut map = self.by_owner.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(map.entry(owner).or_insert_with(|| Arc::new(Latch::new(owner, epoch))))
    }

    /// Forgets the latch of an owner that has ended for good.
    pub(crate) fn forget(&self, owner: OwnerId) {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner).remove(&owner);
    }
}
