//! How fast RocksDB writes what it flushes and compacts by itself. Pure: what is due goes in, a rate comes out.
//!
//! Nobody waits for a flush or a compaction before writers have to, and at full speed each of them takes a processor and its
//! share of the disk for up to a second: of two processors, more than a foreground at half of its peak can spare. So while
//! somebody reads or writes they go as slowly as they may, and the faster the more is due:
//!
//! | due | rate |
//! |---|---|
//! | what usual work leaves | [`LEAST`] |
//! | each file in level 0 above [`LEVEL0_USUAL`], each [`PENDING_UNIT`] that is to be compacted | twice that |
//! | [`LEVEL0_MOST`] files in level 0; two buffers that wait to be flushed, or one and the next half full; writers are held back | no limit |
//!
//! A rate that doubles settles where as much is compacted as becomes due. Buffers do not wait for that: a flush that is late stops all writers,
//! so what takes more than half of the time until then goes as fast as it can.
//!
//! That flushes and compactions follow what is due, apart from the rate of writing, is what `ScyllaDB`'s controllers do with shares of a
//! scheduler; there is none here, so it is bytes.

/// What RocksDB has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The most files that a family has in level 0, and the most bytes that one has to compact.
    pub(crate) level0_files: u64,
    pub(crate) pending_bytes: u64,
    /// The most full buffers that wait in a family, or are being flushed.
    pub(crate) buffers: u64,
    /// A family has one of those, and the next one is half full.
    pub(crate) filling: bool,
    /// Writers are slowed down, or stopped.
    pub(crate) writers_held: bool,
}

/// Bytes per second where nothing presses. They are written, so compressed: a buffer of 64 MiB takes a few seconds, and a foreground
/// that fills one in so few is no usual one.
pub(crate) const LEAST: u64 = 8 << 20;

/// Files in level 0 with which RocksDB begins to compact it.
const LEVEL0_USUAL: u64 = 4;

/// Far from those with which writers are slowed down, and fewer than the governor takes for a reason to halve its rates.
const LEVEL0_MOST: u64 = 8;

/// What is to be compacted after a few flushes of a small table is less, by RocksDB's estimate.
const PENDING_UNIT: u64 = 2 << 30;

/// The rate, in bytes per second; `None` for no limit. `present`: there is a foreground.
pub(crate) fn rate(due: &Due, present: bool) -> Option<u64> {
    let presses =
        due.level0_files >= LEVEL0_MOST || due.buffers >= 2 || due.filling || due.writers_held;
    if !present || presses {
        return None;
    }
    let doublings =
        due.level0_files.saturating_sub(LEVEL0_USUAL).max(due.pending_bytes / PENDING_UNIT);
    // The limit that RocksDB has for these bytes is 32 units.
    let doublings = u32::try_from(doublings).unwrap_or(u32::MAX).min(32);
    Some(LEAST << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_foreground_there_is_no_limit() {
        assert_eq!(rate(&Due::default(), false), None);
    }

    #[test]
    fn what_usual_work_leaves_goes_slowly() {
        assert_eq!(rate(&Due::default(), true), Some(LEAST));
        let usual = Due { level0_files: 4, pending_bytes: 1 << 30, buffers: 1, ..Due::default() };
        assert_eq!(rate(&usual, true), Some(LEAST));
    }

    #[test]
    fn the_more_is_due_the_faster_it_goes() {
        let level0 = |level0_files| rate(&Due { level0_files, ..Due::default() }, true);
        assert_eq!([5, 6, 7].map(level0), [2, 4, 8].map(|times| Some(times * LEAST)));
        assert_eq!(level0(8), None);
        let pending = |gib: u64| rate(&Due { pending_bytes: gib << 30, ..Due::default() }, true);
        assert_eq!(pending(6), Some(8 * LEAST));
        assert_eq!(pending(1 << 30), Some(LEAST << 32), "no shift is too far");
    }

    #[test]
    fn a_late_flush_does_not_wait() {
        let of = |buffers, filling| Due { buffers, filling, ..Due::default() };
        assert_eq!(rate(&of(1, false), true), Some(LEAST));
        assert_eq!(rate(&of(1, true), true), None);
        assert_eq!(rate(&of(2, false), true), None);
        assert_eq!(rate(&Due { writers_held: true, ..Due::default() }, true), None);
    }
}
