//! What the store must hold, as the parent knows it from the answers it has read.
//!
//! Everything is recorded before the next step is taken: what is about to be sent, then how it was
//! answered. At a kill each connection has at most one statement without an answer, which was done wholly
//! or not at all; what is found after the restart decides which, and must fit one of the two. The store is
//! asked, never trusted.

mod bank;
mod jobs;
mod known;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cairn_jobs::State;

pub(crate) use bank::{Balances, Bank, Transfer};
pub(crate) use jobs::{Earlier, Generation, Hold, Job, Jobs, Marker, Seen};
pub(crate) use known::Known;
pub(crate) use table::{Table, Visible};

use super::fault::Fault;
use super::source::Summary;

/// The rows of one connection in the table of foreground work: key and stamp.
pub(crate) type Rows = BTreeMap<i64, i64>;

/// Everything that is expected.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The foreground table, by the connection that owns a range of its keys.
    pub(crate) ledger: Vec<Known<Rows>>,
    pub(crate) bank: Bank,
    /// The tables that are imported into; `None` while dropped.
    pub(crate) tables: Vec<Known<Option<Table>>>,
    /// Cluster settings that were changed, as text.
    pub(crate) settings: BTreeMap<&'static str, Known<String>>,
    pub(crate) jobs: Jobs,
    next_marker: u64,
    next_generation: u64,
}

impl Expected {
    /// So many writers and tables, all empty.
    pub(crate) fn new(writers: usize, tables: usize) -> Self {
        let table = |at: usize| Known::new(Some(Table::empty(Generation(at as u64))));
        Self {
            ledger: vec![Known::new(Rows::new()); writers],
            bank: Bank::new(),
            tables: (0..tables).map(table).collect(),
            settings: BTreeMap::new(),
            jobs: Jobs::default(),
            next_marker: 1,
            next_generation: tables as u64,
        }
    }

    /// A marker that was not used before.
    pub(crate) fn next_marker(&mut self) -> Marker {
        self.next_marker += 1;
        Marker(self.next_marker - 1)
    }

    /// A generation that was not used before.
    pub(crate) fn next_generation(&mut self) -> Generation {
        self.next_generation += 1;
        Generation(self.next_generation - 1)
    }

    /// What table `at` may show while everything runs: `before` is what was known of jobs when it was asked.
    pub(crate) fn may_show(&self, before: &Earlier, at: usize) -> Vec<Summary> {
        let visible = |marker, now: &Job| {
            let then = before.get(marker).unwrap_or(now);
            match then.end() {
                Some(State::Succeeded) => Visible::Yes,
                Some(_) => Visible::No,
                None if now.may_have_succeeded() => Visible::Maybe,
                None => Visible::No,
            }
        };
        let table = self.tables[at].value().as_ref();
        table.map_or_else(Vec::new, |table| {
            let jobs = self.jobs.of(at, table.generation);
            table.candidates(jobs.map(|(marker, job)| (job, visible(marker, job))))
        })
    }

    /// Settles on what table `at` was found to show while its jobs stood as `states` says.
    pub(crate) fn found_table(
        &mut self,
        at: usize,
        states: &BTreeMap<Marker, State>,
        found: Option<Summary>,
    ) -> Result<(), Fault> {
        let jobs = &self.jobs;
        let may_show = |table: &Table| {
            table.candidates(jobs.of(at, table.generation).map(|(marker, job)| {
                let succeeded = states.get(&marker) == Some(&State::Succeeded)
                    || job.end() == Some(State::Succeeded);
                (job, if succeeded { Visible::Yes } else { Visible::No })
            }))
        };
        let fits = |table: &Option<Table>| match (table, found) {
            (None, None) => true,
            (Some(table), Some(found)) => may_show(table).contains(&found),
            _ => false,
        };
        let shown = |table: &Option<Table>| match table {
            None => "no table".to_owned(),
            Some(table) => one_of(&may_show(table)),
        };
        let expected: Vec<String> = self.tables[at].candidates().map(shown).collect();
        if self.tables[at].decide(fits) {
            return Ok(());
        }
        let found = found.map_or_else(|| "no table".to_owned(), |found| found.to_string());
        Err(Fault::new(format!("table t{at}"), expected.join(", or "), found))
    }

    /// Settles on the rows that were found of one writer.
    pub(crate) fn found_ledger(&mut self, at: usize, found: &Rows) -> Result<(), Fault> {
        let before = self.ledger[at].clone();
        if self.ledger[at].decide(|rows| rows == found) {
            return Ok(());
        }
        let differences = before.candidates().map(|rows| differences(rows, found));
        let differences: Vec<String> = differences.collect();
        Err(Fault::new(
            format!("the rows of writer {at} in ledger"),
            "those of every acknowledged statement, with or without the one under way",
            differences.join("; or "),
        ))
    }

    /// Settles on the balances that were found.
    pub(crate) fn found_bank(&mut self, found: &Balances) -> Result<(), Fault> {
        let candidates = self.bank.candidates();
        if self.bank.decide(found) {
            return Ok(());
        }
        let expected: Vec<String> = candidates.iter().map(|c| format!("{c:?}")).collect();
        Err(Fault::new("the balances in bank", expected.join(", or "), format!("{found:?}")))
    }

    /// Settles on the value that was found of a setting.
    pub(crate) fn found_setting(&mut self, name: &'static str, found: &str) -> Result<(), Fault> {
        let Some(setting) = self.settings.get_mut(name) else { return Ok(()) };
        let expected: Vec<String> = setting.candidates().cloned().collect();
        if setting.decide(|value| value == found) {
            return Ok(());
        }
        Err(Fault::new(format!("cluster setting {name}"), expected.join(", or "), found))
    }

    /// Lets go of what can never matter again.
    pub(crate) fn prune(&mut self) {
        let next = Generation(self.next_generation);
        let generation = |table: &Known<Option<Table>>| {
            let of = |table: &Option<Table>| table.as_ref().map_or(next, |table| table.generation);
            table.candidates().map(of).min().unwrap_or(next)
        };
        let generations: Vec<Generation> = self.tables.iter().map(generation).collect();
        self.jobs.prune(&generations);
    }
}

/// Some of what one map has and the other has not.
fn differences(expected: &Rows, found: &Rows) -> String {
    const SHOWN: usize = 8;
    let mut keys: Vec<i64> = expected.keys().chain(found.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|k| expected.get(k) != found.get(k));
    let shown = |value: Option<&i64>| value.map_or_else(|| "no row".to_owned(), i64::to_string);
    let line =
        |k: &i64| format!("key {k}: {} instead of {}", shown(found.get(k)), shown(expected.get(k)));
    let lines: Vec<String> = keys.iter().take(SHOWN).map(line).collect();
    format!("{} rows differ: {}", keys.len(), lines.join(", "))
}

/// For messages.
pub(crate) fn one_of(summaries: &[Summary]) -> String {
    if summaries.is_empty() {
        return "nothing that could be".to_owned();
    }
    let texts: Vec<String> = summaries.iter().map(Summary::to_string).collect();
    texts.join(", or ")
}
