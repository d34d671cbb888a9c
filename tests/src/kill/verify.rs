//! What is checked after a restart, and what must be left once everything has ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_jobs::State;

use super::expected::{Balances, Marker, Rows, Seen, Table};
use super::fault::Fault;
use super::lane::{End, Lane};
use super::load::{byte_listing, number, resume, set, summary, whole_listing};
use super::plan::{KEYS_PER_WRITER, TABLES, WRITERS, ledger_text};
use super::source::SOURCES;
use super::store::Usage;

/// Longest time until all jobs have ended, and their bytes are given back; only a hang reaches it.
const SETTLED: Duration = Duration::from_secs(120);

/// Bytes of files that RocksDB may hold beside the rows that are to be seen.
const SPARE_BYTES: u64 = 48 << 20;

/// Pause between two looks at something that tells no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Compares everything with what is expected. Nobody else has asked the server for anything since it started.
/// `forgetful`: the power was cut, so what was seen and not acknowledged may be undone.
pub(crate) async fn after_restart(lane: &Lane, forgetful: bool) -> Result<(), End> {
    let seen = whole_listing(lane).await?;
    report(lane, lane.expected(|expected| expected.jobs.restarted(&seen, forgetful)))?;
    jobs_by_bytes(lane).await?;
    ledger(lane).await?;
    bank(lane).await?;
    settings(lane).await?;
    tables(lane).await
}

/// Hands on all faults; the last one ends the check.
fn report(lane: &Lane, mut faults: Vec<Fault>) -> Result<(), End> {
    let Some(last) = faults.pop() else { return Ok(()) };
    faults.into_iter().for_each(|fault| lane.shared.fault(fault));
    Err(last.into())
}

/// Reads all jobs and judges what is read.
async fn jobs(lane: &Lane) -> Result<Vec<Seen>, End> {
    let before = lane.expected(|expected| expected.jobs.known());
    let seen = whole_listing(lane).await?;
    report(lane, lane.expected(|expected| expected.jobs.listed(&before, &seen, true)))?;
    Ok(seen)
}

async fn jobs_by_bytes(lane: &Lane) -> Result<(), End> {
    let before = lane.expected(|expected| expected.jobs.known());
    let seen = byte_listing(lane).await?;
    report(lane, lane.expected(|expected| expected.jobs.listed(&before, &seen, false)))
}

async fn ledger(lane: &Lane) -> Result<(), End> {
    let sql = "SELECT k, stamp, v FROM ledger";
    let mut found = vec![Rows::new(); WRITERS];
    for row in lane.must_rows(sql).await? {
        let [k, stamp, text] = row.as_slice() else {
            return Err(Fault::new(sql, "three columns", row.len()).into());
        };
        let (k, stamp) = (number(k)?, number(stamp)?);
        if *text != ledger_text(stamp) {
            return Err(Fault::new(format!("row {k} of ledger"), ledger_text(stamp), text).into());
        }
        let writer = usize::try_from(k / KEYS_PER_WRITER).ok().filter(|at| *at < WRITERS);
        let Some(writer) = writer else {
            return Err(Fault::new("ledger", "keys of writers", k).into());
        };
        if found[writer].insert(k, stamp).is_some() {
            return Err(Fault::new("ledger", "each key once", format!("key {k} twice")).into());
        }
    }
    for (at, rows) in found.iter().enumerate() {
        lane.expected(|expected| expected.found_ledger(at, rows))?;
    }
    Ok(())
}

async fn bank(lane: &Lane) -> Result<(), End> {
    let sql = "SELECT k, balance FROM bank";
    let mut found = Balances::new();
    for row in lane.must_rows(sql).await? {
        let [k, balance] = row.as_slice() else {
            return Err(Fault::new(sql, "two columns", row.len()).into());
        };
        found.insert(number(k)?, number(balance)?);
    }
    Ok(lane.expected(|expected| expected.found_bank(&found))?)
}

async fn settings(lane: &Lane) -> Result<(), End> {
    let names: Vec<&'static str> =
        lane.expected(|expected| expected.settings.keys().copied().collect());
    for name in names {
        let rows = lane.must_rows(&format!("SHOW CLUSTER SETTING {name}")).await?;
        let value = rows.first().and_then(|row| row.first()).cloned().unwrap_or_default();
        lane.expected(|expected| expected.found_setting(name, &value))?;
    }
    Ok(())
}

/// Compares all tables that are imported into. Jobs go on meanwhile, so what tables show is compared only if the
/// same jobs had succeeded before and after it was read.
async fn tables(lane: &Lane) -> Result<(), End> {
    let began = Instant::now();
    loop {
        let before = states(&jobs(lane).await?);
        let mut found = Vec::new();
        for at in 0..TABLES {
            found.push(summary(lane, at).await?);
        }
        let after = states(&jobs(lane).await?);
        if succeeded(&before) == succeeded(&after) {
            for (at, found) in found.into_iter().enumerate() {
                lane.expected(|expected| expected.found_table(at, &after, found))?;
            }
            return points(lane).await;
        }
        if began.elapsed() > SETTLED {
            let what = "jobs that succeed while tables are read";
            return Err(Fault::new(what, "a moment without one", "none in two minutes").into());
        }
    }
}

