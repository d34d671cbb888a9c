//! What a run does: drawn from its seed, round by round and step by step.
//!
//! The seed fixes what each connection asks for and when the server dies. In between, the scheduler decides,
//! and some steps depend on what was answered before; so a seed repeats the plan, and what it found
//! comes back in one of a few repetitions rather than surely in the first.

use std::time::Duration;

use super::expected::{Balances, Rows, Transfer};
use super::source::{SOURCES, Source};
use crate::disk::Lose;
use crate::random::Random;

/// Writers of the foreground table.
pub(crate) const WRITERS: usize = 2;

/// Connections that move money.
pub(crate) const TELLERS: usize = 2;

/// Tables that are imported into.
pub(crate) const TABLES: usize = 3;

/// Keys that a writer of the foreground table owns.
pub(crate) const KEYS_PER_WRITER: i64 = 1_000_000;

/// Rows of one writer, about.
const ROWS_MAX: usize = 300;

/// Longest time between the beginning of the load and the kill.
const LOAD_MAX_MS: u64 = 2_000;

/// Longest time between the start of a process and its kill, if it is killed while it starts.
const START_MAX_MS: u64 = 200;

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGKILL.
    Kill,
    /// SIGTERM, as an operator would.
    Terminate,
}

/// A round: load, stop, start again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) load: Duration,
    pub(crate) stop: Stop,
    /// Ask the doctor before the server starts again.
    pub(crate) doctor: bool,
    /// Processes that are killed so soon after their start.
    pub(crate) cut_starts: Vec<Duration>,
    /// Afterwards, let everything end, and look at what is left.
    pub(crate) settle: bool,
}

/// What a run of kills does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    random: Random,
    pub(crate) rounds: u32,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let random = Random::new(seed);
        let rounds = 12 + random.fork(0).below(13);
        Self { random, rounds: u32::try_from(rounds).expect("a small number") }
    }

    /// Settings that the store has from the beginning: small ones make many batches, runs and files of little data.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let mut random = self.random.fork(1);
        vec![
            ("bulkio.ingest.max_bytes", *random.pick(&["64KiB", "512KiB", "128MiB"])),
            ("bulkio.import.memory", *random.pick(&["1MiB", "2MiB", "256MiB"])),
        ]
    }

    pub(crate) fn round(&self, number: u32) -> Round {
        let mut random = self.random(number, 0);
        let load = Duration::from_millis(random.below(LOAD_MAX_MS + 1));
        let stop = if random.chance(90) { Stop::Kill } else { Stop::Terminate };
        let cuts = if random.chance(25) { 1 + random.below(3) } else { 0 };
        let cut = |random: &mut Random| Duration::from_millis(random.below(START_MAX_MS + 1));
        Round {
            load,
            stop,
            doctor: random.chance(20),
            cut_starts: (0..cuts).map(|_| cut(&mut random)).collect(),
            settle: random.chance(12),
        }
    }

    /// What a power cut takes: at the end of a round, and after the starts that are cut short.
    pub(crate) fn lose(&self, round: u32, cut: u64) -> Lose {
        let mut random = self.random.fork(3).fork(round.into()).fork(cut);
        if random.chance(40) { Lose::All } else { Lose::Some(random.number()) }
    }

    /// The numbers of one connection in one round.
    pub(crate) fn random(&self, round: u32, lane: u64) -> Random {
        self.random.fork(2).fork(round.into()).fork(lane)
    }
}

/// A change of foreground rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowsStep {
    pub(crate) sql: String,
    pub(crate) after: Rows,
    /// Rows that the command tag must tell.
    pub(crate) count: u64,
}

/// The text beside a stamp; long enough for memory to be flushed now and then.
pub(crate) fn ledger_text(stamp: i64) -> String {
    format!("{stamp}:{}", "abcdefghij".repeat(20))
}

