//! Key locks: stripes that keep two writers of the same key apart.
//!
//! A writer names all its keys at once; their stripes are taken in ascending order, so two writers
//! can never wait for each other in a circle. Two keys may share a stripe: that costs waiting, never
//! correctness. Stripes are the innermost lock of the order written down in `ARCHITECTURE.md`.
//! `key_lock_model_test.rs` runs this code under `shuttle`.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Number of stripes: far more than writers, small enough to be made at open.
const STRIPES: usize = 1024;

/// One stripe: `std`'s lock in production, `shuttle`'s in the model.
pub(crate) trait StripeLock: Default {
    /// Waits until nobody holds the stripe, and takes it.
    fn take(&self);
    /// Lets the next one have it.
    fn free(&self);
}

/// A flag and those who wait for it: unlike a guard, it may be freed by another thread.
#[derive(Debug, Default)]
pub(crate) struct Stripe {
    held: Mutex<bool>,
    freed: Condvar,
}

impl StripeLock for Stripe {
    fn take(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while *held {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held = true;
    }

    fn free(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.freed.notify_one();
    }
}

/// The stripes of one store.
#[derive(Debug)]
pub(crate) struct KeyLocks<S: StripeLock = Stripe> {
    stripes: Vec<S>,
    hasher: RandomState,
}

impl Default for KeyLocks {
    fn default() -> Self {
        Self::new(STRIPES)
    }
}

impl<S: StripeLock> KeyLocks<S> {
    pub(crate) fn new(stripes: usize) -> Self {
        Self {
            stripes: std::iter::repeat_with(S::default).take(stripes).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Waits until no other writer holds a stripe of any of `keys`.
    pub(crate) fn lock(self: &Arc<Self>, keys: &[Vec<u8>]) -> KeyGuard<S> {
        self.hold(in_order(keys.iter().map(|key| self.stripe_of(key)).collect()))
    }

    /// Takes stripes one after the other.
    pub(crate) fn hold(self: &Arc<Self>, wanted: Vec<usize>) -> KeyGuard<S> {
        for &index in &wanted {
            self.stripes[index].take();
        }
        KeyGuard { locks: Arc::clone(self), held: wanted }
    }

    fn stripe_of(&self, key: &[u8]) -> usize {
        (self.hasher.hash_one(key) % self.stripes.len() as u64) as usize
    }
}

/// Each stripe once, in the order in which everybody takes them.
pub(crate) fn in_order(mut wanted: Vec<usize>) -> Vec<usize> {
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Held stripes; dropping it frees them.
#[derive(Debug)]
pub(crate) struct KeyGuard<S: StripeLock = Stripe> {
    locks: Arc<KeyLocks<S>>,
    held: Vec<usize>,
}

impl<S: StripeLock> Drop for KeyGuard<S> {
    fn drop(&mut self) {
        for &index in &self.held {
            self.locks.stripes[index].free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writers_of_overlapping_keys_never_run_at_once_and_never_deadlock() {
        let locks = Arc::new(KeyLocks::default());
        let inside = Arc::new(Mutex::new(()));
        std::thread::scope(|scope| {
            for turn in 0..4u8 {
                let (locks, inside) = (Arc::clone(&locks), Arc::clone(&inside));
                scope.spawn(move || {
                    for round in 0..200u8 {
                        // Each writer names the shared key in another position.
                        let mut keys = vec![vec![turn, round], b"shared".to_vec(), vec![round, 9]];
                        keys.rotate_left(usize::from(turn) % 3);
                        let _guard = locks.lock(&keys);
                        let alone = inside.try_lock();
                        assert!(alone.is_ok(), "another writer holds the shared key");
                    }
                });
            }
        });
    }

    #[test]
    fn naming_a_key_twice_takes_it_once() {
        let locks = Arc::new(KeyLocks::default());
        let guard = locks.lock(&[b"a".to_vec(), b"a".to_vec()]);
        drop(guard);
        drop(locks.lock(&[b"a".to_vec()]));
    }
}
