//! Imports on a real engine with real jobs: small limits, so that a few kilobytes take every road.

mod bench;
mod conformance;

use std::io::ErrorKind;

use bench::{Bench, LIMITS, TABLE, shuffled};
use cairn_engine::Lost;
use cairn_jobs::State;
use proptest::prelude::*;

use super::Limits;

#[tokio::test]
async fn rows_in_key_order_go_straight_into_one_span() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(1..=1000));
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["t.csv"], "skip=1").await;
    assert_eq!((job.state, job.rows, job.fraction), (State::Succeeded, 1000, 1.0), "{job:?}");
    assert_eq!(bench.rows(&table), bench::expected(1..=1000));
    assert_eq!(bench.spans(&table), [1000]);
    bench.assert_clean().await;
}

#[tokio::test]
async fn rows_out_of_order_are_sorted_with_those_that_came_in_order_before() {
    for order in
        [shuffled(1000), (1..=500).chain((501..=1000).rev()).collect(), (1..=1000).rev().collect()]
    {
        let bench = Bench::new();
        bench.file("t.csv", &bench::csv(order));
        let table = bench.table(TABLE);
        let job = bench.import(&table, &["t.csv"], "skip=1").await;
        assert_eq!((job.state, job.rows), (State::Succeeded, 1000), "{job:?}");
        assert_eq!(bench.rows(&table), bench::expected(1..=1000));
        assert_eq!(bench.spans(&table), [1000]);
        bench.assert_clean().await;
    }
}

#[tokio::test]
async fn more_runs_than_a_merge_takes_at_once_are_merged_in_passes() {
    let limits = Limits { memory_bytes: 4 << 10, fan_in: 3, ..LIMITS };
    let bench = Bench::with(limits);
    bench.file("a.csv", &bench::csv(shuffled(3000)));
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["a.csv"], "skip=1").await;
    assert_eq!(job.state, State::Succeeded, "{job:?}");
    assert_eq!(bench.rows(&table), bench::expected(1..=3000));
    bench.assert_clean().await;
}

#[tokio::test]
async fn several_files_are_one_import_and_empty_ones_do_not_matter() {
    let bench = Bench::new();
    bench.file("a.csv", &bench::csv(1..=300));
    bench.file("b.csv", "");
    bench.file("c.csv", "k,v,d,at\n");
    bench.file("d.csv", &bench::csv(301..=700));
    bench.file("e.csv", &bench::csv((701..=900).rev()));
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["*.csv"], "skip=1").await;
    assert_eq!((job.state, job.rows), (State::Succeeded, 900), "{job:?}");
    assert_eq!(bench.rows(&table), bench::expected(1..=900));
    bench.assert_clean().await;
}

#[tokio::test]
async fn an_import_without_rows_leaves_an_empty_table() {
    let bench = Bench::new();
    bench.file("t.csv", "k,v,d,at\n");
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["t.csv"], "skip=1").await;
    assert_eq!((job.state, job.rows), (State::Succeeded, 0), "{job:?}");
    assert!(bench.rows(&table).is_empty() && bench.spans(&table).is_empty());
    bench.assert_clean().await;
}

#[tokio::test]
async fn rows_without_a_primary_key_keep_the_order_of_the_files_and_may_be_equal() {
    let bench = Bench::new();
    bench.file("a.csv", "2,b\n1,a\n2,b\n");
    bench.file("b.csv", "0,z\n");
    let table = bench.table("n: k int, v text");
    let job = bench.import(&table, &["a.csv", "b.csv"], "").await;
    assert_eq!(job.state, State::Succeeded, "{job:?}");
    assert_eq!(bench.rows(&table), ["2|b", "1|a", "2|b", "0|z"]);
    bench.assert_clean().await;
}

#[tokio::test]
async fn quotes_crlf_nullif_and_defaults_are_understood() {
    let bench = Bench::new();
    bench.file("t.csv", "\u{feff}\"b\r\nc\";1\r\n\"say \"\"x\"\"\";-\r\n\"-\";3;\r\n\r\n");
    let table =
        bench.table("q: k int null, v text not null, w text default 'dflt', x decimal(4,1)");
    let job = bench.import_columns(&table, &["v", "k"], &["t.csv"], "delimiter=;,nullif=-").await;
    assert_eq!(job.state, State::Succeeded, "{job:?}");
    let rows = bench.rows(&table);
    assert_eq!(rows, ["1|b\r\nc|dflt|NULL", "NULL|say \"x\"|dflt|NULL", "3|-|dflt|NULL"]);
}

