//! The experiments: what is run for each goal, and how its figure is made of the runs.

use std::time::Duration;

use anyhow::Result;

use super::capacity;
use super::figures::{Figure, Goal};
use super::floor::Floor;
use super::generator::Load;
use super::measured::Measured;
use super::memory;
use super::options::Options;
use super::runner::{Bench, Rounds, Variant};
use super::server::Subject::{Janus, LiveKit, Roomful};
use super::statistics::{Spread, ratios};
use super::workload::Workload;
use super::workload::Workload::{Churn, Stage};

/// Garbage beside the churn of L3, as the goal says.
const GARBAGE: u32 = 10_000;
/// Joins a second of W4, as the goal says.
const CHURN: u32 = 20;

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
    Experiment {
        name: "stage",
        figures: &["P1", "P2", "P3.gso", "P3.sendmmsg", "L2"],
        quick: true,
        takes: |options| rounds(options, &stage_variants()),
        run: stage,
    },
    Experiment {
        name: "single",
        figures: &["L1.p50", "L1.p99"],
        quick: true,
        takes: |options| rounds(options, &single_variants()),
        run: single,
    },
    Experiment {
        name: "memory",
        figures: &["M1", "M2", "M3"],
        quick: true,
        takes: memory::takes,
        run: memory::measure,
    },
    Experiment {
        name: "hall",
        figures: &["P4.janus", "P4.livekit"],
        quick: false,
        takes: |options| rounds(options, &hall_variants()),
        run: hall,
    },
    Experiment {
        name: "growth",
        figures: &["P8"],
        quick: false,
        takes: |options| rounds(options, &growth_variants()),
        run: growth,
    },
    Experiment {
        name: "churn",
        figures: &["J1.p50", "J1.p99", "L3.churn", "L3.garbage"],
        quick: false,
        takes: |options| rounds(options, &churn_variants()),
        run: churn,
    },
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
        figures: &["P7"],
        quick: false,
        takes: |options| capacity::takes(options, &capacity::GRID),
        run: |bench| capacity::measure(bench, &capacity::GRID),
    },
];

fn server(subject: super::server::Subject, workload: Workload) -> Variant {
    Variant::Server(subject, Load::of(workload))
}

fn rounds(options: &Options, variants: &[Variant]) -> Duration {
    let round: Duration = variants.iter().map(|variant| variant.duration(options.seconds)).sum();
    round * options.pairs
}

fn cost(run: &Measured) -> Option<f64> {
    run.cpu_us_per_packet
}

fn ratio(runs: &Rounds, above: &Variant, below: &Variant) -> Option<Spread> {
    Spread::of(ratios(runs.pairs(above, below, cost)))
}

fn spread(
    runs: &Rounds,
    variant: &Variant,
    figure: impl Fn(&Measured) -> Option<f64>,
) -> Option<Spread> {
    Spread::of(runs.values(variant, figure).into_iter().flatten())
}

fn stage_variants() -> [Variant; 5] {
    let workload = Stage { viewers: 100 };
    [
        Variant::Floor(Floor::Gso, 100),
        server(Roomful, workload),
        Variant::Floor(Floor::Sendmmsg, 100),
        server(LiveKit, workload),
        server(Janus, workload),
    ]
}

fn stage(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = stage_variants();
    let runs = bench.paired(&variants)?;
    let [gso, roomful, sendmmsg, livekit, janus] = &variants;
    let p99 = spread(&runs, roomful, |run| Some(run.latency_us.p99? / 1000.0));
    Ok(vec![
        Figure::new(
            "P1",
            "CPU per forwarded packet, W1 N=100, to Janus",
            "",
            Goal::AtMost(0.1),
            ratio(&runs, roomful, janus),
        ),
        Figure::new(
            "P2",
            "CPU per forwarded packet, W1 N=100, to LiveKit",
            "",
            Goal::AtMost(0.2),
            ratio(&runs, roomful, livekit),
        ),
        Figure::new(
            "P3.gso",
            "CPU per forwarded packet, W1 N=100, to sealing and sending with GSO",
            "",
            Goal::AtMost(2.5),
            ratio(&runs, roomful, gso),
        ),
        Figure::new(
            "P3.sendmmsg",
            "CPU per forwarded packet, W1 N=100, to sealing and sending with sendmmsg",
            "",
            Goal::AtMost(1.0),
            ratio(&runs, roomful, sendmmsg),
        ),
        Figure::new("L2", "latency added, W1 N=100, p99", "ms", Goal::AtMost(2.5), p99),
    ])
}

