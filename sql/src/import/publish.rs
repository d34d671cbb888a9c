//! The end of an import: its span becomes the table's, in the batch that makes the job `succeeded`.
//!
//! The table was empty when the import was planned; rows that others wrote since then are in its other
//! spans. A key may live in one span only, so each of theirs is looked up in the imported span, under
//! the table latch, which keeps further writes out until the batch is in. A key that is in both fails
//! the job, never the foreground write. The same check runs once before, without the latch, so that an
//! import that has to fail does so without making anybody wait.
//!
//! Left out: remembering the keys that were written between the two checks. The check under the latch
//! looks at all rows, which is short because they were written in the time of one import.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use cairn_engine::{Claim, Engine, SpanFamily, SpanRef};
use cairn_jobs::{JobError, Result, ThreadContext};

use super::ImportKind;
use super::args::ImportArgs;
use super::merge::Duplicate;
use super::rows::{Encoder, failure};
use crate::catalog::{BulkSpan, Catalog, TableDescriptor};
use crate::error::SqlError;

/// Rows between two looks at the stop flag.
const ROWS_PER_LOOK: u64 = 256;

/// The table as it is now.
///
/// # Errors
/// 42P01 if it is gone.
pub(super) fn table(catalog: &Catalog, args: &ImportArgs) -> Result<Arc<TableDescriptor>> {
    catalog.current().table(args.table_id).cloned().ok_or_else(|| {
        let error =
            SqlError::no_such_table(&args.table).with_detail("It was dropped during the import.");
        failure(&error)
    })
}

/// Publishes the span of `claim`, or nothing if no rows were imported.
pub(super) fn publish(
    cx: &ThreadContext<ImportKind>,
    catalog: &Catalog,
    args: &ImportArgs,
    encoder: &Encoder,
    claim: &Claim,
) -> Result<()> {
    let holds = cx.recover(claim)?;
    let span = holds.bounds.map(|(first_key, last_key)| BulkSpan {
        id: claim.id,
        first_key,
        last_key,
        rows: holds.rows,
        bytes: holds.bytes,
    });
    let check = |tick: &dyn Fn() -> Result<()>| -> Result<()> {
        let table = table(catalog, args)?;
        match &span {
            Some(span) if !table.has_hidden_key() => {
                check_keys(cx.engine(), &table, span, encoder, tick)
            }
            _ => Ok(()),
        }
    };
    check(&|| cx.tick())?;
    cx.pause_point("import.before_publish")?;
    cx.engine().crash().point("import.before_publish")?;
    cx.publish(|publisher| {
        let latch = catalog.table_latch(args.table_id);
        let _alone = latch.write().unwrap_or_else(PoisonError::into_inner);
        let began = std::time::Instant::now();
        // Nobody can stop the job any more, so there is nothing to look at in between.
        check(&|| Ok(()))?;
        let kept: Vec<_> = span.iter().map(|span| span.id).collect();
        let published = catalog.change(
            |change| match span.clone() {
                Some(span) => change.add_span(args.table_id, span).map(|_| ()),
                None => Ok(()),
            },
            |batch| publisher.commit(batch, &kept),
        );
        let waited = began.elapsed().as_secs_f64();
        metrics::histogram!(cairn_engine::metrics::PUBLISH_SECONDS).record(waited);
        published
    })
}

/// Looks up the keys of the table's other spans in the imported one.
pub(super) fn check_keys(
    engine: &Engine,
    table: &TableDescriptor,
    imported: &BulkSpan,
    encoder: &Encoder,
    tick: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let view = engine.view();
    let target = SpanRef { id: imported.id, family: SpanFamily::Bulk };
    let bounds =
        (Bound::Included(&imported.first_key[..]), Bound::Included(&imported.last_key[..]));
    let spans = table.all_spans();
    let ids: Vec<_> = spans.iter().map(|span| span.id).chain([target.id]).collect();
    view.pin_only(&ids);
    for span in spans {
        let mut rows = view.scan(span, bounds.0, bounds.1, false)?;
        let mut seen = 0_u64;
        while let Some((key, _)) = rows.next()? {
            if seen.is_multiple_of(ROWS_PER_LOOK) {
                tick()?;
            }
            seen += 1;
            if view.get_row(target, key)?.is_some() {
                return Err(collision(encoder, key));
            }
        }
    }
    Ok(())
}

fn collision(encoder: &Encoder, key: &[u8]) -> JobError {
    match encoder.duplicate(&Duplicate::new(key, None, None)) {
        JobError::Failed(mut failure) => {
            let key = encoder.key_text(key);
            failure.detail =
                Some(format!("Key {key} was written to the table while the import ran."));
            failure.hint = Some(
                "The row in the table stays. Remove it, or the one in the files, and import again."
                    .to_owned(),
            );
            failure.into()
        }
        other => other,
    }
}
