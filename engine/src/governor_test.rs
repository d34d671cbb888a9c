//! A golden timeline: what happens at a tick on the left of `->`, what is decided on the right.
//!
//! Words: `fg` (the foreground works), `p99 X` (X times its baseline; above 1.1 it is slow), `stall N`
//! (an operation took N ms), `unknown` (no baseline yet), `work` (as much was taken from the budget as
//! it allows), `wait` (somebody waits for it), `trash N` (N MiB are still to be freed, and were freed as
//! fast as asked), `level0 N` of 20, `pending N` of 64 GiB,
//! `delayed`, `stopped`, `free N` (GiB); `x N` repeats the tick, and shows the last of them. The expected part was
//! looked at, not copied blindly.

use std::fmt::Write as _;

use super::*;
use crate::baseline::Statistic;
use crate::latency::Operation;

const GIB: u64 = 1 << 30;

fn foreground(ratio: f64) -> Judgement {
    let baseline = Duration::from_micros(1000);
    let p99 = baseline.mul_f64(ratio);
    let (operation, statistic) = (Operation::Read, Statistic::P99);
    let worst = Comparison { operation, statistic, latency: p99, baseline, ratio, allowed: 1.1 };
    Judgement { operations: 100, known: true, worst: Some(worst), slow: ratio > 1.1, stall: None }
}

/// The signals that the words of a line stand for.
fn signals(words: &[&str], elapsed: Duration, last: &Decision) -> Signals {
    let due = |rate: u64| (rate as f64 * elapsed.as_secs_f64()) as u64;
    let mut signals = Signals { level0_limit: 20, pending_limit: 64 * GIB, ..Signals::default() };
    signals.foreground.known = true;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse::<f64>().unwrap();
        match *word {
            "fg" => signals.foreground = foreground(1.0),
            "p99" => signals.foreground = foreground(number()),
            "stall" => signals.foreground.stall = Some(Duration::from_millis(number() as u64)),
            "unknown" => {
                (signals.foreground.known, signals.foreground.worst) = (false, None);
            }
            "work" => signals.taken_bytes = due(if last.rate == 0 { GIB } else { last.rate }),
            "half" => signals.taken_bytes /= 2,
            "third" => signals.taken_bytes /= 3,
            "wait" => signals.waiting = true,
            "paused" => signals.paused = true,
            "trash" => {
                signals.trash_bytes = number() as u64 * (1 << 20);
                signals.freed_bytes = due(last.deletion_rate);
            }
            "level0" => signals.level0_files = number() as u64,
            "pending" => signals.pending_bytes = number() as u64 * GIB,
            "delayed" => signals.writes_delayed = true,
            "stopped" => signals.writes_stopped = true,
            "free" => signals.free_bytes = Some(number() as u64 * GIB),
            _ => panic!("unknown word: {word}"),
        }
    }
    signals
}

/// Runs a timeline and writes the decisions behind its lines.
fn run(timeline: &str) -> String {
    let mut calculator = Calculator::default();
    let mut limits = GovernorLimits::default();
    let (mut out, mut now) = (String::new(), Duration::ZERO);
    let mut last = calculator.decide(&limits, &Signals::default(), now);
    for line in timeline.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        let command = line.split("->").next().unwrap().trim();
        let words: Vec<&str> = command.split_whitespace().collect();
        if let ["limit", mib] = words[..] {
            limits.rate_max = mib.parse::<u64>().unwrap() << 20;
            writeln!(out, "{command}").unwrap();
            continue;
        }
        let then = Duration::from_millis(words[0].parse().unwrap());
        let (words, times) = match words[1..] {
            [ref words @ .., "x", times] => (words, times.parse().unwrap()),
            ref words => (words, 1),
        };
        let mut due = then;
        for _ in 0..times {
            let signals = signals(words, due - now, &last);
            last = calculator.decide(&limits, &signals, due);
            (now, due) = (due, due + Duration::from_millis(100));
        }
        let rate = match last.rate {
            0 => "no limit".to_owned(),
            rate => format!("{} MiB/s", rate >> 20),
        };
        let first = if last.reclaim_first { ", reclaim first" } else { "" };
        let freed = last.deletion_rate >> 20;
        writeln!(out, "{command} -> {rate}, frees {freed}{first}: {}", last.reason).unwrap();
    }
    out
}

fn check(timeline: &str) {
    let lines = timeline.lines().map(str::trim).filter(|line| !line.is_empty());
    let expect: String = lines.flat_map(|line| [line, "\n"]).collect();
    let got = run(timeline);
    assert!(got == expect, "expected:\n{expect}\ngot:\n{got}");
}

