//! A stranger's fuzz target: bytes become what happens to jobs of a kind. Whatever happens, every job ends, and nothing
//! of it is left.
//!
//! `cargo run --example fuzz_target --features testkit` tries a few inputs. Under `cargo fuzz` the target is one line:
//!
//! ```text
//! libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz(bytes));
//! ```

use std::collections::BTreeMap;

use cairn_engine::{Batch, SpanFamily};
use cairn_jobs::testkit::TestJobs;
use cairn_jobs::{Context, ControlOptions, JobKind, NewJob, Result, State};

#[derive(Clone, PartialEq, prost::Message)]
struct Numbers {
    #[prost(uint64, tag = "1")]
    count: u64,
}

/// Writes numbers into a span of its own, and publishes nothing.
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
            cx.commit(batch, &at).await?;
            cx.progress(|p| p.rows = at.count);
        }
        Ok(())
    }
}

/// Each byte is one thing that happens.
async fn happen(bytes: &[u8]) {
    let mut test = TestJobs::in_memory(|jobs| jobs.register(Count)).await;
    let mut ids = Vec::new();
    for byte in bytes {
        let (what, number) = (byte % 6, byte / 6);
        let by = ControlOptions::by("fuzz");
        let id = ids.get(usize::from(number) % ids.len().max(1)).copied();
        // Refusals are answers like any other; a dead store refuses everything.
        match (what, id) {
            (0, _) => {
                let new = NewJob::new(Numbers { count: number.into() }, "count");
                ids.extend(test.jobs().submit::<Count>(new).await.ok());
            }
            (1, Some(id)) => drop(test.jobs().pause(&[id], by).await),
            (2, Some(id)) => drop(test.jobs().resume(&[id], by).await),
            (3, Some(id)) => drop(test.jobs().cancel(&[id], by).await),
            // Dies at the nth durable step from now.
            (4, _) => test.engine().crash().arm_any(u32::from(number) + 1),
            (5, _) => test.reopen().await,
            _ => {}
        }
    }
    // Whatever it was: open again, let everything go on to its end.
    test.reopen().await;
    for job in test.jobs().list().await.expect("jobs can be listed") {
        let mut job = job;
        while !job.state.is_terminal() {
            let _ = test.jobs().resume(&[job.id], ControlOptions::by("fuzz")).await;
            job = test.wait(job.id).await;
        }
        assert!(matches!(job.state, State::Succeeded | State::Canceled), "{job:?}");
    }
    test.assert_clean(&BTreeMap::new()).await;
    if let Some(id) = ids.first() {
        test.assert_no_write_after_terminal(*id).await;
    }
}

/// The body of the target.
fn fuzz(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(happen(bytes));
}

fn main() {
    let inputs: [&[u8]; 5] = [
        &[],
        &[0, 6, 60],
        &[60, 1, 2, 3],
        &[60, 66, 4, 72, 5, 3, 9],
        &[240, 5, 15, 28, 60, 5, 1, 5, 2],
    ];
    inputs.into_iter().for_each(fuzz);
}
