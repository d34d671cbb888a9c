//! A job kind that does what its argument says, word by word, and goes on at its checkpoint.
//!
//! `rows` and `bulk` claim a span, `scratch` a folder with a file. `put:n` commits n rows, one by one;
//! `save:n` keeps n checkpoints; `ingest:n` ingests n batches of ten rows. `hold` waits to be stopped,
//! `spin` does so on a thread that computes, `block` ignores every stop until it is released. `fail`,
//! `panic`, `retry:n` (the first n attempts fail), `fraction:f`, `never` (cannot be cancelled), `at:p`
//! (pause point p), `stray` (writes without a claim), `publish`. `leak` leaves a task that writes row after row
//! for as long as it may, and returns; `leak:hold` waits to be stopped beside it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use cairn_engine::{Batch, Claim, Engine, Family, Kind, SpanFamily, SpanId, SpanRef, SpanWriter};

use crate::testkit::{Conforms, TestJobs};
use crate::{
    Context, JobError, JobId, JobKind, Jobs, NewJob, Policy, Result, State, ThreadContext,
    UndoContext,
};

/// Our catalog: one record per published span.
const PUBLISHED: Kind = Kind(0xC0);
const PREFIX: &[u8] = b"published";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Args {
    #[prost(string, tag = "1")]
    pub(super) words: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct At {
    /// Words that are done.
    #[prost(uint32, tag = "1")]
    pub(super) word: u32,
    /// Repetitions of the next word that are done.
    #[prost(uint64, tag = "2")]
    pub(super) times: u64,
    /// Rows written so far.
    #[prost(uint64, tag = "3")]
    pub(super) rows: u64,
}

/// Lets blocked workers go, and counts what happened.
#[derive(Debug, Default)]
pub(super) struct Stage {
    released: Mutex<bool>,
    changed: Condvar,
    /// Workers that block now.
    pub(super) blocked: AtomicU32,
    /// Leaked tasks that still write.
    pub(super) leaked: AtomicU32,
    /// Attempts of undo.
    pub(super) undone: AtomicU32,
    /// Attempts of undo that fail.
    pub(super) undo_fails: AtomicU32,
    /// Writes of rows and batches that were begun, redone ones included.
    pub(super) writes: AtomicU32,
}

impl Stage {
    fn block(&self) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let mut released = self.released.lock().unwrap();
        while !*released {
            released = self.changed.wait(released).unwrap();
        }
        drop(released);
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn release(&self) {
        *self.released.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// The kind. With an undo of its own if `UNDO`.
pub(super) struct Script<const UNDO: bool>(pub(super) Arc<Stage>);

pub(super) type Plain = Script<false>;
pub(super) type Undoing = Script<true>;

impl<const UNDO: bool> JobKind for Script<UNDO> {
    const NAME: &'static str = if UNDO { "UNDOING" } else { "SCRIPT" };
    type Args = Args;
    type Checkpoint = At;

    fn policy(&self) -> Policy {
        Policy { cancellable: true, has_undo: UNDO }
    }

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        let words: Vec<String> = cx.args().words.split_whitespace().map(str::to_owned).collect();
        for (number, word) in words.iter().enumerate() {
            if (number as u32) < cx.checkpoint().word {
                continue;
            }
            let (verb, times) = word.split_once(':').unwrap_or((word, "1"));
            let mut at = cx.checkpoint();
            match verb {
                "rows" if cx.claims().is_empty() => drop(cx.claim_span(SpanFamily::Rows).await?),
                "bulk" if cx.claims().is_empty() => drop(cx.claim_span(SpanFamily::Bulk).await?),
                "rows" | "bulk" => {}
                "scratch" => {
                    let claim = cx.claim_scratch().await?;
                    let file = cx.engine().staging_dir(claim.id).join("run");
                    std::fs::write(file, b"sorted").unwrap();
                }
                "put" => self.put(&cx, times.parse().unwrap()).await?,
                "save" => {
                    while at.times < times.parse().unwrap() {
                        at.times += 1;
                        cx.save(&at).await?;
                    }
                }
                "ingest" => {
                    let (stage, times) = (Arc::clone(&self.0), times.parse().unwrap());
                    cx.on_thread(move |cx| ingest(cx, &stage, times)).await?;
                }
                "hold" => return Err(cx.stopped().await.into()),
                "spin" => {
                    cx.on_thread(|cx| -> Result<()> {
                        loop {
                            cx.tick()?;
                            std::hint::spin_loop();
                        }
                    })
                    .await?;
                }
                "block" => {
                    let stage = Arc::clone(&self.0);
                    cx.on_thread(move |cx| {
                        stage.block();
                        cx.tick()
                    })
                    .await?;
                }
                "fail" => return Err(JobError::failed("22P02", "bad line 7")),
                "panic" => panic!("line 7"),
                "retry" if cx.attempt() <= times.parse().unwrap() => {
                    return Err(JobError::retry("no answer"));
                }
                "retry" => {}
                "stray" => {
                    let span = SpanRef { id: SpanId::from_raw(99), family: SpanFamily::Rows };
                    let mut batch = Batch::new();
                    batch.put_row(span, b"key", b"value");
                    cx.commit(batch, &at).await?;
                }
                "leak" => {
                    let (cx, stage) = (Arc::new(cx), Arc::clone(&self.0));
                    stage.leaked.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(write_on(Arc::clone(&cx), stage));
                    return if times == "hold" { Err(cx.stopped().await.into()) } else { Ok(()) };
                }
                "fraction" => cx.progress(|p| p.fraction = times.parse().unwrap()),
                "never" => cx.set_cancellable(false).await?,
                "at" => {
                    let point = times.to_owned();
                    cx.on_thread(move |cx| cx.pause_point(&point)).await?;
                }
                "publish" => return publish(&cx).await,
                other => panic!("no such word: {other}"),
            }
            let done = At { word: number as u32 + 1, times: 0, rows: cx.checkpoint().rows };
            cx.save(&done).await?;
        }
        Ok(())
    }

    async fn on_cancel_or_fail(&self, cx: UndoContext<Self>) -> Result<()> {
        let number = self.0.undone.fetch_add(1, Ordering::SeqCst) + 1;
        cx.pause_point("undo.begin").await?;
        if number <= self.0.undo_fails.load(Ordering::SeqCst) {
            return Err(JobError::failed("58030", "the place does not answer"));
        }
        Ok(())
    }
}

impl<const UNDO: bool> Script<UNDO> {
    async fn put(&self, cx: &Context<Self>, times: u64) -> Result<()> {
        let span = span_of(&cx.claims());
        loop {
            let mut at = cx.checkpoint();
            if at.times >= times {
                return Ok(());
            }
            let mut batch = Batch::new();
            batch.put_row(span, &at.rows.to_be_bytes(), b"row");
            (at.times, at.rows) = (at.times + 1, at.rows + 1);
            cx.progress(|p| (p.rows, p.fraction) = (at.rows, at.times as f64 / times as f64));
            self.0.writes.fetch_add(1, Ordering::SeqCst);
            cx.commit(batch, &at).await?;
        }
    }
}

/// Writes rows into the span until that is refused.
async fn write_on<const UNDO: bool>(cx: Arc<Context<Script<UNDO>>>, stage: Arc<Stage>) {
    let span = span_of(&cx.claims());
    for number in 1_000_u64.. {
        let mut batch = Batch::new();
        batch.put_row(span, &number.to_be_bytes(), b"leaked");
        if cx.commit(batch, &cx.checkpoint()).await.is_err() {
            break;
        }
        stage.writes.fetch_add(1, Ordering::SeqCst);
    }
    stage.leaked.fetch_sub(1, Ordering::SeqCst);
}

fn ingest<const UNDO: bool>(
    cx: &ThreadContext<Script<UNDO>>,
    stage: &Stage,
    times: u64,
) -> Result<()> {
    let claim = cx.claims()[0];
    while cx.checkpoint().times < times {
        let mut at = cx.checkpoint();
        let number = cx.recover(&claim)?.next_batch;
        let mut writer = SpanWriter::create(cx.engine(), &claim, number)?;
        for _ in 0..10 {
            writer.put(&at.rows.to_be_bytes(), b"row")?;
            at.rows += 1;
        }
        at.times += 1;
        cx.progress(|p| p.rows = at.rows);
        stage.writes.fetch_add(1, Ordering::SeqCst);
        cx.ingest(&claim, &writer.finish()?, &at)?;
    }
    Ok(())
}

async fn publish<const UNDO: bool>(cx: &Context<Script<UNDO>>) -> Result<()> {
    cx.on_thread(|cx| {
        cx.publish(|publisher| {
            let mut batch = Batch::new();
            let mut keep = Vec::new();
            for claim in cx.claims() {
                if let Some(span) = claim.span() {
                    let key = [PREFIX, &span.id.raw().to_be_bytes()].concat();
                    let family = u8::from(span.family == SpanFamily::Bulk);
                    batch.put_record(Family::Catalog, &key, PUBLISHED, &[family]);
                    keep.push(span.id);
                }
            }
            publisher.commit(batch, &keep)
        })
    })
    .await
}

fn span_of(claims: &[Claim]) -> SpanRef {
    claims[0].span().unwrap()
}

/// The published spans.
pub(super) fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
    engine
        .records(Family::Catalog, PREFIX)
        .unwrap()
        .into_iter()
        .map(|(key, record)| {
            let id = u64::from_be_bytes(key[PREFIX.len()..].try_into().unwrap());
            let bulk = record.unwrap().1[0] == 1;
            let family = if bulk { SpanFamily::Bulk } else { SpanFamily::Rows };
            (SpanId::from_raw(id), family)
        })
        .collect()
}

/// Rows of all published spans, in order.
pub(super) fn published_rows(engine: &Engine) -> Vec<u64> {
    use std::ops::Bound::Unbounded;
    let mut rows = Vec::new();
    for (id, family) in published(engine) {
        let view = engine.view();
        let mut scan = view.scan(SpanRef { id, family }, Unbounded, Unbounded, false).unwrap();
        while let Some((key, _)) = scan.next().unwrap() {
            rows.push(u64::from_be_bytes(key.try_into().unwrap()));
        }
    }
    rows
}

/// A store with both kinds, and their stage.
pub(super) async fn setup() -> (TestJobs, Arc<Stage>) {
    let stage = Arc::<Stage>::default();
    let on_stage = Arc::clone(&stage);
    let test = TestJobs::new(move |jobs: &Jobs| {
        jobs.register::<Plain>(Script(Arc::clone(&on_stage)));
        jobs.register::<Undoing>(Script(Arc::clone(&on_stage)));
    })
    .await;
    (test, stage)
}

/// Submits words.
pub(super) async fn submit(test: &TestJobs, words: &str) -> JobId {
    test.jobs().submit::<Plain>(new(words)).await.unwrap()
}

/// Submits words to the kind with an undo.
pub(super) async fn submit_undoing(test: &TestJobs, words: &str) -> JobId {
    test.jobs().submit::<Undoing>(new(words)).await.unwrap()
}

pub(super) fn new(words: &str) -> NewJob<Args> {
    NewJob::new(Args { words: words.to_owned() }, words)
}

/// Waits until a job that is `running` does not do so any more, and checks how it ended.
pub(super) async fn ends(test: &TestJobs, id: JobId, state: State) -> crate::JobView {
    let view = test.wait(id).await;
    assert_eq!(view.state, state, "{view:?}");
    view
}

/// Proves that nothing is left but what was published.
pub(super) async fn clean(test: &TestJobs) {
    test.assert_clean(&published(test.engine())).await;
}

impl Conforms for Plain {
    fn kind(_: &Engine) -> Self {
        Script(Arc::default())
    }

    fn job(_: &Engine) -> NewJob<Args> {
        new("bulk scratch ingest:2 publish")
    }

    fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
        published(engine)
    }

    fn observe(engine: &Engine) -> String {
        format!("{:?}", published_rows(engine))
    }
}

impl Conforms for Undoing {
    fn kind(_: &Engine) -> Self {
        Script(Arc::default())
    }

    fn job(_: &Engine) -> NewJob<Args> {
        new("rows put:2 publish")
    }

    fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
        published(engine)
    }

    fn observe(engine: &Engine) -> String {
        format!("{:?}", published_rows(engine))
    }
}
