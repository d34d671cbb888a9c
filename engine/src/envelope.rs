//! The envelope of every value outside the families `rows` and `bulk`.
//!
//! | offset | field | |
//! |---|---|---|
//! | 0 | magic | `0xCA` |
//! | 1 | version | `1` |
//! | 2 | kind | which record it is, see [`kind`] |
//! | 3 | reserved | `0` |
//! | 4 | body length | u32, little-endian |
//! | 8 | body | |
//! | 8 + n | CRC-32 | u32, little-endian, over family name, key, and bytes 0 to 8 + n |
//!
//! The checksum covers the family and the key, so a good record under a wrong key is damage too.
//! [`open`] is the only door for stored bytes: total, and strict enough that exactly one byte
//! string opens to each record. What is in the body is the business of whoever owns the kind.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::error::Corruption;
use crate::family::Family;

const MAGIC: u8 = 0xCA;
const VERSION: u8 = 1;
const HEADER: usize = 8;
const CHECKSUM: usize = 4;

/// Which record a value is. The constants are in [`kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// The name in the registry; `None` if this release does not know the kind.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        if self >= kind::FIRST_OF_EMBEDDERS {
            return Some("a record of the embedder");
        }
        kind::ALL.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }
}

/// The registry of record kinds of all crates. A number, once shipped, is never reused.
///
/// `0x01..` engine, `0x20..` jobs, `0x40..` sql, `0xC0..` whoever embeds the engine.
pub mod kind {
    use super::Kind;

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
            $($(#[$doc])* pub const $name: Kind = Kind($number);)*

            /// Every kind with its name for people.
            pub const ALL: &[(Kind, &str)] = &[$(($name, $text)),*];
        };
    }

    /// Kinds from here on are never given a meaning by Cairn: an embedder may use them.
    pub const FIRST_OF_EMBEDDERS: Kind = Kind(0xC0);

    kinds! {
        /// engine, `catalog`: the format version of the store.
        FORMAT = 0x01, "format";
        /// engine, `claims`: the first span id that was never handed out.
        COUNTER = 0x02, "counter";
        /// engine, `claims`: what an owner is going to write.
        CLAIM = 0x03, "claim";
        /// engine, `claims`: the batch that may be under way.
        INTENT = 0x04, "intent";
        /// engine, `claims`: what has been ingested so far.
        MARK = 0x05, "mark";
        /// engine, `tombstones`: what is to be removed.
        TOMBSTONE = 0x06, "tombstone";

        /// jobs, `jobs`: state, epoch and all that decides what happens next.
        JOB_CONTROL = 0x20, "job control";
        /// jobs, `jobs`: the arguments of a job, immutable.
        JOB_PAYLOAD = 0x21, "job payload";
        /// jobs, `progress`: how far a job is, for people.
        JOB_PROGRESS = 0x22, "job progress";
        /// jobs, `progress`: where a job goes on after a restart.
        JOB_CHECKPOINT = 0x23, "job checkpoint";
        /// jobs, `history`: one thing that happened to a job.
        JOB_HISTORY = 0x24, "job history";
        /// jobs, `catalog`: a cluster setting that was changed.
        SETTING = 0x25, "setting";

        /// sql, `catalog`: a database descriptor.
        DATABASE = 0x40, "database descriptor";
        /// sql, `catalog`: a schema descriptor.
        SCHEMA = 0x41, "schema descriptor";
        /// sql, `catalog`: a table descriptor.
        TABLE = 0x42, "table descriptor";
        /// sql, `catalog`: a name reservation.
        NAME = 0x43, "name";
        /// sql, `catalog`: a user or role.
        USER = 0x44, "user";
        /// sql, `catalog`: one user is a member of one role.
        ROLE_MEMBERSHIP = 0x45, "role membership";
        /// sql, `catalog`: statistics of a table.
        STATISTICS = 0x46, "statistics";
        /// sql, in files of a scratch claim: rows of a sorted run.
        RUN_BLOCK = 0x47, "block of a sorted run";
    }
}

/// Seals `body` for its place in the store.
///
/// # Panics
/// If the body has 4 GiB or more: RocksDB does not take such values either.
#[must_use]
pub fn seal(family: Family, key: &[u8], kind: Kind, body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len()).expect("a record body is smaller than 4 GiB");
    let mut out = BytesMut::with_capacity(HEADER + body.len() + CHECKSUM);
    out.put_slice(&[MAGIC, VERSION, kind.0, 0]);
    out.put_u32_le(length);
    out.put_slice(body);
    let sum = checksum(family, key, &out);
    out.put_u32_le(sum);
    out.freeze()
}

/// Opens what [`seal`] made. Total: every byte string gets an answer.
///
/// # Errors
/// [`Corruption`], with what was expected, if the bytes are anything else than what `seal` makes for
/// this place and a kind of this release.
pub fn open<'a>(
    family: Family,
    key: &[u8],
    bytes: &'a [u8],
) -> Result<(Kind, &'a [u8]), Corruption> {
    let damage = |expected: &str| Corruption::new(family, key, expected);
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(damage("at least 12 bytes"));
    };
    let Some((body, sum)) = rest.split_last_chunk::<CHECKSUM>() else {
        return Err(damage("at least 12 bytes"));
    };
    let [magic, version, number, reserved, l0, l1, l2, l3] = *header;
    if magic != MAGIC {
        return Err(damage("magic byte ca"));
    }
    if version != VERSION {
        return Err(damage("envelope version 1"));
    }
    if reserved != 0 {
        return Err(damage("a reserved byte of zero"));
    }
    if u32::try_from(body.len()) != Ok(u32::from_le_bytes([l0, l1, l2, l3])) {
        return Err(damage("a body of the stated length"));
    }
    let covered = bytes.len() - CHECKSUM;
    if checksum(family, key, bytes.get(..covered).unwrap_or_default()) != u32::from_le_bytes(*sum) {
        return Err(damage("a checksum that matches"));
    }
    let kind = Kind(number);
    if kind.name().is_none() {
        return Err(damage("a kind of record that this release knows"));
    }
    Ok((kind, body))
}

fn checksum(family: Family, key: &[u8], header_and_body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(family.name().as_bytes());
    crc.update(key);
    crc.update(header_and_body);
    crc.finalize()
}

#[cfg(test)]
#[path = "envelope_test.rs"]
mod tests;
