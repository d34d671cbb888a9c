//! Full load for a long time, with cancels and restarts in order: what grows without bound?
//!
//! After a warm-up the time is cut into thirds with the same course: a few short lives of the server, then a
//! long one. The last third is compared with the first, which shows what grows in the store; and the end of
//! the long lives with their second quarter, which shows what grows in a process. Compared are medians, so
//! that a busy moment does not decide.
//!
//! Ended jobs are forgotten after a short time, as their records would grow by design otherwise.

mod figures;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::fault::{Failure, Fault};
use super::lane::{End, Lane};
use super::load::{self, Extent, number, set};
use super::run::{Death, Report, Run, alive};
use super::store::Usage;
use crate::data::write_file;
use crate::random::Random;
use figures::{Comparison, FIGURES, Sample, compare};

/// Below this time figures are shown but not judged: they have not settled.
const JUDGED_FROM: Duration = Duration::from_secs(300);

/// Pause between two probes of the latency.
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// Rows of the table that is probed.
const PROBE_ROWS: i64 = 1_000;

/// What was measured, and what has grown.
#[derive(Debug)]
pub struct GrowthReport {
    samples: Vec<Sample>,
    comparisons: Vec<(&'static str, Vec<Comparison>)>,
    judged: bool,
    done: Report,
}

impl GrowthReport {
    /// What has grown by more than its bound, one line each; nothing if the time was too short to tell.
    pub fn grown(&self) -> Vec<String> {
        if !self.judged {
            return Vec::new();
        }
        let all =
            self.comparisons.iter().flat_map(|(title, list)| list.iter().map(move |c| (title, c)));
        all.filter(|(_, c)| c.has_grown()).map(|(title, c)| format!("{title}: {c}")).collect()
    }

    /// All samples as CSV.
    pub fn csv(&self) -> String {
        let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        let mut csv = format!("at_s,third,life,age_s,{}\n", names.join(","));
        for sample in &self.samples {
            let third = sample.third.map_or_else(String::new, |third| third.to_string());
            let (at, age) = (sample.at.as_secs_f64(), sample.age.as_secs_f64());
            let values: Vec<String> = sample.values.iter().map(|v| format!("{v:.3}")).collect();
            let _ = writeln!(csv, "{at:.1},{third},{},{age:.1},{}", sample.life, values.join(","));
        }
        csv
    }
}

impl fmt::Display for GrowthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {} samples", self.done, self.samples.len())?;
        for (title, comparisons) in &self.comparisons {
            writeln!(f, "{title} (medians)")?;
            for comparison in comparisons {
                writeln!(f, "  {comparison}")?;
            }
        }
        let judged = if self.judged {
            "judged"
        } else {
            "shown only: the time is too short to judge growth"
        };
        write!(f, "{judged}")
    }
}

/// One life of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    /// `None` in the warm-up.
    third: Option<usize>,
    time: Duration,
    long: bool,
}

/// The lives of a server in so much time.
fn lives(limit: Duration) -> Vec<Life> {
    let third_time = limit * 3 / 10;
    let shorts = if third_time >= Duration::from_secs(60) { 2 } else { 0 };
    let short = third_time / 20;
    let mut lives = vec![Life { third: None, time: limit / 10, long: false }];
    for third in 0..3 {
        let third = Some(third);
        lives.extend((0..shorts).map(|_| Life { third, time: short, long: false }));
        lives.push(Life { third, time: third_time - short * shorts, long: true });
    }
    lives
}

/// Runs the load for about `limit`, and watches. Samples go to the file `out` as well, if there is one.
///
/// # Errors
/// A run in which the store did not keep what it promised. What has grown is in the report.
///
/// # Panics
/// If `out` cannot be written.
pub async fn watch_growth(
    seed: u64,
    limit: Duration,
    out: Option<&Path>,
) -> Result<GrowthReport, Box<Failure>> {
    let mut run = Run::start(seed, Death::Kill).await;
    let mut watch = Watch { began: Instant::now(), samples: Vec::new(), every: pace(limit) };
    let result = watch.lives(&mut run, limit).await;
    let mut done = Report::default();
    run.tally(&mut done);
    if let Err(End::Wrong(fault)) = result {
        run.shared.fault(fault);
    }
    let samples = watch.samples;
    let comparisons = vec![
        ("last third against first", thirds(&samples)),
        ("end of the long lives against their second quarter", within_lives(&samples, limit)),
    ];
    let report = GrowthReport { samples, comparisons, judged: limit >= JUDGED_FROM, done };
    if let Some(out) = out {
        write_file(out, &report.csv());
    }
    let faults = run.shared.faults();
    if faults.is_empty() { Ok(report) } else { Err(Box::new(run.fail("soak", faults))) }
}

/// Time between two samples.
fn pace(limit: Duration) -> Duration {
    (limit / 100).clamp(Duration::from_millis(200), Duration::from_secs(5))
}

fn thirds(samples: &[Sample]) -> Vec<Comparison> {
    let of = |third: usize| samples.iter().filter(move |sample| sample.third == Some(third));
    compare(of(0), of(2))
}

fn within_lives(samples: &[Sample], limit: Duration) -> Vec<Comparison> {
    let long = lives(limit).iter().filter(|life| life.long).map(|life| life.time).min();
    let quarter = long.unwrap_or_default() / 4;
    // Short lives do not get as old as that.
    let of = |from: u32, to: u32| {
        samples
            .iter()
            .filter(move |s| s.third.is_some() && s.age >= quarter * from && s.age < quarter * to)
    };
    compare(of(1, 2), of(3, 5))
}

