//! Decoding of what a client sent. The library that does it panics on some messages that end too early; here that
//! becomes the client's mistake, and ends its connection only.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes a message: a panic is no mistake of ours then, but the client's, who hears of it. For a
/// panic hook that would log it.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Waits for `decoding`; `None` if it panicked.
pub(super) async fn contained<T>(decoding: impl Future<Output = T>) -> Option<T> {
    let mut decoding = pin!(decoding);
    std::future::poll_fn(|cx| {
        DECODING.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| decoding.as_mut().poll(cx)));
        DECODING.set(false);
        match polled {
            Ok(Poll::Ready(decoded)) => Poll::Ready(Some(decoded)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_decoding_and_nothing_else() {
        assert_eq!(contained(async { 7 }).await, Some(7));
        let early = contained(async {
            assert!(is_decoding());
            tokio::task::yield_now().await;
            let bytes: &[u8] = &[];
            bytes[0]
        });
        assert_eq!(early.await, None);
        assert!(!is_decoding());
    }
}
