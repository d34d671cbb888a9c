//! Plots: the foreground over time beside each undo, and the slowdown of all of them side by side.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::aims::size_name;
use crate::cleanup::Cleanup;
use crate::latency::Percentile;
use crate::pairs::{Pair, Size};
use crate::strategy::Strategy;

/// Colours that colour-blind people can tell apart (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
const PALE: RGBColor = RGBColor(225, 225, 225);
const SAND: RGBColor = RGBColor(255, 243, 220);

/// One for each way of undoing.
const COLORS: [RGBColor; 7] = [
    GREY,
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    VERMILION,
    BLUE,
    RGBColor(0, 158, 115),
];

const WIDTH: u32 = 1000;
const PANEL_HEIGHT: u32 = 170;
const HEAD_HEIGHT: u32 = 96;
const FOOT_HEIGHT: u32 = 30;
const ROW_HEIGHT: u32 = 56;
const AXIS_HEIGHT: u32 = 60;
/// Room for the names of the axes' values.
const LEFT: u32 = 70;
/// Room for the names of strategies.
const NAMES: i32 = 230;

/// Longer undos are cut here, or the short ones could not be seen; our own are shown to their end, if that is not much later.
const SECONDS_MAX: f64 = 20.0;
const OWN_SECONDS_MAX: f64 = 90.0;

/// So much of an idle window.
const IDLE_SECONDS_MAX: f64 = 5.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: impl std::fmt::Display) -> String {
    format!("a plot cannot be drawn: {error}")
}

fn style(size: u32, color: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let anchor = Pos::new(horizontal, VPos::Center);
    ("sans-serif", size).into_font().color(&color).pos(anchor)
}

/// One panel for each strategy: the typical pair of it, on one scale; and one with a line for each.
///
/// # Errors
/// The file cannot be written.
pub(super) fn latency(size: &Size, path: &Path) -> Result<(), String> {
    let typical = |strategy| size.typical(strategy);
    let pairs: Vec<&Pair> = Strategy::ALL.into_iter().filter_map(typical).collect();
    let panels_height = PANEL_HEIGHT * (pairs.len() as u32 + TOGETHER);
    let height = HEAD_HEIGHT + FOOT_HEIGHT + panels_height;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (head, rest) = root.split_vertically(HEAD_HEIGHT);
    let head_text = Head {
        title: format!(
            "Does the foreground notice when a job of {} is undone?",
            size_name(size.size_mb)
        ),
        subtitle: "Latency from the due time in milliseconds, logarithmic; of each way of undoing, the pair with the median slowdown",
        shaded: "undo, until the disk is back; dashed: the rows are gone",
    };
    latency_head(&head, &head_text)?;
    let (panels, foot) = rest.split_vertically(panels_height);
    let (panels, both) = panels.split_vertically(PANEL_HEIGHT * pairs.len() as u32);
    let seconds = |pair: &&Pair| (pair.idle.seconds, pair.undo.seconds);
    let idle = pairs.iter().map(|pair| seconds(pair).0).fold(0.0, f64::max).min(IDLE_SECONDS_MAX);
    let ours = pairs.iter().filter(|pair| pair.strategy.is_ours());
    let ours = ours.map(|pair| seconds(pair).1).fold(0.0, f64::max).min(OWN_SECONDS_MAX);
    let undo = pairs.iter().map(|pair| seconds(pair).1).fold(0.0, f64::max);
    let undo = undo.min(SECONDS_MAX.max(ours));
    let points = |pair: &&Pair| {
        [&pair.idle, &pair.undo].map(|window| window.latency.max_ms).into_iter().fold(0.0, f64::max)
    };
    let highest = pairs.iter().map(points).fold(1.0, f64::max);
    let lowest = pairs.iter().flat_map(|pair| pair.idle.course.p99.iter()).map(|point| point.1);
    let lowest = lowest.fold(1.0, f64::min).max(0.001);
    let frame = Frame { from: -idle, until: undo, lowest: lowest * 0.7, highest: highest * 2.0 };
    for (area, pair) in panels.split_evenly((pairs.len().max(1), 1)).iter().zip(&pairs) {
        panel(area, pair, &frame)?;
    }
    together(&both, &pairs, &frame)?;
    let middle = (LEFT + (WIDTH - LEFT) / 2) as i32;
    let text = "seconds from the beginning of the undo; left of it the end of the idle window, which was measured before or after it";
    foot.draw(&Text::new(text, (middle, 12), style(14, GREY, HPos::Center))).map_err(failed)?;
    root.present().map_err(failed)
}

