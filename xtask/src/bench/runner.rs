//! Running things one after another, and keeping what they measured.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::floor::{self, Floor};
use super::generator::{Generator, Load};
use super::measured::Measured;
use super::network::Network;
use super::options::Options;
use super::process::{Core, busy_ticks, ticks};
use super::server::{Programs, Subject};

/// How often a run that does not count is repeated. More would let a bench on a busy machine go on for ever; what fails
/// three times in a row is no accident.
const REPEATS: u32 = 2;

/// In how many rounds those take part who only stand beside: no goal is about them.
const CONTEXT_ROUNDS: u32 = 2;

/// What a run takes beyond measuring: warming up, and of a server also starting, waiting for late packets, ending.
const FLOOR_OVERHEAD: Duration = Duration::from_secs(2);
const SERVER_OVERHEAD: Duration = Duration::from_millis(3300);

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Variant {
    /// A floor program and its number of destinations.
    Floor(Floor, u32),
    /// A program that sends everything back.
    Relay,
    /// A server under load.
    Server(Subject, Load),
}

impl Variant {
    /// What it is called in tables and file names.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Floor(Floor::Gso, _) => "Floor, GSO".to_owned(),
            Self::Floor(Floor::Sendmmsg, _) => "Floor, sendmmsg".to_owned(),
            Self::Floor(Floor::Sound, _) => "Floor, one packet a message".to_owned(),
            Self::Relay => "Floor, relay".to_owned(),
            Self::Server(subject, load) => format!("{subject}, {}", load.difference()),
        }
    }

    /// How long a run takes, at worst.
    pub(crate) fn duration(&self, seconds: f64) -> Duration {
        match self {
            Self::Floor(..) | Self::Relay => Duration::from_secs_f64(seconds) + FLOOR_OVERHEAD,
            Self::Server(_, load) => {
                let measuring = Duration::from_secs_f64(load.seconds(seconds));
                measuring + SERVER_OVERHEAD + load.workload.gathering()
            }
        }
    }
}

/// One run as it is kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// The experiment it belongs to.
    pub(crate) experiment: String,
    /// What was run.
    pub(crate) variant: String,
    /// The workload in words.
    pub(crate) workload: String,
    /// Which round, from 1; runs of one round belong together.
    pub(crate) round: u32,
    /// Why it does not count, if it does not.
    pub(crate) void: Option<String>,
    /// Its figures.
    pub(crate) measured: Measured,
    /// What the programs printed.
    pub(crate) raw: Value,
}

/// The runs of one experiment that count: for each round the figures of each variant.
pub(crate) struct Rounds {
    variants: Vec<Variant>,
    rounds: Vec<Vec<Option<Measured>>>,
}

impl Rounds {
    /// Rounds of `variants`, each with a run of every one of them.
    #[cfg(test)]
    pub(crate) fn of(variants: Vec<Variant>, rounds: Vec<Vec<Option<Measured>>>) -> Self {
        Self { variants, rounds }
    }

    /// One figure of one variant, round by round.
    pub(crate) fn values(
        &self,
        variant: &Variant,
        figure: impl Fn(&Measured) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let Some(column) = self.variants.iter().position(|other| other == variant) else {
            return Vec::new();
        };
        let runs = self.rounds.iter().map(|round| round.get(column).and_then(Option::as_ref));
        runs.map(|run| run.and_then(&figure)).collect()
    }

    /// One figure of two variants, pair by pair.
    pub(crate) fn pairs(
        &self,
        first: &Variant,
        second: &Variant,
        figure: impl Fn(&Measured) -> Option<f64>,
    ) -> Vec<(Option<f64>, Option<f64>)> {
        let (first, second) = (self.values(first, &figure), self.values(second, &figure));
        first.into_iter().zip(second).collect()
    }
}

/// Everything a run needs, and all that was measured so far.
pub(crate) struct Bench {
    /// What was asked for.
    pub(crate) options: Options,
    /// The servers.
    pub(crate) programs: Programs,
    /// The load generator.
    pub(crate) generator: Generator,
    /// The floor program.
    pub(crate) floor: PathBuf,
    /// The wire.
    pub(crate) network: Network,
    /// Every run.
    pub(crate) records: Vec<Record>,
    /// How busy the cores were with other things before, as shares.
    pub(crate) busy: Vec<f64>,
    /// When it began.
    pub(crate) started: Instant,
    /// The experiment that is running.
    pub(crate) experiment: String,
    /// When the experiment has to start nothing new any more, so that one that fails again and again leaves time for
    /// the others.
    pub(crate) until: Option<Instant>,
}

