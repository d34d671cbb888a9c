//! A store, its jobs, its catalog and a folder of files, for tests of imports.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_engine::key::Direction;
use cairn_engine::{
    Batch, Disk, Engine, ForgetfulDisk, Lost, Options, SpanFamily, SpanId, SpanRef, Sync,
    SystemDisk,
};
use cairn_jobs::{ControlOptions, JobId, JobView, Jobs, JobsOptions, NewJob, State, SystemClock};

use super::super::options::Options as ImportOptions;
use super::super::plan::Planner;
use super::super::publish::check_keys;
use super::super::rows::Encoder;
use super::super::{ImportArgs, ImportKind, Limits};
use crate::ast::{Column, Import, ImportOption, Name, Place, Position, Text};
use crate::catalog::{Catalog, NewColumn, NewTable, TableDescriptor};
use crate::error::SqlError;
use crate::place::External;
use crate::row::{RowCodec, hidden_key};
use crate::value::{ColumnType, Datum};

/// Limits with which a kilobyte is much.
pub(super) const LIMITS: Limits =
    Limits { block_bytes: 1 << 10, batch_bytes: 8 << 10, memory_bytes: 12 << 10, fan_in: 64 };

/// The table that most tests import into.
pub(super) const TABLE: &str = "t: k int key, v text not null, d decimal(10,2), at timestamptz";

/// A row of [`TABLE`] as CSV, which is also how its values are shown.
fn line(key: i64) -> String {
    format!(
        "{key},value {key},{}.{:02},2024-01-01 00:00:{:02}+00\n",
        key % 1000,
        key % 100,
        key % 60
    )
}

/// Rows as CSV, without a header.
pub(super) fn body(keys: impl IntoIterator<Item = i64>) -> String {
    keys.into_iter().map(line).collect()
}

/// Rows as CSV with a header.
pub(super) fn csv(keys: impl IntoIterator<Item = i64>) -> String {
    format!("k,v,d,at\n{}", body(keys))
}

/// The rows as [`rows_of`] shows them.
pub(super) fn expected(keys: impl IntoIterator<Item = i64>) -> Vec<String> {
    keys.into_iter().map(|key| line(key).trim_end().replace(',', "|")).collect()
}

/// Some order, always the same one for a seed.
pub(super) fn shuffle(keys: &mut [i64], seed: u64) {
    let mut state = seed | 1;
    for at in (1..keys.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % (at as u64 + 1)).unwrap();
        keys.swap(at, other);
    }
}

/// The numbers from 1 on, out of order.
pub(super) fn shuffled(count: i64) -> Vec<i64> {
    let mut keys: Vec<i64> = (1..=count).collect();
    shuffle(&mut keys, 42);
    keys
}

/// Makes a table: `name: column type [key | null | not null] [default 'x'], ...`. Columns are
/// nullable unless they say otherwise.
pub(super) fn make_table(catalog: &Catalog, text: &str) -> Arc<TableDescriptor> {
    let (name, columns) = text.split_once(": ").unwrap();
    let mut new = NewTable { name: name.to_owned(), columns: Vec::new(), key: Vec::new() };
    for column in columns.split(", ") {
        let (name, rest) = column.split_once(' ').unwrap();
        let ty = match rest.split(' ').next().unwrap() {
            "int" => ColumnType::Int8,
            "text" => ColumnType::Text,
            "timestamptz" => ColumnType::TimestampTz,
            "decimal(10,2)" => ColumnType::Decimal { precision: 10, scale: 2 },
            "decimal(4,1)" => ColumnType::Decimal { precision: 4, scale: 1 },
            other => panic!("{other}"),
        };
        let key = rest.contains(" key");
        if key {
            new.key.push((name.to_owned(), Direction::Asc));
        }
        let default = rest.split_once(" default ").map(|(_, default)| default.to_owned());
        let nullable = !key && !rest.contains(" not null");
        new.columns.push(NewColumn { name: name.to_owned(), ty, nullable, default });
    }
    let schema = catalog.current().schema("defaultdb", "public").unwrap().id;
    catalog.change_synced(|change| change.create_table(schema, &new)).unwrap()
}

