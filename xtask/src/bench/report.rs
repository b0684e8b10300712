//! Telling what was found: one file for programs, one for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::chart;
use super::figures::{Figure, number};
use super::findings::Findings;
use super::measured::Measured;
use super::runner::Record;
use super::statistics::Spread;

/// What was measured, and where.
pub(crate) struct Report<'a> {
    /// The figures, and what is missing.
    pub(crate) findings: &'a Findings,
    /// Every run.
    pub(crate) records: &'a [Record],
}

impl Report<'_> {
    /// One named entry per goal.
    pub(crate) fn summary(&self, root: &Path) -> Value {
        let Findings { figures, missing, busy, is_steered } = self.findings;
        let figures = figures.iter().map(|figure| (figure.id, entry(figure)));
        let nothing = missing.iter().map(|id| (*id, json!({ "value": null, "met": null })));
        let figures: BTreeMap<_, _> = figures.chain(nothing).collect();
        json!({
            "machine": machine(),
            "commit": commit(root),
            "receives_on_its_own_core": is_steered,
            "busy_before": busy,
            "figures": figures,
            "not_measured": missing,
        })
    }

    /// The figures as a table for the terminal and for Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| id | figure | measured | goal | |\n|---|---|---|---|---|\n");
        for figure in &self.findings.figures {
            let measured = figure.measured.map_or("nothing counted".to_owned(), |measured| {
                format!("{} {}", spread(measured), figure.unit).trim_end().to_owned()
            });
            let met = match figure.is_met() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let note = figure.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let (id, what, unit) = (figure.id, &figure.what, figure.unit);
            let goal = format!("{} {unit}", figure.goal);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {id} | {what}{note} | {measured} | {} | {met} |",
                goal.trim_end()
            );
        }
        text
    }

    /// The whole report in Markdown.
    pub(crate) fn markdown(&self, root: &Path) -> String {
        let mut text = format!(
            "# Results\n\nWritten by `cargo xtask bench --write`; what each figure means and how it is taken is in \
             [the bench's README](../README.md). Medians, with the range of the runs in parentheses. Every single run \
             is in `runs.json`.\n\n{}, {}\n\n{}\n",
            machine(),
            commit(root).map_or("commit unknown".to_owned(), |commit| format!("commit {commit}")),
            self.table()
        );
        let Findings { missing, busy, .. } = self.findings;
        if !missing.is_empty() {
            let _ = writeln!(text, "Not measured by this run: {}.\n", missing.join(", "));
        }
        let busy: Vec<String> =
            busy.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        let _ = writeln!(
            text,
            "Before it began, the machine was busy with other things for {} of its cores' time.\n",
            busy.join(" and ")
        );
        text.push_str("![CPU per forwarded packet and latency at 100 viewers](stage.svg)\n");
        for experiment in names(self.records) {
            let runs = self.records.iter().filter(|record| record.experiment == experiment);
            let _ = write!(text, "\n## {experiment}\n\n{}", experiment_table(runs));
        }
        text
    }

    /// Replaces the results that are kept in the repository.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let folder = root.join("bench/results");
        std::fs::create_dir_all(&folder)?;
        let runs = serde_json::to_string(self.records)?
            .replace("},{\"experiment\"", "},\n{\"experiment\"");
        for (name, text) in [
            ("README.md", self.markdown(root)),
            ("runs.json", runs + "\n"),
            ("summary.json", serde_json::to_string_pretty(&self.summary(root))? + "\n"),
            ("stage.svg", chart::stage(self.records)),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn entry(figure: &Figure) -> Value {
    let measured = figure.measured;
    json!({
        "value": measured.map(|measured| measured.median),
        "min": measured.map(|measured| measured.min),
        "max": measured.map(|measured| measured.max),
        "samples": measured.map_or(0, |measured| measured.samples),
        "unit": figure.unit,
        "goal": figure.goal,
        "met": figure.is_met(),
        "what": figure.what,
        "note": figure.note,
    })
}

fn spread(spread: Spread) -> String {
    let Spread { median, min, max, samples } = spread;
    if samples < 2 {
        return number(median);
    }
    format!("{} ({}–{})", number(median), number(min), number(max))
}

fn names(records: &[Record]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&record.experiment.as_str()) {
            names.push(&record.experiment);
        }
    }
    names
}

