//! What to do next with a tombstone. Pure: a survey of the store goes in, one step comes out.
//!
//! ```text
//!            views closed?          staging gone?           dropped files gone from the disk?
//! Waiting --------------> Staging --------------> Files <------+
//!                                                  | ^  busy   |
//!                                                  | +---------+
//!                                    nothing left  |  any key or file left?
//!                            Trash <---------------+---> RangeDeletion
//!                              |                            | snapshots older than it closed?
//!                              |  <------- nothing left --- Compaction, unit by unit
//!                              v
//!                            Done
//! ```
//!
//! # The order rule
//!
//! Files go first. A range deletion lives in a file like any key; if that file is dropped while an
//! older file with the same keys survives (in level 0, busy, shared), the keys come back. So once a
//! range deletion over the span may be in the store, every later file deletion is followed by a fresh
//! one in the same pass, before anything is reported as empty. "May be in the store" survives a restart by
//! being assumed: a pass that finds anything after its file deletion writes one.
//!
//! # Busy files
//!
//! File deletion passes over files that a compaction reads. What that compaction writes lies inside the
//! span again and can be dropped then, so it is waited for, some times, before a range deletion is
//! written: a range deletion would make compactions read what could simply be dropped.
//!
//! # Snapshots
//!
//! A compaction keeps every key that a snapshot can see. While one is open that is older than the
//! range deletion, compacting is work for nothing: it waits.
//!
//! Every step is idempotent and decided from what is really there, so a crash anywhere repeats a
//! step and harms nothing.

/// How often files that are busy are tried again before a range deletion is written instead.
pub(crate) const DROPS_MAX: u32 = 20;

/// What the reclaimer sees before a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// A view opened before the condemnation may still read the span.
    pub(crate) pinned: bool,
    /// The staging folder exists.
    pub(crate) staging: bool,
    /// The tombstone covers keys, not only a folder.
    pub(crate) has_keys: bool,
    /// Files wholly inside, above level 0.
    pub(crate) droppable: usize,
    /// Files that can only go by compaction: in level 0, holding keys of the span alone.
    pub(crate) stuck: usize,
    /// A key of the span is readable.
    pub(crate) visible: bool,
    /// A key of the span is stored, though a range deletion may hide it.
    pub(crate) stored: bool,
    /// A snapshot older than the range deletion of this pass is open.
    pub(crate) snapshot: bool,
    /// Files of our own trash that nobody else has a link to: they can be cut.
    pub(crate) cuttable: usize,
    /// Other dropped files whose blocks are not yet given back.
    pub(crate) trash_files: usize,
}

/// How far this process has come in the current pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How often files were dropped in this pass.
    pub(crate) drops: u32,
    /// A range deletion was written after the last file deletion of this pass, and flushed.
    pub(crate) range_deleted: bool,
    /// Files were dropped after some range deletion was written: keys may have come back.
    pub(crate) dropped_after_range: bool,
}

/// One step of reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait until the views that pin the span close.
    WaitForViews,
    /// Remove the staging folder, in paced steps.
    RemoveStaging,
    /// Drop the files that lie inside the span.
    DropFiles,
    /// Write one synced range deletion over the span and flush it.
    DeleteRange,
    /// Wait until the snapshots close that see what the range deletion hides.
    WaitForSnapshots,
    /// Compact one unit of what is left.
    Compact,
    /// Cut one file of our own trash until it is gone.
    CutTrash,
    /// Wait until dropped files are gone from the disk.
    WaitForTrash,
    /// Nothing is left: remove the tombstone.
    Finish,
}