/// The job of a statement, or why there can be none.
pub(super) fn plan(
    engine: &Engine,
    external: &Path,
    table: &Arc<TableDescriptor>,
    columns: &[&str],
    files: &[&str],
    options: &str,
    free_floor: u64,
) -> Result<NewJob<ImportArgs>, SqlError> {
    let literal = |text: &str| Text::Literal(text.to_owned());
    let at = Position(1);
    let options = options.split(',').filter(|option| !option.is_empty()).map(|option| {
        let (name, value) = option.split_once('=').unwrap();
        ImportOption { name: name.to_owned(), value: Some(literal(value)), at }
    });
    let import = Import {
        table: Name { parts: vec![table.name.clone()], at },
        columns: columns.iter().map(|name| Column { name: (*name).to_owned(), at }).collect(),
        format: "CSV".to_owned(),
        format_at: at,
        places: files
            .iter()
            .map(|file| Place { uri: literal(&format!("nodelocal://1/{file}")), at })
            .collect(),
        options: options.collect(),
    };
    let planner = Planner {
        table: Arc::clone(table),
        full_name: table.name.clone(),
        engine: engine.clone(),
        view: engine.view(),
        external: External::new(external),
        free_floor,
    };
    let options = ImportOptions::new(&import.options)?;
    Ok(NewJob::new(planner.args(&import, &options)?, import.to_string()))
}

/// All rows in key order, values separated by bars.
pub(super) fn rows_of(catalog: &Catalog, engine: &Engine, table_id: u64) -> Vec<String> {
    use std::ops::Bound::Unbounded;
    let (snapshot, view) = catalog.read_view(engine);
    let Some(table) = snapshot.table(table_id) else { return Vec::new() };
    let codec = RowCodec::new(table);
    let mut rows = Vec::new();
    for span in table.all_spans() {
        let mut scan = view.scan(span, Unbounded, Unbounded, false).unwrap();
        while let Some((key, value)) = scan.next().unwrap() {
            let row = codec.decode_row(key, value).unwrap();
            let texts: Vec<String> = row.iter().map(ToString::to_string).collect();
            rows.push((key.to_vec(), texts.join("|")));
        }
    }
    rows.sort();
    assert!(rows.windows(2).all(|pair| pair[0].0 != pair[1].0), "a key lives in one span");
    rows.into_iter().map(|(_, text)| text).collect()
}

pub(super) struct Bench {
    folder: Folder,
    engine: Engine,
    jobs: Jobs,
    catalog: Catalog,
}

