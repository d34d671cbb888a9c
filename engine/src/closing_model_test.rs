//! A model of the end of a process around the real [`Gate`], run by `shuttle`: nobody closes a database once the gate is
//! shut, and nobody is waited for who has left.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use crate::closing::{Gate, Watch};

const SCHEDULES: usize = 10_000;

#[derive(Default)]
struct Modelled {
    within: AtomicUsize,
    is_shut: AtomicBool,
}

impl Watch for Arc<Modelled> {
    fn count(&self) {
        self.within.fetch_add(1, Ordering::SeqCst);
    }

    fn discount(&self) {
        self.within.fetch_sub(1, Ordering::SeqCst);
    }

    fn within(&self) -> usize {
        self.within.load(Ordering::SeqCst)
    }

    fn mark_shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        thread::yield_now();
    }
}

/// As [`Gate::enter`], but it looks whether the gate is shut before it counts itself.
fn enter_late(watch: &Modelled) -> bool {
    if watch.is_shut.load(Ordering::SeqCst) {
        return false;
    }
    watch.within.fetch_add(1, Ordering::SeqCst);
    true
}

/// Two threads that give up two shares each, and the end of their process; `enter` is how they pass.
fn run(enter: fn(&Gate<Arc<Modelled>>, &Modelled) -> bool) {
    let watch = Arc::new(Modelled::default());
    let gate = Arc::new(Gate::new(Arc::clone(&watch)));
    let has_ended = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (watch, gate, has_ended) =
                (Arc::clone(&watch), Arc::clone(&gate), Arc::clone(&has_ended));
            thread::spawn(move || {
                for _ in 0..2 {
                    if enter(&gate, &watch) {
                        thread::yield_now();
                        assert!(!has_ended.load(Ordering::SeqCst), "closed after the end");
                        gate.leave();
                    }
                }
            })
        })
        .collect();
    assert!(gate.shut(usize::MAX));
    has_ended.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(watch.within(), 0);
}

#[test]
fn nobody_closes_a_database_once_the_process_ends() {
    shuttle::check_random(|| run(|gate, _| gate.enter()), SCHEDULES);
}

#[test]
fn the_model_finds_who_looks_before_it_is_counted() {
    let found = std::panic::catch_unwind(|| {
        shuttle::check_random(|| run(|_, watch| enter_late(watch)), SCHEDULES);
    });
    assert!(found.is_err());
}
