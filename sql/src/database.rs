//! A database: one store with its jobs, its catalog and a query engine, opened in one call.
//!
//! [`Database::open`] opens the store, registers the job kinds, and lets unfinished jobs go on.
//! Statements run on threads of the database's own, apart from the caller's: a query that computes
//! for seconds delays no socket. Queries share one memory budget (`sql.memory.max`); sorts, joins
//! and aggregates beyond their fair share of it spill to `spill/` inside the store, which is
//! emptied at open.
//!
//! The handle is cheap to clone. [`Database::shutdown`] ends jobs at their next checkpoint.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_engine::{Engine, SpanId};
use cairn_jobs::{Clock, Jobs, JobsOptions, SystemClock};
use datafusion::config::Dialect;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::registry::FunctionRegistry as _;
use datafusion::prelude::SessionConfig;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::error::{Result, SqlError, code};
use crate::import::ImportKind;
use crate::relations::{DEFAULT_SCHEMA, TypeNames};
use crate::session::{Facts, Session};

/// Consumers named in the error of a query that got no memory.
const CONSUMERS_NAMED: usize = 3;

/// How to open a database.
#[derive(Clone)]
pub struct DatabaseOptions {
    /// How to open the store.
    pub engine: cairn_engine::Options,
    /// The folder behind `nodelocal://`; made if it does not exist.
    pub external_dir: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Threads that run statements; 0 for as many as there are processors.
    pub threads: usize,
}

impl std::fmt::Debug for DatabaseOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DatabaseOptions").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl DatabaseOptions {
    /// The defaults for a store at `store`, with `extern/` in it behind `nodelocal://`.
    #[must_use]
    pub fn new(store: impl Into<PathBuf>) -> Self {
        let store = store.into();
        Self {
            external_dir: store.join("extern"),
            engine: cairn_engine::Options::new(store),
            clock: Arc::new(SystemClock),
            threads: 0,
        }
    }

    /// Small buffers for tests.
    #[must_use]
    pub fn small(store: impl Into<PathBuf>) -> Self {
        let store = store.into();
        Self { engine: cairn_engine::Options::small(&store), ..Self::new(store) }
    }
}

