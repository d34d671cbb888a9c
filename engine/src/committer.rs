//! A thread of usual priority that does for background threads what others wait for.
//!
//! Background threads have a low priority (see [`crate::blocking`]), and RocksDB lets one writer at a time
//! lead a group of them, and stops all of them for the end of an ingest. A leader that waits for a
//! processor would keep the whole foreground waiting: measured, a tenth of a second at a time. So batches
//! and ingest calls of background threads are handed over to this thread, which was started by whoever
//! opened the store and has their priority, and the background thread waits for its answer.

use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{EngineError, Result};

type Work = Box<dyn FnOnce() + Send>;

/// The thread.
#[derive(Debug)]
pub(crate) struct Committer {
    /// `None` once it is stopped. Never full: each thread that hands something over waits for it.
    work: Mutex<Option<Sender<Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts it, with the priority of the calling thread.
    pub(crate) fn start() -> Result<Self> {
        let (sender, receiver) = channel::<Work>();
        let thread = std::thread::Builder::new()
            .name("cairn-commit".to_owned())
            .spawn(move || receiver.into_iter().for_each(|work| work()))
            .map_err(|error| EngineError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self { work: Mutex::new(Some(sender)), thread: Some(thread) })
    }

    /// Lets the thread do something and waits for the answer.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] after the end.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = sync_channel(1);
        let work: Work = Box::new(move || {
            // Whoever asked waits, so there is somebody to answer.
            let _ = answer.send(work());
        });
        let sender = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.and_then(|sender| sender.send(work).ok()).ok_or(EngineError::Stopped)?;
        answered.recv().map_err(|_| EngineError::Stopped)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was reported by it; there is nothing to add.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_done_by_the_thread_and_answered() {
        let committer = Committer::start().unwrap();
        let name = committer.run(|| std::thread::current().name().map(str::to_owned)).unwrap();
        assert_eq!(name.as_deref(), Some("cairn-commit"));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let committer = &committer;
                scope.spawn(move || assert_eq!(committer.run(move || n * 2).unwrap(), n * 2));
            }
        });
        *committer.work.lock().unwrap() = None;
        assert!(matches!(committer.run(|| ()), Err(EngineError::Stopped)));
    }
}
