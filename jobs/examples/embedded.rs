//! Jobs inside of an application that has a tokio runtime, and a shutdown, of its own: they run as tasks
//! on that runtime, are watched and cancelled from other tasks, and go on after a restart.
//!
//! `cargo run --example embedded`

use std::time::Duration;

use cairn_engine::{Engine, Options};
use cairn_jobs::{Context, ControlOptions, JobKind, Jobs, JobsOptions, NewJob, Result, State};

#[derive(Clone, PartialEq, prost::Message)]
struct Mail {
    #[prost(uint32, tag = "1")]
    number: u32,
}

/// Sends mails, one after the other; `number` in the checkpoint is how many are out.
struct Mailing;

impl JobKind for Mailing {
    const NAME: &'static str = "MAILING";
    type Args = Mail;
    type Checkpoint = Mail;

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        let total = cx.args().number;
        for number in cx.checkpoint().number..total {
            cx.sleep(Duration::from_millis(5)).await?; // ends at once on cancel, pause and shutdown
            cx.save(&Mail { number: number + 1 }).await?;
            cx.progress(|p| p.fraction = f64::from(number + 1) / f64::from(total));
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let id = runtime.block_on(async {
        let jobs = open(&folder)?;
        let short = jobs.submit::<Mailing>(NewJob::new(Mail { number: 20 }, "a few mails")).await?;
        let long =
            jobs.submit::<Mailing>(NewJob::new(Mail { number: 100_000 }, "too many")).await?;
        let kept = jobs.submit::<Mailing>(NewJob::new(Mail { number: 100 }, "the rest")).await?;
        // Another task of the application watches; it could as well be a web page.
        let mut views = jobs.subscribe(short).await?;
        let watcher = tokio::spawn(async move {
            while views.changed().await.is_ok() && !views.borrow().state.is_terminal() {}
            views.borrow().fraction
        });
        jobs.wait_until(long, |view| view.fraction > 0.0).await?;
        jobs.cancel(&[long], ControlOptions::by("operator").because("too many")).await?;
        assert_eq!(jobs.wait(long).await?.state, State::Canceled);
        assert_eq!(jobs.wait(short).await?.state, State::Succeeded);
        assert!((watcher.await? - 1.0).abs() < f64::EPSILON);
        close(jobs).await;
        Ok::<_, Box<dyn std::error::Error>>(kept)
    })?;
    // The application starts again: the unfinished job goes on by itself.
    runtime.block_on(async {
        let jobs = open(&folder)?;
        assert_eq!(jobs.wait(id).await?.state, State::Succeeded);
        close(jobs).await;
        Ok(())
    })
}

fn open(folder: &tempfile::TempDir) -> Result<Jobs, Box<dyn std::error::Error>> {
    let engine = Engine::open(Options::small(folder.path()))?;
    let jobs = Jobs::open(&engine, JobsOptions::default())?;
    jobs.register(Mailing);
    jobs.start()?;
    Ok(jobs)
}

async fn close(jobs: Jobs) {
    jobs.shutdown().await;
    jobs.engine().shutdown();
}
