//! LiveKit's own client and server libraries against the real server: tests with clients that nobody here wrote.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::install;
use crate::report;
use crate::step::{Outcome, Step};

const NODE: &str = "e2e/sdk/node";
const PYTHON: &str = "e2e/sdk/python";

/// A test that takes longer has met something that never ends; the slowest takes 20 seconds on a machine with other
/// work.
const TEST_MILLISECONDS: &str = "--test-timeout=120000";

/// Installs and runs every library's tests (whose names hold `pattern`). The release binary has to be there.
pub(crate) fn run(root: &Path, pattern: Option<&str>) -> Vec<Outcome> {
    let mut outcomes = Vec::from(node(root, pattern));
    outcomes.extend(python(root, pattern));
    outcomes
}

/// Runs `scripts` (all of them if none is named) against both servers; it fails on a difference that is not meant.
pub(crate) fn differential(root: &Path, livekit: &Path, scripts: &[&str]) -> Outcome {
    let livekit = livekit.display().to_string();
    // Node 20 has WebSockets behind a flag, later ones have them anyway.
    let mut arguments = vec!["--experimental-websocket", "--no-warnings", "differential/run.js"];
    arguments.extend(["--livekit", &livekit]);
    arguments.extend(scripts);
    Step::new("differential", &root.join(NODE), "node", &arguments).run()
}

/// Installs the Node libraries.
pub(crate) fn install_node(root: &Path) -> Result<()> {
    install::npm_packages(&root.join(NODE))
}

fn node(root: &Path, pattern: Option<&str>) -> [Outcome; 2] {
    let directory = root.join(NODE);
    let pattern_flag = pattern.map(|pattern| format!("--test-name-pattern={pattern}"));
    let mut arguments = vec!["--test", "--test-reporter=spec", TEST_MILLISECONDS];
    arguments.extend(pattern_flag.as_deref());
    [
        Outcome::of("install Node libraries", || install_node(root)),
        Step::new("LiveKit's Node libraries", &directory, "node", &arguments)
            .run()
            .counting(|output| report::node(output, pattern)),
    ]
}

fn python(root: &Path, pattern: Option<&str>) -> [Outcome; 2] {
    let python = install::python_of(&environment(root)).display().to_string();
    let mut arguments = vec!["-W", "ignore", "-m", "unittest", "--verbose"];
    let named = pattern.map(|pattern| format!("*{pattern}*"));
    if let Some(named) = &named {
        arguments.extend(["-k", named]);
    }
    [
        Outcome::of("install Python libraries", || install_python(root)),
        Step::new("LiveKit's Python libraries", &root.join(PYTHON), &python, &arguments)
            .run()
            .counting(report::unittest),
    ]
}

/// Installs the Python libraries into an environment of their own.
pub(crate) fn install_python(root: &Path) -> Result<()> {
    install::python_packages(&environment(root), &root.join(PYTHON).join("requirements.txt"))
}

fn environment(root: &Path) -> PathBuf {
    root.join("target/sdk-python")
}
