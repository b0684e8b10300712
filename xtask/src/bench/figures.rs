//! The figures that goals are set for.

use std::fmt;

use serde::{Serialize, Serializer};

use super::statistics::Spread;

/// One figure beside its goal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// Its name among the goals; where a goal has two numbers, with what tells them apart.
    pub(crate) id: &'static str,
    /// What it tells.
    pub(crate) what: String,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What it should be.
    pub(crate) goal: Goal,
    /// What was measured; none if nothing counted.
    #[serde(flatten)]
    pub(crate) measured: Option<Spread>,
    /// What has to be said beside it.
    pub(crate) note: Option<String>,
}

impl Figure {
    /// A figure without a note.
    pub(crate) fn new(
        id: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        goal: Goal,
        measured: Option<Spread>,
    ) -> Self {
        Self { id, what: what.into(), unit, goal, measured, note: None }
    }

    /// The same with something said beside it.
    pub(crate) fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Whether the goal is met; none if nothing was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.measured.map(|measured| self.goal.is_met_by(measured.median))
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Goal {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(formatter, "≤ {}", number(*limit)),
            Self::AtLeast(limit) => write!(formatter, "≥ {}", number(*limit)),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number with three significant digits, as people read it.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        let decimals = if size >= 10.0 { 1 } else { 2 };
        let decimals = if size < 1.0 { 3 } else { decimals };
        let text = format!("{value:.decimals$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(goal: Goal, median: f64) -> Figure {
        let measured = Spread { median, min: 0.0, max: 9.0, samples: 5 };
        Figure::new("P1", "cost", "µs", goal, Some(measured))
    }

    #[test]
    fn a_goal_is_judged_by_the_median() {
        assert_eq!(figure(Goal::AtMost(2.5), 2.5).is_met(), Some(true));
        assert_eq!(figure(Goal::AtMost(2.5), 2.6).is_met(), Some(false));
        assert_eq!(figure(Goal::AtLeast(1200.0), 1199.0).is_met(), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let figure = Figure::new("P1", "cost", "", Goal::AtMost(1.0), None);
        assert_eq!(figure.is_met(), None);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0, 0.0314, 0.5, 2.346, 12.34, 160.4, 1200.0].map(number);
        assert_eq!(texts, ["0", "0.031", "0.5", "2.35", "12.3", "160", "1200"]);
    }
}
