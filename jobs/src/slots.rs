//! How many jobs work at once (`jobs.concurrency`): first come, first served.
//!
//! A slot belongs to an attempt until everything of it has stopped, also what lingers on a thread.
//! Undo needs no slot: a cancel never waits behind other jobs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    wanted: usize,
    /// Slots in use beyond `wanted`: they vanish when they are given back.
    surplus: usize,
}

/// A slot in use.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    slots: Slots,
}

impl Slots {
    pub(crate) fn new(wanted: usize) -> Self {
        let size = Mutex::new(Size { wanted, surplus: 0 });
        Self(Arc::new(Shared { free: Arc::new(Semaphore::new(wanted)), size }))
    }

    /// Changes the number of slots. Jobs that work already are not stopped.
    pub(crate) fn resize(&self, wanted: usize) {
        let mut size = self.0.size.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > size.wanted {
            let more = wanted - size.wanted;
            let kept = more.min(size.surplus);
            size.surplus -= kept;
            self.0.free.add_permits(more - kept);
        } else {
            let fewer = size.wanted - wanted;
            size.surplus += fewer - self.0.free.forget_permits(fewer);
        }
        size.wanted = wanted;
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.free.available_permits()
    }

    /// A free slot, if there is one and nobody waits for it.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Slot { permit: Some(permit), slots: self.clone() })
    }

    /// Waits for a free slot.
    pub(crate) async fn take(&self) -> Slot {
        // The semaphore is never closed; without a permit the job would run outside of the count.
        let permit = Arc::clone(&self.0.free).acquire_owned().await.ok();
        Slot { permit, slots: self.clone() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut size = self.slots.0.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size.surplus > 0 {
            size.surplus -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_number_of_slots_follows_the_setting_in_both_directions() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take().await, slots.take().await);
        slots.resize(1);
        drop(first);
        assert_eq!(slots.0.free.available_permits(), 0, "one slot is one too many");
        slots.resize(3);
        assert_eq!(slots.0.free.available_permits(), 2);
        drop(second);
        assert_eq!(slots.0.free.available_permits(), 3);
        slots.resize(0);
        assert_eq!(slots.0.free.available_permits(), 0);
    }
}
