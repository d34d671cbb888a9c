//! Runs of random kills: load, death, restart, comparison, until the time is up.
//!
//! A run is a store of its own with a seed of its own, and at most some 25 rounds, so that a seed that fails
//! repeats in a minute. Runs follow each other with consecutive seeds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_jobs::State;

use super::expected::Expected;
use super::fault::{Failure, Fault};
use super::lane::{End, Shared};
use super::load::{self, Extent, Place};
use super::plan::{Plan, Round, Stop, TABLES, WRITERS};
use super::source::{COLUMNS, SOURCES};
use super::verify;
use crate::random::Random;
use crate::server::Server;

/// Longest time for one check after a restart; only a hang reaches it.
const VERIFIED: Duration = Duration::from_secs(180);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Seeds, each with a store of its own.
    pub runs: u64,
    /// Rounds of load, stop and comparison.
    pub rounds: u64,
    /// Servers killed under load.
    pub kills: u64,
    /// Servers killed while they started.
    pub cut_starts: u64,
    /// Times when everything was let to end, and the doctor asked.
    pub settled: u64,
    /// Statements sent.
    pub statements: u64,
    /// Jobs that succeeded, failed and were cancelled.
    pub jobs: [u64; 3],
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, rounds, kills, cut_starts, settled, statements, jobs } = self;
        let [succeeded, failed, canceled] = jobs;
        write!(
            f,
            "{runs} runs, {rounds} rounds, {kills} kills under load, {cut_starts} at start, {settled} times settled, \
             {statements} statements, jobs: {succeeded} succeeded, {failed} failed, {canceled} canceled"
        )
    }
}

/// How a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// SIGKILL: what it wrote is there.
    Kill,
    /// The power goes: what it did not sync may be lost.
    PowerCut,
}

impl Death {
    /// The word for it in variables and arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power",
        }
    }
}

/// Kills real servers at random moments for about `limit`, and compares what they keep with what they acknowledged.
/// The first run has `seed`, the next one the number above it. `say` is told each seed before it is used.
///
/// # Errors
/// The first run that found anything.
///
/// # Panics
/// Where there cannot be a disk that forgets (see [`crate::Disk::mount`]), if the power is to be cut.
pub async fn kill_at_random(
    death: Death,
    seed: u64,
    limit: Duration,
    say: impl Fn(&str),
) -> Result<Report, Box<Failure>> {
    let began = Instant::now();
    let mut report = Report::default();
    let mut seed = seed;
    loop {
        say(&format!("{} seed {seed} (again: CAIRN_KILL_SEED={seed} make crash)", death.name()));
        let deadline = began + limit;
        let mut run = Run::start(seed, death).await;
        let result = run.rounds(deadline).await;
        run.tally(&mut report);
        if let Err(End::Wrong(fault)) = result {
            run.shared.fault(fault);
        }
        let faults = run.shared.faults();
        if !faults.is_empty() {
            return Err(Box::new(run.fail("crash", faults)));
        }
        if Instant::now() >= deadline {
            return Ok(report);
        }
        seed = seed.wrapping_add(1);
    }
}

/// A server, its store, and what is known of it.
pub(crate) struct Run {
    seed: u64,
    plan: Plan,
    pub(crate) server: Server,
    pub(crate) shared: Arc<Shared>,
    round: u32,
    /// Bytes of the log that were read.
    log_read: usize,
    report: Report,
}

impl Run {
    /// A server on a new store with tables, accounts, and files to import.
    pub(crate) async fn start(seed: u64, death: Death) -> Self {
        let plan = Plan::of(seed);
        let mut server = match death {
            Death::Kill => Server::start().await,
            Death::PowerCut => Server::start_on_disk().await.expect("a disk that forgets"),
        };
        let folder = server.external();
        SOURCES.iter().for_each(|source| source.write(&folder));
        if let Some(disk) = server.disk() {
            // What the server has not synced by now is not ours to ask for: nothing was acknowledged yet.
            disk.sync();
        }
        let shared = Arc::new(Shared::new(Expected::new(WRITERS, TABLES)));
        let report = Report { runs: 1, ..Report::default() };
        Self { seed, plan, server, shared, round: 0, log_read: 0, report }
    }

    pub(crate) fn place(&self) -> Place {
        Place { url: self.server.url("root"), shared: Arc::clone(&self.shared) }
    }

    /// Makes the tables.
    pub(crate) async fn prepare(&self) -> Result<(), End> {
        alive(self.make_tables().await)
    }

