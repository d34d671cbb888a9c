//! Random statements, restarts and deaths on the whole stack, against a map (`cairn_tests::model`).

use proptest::prelude::*;

/// A few seconds of them; `CAIRN_CASES` for more.
fn cases() -> u32 {
    std::env::var("CAIRN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_statements_restarts_and_deaths_leave_what_a_map_holds(
        ops in proptest::collection::vec(any::<[u8; 3]>(), 1..cairn_tests::model::OPS_MAX),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(cairn_tests::model::check(ops.as_flattened(), &std::env::temp_dir()));
    }
}
