//! Roomful beside the floor and beside its peers: what a packet costs, and how late it is.

use anyhow::Result;

use super::experiments::Experiment;
use super::figures::{Figure, Goal, number};
use super::floor::Floor;
use super::generator::Load;
use super::measured::Measured;
use super::runner::{Bench, Rounds, Variant};
use super::server::Subject::{self, Janus, LiveKit, Roomful};
use super::statistics::{Spread, ratios};
use super::workload::Workload::{self, Hall, Stage};

/// P1, P2, P3 and L2.
pub(crate) const STAGE: Experiment = Experiment {
    name: "stage",
    figures: &["P1", "P2", "P3.gso", "P3.sendmmsg", "L2"],
    quick: true,
    takes: |options| Bench::takes(options, &stage_variants(), options.pairs, &[]),
    run: stage,
};

/// L1.
pub(crate) const SINGLE: Experiment = Experiment {
    name: "single",
    figures: &["L1.p50", "L1.p99"],
    quick: true,
    takes: |options| {
        let [relay, roomful, peers @ ..] = single_variants();
        Bench::takes(options, &[relay, roomful], options.pairs, &peers)
    },
    run: single,
};

/// P4.
pub(crate) const HALL: Experiment = Experiment {
    name: "hall",
    figures: &["P4.janus", "P4.livekit"],
    quick: false,
    takes: |options| Bench::takes(options, &hall_variants(), options.pairs, &[]),
    run: hall,
};

/// P8.
pub(crate) const GROWTH: Experiment = Experiment {
    name: "growth",
    figures: &["P8"],
    quick: false,
    takes: |options| Bench::takes(options, &growth_variants(), options.pairs, &[]),
    run: growth,
};

fn server(subject: Subject, workload: Workload) -> Variant {
    Variant::Server(subject, Load::of(workload))
}

fn ratio(runs: &Rounds, above: &Variant, below: &Variant) -> Option<Spread> {
    Spread::of(ratios(runs.pairs(above, below, |run| run.cpu_us_per_packet)))
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

fn single_variants() -> [Variant; 4] {
    let [roomful, livekit, janus] =
        [Roomful, LiveKit, Janus].map(|subject| server(subject, Stage { viewers: 1 }));
    [Variant::Relay, roomful, livekit, janus]
}

fn single(bench: &mut Bench) -> Result<Vec<Figure>> {
    let [relay, roomful, peers @ ..] = single_variants();
    let runs = bench.beside(&[relay, roomful], &peers)?;
    let p50 = |variant| spread(&runs, variant, |run| run.latency_us.p50);
    let p99 = |variant| spread(&runs, variant, |run| run.latency_us.p99);
    // Waking up two cores takes its time on every machine, on a virtual one most of all.
    let beside = |relay: Option<Spread>| {
        let median = relay.map_or("nothing counted".to_owned(), |one| number(one.median) + " µs");
        format!("a program that only sends back: {median}")
    };
    let what = "latency added, W1 N=1, p";
    Ok(vec![
        Figure::new("L1.p50", format!("{what}50"), "µs", Goal::AtMost(100.0), p50(&roomful))
            .noting(beside(p50(&relay))),
        Figure::new("L1.p99", format!("{what}99"), "µs", Goal::AtMost(300.0), p99(&roomful))
            .noting(beside(p99(&relay))),
    ])
}

fn hall_variants() -> [Variant; 4] {
    let [roomful, livekit, janus] =
        [Roomful, LiveKit, Janus].map(|subject| server(subject, Hall { listeners: 200 }));
    [Variant::Floor(Floor::Sound, 200), roomful, livekit, janus]
}

fn hall(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = hall_variants();
    let runs = bench.paired(&variants)?;
    let [floor, roomful, livekit, janus] = &variants;
    // A packet alone goes through the kernel alone, and nothing that a server does makes that cheaper.
    let beside = |peer| {
        let floor = ratio(&runs, floor, peer);
        let median = floor.map_or("nothing counted".to_owned(), |one| number(one.median));
        format!("sealing and sending alone: {median}")
    };
    Ok(vec![
        Figure::new(
            "P4.janus",
            "CPU per forwarded packet, W2 N=200, to Janus",
            "",
            Goal::AtMost(0.1),
            ratio(&runs, roomful, janus),
        )
        .noting(beside(janus)),
        Figure::new(
            "P4.livekit",
            "CPU per forwarded packet, W2 N=200, to LiveKit",
            "",
            Goal::AtMost(1.0 / 6.0),
            ratio(&runs, roomful, livekit),
        )
        .noting(beside(livekit)),
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