/// What writer `writer` does next to its rows.
pub(crate) fn rows_step(random: &mut Random, writer: usize, before: &Rows) -> RowsStep {
    let base = i64::try_from(writer).expect("a small number") * KEYS_PER_WRITER;
    let stamp = random.between(1, i64::from(i32::MAX));
    let mut after = before.clone();
    let keys: Vec<i64> = before.keys().copied().collect();
    let full = keys.len() >= ROWS_MAX;
    let some = u64::from(!keys.is_empty());
    let what = random.weighted(&[
        (if full { 0 } else { 40 }, 'i'),
        (35 * some, 'u'),
        (if full { 40 } else { 10 } * some, 'd'),
        (10 * some, 'm'),
    ]);
    if what == 'i' {
        let wanted = 1 + random.below(20);
        let mut values = Vec::new();
        while (values.len() as u64) < wanted {
            let k = base + random.between(1, KEYS_PER_WRITER / 2 - 1);
            if !after.contains_key(&k) && !after.contains_key(&(k + KEYS_PER_WRITER / 2)) {
                after.insert(k, stamp);
                values.push(format!("({k}, {stamp}, '{}')", ledger_text(stamp)));
            }
        }
        let sql = format!("INSERT INTO ledger (k, stamp, v) VALUES {}", values.join(", "));
        return RowsStep { sql, after, count: wanted };
    }
    let first = usize::try_from(random.below(keys.len() as u64)).expect("an index");
    let last = (first + usize::try_from(random.below(12)).expect("small")).min(keys.len() - 1);
    let range = &keys[first..=last];
    let condition = format!("k BETWEEN {} AND {}", range[0], range[range.len() - 1]);
    let sql = match what {
        'u' => {
            after.extend(range.iter().map(|&k| (k, stamp)));
            let text = ledger_text(stamp);
            format!("UPDATE ledger SET stamp = {stamp}, v = '{text}' WHERE {condition}")
        }
        'd' => {
            after.retain(|k, _| !range.contains(k));
            format!("DELETE FROM ledger WHERE {condition}")
        }
        _ => {
            // To the other half of the writer's keys: a delete and an insert of each row, in one batch.
            let there = |k: i64| {
                let half = KEYS_PER_WRITER / 2;
                if k - base < half { k + half } else { k - half }
            };
            let moved: Rows = range.iter().map(|&k| (there(k), before[&k])).collect();
            after.retain(|k, _| !range.contains(k));
            after.extend(moved);
            let by = KEYS_PER_WRITER / 2;
            let edge = base + by;
            format!(
                "UPDATE ledger SET k = CASE WHEN k < {edge} THEN k + {by} ELSE k - {by} END WHERE {condition}"
            )
        }
    };
    RowsStep { sql, after, count: range.len() as u64 }
}

/// What a teller does next.
pub(crate) fn transfer(random: &mut Random, accounts: &Balances) -> Transfer {
    let accounts: Vec<i64> = accounts.keys().copied().collect();
    let from = *random.pick(&accounts);
    let others: Vec<i64> = accounts.into_iter().filter(|k| *k != from).collect();
    Transfer { from, to: *random.pick(&others), amount: random.between(1, 100) }
}

/// What the connection of a table knows about it when it chooses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) exists: bool,
    /// An import of it may still be under way.
    pub(crate) busy: bool,
    /// An import of it is known to have succeeded.
    pub(crate) imported: bool,
    /// It may have rows.
    pub(crate) has_rows: bool,
    /// It has rows that were inserted by hand.
    pub(crate) has_hand_rows: bool,
}