    async fn make_tables(&self) -> Result<(), End> {
        let lane = self.place().lane("prepare", Random::new(self.seed)).await?;
        lane.must_run(
            "CREATE TABLE ledger (k INT8 PRIMARY KEY, stamp INT8 NOT NULL, v TEXT NOT NULL)",
        )
        .await?;
        lane.must_run("CREATE TABLE bank (k INT8 PRIMARY KEY, balance INT8 NOT NULL)").await?;
        for at in 0..TABLES {
            lane.must_run(&format!("CREATE TABLE t{at} ({COLUMNS})")).await?;
        }
        let accounts = lane.expected(|expected| expected.bank.candidates().swap_remove(0));
        let accounts: Vec<String> = accounts.iter().map(|(k, b)| format!("({k}, {b})")).collect();
        lane.must_run(&format!("INSERT INTO bank VALUES {}", accounts.join(", "))).await?;
        for (name, value) in
            [("reclaim.paused", "false"), ("background.rate.max", "0"), ("jobs.concurrency", "4")]
        {
            load::set(&lane, name, value).await?;
        }
        for (name, value) in self.plan.settings() {
            load::set(&lane, name, value).await?;
        }
        Ok(())
    }

    /// All rounds of the seed, or as many as there is time for.
    async fn rounds(&mut self, deadline: Instant) -> Result<(), End> {
        self.prepare().await?;
        for number in 0..self.plan.rounds {
            self.begin_round(number);
            let round = self.plan.round(number);
            self.load(&round).await?;
            self.restart(&round).await?;
            self.verify().await?;
            let last = number + 1 == self.plan.rounds || Instant::now() >= deadline;
            if round.settle || last {
                self.settle().await?;
            }
            if last {
                break;
            }
        }
        Ok(())
    }

    /// The numbers of one connection in one round.
    pub(crate) fn random(&self, round: u32, lane: u64) -> Random {
        self.plan.random(round, lane)
    }

    pub(crate) fn begin_round(&mut self, number: u32) {
        self.round = number;
        self.shared.journal.begin_round(number);
    }

    /// Load, until the moment of the round comes or a fault is found; then the server stops.
    async fn load(&mut self, round: &Round) -> Result<(), End> {
        self.shared.stop(false);
        let (plan, number) = (self.plan.clone(), self.round);
        let random = |lane| plan.random(number, lane);
        let lanes = load::begin(&self.place(), Extent { settings: true }, random).await?;
        let moment = tokio::time::sleep(round.load);
        tokio::select! {
            () = moment => {}
            () = self.shared.faulty.notified() => {}
        }
        self.still_runs()?;
        match round.stop {
            Stop::Kill => {
                self.shared.journal.note("runner", "SIGKILL");
                self.server.kill().await;
                self.report.kills += 1;
            }
            Stop::Terminate => self.terminate().await?,
        }
        self.cut_power(0);
        load::end(&self.shared, lanes).await;
        self.report.rounds += 1;
        self.check()
    }

    /// The power goes, if this is about that; the server is dead.
    fn cut_power(&mut self, cut: u64) {
        let lose = self.plan.lose(self.round, cut);
        if let Some(disk) = self.server.disk() {
            self.shared.journal.note("runner", &format!("power cut, losing {lose:?}"));
            disk.cut(lose);
        }
    }

    /// Nobody but us ends the server.
    pub(crate) fn still_runs(&mut self) -> Result<(), Fault> {
        match self.server.has_ended() {
            None => Ok(()),
            Some(status) => Err(Fault::new("the server under load", "a process", status)),
        }
    }

    /// Stops the server as an operator would.
    pub(crate) async fn terminate(&mut self) -> Result<(), Fault> {
        self.shared.stop(true);
        self.shared.journal.note("runner", "SIGTERM");
        let status = self.server.terminate().await;
        if status.success() {
            return Ok(());
        }
        Err(Fault::new("the server after SIGTERM", "exit status 0", status))
    }

    /// Ends the round if anything was found.
    pub(crate) fn check(&self) -> Result<(), End> {
        // It is in the list already; this one only ends the round.
        if self.shared.faults().is_empty() { Ok(()) } else { Err(End::Lost) }
    }