enum Folder {
    Own(tempfile::TempDir),
    Lent(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Lent(path) => path,
        }
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(LIMITS)
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self::open(Folder::Own(tempfile::tempdir().unwrap()), limits, |_| {})
    }

    fn open(folder: Folder, limits: Limits, before_start: impl FnOnce(&Engine)) -> Self {
        Self::open_on(Arc::new(SystemDisk), folder, limits, before_start)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        folder: Folder,
        limits: Limits,
        before_start: impl FnOnce(&Engine),
    ) -> Self {
        let external = folder.path().join("extern");
        std::fs::create_dir_all(&external).unwrap();
        let options = Options { disk, ..Options::small(folder.path().join("store")) };
        let engine = Engine::open(options).unwrap();
        let catalog = Catalog::open(&engine).unwrap();
        before_start(&engine);
        let jobs = Jobs::open(&engine, JobsOptions::new(Arc::new(SystemClock))).unwrap();
        jobs.register(ImportKind::new(catalog.clone(), external).with_limits(limits));
        jobs.start().unwrap();
        Self { folder, engine, jobs, catalog }
    }

    pub(super) fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("extern").join(name), text).unwrap();
    }

    pub(super) fn set(&self, name: &str, value: &str) {
        self.jobs.settings().set(name, value).unwrap();
    }

    /// See [`make_table`].
    pub(super) fn table(&self, text: &str) -> Arc<TableDescriptor> {
        make_table(&self.catalog, text)
    }

    pub(super) fn drop_table(&self, table: &TableDescriptor) {
        let latch = self.catalog.table_latch(table.id);
        let _alone = latch.write().unwrap();
        self.catalog.change_synced(|change| change.drop_table(table.id, 1)).unwrap();
    }

    /// Writes a row of [`TABLE`] as INSERT would.
    pub(super) fn insert(&self, table: &TableDescriptor, key: i64) {
        let codec = RowCodec::new(table);
        let row = [Datum::Int(key), Datum::Text("inserted".to_owned()), Datum::Null, Datum::Null];
        let mut batch = Batch::new();
        batch.put_row(table.home_span(), &codec.encode_key(&row), &codec.encode_value(&row));
        self.engine.commit(batch, Sync::Yes).unwrap();
    }

    /// The table as it is now.
    pub(super) fn current(&self, table: &TableDescriptor) -> Arc<TableDescriptor> {
        Arc::clone(self.catalog.read_view(&self.engine).0.table(table.id).unwrap())
    }

    /// Deletes all rows as DELETE would: where they are.
    pub(super) fn delete_all(&self, table: &TableDescriptor) {
        use std::ops::Bound::Unbounded;
        let view = self.engine.view();
        let mut batch = Batch::new();
        for span in self.current(table).all_spans() {
            let mut scan = view.scan(span, Unbounded, Unbounded, false).unwrap();
            while let Some((key, _)) = scan.next().unwrap() {
                batch.delete_row(span, key);
            }
        }
        self.engine.commit(batch, Sync::Yes).unwrap();
    }

    /// Looks up the rows of `table` in the one published span of `imported`, as an import does before it publishes it.
    pub(super) fn check_keys(
        &self,
        args: ImportArgs,
        table: &TableDescriptor,
        imported: &TableDescriptor,
        tick: &dyn Fn() -> cairn_jobs::Result<()>,
    ) -> cairn_jobs::Result<()> {
        let imported = self.current(imported);
        let span = &imported.primary.spans[0];
        let encoder = Encoder::new(&Arc::new(args), &imported, span.id)?;
        check_keys(&self.engine, table, span, &encoder, tick)
    }

    /// Whether no dropped or undone span is left within ten seconds.
    pub(super) fn is_reclaimed(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.engine.reclaimer().wake();
        while !self.engine.reclaimer().status().is_empty() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// See [`rows_of`].
    pub(super) fn rows(&self, table: &TableDescriptor) -> Vec<String> {
        rows_of(&self.catalog, &self.engine, table.id)
    }

    /// Rows of each published span, as the catalog says and as they are.
    pub(super) fn spans(&self, table: &TableDescriptor) -> Vec<u64> {
        let table = self.current(table);
        let view = self.engine.view();
        let spans = table.primary.spans.iter();
        spans
            .map(|published| {
                let span = SpanRef { id: published.id, family: SpanFamily::Bulk };
                let unbounded = std::ops::Bound::Unbounded;
                let mut scan = view.scan(span, unbounded, unbounded, false).unwrap();
                let mut keys = Vec::new();
                while let Some((key, _)) = scan.next().unwrap() {
                    keys.push(key.to_vec());
                }
                assert_eq!(published.rows, keys.len() as u64);
                assert_eq!(keys.first().unwrap()[..], published.first_key[..]);
                assert_eq!(keys.last().unwrap()[..], published.last_key[..]);
                published.rows
            })
            .collect()
    }

    fn new_job(
        &self,
        table: &Arc<TableDescriptor>,
        columns: &[&str],
        files: &[&str],
        options: &str,
    ) -> NewJob<ImportArgs> {
        self.plan(table, columns, files, options, 0).unwrap()
    }

    /// See [`plan`], with files of the test.
    pub(super) fn plan(
        &self,
        table: &Arc<TableDescriptor>,
        columns: &[&str],
        files: &[&str],
        options: &str,
        free_floor: u64,
    ) -> Result<NewJob<ImportArgs>, SqlError> {
        let external = self.folder.path().join("extern");
        plan(&self.engine, &external, table, columns, files, options, free_floor)
    }

    pub(super) async fn submit(
        &self,
        table: &Arc<TableDescriptor>,
        files: &[&str],
        options: &str,
    ) -> JobId {
        let job = self.new_job(table, &[], files, options);
        self.jobs.submit::<ImportKind>(job).await.unwrap()
    }

    /// Imports and waits for the end.
    pub(super) async fn import(
        &self,
        table: &Arc<TableDescriptor>,
        files: &[&str],
        options: &str,
    ) -> JobView {
        self.import_columns(table, &[], files, options).await
    }

    pub(super) async fn import_columns(
        &self,
        table: &Arc<TableDescriptor>,
        columns: &[&str],
        files: &[&str],
        options: &str,
    ) -> JobView {
        let job = self.new_job(table, columns, files, options);
        let id = self.jobs.submit::<ImportKind>(job).await.unwrap();
        self.settle(id).await
    }

    /// Waits until the job is paused or has ended.
    pub(super) async fn settle(&self, id: JobId) -> JobView {
        tokio::time::timeout(Duration::from_secs(60), self.jobs.wait(id))
            .await
            .expect("the job goes on")
            .unwrap()
    }

    /// Waits until that part of the job is done, or the job.
    pub(super) async fn reaches(&self, id: JobId, fraction: f64) {
        self.jobs.wait_until(id, |job| job.fraction >= fraction).await.unwrap();
    }

    pub(super) async fn cancel(&self, id: JobId) {
        self.jobs.cancel(&[id], ControlOptions::by("root")).await.unwrap();
    }

    pub(super) async fn resume(&self, id: JobId) {
        self.jobs.resume(&[id], ControlOptions::by("root")).await.unwrap();
    }

    /// Nothing is left of any job but what the catalog names: no claim, no tombstone, no staged file,
    /// no key in an unpublished span.
    pub(super) async fn assert_clean(&self) {
        let tombstones: Vec<SpanId> = self
            .engine
            .reclaimer()
            .status()
            .iter()
            .map(|tombstone| tombstone.tombstone.id)
            .collect();
        self.engine.reclaimer().wake();
        let gone = self.engine.reclaimer().wait_gone(&tombstones);
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
        assert!(self.engine.claims().unwrap().is_empty());
        let published = self.catalog.read_view(&self.engine).0.published_spans();
        let findings = self.jobs.doctor(published).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        let staging = self.folder.path().join("store/staging");
        let left = std::fs::read_dir(staging).map_or(0, Iterator::count);
        assert_eq!(left, 0, "staged files are left");
    }

    async fn close(self) -> Folder {
        self.jobs.shutdown().await;
        self.engine.shutdown();
        self.folder
    }
}

