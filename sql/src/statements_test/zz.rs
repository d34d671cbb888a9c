use super::Fresh;
use crate::parse::parse;
use datafusion::common::ScalarValue;
#[tokio::test]
async fn zz_timing() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("SET synchronous_commit = off").await;
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT)").await;
    root.run("INSERT INTO t SELECT x, 'v' || x FROM generate_series(1, 100000) AS g(x)").await;
    for sql in ["SELECT v FROM t WHERE k = $1", "UPDATE t SET v = v || 'x' WHERE k = $1", "SELECT $1::INT8", "SELECT count(*) FROM t WHERE k > $1"] {
        let p = root.0.prepare(&parse(sql).unwrap()[0], &[]).await.unwrap();
        let t = std::time::Instant::now();
        for i in 0..500 {
            let a = root.0.execute(&p, vec![ScalarValue::Int64(Some(i))]).await.unwrap();
            super::collected(a).await.unwrap();
        }
        println!("TIMING {sql}: {:?} each", t.elapsed() / 500);
        let t = std::time::Instant::now();
        for _ in 0..200 { root.0.prepare(&parse(sql).unwrap()[0], &[]).await.unwrap(); }
        println!("TIMING prepare: {:?} each", t.elapsed() / 200);
    }
}