/// What happens to a table that is imported into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableStep {
    Create,
    /// Submits an import and goes on.
    ImportDetached(&'static Source),
    /// Submits an import that a connection of its own waits for.
    ImportWaiting(&'static Source),
    /// Asks what the table shows.
    Look,
    /// Inserts rows above the keys of all files.
    Insert,
    /// Inserts a row whose key an import may bring as well.
    Collide,
    /// Changes or removes imported rows.
    Rework,
    /// Removes the rows that were inserted by hand.
    ClearHand,
    /// Waits for the youngest import.
    Await,
    Truncate,
    Drop,
}

/// What comes next.
pub(crate) fn table_step(random: &mut Random, now: Situation) -> TableStep {
    if !now.exists {
        return TableStep::Create;
    }
    let Situation { busy, imported, has_rows, has_hand_rows, exists: _ } = now;
    let source = random.pick(&SOURCES);
    // Now and then also where it has to be refused.
    let import = match (busy, has_rows) {
        (false, false) => 60,
        (true, _) => 2,
        (false, true) => 3,
    };
    random.weighted(&[
        (import, TableStep::ImportDetached(source)),
        (import / 2, TableStep::ImportWaiting(source)),
        (if busy { 30 } else { 15 }, TableStep::Look),
        (8, TableStep::Insert),
        (if busy { 4 } else { 1 }, TableStep::Collide),
        (if imported { 20 } else { 0 }, TableStep::Rework),
        (if has_hand_rows { 10 } else { 0 }, TableStep::ClearHand),
        (if busy { 12 } else { 0 }, TableStep::Await),
        (if has_rows { 20 } else { 3 }, TableStep::Truncate),
        (6, TableStep::Drop),
    ])
}

/// What is done to jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlStep {
    Cancel,
    CancelAndWait,
    /// `CANCEL JOBS` with a query for whatever runs.
    Sweep,
    Pause,
    PauseAndWait,
    Resume,
}

/// What comes next.
pub(crate) fn control_step(random: &mut Random) -> ControlStep {
    random.weighted(&[
        (14, ControlStep::Cancel),
        (6, ControlStep::CancelAndWait),
        (2, ControlStep::Sweep),
        (20, ControlStep::Pause),
        (8, ControlStep::PauseAndWait),
        (35, ControlStep::Resume),
    ])
}

/// A setting and its next value.
pub(crate) fn setting_step(random: &mut Random) -> (&'static str, &'static str) {
    random.weighted(&[
        (2, ("reclaim.paused", "true")),
        (3, ("reclaim.paused", "false")),
        (2, ("background.rate.max", "1MiB")),
        (1, ("background.rate.max", "8MiB")),
        (3, ("background.rate.max", "0")),
        (1, ("jobs.concurrency", "1")),
        (1, ("jobs.concurrency", "2")),
        (2, ("jobs.concurrency", "4")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_rounds_again() {
        let rounds = |seed| {
            let plan = Plan::of(seed);
            (0..plan.rounds).map(|round| plan.round(round)).collect::<Vec<_>>()
        };
        assert_eq!(rounds(5), rounds(5));
        assert_ne!(rounds(5), rounds(6));
        let some: Vec<Round> = (0..50).flat_map(rounds).collect();
        assert!(some.iter().any(|round| round.cut_starts.len() > 1));
        assert!(some.iter().any(|round| round.stop == Stop::Terminate));
        assert!(some.iter().all(|round| round.load <= Duration::from_millis(LOAD_MAX_MS)));
    }

    #[test]
    fn steps_of_writers_stay_in_their_range_and_count_their_rows() {
        let mut random = Random::new(3);
        for writer in 0..WRITERS {
            let base = i64::try_from(writer).unwrap() * KEYS_PER_WRITER;
            let mut rows = Rows::new();
            for _ in 0..2000 {
                let step = rows_step(&mut random, writer, &rows);
                let changed = step.after.iter().filter(|&(k, v)| rows.get(k) != Some(v)).count();
                let gone = rows.keys().filter(|k| !step.after.contains_key(k)).count();
                assert_eq!(changed.max(gone) as u64, step.count, "{}", step.sql);
                rows = step.after;
                assert!(rows.keys().all(|k| (base..base + KEYS_PER_WRITER).contains(k)));
            }
            assert!(rows.len() > 100);
        }
    }
}
