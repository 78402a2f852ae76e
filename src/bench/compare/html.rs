//! A comparison as a self-contained HTML page, with tables and the intervals drawn as SVG.

use std::fmt::Write as _;

use super::{Comparison, Row, Verdict};

/// Sizes in the picture's own units.
const LABEL_WIDTH: f64 = 380.0;
const PLOT_WIDTH: f64 = 500.0;
const MARGIN: f64 = 24.0;
const ROW_HEIGHT: f64 = 26.0;
/// Least space between two numbers of an axis.
const TICK_SPACE: f64 = 44.0;
/// Ratios beyond these are drawn at the edge.
const RATIO_EDGES: (f64, f64) = (0.01, 100.0);
/// Ratios that may be marked on an axis.
const RATIO_TICKS: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0, 1.01, 1.02, 1.05, 1.1, 1.2,
    1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5d6776; --line: #d5dae1; --page: #ffffff;
  --better: #12703c; --worse: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --line: #39414d; --page: #14181e;
  --better: #5ccf8f; --worse: #ff8a80; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
tr.better td:last-child { color: var(--better); font-weight: 600; }
tr.worse td:last-child { color: var(--worse); font-weight: 600; }
p, li { color: var(--soft); }
svg { width: 100%; min-width: 40rem; height: auto; }
svg text { fill: var(--ink); font-size: 13px; }
svg .axis text { fill: var(--soft); }
svg .axis line { stroke: var(--line); }
svg .none { stroke: var(--soft); stroke-dasharray: 4 3; }
svg g.mark { stroke: var(--soft); fill: var(--soft); }
svg g.mark.better { stroke: var(--better); fill: var(--better); }
svg g.mark.worse { stroke: var(--worse); fill: var(--worse); }
svg g.mark line { stroke-width: 3; stroke-linecap: round; }
";

/// Escapes a text for HTML content and attributes.
#[must_use]
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Comparison {
    #[must_use]
    pub fn html(&self) -> String {
        let [a, b] = &self.files;
        let title = escape(&format!("{b} against {a}"));
        let head: String = self.head().lines().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
        let remarks: String =
            self.remarks().iter().map(|remark| format!("<li>{}</li>\n", escape(remark))).collect();
        let plain = |_: usize| "";
        let verdict = |index: usize| self.rows[index].verdict.name();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{head}\
             {}\n{}\n{}{}<ul>\n{remarks}</ul>\n<p>bandmaster {}</p>\n</body>\n</html>\n",
            table(&self.setting_cells(), &plain),
            table(&self.cells(), &verdict),
            self.picture(Scale::Ratio),
            self.picture(Scale::Points),
            escape(self.version),
        )
    }

    /// An SVG with the intervals of the rows that have one on this scale; empty if none has.
    fn picture(&self, scale: Scale) -> String {
        let marks: Vec<Mark> = self.rows.iter().filter_map(|row| Mark::new(row, scale)).collect();
        if marks.is_empty() {
            return String::new();
        }
        let axis = Axis::new(&marks, scale);
        let (top, bottom) = (MARGIN, MARGIN + ROW_HEIGHT * marks.len() as f64);
        let (width, height) = (LABEL_WIDTH + PLOT_WIDTH + 2.0 * MARGIN, bottom + 2.0 * MARGIN);
        let mut svg = format!(
            "<h2>{}</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
            scale.title(),
            scale.title()
        );
        for value in axis.ticks() {
            let x = axis.x(value);
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<g class=\"axis\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
                bottom + 18.0,
                scale.shown(value)
            );
        }
        let none = axis.x(scale.none());
        let _ = writeln!(
            svg,
            "<line class=\"none\" x1=\"{none:.1}\" x2=\"{none:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
        );
        for (index, mark) in marks.iter().enumerate() {
            svg.push_str(&mark.svg(&axis, top + ROW_HEIGHT * (index as f64 + 0.5)));
        }
        svg + "</svg></div>\n"
    }
}

