//! A kind of job that does nothing but write: sorted rows into a span of its own, as fast as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_engine::{Batch, Claim, Class, SpanFamily, SpanWriter};
use cairn_jobs::{Context, JobKind, Result, ThreadContext};
use cairn_tests::Random;

/// Bytes for which budget is taken at once.
const BUDGET_BYTES: u64 = 1 << 20;

/// Rows between two looks at the stop flag.
const ROWS_PER_LOOK: u64 = 256;

/// What to write.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rows {
    #[prost(uint64, tag = "1")]
    pub(super) seed: u64,
    /// Batches after which it has enough.
    #[prost(uint64, tag = "2")]
    pub(super) batches: u64,
    /// A batch ends with so many bytes or rows, whichever is reached first.
    #[prost(uint64, tag = "3")]
    pub(super) batch_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub(super) batch_rows: u64,
    #[prost(uint64, tag = "5")]
    pub(super) value_bytes: u64,
    /// Once it has enough, it waits to be cancelled instead of publishing.
    #[prost(bool, tag = "6")]
    pub(super) waits: bool,
}

/// How far the job that runs now is. One job at a time.
#[derive(Clone, Default)]
pub(super) struct Written {
    bytes: Arc<AtomicU64>,
    batches: Arc<AtomicU64>,
}

impl Written {
    /// Before the next job.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.batches.store(0, Ordering::Relaxed);
    }

    /// Bytes of rows that were put, ingested or not.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Batches that were ingested.
    pub(super) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}

/// The kind.
pub(super) struct LoadKind(pub(super) Written);

impl JobKind for LoadKind {
    const NAME: &'static str = "LOAD";
    type Args = Rows;
    type Checkpoint = ();

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        let claim = cx.claim_span(SpanFamily::Bulk).await?;
        let written = self.0.clone();
        cx.on_thread(move |cx| write(cx, &claim, &written)).await?;
        if cx.args().waits {
            return Err(cx.stopped().await.into());
        }
        cx.publish(Batch::new(), &[claim.id]).await
    }
}

fn write(cx: &ThreadContext<LoadKind>, claim: &Claim, written: &Written) -> Result<()> {
    let rows = cx.args();
    let mut random = Random::new(rows.seed);
    let mut value = vec![0; usize::try_from(rows.value_bytes).unwrap_or(200)];
    let (mut row, mut budget) = (0_u64, 0);
    for number in 0..rows.batches {
        let mut writer = SpanWriter::create(cx.engine(), claim, number)?;
        while writer.bytes() < rows.batch_bytes && writer.rows() < rows.batch_rows {
            if row.is_multiple_of(ROWS_PER_LOOK) {
                cx.tick()?;
            }
            if budget < rows.value_bytes {
                cx.take_budget(Class::Ingest, BUDGET_BYTES)?;
                budget += BUDGET_BYTES;
                written.bytes.fetch_add(BUDGET_BYTES, Ordering::Relaxed);
            }
            budget = budget.saturating_sub(rows.value_bytes);
            random.fill(&mut value);
            writer.put(&row.to_be_bytes(), &value)?;
            row += 1;
        }
        let staged = writer.finish()?;
        cx.ingest(claim, &staged, &())?;
        written.batches.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