#[test]
fn golden_timeline() {
    check(
        "
        # Nobody is there: no limit, and dropped files go as fast as they can.
        100 work -> no limit, frees 15258: no foreground work
        200 work trash 500 -> no limit, frees 15258: no foreground work
        # Background work rests, and the foreground comes: a modest rate waits for what comes next.
        300 fg -> 8 MiB/s, frees 128: foreground read p99 1.00x of baseline, within 1.10x
        400 fg -> 8 MiB/s, frees 128: foreground read p99 1.00x of baseline, within 1.10x
        # It begins. The rates grow with every tick in which nothing suffers, as long as they are used.
        500 fg work -> 8 MiB/s, frees 128: foreground read p99 1.00x of baseline, within 1.10x
        600 fg work -> 8 MiB/s, frees 128: foreground read p99 1.00x of baseline, within 1.10x
        700 fg -> 8 MiB/s, frees 128: foreground read p99 1.00x of baseline, within 1.10x
        800 fg work trash 900 -> 9 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        900 fg work trash 900 -> 10 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        1000 fg work trash 900 -> 10 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        1100 fg work trash 900 x 20 -> 34 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        3100 fg work trash 900 x 30 -> 197 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        # The foreground suffers: cut in proportion, and given time to show.
        6200 p99 1.5 work trash 900 -> 136 MiB/s, frees 187: foreground read p99 1.50x of baseline, above 1.10x
        6300 p99 1.4 work trash 900 -> 136 MiB/s, frees 187: foreground read p99 1.50x of baseline, above 1.10x
        6400 p99 1.3 work trash 900 -> 136 MiB/s, frees 187: foreground read p99 1.50x of baseline, above 1.10x
        6500 p99 1.3 work trash 900 -> 115 MiB/s, frees 158: foreground read p99 1.30x of baseline, above 1.10x
        # A very slow foreground halves it, not less.
        6800 p99 9 work -> 57 MiB/s, frees 158: foreground read p99 9.00x of baseline, above 1.10x
        # From then on it climbs slowly to where it was cut, and more slowly beyond.
        7200 fg work -> 59 MiB/s, frees 158: foreground read p99 9.00x of baseline, above 1.10x
        7300 fg work -> 61 MiB/s, frees 158: foreground read p99 9.00x of baseline, above 1.10x
        7400 fg work x 10 -> 82 MiB/s, frees 158: foreground read p99 1.00x of baseline, within 1.10x
        8400 fg work x 10 -> 106 MiB/s, frees 158: foreground read p99 1.00x of baseline, within 1.10x
        9400 fg work x 10 -> 117 MiB/s, frees 158: foreground read p99 1.00x of baseline, within 1.10x
        10400 fg work x 10 -> 130 MiB/s, frees 158: foreground read p99 1.00x of baseline, within 1.10x
        11400 fg work x 10 -> 143 MiB/s, frees 158: foreground read p99 1.00x of baseline, within 1.10x
        # One stall counts at once.
        12400 fg stall 120 work -> 71 MiB/s, frees 158: a foreground operation took 120 ms
        # RocksDB: level 0 and compaction debt halve, stalled writers end it for two seconds.
        12800 fg level0 10 work -> 35 MiB/s, frees 158: 10 files in level 0; writers are slowed down at 20
        13200 fg pending 32 work -> 17 MiB/s, frees 158: 32768 MiB to compact; writers are slowed down at 65536 MiB
        13600 fg pending 52 work -> 4 MiB/s, frees 64: 53248 MiB to compact; writers are slowed down at 65536 MiB
        13700 fg stopped work -> 4 MiB/s, frees 64: RocksDB has stopped writers
        15600 fg work -> 4 MiB/s, frees 64: RocksDB has stopped writers
        15800 fg work -> 4 MiB/s, frees 64: foreground read p99 1.00x of baseline, within 1.10x
        # The foreground leaves, and a second later nothing is limited any more.
        15900 work -> 4 MiB/s, frees 64: little foreground work
        16700 work -> 4 MiB/s, frees 64: little foreground work
        16900 work trash 4000 -> no limit, frees 15258: no foreground work
        # Not even then may RocksDB be overrun.
        17000 work delayed -> 4 MiB/s, frees 64: RocksDB slows writers down
        18000 work -> 4 MiB/s, frees 64: RocksDB slows writers down
        19100 work -> no limit, frees 15258: no foreground work
        # An unknown foreground is learned first; three seconds, and it is too rare to be judged.
        24000 -> no limit, frees 15258: no background work
        25100 fg unknown work -> 8 MiB/s, frees 128: learning how fast the foreground is
        26000 fg unknown work -> 8 MiB/s, frees 128: learning how fast the foreground is
        28200 fg unknown work -> 8 MiB/s, frees 128: little foreground work
        28300 fg unknown work -> 8 MiB/s, frees 128: little foreground work
        # What a person allows holds whatever the foreground says.
        limit 9
        28400 fg work -> 9 MiB/s, frees 9: background.rate.max
        28500 fg work trash 10 -> 9 MiB/s, frees 9: background.rate.max
        29600 work -> 9 MiB/s, frees 9: background.rate.max
        # With little space left, what gives space back waits for nothing.
        30000 fg work trash 100 free 2 -> 8 MiB/s, frees 15258, reclaim first: 2048 MiB free, below the floor of 4096 MiB
        limit 0
        30100 fg work trash 100 free 5 -> 8 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        30200 p99 3 work trash 100 free 2 -> 4 MiB/s, frees 15258, reclaim first: 2048 MiB free, below the floor of 4096 MiB
        ",
    );
}

