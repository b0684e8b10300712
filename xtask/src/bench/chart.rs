//! The chart beside the results: bars drawn as SVG, readable on light and dark pages.

use std::fmt::Write as _;

use super::figures::number;
use super::measured::Measured;
use super::runner::Record;
use super::statistics::Spread;

/// The experiment that is drawn.
const EXPERIMENT: &str = "stage";

/// Pixels of one bar with the gap below it.
const ROW: f64 = 30.0;
/// Pixels of the bar alone.
const BAR: f64 = 18.0;
/// Where bars begin, right of their names.
const LEFT: f64 = 190.0;
/// The length of the longest bar.
const LENGTH: f64 = 360.0;
/// Pixels of a panel's title.
const TITLE: f64 = 40.0;
/// The whole width: names, bars, and the numbers behind them.
const WIDTH: f64 = 760.0;

/// Colours follow the page. An image embedded in a page sees the reader's preference, not the page's own switch.
const STYLE: &str = "\
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.other { fill: #8c959f }
.own { fill: #0969da }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.other { fill: #6e7681 }
.own { fill: #4493f8 }
.range { stroke: #e6edf3 }
}";

/// Cost and latency of all that took part in W1 with 100 viewers.
pub(crate) fn stage(records: &[Record]) -> String {
    let cost = bars(records, |run| run.cpu_us_per_packet);
    let latency = bars(records, |run| Some(run.latency_us.p99? / 1000.0));
    let panels = [
        ("CPU per forwarded packet, 1 publisher, 100 viewers (µs)", cost),
        ("Latency added, 99th percentile (ms)", latency),
    ];
    let rows: usize = panels.iter().map(|(_, bars)| bars.len()).sum();
    let height = 2.0 * TITLE + ROW * rows as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"CPU and latency of one publisher and 100 viewers\">\n<style>\n{STYLE}\n</style>\n"
    );
    let mut top = 0.0;
    for (title, bars) in &panels {
        let _ = writeln!(svg, "<text class=\"title\" x=\"10\" y=\"{}\">{title}</text>", top + 24.0);
        top += TITLE;
        let longest = bars.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
        for (name, spread) in bars {
            svg.push_str(&bar(name, *spread, LENGTH / longest, top));
            top += ROW;
        }
    }
    svg + "</svg>\n"
}

/// The median and range of a figure for each variant that has it, dearest first.
fn bars(records: &[Record], figure: fn(&Measured) -> Option<f64>) -> Vec<(String, Spread)> {
    let counted = records.iter().filter(|run| run.experiment == EXPERIMENT && run.void.is_none());
    let mut values: Vec<(String, Vec<f64>)> = Vec::new();
    for run in counted {
        let Some(value) = figure(&run.measured) else { continue };
        let name = run.variant.split(", 100").next().unwrap_or(&run.variant);
        match values.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(value),
            None => values.push((name.to_owned(), vec![value])),
        }
    }
    let mut bars: Vec<(String, Spread)> =
        values.into_iter().filter_map(|(name, values)| Some((name, Spread::of(values)?))).collect();
    bars.sort_by(|(_, first), (_, second)| second.median.total_cmp(&first.median));
    bars
}

/// One bar with its name, its range as a line, and its number.
fn bar(name: &str, spread: Spread, scale: f64, top: f64) -> String {
    let class = if name == "Roomful" { "own" } else { "other" };
    let (width, middle) = (spread.median * scale, top + BAR / 2.0);
    let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
    let text = middle + 5.0;
    format!(
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
         <line class=\"range\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>\n\
         <text x=\"{:.1}\" y=\"{text}\">{}</text>\n",
        LEFT - 10.0,
        escape(name),
        to.max(LEFT + width) + 8.0,
        number(spread.median),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(variant: &str, cost: f64) -> Record {
        Record {
            experiment: EXPERIMENT.to_owned(),
            variant: variant.to_owned(),
            workload: String::new(),
            round: 1,
            void: None,
            measured: Measured { cpu_us_per_packet: Some(cost), ..Measured::default() },
            raw: serde_json::Value::Null,
        }
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_others_are_in_proportion() {
        let svg = stage(&[record("Roomful, 100 viewers", 2.0), record("Janus, 100 viewers", 20.0)]);
        assert!(svg.contains("width=\"360.0\""), "{svg}");
        assert!(svg.contains("class=\"own\" x=\"190\" y=\"70\" width=\"36.0\""), "{svg}");
        assert!(!svg.contains("100 viewers</text>"), "names are short");
    }

    #[test]
    fn without_runs_there_is_a_chart_without_bars() {
        let svg = stage(&[]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("<rect"));
    }
}
