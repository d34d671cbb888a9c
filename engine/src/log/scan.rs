//! Reading the files of RocksDB's log, to tell whether something is missing from them.
//!
//! A file is a sequence of blocks of 32 KiB (`db/log_format.h`, `db/log_reader.cc`); less than seven bytes at the
//! end of a block are not used.
//!
//! ```text
//! fragment   checksum u32 | length u16 | type u8 | payload     integers little-endian; CRC-32C of type and payload, masked
//! type       1 a whole batch   2 its first part   3 one in the middle   4 its last
//! batch      sequence u64 | count u32 | changes                the changes have the numbers sequence .. sequence + count
//! ```
//!
//! RocksDB ends its recovery at the first fragment that is not as it was written, as after a loss of power that is where
//! the log ends: what follows was not synced. It cannot know better, and we can: see [`crate::log::mark`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::{Result, io_error};

pub(crate) const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

/// Of fragments in a file that was used for another log before: the header is followed by the log's number.
const RECYCLED_HEADER: usize = HEADER + 4;

/// Of a batch: sequence and count.
const BATCH_HEADER: usize = 12;

/// What RocksDB adds to a checksum, so that a checksum of data that has checksums in it is a good one, too.
const MASK: u32 = 0xa282_ead8;

/// A place in a file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
}

/// What the files of a log hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The last sequence number before the first bad place.
    pub(crate) last: Option<u64>,
    /// Where a fragment, or the rest of a batch, is not as it was written.
    pub(crate) bad: Option<Place>,
    /// The first sequence number of a whole batch behind the bad place.
    pub(crate) behind: Option<u64>,
    /// There is something that we cannot read: compressed batches, reused files.
    pub(crate) foreign: bool,
}

/// What a log tells about a sequence number that was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in the log, or the log tells nothing.
    Whole,
    /// It was in the log, and can be read no more.
    Damaged(Place),
    /// It is in the sorted files, or lost.
    Flushed,
}

impl Scan {
    /// Reads the files in the order of their numbers, until it is known what is behind the first bad place. A file that
    /// is gone meanwhile is passed over.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(files: &[PathBuf]) -> Result<Self> {
        let mut scan = Self::default();
        for path in files {
            let read = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.and_then(|file| scan.read(path, file)),
            };
            read.map_err(|source| io_error("read", path, source))?;
            if scan.foreign || scan.behind.is_some() {
                break;
            }
        }
        Ok(scan)
    }

    /// What is known of `synced`, the last sequence number that was synced; 0 for none.
    ///
    /// The files are those of one life of the store that the database needs, so what comes later in them was synced later, and a
    /// sync of a later file syncs those before it. Files go in their order once all that is in them is in sorted files. So behind
    /// a batch that is there nothing is in sorted files only; but all of a log whose first batch is not there may be. A whole file
    /// that is missing before the last is not noticed.
    pub(crate) fn verdict(&self, synced: u64) -> Verdict {
        if synced == 0 || self.foreign || self.last.is_some_and(|last| last >= synced) {
            return Verdict::Whole;
        }
        match &self.bad {
            Some(place)
                if self.last.is_some() || self.behind.is_some_and(|behind| behind <= synced) =>
            {
                Verdict::Damaged(place.clone())
            }
            _ => Verdict::Flushed,
        }
    }

    pub(crate) fn read(&mut self, path: &Path, mut file: impl Read) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let (mut offset, mut batch) = (0_u64, None);
        loop {
            let length = read_block(&mut file, &mut block)?;
            let mut rest = block.get(..length).unwrap_or_default();
            while rest.len() >= HEADER {
                let at = offset + (length - rest.len()) as u64;
                let taken = match Fragment::first_of(rest) {
                    Some(Fragment::Foreign) => {
                        self.foreign = true;
                        return Ok(());
                    }
                    Some(Fragment::Ignored { bytes }) => Some(bytes),
                    Some(Fragment::Part { kind, payload }) => {
                        self.take(kind, payload, at, &mut batch).map(|()| HEADER + payload.len())
                    }
                    None => None,
                };
                let Some(bytes) = taken else {
                    // The length of what is bad tells nothing, so what is read next is the next block.
                    self.note_bad(path, at);
                    (batch, rest) = (None, &[]);
                    break;
                };
                if self.behind.is_some() {
                    return Ok(());
                }
                rest = rest.get(bytes..).unwrap_or_default();
            }
            if length < BLOCK {
                if !rest.is_empty() {
                    self.note_bad(path, offset + (length - rest.len()) as u64);
                }
                if let Some(Begun { at, .. }) = batch {
                    self.note_bad(path, at);
                }
                return Ok(());
            }
            offset += BLOCK as u64;
        }
    }

    /// Adds a part to the batch that was begun. `None` if it is not what comes next, which says nothing behind a bad
    /// place.
    fn take(&mut self, kind: Part, part: &[u8], at: u64, begun: &mut Option<Begun>) -> Option<()> {
        let is_ours = match (kind, begun.as_mut()) {
            (Part::Whole | Part::First, None) => {
                *begun = Some(Begun { at, header: Vec::with_capacity(BATCH_HEADER) });
                true
            }
            (Part::Middle | Part::Last, Some(_)) => true,
            (Part::Middle | Part::Last, None) => false,
            (Part::Whole | Part::First, Some(_)) => return None,
        };
        if !is_ours {
            return self.bad.is_some().then_some(());
        }
        let batch = begun.as_mut()?;
        let missing = BATCH_HEADER - batch.header.len();
        batch.header.extend(part.iter().take(missing));
        if matches!(kind, Part::Whole | Part::Last) {
            let (first, count) = begun.take()?.numbers()?;
            if self.bad.is_some() {
                self.behind = self.behind.or(Some(first));
            } else if count > 0 {
                self.last = Some(first.saturating_add(u64::from(count) - 1));
            }
        }
        Some(())
    }

    fn note_bad(&mut self, file: &Path, offset: u64) {
        self.bad.get_or_insert_with(|| Place { file: file.to_path_buf(), offset });
    }
}

