//! A reader of CSV files: RFC 4180 with a delimiter of one's choice.
//!
//! A record is a slice of the read buffer and a list of ranges in it. Nothing is copied: values with
//! doubled quotes are straightened where they are. Positions are exact: `Reader::place` is where the next
//! record begins, so reading can stop there and go on in another process.
//!
//! Rules, where the RFC leaves room:
//! - lines end with LF or CRLF, the last one also with the file; a CR elsewhere is a character;
//! - a quote inside an unquoted value, or text after a closing quote, is an error, not a guess;
//! - a byte order mark at the beginning of the file is passed over;
//! - an empty line is a record of one empty value; what that means is the caller's business.
//!
//! The scanner looks at eight bytes at a time, in plain safe code. Character sets are the caller's
//! business too: the delimiter is ASCII, and so cannot be a part of another UTF-8 character.

use std::io::{self, Read};

const QUOTE: u8 = b'"';
const MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A record may have this many bytes. Bounds memory when a closing quote is missing.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// Its line, from 1.
    pub line: u64,
}

impl Place {
    /// The beginning of a file.
    pub const START: Self = Self { offset: 0, line: 1 };
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub enum CsvError {
    /// The operating system refused.
    Io(io::Error),
    /// The text is not CSV.
    Malformed(Malformed),
}

/// A place where a text is not CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: u64,
    /// The value in its record, from 0.
    pub field: usize,
    /// What is wrong, for people.
    pub what: &'static str,
}

/// What is wrong, for people. The hint is for all of them.
pub(crate) const STRAY_QUOTE: &str = "a quote inside a value that does not begin with one";
pub(crate) const AFTER_QUOTE: &str = "text after the closing quote of a value";
pub(crate) const NO_QUOTE: &str = "a quoted value without its closing quote";
pub(crate) const TOO_LONG: &str = "a record of more than 64 MiB";

/// Where a value is in the buffer, relative to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
    /// Has doubled quotes inside.
    doubled: bool,
}

/// Reads records.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer.
    at: usize,
    filled: usize,
    /// The input has ended; what is in the buffer is the rest.
    ended: bool,
    /// Place of the next record.
    next: Place,
    fields: Vec<Field>,
}

/// A record; lent until the next one.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    line: u64,
}

impl<'a> Record<'a> {
    /// Number of values; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a record has a value at least")]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether this is an empty line.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        matches!(self.fields, [only] if only.start == only.end && !only.quoted)
    }

    /// The record as text.
    ///
    /// # Errors
    /// The index of the first value that is not UTF-8.
    pub fn text(&self) -> Result<Text<'a>, usize> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) => Ok(Text { text, fields: self.fields }),
            Err(error) => {
                let bad = error.valid_up_to();
                Err(self.fields.iter().position(|field| bad < field.end).unwrap_or(0))
            }
        }
    }

    /// Whether the value at `index` has no characters.
    #[must_use]
    pub fn is_empty(&self, index: usize) -> bool {
        self.fields.get(index).is_none_or(|field| field.start == field.end)
    }

    /// Whether the value at `index` is in quotes.
    #[must_use]
    pub fn is_quoted(&self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.quoted)
    }

    /// The line where the record begins.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line where the value at `index` begins. Costs a look at the record.
    #[must_use]
    pub fn line_of(&self, index: usize) -> u64 {
        let start = self.fields.get(index).map_or(0, |field| field.start);
        self.line + newlines(self.bytes.get(..start).unwrap_or_default())
    }
}

/// A record that is UTF-8. The delimiter is ASCII, so its values are too.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    text: &'a str,
    fields: &'a [Field],
}

impl<'a> Text<'a> {
    /// The value at `index`, without its quotes; empty if there is none.
    #[must_use]
    pub fn value(&self, index: usize) -> &'a str {
        let field = self.fields.get(index);
        field.and_then(|field| self.text.get(field.start..field.end)).unwrap_or_default()
    }
}