/// Imports one file into the table of the tests; answers code, message and detail of the failure.
async fn failure(text: &str, options: &str) -> String {
    let bench = Bench::new();
    bench.file("bad.csv", text);
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["bad.csv"], options).await;
    assert_eq!(job.state, State::Failed, "{job:?}");
    assert!(bench.rows(&table).is_empty());
    bench.assert_clean().await;
    let failure = job.error.unwrap();
    let detail = failure.detail.map(|detail| format!(" / {detail}")).unwrap_or_default();
    format!("{} {}{detail}", failure.code, failure.message)
}

#[tokio::test]
async fn a_bad_line_fails_the_import_with_file_line_column_and_reason() {
    let lines = |bad: &str| {
        let mut text = bench::csv(1..=5);
        text.push_str(bad);
        text.push('\n');
        text + &bench::body(8..=2000)
    };
    for (bad, expected) in [
        ("x,v,1,", "22P02 bad.csv: line 7: column k: invalid input syntax for type bigint: \"x\""),
        (
            "7,v,1x,",
            "22P02 bad.csv: line 7: column d: invalid input syntax for type numeric: \"1x\"",
        ),
        ("7,v,123456789,", "22003 bad.csv: line 7: column d: numeric field overflow"),
        ("7,v", "22P04 bad.csv: line 7: expected 4 values, found 2"),
        ("7,v,1,,x", "22P04 bad.csv: line 7: expected 4 values, found 5"),
        ("7,v\"w,1,", "22P04 bad.csv: line 7: column v: a quote inside a value"),
        ("7,\"v\"w,1,", "22P04 bad.csv: line 7: column v: text after the closing quote"),
        ("7,\"\n\nv\",x,", "22P02 bad.csv: line 9: column d: invalid input"),
        ("7,v,1,never", "22007 bad.csv: line 7: column at: "),
        (",v,1,", "23502 bad.csv: line 7: column k: null value in column \"k\""),
    ] {
        let found = failure(&lines(bad), "skip=1,nullif=").await;
        assert!(found.starts_with(expected), "{bad}: {found}");
    }
    let open = failure("1,v,1,\n2,\"v,1,\n", "nullif=").await;
    assert!(open.starts_with("22P04 bad.csv: line 2: column v: a quoted value without"), "{open}");
}

#[tokio::test]
async fn a_key_that_comes_twice_fails_the_import_with_both_places() {
    let twice = |order: Vec<i64>| bench::csv(order);
    // Adjacent, in one block, far apart in order of the file, far apart out of order.
    for (order, place, other) in [
        (vec![1, 2, 2, 3], 4, 3),
        (vec![3, 2, 1, 2], 5, 3),
        ((1..=900).chain([450]).collect(), 902, 0),
        ((1..=900).rev().chain([450]).collect(), 902, 452),
    ] {
        let found = failure(&twice(order), "skip=1,nullif=").await;
        let expected = format!(
            "23505 bad.csv: line {place}: duplicate key value violates unique constraint \"t_pkey\" / Key (k)=("
        );
        assert!(found.starts_with(&expected), "{found}");
        let second = format!("in bad.csv: line {other} too.");
        assert!(other == 0 || found.ends_with(&second), "{found}");
    }
}

#[tokio::test]
async fn a_key_in_two_files_is_found_wherever_it_is() {
    let bench = Bench::new();
    bench.file("a.csv", &bench::body(1..=900));
    bench.file("dup.csv", &bench::body((901..=1000).chain([5])));
    let table = bench.table(TABLE);
    let job = bench.import(&table, &["a.csv", "dup.csv"], "nullif=").await;
    let failure = job.error.unwrap();
    assert_eq!(failure.code, "23505");
    assert!(failure.message.starts_with("dup.csv: line 101: "), "{failure:?}");
    assert_eq!(failure.detail.as_deref(), Some("Key (k)=(5) is there already."));
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_file_that_changes_between_two_attempts_fails_the_import() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(1..=1000));
    let table = bench.table(TABLE);
    bench.set("jobs.debug.pausepoints", "import.after_ingest");
    let id = bench.submit(&table, &["t.csv"], "skip=1").await;
    assert_eq!(bench.settle(id).await.state, State::Paused);
    bench.file("t.csv", &bench::csv(1..=1001));
    bench.set("jobs.debug.pausepoints", "");
    bench.resume(id).await;
    let job = bench.settle(id).await;
    assert_eq!(job.error.unwrap().code, "55000");
    bench.assert_clean().await;
}

#[tokio::test]
async fn rows_that_others_wrote_meanwhile_stay_and_a_common_key_fails_the_import() {
    for (key, state) in [(5000, State::Succeeded), (500, State::Failed)] {
        let bench = Bench::new();
        bench.file("t.csv", &bench::csv(1..=1000));
        let table = bench.table(TABLE);
        bench.set("jobs.debug.pausepoints", "import.before_publish");
        let id = bench.submit(&table, &["t.csv"], "skip=1").await;
        assert_eq!(bench.settle(id).await.state, State::Paused);
        bench.insert(&table, key);
        bench.set("jobs.debug.pausepoints", "");
        bench.resume(id).await;
        let job = bench.settle(id).await;
        assert_eq!(job.state, state, "{job:?}");
        match job.error {
            None => assert_eq!(bench.rows(&table).len(), 1001),
            Some(failure) => {
                assert_eq!(failure.code, "23505");
                assert_eq!(bench.rows(&table).len(), 1);
            }
        }
        bench.assert_clean().await;
    }
}

