//! The results as text for a terminal of 100 columns.

use cairn_tests::bench::statistics::{Interval, median};

use crate::aims::{Aim, size_name};
use crate::cancel::{AllCancels, Cancels, Moment};
use crate::cleanup::Cleanup;
use crate::host::reason;
use crate::import::Imports;
use crate::latency::Percentile;
use crate::pairs::{Calm, Pair, STALL_MS, Size};
use crate::quiet::Quiet;
use crate::results::Results;
use crate::strategy::Strategy;
use crate::turns::Side;
use crate::window::Window;

/// Width of the first column.
const NAME: usize = 26;

/// The whole report.
pub(super) fn text(results: &Results, aims: &[Aim]) -> String {
    let mut lines =
        vec!["Reclaim: what a cancelled job costs everybody else".to_owned(), String::new()];
    lines.extend(results.machine.lines());
    results.sizes.iter().for_each(|size| strategies(&mut lines, size));
    results.cleanups.iter().for_each(|found| cleanups(&mut lines, found));
    results.cancels.iter().for_each(|all| cancels(&mut lines, all));
    if !results.quiet.is_empty() {
        quiet(&mut lines, &results.quiet);
    }
    results.imports.iter().for_each(|found| imports(&mut lines, found));
    if let Some(repeat) = &results.repeat {
        lines.push(String::new());
        lines.push(format!(
            "{} small imports cancelled in a row: {:.0} s, {:.1} ms each",
            repeat.cycles,
            repeat.seconds,
            repeat.seconds * 1000.0 / repeat.cycles as f64
        ));
        let parts = repeat.memory().map(|(name, early, late)| {
            format!("{name} {} > {}", megabytes(early as f64), megabytes(late as f64))
        });
        lines.push(format!(
            "of the memory the store holds, first > last fifth: {}",
            parts.join(", ")
        ));
    }
    if let Some(cost) = &results.cost {
        lines.push(String::new());
        lines.push(format!(
            "Measuring an operation costs {:.0} ns, of which {:.0} ns for the clock; {:.0} ns on {} threads",
            cost.measured, cost.clock, cost.beside_others, cost.threads
        ));
    }
    if let Some(cut) = &results.cut {
        let [short, long, before] = cut.step_ms;
        lines.push(String::new());
        lines.push(format!(
            "A step in which a file is cut: 1 MiB in {short:.2} ms, 8 MiB in {before:.2} ms, 16 MiB in {long:.2} ms"
        ));
    }
    verdicts(&mut lines, aims);
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn strategies(lines: &mut Vec<String>, size: &Size) {
    let pairs = size.of(Strategy::Nothing).len();
    lines.push(String::new());
    lines.push(format!(
        "A job of {} cancelled at half: {pairs} interleaved pairs, foreground {} operations/s",
        size_name(size.size_mb),
        offered(&size.rates)
    ));
    lines.push(String::new());
    latencies(lines, size);
    lines.push(String::new());
    cleanup(lines, size);
}

/// Foreground latencies: a line of milliseconds and a line of ratios for each strategy.
fn latencies(lines: &mut Vec<String>, size: &Size) {
    lines.push(
        "Foreground: median ms idle > undo, and the median ratio with its 95 % interval".to_owned(),
    );
    let columns: String =
        Percentile::ALL.iter().map(|percentile| format!("{:>18}", percentile.name())).collect();
    lines.push(format!("{:<NAME$}{columns}", ""));
    for strategy in Strategy::ALL {
        if size.of(strategy).is_empty() {
            continue;
        }
        let (mut medians, mut ratios) = (String::new(), String::new());
        for percentile in Percentile::ALL {
            let idle = size.median(strategy, |pair| percentile.of(&pair.idle.latency));
            let undo = size.median(strategy, |pair| percentile.of(&pair.undo.latency));
            let (idle, undo) = (idle.unwrap_or(0.0), undo.unwrap_or(0.0));
            medians.push_str(&format!("{:>18}", format!("{} > {}", short(idle), short(undo))));
            ratios.push_str(&format!("{:>18}", spread(size.ratio(strategy, percentile))));
        }
        let (aside, all) = size.with_aside(strategy, Percentile::P99);
        lines.push(format!("{:<NAME$}{medians}", strategy.name()));
        lines.push(format!("{:<NAME$}{ratios}", ""));
        if aside > 0 {
            let all = crate::aims::ratio(all);
            lines.push(format!(
                "{:<NAME$}set aside: {aside} pairs, {}; p99 with them {all}",
                "",
                reason()
            ));
        }
        let calm = size.calm(strategy);
        let [p99, p999] = [Percentile::P99, Percentile::P999]
            .map(|percentile| crate::aims::ratio(calm.ratio(percentile)));
        lines.push(format!("{:<NAME$}calm moments: p99 {p99}, p99.9 {p999}", ""));
        let part = |windows: &[&Window]| {
            format!("{:.0} % of {} windows", Calm::part(windows) * 100.0, windows.len())
        };
        let (undos, idle) = (part(&calm.undos), part(&calm.idle));
        lines.push(format!("{:<NAME$}these are {undos}; idle {idle}", ""));
    }
    lines.extend(
        [
            "calm moments: nothing was counted as taken by the host of the virtual machine (in ticks of 10 ms)",
            "from 250 ms before an operation was due until 150 ms after. Medians of windows over all idle ones of",
            "the store. No verdict: something is taken only while a processor is wanted, so that whatever",
            "computes has fewer calm moments",
        ]
        .map(str::to_owned),
    );
}

/// What the cleanup did: medians.
fn cleanup(lines: &mut Vec<String>, size: &Size) {
    lines.push("Cleanup: medians".to_owned());
    lines.push(format!(
        "{:<NAME$}{:>10}{:>11}{:>10}{:>10}{:>11}{:>9}{:>11}",
        "", "invisible", "disk back", "read", "written", "peak extra", "stalls", "throttled"
    ));
    for strategy in Strategy::ALL {
        let pairs = size.of(strategy);
        if pairs.is_empty() {
            continue;
        }
        let bytes = |of: fn(&Pair) -> u64| {
            megabytes(size.median(strategy, |pair| of(pair) as f64).unwrap_or(0.0))
        };
        let with = size.stalls(strategy);
        let throttled = size.median(strategy, |pair| {
            pair.undo.stalled_looks as f64 / pair.undo.looks.max(1) as f64 * 100.0
        });
        lines.push(format!(
            "{:<NAME$}{:>10}{:>11}{:>10}{:>10}{:>11}{:>9}{:>11}",
            strategy.name(),
            moment(&pairs, |pair| pair.undo.gone_seconds),
            moment(&pairs, |pair| pair.undo.back_seconds),
            bytes(|pair| pair.undo.io.read),
            bytes(|pair| pair.undo.io.written),
            bytes(|pair| pair.undo.extra_bytes),
            format!("{}/{}", with.0, with.1),
            format!("{:.0} %", throttled.unwrap_or(0.0))
        ));
    }
    lines.push(format!(
        "read: page cache included; stalls: windows with an operation above {STALL_MS:.0} ms that idle lacks;"
    ));
    lines.push(format!(
        "throttled: time for which RocksDB held writers up; > : the window ended at {:.0} s, not yet done",
        size.window_max_seconds
    ));
}

/// The median moment of something in a window; `>` if in most windows it did not come.
fn moment(pairs: &[&Pair], of: fn(&Pair) -> Option<f64>) -> String {
    if pairs.first().is_some_and(|pair| pair.strategy == Strategy::Nothing) {
        return "-".to_owned();
    }
    let mut moments: Vec<Option<f64>> = pairs.iter().map(|pair| of(pair)).collect();
    moments.sort_by(|one, other| {
        one.unwrap_or(f64::INFINITY).total_cmp(&other.unwrap_or(f64::INFINITY))
    });
    match moments.get(moments.len() / 2).copied().flatten() {
        Some(seconds) => seconds_text(seconds),
        None => {
            let longest = pairs.iter().map(|pair| pair.undo.seconds).fold(0.0, f64::max);
            format!(">{}", seconds_text(longest))
        }
    }
}

/// Cleanup in turns with idle: a line of milliseconds, and the ratios of turns and of windows.
fn cleanups(lines: &mut Vec<String>, cleanup: &Cleanup) {
    lines.push(String::new());
    if cleanup.undos.count() == 0 {
        lines.push(format!("A job of {}: too small for turns", size_name(cleanup.size_mb)));
        return;
    }
    let (what, own) = if cleanup.cancels {
        ("cancelled at half, its cleanup in turns with idle", "Cairn by files")
    } else {
        ("that stays, nothing in turns with nothing", "nothing, in stretches")
    };
    lines.push(format!(
        "A job of {} {what}: foreground {} operations/s",
        size_name(cleanup.size_mb),
        offered(&cleanup.rates)
    ));
    let line = |cell: &dyn Fn(Percentile) -> String| -> String {
        Percentile::ALL.iter().map(|percentile| format!("{:>18}", cell(*percentile))).collect()
    };
    lines.push(format!("{:<NAME$}{}", "", line(&|percentile| percentile.name().to_owned())));
    let (undos, control) = (&cleanup.undos, &cleanup.control);
    for (name, of) in [("nothing (control)", control), (own, undos)] {
        let medians = line(&|percentile| {
            let [idle, cleanup] = of.medians(percentile).map(short);
            format!("{idle} > {cleanup}")
        });
        lines.push(format!("{name:<NAME$}{medians}"));
        let turns = line(&|percentile| spread(of.of_turns(percentile)));
        lines.push(format!("{:<NAME$}{turns}", format!("  {} pairs of turns", of.pairs())));
        let windows = line(&|percentile| spread(of.of_windows(percentile)));
        lines.push(format!("{:<NAME$}{windows}", format!("  {} windows", of.count())));
    }
    lines.push(format!("{} stretches of turns over the rests beside them", undos.stretches()));
    for (name, side) in [
        ("  a rest over the one before", Side::Control),
        ("  idle turns", Side::Idle),
        ("  turns of cleanup", Side::Cleanup),
    ] {
        let ratios = line(&|percentile| spread(undos.over_rests(side, percentile)));
        lines.push(format!("{name:<NAME$}{ratios}"));
    }
    lines.push(format!(
        "{} in a second of cleanup; {:.1} % of what was freed went in idle turns; the host took {:.1} %",
        megabytes(undos.rate()),
        undos.idle_part() * 100.0,
        undos.stolen() * 100.0
    ));
    if cleanup.aside > 0 {
        lines.push(format!(
            "set aside: {} undos, before which the foreground was behind",
            cleanup.aside
        ));
    }
    let [own, idle] = undos.stalls().map(|part| format!("{:.1} %", part * 100.0));
    lines.push(format!(
        "turns with a stall above {STALL_MS:.0} ms: {own} of cleanup, {idle} of idle"
    ));
}

fn spread(ratio: Option<Interval>) -> String {
    ratio.map_or_else(String::new, |Interval { low, median, high }| {
        format!("{}x [{},{}]", short(median), short(low), short(high))
    })
}

fn cancels(lines: &mut Vec<String>, all: &AllCancels) {
    lines.push(String::new());
    lines.push(
        "Cancel of a job that writes at full speed: ms from the call, p50 / p99 / longest"
            .to_owned(),
    );
    let columns: String =
        Moment::ALL.iter().map(|moment| format!("{:>20}", moment.name())).collect();
    lines.push(format!("{:<20}{columns}", ""));
    let times = |of: &Cancels, moment| {
        let at = |part| of.at(moment, part).map_or_else(|| "-".to_owned(), short);
        format!("{} / {} / {}", at(0.5), at(0.99), at(1.0))
    };
    for of in all.each() {
        let columns: String =
            Moment::ALL.iter().map(|moment| format!("{:>20}", times(of, *moment))).collect();
        lines.push(format!("{:<20}{columns}", format!("{} ({})", of.name, of.count())));
    }
    let before = Moment::SyncBefore;
    let alone = all.each().map(|of| format!("{} {}", of.name, times(of, before)));
    lines.push(format!("{}: {}", before.name(), alone.join("; ")));
    for of in all.each() {
        if of.aside() > 0 {
            lines.push(format!("set aside: {} cancels of {}, {}", of.aside(), of.name, reason()));
        }
    }
    let bytes = all.each().map(|of| format!("{} {}", of.name, megabytes(of.bytes() as f64)));
    lines.push(format!("bytes in when it was cancelled, medians: {}", bytes.join(", ")));
}

fn quiet(lines: &mut Vec<String>, all: &[Quiet]) {
    lines.push(String::new());
    lines.push("Cleanup without a foreground: medians".to_owned());
    for quiet in all {
        let back = |strategy| quiet.back_seconds(strategy).map_or_else(String::new, seconds_text);
        lines.push(format!(
            "{:<8}{} trials: disk back in {} unpaced, {} by Cairn",
            size_name(quiet.size_mb),
            quiet.count(),
            back(Strategy::DeleteFiles),
            back(Strategy::CairnFiles)
        ));
    }
}

fn imports(lines: &mut Vec<String>, imports: &Imports) {
    lines.push(String::new());
    lines.push(format!(
        "IMPORT beside a foreground of {:.0} operations/s: median ms idle > import, ratio, idle again",
        imports.rate
    ));
    for percentile in Percentile::ALL {
        let [idle, import] = imports.medians(percentile).map(|ms| short(ms.unwrap_or(0.0)));
        let [ratio, again] = imports.ratios(percentile).map(crate::aims::ratio);
        let medians = format!("{idle} > {import}");
        lines.push(format!("{:<8}{medians:>20}{ratio:>30}{again:>30}", percentile.name()));
    }
    for (name, waits) in ["idle", "import"].into_iter().zip(imports.slowest()) {
        let [all, processor, read, update] =
            [waits.sum(), waits.processor, waits.read, waits.update]
                .map(|seconds| short(f64::from(seconds) * 1000.0));
        lines.push(format!(
            "the slowest hundredth, {name}: {all} ms each, {processor} for a processor, {read} in reads, {update} in updates"
        ));
    }
    if let Some((aside, all)) = imports.with_aside(Percentile::P99) {
        let all = crate::aims::ratio(all);
        lines.push(format!("set aside: {aside} windows, {}; p99 with them {all}", reason()));
    }
    let [beside, governed, ungoverned] =
        imports.rates_mb().map(|rate| format!("{:.0} MB/s", rate.unwrap_or(0.0)));
    lines.push(format!(
        "rate of CSV: {beside} beside the foreground, {governed} alone, {ungoverned} alone and ungoverned"
    ));
}

fn verdicts(lines: &mut Vec<String>, aims: &[Aim]) {
    if aims.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(format!("{:<54}{:<22}{:<15}verdict", "Aims", "found", "limit"));
    for aim in aims {
        let number = if aim.number == 0 { "-".to_owned() } else { aim.number.to_string() };
        let what = format!("{number} {}", aim.what);
        let found = format!("{what:<54}{:<22}", aim.found);
        lines.push(format!("{found}{:<15}{}", aim.limit, aim.verdict));
        if let Some(reason) = aim.reason() {
            lines.push(format!("    void: {reason}"));
        }
    }
}

/// Three digits: `0.12`, `1.23`, `12.3`, `123`.
fn short(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn seconds_text(seconds: f64) -> String {
    if seconds < 0.9995 {
        format!("{} ms", short(seconds * 1000.0))
    } else {
        format!("{} s", short(seconds))
    }
}

/// Operations per second: the median of the rounds, and the least and the most of them.
fn offered(rates: &[f64]) -> String {
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    median(rates)
        .map_or_else(|| "0".to_owned(), |median| format!("{median:.0} ({least:.0} to {most:.0})"))
}

fn megabytes(bytes: f64) -> String {
    format!("{} MB", short(bytes / 1e6))
}
