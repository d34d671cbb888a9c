//! IMPORT, put through everything that can happen to a job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_engine::{Engine, SpanFamily, SpanId};
use cairn_jobs::testkit::{Conforms, TestJobs, conformance, conformance_of};
use cairn_jobs::{NewJob, State};

use super::super::{ImportArgs, ImportKind, Limits};
use super::bench::{self, LIMITS, TABLE, shuffled};
use crate::catalog::{Catalog, TableDescriptor};

/// More runs than are merged at once.
const FEW: Limits = Limits { memory_bytes: 4 << 10, fan_in: 3, ..LIMITS };

fn external(engine: &Engine) -> PathBuf {
    engine.path().join("extern")
}

/// The only one.
fn table(catalog: &Catalog) -> Option<Arc<TableDescriptor>> {
    catalog.current().all_tables().next().map(Arc::clone)
}

/// An import of rows with these keys, in this order.
fn job_of(engine: &Engine, keys: impl Iterator<Item = i64>) -> NewJob<ImportArgs> {
    let external = external(engine);
    std::fs::create_dir_all(&external).unwrap();
    std::fs::write(external.join("t.csv"), bench::csv(keys)).unwrap();
    let table = table(&Catalog::open(engine).unwrap()).unwrap();
    bench::plan(engine, &external, &table, &[], &["t.csv"], "skip=1", 0).unwrap()
}

/// Rows in order, which need no sorting.
fn sorted(engine: &Engine) -> NewJob<ImportArgs> {
    job_of(engine, 1..=500)
}

impl Conforms for ImportKind {
    fn kind(engine: &Engine) -> Self {
        let catalog = Catalog::open(engine).unwrap();
        if table(&catalog).is_none() {
            bench::make_table(&catalog, TABLE);
        }
        Self::new(catalog, external(engine)).with_limits(FEW)
    }

    /// Rows in order, then rows out of order in so many runs that they are merged in passes, and a merge in several batches.
    fn job(engine: &Engine) -> NewJob<ImportArgs> {
        job_of(engine, (1..=200).chain(shuffled(300).into_iter().map(|key| key + 200)))
    }

    fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
        Catalog::open(engine).unwrap().current().published_spans()
    }

    fn observe(engine: &Engine) -> String {
        let catalog = Catalog::open(engine).unwrap();
        bench::rows_of(&catalog, engine, table(&catalog).unwrap().id).join("\n")
    }
}

/// The durable steps of an undisturbed run.
async fn steps_of(job: fn(&Engine) -> NewJob<ImportArgs>) -> Vec<String> {
    let test = TestJobs::new(|jobs| jobs.register(ImportKind::kind(jobs.engine()))).await;
    test.engine().crash().record();
    let id = test.jobs().submit::<ImportKind>(job(test.engine())).await.unwrap();
    assert_eq!(test.wait(id).await.state, State::Succeeded);
    test.engine().crash().recorded()
}

#[tokio::test(flavor = "multi_thread")]
async fn import_conforms() {
    let steps = steps_of(ImportKind::job).await;
    for step in [
        "ingest.after_intent",
        "import.before_run_checkpoint",
        "import.after_pass",
        "import.before_publish",
    ] {
        assert!(steps.iter().any(|passed| passed == step), "{step} is not on the way: {steps:?}");
    }
    let tried = conformance::<ImportKind>().await;
    assert!(
        tried.checkpoints >= 6 && tried.crashes > 20 && tried.crashes_in_cancel > 5,
        "{tried:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn import_of_sorted_rows_conforms() {
    let steps = steps_of(sorted).await;
    assert!(steps.iter().any(|step| step == "ingest.after_intent"), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("run")), "nothing is sorted: {steps:?}");
    let tried = conformance_of::<ImportKind>(sorted).await;
    assert!(
        tried.checkpoints >= 2 && tried.crashes > 10 && tried.crashes_in_cancel > 5,
        "{tried:?}"
    );
}
