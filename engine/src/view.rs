//! The one read path: a [`ReadView`] is a snapshot that the reclaimer knows about.
//!
//! File deletion ignores RocksDB's snapshots, so a snapshot alone does not protect a published span
//! that is dropped while it is being read. Views do: every view is registered together with the
//! sequence number it reads at.
//!
//! # Why a view never loses the files under it
//!
//! A view opened at sequence `s` may read every span that was published at `s`. A span is handed to
//! the reclaimer with the sequence `c` of its condemnation (or a later one). If `s >= c`, the view
//! was opened after the condemnation and its catalog no longer names the span. If `s < c`, the view
//! blocks the span, unless it has said by [`ReadView::pin_only`] that it reads other spans only.
//! Registration and the snapshot happen under one lock, so no view can slip in unseen. After a
//! restart there are no views, and a condemnation found then has sequence zero.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::closing::SharedDb;
use crate::envelope::{self, Kind};
use crate::error::{Corruption, Result};
use crate::family::Family;
use crate::ffi::{OwnedIterator, OwnedSnapshot};
use crate::id::{SpanId, SpanRef};
use crate::key;
use crate::latency::{Foreground, Operation};
use crate::open::handle;

#[derive(Debug)]
struct Entry {
    sequence: u64,
    opened: Instant,
    /// `None`: may read anything. `Some`: reads these spans only.
    pins: Option<BTreeSet<SpanId>>,
}

#[derive(Debug, Default)]
struct Registered {
    next: u64,
    views: BTreeMap<u64, Entry>,
}

/// The views that keep a condemned span from going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readers {
    pub(crate) count: usize,
    /// How long the oldest has been open.
    pub(crate) oldest: Duration,
}

/// The open views of a store.
#[derive(Default)]
pub(crate) struct Views {
    registered: Mutex<Registered>,
    /// Called when a view closes or narrows: the reclaimer may have been waiting for it.
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Views").field("registered", &self.registered).finish_non_exhaustive()
    }
}

impl Views {
    /// Names the one who is told when a view closes or narrows. Later calls change nothing.
    pub(crate) fn on_change(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_change.set(call);
    }

    fn changed(&self) {
        if let Some(call) = self.on_change.get() {
            call();
        }
    }

    /// Opens a view of the store as it is now.
    pub(crate) fn open(self: &Arc<Self>, db: &SharedDb, foreground: &Arc<Foreground>) -> ReadView {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = Arc::new(OwnedSnapshot::new(db));
        let id = registered.next;
        registered.next += 1;
        let entry = Entry { sequence: snapshot.sequence(), opened: Instant::now(), pins: None };
        registered.views.insert(id, entry);
        drop(registered);
        let registration = Registration { id, views: Arc::clone(self) };
        let (db, foreground) = (db.clone(), Arc::clone(foreground));
        ReadView(Arc::new(View { snapshot, db, foreground, registration }))
    }

    /// The open views that may still read `span`, condemned at sequence `condemned`.
    pub(crate) fn readers(&self, span: SpanId, condemned: u64) -> Option<Readers> {
        self.count(|entry| {
            entry.sequence < condemned
                && entry.pins.as_ref().is_none_or(|pins| pins.contains(&span))
        })
    }

    /// All open views.
    pub(crate) fn all(&self) -> Option<Readers> {
        self.count(|_| true)
    }

    fn count(&self, of: impl Fn(&Entry) -> bool) -> Option<Readers> {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = registered.views.values().filter(|entry| of(entry)).map(|entry| entry.opened);
        let oldest = opened.clone().min()?.elapsed();
        Some(Readers { count: opened.count(), oldest })
    }

    fn pin_only(&self, id: u64, spans: &[SpanId]) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = registered.views.get_mut(&id) {
            entry.pins = Some(spans.iter().copied().collect());
        }
        drop(registered);
        self.changed();
    }

    fn close(&self, id: u64) {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).views.remove(&id);
        self.changed();
    }
}

#[derive(Debug)]
struct Registration {
    id: u64,
    views: Arc<Views>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.views.close(self.id);
    }
}

struct View {
    // The snapshot goes before the registration: the reclaimer hears of the end last.
    snapshot: Arc<OwnedSnapshot>,
    db: SharedDb,
    foreground: Arc<Foreground>,
    registration: Registration,
}

/// The store as of one moment. Cheap to clone; all clones are the same view, and the spans it may
/// read stay until the last clone is gone. Scans opened from it keep it alive.
#[derive(Clone)]
pub struct ReadView(Arc<View>);

impl std::fmt::Debug for ReadView {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ReadView").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}

impl ReadView {
    /// The sequence number up to which the view sees writes.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.snapshot.sequence()
    }

    /// Promises that only these spans will be read, so that all others may be reclaimed while the
    /// view is open. A later call replaces the promise; reading another span is a caller's mistake
    /// and may find it empty.
    pub fn pin_only(&self, spans: &[SpanId]) {
        self.0.registration.views.pin_only(self.0.registration.id, spans);
    }