struct Inner {
    engine: Engine,
    jobs: Jobs,
    catalog: Catalog,
    external_dir: PathBuf,
    state: SessionState,
    handle: Handle,
    /// Taken at the end: a runtime must not be dropped on one of its own threads.
    runtime: Mutex<Option<Runtime>>,
    next_pid: AtomicI32,
    /// The next hidden row number of each home span that needs one. Guards the map; reading the
    /// greatest number in use happens under it, once per span and process.
    row_numbers: Mutex<HashMap<SpanId, u64>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

/// An open database.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

impl std::fmt::Debug for Database {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Database").field("store", &self.0.engine.path()).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens a database, making it if needed, and lets its unfinished jobs go on. Blocks.
    ///
    /// # Errors
    /// What kept the store from opening; nothing runs then.
    pub fn open(options: DatabaseOptions) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if options.threads > 0 {
            builder.worker_threads(options.threads);
        }
        // Plans of deep expressions recurse; their guard switches stacks before this one ends.
        let runtime = builder
            .thread_name("cairn-sql")
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .map_err(|error| SqlError::internal(format!("cannot start threads: {error}")))?;
        // A runtime that is dropped in async code panics, and a store that cannot be opened is an error.
        match Self::open_in(options, runtime.handle()) {
            Ok(mut inner) => {
                inner.runtime = Mutex::new(Some(runtime));
                Ok(Self(Arc::new(inner)))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn open_in(options: DatabaseOptions, handle: &Handle) -> Result<Inner> {
        let _inside = handle.enter();
        // Whether reclaim is paused is a setting: until the jobs follow it, nothing goes.
        let paused = cairn_engine::Options { reclaim_paused: true, ..options.engine };
        let engine = Engine::open(paused)?;
        let jobs = Jobs::open(&engine, JobsOptions::new(Arc::clone(&options.clock)))?;
        let catalog = Catalog::open(&engine)?;
        make_folder(&options.external_dir)?;
        let memory = jobs.settings().get_bytes("sql.memory.max");
        let environment = environment(&engine.path().join("spill"), memory)?;
        jobs.register(ImportKind::new(catalog.clone(), options.external_dir.clone()));
        jobs.start()?;
        let state = base_state(environment, handle.metrics().num_workers());
        Ok(Inner {
            engine,
            jobs,
            catalog,
            external_dir: options.external_dir,
            state,
            handle: handle.clone(),
            runtime: Mutex::default(),
            next_pid: AtomicI32::new(1),
            row_numbers: Mutex::default(),
        })
    }

    /// A session of `user` in `database`.
    ///
    /// # Errors
    /// 28000 for an unknown user, 3D000 for an unknown database.
    pub fn session(&self, user: &str, database: &str) -> Result<Session> {
        let snapshot = self.0.catalog.current();
        if snapshot.user(user).is_none() {
            let message = format!("role \"{user}\" does not exist");
            return Err(SqlError::new(code::INVALID_AUTHORIZATION_SPECIFICATION, message)
                .with_hint(format!("A member of admin can say: CREATE USER {user}")));
        }
        snapshot.expect_database(database)?;
        let pid = self.0.next_pid.fetch_add(1, Ordering::Relaxed);
        Ok(Session::new(self.clone(), user.to_owned(), database.to_owned(), pid))
    }

    /// The store.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The job system.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The folder behind `nodelocal://`.
    #[must_use]
    pub fn external_dir(&self) -> &Path {
        &self.0.external_dir
    }

    /// Stops jobs at their next checkpoint and the background work of the store. Jobs that did not
    /// end go on at the next open.
    pub async fn shutdown(&self) {
        self.0.jobs.shutdown().await;
        self.0.engine.shutdown();
    }

    /// Runs `work` on the database's threads.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.handle.spawn(work)
    }

    /// The query engine's state for a new session.
    pub(crate) fn session_state(&self, facts: &Arc<Facts>) -> SessionState {
        let mut state = self.0.state.clone();
        for function in crate::functions::all(facts) {
            let name = function.name().to_owned();
            if let Err(error) = state.register_udf(Arc::new(function)) {
                tracing::warn!(name, %error, "a function is missing");
            }
        }
        let catalog = &mut state.config_mut().options_mut().catalog;
        catalog.default_catalog.clone_from(&facts.database);
        state
    }

    /// Takes `count` hidden row numbers of a home span; answers the first. `greatest` finds the
    /// greatest number in use when the span is seen for the first time. Blocks.
    pub(crate) fn take_row_numbers(
        &self,
        home: SpanId,
        count: u64,
        greatest: impl FnOnce() -> Result<Option<u64>>,
    ) -> Result<u64> {
        let mut numbers = self.0.row_numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match numbers.get(&home) {
            Some(next) => *next,
            None => greatest()?.map_or(1, |greatest| greatest.saturating_add(1)),
        };
        numbers.insert(home, next.saturating_add(count));
        Ok(next)
    }
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| {
        SqlError::new(code::IO_ERROR, format!("cannot make {}: {error}", path.display()))
    })
}

fn environment(spill: &Path, memory_bytes: u64) -> Result<Arc<RuntimeEnv>> {
    // What an earlier process spilled is of no use to anybody.
    if spill.exists() {
        std::fs::remove_dir_all(spill).map_err(|error| {
            SqlError::new(code::IO_ERROR, format!("cannot empty {}: {error}", spill.display()))
        })?;
    }
    make_folder(spill)?;
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill.to_path_buf()]));
    let pool = FairSpillPool::new(usize::try_from(memory_bytes).unwrap_or(usize::MAX));
    let named = NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(NonZeroUsize::MIN);
    let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(pool, named));
    Ok(RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_pool(pool)
        .build_arc()?)
}

/// The query engine as every session starts with it.
fn base_state(environment: Arc<RuntimeEnv>, threads: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads.max(1))
        .with_batch_size(crate::table::BATCH_ROWS)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.catalog.default_schema = DEFAULT_SCHEMA.to_owned();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.collect_statistics = false;
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_runtime_env(environment)
        .with_type_planner(Arc::new(TypeNames))
        .build()
}
