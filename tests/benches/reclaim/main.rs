//! `make bench-reclaim`: what a cancelled job costs everybody else, against the usual ways of undoing one.
//!
//! Eight parts (see [`arguments::Part`]), each measured in interleaved pairs or repetitions, because idle
//! latencies of one machine differ from minute to minute by more than what is looked for. Results: a table
//! for people, all numbers as JSON, and plots. A missed aim is a result and not an error: the exit status
//! only says whether the program worked.

mod aims;
mod arguments;
mod cancel;
mod cleanup;
mod cost;
mod cut;
mod disk;
mod foreground;
mod governed;
mod host;
mod import;
mod last_write;
mod latency;
mod load_job;
mod machine;
mod page_cache;
mod pairs;
mod plot;
mod progress;
mod quiet;
mod repeat;
mod report;
mod results;
mod sql;
mod store;
mod strategy;
mod turns;
mod waits;
mod window;

use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Part, Plan};
use cancel::AllCancels;
use clap::Parser as _;
use cleanup::Cleanup;
use cost::Cost;
use cut::Cut;
use import::Imports;
use last_write::LastWrite;
use machine::Machine;
use pairs::Stores;
use progress::{Progress, print};
use quiet::Quiet;
use repeat::Repeat;
use results::Results;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            print(&format!("reclaim: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let plan = arguments.plan();
    let mut builder = tempfile::Builder::new();
    builder.prefix("cairn-bench-");
    let folder = match &arguments.dir {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    };
    let folder = folder.map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let machine = Machine::of(folder.path());
    let progress = Progress::new();
    let mut results = Results::of(machine, plan.seed);
    let keep = |results: &Results| keep(results, &arguments.out);
    let measured = measure(&plan, folder.path(), &mut results, &keep, &progress);
    progress.finish();
    measured?;
    print(&report::text(&results, &aims::all(&results)));
    print(&format!("Written to {}", arguments.out.display()));
    Ok(())
}

/// Runs all parts that were asked for; after each, what is known so far is kept: the whole takes hours, and may be ended before.
fn measure(
    plan: &Plan,
    folder: &Path,
    results: &mut Results,
    keep: &dyn Fn(&Results) -> Result<(), String>,
    progress: &Progress,
) -> Result<(), String> {
    let last_write = LastWrite::install()?;
    if plan.includes(Part::Cost) {
        results.cost = Some(Cost::measure(plan, progress)?);
        keep(results)?;
    }
    if plan.includes(Part::Cut) {
        results.cut = Some(Cut::measure(folder, plan, progress)?);
        keep(results)?;
    }
    if [Part::Strategies, Part::Turns, Part::Quiet].into_iter().any(|part| plan.includes(part)) {
        let stores = Stores::make(folder, plan, progress)?;
        for &size_mb in &plan.sizes_mb {
            if plan.includes(Part::Quiet) {
                results.quiet.push(Quiet::measure(&stores, plan, size_mb, progress)?);
                keep(results)?;
            }
            if plan.includes(Part::Turns) {
                results.cleanups.push(Cleanup::measure(&stores, plan, size_mb, progress)?);
                keep(results)?;
            }
            if plan.includes(Part::Strategies) {
                results.sizes.push(stores.measure(plan, size_mb, progress)?);
                keep(results)?;
            }
        }
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    if plan.includes(Part::Cancel) {
        let cancels = AllCancels::measure(folder, plan, &last_write, progress);
        results.cancels = Some(runtime.block_on(cancels)?);
        keep(results)?;
    }
    if plan.includes(Part::Import) {
        results.imports = Some(runtime.block_on(Imports::measure(folder, plan, progress))?);
        keep(results)?;
    }
    if plan.includes(Part::Repeat) {
        results.repeat = Some(runtime.block_on(Repeat::measure(folder, plan, progress))?);
        keep(results)?;
    }
    Ok(())
}

/// Writes the numbers, the report and the plots.
fn keep(results: &Results, out: &Path) -> Result<(), String> {
    let aims = aims::all(results);
    let report = report::text(results, &aims);
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", out.display());
    std::fs::create_dir_all(out).map_err(|error| failed(&error))?;
    let json =
        serde_json::to_string_pretty(&results.to_json(&aims)).map_err(|error| failed(&error))?;
    std::fs::write(out.join("reclaim.json"), json + "\n").map_err(|error| failed(&error))?;
    std::fs::write(out.join("reclaim.txt"), report).map_err(|error| failed(&error))?;
    for size in &results.sizes {
        plot::latency(size, &out.join(format!("latency-{}mb.svg", size.size_mb)))?;
        plot::ratios(size, &out.join(format!("ratio-{}mb.svg", size.size_mb)))?;
    }
    for cleanup in &results.cleanups {
        plot::turns(cleanup, &out.join(format!("turns-{}mb.svg", cleanup.size_mb)))?;
    }
    Ok(())
}
