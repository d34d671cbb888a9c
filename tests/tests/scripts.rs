//! Runs every script in `scripts/` on a server of its own, and asks the doctor at the end.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};

use cairn_tests::{Server, run_script, write_file};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    scripts
}

fn rows(keys: impl Iterator<Item = String>) -> String {
    keys.fold("k,v,d,at\n".to_owned(), |csv, k| {
        csv + &format!("{k},value {k},1.50,2026-01-02 03:04:05+00\n")
    })
}

/// The files that scripts import.
fn write_files(external: &Path) {
    let numbers = |to: u32| (1..=to).map(|k| k.to_string());
    write_file(&external.join("t.csv"), &rows(numbers(1000)));
    let bad = (1..=20).map(|k| if k == 6 { "x".to_owned() } else { k.to_string() });
    write_file(&external.join("bad.csv"), &rows(bad));
    write_file(
        &external.join("dup.csv"),
        &rows(numbers(5).chain(["5".to_owned(), "6".to_owned()])),
    );
    write_file(
        &external.join("dup2.csv"),
        &rows(["9", "3", "7", "3", "1"].map(str::to_owned).into_iter()),
    );
    write_file(&external.join("back.csv"), &rows((1..=1000).rev().map(|k: u32| k.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_says_what_it_says() {
    let scripts = scripts();
    assert!(!scripts.is_empty());
    let mut wrong = Vec::new();
    for script in scripts {
        let server = Server::start().await;
        write_files(&server.external());
        wrong.extend(run_script(&server, &script).await.err());
        server.assert_healthy().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
