//! CancelRequest: a second connection asks to end what the first one is doing.
//!
//! Each connection gets a process id and a secret key when it starts. Who shows both ends the running *statement*; a
//! job that the statement waits for goes on, and the statement's error says so. A wrong key changes nothing and is
//! answered late, so that keys cannot be guessed quickly.

use async_trait::async_trait;
use pgwire::api::cancel::CancelHandler;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a request with a wrong key is held before its connection is closed.
const WRONG_KEY_DELAY: Duration = Duration::from_secs(1);

/// What a cancel request does to its connection.
type Switch = Box<dyn Fn() + Send + Sync>;

/// The keys of all open connections.
#[derive(Default)]
pub(super) struct CancelKeys {
    // Guards the map only; a switch is called outside of it.
    open: Mutex<HashMap<i32, (SecretKey, Arc<Switch>)>>,
}

impl CancelKeys {
    /// Registers a connection until the answer is dropped.
    pub(super) fn register(
        self: &Arc<Self>,
        process_id: i32,
        key: SecretKey,
        switch: impl Fn() + Send + Sync + 'static,
    ) -> Registration {
        self.lock().insert(process_id, (key, Arc::new(Box::new(switch))));
        Registration { keys: Arc::clone(self), process_id }
    }

    /// Ends the running statement of the connection that has this process id and key; false if there is none.
    fn cancel(&self, process_id: i32, key: &SecretKey) -> bool {
        let switch = match self.lock().get(&process_id) {
            Some((known, switch)) if known.eq_value(key) => Arc::clone(switch),
            _ => return false,
        };
        switch();
        true
    }

    /// Ends every running statement; called when the server stops.
    pub(super) fn cancel_all(&self) {
        let switches: Vec<_> = self.lock().values().map(|(_, switch)| Arc::clone(switch)).collect();
        for switch in switches {
            switch();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, (SecretKey, Arc<Switch>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the connection's key when it ends.
pub(super) struct Registration {
    keys: Arc<CancelKeys>,
    process_id: i32,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.process_id);
    }
}

#[async_trait]
impl CancelHandler for CancelKeys {
    async fn on_cancel_request(&self, request: CancelRequest) {
        if !self.cancel(request.pid, &request.secret_key) {
            tracing::warn!(process_id = request.pid, "cancel request with a wrong key");
            tokio::time::sleep(WRONG_KEY_DELAY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn only_the_right_key_cancels_and_only_while_the_connection_is_open() {
        let keys = Arc::new(CancelKeys::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let registration = keys.register(7, SecretKey::I32(42), move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert!(!keys.cancel(7, &SecretKey::I32(43)));
        assert!(!keys.cancel(8, &SecretKey::I32(42)));
        assert!(keys.cancel(7, &SecretKey::I32(42)));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        drop(registration);
        assert!(!keys.cancel(7, &SecretKey::I32(42)));
    }
}
