//! What nobody asked for: datagrams of garbage to the server's media port.

use anyhow::Result;

use super::experiments::Experiment;
use super::figures::{Figure, Goal};
use super::generator::Load;
use super::measured::Measured;
use super::runner::{Bench, Rounds, Variant};
use super::server::Subject::Roomful;
use super::statistics::Spread;
use super::workload::Workload::Stage;

/// S2.
pub(crate) const GARBAGE: Experiment = Experiment {
    name: "garbage",
    figures: &["S2.cpu", "S2.memory"],
    quick: false,
    takes: |options| Bench::takes(options, &variants(), ROUNDS, &[]),
    run: garbage,
};

/// Datagrams a second, as the goal says.
const DATAGRAMS: u32 = 10_000;

/// Those who must not notice.
const VIEWERS: u32 = 10;

/// A run with garbage lasts so many times as long as others: whatever it leaves behind adds up. The goal's ten minutes
/// are `--only garbage --seconds 100`.
const LASTING: u32 = 6;

const ROUNDS: u32 = 1;

fn variants() -> [Variant; 2] {
    let quiet = Load::of(Stage { viewers: VIEWERS });
    [quiet, quiet.with_garbage(DATAGRAMS).lasting(LASTING)]
        .map(|load| Variant::Server(Roomful, load))
}

fn garbage(bench: &mut Bench) -> Result<Vec<Figure>> {
    let variants = variants();
    let runs = bench.rounds(&variants, ROUNDS, &[])?;
    let lasted = bench.options.seconds * f64::from(LASTING);
    let note =
        format!("for {lasted:.0} s; it does not count if anybody is lost or misses a packet");
    let share = |run: &Measured| Some(run.shares.server? * 100.0);
    let cpu = more(&runs, &variants, share);
    let memory = more(&runs, &variants, |run| Some(run.memory.settled_kb? / 1024.0));
    let what = "10,000 datagrams of garbage a second";
    Ok(vec![
        Figure::new(
            "S2.cpu",
            format!("processor time for {what}"),
            "% of a core",
            Goal::AtMost(10.0),
            cpu,
        )
        .noting(&note),
        Figure::new(
            "S2.memory",
            format!("resident memory that {what} leave behind"),
            "MB",
            Goal::AtMost(1.0),
            memory,
        )
        .noting(&note),
    ])
}

/// How much more there is of something with garbage than without.
fn more(
    runs: &Rounds,
    [quiet, garbage]: &[Variant; 2],
    figure: impl Fn(&Measured) -> Option<f64>,
) -> Option<Spread> {
    let pairs = runs.pairs(garbage, quiet, figure).into_iter();
    Spread::of(pairs.filter_map(|(garbage, quiet)| Some(garbage? - quiet?)))
}
