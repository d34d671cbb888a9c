//! `cairn demo`: a real import, cancelled in the middle, gone at once, while other traffic runs on.
//!
//! Six steps, each as a user would do it: the server is this binary started as a child, and everything goes over the
//! wire. What the server says about itself is compared with what is seen from outside: sums taken while the CSV
//! files were written, the files in the store's folder, and the updates that were acknowledged.
//!
//! Counts, files, bytes and checksums decide the exit status. Times are printed; only hanging fails.

mod data;
mod load;
mod measure;
mod report;
mod server;
mod watch;

use crate::client::{Outcome, connect, describe, query, run};
use crate::terminal::{bytes, complain, count, say};
use clap::Args;
use data::Data;
use indicatif::{ProgressBar, ProgressStyle};
use load::{Load, Phase, RATE, Summary, UPDATE_EVERY};
use measure::{Disk, StagingWatch};
use report::{Report, duration};
use server::{Server, doctor, external, show_log};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use watch::{Gone, Job};

/// How long the foreground runs alone before it is compared.
const WARMUP: Duration = Duration::from_secs(1);
const BASELINE: Duration = Duration::from_secs(4);
/// Longer than this is hanging.
const CANCELED_LIMIT: Duration = Duration::from_secs(5);
const DISK_LIMIT: Duration = Duration::from_secs(30);
const IMPORT_LIMIT: Duration = Duration::from_secs(600);
/// How often the disk is looked at while it is given back.
const DISK_EVERY: Duration = Duration::from_millis(10);
/// What the foreground's own updates may add to the store while an import runs.
const FOREGROUND_BYTES: u64 = 2 << 20;
/// An ingest call of the demo carries at most a tenth of the data, so that there are checkpoints to resume from.
const BATCHES: u64 = 10;
const BATCH_BYTES_MIN: u64 = 1 << 20;
const BATCH_BYTES_MAX: u64 = 128 << 20;
/// The import of a small scale is held to so many seconds, or it would be over before it can be cancelled.
const SMALL_SECONDS: u64 = 8;
const SMALL_BYTES: u64 = 150_000_000;

const ORDERS: &str = "CREATE TABLE orders (o_orderkey INT8 PRIMARY KEY, o_custkey INT8 NOT NULL, \
     o_orderstatus TEXT NOT NULL, o_totalprice DECIMAL(15,2) NOT NULL, o_orderdate DATE NOT NULL, \
     o_orderpriority TEXT NOT NULL, o_clerk TEXT NOT NULL, o_shippriority INT8 NOT NULL, o_comment TEXT NOT NULL)";
const LINEITEM: &str = "CREATE TABLE lineitem (l_orderkey INT8, l_partkey INT8 NOT NULL, l_suppkey INT8 NOT NULL, \
     l_linenumber INT8, l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL, \
     l_discount DECIMAL(15,2) NOT NULL, l_tax DECIMAL(15,2) NOT NULL, l_returnflag TEXT NOT NULL, \
     l_linestatus TEXT NOT NULL, l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, \
     l_receiptdate DATE NOT NULL, l_shipinstruct TEXT NOT NULL, l_shipmode TEXT NOT NULL, \
     l_comment TEXT NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber))";
const IMPORT_ORDERS: &str =
    "IMPORT INTO orders CSV DATA ('nodelocal://1/orders.csv') WITH skip = '1', detached";
const IMPORT_LINEITEM: &str =
    "IMPORT INTO lineitem CSV DATA ('nodelocal://1/lineitem.*.csv') WITH skip = '1', detached";

/// Options of `cairn demo`.
#[derive(Args)]
pub(crate) struct Demo {
    /// TPC-H scale: 0.5 is about 3 million rows of lineitem and 0.4 GB of CSV.
    #[arg(long, default_value_t = 0.5, value_parser = scale)]
    scale: f64,
    /// Work in this folder (it must be empty or missing) and leave it there afterwards.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self) -> ExitCode {
        let folder = match Folder::make(self.keep) {
            Ok(folder) => folder,
            Err(message) => {
                complain(&format!("cairn demo: {message}"));
                return ExitCode::from(2);
            }
        };
        let shown = tokio::select! {
            shown = show(self.scale, folder.path()) => shown,
            Ok(()) = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        };
        match shown {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(message) => {
                complain(&format!("\ncairn demo: {message}"));
                show_log(folder.path());
                ExitCode::FAILURE
            }
        }
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.01..=100.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.01 to 100".to_owned()),
    }
}

