//! A connection with its part of the load, and what all connections share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::expected::Expected;
use super::fault::Fault;
use super::journal::Journal;
use crate::client::{Client, Refused};
use crate::random::Random;

/// Why a lane ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The server is gone. What was under way may be done or not.
    Lost,
    /// Something that must never happen.
    Wrong(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

/// What the parent knows, and all lanes write down.
#[derive(Debug)]
pub(crate) struct Shared {
    // Held for moments only.
    expected: Mutex<Expected>,
    pub(crate) journal: Journal,
    // The same.
    faults: Mutex<Vec<Fault>>,
    /// A fault was found.
    pub(crate) faulty: Notify,
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(expected: Expected) -> Self {
        Self {
            expected: Mutex::new(expected),
            journal: Journal::new(),
            faults: Mutex::new(Vec::new()),
            faulty: Notify::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Reads or changes what is expected.
    pub(crate) fn expected<T>(&self, work: impl FnOnce(&mut Expected) -> T) -> T {
        work(&mut self.expected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        self.faulty.notify_one();
    }

    /// The faults so far.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lanes end after the statement they are at.
    pub(crate) fn stop(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Whether the answer says that the server is going or gone.
fn is_lost(refused: &Refused, stopping: bool) -> bool {
    match refused.code.as_str() {
        "08000" | "57P01" | "57P03" => true,
        // The server ends what does not end by itself; a job's end has the same code.
        "57014" => stopping && !refused.text.contains("job canceled"),
        _ => false,
    }
}

/// A connection and its numbers.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    pub(crate) random: Random,
}

impl Lane {
    /// Whether there is more to do.
    pub(crate) fn goes_on(&self) -> bool {
        !self.shared.is_stopping()
    }

    pub(crate) fn expected<T>(&self, work: impl FnOnce(&mut Expected) -> T) -> T {
        self.shared.expected(work)
    }

    /// Asks for rows.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Result<Vec<Vec<String>>, Refused>, End> {
        let number = self.shared.journal.asked(&self.name, sql);
        let answer = self.client.rows(sql).await;
        let shown = |rows: &Vec<Vec<String>>| match rows.as_slice() {
            [] => "no rows".to_owned(),
            [row] => row.join(" | "),
            rows => format!("{} rows", rows.len()),
        };
        self.answered(number, answer, shown)
    }

    /// Changes something; answers the number of rows that the tag tells.
    pub(crate) async fn run(&self, sql: &str) -> Result<Result<u64, Refused>, End> {
        let number = self.shared.journal.asked(&self.name, sql);
        let answer = self.client.try_run(sql).await;
        self.answered(number, answer, |count| format!("ok {count}"))
    }

    fn answered<T>(
        &self,
        number: u64,
        answer: Result<T, Refused>,
        shown: impl FnOnce(&T) -> String,
    ) -> Result<Result<T, Refused>, End> {
        match answer {
            Ok(answer) => {
                self.shared.journal.answered(number, &shown(&answer));
                Ok(Ok(answer))
            }
            Err(refused) => {
                self.shared.journal.answered(number, &refused.text);
                if is_lost(&refused, self.shared.is_stopping()) {
                    Err(End::Lost)
                } else {
                    Ok(Err(refused))
                }
            }
        }
    }

    /// The statement was refused for a reason that there cannot be.
    pub(crate) fn unexpected(&self, sql: &str, refused: &Refused) -> End {
        Fault::new(format!("{}: {sql}", self.name), "an answer", refused).into()
    }

    /// Asks for rows that must be answered.
    pub(crate) async fn must_rows(&self, sql: &str) -> Result<Vec<Vec<String>>, End> {
        self.rows(sql).await?.map_err(|refused| self.unexpected(sql, &refused))
    }

    /// Changes something that must work.
    pub(crate) async fn must_run(&self, sql: &str) -> Result<u64, End> {
        self.run(sql).await?.map_err(|refused| self.unexpected(sql, &refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_job_is_an_answer_even_while_the_server_stops() {
        let refused = |code: &str, text: &str| Refused { code: code.into(), text: text.into() };
        assert!(is_lost(&refused("08000", "connection closed"), false));
        assert!(is_lost(&refused("57014", "canceling statement"), true));
        assert!(!is_lost(&refused("57014", "canceling statement"), false));
        assert!(!is_lost(&refused("57014", "job canceled DETAIL: ..."), true));
        assert!(!is_lost(&refused("23505", "duplicate key"), true));
    }
}