/// A batch of which not all parts were read.
struct Begun {
    at: u64,
    header: Vec<u8>,
}

impl Begun {
    /// Sequence and count.
    fn numbers(&self) -> Option<(u64, u32)> {
        let (sequence, count) = self.header.split_first_chunk()?;
        Some((u64::from_le_bytes(*sequence), u32::from_le_bytes(*count.first_chunk()?)))
    }
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    First,
    Middle,
    Last,
}

enum Fragment<'a> {
    Part {
        kind: Part,
        payload: &'a [u8],
    },
    /// About the log, not of it.
    Ignored {
        bytes: usize,
    },
    Foreign,
}

impl<'a> Fragment<'a> {
    /// The fragment at the beginning of the rest of a block; `None` if it is not as it was written.
    fn first_of(rest: &'a [u8]) -> Option<Self> {
        let checksum = u32::from_le_bytes(*rest.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*rest.get(4..)?.first_chunk()?));
        let kind = *rest.get(6)?;
        // Compressed batches (9) and what files that were used before have in them.
        let is_recycled = matches!(kind, 5..=8 | 11 | 131);
        let header = if is_recycled { RECYCLED_HEADER } else { HEADER };
        let covered = rest.get(6..header.checked_add(length)?)?;
        let sum = crc32c::crc32c(covered).rotate_right(15).wrapping_add(MASK);
        if sum != checksum {
            return None;
        }
        let payload = covered.get(1..)?;
        Some(match kind {
            1 => Self::Part { kind: Part::Whole, payload },
            2 => Self::Part { kind: Part::First, payload },
            3 => Self::Part { kind: Part::Middle, payload },
            4 => Self::Part { kind: Part::Last, payload },
            // Sizes of time stamps; and what may be passed over, as RocksDB marks it.
            10 => Self::Ignored { bytes: header + length },
            130.. if !is_recycled => Self::Ignored { bytes: header + length },
            _ => Self::Foreign,
        })
    }
}

/// Fills a block, or what the file has left.
fn read_block(file: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(bytes) => length += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
