//! The test runs: which steps, in which order.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::bench;
use crate::install;
use crate::libraries;
use crate::report;
use crate::step::{Outcome, Step};
use crate::tidy;

/// Every step, whatever the others find: one run tells everything that is wrong.
pub(crate) fn everything(root: &Path) -> Result<bool> {
    // Browsers come over the network while the compiler needs the processor.
    let browsers = thread::spawn(|| Outcome::of("install browsers", install::browsers));
    let mut outcomes = vec![
        Outcome::of("install Node.js", install::node),
        Outcome::of("install rustfmt, clippy", install::toolchain),
        Outcome::of("tidy", || tidy::check(root)),
        format(root),
    ];
    outcomes.extend(web(root, None)?);
    outcomes.extend(rust(root, None));
    outcomes.extend(licences(root));
    outcomes.push(release(root));
    outcomes.extend(libraries::run(root, None));
    outcomes.push(browsers.join().map_err(|_| anyhow!("installing the browsers crashed"))?);
    outcomes.extend(e2e(root, None)?);
    Ok(report::summary(&outcomes))
}

/// One part of everything: `rust`, `web`, `sdk`, or `e2e`.
pub(crate) fn part(root: &Path, part: &str, pattern: Option<&str>) -> Result<bool> {
    let outcomes = match part {
        "rust" => rust(root, pattern),
        "web" => web(root, pattern)?.into(),
        "sdk" => {
            let mut outcomes = vec![release(root)];
            if outcomes.iter().all(|outcome| outcome.succeeded) {
                outcomes.extend(libraries::run(root, pattern));
            }
            outcomes
        }
        "e2e" => {
            let mut outcomes =
                vec![Outcome::of("install browsers", install::browsers), release(root)];
            // Stories told of an old binary would mislead.
            if outcomes.iter().all(|outcome| outcome.succeeded) {
                outcomes.extend(e2e(root, pattern)?);
            }
            outcomes
        }
        other => bail!("--only takes rust, web, sdk, or e2e, not {other}"),
    };
    Ok(report::summary(&outcomes))
}

/// Measures through real browsers; the figures are printed and written to `e2e/report/figures.json`.
pub(crate) fn bench(root: &Path, pattern: Option<&str>) -> Result<bool> {
    prepare(root)?;
    let directory = root.join("e2e");
    let outcome = playwright("figures", &directory, "bench", pattern).run();
    Ok(outcome.succeeded)
}

/// Takes the pictures in `docs/images` anew.
pub(crate) fn shots(root: &Path) -> Result<bool> {
    prepare(root)?;
    let directory = root.join("e2e");
    let outcome = playwright("pictures", &directory, "shots", None).run();
    Ok(outcome.succeeded)
}

/// Runs the same clients against LiveKit and against this server and compares what they observe.
pub(crate) fn differential(root: &Path, scripts: &[&str]) -> Result<bool> {
    install::node()?;
    libraries::install_node(root)?;
    let livekit = bench::livekit()?;
    if !release(root).succeeded {
        bail!("the server did not build");
    }
    Ok(libraries::differential(root, &livekit, scripts).succeeded)
}

fn prepare(root: &Path) -> Result<()> {
    install::node()?;
    install::browsers()?;
    install::npm_packages(&root.join("e2e"))?;
    if !release(root).succeeded {
        bail!("the server did not build");
    }
    Ok(())
}

fn format(root: &Path) -> Outcome {
    Step::new("rustfmt", root, "cargo", &["fmt", "--all", "--check"])
        .remedy("cargo fmt --all")
        .run()
}

fn rust(root: &Path, pattern: Option<&str>) -> Vec<Outcome> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    let mut tests = vec!["test", "--workspace", "--locked", "--no-fail-fast"];
    tests.extend(pattern);
    vec![
        Step::new("clippy", root, "cargo", &clippy).run(),
        Step::new("Rust tests", root, "cargo", &tests).run().counting(report::cargo),
    ]
}

/// Advisories are left out: their database is a git repository, and a test that needs the whole internet fails for
/// reasons that are nobody's here. CONTRIBUTING says how to check them by hand.
fn licences(root: &Path) -> [Outcome; 3] {
    let arguments = ["deny", "--offline", "--locked", "check", "licenses", "bans", "sources"];
    [
        Outcome::of("install cargo-deny", install::cargo_deny),
        // It reads the manifests of crates for other systems, too, which no build here downloads.
        Step::new("download crates", root, "cargo", &["fetch", "--locked", "--quiet"]).run(),
        Step::new("cargo-deny", root, "cargo", &arguments)
            .remedy("see deny.toml; a new licence or source is a decision, not an exception")
            .run(),
    ]
}

fn web(root: &Path, pattern: Option<&str>) -> Result<[Outcome; 3]> {
    let directory = root.join("web");
    let report = fresh(root.join("target/reports/vitest.json"))?;
    let output = format!("--outputFile.json={}", report.display());
    let mut tests = vec!["vitest", "run", "--reporter=default", "--reporter=json", output.as_str()];
    tests.extend(pattern);
    Ok([
        Outcome::of("install page's packages", || install::npm_packages(&directory)),
        Step::new("page: types, lint, format", &directory, "npm", &["run", "--silent", "check"])
            .run(),
        Step::new("page: unit tests", &directory, "npx", &tests)
            .run()
            .counting(|_| report::vitest(&report)),
    ])
}

fn release(root: &Path) -> Outcome {
    Step::new(
        "release build",
        root,
        "cargo",
        &["build", "--release", "--locked", "--package", "roomful"],
    )
    .run()
}

fn e2e(root: &Path, pattern: Option<&str>) -> Result<[Outcome; 3]> {
    let directory = root.join("e2e");
    let report = fresh(directory.join("report/results.json"))?;
    let stories = playwright("browser stories", &directory, "stories", pattern)
        .remedy("server logs and pictures of the pages are in e2e/test-results");
    Ok([
        Outcome::of("install stories' packages", || install::npm_packages(&directory)),
        Step::new("browser stories: types", &directory, "npm", &["run", "--silent", "check"]).run(),
        stories.run().counting(|_| report::playwright(&report)),
    ])
}

fn playwright(name: &'static str, directory: &Path, project: &str, pattern: Option<&str>) -> Step {
    let project = format!("--project={project}");
    let mut arguments = vec!["playwright", "test", project.as_str()];
    if let Some(pattern) = pattern {
        arguments.extend(["--grep", pattern]);
    }
    Step::new(name, directory, "npx", &arguments)
}

/// The path of a report that a runner is about to write; what an earlier run left there is removed, so that it
/// cannot be counted again.
fn fresh(report: PathBuf) -> Result<PathBuf> {
    match std::fs::remove_file(&report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", report.display()))
        }
        _ => Ok(report),
    }
}
