//! IMPORT, put through everything that can happen to a job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_engine::{Engine, SpanFamily, SpanId};
use cairn_jobs::NewJob;
use cairn_jobs::testkit::{Conforms, conformance};

use super::super::{ImportArgs, ImportKind};
use super::bench::{self, LIMITS, TABLE, shuffled};
use crate::catalog::{Catalog, TableDescriptor};

fn external(engine: &Engine) -> PathBuf {
    engine.path().join("extern")
}

/// The only one.
fn table(catalog: &Catalog) -> Option<Arc<TableDescriptor>> {
    catalog.current().all_tables().next().map(Arc::clone)
}

impl Conforms for ImportKind {
    fn kind(engine: &Engine) -> Self {
        let catalog = Catalog::open(engine).unwrap();
        if table(&catalog).is_none() {
            bench::make_table(&catalog, TABLE);
        }
        Self::new(catalog, external(engine)).with_limits(LIMITS)
    }

    /// Goes every road: rows in order, rows out of order in several runs, a merge in several batches.
    fn job(engine: &Engine) -> NewJob<ImportArgs> {
        let external = external(engine);
        std::fs::create_dir_all(&external).unwrap();
        let keys = (1..=200).chain(shuffled(300).into_iter().map(|key| key + 200));
        std::fs::write(external.join("t.csv"), bench::csv(keys)).unwrap();
        let table = table(&Catalog::open(engine).unwrap()).unwrap();
        bench::plan(engine, &external, &table, &[], &["t.csv"], "skip=1", 0).unwrap()
    }

    fn published(engine: &Engine) -> BTreeMap<SpanId, SpanFamily> {
        Catalog::open(engine).unwrap().current().published_spans()
    }

    fn observe(engine: &Engine) -> String {
        let catalog = Catalog::open(engine).unwrap();
        bench::rows_of(&catalog, engine, table(&catalog).unwrap().id).join("\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn import_conforms() {
    let tried = conformance::<ImportKind>().await;
    assert!(
        tried.checkpoints >= 6 && tried.crashes > 20 && tried.crashes_in_cancel > 5,
        "{tried:?}"
    );
}
