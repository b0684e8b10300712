//! People who come and go: how long joining takes, and whether those who stay notice.

use anyhow::Result;

use super::experiments::Experiment;
use super::figures::{Figure, Goal};
use super::generator::Load;
use super::measured::Measured;
use super::runner::{Bench, Rounds, Variant};
use super::server::Subject::{Janus, LiveKit, Roomful};
use super::statistics::Spread;
use super::workload::Workload::Churn;

/// J1 and L3.
pub(crate) const CHURN: Experiment = Experiment {
    name: "churn",
    figures: &["J1.p50", "J1.p99", "J1.browser.p50", "J1.browser.p99", "L3.churn", "L3.garbage"],
    quick: false,
    takes: |options| Bench::takes(options, &variants(), options.pairs, &context()),
    run: churn,
};

/// Joins a second of W4, as the goal says.
const JOINS: u32 = 20;

/// Garbage beside it for L3, as the goal says.
const DATAGRAMS: u32 = 10_000;

/// A room that nobody comes to, W4, W4 beside garbage, and W4 of people who need a second offer.
fn variants() -> [Variant; 4] {
    let churn = Load::of(Churn { rate: JOINS });
    let quiet = Load::of(Churn { rate: 0 });
    [quiet, churn, churn.with_garbage(DATAGRAMS), churn.in_two_offers()]
        .map(|load| Variant::Server(Roomful, load))
}

fn context() -> [Variant; 2] {
    [LiveKit, Janus].map(|subject| Variant::Server(subject, Load::of(Churn { rate: JOINS })))
}

fn churn(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = variants();
    let runs = bench.beside(&variants, &context())?;
    let [quiet, churn, garbage, two_offers] = &variants;
    let [p50, p99] = joins(&runs, two_offers);
    let [browser_p50, browser_p99] = joins(&runs, churn);
    let late = |text: &str| format!("growth of p99 latency in a room of 50 by {text}");
    let ms = "ms";
    Ok(vec![
        Figure::new("J1.p50", "join to first packet, p50", ms, Goal::AtMost(12.0), p50)
            .noting(TWO_OFFERS),
        Figure::new("J1.p99", "join to first packet, p99", ms, Goal::AtMost(30.0), p99)
            .noting(TWO_OFFERS),
        Figure::new("J1.browser.p50", "the same, p50", ms, Goal::AtMost(12.0), browser_p50)
            .noting(ONE_OFFER),
        Figure::new("J1.browser.p99", "the same, p99", ms, Goal::AtMost(30.0), browser_p99)
            .noting(ONE_OFFER),
        Figure::new("L3.churn", late("W4"), ms, Goal::AtMost(1.0), growth(&runs, churn, quiet)),
        Figure::new(
            "L3.garbage",
            late("W4 and 10,000 datagrams of garbage a second"),
            ms,
            Goal::AtMost(1.0),
            growth(&runs, garbage, quiet),
        ),
    ])
}

const TWO_OFFERS: &str =
    "during W4; whoever joins learns of the track afterwards and makes a second offer";
const ONE_OFFER: &str = "during W4; with three free sections of each kind in the first offer, as livekit-client makes it";

/// The middle and the upper end.
fn joins(runs: &Rounds, variant: &Variant) -> [Option<Spread>; 2] {
    let figures: [fn(&Measured) -> Option<f64>; 2] = [|run| run.join_ms.p50, |run| run.join_ms.p99];
    figures.map(|figure| Spread::of(runs.values(variant, figure).into_iter().flatten()))
}

/// By how many milliseconds the latency's upper end grows, pair by pair.
fn growth(runs: &Rounds, busy: &Variant, quiet: &Variant) -> Option<Spread> {
    let pairs = runs.pairs(busy, quiet, |run| run.latency_us.p99).into_iter();
    Spread::of(pairs.filter_map(|(busy, quiet)| Some((busy? - quiet?) / 1000.0)))
}