struct Watch {
    began: Instant,
    samples: Vec<Sample>,
    every: Duration,
}

impl Watch {
    async fn lives(&mut self, run: &mut Run, limit: Duration) -> Result<(), End> {
        run.prepare().await?;
        prepare(run, limit).await?;
        for (number, life) in lives(limit).into_iter().enumerate() {
            let number = u32::try_from(number).expect("a small number");
            run.begin_round(number);
            self.live(run, number, life).await?;
            run.start_again().await?;
            run.verify().await?;
        }
        run.settle().await
    }

    /// Load from a start of the server to its end.
    async fn live(&mut self, run: &mut Run, number: u32, life: Life) -> Result<(), End> {
        let place = run.place();
        let random = |lane| run.random(number, lane);
        let lanes = load::begin(&place, Extent { settings: false }, random).await?;
        let lane = place.lane("watch", Random::new(0)).await?;
        let pid = run.server.pid().unwrap_or_default();
        let store = run.server.store();
        let watched = tokio::select! {
            watched = self.watch(&lane, number, life, pid, &store) => watched,
            () = run.shared.faulty.notified() => Ok(()),
        };
        run.still_runs()?;
        run.terminate().await?;
        load::end(&run.shared, lanes).await;
        alive(watched)?;
        run.check()
    }

    async fn watch(
        &mut self,
        lane: &Lane,
        life: u32,
        plan: Life,
        pid: u32,
        store: &Path,
    ) -> Result<(), End> {
        let born = Instant::now();
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut latencies = Vec::new();
        let (mut sampled, mut statements) = (Instant::now(), run_statements(lane));
        let mut random = Random::new(life.into());
        while born.elapsed() < plan.time {
            ticks.tick().await;
            let k = random.between(1, PROBE_ROWS);
            let sql = format!("SELECT v FROM probe WHERE k = {k}");
            let asked = Instant::now();
            let rows = lane.client.rows(&sql).await;
            latencies.push(asked.elapsed());
            let text = format!("probe {k}");
            if !rows.as_ref().is_ok_and(|rows| *rows == [[text.as_str()]]) {
                return Err(Fault::new(sql, text, format!("{rows:?}")).into());
            }
            let since = sampled.elapsed();
            if since < self.every {
                continue;
            }
            let tombstones = lane.must_rows("SELECT count(*) FROM cairn.tombstones").await?;
            let tombstones = number(tombstones.first().map_or("", |row| &row[0]))?;
            let now = run_statements(lane);
            let rate = (now - statements) as f64 / since.as_secs_f64();
            let values = figures::values(pid, &Usage::of(store), tombstones, &latencies, rate);
            let (at, age) = (self.began.elapsed(), born.elapsed());
            self.samples.push(Sample { at, third: plan.third, life, age, values });
            latencies.clear();
            (sampled, statements) = (Instant::now(), now);
        }
        Ok(())
    }
}

fn run_statements(lane: &Lane) -> u64 {
    lane.shared.journal.statements()
}

/// What growth needs beside the tables of the load.
async fn prepare(run: &Run, limit: Duration) -> Result<(), End> {
    let lane = run.place().lane("prepare", Random::new(0)).await?;
    lane.must_run("CREATE TABLE probe (k INT8 PRIMARY KEY, v TEXT NOT NULL)").await?;
    let rows: Vec<String> = (1..=PROBE_ROWS).map(|k| format!("({k}, 'probe {k}')")).collect();
    lane.must_run(&format!("INSERT INTO probe VALUES {}", rows.join(", "))).await?;
    // Longer than a restart takes: a job that ends and is forgotten between two looks would seem lost.
    let kept = (limit / 60).clamp(Duration::from_secs(15), Duration::from_secs(60)).as_secs();
    lane.expected(|expected| expected.jobs.forget_ended());
    set(&lane, "jobs.retention_time", &shown(kept)).await
}

/// Seconds as the server shows them.
fn shown(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thirds_have_the_same_course() {
        for seconds in [10, 300, 3600] {
            let limit = Duration::from_secs(seconds);
            let lives = lives(limit);
            let of = |third| {
                let lives = lives.iter().filter(move |life| life.third == Some(third));
                lives.map(|life| (life.time, life.long)).collect::<Vec<_>>()
            };
            assert_eq!((of(0), of(1)), (of(1), of(2)));
            assert_eq!(lives.iter().map(|life| life.time).sum::<Duration>(), limit);
        }
    }

    #[test]
    fn what_grows_is_named_in_a_long_run_and_only_shown_in_a_short_one() {
        let limit = Duration::from_secs(3600);
        let sample = |third: usize, rss: f64| {
            let mut values = [1.0; FIGURES.len()];
            values[0] = rss;
            let at = Duration::from_secs(third as u64 * 1000);
            Sample { at, third: Some(third), life: 0, age: Duration::from_secs(1), values }
        };
        let report = |limit, last| {
            let samples = vec![sample(0, 200.0), sample(1, 200.0), sample(2, last)];
            let comparisons =
                vec![("thirds", thirds(&samples)), ("lives", within_lives(&samples, limit))];
            GrowthReport {
                samples,
                comparisons,
                judged: limit >= JUDGED_FROM,
                done: Report::default(),
            }
        };
        assert!(report(limit, 249.0).grown().is_empty());
        let grown = report(limit, 400.0).grown();
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert!(grown[0].starts_with("thirds: memory_mib"), "{grown:?}");
        assert!(report(Duration::from_secs(10), 400.0).grown().is_empty());
        assert_eq!(report(limit, 1.0).csv().lines().count(), 4);
    }
}
