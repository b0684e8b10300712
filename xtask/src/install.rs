//! Installing what the tests need on a machine where nobody installed anything by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::libraries;

/// The oldest Node.js that the page's tools accept.
const NODE: (u32, u32) = (20, 19);

/// A program the tests call, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 3] =
    [("chromium", "chromium"), ("firefox-esr", "firefox-esr"), ("pulseaudio", "pulseaudio")];

/// Fonts the pages are laid out with: without any, browsers draw boxes and tests of the layout mean nothing.
const FONTS: (&str, &str) =
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core");

/// Programs whose presence the tests take for granted, with how to get them.
const GIVEN: [(&str, &str); 2] = [
    ("node", "install Node.js 20.19 or newer: https://nodejs.org/en/download"),
    ("npm", "npm comes with Node.js: https://nodejs.org/en/download"),
];

/// Installs whatever is missing for the whole test run.
pub(crate) fn everything(root: &Path) -> Result<()> {
    node()?;
    toolchain()?;
    browsers()?;
    cargo_deny()?;
    npm_packages(&root.join("web"))?;
    npm_packages(&root.join("e2e"))?;
    npm_packages(&root.join("e2e/sdk/node"))?;
    libraries::install_python(root)
}

/// Checks that Node.js is there and new enough; nothing installs it, because people choose how they do.
pub(crate) fn node() -> Result<()> {
    for (program, remedy) in GIVEN {
        if find(program).is_none() {
            bail!("{program} is missing; {remedy}");
        }
    }
    let output =
        Command::new("node").arg("--version").output().context("cannot run node --version")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match parse_version(&version) {
        Some(found) if found >= NODE => Ok(()),
        _ => bail!("Node.js {version} is too old; {}", GIVEN[0].1),
    }
}

/// Adds rustfmt and clippy to the toolchain in use when they are missing.
pub(crate) fn toolchain() -> Result<()> {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if find(program).is_none() {
            println!("installing {component}");
            run("rustup", &["component", "add", component]).with_context(|| {
                format!(
                    "{component} is missing; install it by hand: rustup component add {component}"
                )
            })?;
        }
    }
    Ok(())
}

/// Installs the browsers and the sound server from Debian when one is missing.
pub(crate) fn browsers() -> Result<()> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !Path::new(FONTS.0).exists() {
        missing.push(FONTS.1);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    println!("installing {list}");
    apt(&missing).with_context(|| {
        format!("{list} missing and not installable from here; as root: apt-get update && apt-get install {list}")
    })
}

/// Builds cargo-deny when it is missing. Unoptimised: it takes two minutes instead of six, and runs for seconds.
pub(crate) fn cargo_deny() -> Result<()> {
    if find("cargo-deny").is_some() {
        return Ok(());
    }
    println!("installing cargo-deny");
    run("cargo", &["install", "cargo-deny", "--locked", "--debug", "--quiet"]).context(
        "cargo-deny is missing and was not built; by hand: cargo install cargo-deny --locked",
    )
}

/// Installs a directory's npm packages exactly as locked, unless that has been done for this very lock file.
pub(crate) fn npm_packages(directory: &Path) -> Result<()> {
    let lock = directory.join("package-lock.json");
    let wanted = std::fs::read(&lock).with_context(|| format!("{} is missing", lock.display()))?;
    let stamp = directory.join("node_modules/.roomful-lock");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing npm packages in {}", directory.display());
    let status = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
        .current_dir(directory)
        .status()
        .context("cannot run npm")?;
    if !status.success() {
        bail!(
            "npm ci failed in {} ({status}); when package.json was changed, run npm install there and commit the lock file",
            directory.display()
        );
    }
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Makes a Python environment with the packages that `requirements` locks, unless that has been done for this very file,.
/// Nothing is compiled and nothing is installed for the machine.
pub(crate) fn python_packages(environment: &Path, requirements: &Path) -> Result<()> {
    let wanted = std::fs::read(requirements)
        .with_context(|| format!("{} is missing", requirements.display()))?;
    let stamp = environment.join("roomful-requirements");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    python()?;
    println!("installing Python packages in {}", environment.display());
    let place = environment.display().to_string();
    run("python3", &["-m", "venv", "--clear", &place])?;
    let list = requirements.display().to_string();
    let options = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ];
    let locked = ["--require-hashes", "--requirement", &list];
    run(&python_of(environment).display().to_string(), &[options.as_slice(), &locked].concat())
        .with_context(|| format!("the packages in {list} need Python 3.11 or newer"))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// The Python of an environment.
pub(crate) fn python_of(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// Installs Python from Debian where it is missing, or cannot make environments: Debian has that in a package of its own.
fn python() -> Result<()> {
    let makes_environments = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if makes_environments {
        return Ok(());
    }
    println!("installing python3-venv");
    apt(&["python3", "python3-venv"]).context(
        "Python cannot make environments here; as root: apt-get update && apt-get install python3 python3-venv",
    )
}

/// Installs from Debian what is missing of `needed`: programs, each with the package that brings it.
pub(crate) fn programs(needed: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    println!("installing {list}");
    apt(&missing).with_context(|| {
        format!("{list} missing and not installable from here; as root: apt-get update && apt-get install {list}")
    })
}

fn apt(packages: &[&str]) -> Result<()> {
    run_as_root(&["apt-get", "update", "--quiet"])?;
    let mut install = vec!["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend(packages);
    run_as_root(&install)
}

/// As root directly, otherwise through sudo without a question: a build machine has nobody to answer it.
pub(crate) fn run_as_root(command: &[&str]) -> Result<()> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    let root = String::from_utf8_lossy(&output.stdout).trim() == "0";
    let prefix: &[&str] = if root { &[] } else { &["sudo", "--non-interactive"] };
    let mut line = prefix.to_vec();
    line.extend(["env", "DEBIAN_FRONTEND=noninteractive"]);
    line.extend(command);
    run(line[0], &line[1..])
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// Where `program` is, if it is anywhere that programs are looked for.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    // cargo finds its own subcommands here although the directory need not be in PATH.
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        directories.push(PathBuf::from(home).join("bin"));
    }
    directories.into_iter().map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_told_from_a_new_one() {
        assert_eq!(parse_version("v20.20.2"), Some((20, 20)));
        assert!(parse_version("v18.19.0") < Some(NODE));
        assert!(parse_version("v22.1.0") > Some(NODE));
        assert_eq!(parse_version("none"), None);
    }
}
