//! The experiments: which goals each is for, and in which order they come.

use std::time::Duration;

use anyhow::Result;

use super::capacity;
use super::comparisons::{GROWTH, HALL, SINGLE, STAGE};
use super::figures::Figure;
use super::garbage::GARBAGE;
use super::memory::MEMORY;
use super::options::Options;
use super::runner::Bench;
use super::turnover::CHURN;

/// One experiment.
pub(crate) struct Experiment {
    /// Its name for `--only` and in records.
    pub(crate) name: &'static str,
    /// The figures it gives.
    pub(crate) figures: &'static [&'static str],
    /// Whether `--quick` includes it.
    pub(crate) quick: bool,
    /// How long it takes at worst if every run counts.
    pub(crate) takes: fn(&Options) -> Duration,
    /// Runs it.
    pub(crate) run: fn(&mut Bench) -> Result<Vec<Figure>>,
}

/// All experiments, those first without which the others mean little.
pub(crate) const ALL: &[Experiment] = &[
    STAGE,
    SINGLE,
    CHURN,
    MEMORY,
    HALL,
    GROWTH,
    GARBAGE,
    Experiment {
        name: "joins",
        figures: &["J3"],
        quick: false,
        takes: |options| capacity::takes(options, &capacity::JOINS),
        run: |bench| capacity::measure(bench, &capacity::JOINS),
    },
    Experiment {
        name: "stage-capacity",
        figures: &["P5"],
        quick: false,
        takes: |options| capacity::takes(options, &capacity::STAGE),
        run: |bench| capacity::measure(bench, &capacity::STAGE),
    },
    Experiment {
        name: "hall-capacity",
        figures: &["P6"],
        quick: false,
        takes: |options| capacity::takes(options, &capacity::HALL),
        run: |bench| capacity::measure(bench, &capacity::HALL),
    },
    Experiment {
        name: "grid-capacity",
        figures: &["P7", "P7.sound"],
        quick: false,
        takes: |options| capacity::takes(options, &capacity::GRID),
        run: |bench| capacity::measure(bench, &capacity::GRID),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_of_the_bench_has_one_experiment() {
        let mut ids: Vec<&str> =
            ALL.iter().flat_map(|experiment| experiment.figures).copied().collect();
        ids.sort_unstable();
        let goals = [
            "J1.browser.p50",
            "J1.browser.p99",
            "J1.p50",
            "J1.p99",
            "J3",
            "L1.p50",
            "L1.p99",
            "L2",
            "L3.churn",
            "L3.garbage",
            "M1",
            "M2",
            "M3",
            "P1",
            "P2",
            "P3.gso",
            "P3.sendmmsg",
            "P4.janus",
            "P4.livekit",
            "P5",
            "P6",
            "P7",
            "P7.sound",
            "P8",
            "S2.cpu",
            "S2.memory",
        ];
        assert_eq!(ids, goals);
    }

    #[test]
    fn the_full_run_is_planned_to_end_before_its_repeats_in_21_minutes() {
        let options = Options::parse(&[]).unwrap();
        let each: Vec<_> =
            ALL.iter().map(|experiment| (experiment.name, (experiment.takes)(&options))).collect();
        let planned: Duration = each.iter().map(|(_, takes)| takes).sum();
        assert!(planned < Duration::from_secs(21 * 60), "{planned:?}: {each:?}");
    }

    #[test]
    fn the_quick_run_is_planned_to_end_in_five_minutes() {
        let options = Options::parse(&["--quick"]).unwrap();
        let planned: Duration = ALL
            .iter()
            .filter(|experiment| experiment.quick)
            .map(|experiment| (experiment.takes)(&options))
            .sum();
        assert!(planned < Duration::from_secs(300), "{planned:?}");
    }
}
