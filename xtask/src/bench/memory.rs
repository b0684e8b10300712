//! What memory participants cost: servers with few and with many of them, idle and watching.
//!
//! Resident memory is read at the end of the measuring: everybody has joined seconds before, and what joining took is
//! given back, or kept by the allocator, in which case it counts: the machine has it no more. The difference between many
//! and few, by how many more they are, leaves out what a server allocates once: code, threads and their allocator's arenas,
//! caches that fill with the first participants.

use anyhow::Result;

use super::experiments::Experiment;
use super::figures::{Figure, Goal};
use super::generator::Load;
use super::measured::Measured;
use super::options::Options;
use super::runner::{Bench, Rounds, Variant};
use super::server::Subject::{self, Janus, LiveKit, Roomful};
use super::statistics::Spread;
use super::workload::Workload::{Idle, Stage};

/// M1 to M3.
pub(crate) const MEMORY: Experiment = Experiment {
    name: "memory",
    figures: &["M1", "M2", "M3"],
    quick: true,
    takes: |options| {
        let peers = peers(options);
        let of_peers = Bench::takes(options, &peers, PEER_ROUNDS, &[]);
        Bench::takes(options, &all(Roomful), rounds(options), &[]) + of_peers
    },
    run: memory,
};

/// Memory hardly varies from run to run, so fewer of them tell as much.
const ROUNDS: u32 = 3;
const PEER_ROUNDS: u32 = 1;

/// Few and many of one kind.
type Pair = [Variant; 2];

fn memory(bench: &mut Bench) -> Result<Vec<Figure>> {
    let rounds = rounds(&bench.options);
    let runs = bench.rounds(&all(Roomful), rounds, &[])?;
    // Told in the table beside, so that it can be compared; no goal is about them.
    let peers = peers(&bench.options);
    bench.rounds(&peers, PEER_ROUNDS, &[])?;
    let [idle, viewing] = pairs(Roomful);
    let own = all(Roomful);
    let alone = own.iter().flat_map(|variant| runs.values(variant, |run| run.memory.idle_kb));
    let alone = Spread::of(alone.flatten().map(|kb| kb / 1024.0));
    let m1 = Figure::new("M1", "resident memory of an idle server", "MB", Goal::AtMost(8.0), alone);
    let each = |id, who: &str, goal, pair: &Pair| {
        let [few, many] = pair.map(|variant| participants(&variant));
        let what = format!("resident memory of {who}");
        Figure::new(id, what, "kB", Goal::AtMost(goal), slope(&runs, pair))
            .noting(format!("what {many} have more than {few}, by {}", many - few))
    };
    Ok(vec![
        m1,
        each("M2", "an idle participant", 60.0, &idle),
        each("M3", "a participant that watches a video", 120.0, &viewing),
    ])
}

/// Memory by which more participants make a server larger, for each of them, in kB.
fn slope(runs: &Rounds, pair: &Pair) -> Option<Spread> {
    let [few, many] = pair;
    let more = f64::from(participants(many) - participants(few));
    let settled = |run: &Measured| run.memory.settled_kb;
    let grown = runs.pairs(many, few, settled).into_iter();
    Spread::of(grown.filter_map(|(many, few)| Some((many? - few?) / more)))
}

fn participants(variant: &Variant) -> u32 {
    match variant {
        Variant::Server(_, load) => load.workload.participants(),
        Variant::Floor(_, destinations) => *destinations,
        Variant::Relay => 0,
    }
}

/// Idle participants, few and many, and viewers, few and many. So many that neither what arrives in one allocation more
/// or less nor a growing table makes a difference; of viewers, and of peers, no more than a core bears with ease.
fn pairs(subject: Subject) -> [Pair; 2] {
    let (idle, viewers) = match subject {
        Roomful => ([100, 500], [50, 250]),
        LiveKit | Janus => ([50, 150], [25, 75]),
    };
    let server = |load| Variant::Server(subject, load);
    [
        idle.map(|participants| server(Load::of(Idle { participants }))),
        viewers.map(|viewers| server(Load::of(Stage { viewers }))),
    ]
}

fn all(subject: Subject) -> Vec<Variant> {
    pairs(subject).concat()
}

/// The peers' memory is told where there is time.
fn peers(options: &Options) -> Vec<Variant> {
    let wanted: &[Subject] = if options.is_quick() { &[] } else { &[LiveKit, Janus] };
    wanted.iter().flat_map(|subject| all(*subject)).collect()
}

fn rounds(options: &Options) -> u32 {
    options.pairs.min(ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::super::measured::Memory;
    use super::*;

    fn settled(kb: f64) -> Option<Measured> {
        let memory = Memory { settled_kb: Some(kb), peak_kb: Some(9e9), ..Memory::default() };
        Some(Measured { memory, ..Measured::default() })
    }

    #[test]
    fn what_a_server_allocates_once_is_nobodys_cost() {
        let [idle, _] = pairs(Roomful);
        let runs = Rounds::of(idle.to_vec(), vec![vec![settled(26_000.0), settled(50_000.0)]]);
        assert_eq!(slope(&runs, &idle).unwrap().median, 24_000.0 / 400.0);
    }

    #[test]
    fn a_round_without_one_of_both_tells_nothing() {
        let [idle, _] = pairs(Roomful);
        let runs = Rounds::of(idle.to_vec(), vec![vec![None, settled(50_000.0)]]);
        assert_eq!(slope(&runs, &idle), None);
    }
}
