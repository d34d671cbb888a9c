//! The catalog: databases, schemas, tables, users, and which spans belong to which table.
//!
//! It is small, so all of it is in memory, as a [`CatalogSnapshot`] that never changes and is swapped
//! for the next one with every change. Reading takes one short lock for a pointer.
//!
//! # A view and the catalog as of it
//!
//! A statement reads rows through a snapshot of the store, and finds the spans they lie in through a
//! snapshot of the catalog. Both must be of the same moment: a catalog that is older than the view may
//! name a span whose rows the view no longer has, and a newer one may name a span that the view does
//! not have yet. The store's snapshot changes when a batch is committed, the cached one when it is
//! swapped, and these are two steps. So there is one *catalog lock*, held from before the commit until
//! after the swap ([`Catalog::change`]), and [`Catalog::read_view`] takes it to look at both. It waits
//! at most for one synced write; reading without a view ([`Catalog::current`]) never waits. (A
//! sequence lock would spare readers that wait; changes of the catalog are too rare for it.)
//!
//! The lock must be held *through* the commit: if a change were prepared under the lock and committed
//! after it, two changes prepared from the same snapshot could both be committed, and the later one
//! would write back descriptors without what the earlier one did. That is why the commit is a callback.
//! It is the engine's for plain DDL, and the publishing of a job for bulk statements, so that the
//! change of the catalog and the success of the job are one batch.
//!
//! If the commit fails, the store may have the change or not. Then the catalog is read from the store
//! again before the lock is given up, and if that fails too, before the next change.
//!
//! # Locks
//!
//! Order: job mutex, table latch, catalog lock, span latch, key locks. The *table latch*
//! ([`Catalog::table_latch`]) is shared by statements that write rows and taken alone by what replaces
//! the spans under them: publishing, DROP, TRUNCATE. A writer looks at the current descriptor under the
//! latch, so it never writes into a span that was condemned.

mod bootstrap;
mod change;
mod constant;
mod ddl;
pub mod names;
mod snapshot;
#[cfg(test)]
mod tests;
mod users;

pub use change::{COLUMNS_MAX, CatalogChange, NewColumn, NewTable};
pub use ddl::{Ddl, Surroundings, column_type, show_create_table};
pub use snapshot::CatalogSnapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use cairn_engine::{Batch, Engine, EngineError, ReadView, Sync};

pub use crate::descriptor::{
    BulkSpan, Column, DatabaseDescriptor, DescriptorState, Index, KeyPart, SPANS_MAX,
    SchemaDescriptor, TableDescriptor, User,
};
use crate::error::{Result, SqlError};

/// Latches of tables that nobody holds are forgotten when there are this many entries.
const LATCHES_KEPT: usize = 256;

/// The catalog of an open store. Clones are the same catalog.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// The catalog lock of the module's documentation.
    lock: Mutex<Committing>,
    /// Guards the pointer only; written under the catalog lock.
    current: RwLock<Arc<CatalogSnapshot>>,
    /// Guards the list only. An entry lives as long as somebody has the latch.
    latches: Mutex<HashMap<u64, Weak<RwLock<()>>>>,
}

/// What the catalog lock guards beside the order of changes.
struct Committing {
    /// A commit failed and the catalog could not be read again: `current` may be wrong.
    stale: bool,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Catalog").field("generation", &self.current().generation()).finish()
    }
}

impl Catalog {
    /// Reads the catalog of a store; a new store gets `defaultdb`, `public`, `root` and `admin`.
    ///
    /// # Errors
    /// A storage error. A damaged record is none: see [`CatalogSnapshot::damage`].
    pub fn open(engine: &Engine) -> Result<Self> {
        let snapshot = CatalogSnapshot::load(engine, 0)?;
        let is_new = snapshot.is_new();
        let catalog = Self(Arc::new(Inner {
            engine: engine.clone(),
            lock: Mutex::new(Committing { stale: false }),
            current: RwLock::new(Arc::new(snapshot)),
            latches: Mutex::default(),
        }));
        if is_new {
            match catalog.change(bootstrap::fill, |batch| {
                engine.commit(batch, Sync::Yes).map_err(ReadOnly::from)
            }) {
                Ok(()) | Err(ReadOnly::Yes) => {}
                Err(ReadOnly::No(error)) => return Err(error),
            }
        }
        Ok(catalog)
    }