    /// Starts the server again, after processes that do not live long.
    async fn restart(&mut self, round: &Round) -> Result<(), End> {
        if round.doctor {
            self.ask_doctor("after the stop", false).await?;
        }
        for (cut, after) in (1..).zip(&round.cut_starts) {
            self.shared.journal.note("runner", &format!("start, and SIGKILL after {after:?}"));
            let ended = self.server.start_and_kill(*after).await;
            ended.map_err(|error| Fault::new("a start after a kill", "a server", error))?;
            self.report.cut_starts += 1;
            self.cut_power(cut);
        }
        Ok(self.start_again().await?)
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), Fault> {
        self.shared.stop(false);
        self.shared.journal.note("runner", "start");
        let ready = self.server.try_restart().await;
        ready.map_err(|error| Fault::new("a start", "a server that is ready", error))
    }

    /// Compares what the server has with what is expected.
    pub(crate) async fn verify(&mut self) -> Result<(), End> {
        self.check_log()?;
        let lane = self.place().lane("verify", Random::new(self.seed)).await?;
        let forgetful = self.server.disk().is_some();
        let checked = tokio::time::timeout(VERIFIED, verify::after_restart(&lane, forgetful)).await;
        alive(checked.unwrap_or_else(|_| Err(hangs("the check after a restart"))))?;
        self.check()
    }

    /// Lets everything end, asks the doctor, and compares once more.
    pub(crate) async fn settle(&mut self) -> Result<(), End> {
        let random = Random::new(self.seed).fork(self.round.into());
        let mut lane = self.place().lane("settle", random).await?;
        let store = self.server.store();
        let settled = tokio::time::timeout(2 * VERIFIED, verify::settle(&mut lane, &store)).await;
        alive(settled.unwrap_or_else(|_| Err(hangs("the end of everything"))))?;
        drop(lane);
        self.terminate().await?;
        self.ask_doctor("after everything has ended", true).await?;
        self.start_again().await?;
        self.report.settled += 1;
        self.verify().await
    }

    /// The doctor finds nothing in the store of a server that has stopped; or only what a crash may leave and the
    /// next start removes, if it need not be `clean`.
    async fn ask_doctor(&mut self, when: &str, clean: bool) -> Result<(), Fault> {
        let store = self.server.store();
        let store = store.to_str().expect("a UTF-8 path");
        let (code, out, err) = Server::cairn(&["doctor", "--json", "--store", store]).await;
        self.shared.journal.note("doctor", out.trim());
        if code == 0 && (!clean || out.trim() == r#"{"findings":[]}"#) {
            return Ok(());
        }
        let found = format!("status {code}: {} {}", out.trim(), err.trim());
        Err(Fault::new(format!("cairn doctor {when}"), "no finding", found))
    }

    /// No process has panicked.
    fn check_log(&mut self) -> Result<(), Fault> {
        let log = std::fs::read(self.server.log()).unwrap_or_default();
        let fresh = String::from_utf8_lossy(log.get(self.log_read..).unwrap_or_default());
        let panicked = fresh.lines().find(|line| line.contains("panic")).map(str::to_owned);
        self.log_read = log.len();
        match panicked {
            None => Ok(()),
            Some(line) => Err(Fault::new("the server's log", "no panic", line)),
        }
    }

    /// Adds what was done.
    pub(crate) fn tally(&mut self, to: &mut Report) {
        self.report.statements = self.shared.journal.statements();
        self.report.jobs = self.shared.expected(|expected| {
            [State::Succeeded, State::Failed, State::Canceled].map(|end| expected.jobs.ended(end))
        });
        let Report { runs, rounds, kills, cut_starts, settled, statements, jobs } = self.report;
        to.runs += runs;
        to.rounds += rounds;
        to.kills += kills;
        to.cut_starts += cut_starts;
        to.settled += settled;
        to.statements += statements;
        to.jobs.iter_mut().zip(jobs).for_each(|(to, jobs)| *to += jobs);
    }

    /// The store stays; the report says where, and that `target` of make runs it again.
    pub(crate) fn fail(&mut self, target: &'static str, faults: Vec<Fault>) -> Failure {
        let store = self.server.keep_store();
        let (history, all) = self.shared.journal.lines();
        let beside = store.with_file_name("history.txt");
        // The report has the part that matters.
        let _ = std::fs::write(beside, all.join("\n"));
        Failure { seed: self.seed, round: self.round, faults, history, target, store }
    }
}

fn hangs(what: &str) -> End {
    Fault::new(what, "an end", "none in minutes").into()
}

/// Nobody kills the server while it is checked.
pub(crate) fn alive(result: Result<(), End>) -> Result<(), End> {
    match result {
        Err(End::Lost) => {
            Err(Fault::new("the server while it is checked", "an answer", "the connection is lost")
                .into())
        }
        result => result,
    }
}