/// The next step.
pub(crate) fn next_step(survey: Survey, pass: Pass) -> Step {
    if survey.pinned {
        return Step::WaitForViews;
    }
    if survey.staging {
        return Step::RemoveStaging;
    }
    if !survey.has_keys {
        return Step::Finish;
    }
    let busy = survey.droppable > 0 && !pass.range_deleted && pass.drops < DROPS_MAX;
    if pass.drops == 0 || busy {
        return Step::DropFiles;
    }
    let left = survey.visible || survey.stored || survey.droppable > 0 || survey.stuck > 0;
    if (left || pass.dropped_after_range) && !pass.range_deleted {
        return Step::DeleteRange;
    }
    if left && survey.snapshot {
        return Step::WaitForSnapshots;
    }
    if left {
        return Step::Compact;
    }
    if survey.cuttable > 0 {
        return Step::CutTrash;
    }
    if survey.trash_files > 0 {
        return Step::WaitForTrash;
    }
    Step::Finish
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Survey = Survey {
        pinned: false,
        staging: false,
        has_keys: true,
        droppable: 0,
        stuck: 0,
        visible: false,
        stored: false,
        snapshot: false,
        cuttable: 0,
        trash_files: 0,
    };
    const FRESH: Pass = Pass { drops: 0, range_deleted: false, dropped_after_range: false };

    #[test]
    fn the_usual_case_is_files_then_trash_then_done_without_a_range_deletion() {
        assert_eq!(
            next_step(Survey { droppable: 40, visible: true, ..KEYS }, FRESH),
            Step::DropFiles
        );
        let dropped = Pass { drops: 1, ..FRESH };
        assert_eq!(next_step(Survey { trash_files: 40, ..KEYS }, dropped), Step::WaitForTrash);
        assert_eq!(next_step(KEYS, dropped), Step::Finish);
    }

    #[test]
    fn a_pinned_span_is_left_alone_before_anything_else() {
        let pinned = Survey { pinned: true, staging: true, droppable: 3, ..KEYS };
        assert_eq!(next_step(pinned, FRESH), Step::WaitForViews);
    }

    #[test]
    fn leftovers_take_the_road_of_range_deletion_and_compaction() {
        let left = Survey { stuck: 1, visible: true, stored: true, ..KEYS };
        let dropped = Pass { drops: 1, ..FRESH };
        assert_eq!(next_step(left, dropped), Step::DeleteRange);
        let hidden = Survey { visible: false, ..left };
        let deleted = Pass { range_deleted: true, ..dropped };
        assert_eq!(next_step(hidden, deleted), Step::Compact);
    }

    #[test]
    fn files_dropped_after_a_range_deletion_are_followed_by_a_fresh_one() {
        let again = Pass { drops: 1, range_deleted: false, dropped_after_range: true };
        assert_eq!(next_step(KEYS, again), Step::DeleteRange);
        assert_eq!(next_step(KEYS, Pass { range_deleted: true, ..again }), Step::Finish);
    }

    #[test]
    fn nothing_is_finished_while_a_key_is_stored() {
        for pass in [FRESH, Pass { drops: 1, range_deleted: true, ..FRESH }] {
            let stored = Survey { stored: true, ..KEYS };
            assert!(!matches!(next_step(stored, pass), Step::Finish | Step::WaitForTrash));
        }
    }

    #[test]
    fn busy_files_are_tried_again_before_a_range_deletion_is_paid_for() {
        let busy = Survey { droppable: 2, stored: true, visible: true, ..KEYS };
        for drops in 0..DROPS_MAX {
            assert_eq!(next_step(busy, Pass { drops, ..FRESH }), Step::DropFiles);
        }
        let patient = Pass { drops: DROPS_MAX, ..FRESH };
        assert_eq!(next_step(busy, patient), Step::DeleteRange);
        let deleted = Pass { range_deleted: true, ..patient };
        assert_eq!(next_step(busy, deleted), Step::Compact, "what it hides goes by compaction");
    }

    #[test]
    fn nothing_is_compacted_while_a_snapshot_would_keep_it() {
        let hidden = Survey { stuck: 1, stored: true, snapshot: true, ..KEYS };
        let deleted = Pass { drops: 1, range_deleted: true, ..FRESH };
        assert_eq!(next_step(hidden, deleted), Step::WaitForSnapshots);
        assert_eq!(next_step(Survey { snapshot: false, ..hidden }, deleted), Step::Compact);
        let empty = Survey { snapshot: true, ..KEYS };
        assert_eq!(next_step(empty, deleted), Step::Finish, "then it does not matter");
    }

    #[test]
    fn our_own_trash_is_cut_before_anybody_elses_is_waited_for() {
        let trash = Survey { cuttable: 1, trash_files: 1, ..KEYS };
        let dropped = Pass { drops: 1, ..FRESH };
        assert_eq!(next_step(trash, dropped), Step::CutTrash);
        assert_eq!(next_step(Survey { cuttable: 0, ..trash }, dropped), Step::WaitForTrash);
    }

    #[test]
    fn a_scratch_folder_ends_with_its_folder() {
        let scratch = Survey { has_keys: false, staging: true, ..KEYS };
        assert_eq!(next_step(scratch, FRESH), Step::RemoveStaging);
        assert_eq!(next_step(Survey { staging: false, ..scratch }, FRESH), Step::Finish);
    }
}