#[tokio::test]
async fn while_keys_are_looked_up_only_the_spans_of_the_table_are_held() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv((1..=1000).filter(|key| *key != 500)));
    let table = bench.table(TABLE);
    let args = bench.plan(&table, &[], &["t.csv"], "skip=1", 0).unwrap().args;
    let imported = bench.table(&TABLE.replace("t:", "imported:"));
    let elsewhere = bench.table(&TABLE.replace("t:", "elsewhere:"));
    for table in [&imported, &elsewhere] {
        let job = bench.import(table, &["t.csv"], "skip=1").await;
        assert_eq!(job.state, State::Succeeded, "{job:?}");
    }
    bench.insert(&table, 500);
    let looked = std::cell::Cell::new(false);
    let look = || {
        bench.drop_table(&elsewhere);
        assert!(bench.is_reclaimed(), "what was dropped elsewhere waits for the look");
        looked.set(true);
        Ok(())
    };
    bench.check_keys(args, &table, &imported, &look).unwrap();
    assert!(looked.get());
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_table_that_is_dropped_meanwhile_fails_the_import() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(1..=100));
    let table = bench.table(TABLE);
    bench.set("jobs.debug.pausepoints", "import.before_publish");
    let id = bench.submit(&table, &["t.csv"], "skip=1").await;
    assert_eq!(bench.settle(id).await.state, State::Paused);
    bench.drop_table(&table);
    bench.set("jobs.debug.pausepoints", "");
    bench.resume(id).await;
    assert_eq!(bench.settle(id).await.error.unwrap().code, "42P01");
    bench.assert_clean().await;
}

/// Rows for which a run, a merge of several runs, and several batches on either side are needed.
fn sorted_then_not() -> Vec<i64> {
    (1..=600).chain(shuffled(900).into_iter().map(|key| key + 600)).collect()
}

const PAUSE_POINTS: [&str; 5] = [
    "import.before_ingest",
    "import.after_ingest",
    "import.after_run",
    "import.before_merge",
    "import.before_publish",
];

#[tokio::test]
async fn a_cancel_at_any_point_leaves_nothing() {
    for point in PAUSE_POINTS {
        let bench = Bench::new();
        bench.file("t.csv", &bench::csv(sorted_then_not()));
        let table = bench.table(TABLE);
        bench.set("jobs.debug.pausepoints", point);
        let id = bench.submit(&table, &["t.csv"], "skip=1").await;
        assert_eq!(bench.settle(id).await.state, State::Paused, "{point}");
        bench.cancel(id).await;
        assert_eq!(bench.settle(id).await.state, State::Canceled, "{point}");
        assert!(bench.rows(&table).is_empty());
        bench.assert_clean().await;
    }
}

#[tokio::test]
async fn a_cancel_while_it_runs_leaves_nothing() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(shuffled(60_000)));
    let table = bench.table(TABLE);
    for progress in [0.0, 0.2, 0.65, 0.8] {
        let id = bench.submit(&table, &["t.csv"], "skip=1").await;
        bench.reaches(id, progress).await;
        bench.cancel(id).await;
        let job = bench.settle(id).await;
        assert!(matches!(job.state, State::Canceled | State::Succeeded), "{job:?}");
        if job.state == State::Succeeded {
            break;
        }
        assert!(bench.rows(&table).is_empty());
        bench.assert_clean().await;
    }
}

#[tokio::test]
async fn a_job_that_pauses_again_and_again_makes_the_same_table() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(sorted_then_not()));
    let table = bench.table(TABLE);
    bench.set("jobs.debug.pausepoints", "import.after_ingest, import.after_run");
    let id = bench.submit(&table, &["t.csv"], "skip=1").await;
    let mut pauses = 0;
    loop {
        let job = bench.settle(id).await;
        if job.state != State::Paused {
            assert_eq!((job.state, job.rows), (State::Succeeded, 1500), "{job:?}");
            break;
        }
        pauses += 1;
        bench.resume(id).await;
    }
    assert!(pauses > 8, "{pauses} pauses");
    assert_eq!(bench.rows(&table), bench::expected(1..=1500));
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_crash_at_any_point_and_a_second_one_after_it_make_the_same_table() {
    let points = bench::recorded_points(sorted_then_not()).await;
    let own = |name: &str| points.iter().filter(|point| *point == name).count();
    for name in ["import.before_ingest", "import.before_run_checkpoint", "import.before_publish"] {
        assert!(own(name) > 0, "{name} is not on the way: {points:?}");
    }
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for point in points {
        let nth = seen.entry(point.clone()).or_default();
        *nth += 1;
        // The first, second and third time show beginning, middle and what follows; more is more of it.
        if *nth > 3 {
            continue;
        }
        bench::crash_twice(sorted_then_not(), &point, *nth).await;
    }
}