/// Where the demo works: a folder to keep, or one that is removed at the end.
enum Folder {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn make(keep: Option<PathBuf>) -> Result<Folder, String> {
        let Some(path) = keep else {
            let folder = tempfile::Builder::new().prefix("cairn-demo-").tempdir();
            return folder
                .map(Folder::Temporary)
                .map_err(|error| format!("cannot make a temporary folder: {error}"));
        };
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        let mut entries =
            std::fs::read_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if entries.next().is_some() {
            return Err(format!("{} is not empty", path.display()));
        }
        Ok(Folder::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Kept(path) => path,
            Folder::Temporary(folder) => folder.path(),
        }
    }
}

/// All six steps; true when every check held.
async fn show(scale: f64, folder: &Path) -> Result<bool, String> {
    let began = Instant::now();
    let mut report = Report::new(say);
    say(&format!("Cairn demo: TPC-H at scale {scale} in {}", folder.display()));

    report.step(1, "Generate orders and lineitem as CSV files");
    let data = generate(scale, folder, &report)?;

    report.step(2, "Import orders, then read and update them at a fixed rate");
    let server = Server::start(folder).await?;
    let client = connect_to(&server).await?;
    prepare_tables(&client, &data, &report).await?;
    import_orders(&server, &client, &data, &mut report).await?;
    let load = Load::start(&server.url, data.order_keys.clone()).await?;
    report.fact(
        "foreground",
        &format!("{RATE} operations/s, one in {UPDATE_EVERY} an update; alone for now"),
    );
    tokio::time::sleep(WARMUP).await;
    load.enter(Phase::Before);
    tokio::time::sleep(BASELINE).await;

    report.step(3, "Import lineitem, and cancel it from a second connection when half is done");
    let canceled = import_and_cancel(&server, &client, &load, &mut report).await?;

    report.step(4, "What is left of it");
    let summary = load.stop().await;
    what_is_left(&client, &canceled, &mut report).await?;
    report.latencies([
        ("before", latency(&summary, Phase::Before)),
        ("during the import", latency(&summary, Phase::Import)),
        ("during the cleanup", latency(&summary, Phase::Cleanup)),
    ]);
    report.load(&summary);

    report.step(5, "Import again, kill the server at half, start it again");
    let (server, client) = import_and_kill(server, client, &data, folder, &mut report).await?;
    compare(&client, &data, &summary, &mut report).await?;

    report.step(6, "Stop the server and let the doctor look at the store");
    drop(client);
    let status = server.terminate().await?;
    report.check("SIGTERM drains and exits with 0", status == Some(0), &format!("{status:?}"));
    let (status, findings) = doctor(folder).await?;
    report.check("cairn doctor exits with 0", status == Some(0), findings.trim());
    Ok(report.finish(began.elapsed()))
}

fn latency(summary: &Summary, phase: Phase) -> load::Latency {
    summary.latencies.get(phase as usize).copied().unwrap_or_default()
}

fn generate(scale: f64, folder: &Path, report: &Report) -> Result<Data, String> {
    let began = Instant::now();
    // About four lines to an order.
    let bar = ProgressBar::new(data::order_count(scale) * 5);
    let template = "   {bar:40} {human_pos} rows  {per_sec}  eta {eta}";
    bar.set_style(ProgressStyle::with_template(template).map_err(|error| error.to_string())?);
    let data = data::generate(scale, &external(folder), &bar)
        .map_err(|error| format!("cannot write the CSV files: {error}"))?;
    bar.finish_and_clear();
    let orders =
        format!("{} rows, {}", count(data.order_keys.len() as u64), bytes(data.orders_bytes));
    report.fact("orders", &orders);
    let rows = u64::try_from(data.lineitem.rows).unwrap_or(0);
    report.fact("lineitem", &format!("{} rows, {}", count(rows), bytes(data.lineitem_bytes)));
    report.fact("took", &duration(began.elapsed()));
    Ok(data)
}

async fn connect_to(server: &Server) -> Result<Client, String> {
    connect(&server.url, |_| ()).await.map_err(|error| describe(&error))
}

/// Creates the tables, and sets what makes a small scale behave like a large one.
async fn prepare_tables(client: &Client, data: &Data, report: &Report) -> Result<(), String> {
    execute(client, ORDERS).await?;
    execute(client, LINEITEM).await?;
    let batch = (data.lineitem_bytes / BATCHES).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
    execute(client, &format!("SET CLUSTER SETTING bulkio.ingest.max_bytes = '{batch}'")).await?;
    report.fact("bulkio.ingest.max_bytes", &bytes(batch));
    Ok(())
}

