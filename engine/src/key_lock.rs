//! Key locks: stripes that keep two writers of the same key apart.
//!
//! A writer names all its keys at once; their stripes are taken in ascending order, so two writers
//! can never wait for each other in a circle. Two keys may share a stripe: that costs waiting, never
//! correctness. Stripes are the innermost lock of the order written down in `ARCHITECTURE.md`.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Number of stripes: far more than writers, small enough to be made at open.
const STRIPES: usize = 1024;

#[derive(Debug, Default)]
struct Stripe {
    held: Mutex<bool>,
    freed: Condvar,
}

/// The stripes of one store.
#[derive(Debug)]
pub(crate) struct KeyLocks {
    stripes: Vec<Stripe>,
    hasher: RandomState,
}

impl Default for KeyLocks {
    fn default() -> Self {
        let stripes = std::iter::repeat_with(Stripe::default).take(STRIPES).collect();
        Self { stripes, hasher: RandomState::new() }
    }
}

impl KeyLocks {
    /// Waits until no other writer holds a stripe of any of `keys`.
    pub(crate) fn lock(self: &Arc<Self>, keys: &[Vec<u8>]) -> KeyGuard {
        let mut wanted: Vec<usize> = keys.iter().map(|key| self.stripe_of(key)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for &index in &wanted {
            let stripe = &self.stripes[index];
            let mut held = stripe.held.lock().unwrap_or_else(PoisonError::into_inner);
            while *held {
                held = stripe.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            *held = true;
        }
        KeyGuard { locks: Arc::clone(self), held: wanted }
    }

    fn stripe_of(&self, key: &[u8]) -> usize {
        (self.hasher.hash_one(key) % STRIPES as u64) as usize
    }
}

/// Held stripes; dropping it frees them.
#[derive(Debug)]
pub(crate) struct KeyGuard {
    locks: Arc<KeyLocks>,
    held: Vec<usize>,
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        for &index in &self.held {
            let stripe = &self.locks.stripes[index];
            *stripe.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
            stripe.freed.notify_one();
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