/// Makes one quote of each two in the value. What becomes free behind it is filled with zeros, so
/// that counting lines in the record still works.
fn straighten(bytes: &mut [u8], field: &mut Field) {
    let Some(raw) = bytes.get_mut(field.start..field.end) else { return };
    let (mut from, mut to) = (0, 0);
    while let Some(&byte) = raw.get(from) {
        if let Some(place) = raw.get_mut(to) {
            *place = byte;
        }
        from += if byte == QUOTE { 2 } else { 1 };
        to += 1;
    }
    raw.get_mut(to..).unwrap_or_default().fill(0);
    field.end = field.start + to;
}

impl<R: Read> Reader<R> {
    /// Reads from `input`, which stands at `start`.
    pub fn new(input: R, delimiter: u8, start: Place) -> Self {
        Self::with_buffer(input, delimiter, start, BUFFER_BYTES)
    }

    /// The same, reading so many bytes at once, at least one. The buffer grows with the longest record.
    pub fn with_buffer(input: R, delimiter: u8, start: Place, bytes: usize) -> Self {
        Self {
            input,
            delimiter,
            buffer: vec![0; bytes.max(1)],
            at: 0,
            filled: 0,
            ended: false,
            next: start,
            fields: Vec::new(),
        }
    }

    /// Where the next record begins.
    #[must_use]
    pub fn place(&self) -> Place {
        self.next
    }

    /// The next record; `None` at the end of the input.
    ///
    /// # Errors
    /// The operating system's, or the place where the text is not CSV. After an error there is
    /// nothing more to be had.
    #[expect(clippy::should_implement_trait, reason = "a record borrows from its reader")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, CsvError> {
        if self.next == Place::START {
            self.pass_mark()?;
        }
        let (length, quoted) = loop {
            let rest = self.buffer.get(self.at..self.filled).unwrap_or_default();
            if rest.is_empty() && self.ended {
                return Ok(None);
            }
            self.fields.clear();
            match scan(rest, self.delimiter, self.ended, &mut self.fields) {
                Scanned::Record { length, quoted } => break (length, quoted),
                Scanned::More => self.fill()?,
                Scanned::Malformed { at, what } => {
                    let line = self.next.line + newlines(rest.get(..at).unwrap_or_default());
                    let field = self.fields.len();
                    return Err(CsvError::Malformed(Malformed { line, field, what }));
                }
            }
        };
        let bytes = self.buffer.get_mut(self.at..self.at + length).unwrap_or_default();
        for field in self.fields.iter_mut().filter(|field| field.doubled) {
            straighten(bytes, field);
        }
        let bytes = &*bytes;
        let line = self.next.line;
        // Without quotes there is one line end at most, and after an unended line nothing comes.
        self.next.line += if quoted { newlines(bytes) } else { 1 };
        self.next.offset += length as u64;
        self.at += length;
        Ok(Some(Record { bytes, fields: &self.fields, line }))
    }

    fn pass_mark(&mut self) -> Result<(), CsvError> {
        while self.filled < MARK.len() && !self.ended {
            self.fill()?;
        }
        if self.buffer.get(..self.filled).unwrap_or_default().starts_with(MARK) {
            self.at = MARK.len();
            self.next.offset = MARK.len() as u64;
        }
        Ok(())
    }

    /// Reads on until the buffer is full or the input has ended. The record under way moves to the
    /// front, or, if it fills the buffer, gets twice the room: so the scanner, which begins again,
    /// looks at each byte a bounded number of times.
    fn fill(&mut self) -> Result<(), CsvError> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        if self.filled == self.buffer.len() {
            if self.filled >= RECORD_BYTES_MAX {
                let malformed = Malformed { line: self.next.line, field: 0, what: TOO_LONG };
                return Err(CsvError::Malformed(malformed));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        while let Some(room) = self.buffer.get_mut(self.filled..).filter(|room| !room.is_empty()) {
            match self.input.read(room) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CsvError::Io(error)),
            }
        }
        Ok(())
    }
}

