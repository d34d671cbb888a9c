//! A value that statements of one connection change, so that at most one change is undecided.

/// A value, and what it may have become by a statement whose answer never came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known<T> {
    value: T,
    pending: Option<T>,
}

impl<T: Clone + PartialEq> Known<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, pending: None }
    }

    /// The value after all statements that were answered.
    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    /// A statement is about to be sent that makes it `after`.
    pub(crate) fn begin(&mut self, after: T) {
        assert!(self.pending.is_none(), "a connection waits for its answer before it goes on");
        self.pending = Some(after);
    }

    /// The statement worked.
    pub(crate) fn acknowledge(&mut self) {
        self.value = self.pending.take().expect("what is acknowledged was begun");
    }

    /// The statement was refused: nothing has changed.
    pub(crate) fn refuse(&mut self) {
        self.pending = None;
    }

    /// What it may be now; the value of answered statements first.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.value).chain(&self.pending)
    }

    /// Settles on the first candidate that `fits`. Answers whether there is one; if not, the value stays.
    pub(crate) fn decide(&mut self, fits: impl Fn(&T) -> bool) -> bool {
        let fitting = self.candidates().find(|candidate| fits(candidate)).cloned();
        self.pending = None;
        let found = fitting.is_some();
        if let Some(value) = fitting {
            self.value = value;
        }
        found
    }
}