impl Bench {
    /// Runs all `variants` one after another, as many rounds as asked for. A run that does not count is repeated; one
    /// that never counts is missing from its round.
    ///
    /// # Errors
    /// If a record cannot be written. What goes wrong in a run is kept in its record.
    pub(crate) fn paired(&mut self, variants: &[Variant]) -> Result<Rounds> {
        self.rounds(variants, self.options.pairs, &[])
    }

    /// As [`Bench::paired`], and in the first rounds also the `context` that stands beside.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn beside(&mut self, variants: &[Variant], context: &[Variant]) -> Result<Rounds> {
        self.rounds(variants, self.options.pairs, context)
    }

    /// As [`Bench::beside`], with a number of rounds of its own.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn rounds(
        &mut self,
        variants: &[Variant],
        rounds: u32,
        context: &[Variant],
    ) -> Result<Rounds> {
        let all = variants.iter().chain(context).copied();
        let variants: Vec<Variant> = all.filter(|variant| self.has(variant)).collect();
        let mut counted = Vec::new();
        for round in 1..=rounds {
            let takes_part =
                |variant: &Variant| round <= CONTEXT_ROUNDS || !context.contains(variant);
            let seconds = self.options.seconds;
            let those = variants.iter().filter(|variant| takes_part(variant));
            if !self.has_time_for(those.map(|variant| variant.duration(seconds)).sum()) {
                println!("    no time is left for round {round}");
                break;
            }
            let mut runs = Vec::new();
            for variant in &variants {
                let run = takes_part(variant).then(|| self.counted(variant, round));
                runs.push(run.transpose()?.flatten());
            }
            counted.push(runs);
        }
        Ok(Rounds { variants, rounds: counted })
    }

    /// How long rounds of these take at worst if every run counts.
    pub(crate) fn takes(
        options: &Options,
        variants: &[Variant],
        rounds: u32,
        context: &[Variant],
    ) -> Duration {
        let sum = |variants: &[Variant]| -> Duration {
            variants.iter().map(|variant| variant.duration(options.seconds)).sum()
        };
        sum(variants) * rounds + sum(context) * rounds.min(CONTEXT_ROUNDS)
    }

    /// Runs `variant` once and keeps the run, whether it counts or not.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub(crate) fn once(&mut self, variant: &Variant, round: u32) -> Result<Record> {
        let elapsed = self.started.elapsed().as_secs();
        let workload = match variant {
            Variant::Floor(Floor::Sound, destinations) => {
                format!("W2 hall, {destinations} destinations")
            }
            Variant::Floor(_, destinations) => format!("W1 stage, {destinations} destinations"),
            Variant::Relay => "W1 stage, there and back".to_owned(),
            Variant::Server(_, load) => load.workload.to_string(),
        };
        println!(
            "[{:02}:{:02}] {}: {workload}, round {round} (about {} s)",
            elapsed / 60,
            elapsed % 60,
            variant.label(),
            variant.duration(self.options.seconds).as_secs()
        );
        let (void, measured, raw) = match self.run(variant) {
            Ok((measured, raw)) => (measured.fault(self.options.rough), measured, raw),
            Err(error) => (Some(format!("{error:#}")), Measured::default(), Value::Null),
        };
        println!("    {}", describe(&measured, void.as_deref()));
        let experiment = self.experiment.clone();
        let variant = variant.label();
        let record = Record { experiment, variant, workload, round, void, measured, raw };
        self.keep(&record)?;
        Ok(record)
    }

    /// Whether something that takes `duration` still fits into the time given.
    pub(crate) fn has_time_for(&self, duration: Duration) -> bool {
        self.until.is_none_or(|until| Instant::now() + duration <= until)
    }

    fn has(&self, variant: &Variant) -> bool {
        match variant {
            Variant::Floor(..) | Variant::Relay => true,
            Variant::Server(subject, load) => {
                self.programs.has(*subject) && self.generator.can(*subject, load)
            }
        }
    }

    fn counted(&mut self, variant: &Variant, round: u32) -> Result<Option<Measured>> {
        for attempt in 0..=REPEATS {
            let record = self.once(variant, round)?;
            if record.void.is_none() {
                return Ok(Some(record.measured));
            }
            let time_left = self.has_time_for(variant.duration(self.options.seconds));
            if attempt == REPEATS || !time_left {
                break;
            }
            println!("    that run does not count; again");
        }
        Ok(None)
    }

    fn run(&self, variant: &Variant) -> Result<(Measured, Value)> {
        let seconds = self.options.seconds;
        match variant {
            Variant::Floor(floor, destinations) => {
                let logs = &self.programs.directory;
                floor::run(&self.floor, &self.network, *floor, *destinations, seconds, logs)
            }
            Variant::Relay => {
                floor::relay(&self.floor, &self.network, seconds, &self.programs.directory)
            }
            Variant::Server(subject, load) => {
                let server = self.programs.start(*subject)?;
                let process = server.process.id();
                let before = (busy_ticks(Core::SERVER), ticks(process), Instant::now());
                let (mut measured, raw) = self.generator.run(
                    &self.network,
                    &server,
                    load,
                    load.seconds(seconds),
                    &mut || {},
                )?;
                let after = (busy_ticks(Core::SERVER), ticks(process));
                if after.1.is_none() {
                    bail!("{subject} ended while under load: {}", server.process.last_words());
                }
                measured.memory.idle_kb = server.idle_kb.map(|kb| kb as f64);
                measured.shares.foreign =
                    foreign_share((before.0, before.1), after, before.2.elapsed());
                Ok((measured, raw))
            }
        }
    }

    fn keep(&mut self, record: &Record) -> Result<()> {
        self.records.push(record.clone());
        let name = format!(
            "{:04}-{}-{}.json",
            self.records.len(),
            record.experiment,
            slug(&record.variant)
        );
        let path = self.programs.directory.join("runs").join(name);
        let text = serde_json::to_string_pretty(record)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// `text` as a part of a file's name: letters and digits, and one dash between.
fn slug(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

type Ticks = Option<u64>;

/// The share of `elapsed` in which the core worked, but not for the server.
fn foreign_share(before: (Ticks, Ticks), after: (Ticks, Ticks), elapsed: Duration) -> Option<f64> {
    let core = after.0?.saturating_sub(before.0?);
    let server = after.1?.saturating_sub(before.1?);
    // A hundred ticks a second, as /proc counts them.
    Some(core.saturating_sub(server) as f64 / 100.0 / elapsed.as_secs_f64())
}

fn describe(measured: &Measured, void: Option<&str>) -> String {
    let mut words = Vec::new();
    let mut say = |value: Option<f64>, before: &str, unit: &str| {
        if let Some(value) = value {
            words.push(format!("{before}{} {unit}", super::figures::number(value)));
        }
    };
    say(measured.cpu_us_per_packet, "", "µs/packet");
    say(measured.latency_us.p50, "p50 ", "µs");
    say(measured.latency_us.p99, "p99 ", "µs");
    say(measured.join_ms.p50, "join p50 ", "ms");
    say(measured.join_ms.p99, "join p99 ", "ms");
    say(measured.loss_percent, "loss ", "%");
    say(measured.shares.server.map(|share| share * 100.0), "server ", "% of its core");
    say(measured.shares.generator.map(|share| share * 100.0), "generator ", "% of its core");
    say(measured.shares.generator_core.map(|share| share * 100.0), "that core ", "% busy");
    say(measured.shares.foreign.map(|share| share * 100.0), "others on the server's core ", "%");
    match void {
        Some(why) if words.is_empty() => format!("void: {why}"),
        Some(why) => format!("{}; void: {why}", words.join(", ")),
        None => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cost: f64) -> Option<Measured> {
        Some(Measured { cpu_us_per_packet: Some(cost), ..Measured::default() })
    }

    #[test]
    fn pairs_are_made_within_a_round_only() {
        let (gso, sendmmsg) = (Variant::Floor(Floor::Gso, 1), Variant::Floor(Floor::Sendmmsg, 1));
        let rounds = Rounds::of(
            vec![gso, sendmmsg],
            vec![vec![run(1.0), run(4.0)], vec![run(2.0), None], vec![run(3.0), run(6.0)]],
        );
        let cost = |run: &Measured| run.cpu_us_per_packet;
        let pairs = rounds.pairs(&gso, &sendmmsg, cost);
        assert_eq!(pairs, [(Some(1.0), Some(4.0)), (Some(2.0), None), (Some(3.0), Some(6.0))]);
        let absent = Variant::Floor(Floor::Gso, 2);
        assert!(rounds.values(&absent, cost).is_empty(), "what was left out has no values");
    }

    #[test]
    fn a_label_is_a_file_name() {
        assert_eq!(slug("Roomful, 20 joins/s"), "roomful-20-joins-s");
    }

    #[test]
    fn what_the_core_did_for_others_is_told_apart() {
        let share =
            foreign_share((Some(1000), Some(10)), (Some(1500), Some(260)), Duration::from_secs(10));
        assert_eq!(share, Some(0.25));
    }
}
