//! What memory participants cost: servers with few and with many of them, idle and watching.

use std::time::Duration;

use anyhow::Result;

use super::figures::{Figure, Goal};
use super::generator::Load;
use super::options::Options;
use super::runner::{Bench, Variant};
use super::server::Subject::{self, Janus, LiveKit, Roomful};
use super::statistics::Spread;
use super::workload::Workload::{Idle, Stage};

/// Few and many, so that what a server allocates once is not taken for what a participant costs.
const FEW: u32 = 50;
const MANY: u32 = 250;

/// Rounds of the memory's experiment.
const ROUNDS: u32 = 3;

/// How long it takes at worst if every run counts.
pub(crate) fn takes(options: &Options) -> Duration {
    let variants = subjects(options).iter().flat_map(|of| variants(*of)).flatten();
    let round: Duration = variants.map(|variant| variant.duration(options.seconds)).sum();
    round * rounds(options)
}

/// Runs them, and tells the figures.
///
/// # Errors
/// If a record cannot be written.
pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let [idle, viewing] = variants(Roomful);
    let own = [idle, viewing].concat();
    let subjects = subjects(&bench.options).iter();
    let all: Vec<Variant> = subjects.flat_map(|of| variants(*of)).flatten().collect();
    let runs = bench.rounds(&all, rounds(&bench.options))?;
    let each = |[few, many]: &[Variant; 2]| {
        let pairs = runs.pairs(many, few, |run| run.peak_kb).into_iter();
        let grown = pairs.filter_map(|(many, few)| Some(many? - few?));
        Spread::of(grown.map(|kb| kb / f64::from(MANY - FEW)))
    };
    let alone = own.iter().flat_map(|variant| runs.values(variant, |run| run.idle_kb));
    let alone = Spread::of(alone.flatten().map(|kb| kb / 1024.0));
    Ok(vec![
        Figure::new("M1", "resident memory of an idle server", "MB", Goal::AtMost(8.0), alone),
        Figure::new(
            "M2",
            "resident memory of an idle participant",
            "kB",
            Goal::AtMost(60.0),
            each(&idle),
        ),
        Figure::new(
            "M3",
            "resident memory of a participant that watches a video",
            "kB",
            Goal::AtMost(120.0),
            each(&viewing),
        ),
    ])
}

/// Idle participants, few and many, and viewers, few and many.
fn variants(subject: Subject) -> [[Variant; 2]; 2] {
    let sizes = [FEW, MANY];
    let server = |workload| Variant::Server(subject, Load::of(workload));
    [
        sizes.map(|participants| server(Idle { participants })),
        sizes.map(|viewers| server(Stage { viewers })),
    ]
}

/// The peers' memory is told beside ours, where there is time.
fn subjects(options: &Options) -> &'static [Subject] {
    if options.budget.is_some() { &[Roomful] } else { &[Roomful, LiveKit, Janus] }
}

/// Memory hardly varies from run to run, so fewer of them tell as much.
fn rounds(options: &Options) -> u32 {
    options.pairs.min(ROUNDS)
}
