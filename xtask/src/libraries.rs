//! LiveKit's own client and server libraries against the real server: tests with clients that nobody here wrote.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::install;
use crate::report;
use crate::step::{Outcome, Step};

const NODE: &str = "e2e/sdk/node";
const PYTHON: &str = "e2e/sdk/python";
/// Agents, whose framework asks for another version of the client library than the newest.
const AGENTS: &str = "e2e/sdk/agents";

/// A test that takes longer has met something that never ends; the slowest takes 20 seconds on a machine with other
/// work.
const TEST_MILLISECONDS: &str = "--test-timeout=120000";

/// Installs and runs every library's tests (whose names hold `pattern`). The release binary has to be there.
pub(crate) fn run(root: &Path, pattern: Option<&str>) -> Vec<Outcome> {
    let mut outcomes = Vec::from(node(root, pattern));
    outcomes.extend(python(root, PYTHON, pattern));
    outcomes.extend(python(root, AGENTS, pattern));
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

fn python(root: &Path, tests: &str, pattern: Option<&str>) -> [Outcome; 2] {
    let python = install::python_of(&environment(root, tests)).display().to_string();
    let mut arguments = vec!["-W", "ignore", "-m", "unittest", "--verbose"];
    let named = pattern.map(|pattern| format!("*{pattern}*"));
    if let Some(named) = &named {
        arguments.extend(["-k", named]);
    }
    let (installing, running) = match tests {
        AGENTS => ("install agents' packages", "agents of LiveKit's framework"),
        _ => ("install Python libraries", "LiveKit's Python libraries"),
    };
    [
        Outcome::of(installing, || install_packages(root, tests)),
        Step::new(running, &root.join(tests), &python, &arguments).run().counting(report::unittest),
    ]
}

/// Installs the Python libraries, each set into an environment of its own.
pub(crate) fn install_python(root: &Path) -> Result<()> {
    install_packages(root, PYTHON)?;
    install_packages(root, AGENTS)
}

fn install_packages(root: &Path, tests: &str) -> Result<()> {
    let requirements = root.join(tests).join("requirements.txt");
    install::python_packages(&environment(root, tests), &requirements)
}

fn environment(root: &Path, tests: &str) -> PathBuf {
    root.join("target").join(if tests == AGENTS { "sdk-agents" } else { "sdk-python" })
}
