//! Accounts between which several connections move money at once: nothing may get lost between them.
//!
//! Transfers commute, so the order in which the store took them does not matter: the balances are those
//! of all acknowledged transfers, and of any part of those that were under way at a kill.

use std::collections::BTreeMap;

/// Accounts.
pub(crate) const ACCOUNTS: i64 = 8;

/// What every account begins with.
pub(crate) const BEGINNING: i64 = 1_000;

/// Balances by account.
pub(crate) type Balances = BTreeMap<i64, i64>;

/// A transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) amount: i64,
}

impl Transfer {
    /// One statement.
    pub(crate) fn sql(&self) -> String {
        let Self { from, to, amount } = self;
        format!(
            "UPDATE bank SET balance = balance + CASE WHEN k = {from} THEN -{amount} ELSE {amount} END \
             WHERE k IN ({from}, {to})"
        )
    }

    fn apply(&self, balances: &mut Balances) {
        *balances.entry(self.from).or_default() -= self.amount;
        *balances.entry(self.to).or_default() += self.amount;
    }
}

/// What the accounts must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    settled: Balances,
    /// By connection.
    pending: BTreeMap<usize, Transfer>,
}

impl Bank {
    pub(crate) fn new() -> Self {
        let settled = (1..=ACCOUNTS).map(|account| (account, BEGINNING)).collect();
        Self { settled, pending: BTreeMap::new() }
    }

    /// The total, which no transfer changes.
    pub(crate) fn total() -> i64 {
        ACCOUNTS * BEGINNING
    }

    pub(crate) fn begin(&mut self, connection: usize, transfer: Transfer) {
        let other = self.pending.insert(connection, transfer);
        assert!(other.is_none(), "a connection waits for its answer before it goes on");
    }

    pub(crate) fn acknowledge(&mut self, connection: usize) {
        let transfer = self.pending.remove(&connection).expect("what is acknowledged was begun");
        transfer.apply(&mut self.settled);
    }

    pub(crate) fn refuse(&mut self, connection: usize) {
        self.pending.remove(&connection);
    }

    /// What the accounts may hold now.
    pub(crate) fn candidates(&self) -> Vec<Balances> {
        let mut candidates = vec![self.settled.clone()];
        for transfer in self.pending.values() {
            let with = candidates.clone().into_iter().map(|mut balances| {
                transfer.apply(&mut balances);
                balances
            });
            candidates.extend(with.collect::<Vec<_>>());
        }
        candidates
    }

    /// Settles on what was found. Answers whether that may be.
    pub(crate) fn decide(&mut self, found: &Balances) -> bool {
        let fits = self.candidates().contains(found);
        self.pending.clear();
        if fits {
            self.settled.clone_from(found);
        }
        fits
    }
}
