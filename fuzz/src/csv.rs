//! The CSV reader.

use std::io::{self, Read};

use cairn_sql::csv::{CsvError, Place, Reader};

/// Strategy: the first byte is the delimiter, the second the size of the read buffer, the third how many bytes
/// the input hands out at a time; the rest is the file. It is read whole, read in pieces, and read again from
/// places that were reported.
/// Invariants: no panic; the buffer and the pieces change nothing; offsets grow, lines never fall, and both end
/// where the file does; reading from a reported place gives the rest of the records, or the same error.
pub fn csv(data: &[u8]) {
    let [delimiter, buffer, step, file @ ..] = data else { return };
    let whole = read(file, *delimiter, Place::START, 1 << 13, 1 << 13);
    let pieces = read(file, *delimiter, Place::START, (*buffer).into(), (*step).into());
    assert_eq!(pieces, whole);
    let mut before = Place::START;
    for at in &whole.places {
        assert!(at.offset > before.offset && at.line >= before.line, "{before:?}, then {at:?}");
        before = *at;
    }
    if whole.error.is_none() && !whole.records.is_empty() {
        assert_eq!(before.offset, file.len() as u64);
    }
    // All of a short file, and here and there in a long one: reading again and again takes long.
    for number in (0..whole.places.len()).step_by(1 + whole.places.len() / 16) {
        let rest = read(file, *delimiter, whole.places[number], (*buffer).into(), 1 << 13);
        assert_eq!(rest.records, whole.records[number + 1..]);
        assert_eq!(rest.error, whole.error);
    }
}

#[derive(Debug, PartialEq)]
struct Found {
    /// Line of the record, and its values: text, line, in quotes. No text if it is not UTF-8.
    records: Vec<(u64, Vec<(String, u64, bool)>)>,
    /// Where the next record begins, after each.
    places: Vec<Place>,
    error: Option<(u64, usize, &'static str)>,
}

fn read(file: &[u8], delimiter: u8, start: Place, buffer: usize, step: usize) -> Found {
    let rest = usize::try_from(start.offset).ok().and_then(|offset| file.get(offset..));
    let input = Drip { rest: rest.expect("a place is in the file"), step: step.max(1) };
    let mut reader = Reader::with_buffer(input, delimiter, start, buffer);
    let mut found = Found { records: Vec::new(), places: Vec::new(), error: None };
    loop {
        match reader.next() {
            Ok(None) => return found,
            Ok(Some(record)) => {
                assert!(record.len() > 0);
                let text = record.text();
                let value = |index: usize| match &text {
                    Ok(text) => text.value(index).to_owned(),
                    Err(bad) => {
                        assert!(*bad < record.len());
                        String::new()
                    }
                };
                let values = (0..record.len())
                    .map(|index| (value(index), record.line_of(index), record.is_quoted(index)));
                found.records.push((record.line(), values.collect()));
                found.places.push(reader.place());
            }
            Err(CsvError::Malformed(malformed)) => {
                found.error = Some((malformed.line, malformed.field, malformed.what));
                return found;
            }
            Err(CsvError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Hands out a few bytes at a time.
struct Drip<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(out.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(count);
        out[..count].copy_from_slice(now);
        self.rest = later;
        Ok(count)
    }
}
