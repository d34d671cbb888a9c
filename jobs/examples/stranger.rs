//! A job kind by a stranger, on `cairn-engine` and `cairn-jobs` alone: writes numbers into a span of its
//! own, survives restarts, and publishes. Cancel it and nothing is left.
//!
//! `cargo run --example stranger`

use cairn_engine::{Batch, Engine, Family, Kind, Options, SpanFamily};
use cairn_jobs::{Context, JobKind, Jobs, JobsOptions, NewJob, Result, State};

#[derive(Clone, PartialEq, prost::Message)]
struct Numbers {
    #[prost(uint64, tag = "1")]
    count: u64,
}

struct Count;

impl JobKind for Count {
    const NAME: &'static str = "COUNT";
    type Args = Numbers;
    type Checkpoint = Numbers;

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        let claim = match cx.claims().first() {
            Some(claim) => *claim,
            None => cx.claim_span(SpanFamily::Rows).await?,
        };
        let Some(span) = claim.span() else { return Ok(()) };
        let mut at = cx.checkpoint();
        while at.count < cx.args().count {
            let mut batch = Batch::new();
            batch.put_row(span, &at.count.to_be_bytes(), b"a number");
            at.count += 1;
            cx.commit(batch, &at).await?; // the row and the checkpoint, or neither
            cx.progress(|p| p.rows = at.count);
        }
        let mut catalog = Batch::new(); // ours: which span is visible
        catalog.put_record(Family::Catalog, b"numbers", Kind(0xC0), &span.id.raw().to_be_bytes());
        cx.publish(catalog, &[span.id]).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let engine = Engine::open(Options::new(folder.path()))?;
    let jobs = Jobs::open(&engine, JobsOptions::default())?;
    jobs.register(Count);
    jobs.start()?;
    let id = jobs.submit::<Count>(NewJob::new(Numbers { count: 1000 }, "count to 1000")).await?;
    let job = jobs.wait(id).await?;
    assert_eq!((job.state, job.rows), (State::Succeeded, 1000));
    jobs.shutdown().await;
    Ok(())
}