#[test]
fn the_baseline_is_learned_at_rest_before_it_is_known_and_after_crawling_in_vain() {
    let mut calculator = Calculator::default();
    let limits = GovernorLimits::default();
    let mut tick = |words: &[&str], millis: u64| {
        let last = Decision {
            rate: 32 << 20,
            deletion_rate: 256 << 20,
            steps: Steps::Shared,
            freeing: 1,
            reclaim_first: false,
            start_afresh: false,
            report_reader: false,
            reason: Reason::Resting,
        };
        let signals = signals(words, Duration::from_millis(100), &last);
        calculator.decide(&limits, &signals, Duration::from_millis(millis));
        calculator.learns()
    };
    assert!(tick(&["fg"], 100), "background work rests");
    assert!(tick(&["fg", "unknown", "work"], 200), "nothing is known yet");
    assert!(!tick(&["fg", "work"], 300));
    let mut learns_at = None;
    for tenth in 4..200 {
        if tick(&["p99", "3", "work"], tenth * 100) {
            learns_at = Some(tenth);
            break;
        }
    }
    let learns_at =
        learns_at.expect("crawling does not help, so background work is not the reason");
    assert!((50..80).contains(&learns_at), "after {learns_at} tenths of a second");
}

#[test]
fn no_signal_makes_a_rate_that_nothing_can_live_with() {
    // Small numbers for every signal, in every combination of a few.
    let mut calculator = Calculator::default();
    let mut seed = 1_u64;
    for tick in 0..100_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32, of: u64| (seed >> shift) % of;
        let mut foreground = if pick(10, 2) == 0 {
            Judgement::default()
        } else {
            foreground(pick(12, 40) as f64 / 10.0)
        };
        foreground.known = pick(17, 3) > 0;
        foreground.stall = (pick(19, 20) == 0).then_some(Duration::from_millis(50));
        let signals = Signals {
            foreground,
            taken_bytes: pick(24, 2) << pick(25, 40),
            waiting: pick(31, 2) == 0,
            freed_bytes: pick(32, 2) << pick(33, 40),
            trash_bytes: pick(38, 2) << 30,
            freeing: pick(39, 4) as u32,
            paused: pick(41, 2) == 0,
            level0_files: pick(40, 30),
            level0_limit: 20,
            pending_bytes: pick(45, 100) << 30,
            pending_limit: 64 << 30,
            writes_delayed: pick(52, 30) == 0,
            writes_stopped: pick(54, 30) == 0,
            free_bytes: (pick(56, 3) > 0).then_some(pick(57, 8) << 30),
            oldest_reader: None,
        };
        let rate_max = if pick(60, 2) == 0 { 0 } else { 50 << 20 };
        let limits = GovernorLimits { rate_max, ..GovernorLimits::default() };
        // Ticks come late, and the clock may stand still.
        let decision = calculator.decide(&limits, &signals, Duration::from_millis(tick / 3 * 170));
        assert!(decision.rate == 0 || decision.rate >= 4 << 20, "{decision:?}");
        assert!(rate_max == 0 || (1..=rate_max).contains(&decision.rate), "{decision:?}");
        assert!(decision.deletion_rate >= 1 << 20, "{decision:?}");
    }
}

