//! What the experiments found, and why something was not found.

use super::experiments::Experiment;
use super::figures::Figure;
use super::runner::{Bench, Record};
use super::server::Subject;

/// See the module text.
pub(crate) struct Findings {
    /// The figures, in the order of their names.
    pub(crate) figures: Vec<Figure>,
    /// Figures that this run did not look for, or whose experiment failed.
    pub(crate) missing: Vec<&'static str>,
    /// How busy the cores were with other things before, as shares.
    pub(crate) busy: Vec<f64>,
    /// Whether each side of the wire received on its own core.
    pub(crate) is_steered: bool,
}

impl Findings {
    /// Nothing yet.
    pub(crate) fn new(busy: Vec<f64>, is_steered: bool) -> Self {
        Self { figures: Vec::new(), missing: Vec::new(), busy, is_steered }
    }

    /// Takes in what an experiment found; what it did not find gets the reason beside it.
    pub(crate) fn add(&mut self, found: Vec<Figure>, bench: &Bench) {
        let records = bench.records.iter().filter(|run| run.experiment == bench.experiment);
        let absent = [Subject::LiveKit, Subject::Janus]
            .into_iter()
            .filter(|peer| !bench.programs.has(*peer));
        let why = why_not(records, absent);
        self.figures.extend(found.into_iter().map(|figure| {
            let note = [figure.note.clone(), Some(why.clone())].into_iter().flatten();
            let note: Vec<String> = note.filter(|text| !text.is_empty()).collect();
            if figure.measured.is_some() { figure } else { figure.noting(note.join("; ")) }
        }));
        self.figures.sort_by_key(|figure| figure.id);
    }

    /// The figures of an experiment are not there.
    pub(crate) fn miss(&mut self, experiment: &Experiment) {
        self.missing.extend(experiment.figures);
        self.missing.sort_unstable();
    }
}

/// Peers that are not here, and the first reason for which runs did not count.
fn why_not<'a>(
    records: impl Iterator<Item = &'a Record>,
    absent: impl Iterator<Item = Subject>,
) -> String {
    let void = records.filter_map(|run| {
        let why = run.void.as_deref()?.lines().next()?;
        Some(format!("{}: {why}", run.variant))
    });
    let absent = absent.map(|peer| format!("{peer} is not here"));
    absent.chain(void.take(1)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::measured::Measured;
    use super::*;

    fn run(variant: &str, void: Option<&str>) -> Record {
        Record {
            experiment: "stage".to_owned(),
            variant: variant.to_owned(),
            workload: String::new(),
            round: 1,
            void: void.map(str::to_owned),
            measured: Measured::default(),
            raw: serde_json::Value::Null,
        }
    }

    #[test]
    fn whoever_is_absent_and_the_first_void_run_are_named() {
        let runs = [
            run("Roomful", None),
            run("Janus", Some("loss\nand more")),
            run("Janus", Some("later")),
        ];
        let why = why_not(runs.iter(), [Subject::LiveKit].into_iter());
        assert_eq!(why, "LiveKit is not here; Janus: loss");
        assert_eq!(why_not([].into_iter(), [].into_iter()), "");
    }
}
