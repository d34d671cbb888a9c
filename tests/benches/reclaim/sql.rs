//! A SQL database in this process, and a CSV file for it to import.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_jobs::{ControlOptions, JobId, JobView};
use cairn_sql::{Answer, Database, DatabaseOptions, Session};
use cairn_tests::Random;
use futures::StreamExt as _;

use crate::disk;
use crate::store::text;

const FILE: &str = "rows.csv";

/// Characters of a value in a CSV row; it does not compress well.
const VALUE_CHARACTERS: usize = 180;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An open database with the file behind `nodelocal://`.
pub(super) struct Sql {
    pub(super) db: Database,
    session: Session,
    /// Of the CSV file.
    pub(super) csv_bytes: u64,
}

impl Sql {
    /// Makes a database in a folder, and a file of about `csv_bytes` with ascending keys.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn make(
        path: &Path,
        cache_bytes: u64,
        csv_bytes: u64,
        seed: u64,
    ) -> Result<Self, String> {
        let mut options = DatabaseOptions::new(path);
        options.engine.block_cache_bytes = cache_bytes;
        let db = Database::open(options).map_err(text)?;
        write_csv(&db.external_dir().join(FILE), csv_bytes, seed).map_err(text)?;
        let csv_bytes = std::fs::metadata(db.external_dir().join(FILE)).map_err(text)?.len();
        let session = db.session("root", "defaultdb").map_err(text)?;
        Ok(Self { db, session, csv_bytes })
    }

    /// Runs one statement to its end.
    ///
    /// # Errors
    /// The statement's.
    pub(super) async fn run(&self, sql: &str) -> Result<(), String> {
        for parsed in cairn_sql::parse(sql).map_err(text)? {
            let prepared = self.session.prepare(&parsed, &[]).await.map_err(text)?;
            match self.session.execute(&prepared, Vec::new()).await.map_err(text)? {
                Answer::Done { .. } => {}
                Answer::Rows { mut stream, .. } => {
                    while let Some(rows) = stream.next().await {
                        rows.map_err(text)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes an empty table that the file fits.
    ///
    /// # Errors
    /// The statement's.
    pub(super) async fn create(&self, table: &str) -> Result<(), String> {
        self.run(&format!("CREATE TABLE {table} (k INT8 PRIMARY KEY, v TEXT NOT NULL)")).await
    }

    /// Starts an import of the file.
    ///
    /// # Errors
    /// The statement's.
    pub(super) async fn start_import(&self, table: &str) -> Result<JobId, String> {
        self.run(&format!("IMPORT INTO {table} CSV DATA ('nodelocal://1/{FILE}') WITH detached"))
            .await?;
        let jobs = self.db.jobs().list().await.map_err(text)?;
        jobs.last().map(|job| job.id).ok_or_else(|| "the import is not listed".to_owned())
    }

    /// Pauses an import; returns when it has stopped, or has ended meanwhile.
    ///
    /// # Errors
    /// A storage error.
    pub(super) async fn pause(&self, id: JobId) -> Result<(), String> {
        let by = ControlOptions::by("benchmark");
        self.db.jobs().pause(&[id], by).await.map_err(text)?;
        self.db.jobs().wait(id).await.map(|_| ()).map_err(text)
    }

    /// Lets a paused import go on.
    ///
    /// # Errors
    /// A storage error.
    pub(super) async fn resume(&self, id: JobId) -> Result<(), String> {
        let by = ControlOptions::by("benchmark");
        self.db.jobs().resume(&[id], by).await.map(|_| ()).map_err(text)
    }

    /// Cancels an import that may have ended, and waits for its end.
    ///
    /// # Errors
    /// A storage error.
    pub(super) async fn cancel(&self, id: JobId) -> Result<(), String> {
        let by = ControlOptions::by("benchmark");
        self.db.jobs().cancel(&[id], by).await.map_err(text)?;
        let ended = self.db.jobs().wait_until(id, |job| job.state.is_terminal());
        ended.await.map(|_| ()).map_err(text)
    }

    /// An import as it is now.
    ///
    /// # Errors
    /// There is none of that id; a storage error.
    pub(super) async fn job(&self, id: JobId) -> Result<JobView, String> {
        let job = self.db.jobs().get(id).await.map_err(text)?;
        job.ok_or_else(|| "the import is gone".to_owned())
    }

    /// Waits for the end of an import that must succeed.
    ///
    /// # Errors
    /// It ended in another way.
    pub(super) async fn succeeded(&self, id: JobId) -> Result<(), String> {
        let job = self.db.jobs().wait(id).await.map_err(text)?;
        if job.state == cairn_jobs::State::Succeeded {
            return Ok(());
        }
        let why = job.error.map_or_else(|| job.message.clone(), |error| error.message);
        Err(format!("an import ended as {}: {why}", job.state))
    }

    /// Bytes of SST files, staged or not.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn sst_bytes(&self) -> Result<u64, String> {
        let usage = self.db.engine().disk_usage().map_err(text)?;
        Ok(usage.sst_bytes + usage.staging_bytes)
    }

    /// Waits until nothing is being given back and `quiet` has passed, and writes out what is dirty.
    ///
    /// # Errors
    /// The disk did not come back in a minute.
    pub(super) async fn settle(&self, quiet: Duration) -> Result<(), String> {
        let began = Instant::now();
        while !self.db.engine().reclaimer().status().is_empty() {
            if began.elapsed() > Duration::from_secs(60) {
                let status = self.db.engine().reclaimer().status();
                return Err(format!("the disk does not come back: {status:?}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(quiet).await;
        disk::settle(self.db.engine().path())
    }

    /// Closes the database.
    pub(super) async fn close(self) {
        drop(self.session);
        self.db.shutdown().await;
    }
}

fn write_csv(path: &Path, bytes: u64, seed: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut random = Random::new(seed);
    let mut value = [0; VALUE_CHARACTERS];
    let (mut line, mut key, mut written) = (String::new(), 0_u64, 0);
    while written < bytes {
        line.clear();
        let _ = write!(line, "{key},");
        random.fill(&mut value);
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 64)]);
        line.extend(value.iter().map(letter));
        line.push('\n');
        out.write_all(line.as_bytes())?;
        written += line.len() as u64;
        key += 1;
    }
    out.into_inner()?.sync_all()
}
