//! The bodies of the fuzz targets that need RocksDB and DataFusion: plain functions of bytes, as those of `fuzz` are.
//!
//! A package of the main workspace, so that nothing large is compiled for it: `.ci/fuzz` counts the branches of our own
//! crates and leaves all others as they are.

mod wire;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tokio::runtime::Runtime;
pub use wire::wire;

/// A target: it panics if an invariant does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 2] = [("model", model), ("wire", wire)];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // As much as the server has.
    runtime.enable_all().thread_stack_size(8 << 20).build().expect("threads can be started")
});

/// Strategy: three bytes are a statement, a restart, or a death at the nth durable step from then on.
/// Invariants: those of [`cairn_tests::model`].
pub fn model(data: &[u8]) {
    RUNTIME.block_on(cairn_tests::model::check(data, &place()));
}

/// In memory where the system has a file system there.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
