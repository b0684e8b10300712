//! What `cargo xtask bench` was asked to do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// What to measure, and how long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// What to do.
    pub(crate) task: Task,
    /// How often each comparison is repeated.
    pub(crate) pairs: u32,
    /// How long one run measures.
    pub(crate) seconds: f64,
    /// Names of the only experiments to run; empty for all.
    pub(crate) only: Vec<String>,
    /// Whether the results replace those in `bench/results`.
    pub(crate) write: bool,
    /// Whether to count runs beside which other programs used the generator's core: for trying things out.
    pub(crate) rough: bool,
    /// When to stop starting anything new.
    pub(crate) budget: Option<Duration>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Measure the figures.
    Figures,
    /// Only show that the instrument can fail.
    Prove,
    /// Find where the server's time goes.
    Profile,
}

/// Pairs of a full run: fewer than five say little about spread, `goals.md` asks for five.
const PAIRS: u32 = 5;
/// Seconds of a full run. A shorter one leaves the 99th percentile of one viewer to chance (960 packets in 4 s); a longer
/// one keeps the runs of a pair apart for longer, and machines drift.
const SECONDS: f64 = 4.0;
/// What `--quick` may take without building: five minutes less the last run and the report.
const QUICK: Duration = Duration::from_secs(270);

impl Options {
    /// Reads the arguments after `bench`.
    ///
    /// # Errors
    /// If one is not known, lacks its value, or its value makes no sense.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            task: Task::Figures,
            pairs: PAIRS,
            seconds: SECONDS,
            only: Vec::new(),
            write: false,
            rough: false,
            budget: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
            match *argument {
                "--quick" => options.quicken(),
                "--prove" => options.task = Task::Prove,
                "--profile" => options.task = Task::Profile,
                "--rough" => options.rough = true,
                "--write" => options.write = true,
                "--pairs" => options.pairs = value()?.parse().context("--pairs takes a number")?,
                "--seconds" => {
                    options.seconds = value()?.parse().context("--seconds takes a number")?;
                }
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                other => bail!("cargo xtask bench does not know {other}"),
            }
        }
        ensure!(options.pairs > 0, "--pairs has to be at least 1");
        ensure!(
            !(options.rough && options.write),
            "rough figures are not kept: --rough or --write"
        );
        ensure!((1.0..=600.0).contains(&options.seconds), "--seconds has to be from 1 to 600");
        Ok(options)
    }

    fn quicken(&mut self) {
        self.pairs = 2;
        self.seconds = 3.0;
        self.budget = Some(QUICK);
    }

    /// Whether it has to end within minutes.
    pub(crate) fn is_quick(&self) -> bool {
        self.budget.is_some()
    }

    /// Whether all is to be done that the bench can do.
    pub(crate) fn is_full(&self) -> bool {
        self.only.is_empty() && !self.is_quick()
    }

    /// Whether the experiment called `name` is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_everything_is_measured_five_times() {
        let options = Options::parse(&[]).unwrap();
        assert_eq!((options.task, options.pairs, options.write), (Task::Figures, 5, false));
        assert!(options.wants("stage"));
    }

    #[test]
    fn what_comes_after_quick_adjusts_it() {
        let options = Options::parse(&["--quick", "--pairs", "3", "--only", "stage,idle"]).unwrap();
        assert_eq!((options.pairs, options.budget), (3, Some(QUICK)));
        assert!(options.wants("idle") && !options.wants("hall"));
    }

    #[test]
    fn nonsense_is_an_error() {
        for arguments in [
            &["--fast"][..],
            &["--pairs"],
            &["--pairs", "0"],
            &["--seconds", "x"],
            &["--rough", "--write"],
        ] {
            assert!(Options::parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
