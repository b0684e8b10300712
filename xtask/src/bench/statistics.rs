//! What several runs say together.

use serde::Serialize;

/// The middle of some values and how far they lie apart. Of an even number the lower of the two in the middle: a value
/// that was really measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The value in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// How many there were.
    pub(crate) samples: usize,
}

impl Spread {
    /// The spread of `values`; none if there are none. Values that are no numbers (a division by nothing) are left out.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len().checked_sub(1)? / 2)?;
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median, min, max, samples: values.len() })
    }
}

/// The ratio of each pair, first to second; a pair without both, or with nothing below the line, gives none.
pub(crate) fn ratios(pairs: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> Vec<f64> {
    let complete = pairs.into_iter().filter_map(|(above, below)| Some((above?, below?)));
    complete.filter(|(_, below)| *below > 0.0).map(|(above, below)| above / below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_wild_run_and_the_range_shows_it() {
        let spread = Spread::of([2.0, 90.0, 1.0, 3.0, 2.5]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 90.0, samples: 5 });
    }

    #[test]
    fn the_median_of_an_even_number_was_really_measured() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn nothing_measured_is_no_value_rather_than_zero() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_pair_and_incomplete_pairs_are_left_out() {
        let pairs = [
            (Some(1.0), Some(10.0)),
            (Some(4.0), Some(20.0)),
            (None, Some(1.0)),
            (Some(1.0), None),
            (Some(1.0), Some(0.0)),
        ];
        assert_eq!(ratios(pairs), [0.1, 0.2]);
    }
}
