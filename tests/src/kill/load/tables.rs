//! The life of a table that is imported into: made, imported into, changed by hand, emptied, dropped.

use std::collections::BTreeMap;

use cairn_jobs::State;
use tokio::task::JoinSet;

use super::{Place, import, number, state};
use crate::kill::expected::{Hold, Known, Table, one_of};
use crate::kill::fault::Fault;
use crate::kill::lane::{End, Lane};
use crate::kill::plan::{self, Situation, TableStep};
use crate::kill::source::{COLUMNS, HAND_FROM, SOURCES, Summary, summary_query, text};

/// Keys that any source brings.
const COMMON_KEYS: i64 = 40;

pub(super) async fn run(mut lane: Lane, place: Place, at: usize) {
    let mut waiters = JoinSet::new();
    let result = live(&mut lane, &place, &mut waiters, at).await;
    super::ended(&lane, result);
    // They end with the server, or with their imports.
    while waiters.join_next().await.is_some() {}
}

async fn live(
    lane: &mut Lane,
    place: &Place,
    waiters: &mut JoinSet<()>,
    at: usize,
) -> Result<(), End> {
    while lane.goes_on() {
        let now = situation(lane, at);
        match plan::table_step(&mut lane.random, now) {
            TableStep::Create => create(lane, at).await?,
            TableStep::ImportDetached(source) => import::detached(lane, at, source).await?,
            TableStep::ImportWaiting(source) => {
                import::waiting(lane, place, waiters, at, source).await?;
            }
            TableStep::Look => look(lane, at).await?,
            TableStep::Insert => insert(lane, at, false).await?,
            TableStep::Collide => insert(lane, at, true).await?,
            TableStep::Rework => rework(lane, at).await?,
            TableStep::ClearHand => clear_hand(lane, at).await?,
            TableStep::Await => wait(lane, at).await?,
            TableStep::Truncate => clear(lane, at, false).await?,
            TableStep::Drop => clear(lane, at, true).await?,
        }
        // Those that have ended need no more room.
        while waiters.try_join_next().is_some() {}
    }
    Ok(())
}

fn situation(lane: &Lane, at: usize) -> Situation {
    lane.expected(|expected| {
        let Some(table) = expected.tables[at].value() else { return Situation::default() };
        let jobs: Vec<_> = expected.jobs.of(at, table.generation).map(|(_, job)| job).collect();
        let busy = jobs.iter().any(|job| job.end().is_none());
        let imported = jobs.iter().any(|job| job.end() == Some(State::Succeeded));
        Situation {
            exists: true,
            busy,
            imported,
            has_rows: imported || !table.hand.is_empty(),
            has_hand_rows: !table.hand.is_empty(),
        }
    })
}

/// Changes the table as it is expected to be.
fn begin(lane: &Lane, at: usize, change: impl FnOnce(&mut Table)) {
    lane.expected(|expected| {
        let known = &mut expected.tables[at];
        let mut after = known.value().clone();
        if let Some(table) = &mut after {
            change(table);
        }
        known.begin(after);
    });
}

fn end(lane: &Lane, at: usize, how: impl FnOnce(&mut Known<Option<Table>>)) {
    lane.expected(|expected| how(&mut expected.tables[at]));
}

/// Runs a statement that must change so many rows.
async fn must_change(lane: &Lane, at: usize, sql: &str, count: usize) -> Result<(), End> {
    let found = lane.must_run(sql).await?;
    end(lane, at, Known::acknowledge);
    if found == count as u64 {
        return Ok(());
    }
    Err(Fault::new(sql, format!("{count} rows"), found).into())
}

async fn create(lane: &Lane, at: usize) -> Result<(), End> {
    lane.expected(|expected| {
        let generation = expected.next_generation();
        expected.tables[at].begin(Some(Table::empty(generation)));
    });
    lane.must_run(&format!("CREATE TABLE t{at} ({COLUMNS})")).await?;
    end(lane, at, Known::acknowledge);
    Ok(())
}

/// What the table shows now.
pub(crate) async fn summary(lane: &Lane, at: usize) -> Result<Option<Summary>, End> {
    let sql = summary_query(&format!("t{at}"));
    let rows = match lane.rows(&sql).await? {
        Ok(rows) => rows,
        Err(refused) if refused.code == "42P01" => return Ok(None),
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    };
    let cells = rows.first().map_or(&[][..], Vec::as_slice);
    let [rows, keys, values, mixed, wrong] = cells else {
        return Err(Fault::new(sql, "five numbers", cells.join(" ")).into());
    };
    if wrong != "0" {
        let what = format!("rows of t{at} whose text is not their key's");
        return Err(Fault::new(what, "none", wrong).into());
    }
    let (rows, keys) = (number(rows)?, number(keys)?);
    Ok(Some(Summary { rows, keys, values: number(values)?, mixed: number(mixed)? }))
}

async fn look(lane: &Lane, at: usize) -> Result<(), End> {
    let before = lane.expected(|expected| expected.jobs.known());
    let found = summary(lane, at).await?;
    let may_show = lane.expected(|expected| expected.may_show(&before, at));
    match found {
        Some(found) if may_show.contains(&found) => Ok(()),
        Some(found) => Err(Fault::new(format!("table t{at}"), one_of(&may_show), found).into()),
        None => Err(Fault::new(format!("table t{at}"), one_of(&may_show), "no table").into()),
    }
}