#[test]
fn files_are_cut_in_short_steps_while_somebody_works_and_in_long_ones_when_nobody_does_or_space_is_short()
 {
    let mut calculator = Calculator::default();
    let limits = GovernorLimits::default();
    let last = calculator.decide(&limits, &Signals::default(), Duration::ZERO);
    let mut steps = |line: &[&str], millis: u64| {
        let signals = signals(line, Duration::from_millis(100), &last);
        calculator.decide(&limits, &signals, Duration::from_millis(millis)).steps
    };
    assert_eq!(steps(&["trash", "900"], 100), Steps::Alone);
    assert_eq!(steps(&["fg", "trash", "900"], 200), Steps::Shared);
    assert_eq!(steps(&["fg", "trash", "900", "free", "2"], 300), Steps::Alone);
    assert_eq!(steps(&["fg", "trash", "900", "free", "9"], 400), Steps::Shared);
    assert_eq!(steps(&["trash", "900"], 1500), Steps::Alone, "the foreground has gone");
}

#[test]
fn a_rate_grows_while_it_is_used_and_beside_trash_while_its_half_is() {
    let limits = GovernorLimits::default();
    let grows = |words: &[&str]| {
        let mut calculator = Calculator::default();
        let mut last = calculator.decide(&limits, &Signals::default(), Duration::ZERO);
        // Beside a foreground it is known where the rate begins.
        for tick in 1..10 {
            let signals = signals(&["fg", "work"], Duration::from_millis(100), &last);
            last = calculator.decide(&limits, &signals, Duration::from_millis(tick * 100));
        }
        let before = last.rate;
        let signals = signals(words, Duration::from_millis(100), &last);
        calculator.decide(&limits, &signals, Duration::from_secs(1)).rate > before
    };
    assert!(grows(&["fg", "work"]) && grows(&["fg", "work", "half", "trash", "900"]));
    assert!(grows(&["fg", "work", "third", "trash", "900"]));
    assert!(!grows(&["fg", "work", "third"]), "it is not used");
}

#[test]
fn while_reclaim_is_paused_that_is_the_reason_unless_something_else_works() {
    let mut calculator = Calculator::default();
    let limits = GovernorLimits::default();
    let mut reason = |words: &[&str], millis: u64| {
        let last = calculator.decide(&limits, &Signals::default(), Duration::ZERO);
        let signals = signals(words, Duration::from_millis(100), &last);
        calculator.decide(&limits, &signals, Duration::from_millis(millis)).reason
    };
    assert_eq!(reason(&["paused"], 100), Reason::Paused);
    assert_eq!(reason(&["paused", "fg", "trash", "900"], 200), Reason::Paused);
    assert_ne!(reason(&["paused", "wait"], 300), Reason::Paused);
    assert_ne!(reason(&["paused", "work"], 400), Reason::Paused);
    assert_ne!(reason(&["trash", "900"], 500), Reason::Paused);
}

#[test]
fn those_who_free_files_at_the_same_time_share_the_rate_and_the_disks_time() {
    let limits = GovernorLimits::default();
    let decide = |freeing: u32| {
        let mut calculator = Calculator::default();
        let signals = Signals {
            foreground: foreground(1.0),
            trash_bytes: 1 << 30,
            freeing,
            ..Signals::default()
        };
        calculator.decide(&limits, &signals, Duration::from_millis(100))
    };
    let alone = decide(1);
    assert_eq!(alone.deletion_rate_of_each(), alone.deletion_rate);
    for freeing in [0, 1, 2, 5] {
        let decision = decide(freeing);
        let of = f64::from(freeing.max(1));
        assert_eq!(decision.deletion_rate, alone.deletion_rate, "of all together");
        let rates = decision.deletion_rate_of_each() as f64 * of;
        assert!((rates - alone.deletion_rate as f64).abs() < of, "{freeing}");
        let part = of / f64::from(1 + decision.rest_of_each());
        assert!((part - 0.05).abs() < 1e-9, "{freeing} have {part} of the time");
    }
    assert_eq!(Steps::Alone.rest_of_each(3), 0, "nobody is held up");
}

#[test]
fn a_reader_that_is_too_old_is_reported_once_and_again_if_there_is_another() {
    let limits = GovernorLimits::default();
    let mut calculator = Calculator::default();
    let (old, young) = (limits.reader_age_max + Duration::from_secs(1), Duration::from_secs(1));
    let mut reports = |oldest_reader| {
        let signals = Signals { oldest_reader, ..Signals::default() };
        calculator.decide(&limits, &signals, Duration::ZERO).report_reader
    };
    let ages = [None, Some(young), Some(old), Some(old), Some(young), Some(old), None];
    assert_eq!(ages.map(&mut reports), [false, false, true, false, false, true, false]);
}