/// The crash points that an import of these keys passes, from its submission on.
pub(super) async fn recorded_points(keys: Vec<i64>) -> Vec<String> {
    let bench = Bench::new();
    bench.file("t.csv", &csv(keys));
    let table = bench.table(TABLE);
    bench.engine.crash().record();
    let job = bench.import(&table, &["t.csv"], "skip=1").await;
    assert_eq!(job.state, State::Succeeded, "{job:?}");
    let mut points = bench.engine.crash().recorded();
    // What others do in the background is their own business.
    points.retain(|point| {
        ["import.", "ingest.", "claim.", "jobs.commit", "jobs.publish"]
            .iter()
            .any(|own| point.starts_with(own))
    });
    points
}

/// Dies the nth time at `point`, opens again, dies there once more, opens again: the job must end with
/// the same table.
pub(super) async fn crash_twice(keys: Vec<i64>, point: &str, nth: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let bench = Bench::open(Folder::Lent(path.clone()), LIMITS, |_| {});
    bench.file("t.csv", &csv(keys));
    let table = bench.table(TABLE);
    let job = bench.new_job(&table, &[], &["t.csv"], "skip=1");
    let id = bench.jobs.submit::<ImportKind>(job);
    bench.engine.crash().arm(point, nth);
    let id = id.await;
    let died = bench.dies_or_ends(id.as_ref().ok().copied()).await;
    assert!(died, "{point} {nth} was not reached");
    bench.close().await;

    let bench = Bench::open(Folder::Lent(path.clone()), LIMITS, |engine| {
        engine.crash().arm(point, 1);
    });
    bench.dies_or_ends(id.as_ref().ok().copied()).await;
    bench.close().await;

    let bench = Bench::open(Folder::Lent(path), LIMITS, |_| {});
    for job in bench.jobs.list().await.unwrap() {
        let job = bench.settle(job.id).await;
        assert_eq!(job.state, State::Succeeded, "{point} {nth}: {job:?}");
    }
    let rows = bench.rows(&table);
    if id.is_ok() || !rows.is_empty() {
        assert_eq!(rows, expected(sorted), "{point} {nth}");
    }
    bench.assert_clean().await;
}

