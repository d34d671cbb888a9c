//! A golden timeline: what happens at a tick on the left of `->`, what is decided on the right.
//!
//! Words: `fg` (the foreground works), `p99 X` (X times its baseline; above 1.1 it is slow), `stall N`
//! (an operation took N ms), `unknown` (no baseline yet), `work` (as much was taken from the budget as
//! it allows), `wait` (somebody waits for it), `trash N` (N MiB are still to be freed, and were freed as
//! fast as asked), `disk N` (they were freed at N MiB/s only), `level0 N` of 20, `pending N` of 64 GiB,
//! `delayed`, `stopped`, `free N` (GiB). The expected part was looked at, not copied blindly.

use std::fmt::Write as _;

use super::*;
use crate::latency::Operation;

const GIB: u64 = 1 << 30;

fn foreground(ratio: f64) -> Judgement {
    let baseline = Duration::from_micros(1000);
    let p99 = baseline.mul_f64(ratio);
    let worst = Comparison { operation: Operation::Read, p99, baseline, ratio };
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
            "wait" => signals.waiting = true,
            "trash" => {
                signals.trash_bytes = number() as u64 * (1 << 20);
                signals.freed_bytes = due(last.deletion_rate);
            }
            "disk" => signals.freed_bytes = due(number() as u64 * (1 << 20)),
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
        let signals = signals(&words[1..], then - now, &last);
        last = calculator.decide(&limits, &signals, then);
        now = then;
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
        300 fg -> 32 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        400 fg -> 32 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        # It begins. The rate doubles with every tick in which nothing suffers, as long as it is used.
        500 fg work -> 64 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        600 fg work -> 128 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        700 fg -> 128 MiB/s, frees 256: foreground read p99 1.00x of baseline, within 1.10x
        800 fg work trash 900 -> 256 MiB/s, frees 512: foreground read p99 1.00x of baseline, within 1.10x
        900 fg work trash 900 -> 512 MiB/s, frees 1024: foreground read p99 1.00x of baseline, within 1.10x
        1000 fg work trash 900 -> 1024 MiB/s, frees 1430: foreground read p99 1.00x of baseline, within 1.10x
        1100 fg work trash 900 -> no limit, frees 1430: foreground read p99 1.00x of baseline, within 1.10x
        # The foreground suffers: cut in proportion, and given time to show.
        1200 p99 1.5 work trash 900 -> 625 MiB/s, frees 1049: foreground read p99 1.50x of baseline, above 1.10x
        1300 p99 1.4 work trash 900 -> 625 MiB/s, frees 1049: foreground read p99 1.50x of baseline, above 1.10x
        1400 p99 1.3 work trash 900 -> 625 MiB/s, frees 1049: foreground read p99 1.50x of baseline, above 1.10x
        1500 p99 1.3 work trash 900 -> 529 MiB/s, frees 887: foreground read p99 1.30x of baseline, above 1.10x
        # A very slow foreground halves it, not less.
        1800 p99 9 work -> 264 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        # From then on it climbs slowly to where it was cut, and more slowly beyond.
        2200 fg work -> 297 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2300 fg work -> 335 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2400 fg work -> 376 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2500 fg work -> 424 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2600 fg work -> 477 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2700 fg work -> 491 MiB/s, frees 887: foreground read p99 9.00x of baseline, above 1.10x
        2800 fg work -> 506 MiB/s, frees 887: foreground read p99 1.00x of baseline, within 1.10x
        2900 fg work -> 521 MiB/s, frees 887: foreground read p99 1.00x of baseline, within 1.10x
        # One stall counts at once.
        3000 fg stall 120 work -> 251 MiB/s, frees 887: a foreground operation took 120 ms
        # RocksDB: level 0 and compaction debt halve, stalled writers end it for two seconds.
        3400 fg level0 10 work -> 125 MiB/s, frees 887: 10 files in level 0; writers are slowed down at 20
        3800 fg pending 32 work -> 62 MiB/s, frees 887: 32768 MiB to compact; writers are slowed down at 65536 MiB
        4200 fg pending 52 work -> 4 MiB/s, frees 32: 53248 MiB to compact; writers are slowed down at 65536 MiB
        4300 fg stopped work -> 4 MiB/s, frees 32: RocksDB has stopped writers
        6200 fg work -> 4 MiB/s, frees 32: RocksDB has stopped writers
        6400 fg work -> 4 MiB/s, frees 32: foreground read p99 1.00x of baseline, within 1.10x
        # The foreground leaves, and a second later nothing is limited any more.
        6500 work -> 5 MiB/s, frees 32: little foreground work
        7300 work -> 5 MiB/s, frees 32: little foreground work
        7500 work trash 4000 -> no limit, frees 15258: no foreground work
        # Not even then may RocksDB be overrun.
        7600 work delayed -> 4 MiB/s, frees 32: RocksDB slows writers down
        8600 work -> 4 MiB/s, frees 32: RocksDB slows writers down
        9700 work -> no limit, frees 15258: no foreground work
        # The disk frees more slowly than asked: no more is asked of it.
        10800 fg -> 32 MiB/s, frees 256: no background work
        10900 fg trash 4000 -> 32 MiB/s, frees 512: foreground read p99 1.00x of baseline, within 1.10x
        11000 fg trash 4000 -> 32 MiB/s, frees 1024: foreground read p99 1.00x of baseline, within 1.10x
        11100 fg trash 4000 -> 32 MiB/s, frees 1430: foreground read p99 1.00x of baseline, within 1.10x
        11200 fg trash 4000 disk 400 -> 32 MiB/s, frees 800: the disk frees 800 MiB/s
        11300 fg trash 4000 disk 800 -> 32 MiB/s, frees 824: the disk frees 800 MiB/s
        12300 fg trash 4000 disk 800 -> 32 MiB/s, frees 848: foreground read p99 1.00x of baseline, within 1.10x
        # An unknown foreground is learned first; three seconds, and it is too rare to be judged.
        14000 -> no limit, frees 15258: no background work
        15100 fg unknown work -> 32 MiB/s, frees 256: learning how fast the foreground is
        16000 fg unknown work -> 32 MiB/s, frees 256: learning how fast the foreground is
        18200 fg unknown work -> 64 MiB/s, frees 256: little foreground work
        18300 fg unknown work -> 128 MiB/s, frees 256: little foreground work
        # What a person allows holds whatever the foreground says.
        limit 50
        18400 fg work -> 50 MiB/s, frees 50: background.rate.max
        18500 fg work trash 10 -> 50 MiB/s, frees 50: background.rate.max
        19600 work -> 50 MiB/s, frees 50: background.rate.max
        # With little space left, what gives space back waits for nothing.
        20000 fg work trash 100 free 2 -> 50 MiB/s, frees 15258, reclaim first: 2048 MiB free, below the floor of 4096 MiB
        limit 0
        20100 fg work trash 100 free 5 -> 128 MiB/s, frees 1024: foreground read p99 1.00x of baseline, within 1.10x
        20200 p99 3 work trash 100 free 2 -> 45 MiB/s, frees 15258, reclaim first: 2048 MiB free, below the floor of 4096 MiB
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
            reclaim_first: false,
            start_afresh: false,
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
            trash_grew: pick(39, 2) == 0,
            level0_files: pick(40, 30),
            level0_limit: 20,
            pending_bytes: pick(45, 100) << 30,
            pending_limit: 64 << 30,
            writes_delayed: pick(52, 30) == 0,
            writes_stopped: pick(54, 30) == 0,
            free_bytes: (pick(56, 3) > 0).then_some(pick(57, 8) << 30),
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