/// An HTML table whose first line is the header; `class` gives the CSS class of each other line.
fn table<'a>(cells: &[Vec<String>], class: &dyn Fn(usize) -> &'a str) -> String {
    let line = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let head = cells.first().map_or_else(String::new, |cells| line(cells, "th"));
    let body = cells.iter().skip(1).enumerate();
    let body: String = body
        .map(|(index, cells)| format!("<tr class=\"{}\">{}</tr>\n", class(index), line(cells, "td")))
        .collect();
    format!(
        "<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
    )
}

/// What an axis shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// B over A, on a logarithmic scale.
    Ratio,
    /// B minus A, in percentage points.
    Points,
}

impl Scale {
    /// The value that means no change.
    fn none(self) -> f64 {
        match self {
            Self::Ratio => 1.0,
            Self::Points => 0.0,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ratio => "B over A, with 95 % intervals",
            Self::Points => "B minus A in points, with 95 % intervals",
        }
    }

    fn shown(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value}"),
            Self::Points => format!("{:+.0}", value * 100.0),
        }
    }

    /// Position of a value along the axis, before scaling to the picture.
    fn along(self, value: f64) -> f64 {
        match self {
            Self::Ratio => value.clamp(RATIO_EDGES.0, RATIO_EDGES.1).ln(),
            Self::Points => value,
        }
    }
}

struct Mark {
    label: String,
    change: f64,
    interval: [f64; 2],
    verdict: Verdict,
}

impl Mark {
    fn new(row: &Row, scale: Scale) -> Option<Self> {
        let change = match scale {
            Scale::Ratio => row.ratio?,
            Scale::Points => row.difference?,
        };
        Some(Self { label: row.label(), change, interval: row.interval?, verdict: row.verdict })
    }

    fn svg(&self, axis: &Axis, y: f64) -> String {
        let [low, high] = self.interval.map(|value| axis.x(value));
        let label = escape(&self.label);
        format!(
            "<text x=\"0\" y=\"{:.1}\">{label}</text>\n<g class=\"mark {verdict}\"><title>{label}: {:.3}, from {:.3} to {:.3}, {verdict}</title>\
             <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>\n",
            y + 4.0,
            self.change,
            self.interval[0],
            self.interval[1],
            axis.x(self.change),
            verdict = self.verdict.name(),
        )
    }
}

/// An axis from the lowest to the highest drawn value, including "no change".
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(marks: &[Mark], scale: Scale) -> Self {
        let drawn = marks.iter().flat_map(|mark| [mark.change, mark.interval[0], mark.interval[1]]);
        let along = drawn.chain([scale.none()]).map(|value| scale.along(value));
        let (low, high) =
            along.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        // If all ratios are 1, still show a hundredth on both sides.
        let room = ((high - low) * 0.05).max(0.01);
        Self { scale, low: low - room, high: high + room }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (self.scale.along(value) - self.low) / (self.high - self.low);
        LABEL_WIDTH + MARGIN + share * PLOT_WIDTH
    }

    /// Values to print below the axis, including "no change", none too close to another.
    fn ticks(&self) -> Vec<f64> {
        let inside = |value: &f64| (self.low..=self.high).contains(&self.scale.along(*value));
        let none = self.scale.none();
        let mut ticks = vec![none];
        let mut offer = |value: f64| {
            let far = ticks.iter().all(|tick| (self.x(*tick) - self.x(value)).abs() >= TICK_SPACE);
            if inside(&value) && far {
                ticks.push(value);
            }
        };
        match self.scale {
            // Round values first, because they are preferred to their neighbours.
            Scale::Ratio => {
                let round = [0.1, 0.5, 2.0, 10.0, 0.9, 1.1, 0.2, 5.0, 1.5];
                round.iter().chain(RATIO_TICKS).for_each(|value| offer(*value));
            }
            Scale::Points => {
                let step = step(self.high - self.low);
                (1..=10).for_each(|n| [1.0, -1.0].iter().for_each(|sign| offer(sign * step * f64::from(n))));
            }
        }
        ticks
    }
}

/// A step of 1, 2 or 5 hundredths or tenths, so that a few of them span `width`.
fn step(width: f64) -> f64 {
    let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
    steps.into_iter().find(|step| width / step <= 8.0).unwrap_or(1.0)
}