async fn insert(lane: &mut Lane, at: usize, colliding: bool) -> Result<(), End> {
    let hand = lane.expected(|expected| {
        expected.tables[at]
            .value()
            .as_ref()
            .map_or_else(Default::default, |table| table.hand.clone())
    });
    let count = if colliding { 1 } else { 1 + lane.random.below(5) };
    let mut rows = BTreeMap::new();
    for _ in 0..count {
        let k = if colliding {
            lane.random.between(1, COMMON_KEYS)
        } else {
            HAND_FROM + lane.random.between(0, 100_000)
        };
        if !hand.contains_key(&k) {
            rows.insert(k, lane.random.between(0, 1_000_000));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let values: Vec<String> =
        rows.iter().map(|(&k, x)| format!("({k}, {x}, '{}')", text(k))).collect();
    let sql = format!("INSERT INTO t{at} (k, x, v) VALUES {}", values.join(", "));
    let count = rows.len();
    if colliding {
        lane.expected(|expected| {
            let live = expected.jobs.live_on(at);
            expected.jobs.collide(&live);
        });
    }
    begin(lane, at, |table| table.hand.extend(rows));
    match lane.run(&sql).await? {
        Ok(found) => {
            end(lane, at, Known::acknowledge);
            if found != count as u64 {
                return Err(Fault::new(sql, format!("{count} rows"), found).into());
            }
        }
        // An import was faster, if there can have been one.
        Err(refused) if colliding && refused.code == "23505" && may_be_imported(lane, at) => {
            end(lane, at, Known::refuse);
        }
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    }
    Ok(())
}

fn may_be_imported(lane: &Lane, at: usize) -> bool {
    lane.expected(|expected| {
        let Some(table) = expected.tables[at].value() else { return false };
        expected.jobs.of(at, table.generation).any(|(_, job)| job.may_have_succeeded())
    })
}

/// The rows of the import that is known to have succeeded, if each of them is still its own.
fn imported(lane: &Lane, at: usize) -> Option<i64> {
    lane.expected(|expected| {
        let table = expected.tables[at].value().as_ref().filter(|table| !table.has_low_keys())?;
        let mut jobs = expected.jobs.of(at, table.generation);
        let job = jobs.find(|(_, job)| job.end() == Some(State::Succeeded));
        job.map(|(_, job)| SOURCES[job.source()].rows())
    })
}

async fn rework(lane: &mut Lane, at: usize) -> Result<(), End> {
    let Some(rows) = imported(lane, at) else { return Ok(()) };
    // Key 1 stays, so that the table does not become empty: a second import could come otherwise.
    let from = lane.random.between(2, rows);
    let to = rows.min(from + lane.random.between(0, 30));
    let present: Vec<i64> = lane.expected(|expected| {
        let table = expected.tables[at].value();
        let removed = |k: &i64| table.as_ref().is_some_and(|t| t.changed.get(k) == Some(&None));
        (from..=to).filter(|k| !removed(k)).collect()
    });
    let condition = format!("k BETWEEN {from} AND {to}");
    let (sql, now) = if lane.random.chance(50) {
        let x = lane.random.between(0, 1_000_000);
        (format!("UPDATE t{at} SET x = {x} WHERE {condition}"), Some(x))
    } else {
        (format!("DELETE FROM t{at} WHERE {condition}"), None)
    };
    let count = present.len();
    begin(lane, at, |table| table.changed.extend(present.into_iter().map(|k| (k, now))));
    must_change(lane, at, &sql, count).await
}

async fn clear_hand(lane: &Lane, at: usize) -> Result<(), End> {
    let mut count = 0;
    begin(lane, at, |table| {
        let before = table.hand.len();
        table.hand.retain(|&k, _| k < HAND_FROM);
        count = before - table.hand.len();
    });
    must_change(lane, at, &format!("DELETE FROM t{at} WHERE k >= {HAND_FROM}"), count).await
}

/// Waits for the youngest import that nobody paused.
async fn wait(lane: &Lane, at: usize) -> Result<(), End> {
    let job = lane.expected(|expected| {
        let generation = expected.tables[at].value().as_ref()?.generation;
        let jobs = expected.jobs.of(at, generation);
        let free = jobs.filter(|(_, job)| job.hold() == Hold::Free && job.end().is_none());
        free.last().and_then(|(marker, job)| Some((marker, job.id()?)))
    });
    let Some((marker, id)) = job else { return Ok(()) };
    let sql = format!("SELECT status FROM [SHOW JOB WHEN COMPLETE {id}]");
    let rows = lane.must_rows(&sql).await?;
    let found = rows.first().and_then(|row| row.first()).map_or("", String::as_str);
    let found = state(found)?;
    if !found.is_terminal() {
        return Err(Fault::new(sql, "a terminal state", found).into());
    }
    Ok(lane.expected(|expected| expected.jobs.heard_end(marker, found))?)
}

/// TRUNCATE or DROP.
async fn clear(lane: &Lane, at: usize, drop: bool) -> Result<(), End> {
    let live = lane.expected(|expected| {
        let live = expected.jobs.live_on(at);
        expected.jobs.begin_cancel(&live);
        let generation = expected.next_generation();
        expected.tables[at].begin((!drop).then(|| Table::empty(generation)));
        live
    });
    let verb = if drop { "DROP" } else { "TRUNCATE" };
    let sql = format!("{verb} TABLE t{at}");
    match lane.run(&sql).await? {
        Ok(_) => lane.expected(|expected| {
            expected.tables[at].acknowledge();
            expected.jobs.cleared(&live);
        }),
        // A job that is being paused or undone cannot be cancelled.
        Err(refused) if refused.code == "55000" && !live.is_empty() => lane.expected(|expected| {
            expected.tables[at].refuse();
            expected.jobs.end_cancel(&live, true);
        }),
        Err(refused) => return Err(lane.unexpected(&sql, &refused)),
    }
    Ok(())
}
