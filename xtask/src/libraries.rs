//! LiveKit's own client and server libraries against the real server: tests with clients that nobody here wrote.

use std::path::Path;

use crate::install;
use crate::report;
use crate::step::{Outcome, Step};

/// A test that takes longer has met something that never ends; the slowest takes 20 seconds on a machine with other
/// work.
const TEST_MILLISECONDS: &str = "--test-timeout=120000";

/// Installs and runs every library's tests (whose names hold `pattern`). The release binary has to be there.
pub(crate) fn run(root: &Path, pattern: Option<&str>) -> Vec<Outcome> {
    node(root, pattern).into()
}

fn node(root: &Path, pattern: Option<&str>) -> [Outcome; 2] {
    let directory = root.join("e2e/sdk/node");
    let pattern_flag = pattern.map(|pattern| format!("--test-name-pattern={pattern}"));
    let mut arguments = vec!["--test", "--test-reporter=spec", TEST_MILLISECONDS];
    arguments.extend(pattern_flag.as_deref());
    [
        Outcome::of("install Node libraries", || install::npm_packages(&directory)),
        Step::new("LiveKit's Node libraries", &directory, "node", &arguments)
            .run()
            .counting(|output| report::node(output, pattern)),
    ]
}
