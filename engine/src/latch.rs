//! The span latch: the fence between a job's writes and its cancel.
//!
//! One latch per owner (a job) guards all spans of that owner. It holds the owner's epoch.
//! Everything the owner writes happens in *shared* mode after comparing epochs; raising the
//! epoch happens in *exclusive* mode.
//!
//! # Why no write can follow a cancel
//!
//! 1. A write holds the latch shared from before it compares epochs until after RocksDB said Ok.
//! 2. [`Latch::raise`] takes the latch exclusively. So when it returns, every write that passed
//!    the comparison has ended, and each later one meets the new epoch and is refused.
//! 3. The new epoch is durable before `raise` is called (it is in the cancel's synced batch), so
//!    a restart does not forget it: recovery makes latches from the stored epoch.
//!
//! A write that lands between the cancel's batch and `raise` puts keys into a span that is
//! already condemned; reclaim begins after `raise` and looks at what is really there.
//!
//! The latch is generic over its lock so that `shuttle` can run the same code (`latch_model_test.rs`).

use std::ops::Deref;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::error::{EngineError, Result};
use crate::id::{Epoch, OwnerId};

/// A readers-writer lock around the epoch: `std`'s in production, `shuttle`'s in the model.
pub trait EpochLock: Send + Sync {
    /// Shared access, held while a write runs.
    type Shared<'a>: Deref<Target = Epoch>
    where
        Self: 'a;
    /// A lock that holds `epoch`.
    fn new(epoch: Epoch) -> Self;
    /// Waits for shared access.
    fn shared(&self) -> Self::Shared<'_>;
    /// Waits until all shared access ended, then changes the epoch.
    fn exclusive(&self, change: impl FnOnce(&mut Epoch));
}

impl EpochLock for RwLock<Epoch> {
    type Shared<'a> = RwLockReadGuard<'a, Epoch>;

    fn new(epoch: Epoch) -> Self {
        Self::new(epoch)
    }

    fn shared(&self) -> Self::Shared<'_> {
        self.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self, change: impl FnOnce(&mut Epoch)) {
        change(&mut self.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The latch of one owner.
#[derive(Debug)]
pub struct Latch<L: EpochLock = RwLock<Epoch>> {
    owner: OwnerId,
    lock: L,
}

impl<L: EpochLock> Latch<L> {
    /// A latch for `owner` at `epoch`.
    pub fn new(owner: OwnerId, epoch: Epoch) -> Self {
        Self { owner, lock: L::new(epoch) }
    }

    /// Lets a write of `epoch` in. Keep the guard until the write is done.
    ///
    /// # Errors
    /// [`EngineError::Fenced`] if the owner has moved on to a later epoch: nothing may be written.
    pub fn enter(&self, epoch: Epoch) -> Result<L::Shared<'_>> {
        let guard = self.lock.shared();
        let current = *guard;
        if current == epoch {
            Ok(guard)
        } else {
            Err(EngineError::Fenced { owner: self.owner, held: epoch, current })
        }
    }

    /// Raises the epoch after waiting for every write that is under way. Blocks for as long as one
    /// ingest call takes. An epoch that is not higher changes nothing.
    pub fn raise(&self, epoch: Epoch) {
        self.lock.exclusive(|current| *current = (*current).max(epoch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_an_older_epoch_is_refused_after_raise() {
        let latch: Latch = Latch::new(OwnerId::from_raw(7), Epoch::from_raw(1));
        drop(latch.enter(Epoch::from_raw(1)).unwrap());
        latch.raise(Epoch::from_raw(2));
        let refused = latch.enter(Epoch::from_raw(1)).unwrap_err();
        assert!(matches!(refused, EngineError::Fenced { .. }), "{refused}");
        drop(latch.enter(Epoch::from_raw(2)).unwrap());
    }

    #[test]
    fn an_epoch_never_falls() {
        let latch: Latch = Latch::new(OwnerId::from_raw(7), Epoch::from_raw(5));
        latch.raise(Epoch::from_raw(3));
        assert!(latch.enter(Epoch::from_raw(5)).is_ok());
    }
}