/// A column: what stands above it, and the figure of a run in it.
type Column = (&'static str, fn(&Measured) -> Option<f64>);

const COLUMNS: [Column; 12] = [
    ("µs/packet", |run| run.cpu_us_per_packet),
    ("latency p50, µs", |run| run.latency_us.p50),
    ("latency p99, µs", |run| run.latency_us.p99),
    ("join p50, ms", |run| run.join_ms.p50),
    ("join p99, ms", |run| run.join_ms.p99),
    ("picture p50, ms", |run| run.picture_ms.p50),
    ("picture p99, ms", |run| run.picture_ms.p99),
    ("joins/s", |run| run.joins_per_second),
    ("server, % of its core", |run| Some(run.shares.server? * 100.0)),
    ("generator, % of its core", |run| Some(run.shares.generator? * 100.0)),
    ("server RSS, MB", |run| Some(run.memory.settled_kb? / 1024.0)),
    ("at most, MB", |run| Some(run.memory.peak_kb? / 1024.0)),
];

/// One line per variant; columns that have nothing to say are left out. Runs that do not count are told, not averaged.
fn experiment_table<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut variants: Vec<(&str, Vec<&Record>)> = Vec::new();
    for record in records {
        match variants.iter_mut().find(|(name, _)| *name == record.variant) {
            Some((_, runs)) => runs.push(record),
            None => variants.push((&record.variant, vec![record])),
        }
    }
    let cell = |runs: &[&Record], column: &Column| {
        let counted = runs.iter().filter(|run| run.void.is_none());
        Spread::of(counted.filter_map(|run| column.1(&run.measured)))
    };
    let columns = COLUMNS
        .iter()
        .filter(|column| variants.iter().any(|(_, runs)| cell(runs, column).is_some()));
    let columns: Vec<&Column> = columns.collect();
    let mut text = String::from("| |");
    columns.iter().for_each(|(name, _)| text.push_str(&format!(" {name} |")));
    text.push_str(" runs | void |\n|---|");
    text.push_str(&"---|".repeat(columns.len() + 2));
    for (name, runs) in &variants {
        let _ = write!(text, "\n| {name} |");
        for column in &columns {
            let _ = write!(text, " {} |", cell(runs, column).map(spread).unwrap_or_default());
        }
        let void: Vec<&str> = runs.iter().filter_map(|run| run.void.as_deref()).collect();
        let first = void.first().map(|why| format!(": {}", why.lines().next().unwrap_or_default()));
        let _ = write!(text, " {} | {}{} |", runs.len(), void.len(), first.unwrap_or_default());
    }
    text + "\n"
}

/// The processor and the kernel: what absolute figures depend on most.
fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models =
        processor.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let models: Vec<&str> = models.map(|(_, model)| model.trim()).collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = models.first().copied().unwrap_or("unknown processor");
    format!("{model}, {} cores, Linux {}", models.len(), kernel.trim())
}

fn commit(root: &Path) -> Option<String> {
    let arguments = ["describe", "--always", "--dirty"];
    let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::super::figures::Goal;
    use super::*;

    fn record(variant: &str, cost: f64, void: Option<&str>) -> Record {
        Record {
            experiment: "stage".to_owned(),
            variant: variant.to_owned(),
            workload: "W1".to_owned(),
            round: 1,
            void: void.map(str::to_owned),
            measured: Measured { cpu_us_per_packet: Some(cost), ..Measured::default() },
            raw: Value::Null,
        }
    }

    #[test]
    fn a_void_run_is_told_and_not_averaged() {
        let records =
            [record("A", 1.0, None), record("A", 3.0, None), record("A", 99.0, Some("loss"))];
        let table = experiment_table(records.iter());
        assert_eq!(
            table,
            "| | µs/packet | runs | void |\n|---|---|---|---|\n| A | 1 (1–3) | 3 | 1: loss |\n"
        );
    }

    #[test]
    fn the_summary_names_every_goal_measured_or_not() {
        let measured = Spread { median: 0.05, min: 0.04, max: 0.06, samples: 5 };
        let figures = [Figure::new("P1", "cost", "", Goal::AtMost(0.1), Some(measured))];
        let mut findings = Findings::new(vec![0.02, 0.05], true);
        findings.figures.extend(figures);
        findings.missing.push("P5");
        let report = Report { findings: &findings, records: &[] };
        let summary = report.summary(Path::new("/"));
        assert_eq!(summary["figures"]["P1"]["value"], 0.05);
        assert_eq!(summary["figures"]["P1"]["met"], true);
        assert_eq!(summary["figures"]["P5"]["value"], Value::Null);
        assert_eq!(summary["not_measured"], json!(["P5"]));
    }
}