    /// The row under a key-encoded primary key.
    ///
    /// # Errors
    /// A storage error.
    pub fn get_row(&self, span: SpanRef, user_key: &[u8]) -> Result<Option<Bytes>> {
        let began = self.0.foreground.begin();
        let family = handle(&self.0.db, span.family.into())?;
        let row = self.0.snapshot.get(&family, &key::row_key(span.id, user_key));
        self.0.foreground.end(Operation::Read, began);
        Ok(row?.map(Bytes::from))
    }

    /// The body of a sealed record.
    ///
    /// # Errors
    /// [`crate::EngineError::Corruption`] if the record is damaged or of another kind.
    pub fn get_record(&self, family: Family, key: &[u8], kind: Kind) -> Result<Option<Bytes>> {
        let sealed = self.0.snapshot.get(&handle(&self.0.db, family)?, key)?;
        sealed.map(|sealed| open_as(family, key, kind, &Bytes::from(sealed))).transpose()
    }

    /// Rows between two key-encoded bounds, ascending, or descending if `reverse`.
    ///
    /// # Errors
    /// A storage error.
    pub fn scan(
        &self,
        span: SpanRef,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Scan> {
        let (first, end) = key::span_bounds(span.id);
        let from = match lower {
            Bound::Unbounded => first.to_vec(),
            Bound::Included(user_key) => key::row_key(span.id, user_key),
            Bound::Excluded(user_key) => after(key::row_key(span.id, user_key)),
        };
        let until = match upper {
            Bound::Unbounded => end.to_vec(),
            Bound::Included(user_key) => after(key::row_key(span.id, user_key)),
            Bound::Excluded(user_key) => key::row_key(span.id, user_key),
        };
        let began = self.0.foreground.begin();
        // RocksDB wants its bounds in order; an inverted range is simply empty.
        let until = until.max(from.clone());
        let family = handle(&self.0.db, span.family.into())?;
        let mut iterator = OwnedIterator::new(&self.0.snapshot, &family, from, until);
        if reverse {
            iterator.get().seek_to_last();
        } else {
            iterator.get().seek_to_first();
        }
        self.0.foreground.end(Operation::Scan, began);
        Ok(Scan { iterator, rows: 0, reverse, view: self.clone() })
    }

    /// Whether a span has no rows. Not measured: who asks this is about to begin background work (an import wants an empty table),
    /// which would give way for a second to the one who began it.
    ///
    /// # Errors
    /// A storage error.
    pub fn is_empty(&self, span: SpanRef) -> Result<bool> {
        let (first, end) = key::span_bounds(span.id);
        let family = handle(&self.0.db, span.family.into())?;
        let mut iterator =
            OwnedIterator::new(&self.0.snapshot, &family, first.to_vec(), end.to_vec());
        let rows = iterator.get();
        rows.seek_to_first();
        rows.status()?;
        Ok(!rows.valid())
    }
}

/// The smallest key above `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Opens a sealed record that must be of `kind`.
pub(crate) fn open_as(family: Family, key: &[u8], kind: Kind, sealed: &Bytes) -> Result<Bytes> {
    let (found, body) = envelope::open(family, key, sealed)?;
    if found != kind {
        let expected = format!("a record of kind {}, found kind {}", kind.0, found.0);
        return Err(Corruption { family, key: Bytes::copy_from_slice(key), expected }.into());
    }
    Ok(sealed.slice_ref(body))
}

/// Rows of one span in key order. Lends each row until the next call.
pub struct Scan {
    // Dropped before the view: the reclaimer must not hear of the end too early.
    iterator: OwnedIterator,
    /// Calls of [`Scan::next`] so far.
    rows: u64,
    reverse: bool,
    view: ReadView,
}

/// A row takes less than timing it does, so one in so many is timed: not a power of two, or it might be the first of a block each time,
/// or never.
const TIME_ONE_ROW_IN: u64 = 61;

impl std::fmt::Debug for Scan {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Scan").field("reverse", &self.reverse).finish_non_exhaustive()
    }
}

impl Scan {
    /// The next row as (key-encoded primary key, row value), or `None` at the end.
    ///
    /// # Errors
    /// A storage error; the scan has ended then.
    #[expect(clippy::should_implement_trait, reason = "lends its rows, which `Iterator` cannot")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let iterator = self.iterator.get();
        if self.rows > 0 && iterator.valid() {
            let foreground = &self.view.0.foreground;
            let timed = self.rows.is_multiple_of(TIME_ONE_ROW_IN);
            let began = timed.then(|| foreground.begin()).flatten();
            if self.reverse {
                iterator.prev();
            } else {
                iterator.next();
            }
            foreground.end(Operation::ScanRow, began);
        }
        self.rows += 1;
        if !iterator.valid() {
            iterator.status()?;
            return Ok(None);
        }
        let row = iterator.key().zip(iterator.value());
        Ok(row.and_then(|(key, value)| Some((key::split_row_key(key)?.1, value))))
    }
}
