//! An unfinished job in memory.
//!
//! # Locks
//!
//! `control` is the job's mutex. Whoever changes the job holds it from reading the state until the
//! batch of the change is durable, so the record in memory is always the one on disk. It is only ever
//! taken on threads that may block. Order: this mutex (several jobs: by id), then whatever a publish
//! takes, then `checkpoint`, then the latch; `progress`, `stop` and `note` are held for moments only,
//! with nothing after them.
//!
//! `checkpoint` is held through the write of a checkpoint, an ingest call included, so that checkpoints
//! are stored in the order of their numbers. No request of a user waits for it. `writing` is the same for
//! progress; it is taken last, a write under the latch included, and nobody waits for a latch with it
//! unless `checkpoint` is held too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_engine::{Batch, SpanId};
use tokio::sync::{Notify, watch};

use crate::error::Stop;
use crate::id::JobId;
use crate::list::JobView;
use crate::progress::{Progress, ProgressBook};
use crate::record::{CheckpointRecord, Control, ProgressRecord};
use crate::stop::StopFlag;

pub(crate) struct Job {
    pub(crate) id: JobId,
    control: Mutex<Control>,
    /// The last durable control record, for those who must not wait for the mutex.
    shown: watch::Sender<Arc<Control>>,
    /// What clients that watch the job see.
    pub(crate) view: watch::Sender<JobView>,
    progress: Mutex<ProgressBook>,
    /// Held through a write of progress: see above.
    writing: Mutex<()>,
    /// Progress was reported, or a checkpoint waits to be written.
    pub(crate) reported: Notify,
    checkpoint: Mutex<CheckpointBook>,
    /// The stop flag of the attempt that is under way.
    stop: Mutex<Option<Arc<StopFlag>>>,
    /// Condemned by a cancel, not yet handed to the reclaimer: the latch comes first.
    condemned: Mutex<Vec<SpanId>>,
    /// What it waits for, as far as only this process knows.
    note: Mutex<String>,
    /// The root span: everything that is logged for the job is below it.
    pub(crate) span: tracing::Span,
}

/// The checkpoints of a job: the latest, and up to which they are stored.
#[derive(Debug, Default)]
pub(crate) struct CheckpointBook {
    pub(crate) latest: Option<CheckpointRecord>,
    /// The highest number given out, also to writes that failed.
    pub(crate) issued: u64,
    pub(crate) stored: u64,
}

impl CheckpointBook {
    /// Makes `record` the latest if it is newer; it is stored already.
    pub(crate) fn restore(&mut self, record: CheckpointRecord) {
        self.issued = self.issued.max(record.sequence);
        self.stored = self.stored.max(record.sequence);
        if self.latest.as_ref().is_none_or(|latest| latest.sequence < record.sequence) {
            self.latest = Some(record);
        }
    }

    /// The next checkpoint: not the latest until it is written or kept.
    pub(crate) fn issue(&mut self, version: u32, body: bytes::Bytes) -> CheckpointRecord {
        self.issued += 1;
        CheckpointRecord { version, sequence: self.issued, body }
    }

    /// The latest checkpoint, if it is not stored yet.
    pub(crate) fn unstored(&self) -> Option<&CheckpointRecord> {
        self.latest.as_ref().filter(|latest| latest.sequence > self.stored)
    }
}

/// Progress that is being written.
#[must_use = "dropped before `written`, the progress is written again"]
pub(crate) struct ProgressWrite<'a> {
    job: &'a Job,
    progress: Option<Progress>,
    _guard: MutexGuard<'a, ()>,
}

impl ProgressWrite<'_> {
    /// The batch is in the store: its progress may be shown.
    pub(crate) fn written(self) {
        if let Some(progress) = self.progress {
            self.job.progress().written(progress);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    pub(crate) fn new(control: Control, progress: Progress, view: JobView) -> Arc<Self> {
        let span = tracing::info_span!(parent: None, "job", job = %control.id, kind = control.kind);
        Arc::new(Self {
            id: control.id,
            shown: watch::Sender::new(Arc::new(control.clone())),
            control: Mutex::new(control),
            view: watch::Sender::new(view),
            progress: Mutex::new(ProgressBook::restored(progress)),
            writing: Mutex::default(),
            reported: Notify::new(),
            checkpoint: Mutex::default(),
            stop: Mutex::default(),
            condemned: Mutex::default(),
            note: Mutex::default(),
            span,
        })
    }

    /// Takes the job's mutex. Blocks for as long as another change takes, a publish included.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Control> {
        lock(&self.control)
    }

    /// The last durable control record. Never waits.
    pub(crate) fn shown(&self) -> Arc<Control> {
        Arc::clone(&self.shown.borrow())
    }

    /// Tells of every durable change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Control>> {
        self.shown.subscribe()
    }

    /// Makes a durable record the one in memory.
    pub(crate) fn install(&self, guard: &mut Control, next: Control) {
        self.shown.send_replace(Arc::new(next.clone()));
        *guard = next;
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, ProgressBook> {
        lock(&self.progress)
    }

    pub(crate) fn checkpoint(&self) -> MutexGuard<'_, CheckpointBook> {
        lock(&self.checkpoint)
    }

    /// Adds progress that was not written yet. Say [`ProgressWrite::written`] when the batch is
    /// durable; until then no other progress is written.
    pub(crate) fn put_progress(&self, batch: &mut Batch) -> ProgressWrite<'_> {
        let guard = lock(&self.writing);
        let progress = self.progress().unwritten().cloned();
        if let Some(progress) = &progress {
            ProgressRecord::from(progress.clone()).put(batch, self.id);
        }
        ProgressWrite { job: self, progress, _guard: guard }
    }

    /// Begins an attempt: the flag by which it is stopped from now on.
    pub(crate) fn begin(&self) -> Arc<StopFlag> {
        let flag = Arc::new(StopFlag::default());
        *lock(&self.stop) = Some(Arc::clone(&flag));
        flag
    }

    /// Stops the attempt that is under way, if there is one.
    pub(crate) fn stop(&self, stop: Stop) {
        if let Some(flag) = &*lock(&self.stop) {
            flag.set(stop);
        }
    }

    pub(crate) fn add_condemned(&self, ids: Vec<SpanId>) {
        lock(&self.condemned).extend(ids);
    }

    pub(crate) fn take_condemned(&self) -> Vec<SpanId> {
        std::mem::take(&mut lock(&self.condemned))
    }

    pub(crate) fn note(&self) -> String {
        lock(&self.note).clone()
    }

    /// Says what the job waits for. Returns whether that is news.
    pub(crate) fn set_note(&self, note: &str) -> bool {
        let mut held = lock(&self.note);
        let news = *held != note;
        if news {
            note.clone_into(&mut held);
        }
        news
    }
}