    /// The catalog as it is now, for what does not read rows. Never waits.
    #[must_use]
    pub fn current(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The catalog and a view of the store as of the same moment, for what reads rows. Waits for a
    /// change that is being committed.
    #[must_use]
    pub fn read_view(&self, engine: &Engine) -> (Arc<CatalogSnapshot>, ReadView) {
        let _lock = self.lock();
        (self.current(), engine.view())
    }

    /// Changes the catalog: `plan` makes the change, `commit` writes its batch, and then everybody sees
    /// it. Holds the catalog lock throughout, so neither may wait for anything but the store. Spans
    /// that were condemned are handed to the reclaimer. Blocks.
    ///
    /// # Errors
    /// What `plan` says, and then nothing has changed; what `commit` says, and then the change has
    /// happened or not as `commit` promises.
    pub fn change<T, E: From<SqlError>>(
        &self,
        plan: impl FnOnce(&mut CatalogChange<'_>) -> Result<T>,
        commit: impl FnOnce(Batch) -> Result<(), E>,
    ) -> Result<T, E> {
        let mut lock = self.lock();
        if lock.stale {
            self.reload()?;
            lock.stale = false;
        }
        let mut change = CatalogChange::new(&self.0.engine, &self.current());
        let answer = plan(&mut change)?;
        let (next, batch, condemned) = change.into_parts();
        if let Err(error) = commit(batch) {
            if let Err(reload) = self.reload() {
                tracing::error!(%reload, "the catalog could not be read after a failed commit");
                lock.stale = true;
            }
            return Err(error);
        }
        self.swap(next);
        drop(lock);
        if !condemned.is_empty() {
            self.0.engine.condemned(&condemned);
        }
        Ok(answer)
    }

    /// [`Catalog::change`] with a plain synced commit; a change that changes nothing writes nothing.
    ///
    /// # Errors
    /// What `plan` says, or a storage error.
    pub fn change_synced<T>(
        &self,
        plan: impl FnOnce(&mut CatalogChange<'_>) -> Result<T>,
    ) -> Result<T> {
        self.change(plan, |batch| {
            if batch.is_empty() { Ok(()) } else { Ok(self.0.engine.commit(batch, Sync::Yes)?) }
        })
    }

    /// The latch of a table: take it shared to write rows, alone to replace its spans.
    #[must_use]
    pub fn table_latch(&self, table_id: u64) -> Arc<RwLock<()>> {
        let mut latches = self.0.latches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latch) = latches.get(&table_id).and_then(Weak::upgrade) {
            return latch;
        }
        if latches.len() >= LATCHES_KEPT {
            latches.retain(|_, latch| latch.strong_count() > 0);
        }
        let latch = Arc::new(RwLock::new(()));
        latches.insert(table_id, Arc::downgrade(&latch));
        latch
    }

    fn lock(&self) -> MutexGuard<'_, Committing> {
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swap(&self, next: CatalogSnapshot) {
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn reload(&self) -> Result<()> {
        let generation = self.current().generation() + 1;
        self.swap(CatalogSnapshot::load(&self.0.engine, generation)?);
        Ok(())
    }
}

/// Why a new store could not be filled: it must not be changed, which is fine, or something else.
enum ReadOnly {
    Yes,
    No(SqlError),
}

impl From<EngineError> for ReadOnly {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ReadOnly => Self::Yes,
            error => Self::No(error.into()),
        }
    }
}

impl From<SqlError> for ReadOnly {
    fn from(error: SqlError) -> Self {
        Self::No(error)
    }
}