fn states(seen: &[Seen]) -> BTreeMap<Marker, State> {
    seen.iter().filter_map(|line| Some((line.marker?, line.state))).collect()
}

fn succeeded(states: &BTreeMap<Marker, State>) -> Vec<Marker> {
    let ended = states.iter().filter(|(_, state)| **state == State::Succeeded);
    ended.map(|(marker, _)| *marker).collect()
}

/// Looks up single rows of what was imported: another way to them than reading all.
async fn points(lane: &Lane) -> Result<(), End> {
    for at in 0..TABLES {
        let known: Option<(Table, usize)> = lane.expected(|expected| {
            let table = expected.tables[at].value().clone()?;
            let mut jobs = expected.jobs.of(at, table.generation);
            let (_, job) = jobs.find(|(_, job)| job.end() == Some(State::Succeeded))?;
            Some((table, job.source()))
        });
        let Some((table, source)) = known else { continue };
        let source = &SOURCES[source];
        for k in [1, source.rows() / 2, source.rows(), source.rows() + 1] {
            let sql = format!("SELECT x FROM t{at} WHERE k = {k}");
            let found: Vec<String> = lane.must_rows(&sql).await?.into_iter().flatten().collect();
            let expected: Vec<String> =
                table.row(Some(source), k).iter().map(i64::to_string).collect();
            if found != expected {
                return Err(Fault::new(sql, expected.join(" "), found.join(" ")).into());
            }
        }
    }
    Ok(())
}

/// Lets everything end: no job waits, nothing is held back. Then compares again, and waits until nothing is left of
/// what did not succeed.
pub(crate) async fn settle(lane: &mut Lane, store: &Path) -> Result<(), End> {
    for (name, value) in
        [("reclaim.paused", "false"), ("background.rate.max", "0"), ("jobs.concurrency", "4")]
    {
        set(lane, name, value).await?;
    }
    let began = Instant::now();
    end_jobs(lane, began).await?;
    jobs_by_bytes(lane).await?;
    tables(lane).await?;
    reclaimed(lane, began).await?;
    given_back(lane, store, began).await
}

/// Resumes or cancels what is paused, and waits until every job has ended.
async fn end_jobs(lane: &mut Lane, began: Instant) -> Result<(), End> {
    loop {
        let unfinished: Vec<Seen> =
            jobs(lane).await?.into_iter().filter(|seen| !seen.state.is_terminal()).collect();
        if unfinished.is_empty() {
            return Ok(());
        }
        if began.elapsed() > SETTLED {
            let left: Vec<String> =
                unfinished.iter().map(|seen| format!("{} is {}", seen.id, seen.state)).collect();
            let what = "jobs, two minutes after everything was resumed";
            return Err(Fault::new(what, "all ended", left.join(", ")).into());
        }
        let is_resting = |seen: &&Seen| matches!(seen.state, State::PauseRequested | State::Paused);
        let resting: Vec<Seen> = unfinished.iter().filter(is_resting).cloned().collect();
        for seen in &resting {
            let Some(marker) = seen.marker else { continue };
            if lane.random.chance(30) {
                super::load::cancel(lane, marker, seen.id, false).await?;
            } else {
                resume(lane, marker, seen.id).await?;
            }
        }
        if resting.is_empty() {
            let ids: Vec<String> = unfinished.iter().map(|seen| seen.id.to_string()).collect();
            let sql = format!(
                "SELECT count(*) FROM [SHOW JOBS WHEN COMPLETE (SELECT job_id FROM [SHOW JOBS] WHERE job_id IN ({}))]",
                ids.join(", ")
            );
            let left = SETTLED.saturating_sub(began.elapsed());
            if let Ok(rows) = tokio::time::timeout(left, lane.must_rows(&sql)).await {
                rows?;
            }
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits until no tombstone is left.
async fn reclaimed(lane: &Lane, began: Instant) -> Result<(), End> {
    let sql = "SELECT tombstone_id, job_id, phase, bytes_left, waiting_for FROM cairn.tombstones";
    loop {
        let rows = lane.must_rows(sql).await?;
        if rows.is_empty() {
            return Ok(());
        }
        if began.elapsed() > SETTLED {
            let what = "tombstones, two minutes after everything was let go";
            let left: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
            return Err(Fault::new(what, "none", left.join("; ")).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the disk holds what is to be seen, and little more.
async fn given_back(lane: &Lane, store: &Path, began: Instant) -> Result<(), End> {
    let visible: i64 = lane.expected(|expected| {
        let imports = (0..TABLES).filter_map(|at| {
            let generation = expected.tables[at].value().as_ref()?.generation;
            let mut jobs = expected.jobs.of(at, generation);
            let (_, job) = jobs.find(|(_, job)| job.end() == Some(State::Succeeded))?;
            Some(SOURCES[job.source()].rows())
        });
        imports.sum()
    });
    // Rows of these tables take less than this, whatever RocksDB adds.
    let bound = SPARE_BYTES + 200 * visible.unsigned_abs();
    loop {
        let usage = Usage::of(store);
        let clean =
            usage.staging_files == 0 && usage.trash_files == 0 && usage.table_bytes <= bound;
        if clean {
            return Ok(());
        }
        if began.elapsed() > SETTLED {
            let expected = format!("no staged file, no trash, at most {bound} bytes in tables");
            return Err(Fault::new("the disk after everything has ended", expected, usage).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
