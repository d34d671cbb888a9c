//! What was asked and answered, by whom and when: the history that a failing run prints.
//!
//! Bounded: the oldest entries go first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entries that are kept.
const KEPT: usize = 20_000;

/// Longest text that is kept of a statement or an answer.
const TEXT_MAX: usize = 240;

#[derive(Debug)]
struct Entry {
    number: u64,
    round: u32,
    at: Duration,
    lane: String,
    text: String,
    answer: Option<(Duration, String)>,
}

#[derive(Debug)]
struct Book {
    entries: VecDeque<Entry>,
    next: u64,
    round: u32,
    began: Instant,
}

/// The history of a run.
#[derive(Debug)]
pub(crate) struct Journal {
    // Held for moments only.
    book: Mutex<Book>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let book = Book { entries: VecDeque::new(), next: 0, round: 0, began: Instant::now() };
        Self { book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Times count from here on.
    pub(crate) fn begin_round(&self, round: u32) {
        let mut book = self.book();
        (book.round, book.began) = (round, Instant::now());
    }

    /// A statement is about to be sent. Returns its number.
    pub(crate) fn asked(&self, lane: &str, text: &str) -> u64 {
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        if book.entries.len() == KEPT {
            book.entries.pop_front();
        }
        let (round, at) = (book.round, book.began.elapsed());
        let text = shortened(text);
        book.entries.push_back(Entry {
            number,
            round,
            at,
            lane: lane.to_owned(),
            text,
            answer: None,
        });
        number
    }

    /// Its answer has been read.
    pub(crate) fn answered(&self, number: u64, answer: &str) {
        let mut book = self.book();
        let at = book.began.elapsed();
        let first = book.entries.front().map_or(number, |entry| entry.number);
        let index = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(entry) = book.entries.get_mut(index).filter(|entry| entry.number == number) {
            entry.answer = Some((at, shortened(answer)));
        }
    }

    /// Something that happened by itself.
    pub(crate) fn note(&self, lane: &str, text: &str) {
        let number = self.asked(lane, text);
        self.answered(number, "");
    }

    /// Statements so far.
    pub(crate) fn statements(&self) -> u64 {
        self.book().next
    }

    /// The lines of the present round, and of all that is kept.
    pub(crate) fn lines(&self) -> (Vec<String>, Vec<String>) {
        let book = self.book();
        let present = book.entries.iter().filter(|entry| entry.round == book.round);
        (
            present.map(Entry::to_string).collect(),
            book.entries.iter().map(Entry::to_string).collect(),
        )
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, lane, text, .. } = self;
        write!(f, "{round:>3} {:>9.3}s {lane:<10} {text}", self.at.as_secs_f64())?;
        match &self.answer {
            None => write!(f, "  -> no answer"),
            Some((_, answer)) if answer.is_empty() => Ok(()),
            Some((at, answer)) => write!(f, "  -> {:.3}s {answer}", at.as_secs_f64()),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_statement_and_old_rounds_are_left_out() {
        let journal = Journal::new();
        journal.note("runner", "long ago");
        journal.begin_round(2);
        let number = journal.asked("rows 0", "INSERT");
        journal.asked("rows 1", "DELETE");
        journal.answered(number, "1 row");
        let (lines, all) = journal.lines();
        assert_eq!((lines.len(), all.len()), (2, 3), "{all:?}");
        assert!(lines[0].contains("INSERT  -> ") && lines[0].ends_with("1 row"), "{lines:?}");
        assert!(lines[1].ends_with("DELETE  -> no answer"), "{lines:?}");
    }
}