enum Scanned {
    /// A record of so many bytes, with its line end.
    Record {
        length: usize,
        quoted: bool,
    },
    /// The buffer ends before the record does.
    More,
    Malformed {
        at: usize,
        what: &'static str,
    },
}

/// Finds the first record in `bytes`, which go on unless `ended`.
fn scan(bytes: &[u8], delimiter: u8, ended: bool, fields: &mut Vec<Field>) -> Scanned {
    let mut at = 0;
    let mut any_quoted = false;
    loop {
        if bytes.get(at) == Some(&QUOTE) {
            any_quoted = true;
            let start = at + 1;
            let (end, doubled) = match closing_quote(bytes, start, ended) {
                Closing::At { end, doubled } => (end, doubled),
                Closing::More => return Scanned::More,
                Closing::Never => return Scanned::Malformed { at: start - 1, what: NO_QUOTE },
            };
            let field = Field { start, end, quoted: true, doubled };
            at = end + 1;
            let length = match (bytes.get(at), bytes.get(at + 1)) {
                (Some(&byte), _) if byte == delimiter => {
                    fields.push(field);
                    at += 1;
                    continue;
                }
                (Some(b'\n'), _) => at + 1,
                (Some(b'\r'), Some(b'\n')) => at + 2,
                (Some(b'\r'), None) if ended => at + 1,
                (None, _) if ended => at,
                (Some(b'\r') | None, None) => return Scanned::More,
                _ => return Scanned::Malformed { at, what: AFTER_QUOTE },
            };
            fields.push(field);
            return Scanned::Record { length, quoted: any_quoted };
        }
        let start = at;
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(found) = find(rest, [delimiter, b'\n', QUOTE]) else {
            if !ended {
                return Scanned::More;
            }
            let end = bytes.len() - usize::from(rest.ends_with(b"\r"));
            fields.push(Field { start, end, quoted: false, doubled: false });
            return Scanned::Record { length: bytes.len(), quoted: any_quoted };
        };
        at = start + found;
        let mut field = Field { start, end: at, quoted: false, doubled: false };
        match bytes.get(at) {
            Some(&byte) if byte == delimiter => {
                fields.push(field);
                at += 1;
            }
            Some(b'\n') => {
                if rest.get(..found).is_some_and(|value| value.ends_with(b"\r")) {
                    field.end -= 1;
                }
                fields.push(field);
                return Scanned::Record { length: at + 1, quoted: any_quoted };
            }
            _ => return Scanned::Malformed { at, what: STRAY_QUOTE },
        }
    }
}

enum Closing {
    At { end: usize, doubled: bool },
    More,
    Never,
}

fn closing_quote(bytes: &[u8], start: usize, ended: bool) -> Closing {
    let mut doubled = false;
    let mut at = start;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(found) = find(rest, [QUOTE; 3]) else {
            return if ended { Closing::Never } else { Closing::More };
        };
        let end = at + found;
        match bytes.get(end + 1) {
            Some(&QUOTE) => {
                doubled = true;
                at = end + 2;
            }
            None if !ended => return Closing::More,
            _ => return Closing::At { end, doubled },
        }
    }
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of each zero byte of `word`. Bytes above a zero byte may be marked wrongly, so only
/// the lowest mark counts.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Where the first of three bytes is.
#[inline]
fn find(bytes: &[u8], wanted: [u8; 3]) -> Option<usize> {
    // Spelled out: closures over arrays are not inlined without full optimization.
    let spread = |byte: u8| u64::from(byte).wrapping_mul(LOW);
    let (a, b, c) = (spread(wanted[0]), spread(wanted[1]), spread(wanted[2]));
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let marks = zero_bytes(word ^ a) | zero_bytes(word ^ b) | zero_bytes(word ^ c);
        if marks != 0 {
            return Some(number * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| wanted.contains(byte))?;
    Some(words.len() * 8 + at)
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
#[path = "csv_test.rs"]
mod csv_test;