/// What stands above a plot of latency over time.
struct Head {
    title: String,
    subtitle: &'static str,
    shaded: &'static str,
}

fn latency_head(head: &Area<'_>, said: &Head) -> Result<(), String> {
    let text = |text: &str, at: (i32, i32), style: TextStyle<'static>| {
        head.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
    };
    text(&said.title, (20, 24), style(22, BLACK, HPos::Left))?;
    text(said.subtitle, (20, 50), style(14, GREY, HPos::Left))?;
    let entries = [
        ("slowest operation of each 20 ms", BLUE, 20),
        ("99th percentile of each 100 ms", VERMILION, 300),
    ];
    for (name, color, x) in entries {
        let line = PathElement::new(vec![(x, 76), (x + 26, 76)], color.stroke_width(3));
        head.draw(&line).map_err(failed)?;
        text(name, (x + 34, 76), style(14, BLACK, HPos::Left))?;
    }
    let shade = Rectangle::new([(580, 68), (606, 84)], SAND.filled());
    head.draw(&shade).map_err(failed)?;
    text(said.shaded, (614, 76), style(14, BLACK, HPos::Left))
}

/// Seconds in a row of turns, and rows at most: nobody looks at more.
const ROW_SECONDS: f64 = 10.0;
const ROWS_MAX: usize = 4;

/// The beginning of a typical window in which cleanup and idle take turns, in rows like a text.
///
/// # Errors
/// The file cannot be written.
pub(super) fn turns(cleanup: &Cleanup, path: &Path) -> Result<(), String> {
    let trial = cleanup.undos.typical().filter(|trial| !trial.cleanup.is_empty());
    let Some(trial) = trial.filter(|_| cleanup.cancels) else {
        return Ok(());
    };
    let end = trial.cleanup.last().map_or(0.0, |(_, until)| *until);
    let rows = ((end / ROW_SECONDS).ceil() as usize).clamp(1, ROWS_MAX);
    let height = HEAD_HEIGHT + FOOT_HEIGHT + PANEL_HEIGHT * rows as u32;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (head, rest) = root.split_vertically(HEAD_HEIGHT);
    let head_text = Head {
        title: format!(
            "Does the foreground notice the cleanup of a job of {}?",
            size_name(cleanup.size_mb)
        ),
        subtitle: "Latency from the due time in milliseconds, logarithmic; the window with the median slowdown, from its beginning",
        shaded: "turns of cleanup; it is paused in the others",
    };
    latency_head(&head, &head_text)?;
    let (panels, foot) = rest.split_vertically(PANEL_HEIGHT * rows as u32);
    let highest = trial.course.max.iter().map(|point| point.1).fold(1.0, f64::max);
    let lowest = trial.course.p99.iter().map(|point| point.1).fold(1.0, f64::min).max(0.001);
    for (row, area) in panels.split_evenly((rows, 1)).iter().enumerate() {
        let from = row as f64 * ROW_SECONDS;
        let until = from + ROW_SECONDS;
        let frame = Frame { from, until, lowest: lowest * 0.7, highest: highest * 2.0 };
        let mut chart = axes(area, from, &frame)?;
        for (begin, end) in
            trial.cleanup.iter().filter(|(begin, end)| *end > from && *begin < until)
        {
            let shade = [(begin.max(from), frame.lowest), (end.min(until), frame.highest)];
            chart.draw_series([Rectangle::new(shade, SAND.filled())]).map_err(failed)?;
        }
        grid(&mut chart)?;
        for (points, color, width) in
            [(&trial.course.max, BLUE, 1), (&trial.course.p99, VERMILION, 2)]
        {
            let shown = points.iter().copied().filter(|(at, _)| (from..until).contains(at));
            let shown = shown.map(|(at, ms)| (at, ms.max(frame.lowest)));
            chart.draw_series(LineSeries::new(shown, color.stroke_width(width))).map_err(failed)?;
        }
    }
    let middle = (LEFT + (WIDTH - LEFT) / 2) as i32;
    let text = "seconds from the beginning of the window; longer parts without cleanup are rests, the control";
    foot.draw(&Text::new(text, (middle, 12), style(14, GREY, HPos::Center))).map_err(failed)?;
    root.present().map_err(failed)
}