async fn import_orders(
    server: &Server,
    client: &Client,
    data: &Data,
    report: &mut Report,
) -> Result<(), String> {
    let began = Instant::now();
    let job = Job::start(client, IMPORT_ORDERS, server.store()).await?;
    let ended = job.until(client, IMPORT_LIMIT, watch::Watched::ended).await?;
    if ended.status != "succeeded" {
        return Err(format!("the import of orders ended as {}: {}", ended.status, ended.message));
    }
    let rate = data.orders_bytes as f64 / began.elapsed().as_secs_f64();
    report.fact(
        "IMPORT INTO orders",
        &format!("{}, {}/s", duration(began.elapsed()), bytes(rate as u64)),
    );
    let rows = scalar(client, "SELECT count(*) FROM orders").await?;
    report.equal("rows of orders", &rows, &data.order_keys.len().to_string());
    if data.lineitem_bytes < SMALL_BYTES {
        let rate = data.lineitem_bytes / SMALL_SECONDS;
        execute(client, &format!("SET CLUSTER SETTING background.rate.max = '{rate}'")).await?;
        report.fact(
            "background.rate.max",
            &format!("{}/s, or so small an import is over too soon", bytes(rate)),
        );
    }
    Ok(())
}

/// What was measured around a CANCEL JOB.
struct Canceled {
    job: Job,
    /// The store before the import, and at the moment of the cancel.
    before: Disk,
    at_cancel: Disk,
    returned_after: Duration,
    last_write_after: Option<Duration>,
    canceled_after: Option<Duration>,
    disk_back_after: Option<Duration>,
    /// Bytes the job had written when it was `canceled`.
    written: u64,
}

async fn import_and_cancel(
    server: &Server,
    client: &Client,
    load: &Load,
    report: &mut Report,
) -> Result<Canceled, String> {
    let store = server.store();
    settle(client, &store).await?;
    let before = Disk::of(&store);
    let second = connect_to(server).await?;
    load.enter(Phase::Import);
    let began = Instant::now();
    let job = Job::start(client, IMPORT_LINEITEM, store.clone()).await?;
    report.fact("IMPORT INTO lineitem", &format!("job {}", job.id));
    let half = job.until(client, IMPORT_LIMIT, watch::half_done(store.clone(), before)).await?;
    if half.ended() {
        return Err(format!("the import was {} before it could be cancelled", half.status));
    }
    let at_cancel = Disk::of(&store);
    let staging = StagingWatch::start(&store);
    load.enter(Phase::Cleanup);
    let asked = Instant::now();
    execute(&second, &format!("CANCEL JOB {}", job.id)).await?;
    let returned_after = asked.elapsed();
    let ended = job.quietly_until(client, CANCELED_LIMIT, watch::Watched::ended).await?;
    let canceled_after = ended.as_ref().map(|_| asked.elapsed());
    let written = ended.as_ref().map_or(0, |job| job.bytes_written);
    let disk_back_after = disk_back(client, &job, &store, before, asked).await?;
    // A little longer: whatever still grew would be seen.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let last_write_after = staging.finish().map(|last| last.saturating_duration_since(asked));
    let at = format!("at {:.0} %, {} into it", half.fraction * 100.0, duration(asked - began));
    report.fact(
        "CANCEL JOB",
        &format!("{at}, {} in {} files", bytes(at_cancel.total_bytes()), at_cancel.tables.files),
    );
    Ok(Canceled {
        job,
        before,
        at_cancel,
        returned_after,
        last_write_after,
        canceled_after,
        disk_back_after,
        written,
    })
}

/// Waits until nothing is being given back, so that what is measured next is the next step's own.
async fn settle(client: &Client, store: &Path) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < DISK_LIMIT {
        let disk = Disk::of(store);
        let waiting = scalar(client, "SELECT count(*) FROM cairn.tombstones").await?;
        if waiting == "0" && disk.staging.files == 0 && disk.trash.files == 0 {
            return Ok(());
        }
        tokio::time::sleep(DISK_EVERY).await;
    }
    Ok(())
}

/// Waits for the disk to be as it was before the import; answers how long after the cancel that was.
async fn disk_back(
    client: &Client,
    job: &Job,
    store: &Path,
    before: Disk,
    asked: Instant,
) -> Result<Option<Duration>, String> {
    while asked.elapsed() < DISK_LIMIT {
        let disk = Disk::of(store);
        let is_back = disk.total_bytes() <= before.total_bytes() + FOREGROUND_BYTES
            && disk.staging.files == 0
            && disk.trash.files == 0;
        let seen = asked.elapsed();
        if is_back && job.tombstones(client).await?.rows == 0 {
            return Ok(Some(seen));
        }
        tokio::time::sleep(DISK_EVERY).await;
    }
    Ok(None)
}