fn single_variants() -> [Variant; 3] {
    [Roomful, LiveKit, Janus].map(|subject| server(subject, Stage { viewers: 1 }))
}

fn single(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = single_variants();
    let runs = bench.paired(&variants)?;
    let p50 = spread(&runs, &variants[0], |run| run.latency_us.p50);
    let p99 = spread(&runs, &variants[0], |run| run.latency_us.p99);
    Ok(vec![
        Figure::new("L1.p50", "latency added, W1 N=1, p50", "µs", Goal::AtMost(100.0), p50),
        Figure::new("L1.p99", "latency added, W1 N=1, p99", "µs", Goal::AtMost(300.0), p99),
    ])
}

fn hall_variants() -> [Variant; 3] {
    [Roomful, LiveKit, Janus].map(|subject| server(subject, Workload::Hall { listeners: 200 }))
}

fn hall(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = hall_variants();
    let runs = bench.paired(&variants)?;
    let [roomful, livekit, janus] = &variants;
    Ok(vec![
        Figure::new(
            "P4.janus",
            "CPU per forwarded packet, W2 N=200, to Janus",
            "",
            Goal::AtMost(0.1),
            ratio(&runs, roomful, janus),
        ),
        Figure::new(
            "P4.livekit",
            "CPU per forwarded packet, W2 N=200, to LiveKit",
            "",
            Goal::AtMost(1.0 / 6.0),
            ratio(&runs, roomful, livekit),
        ),
    ])
}

fn growth_variants() -> [Variant; 2] {
    let small = server(Roomful, Stage { viewers: 10 });
    [small, Variant::Server(Roomful, Load::of(Stage { viewers: 1000 }).light())]
}

fn growth(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = growth_variants();
    let runs = bench.paired(&variants)?;
    let growth = ratio(&runs, &variants[1], &variants[0]);
    Ok(vec![Figure::new(
        "P8",
        "CPU per forwarded packet, W1, at N=1000 to at N=10",
        "",
        Goal::AtMost(1.0),
        growth,
    )])
}

fn churn_variants() -> [Variant; 5] {
    let churn = Load::of(Churn { rate: CHURN });
    [
        Variant::Server(Roomful, Load::of(Churn { rate: 0 })),
        Variant::Server(Roomful, churn),
        Variant::Server(Roomful, churn.with_garbage(GARBAGE)),
        Variant::Server(LiveKit, churn),
        Variant::Server(Janus, churn),
    ]
}

fn churn(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = churn_variants();
    let runs = bench.paired(&variants)?;
    let [quiet, churn, garbage, _, _] = &variants;
    let p99 = |run: &Measured| Some(run.latency_us.p99? / 1000.0);
    let growth = |than: &Variant| {
        let pairs = runs.pairs(than, quiet, p99).into_iter();
        Spread::of(pairs.filter_map(|(busy, quiet)| Some(busy? - quiet?)))
    };
    let joined =
        "with three free sections of each kind in the first offer, as livekit-client makes it";
    Ok(vec![
        Figure::new(
            "J1.p50",
            "join to first media packet during W4, p50",
            "ms",
            Goal::AtMost(12.0),
            spread(&runs, churn, |run| run.join_ms.p50),
        )
        .noting(joined),
        Figure::new(
            "J1.p99",
            "join to first media packet during W4, p99",
            "ms",
            Goal::AtMost(30.0),
            spread(&runs, churn, |run| run.join_ms.p99),
        )
        .noting(joined),
        Figure::new(
            "L3.churn",
            "growth of p99 latency by W4 around a room of 50",
            "ms",
            Goal::AtMost(1.0),
            growth(churn),
        ),
        Figure::new(
            "L3.garbage",
            "growth of p99 latency by W4 and 10,000 datagrams of garbage a second",
            "ms",
            Goal::AtMost(1.0),
            growth(garbage),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_of_the_bench_has_one_experiment() {
        let mut ids: Vec<&str> =
            ALL.iter().flat_map(|experiment| experiment.figures).copied().collect();
        ids.sort_unstable();
        let goals = [
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
            "P8",
        ];
        assert_eq!(ids, goals);
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
