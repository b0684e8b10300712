//! Counting tests: what each runner printed or wrote, and the summary at the end.

use std::ops::AddAssign;
use std::path::Path;

use serde_json::Value;

use crate::step::Outcome;

/// Tests that passed and tests that failed. A test that was skipped or passed only on a second try counts as failed:
/// it has not shown what it is there to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that ran and passed.
    pub(crate) passed: u64,
    /// Tests that failed, were skipped, or were ignored.
    pub(crate) failed: u64,
}

impl Tally {
    /// The tally of a step that is itself the test.
    pub(crate) fn of_one(succeeded: bool) -> Self {
        Self { passed: u64::from(succeeded), failed: u64::from(!succeeded) }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Reads the `test result:` lines of `cargo test`, one per test binary.
pub(crate) fn cargo(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        tally += Tally {
            passed: before(line, " passed"),
            failed: before(line, " failed") + before(line, " ignored"),
        };
    }
    tally
}

/// Reads the last lines of Node's `spec` reporter. Tests that a `pattern` leaves out count as skipped there.
pub(crate) fn node(output: &str, pattern: Option<&str>) -> Tally {
    let count = |what: &str| -> u64 {
        let lines = output.lines().filter_map(|line| line.trim().strip_prefix("ℹ "));
        let numbers = lines.filter_map(|line| line.strip_prefix(what)?.trim().parse::<u64>().ok());
        numbers.sum()
    };
    let skipped = if pattern.is_none() { count("skipped ") } else { 0 };
    Tally {
        passed: count("pass "),
        failed: count("fail ") + count("cancelled ") + count("todo ") + skipped,
    }
}

/// Reads the last lines of Python's `unittest`.
pub(crate) fn unittest(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines() {
        if line.starts_with("Ran ") {
            tally.passed += before(line, " test");
        } else if line.starts_with("OK") || line.starts_with("FAILED") {
            let counts = line.split_once('(').map_or("", |(_, counts)| counts);
            let numbers = counts.trim_end_matches(')').split(", ").filter_map(|count| {
                let (what, number) = count.split_once('=')?;
                let bad = ["failures", "errors", "skipped", "unexpected successes"].contains(&what);
                if bad { number.parse::<u64>().ok() } else { None }
            });
            tally.failed += numbers.sum::<u64>();
        }
    }
    tally.passed = tally.passed.saturating_sub(tally.failed);
    tally
}

/// Reads the JSON report vitest wrote.
pub(crate) fn vitest(report: &Path) -> Tally {
    let Some(report) = json(report) else { return Tally::default() };
    let count = |key: &str| report[key].as_u64().unwrap_or(0);
    Tally {
        passed: count("numPassedTests"),
        failed: count("numFailedTests") + count("numPendingTests") + count("numTodoTests"),
    }
}

/// Reads the JSON report Playwright wrote.
pub(crate) fn playwright(report: &Path) -> Tally {
    let Some(report) = json(report) else { return Tally::default() };
    let count = |key: &str| report["stats"][key].as_u64().unwrap_or(0);
    let errors = report["errors"].as_array().map_or(0, Vec::len);
    Tally {
        passed: count("expected"),
        failed: count("unexpected")
            + count("flaky")
            + count("skipped")
            + u64::try_from(errors).unwrap_or(u64::MAX),
    }
}

/// Prints what each step took and found, and last the line that sums it up. Returns whether all is well.
pub(crate) fn summary(outcomes: &[Outcome]) -> bool {
    println!("\n── summary ");
    let mut total = Tally::default();
    for outcome in outcomes {
        let Outcome { name, tally, took, .. } = outcome;
        let mark = if tally.failed == 0 { "ok    " } else { "FAILED" };
        println!(
            "{mark} {name:<28} {:>7.1} s  {:>5} passed {:>4} failed",
            took.as_secs_f64(),
            tally.passed,
            tally.failed
        );
        total += *tally;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

/// The number that stands right before `word`.
fn before(line: &str, word: &str) -> u64 {
    let Some(end) = line.find(word) else { return 0 };
    let digits = line[..end].rsplit(|letter: char| !letter.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn json(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_binary_is_counted_and_an_ignored_test_is_a_failure() {
        let output = "running 3 tests\n\
            test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(cargo(output), Tally { passed: 15, failed: 3 });
    }

    #[test]
    fn a_test_of_node_that_was_skipped_is_a_failure_unless_a_pattern_left_it_out() {
        let output =
            "✔ one (3 ms)\nℹ tests 5\nℹ pass 2\nℹ fail 1\nℹ cancelled 1\nℹ skipped 1\nℹ todo 0\n";
        assert_eq!(node(output, None), Tally { passed: 2, failed: 3 });
        assert_eq!(node(output, Some("one")), Tally { passed: 2, failed: 2 });
    }

    #[test]
    fn failures_errors_and_skips_of_python_are_failures() {
        let output = "Ran 9 tests in 1.2s\n\nFAILED (failures=1, errors=2, skipped=1)\n";
        assert_eq!(unittest(output), Tally { passed: 5, failed: 4 });
        assert_eq!(unittest("Ran 1 test in 1s\n\nOK\n"), Tally { passed: 1, failed: 0 });
    }

    #[test]
    fn output_without_results_counts_nothing() {
        assert_eq!(cargo("error: could not compile `roomful`"), Tally::default());
    }
}