/// Imports on a disk of which the power goes with its nth operation, and `lost` is lost then: the job must end with the same
/// table. Answers whether there was such an operation, and how much was lost.
pub(super) async fn lose_power(keys: Vec<i64>, nth: u64, lost: Lost) -> (bool, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    // With the disk the database is gone, too; what it has written is not, synced or not.
    let store = Arc::new(Mutex::new(None::<Engine>));
    let dying = Arc::clone(&store);
    let disk = ForgetfulDisk::new(move || {
        if let Some(engine) = &*dying.lock().unwrap() {
            engine.crash().arm("power", 1);
            engine.crash().point("power").unwrap_err();
        }
    });
    let bench = Bench::open_on(Arc::new(disk.clone()), Folder::Lent(path.clone()), LIMITS, |_| {});
    *store.lock().unwrap() = Some(bench.engine.clone());
    bench.file("t.csv", &csv(keys));
    let table = bench.table(TABLE);
    let job = bench.new_job(&table, &[], &["t.csv"], "skip=1");
    disk.cut_power(nth);
    let id = bench.jobs.submit::<ImportKind>(job).await;
    bench.dies_or_ends(id.as_ref().ok().copied()).await;
    bench.close().await;
    *store.lock().unwrap() = None;
    let came = disk.is_off();
    let count = disk.on(lost).unwrap();

    let bench = Bench::open_on(Arc::new(disk), Folder::Lent(path), LIMITS, |_| {});
    // A job that was accepted is there; one whose submission died may be.
    let jobs = bench.jobs.list().await.unwrap();
    assert!(id.is_err() || jobs.len() == 1);
    for job in jobs {
        let job = bench.settle(job.id).await;
        assert_eq!(job.state, State::Succeeded, "operation {nth}, {lost:?}: {job:?}");
        assert_eq!(bench.rows(&table), expected(sorted.clone()), "operation {nth}, {lost:?}");
    }
    bench.assert_clean().await;
    (came, count)
}

/// Imports on a disk whose nth operation and `more` of those after it fail: the job tries again, and makes the same table. Answers
/// whether there was such an operation.
pub(super) async fn fail_disk(keys: Vec<i64>, nth: u64, more: u64, error: ErrorKind) -> bool {
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let disk = ForgetfulDisk::default();
    let folder = Folder::Own(tempfile::tempdir().unwrap());
    let bench = Bench::open_on(Arc::new(disk.clone()), folder, LIMITS, |_| {});
    bench.set("jobs.retry.initial_delay", "1ms");
    bench.file("t.csv", &csv(keys));
    let table = bench.table(TABLE);
    disk.fail(nth, more, error);
    let job = bench.import(&table, &["t.csv"], "skip=1").await;
    assert_eq!(job.state, State::Succeeded, "operation {nth}, {error}: {job:?}");
    let came = disk.heal();
    assert_eq!(bench.rows(&table), expected(sorted), "operation {nth}, {error}");
    // A staging folder that could not be removed when it was empty goes when the store is opened.
    let bench = Bench::open_on(Arc::new(disk), bench.close().await, LIMITS, |_| {});
    bench.assert_clean().await;
    came
}

impl Bench {
    /// Whether it died.
    async fn dies_or_ends(&self, id: Option<JobId>) -> bool {
        let over = async {
            loop {
                let job = match id {
                    Some(id) => self.jobs.get(id).await.ok().flatten(),
                    None => None,
                };
                let ended = job.is_none_or(|job| job.state.is_terminal());
                if self.engine.crash().is_dead() || ended {
                    return self.engine.crash().is_dead();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), over).await.unwrap()
    }
}

#[test]
fn hidden_row_ids_of_one_import_grow_with_file_and_record() {
    let span = SpanId::from_raw(9);
    let number = |file: u64, record: u64| (file << 40) | record;
    assert!(hidden_key(span, number(0, u64::from(u32::MAX))) < hidden_key(span, number(1, 1)));
}