async fn what_is_left(
    client: &Client,
    canceled: &Canceled,
    report: &mut Report,
) -> Result<(), String> {
    report.fact("CANCEL JOB returned after", &duration(canceled.returned_after));
    let last = canceled.last_write_after.map_or("none after the cancel".to_owned(), duration);
    report.fact("last write of the job after", &last);
    report.time("`canceled` after", canceled.canceled_after, CANCELED_LIMIT);
    report.time("disk back to baseline after", canceled.disk_back_after, DISK_LIMIT);
    let job = canceled.job.look(client).await?;
    report.equal("status of the job", &job.status, "canceled");
    report.equal("rows visible", &scalar(client, "SELECT count(*) FROM lineitem").await?, "0");
    let idle = job.bytes_written == canceled.written;
    report.check(
        "bytes written after `canceled`",
        idle,
        &job.bytes_written.abs_diff(canceled.written).to_string(),
    );
    let Gone { rows, bytes_left } = canceled.job.tombstones(client).await?;
    report.equal("spans of the job not given back yet", &rows.to_string(), "0");
    report.equal("bytes of the job left in the store", &bytes_left.to_string(), "0");
    let disk = Disk::of(&canceled.job.store);
    report.equal("files left in trash", &disk.trash.files.to_string(), "0");
    report.equal("files left in staging", &disk.staging.files.to_string(), "0");
    let (before, after) = (canceled.before.total_bytes(), disk.total_bytes());
    let holds = after <= before + FOREGROUND_BYTES;
    let middle = bytes(canceled.at_cancel.total_bytes());
    let value = format!("{} before, {middle} at the cancel, {} now", bytes(before), bytes(after));
    report.check("bytes of the store", holds, &value);
    Ok(())
}

async fn import_and_kill(
    server: Server,
    client: Client,
    data: &Data,
    folder: &Path,
    report: &mut Report,
) -> Result<(Server, Client), String> {
    let store = server.store();
    let before = Disk::of(&store);
    let job = Job::start(&client, IMPORT_LINEITEM, store.clone()).await?;
    let half = job.until(&client, IMPORT_LIMIT, watch::half_done(store, before)).await?;
    if half.ended() {
        return Err(format!("the import was {} before the server could be killed", half.status));
    }
    server.kill().await?;
    drop(client);
    report.fact(
        "SIGKILL",
        &format!("at {:.0} %, {} written", half.fraction * 100.0, bytes(half.bytes_written)),
    );
    let began = Instant::now();
    let server = Server::start(folder).await?;
    let client = connect_to(&server).await?;
    report.fact("ready again after", &duration(began.elapsed()));
    let resumed =
        job.until(&client, IMPORT_LIMIT, |job| job.ended() || resumed_at(job).is_some()).await?;
    report.fact("the job by itself", &resumed.line());
    let ended = job.until(&client, IMPORT_LIMIT, watch::Watched::ended).await?;
    report.fact("finished after the restart", &duration(began.elapsed()));
    report.equal("status of the job", &ended.status, "succeeded");
    let rows = u64::try_from(data.lineitem.rows).unwrap_or(0);
    let killed_at = (half.fraction * rows as f64) as u64;
    let redone = resumed_at(&resumed).map(|row| killed_at.saturating_sub(row));
    let redone = redone.map_or("not said".to_owned(), |redone| format!("about {}", count(redone)));
    report.fact("rows redone", &redone);
    Ok((server, client))
}

/// The row a resumed import went on from, as its message says.
fn resumed_at(job: &watch::Watched) -> Option<u64> {
    job.message.split_once("resumed at row ")?.1.parse().ok()
}

/// Compares the table with the sums of the CSV files, and the updates with those acknowledged.
async fn compare(
    client: &Client,
    data: &Data,
    summary: &Summary,
    report: &mut Report,
) -> Result<(), String> {
    let began = Instant::now();
    let found = query(client, data::SUMS).await.map_err(|error| describe(&error))?;
    let found = found.rows.into_iter().next().unwrap_or_default();
    for (index, (name, expected)) in data.lineitem.expected().into_iter().enumerate() {
        let value = found.get(index).cloned().flatten().unwrap_or_default();
        report.equal(&format!("lineitem: {name}"), &value, &expected);
    }
    report.fact("took", &duration(began.elapsed()));
    let updates = scalar(client, "SELECT sum(o_shippriority) FROM orders").await?;
    report.equal(
        "acknowledged updates of orders still there",
        &updates,
        &summary.updates.to_string(),
    );
    Ok(())
}

async fn execute(client: &Client, sql: &str) -> Result<(), String> {
    run(client, sql, |_: Outcome| ()).await.map_err(|error| describe(&error))
}

/// The only value of a query.
async fn scalar(client: &Client, sql: &str) -> Result<String, String> {
    let table = query(client, sql).await.map_err(|error| describe(&error))?;
    let value = table.rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    Ok(value.unwrap_or_default())
}