/// Panels' heights of the one that has all ways of undoing.
const TOGETHER: u32 = 2;

/// The 99th percentile beside each way of undoing, one line each.
fn together(area: &Area<'_>, pairs: &[&Pair], frame: &Frame) -> Result<(), String> {
    let mut chart = axes(area, 0.0, frame)?;
    grid(&mut chart)?;
    let text = |text: &str, at: (i32, i32), color: RGBColor| {
        area.draw(&Text::new(text.to_owned(), at, style(14, color, HPos::Left))).map_err(failed)
    };
    text(
        "The 99th percentile of each 100 ms beside all ways of undoing",
        (LEFT as i32, 16),
        BLACK,
    )?;
    for (row, pair) in pairs.iter().enumerate() {
        let place = Strategy::ALL.iter().position(|strategy| *strategy == pair.strategy);
        let color = COLORS[place.unwrap_or_default() % COLORS.len()];
        let points = pair.undo.course.p99.iter().map(|(at, ms)| (*at, ms.max(frame.lowest)));
        let points = points.filter(|(at, _)| *at <= frame.until);
        let width = if pair.strategy.is_ours() { 2 } else { 1 };
        chart.draw_series(LineSeries::new(points, color.stroke_width(width))).map_err(failed)?;
        text(pair.strategy.name(), (WIDTH as i32 - 200, 40 + 18 * row as i32), color)?;
    }
    Ok(())
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;

/// A panel of latency over time, from that second on.
fn axes<'a, 'b>(area: &'a Area<'b>, from: f64, frame: &Frame) -> Result<Chart<'a, 'b>, String> {
    ChartBuilder::on(area)
        .margin_right(20)
        .margin_top(30)
        .x_label_area_size(22)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(from..frame.until, (frame.lowest..frame.highest).log_scale())
        .map_err(failed)
}

/// Its lines and numbers, on top of what is drawn already.
fn grid(chart: &mut Chart<'_, '_>) -> Result<(), String> {
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .label_style(style(13, GREY, HPos::Right))
        .x_labels(12)
        .x_label_style(style(13, GREY, HPos::Center))
        .y_labels(5)
        .y_label_formatter(&|value| format!("{value}"))
        .draw()
        .map_err(failed)
}

/// The scale that all panels share.
struct Frame {
    from: f64,
    until: f64,
    lowest: f64,
    highest: f64,
}

fn panel(area: &Area<'_>, pair: &Pair, frame: &Frame) -> Result<(), String> {
    let mut chart = axes(area, frame.from, frame)?;
    let undo_end = pair.undo.back_seconds.unwrap_or(pair.undo.seconds).min(frame.until);
    let is_control = pair.strategy == Strategy::Nothing;
    if !is_control {
        let shade = [(0.0, frame.lowest), (undo_end, frame.highest)];
        chart.draw_series([Rectangle::new(shade, SAND.filled())]).map_err(failed)?;
    }
    grid(&mut chart)?;
    let idle_seconds = pair.idle.seconds;
    let shown = |points: &[(f64, f64)], shift: f64, end: f64| -> Vec<(f64, f64)> {
        let shifted = points.iter().map(|(at, ms)| (at - shift, ms.max(frame.lowest)));
        shifted.filter(|(at, _)| *at >= frame.from && *at <= end).collect()
    };
    for (window, shift, end) in [(&pair.idle, idle_seconds, 0.0), (&pair.undo, 0.0, frame.until)] {
        let max = shown(&window.course.max, shift, end);
        chart.draw_series(LineSeries::new(max, BLUE.stroke_width(1))).map_err(failed)?;
        let p99 = shown(&window.course.p99, shift, end);
        chart.draw_series(LineSeries::new(p99, VERMILION.stroke_width(2))).map_err(failed)?;
    }
    for at in [0.0, undo_end].into_iter().take(if is_control { 1 } else { 2 }) {
        let line = vec![(at, frame.lowest), (at, frame.highest)];
        chart.draw_series([PathElement::new(line, GREY.stroke_width(1))]).map_err(failed)?;
    }
    if let Some(at) = pair.undo.gone_seconds.filter(|at| *at < undo_end && !is_control) {
        let line = vec![(at, frame.lowest), (at, frame.highest)];
        let dashed = DashedLineSeries::new(line, 4, 4, GREY.stroke_width(1));
        chart.draw_series(dashed).map_err(failed)?;
    }
    let heading = format!("{}: {}", pair.strategy.name(), said(pair, frame));
    let at = (LEFT as i32, 16);
    area.draw(&Text::new(heading, at, style(15, BLACK, HPos::Left))).map_err(failed)
}

/// The numbers of a panel in words.
fn said(pair: &Pair, frame: &Frame) -> String {
    let p99 = format!(
        "p99 {:.2} ms idle, {:.2} ms beside the undo",
        pair.idle.latency.p99_ms, pair.undo.latency.p99_ms
    );
    let back = match pair.undo.back_seconds {
        _ if pair.strategy == Strategy::Nothing => "idle and idle again".to_owned(),
        Some(seconds) if seconds > frame.until => {
            format!("disk back after {seconds:.1} s, beyond this plot")
        }
        Some(seconds) => format!("disk back after {seconds:.2} s"),
        None => format!("disk not back after {:.0} s", pair.undo.seconds),
    };
    format!("{back}; {p99}")
}

/// The slowdown of each strategy, with intervals.
///
/// # Errors
/// The file cannot be written.
pub(super) fn ratios(size: &Size, path: &Path) -> Result<(), String> {
    let strategies: Vec<Strategy> =
        Strategy::ALL.into_iter().filter(|strategy| !size.of(*strategy).is_empty()).collect();
    let rows_height = ROW_HEIGHT * strategies.len() as u32;
    let root =
        SVGBackend::new(path, (WIDTH, HEAD_HEIGHT + rows_height + AXIS_HEIGHT)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (head, rest) = root.split_vertically(HEAD_HEIGHT);
    ratio_head(&head, size)?;
    let shown = [(Percentile::P99, BLUE, 1.10, -0.16), (Percentile::P999, VERMILION, 1.25, 0.16)];
    let of_both =
        |strategy: &Strategy| shown.map(|(percentile, ..)| size.ratio(*strategy, percentile));
    let intervals: Vec<_> = strategies.iter().flat_map(of_both).flatten().collect();
    let low = intervals.iter().map(|interval| interval.low).fold(0.8, f64::min).max(0.01);
    let high = intervals.iter().map(|interval| interval.high).fold(1.6, f64::max);
    let bottom = strategies.len() as f64 - 0.5;
    let mut chart = ChartBuilder::on(&rest)
        .margin_right(24)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(NAMES)
        .build_cartesian_2d((low * 0.9..high * 1.2).log_scale(), bottom..-0.5)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .disable_mesh()
        // One is drawn even of none.
        .x_labels(0)
        .x_label_formatter(&|_| String::new())
        .y_labels(0)
        .draw()
        .map_err(failed)?;
    let down = |x: f64| vec![(x, -0.5), (x, bottom)];
    let under = (HEAD_HEIGHT + rows_height) as i32;
    for value in steps(low * 0.9, high * 1.2) {
        chart.draw_series([PathElement::new(down(value), PALE.stroke_width(1))]).map_err(failed)?;
        let (x, _) = chart.backend_coord(&(value, bottom));
        let name = Text::new(format!("{value}x"), (x, under + 16), style(14, GREY, HPos::Center));
        root.draw(&name).map_err(failed)?;
    }
    let middle = NAMES + (WIDTH as i32 - NAMES) / 2;
    let what = "latency during the undo over latency idle, logarithmic";
    let name = Text::new(what, (middle, under + 40), style(14, GREY, HPos::Center));
    root.draw(&name).map_err(failed)?;
    chart.draw_series([PathElement::new(down(1.0), GREY.stroke_width(1))]).map_err(failed)?;
    for (_, color, limit, _) in shown {
        chart
            .draw_series(DashedLineSeries::new(down(limit), 4, 4, color.stroke_width(1)))
            .map_err(failed)?;
    }
    for (row, strategy) in strategies.iter().enumerate() {
        let y = (row as u32 * ROW_HEIGHT + ROW_HEIGHT / 2) as i32;
        let color = if strategy.is_ours() { BLACK } else { GREY };
        let name = Text::new(strategy.name(), (NAMES - 12, y), style(16, color, HPos::Right));
        rest.draw(&name).map_err(failed)?;
        for (percentile, color, _, shift) in shown {
            if let Some(interval) = size.ratio(*strategy, percentile) {
                let at = row as f64 + shift;
                chart
                    .draw_series(whisker(interval.low, interval.high, at, color))
                    .map_err(failed)?;
                let point = Circle::new((interval.median, at), 5, color.filled());
                chart.draw_series([point]).map_err(failed)?;
            }
        }
    }
    root.present().map_err(failed)
}

fn ratio_head(head: &Area<'_>, size: &Size) -> Result<(), String> {
    let text = |text: String, at: (i32, i32), style: TextStyle<'static>| {
        head.draw(&Text::new(text, at, style)).map_err(failed)
    };
    let name = size_name(size.size_mb);
    let title = format!("How much slower is the foreground while a job of {name} is undone?");
    text(title, (20, 24), style(22, BLACK, HPos::Left))?;
    let pairs = size.of(Strategy::Nothing).len();
    let subtitle =
        format!("Median of {pairs} interleaved pairs with its 95 % interval; dashed: the aims");
    text(subtitle, (20, 50), style(14, GREY, HPos::Left))?;
    for (name, color, x) in [("p99, aim 1.10x", BLUE, 20), ("p99.9, aim 1.25x", VERMILION, 190)] {
        head.draw(&Circle::new((x + 6, 76), 5, color.filled())).map_err(failed)?;
        text(name.to_owned(), (x + 20, 76), style(14, BLACK, HPos::Left))?;
    }
    Ok(())
}

/// Round values of a logarithmic axis: 0.5, 1, 2, 5, 10 and so on; only powers of ten if those are many.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let factors: &[f64] = if high / low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let values = decades.flat_map(|decade| factors.iter().map(move |f| f * 10_f64.powi(decade)));
    // Rounded, or 0.2 would print as 0.20000000000000001.
    let values = values.map(|value| (value * 1e3).round() / 1e3);
    values.filter(|value| (low..=high).contains(value)).collect()
}

/// An interval as a line with ends.
fn whisker(low: f64, high: f64, at: f64, color: RGBColor) -> Vec<PathElement<(f64, f64)>> {
    let line = |from, to| PathElement::new(vec![from, to], color.stroke_width(2));
    let end = |x| line((x, at - 0.08), (x, at + 0.08));
    vec![line((low, at), (high, at)), end(low), end(high)]
}
