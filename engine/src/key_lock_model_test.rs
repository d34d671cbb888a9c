//! A model of writers around the real [`KeyLocks`], run by `shuttle`: writers that share keys are never inside at once,
//! and in no explored schedule do they wait for each other in a circle.

use std::sync::Arc;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use crate::key_lock::{KeyLocks, StripeLock, in_order};

#[derive(Default)]
struct Modelled {
    held: Mutex<bool>,
    freed: Condvar,
}

impl StripeLock for Modelled {
    fn take(&self) {
        let mut held = self.held.lock().unwrap();
        while *held {
            held = self.freed.wait(held).unwrap();
        }
        *held = true;
    }

    fn free(&self) {
        *self.held.lock().unwrap() = false;
        self.freed.notify_one();
    }
}

/// What each writer wants, as it names it: every two of them share a stripe.
const WANTED: [[usize; 3]; 3] = [[0, 1, 0], [1, 2, 2], [2, 0, 2]];

/// Three writers, each two times; `order` is what they do to what they want before they take it.
fn run(order: fn(Vec<usize>) -> Vec<usize>) {
    let locks = Arc::new(KeyLocks::<Modelled>::new(3));
    let inside = Arc::new(Mutex::new([0_u32; 3]));
    let threads: Vec<_> = WANTED
        .into_iter()
        .map(|wanted| {
            let (locks, inside) = (Arc::clone(&locks), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..2 {
                    let guard = locks.hold(order(wanted.to_vec()));
                    for stripe in in_order(wanted.to_vec()) {
                        let mut inside = inside.lock().unwrap();
                        inside[stripe] += 1;
                        assert_eq!(inside[stripe], 1, "two writers hold stripe {stripe}");
                    }
                    thread::yield_now();
                    for stripe in in_order(wanted.to_vec()) {
                        inside.lock().unwrap()[stripe] -= 1;
                    }
                    drop(guard);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn writers_that_share_keys_take_turns_and_never_wait_in_a_circle() {
    shuttle::check_random(|| run(in_order), 10_000);
}

#[test]
fn the_model_notices_stripes_that_are_taken_out_of_order() {
    let as_named = |mut wanted: Vec<usize>| {
        let mut seen = Vec::new();
        wanted.retain(|stripe| {
            let new = !seen.contains(stripe);
            seen.push(*stripe);
            new
        });
        wanted
    };
    let stuck = std::panic::catch_unwind(|| shuttle::check_random(move || run(as_named), 10_000));
    assert!(stuck.is_err(), "a circle of writers went unnoticed");
}