/// The first operations one by one, more of the same in greater and greater steps.
fn some_operations() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1), |nth| Some(nth + 1 + nth / 12))
}

#[tokio::test]
async fn the_power_may_go_while_an_import_works_on_its_files() {
    let mut lost_in_all = 0;
    for nth in some_operations() {
        let lost = [Lost::Everything, Lost::Part(nth)][nth as usize % 2];
        let (came, count) = bench::lose_power(sorted_then_not(), nth, lost).await;
        lost_in_all += count;
        if !came {
            assert!(nth > 40, "{nth} operations");
            break;
        }
    }
    assert!(lost_in_all > 10, "{lost_in_all} were lost");
}

#[tokio::test]
async fn an_import_tries_again_when_an_operation_on_its_files_fails() {
    for nth in some_operations() {
        let (more, error) = [(0, ErrorKind::Other), (3, ErrorKind::StorageFull)][nth as usize % 2];
        if !bench::fail_disk(sorted_then_not(), nth, more, error).await {
            assert!(nth > 40, "{nth} operations");
            break;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_before_there_is_a_job() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(1..=3));
    let table = bench.table(TABLE);
    let refused = |columns: &[&str], file: &str, floor: u64| {
        let error = bench.plan(&table, columns, &[file], "skip=1", floor).unwrap_err();
        assert!(error.hint.is_some() || error.code.starts_with("427"), "{error}");
        error.code
    };
    assert_eq!(refused(&["k", "z"], "t.csv", 0), "42703");
    assert_eq!(refused(&["k", "v", "k"], "t.csv", 0), "42701");
    assert_eq!(refused(&["k", "d"], "t.csv", 0), "23502");
    assert_eq!(refused(&[], "none.csv", 0), "58P01");
    assert_eq!(refused(&[], "../t.csv", 0), "42501");
    assert_eq!(refused(&[], "t.csv", u64::MAX), "53100");
    let option = bench.plan(&table, &[], &["t.csv"], "skipp=1", 0).unwrap_err();
    assert_eq!(option.code, "22023");
    let planned = bench.plan(&table, &["v", "k"], &["t.csv"], "skip=1", 0).unwrap();
    assert_eq!(planned.args.columns, [2, 1]);
    bench.insert(&table, 7);
    assert_eq!(refused(&[], "t.csv", 0), "55000");
}

#[tokio::test]
async fn a_second_import_into_a_table_that_became_empty_adds_a_span() {
    let bench = Bench::new();
    bench.file("t.csv", &bench::csv(1..=10));
    let table = bench.table(TABLE);
    assert_eq!(bench.import(&table, &["t.csv"], "skip=1").await.state, State::Succeeded);
    let error = bench.plan(&bench.current(&table), &[], &["t.csv"], "skip=1", 0).unwrap_err();
    assert_eq!(error.code, "55000");
    bench.delete_all(&table);
    let table = bench.current(&table);
    assert_eq!(bench.import(&table, &["t.csv"], "skip=1").await.state, State::Succeeded);
    assert_eq!(bench.rows(&table), bench::expected(1..=10));
    bench.assert_clean().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_order_in_any_files_with_any_limits_makes_the_same_table(
        keys in prop::collection::btree_set(1_i64..100_000, 0..400),
        seed in any::<u64>(),
        files in 1_usize..4,
        block_bytes in 64_usize..4000,
        batch_bytes in 64_u64..8000,
        memory_bytes in 64_u64..8000,
        fan_in in 3_usize..6,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let bench = Bench::with(Limits { block_bytes, batch_bytes, memory_bytes, fan_in });
            let sorted: Vec<i64> = keys.iter().copied().collect();
            let mut order = sorted.clone();
            if seed % 3 != 0 {
                bench::shuffle(&mut order, seed);
            }
            let share = order.len() / files + 1;
            let mut names = Vec::new();
            for (number, part) in order.chunks(share).enumerate() {
                names.push(format!("f{number}.csv"));
                bench.file(&names[number], &bench::csv(part.iter().copied()));
            }
            if names.is_empty() {
                return;
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let table = bench.table(TABLE);
            let job = bench.import(&table, &names, "skip=1").await;
            assert_eq!(job.state, State::Succeeded, "{job:?}");
            assert_eq!(bench.rows(&table), bench::expected(sorted));
            bench.assert_clean().await;
        });
    }
}
